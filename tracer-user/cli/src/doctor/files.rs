//! In which way `tracer files` sees files here, and what that way cannot see.

use serde::Serialize;
use tracer_probe::files::FileSensor;

use crate::text::{Palette, Tone, printable};

/// What a file sensor finds on this host.
#[derive(Debug, Serialize)]
pub(super) struct Files {
    /// The tier in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'static str>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Better tiers, and why they are not in force.
    passed_over: Vec<PassedOver>,
    /// Why names and attributes are not told.
    untold_names: Vec<String>,
    /// What cannot be seen.
    blind_spots: Vec<BlindSpot>,
}

#[derive(Debug, Serialize)]
struct PassedOver {
    tier: &'static str,
    reason: String,
}

#[derive(Debug, Serialize)]
struct BlindSpot {
    name: &'static str,
    what: &'static str,
}

impl Files {
    /// Loads the programs, tries them, and unloads them.
    pub(super) fn examine() -> Self {
        let sensor = match FileSensor::start(None) {
            Ok(sensor) => sensor,
            Err(error) => {
                return Self {
                    tier: None,
                    reason: Some(error.to_string()),
                    passed_over: Vec::new(),
                    untold_names: Vec::new(),
                    blind_spots: Vec::new(),
                };
            }
        };
        let coverage = sensor.coverage();
        let passed_over = sensor.passed_over().iter();
        Self {
            tier: Some(coverage.tier.name()),
            reason: None,
            passed_over: passed_over
                .map(|(tier, reason)| PassedOver {
                    tier: tier.name(),
                    reason: reason.clone(),
                })
                .collect(),
            untold_names: sensor.untold_names(),
            blind_spots: coverage
                .blind_spots()
                .into_iter()
                .map(|spot| BlindSpot {
                    name: spot.name(),
                    what: spot.describe(),
                })
                .collect(),
        }
    }

    /// The lines for people.
    pub(super) fn pretty(&self, palette: Palette) -> String {
        let heading = match (self.tier, &self.reason) {
            (Some(tier), _) => format!("tracer files sees files by {tier}, the best way here"),
            (None, Some(reason)) => {
                format!("tracer files does not work here: {}", printable(reason))
            }
            (None, None) => return String::new(),
        };
        let mut text = format!("\n{}\n", palette.paint(Tone::Strong, &heading));
        for PassedOver { tier, reason } in &self.passed_over {
            text.push_str(&format!("  not {tier}: {}\n", printable(reason)));
        }
        for why in &self.untold_names {
            text.push_str(&format!("  no fanotify {}\n", printable(why)));
        }
        if !self.blind_spots.is_empty() {
            text.push_str("  what that cannot see:\n");
        }
        for spot in &self.blind_spots {
            text.push_str(&format!("  - {}\n", spot.what));
        }
        text
    }
}
