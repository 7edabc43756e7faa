//! `tracer agent`: traces as a service.

mod capture;
mod enroll;
mod status;

use std::path::Path;

use anyhow::Result;
use tracer_agent::{
    config::AgentConfig,
    journal,
    ship::{self, ShipSettings},
    supervise,
};

use crate::{
    arguments::typed::{Agent, AgentPart},
    outcome::Outcome,
};

/// Runs both processes, one of them, or asks how they are.
///
/// # Errors
/// If the configuration is wrong, or what was asked cannot be done.
pub(crate) fn run(arguments: &Agent) -> Result<Outcome> {
    let path = std::path::absolute(&arguments.config)?;
    let config = AgentConfig::read(&path)?;
    match &arguments.part {
        None => {
            check(&config)?;
            journal::begin("both");
            supervise::run(|part| supervise::this_program(&path, part))?;
            Ok(Outcome::Something)
        }
        Some(AgentPart::Capture { supervised }) => {
            journal::begin("capture");
            capture::run(&path, config, *supervised)?;
            Ok(Outcome::Something)
        }
        Some(AgentPart::Ship { supervised }) => {
            journal::begin("ship");
            let settings = ship_settings(&config, &path, *supervised)?;
            // The user is looked up when it is started again: it sees no /etc/passwd any more.
            ship::run(&settings, || Ok(AgentConfig::read(&path).map(drop)?))?;
            Ok(Outcome::Something)
        }
        Some(AgentPart::Enroll { token }) => enroll::run(&config, token),
        Some(AgentPart::Status { output }) => status::run(&config, *output),
        Some(AgentPart::Check) => {
            check(&config)?;
            Ok(Outcome::Something)
        }
    }
}

/// Reads everything that both processes would read.
fn check(config: &AgentConfig) -> Result<()> {
    config.ship_user()?;
    capture::settings(config, config.capture.level).map(drop)
}

fn ship_settings(config: &AgentConfig, path: &Path, supervised: bool) -> Result<ShipSettings> {
    Ok(ShipSettings {
        user: config.ship_user()?,
        capture_user: 0,
        state: config.ship.state.clone(),
        sockets: config.ship.sockets.clone(),
        token: config.token_file(),
        name: config.node_name(),
        limits: config.limits(),
        metrics: config.ship.metrics,
        config: path.to_owned(),
        ends_with_parent: supervised,
    })
}
