//! `tracer-collector rotate`: other keys in the place of those that there are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use tracer_collector::{
    config::Configuration,
    init, pki,
    store::{Registry, SqliteStore, TokenPurpose},
};
use tracer_event::WallNanos;

/// What can be exchanged.
#[derive(Subcommand)]
pub(crate) enum Rotate {
    /// Another authority: agents and readers find the way to it by themselves while it lasts
    ///
    /// The former authority is trusted until `rotate finish`, its key is gone at once.
    Authority {
        #[command(flatten)]
        configured: Configured,
        /// Trust the former one no longer, because its key is in other hands: all agents must enrol anew
        #[arg(long)]
        distrust: bool,
    },
    /// Another key that telemetry is sealed for; what was sealed for those before can still be opened
    Telemetry(Configured),
    /// Trust the former authority no longer, once no certificate that it signed is good
    Finish(Configured),
}

/// Of which collector; it must not be running.
#[derive(Args)]
pub(crate) struct Configured {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Exchanges it, and gives what is to be said.
pub(crate) fn rotate(what: Rotate, now: WallNanos) -> Result<String> {
    match what {
        Rotate::Authority {
            configured: Configured { config },
            distrust,
        } => {
            let (configuration, _lock) = stopped(&config)?;
            let trust_domain = &configuration.trust_domain;
            pki::rotate(&configuration.folder, trust_domain, !distrust, now)?;
            let config = config.display();
            Ok(match distrust {
                true => format!(
                    "There is another authority. Give every agent a new token:\n    \
                     tracer-collector token new --config {config}\nand every reader:\n    \
                     tracer-collector token new --config {config} --reader NAME\n"
                ),
                false => format!(
                    "There is another authority. Start the collector again; agents take it over when \
                     they renew.\nAfter {} hours:\n    tracer-collector rotate finish --config {config}\n",
                    configuration.agent_lasts.as_secs() / 3600,
                ),
            })
        }
        Rotate::Telemetry(Configured { config }) => {
            let (configuration, _lock) = stopped(&config)?;
            let recipient = init::rotate_telemetry(&configuration)?;
            Ok(format!(
                "Agents that enrol from now on seal telemetry for the new key. One that has enrolled goes on \
                 with the key that it was given first, so that nobody can exchange it; on its host, in \
                 /etc/tracer/agent.toml:\n    [collector]\n    recipient = \"{recipient}\"\nThe former key stays \
                 in {}: without it what was sealed for it cannot be opened.\n",
                configuration.folder.display()
            ))
        }
        Rotate::Finish(Configured { config }) => {
            let (configuration, _lock) = stopped(&config)?;
            if !pki::finish_rotation(&configuration.folder, configuration.agent_lasts, now)? {
                return Ok("No former authority is trusted.\n".to_owned());
            }
            let tokens = Registry::open(&configuration.store)?.tokens()?;
            let readers = tokens.iter().filter(|token| {
                let is_good = token.revoked.is_none() && token.expires > now;
                is_good && token.purpose != TokenPurpose::Enrol
            });
            let names: Vec<&str> = readers.map(|token| token.name.as_str()).collect();
            Ok(format!(
                "The former authority is trusted no longer. Readers' tokens from before the rotation do not \
                 find the collector any more, and their certificates are refused; those of: {}\n",
                match names.is_empty() {
                    true => String::from("none"),
                    false => names.join(", "),
                }
            ))
        }
    }
}

/// The configuration of a collector that does not run, and what keeps it from being started.
fn stopped(config: &Path) -> Result<(Configuration, SqliteStore)> {
    let configuration = Configuration::read(config)?;
    let store = SqliteStore::open(&configuration.store, configuration.segment)
        .context("keys are exchanged while the collector does not run")?;
    Ok((configuration, store))
}
