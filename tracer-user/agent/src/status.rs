//! How an agent is, as `tracer agent status` tells and its metrics count.

use serde::{Deserialize, Serialize};

/// How capture is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureStatus {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// What it does, or what it waits for.
    pub doing: String,
    /// Model runtimes that were found since the run began.
    pub runtimes: u64,
    /// Libraries that probes were attached to since then.
    pub attached: u64,
    /// Events that were sealed.
    pub events_sealed: u64,
    /// Events of content that were left out, since content has no recipients.
    pub events_withheld: u64,
    /// Events that could not be sealed.
    pub events_lost: u64,
    /// Events that were dropped because ship did not take them; gaps declare them.
    pub events_dropped: u64,
    /// Records that wait for ship.
    pub records_waiting: u64,
}

/// How ship is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShipStatus {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The agent's name for the collector: the key that signs its records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Whether it is connected to the collector, or why not.
    pub collector: String,
    /// Whether records can be delivered now.
    pub is_connected: bool,
    /// When the certificate ends, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_until: Option<u64>,
    /// What is wrong with the disk, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// Records that capture handed over and the disk keeps.
    pub records_kept: u64,
    /// Records that the collector stored.
    pub records_stored: u64,
    /// Records in the spool.
    pub spool_records: u64,
    /// Bytes of the spool.
    pub spool_bytes: u64,
    /// Bytes that the spool may have.
    pub spool_limit: u64,
    /// Connections to the collector that ended or were never made.
    pub connection_failures: u64,
    /// How capture is; none while it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureStatus>,
}

impl ShipStatus {
    /// Prometheus' text format (version 0.0.4).
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, value: u64| {
            text.push_str(&format!(
                "# HELP tracer_agent_{name} {help}\n# TYPE tracer_agent_{name} {kind}\n\
                 tracer_agent_{name} {value}\n"
            ));
        };
        let connected = u64::from(self.is_connected);
        metric(
            "connected",
            "gauge",
            "Whether the collector is reached.",
            connected,
        );
        let until = self.certificate_until.unwrap_or(0);
        let help = "When the agent's certificate ends, in seconds since 1970; 0 without one.";
        metric("certificate_until_seconds", "gauge", help, until);
        let failed = u64::from(self.disk.is_some());
        metric(
            "disk_failed",
            "gauge",
            "Whether the spool's disk takes nothing.",
            failed,
        );
        let help = "Records that the disk keeps.";
        metric("records_kept_total", "counter", help, self.records_kept);
        let help = "Records that the collector stored.";
        metric("records_stored_total", "counter", help, self.records_stored);
        let help = "Connections to the collector that ended or were never made.";
        metric(
            "connection_failures_total",
            "counter",
            help,
            self.connection_failures,
        );
        metric(
            "spool_records",
            "gauge",
            "Records in the spool.",
            self.spool_records,
        );
        metric(
            "spool_bytes",
            "gauge",
            "Bytes of the spool.",
            self.spool_bytes,
        );
        metric(
            "spool_limit_bytes",
            "gauge",
            "Bytes that it may have.",
            self.spool_limit,
        );
        let up = u64::from(self.capture.is_some());
        metric("capture_up", "gauge", "Whether capture is there.", up);
        let Some(capture) = &self.capture else {
            return text;
        };
        metric(
            "runtimes",
            "gauge",
            "Model runtimes found.",
            capture.runtimes,
        );
        let help = "Libraries with probes.";
        metric("libraries_attached", "gauge", help, capture.attached);
        let help = "Events that were sealed.";
        metric(
            "events_sealed_total",
            "counter",
            help,
            capture.events_sealed,
        );
        let help = "Events of content left out for lack of a recipient.";
        metric(
            "events_withheld_total",
            "counter",
            help,
            capture.events_withheld,
        );
        let help = "Events that could not be sealed.";
        metric("events_lost_total", "counter", help, capture.events_lost);
        let help = "Events dropped before they reached the spool.";
        metric(
            "events_dropped_total",
            "counter",
            help,
            capture.events_dropped,
        );
        let help = "Records that wait for the spool.";
        metric("records_waiting", "gauge", help, capture.records_waiting);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_form_that_prometheus_reads() {
        let status = ShipStatus {
            is_connected: true,
            records_kept: 7,
            capture: Some(CaptureStatus::default()),
            ..ShipStatus::default()
        };
        let text = status.metrics();
        assert!(
            text.contains("\ntracer_agent_records_kept_total 7\n"),
            "{text}"
        );
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["#", "HELP" | "TYPE", name, ..] => assert!(name.starts_with("tracer_agent_")),
                [_, value] => drop(value.parse::<u64>().unwrap()),
                _ => panic!("{line}"),
            }
        }
    }
}
