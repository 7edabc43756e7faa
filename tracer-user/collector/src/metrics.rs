//! What the collector counts, of itself and of its agents, in the text form of Prometheus.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tracer_wire::{AgentId, Body, ChainError, Record};

use crate::{server::lost, store::Outcome};

/// A number that grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counters.
#[derive(Default)]
pub(crate) struct Metrics {
    /// Connections that were too many.
    pub(crate) turned_away: Counter,
    /// Handshakes that did not succeed, or not in time.
    pub(crate) failed_handshakes: Counter,
    /// Requests over HTTPS.
    pub(crate) requests: Counter,
    /// Those that nobody was authenticated for, or that were forbidden.
    pub(crate) denied: Counter,
    /// Records that retention deleted.
    pub(crate) expired: Counter,
    /// Certificates that were issued to agents.
    pub(crate) certificates: Counter,
    /// Of agents that are let in, so that it cannot grow beyond their number.
    agents: Mutex<BTreeMap<AgentId, OfAgent>>,
}

/// What is counted of one agent.
#[derive(Default)]
struct OfAgent {
    name: String,
    connections: u64,
    records: u64,
    bytes: u64,
    events: u64,
    lost: u64,
    stored: u64,
    repeated: u64,
    refused: BTreeMap<&'static str, u64>,
}

impl Metrics {
    fn agents(&self) -> MutexGuard<'_, BTreeMap<AgentId, OfAgent>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connected(&self, agent: AgentId, name: &str) {
        let mut agents = self.agents();
        let of = agents.entry(agent).or_default();
        name.clone_into(&mut of.name);
        of.connections += 1;
    }

    pub(crate) fn disconnected(&self, agent: AgentId) {
        if let Some(of) = self.agents().get_mut(&agent) {
            of.connections -= 1;
        }
    }

    /// Agents that are connected now.
    pub(crate) fn connected_agents(&self) -> Vec<AgentId> {
        let agents = self.agents();
        let connected = agents.iter().filter(|(_, of)| of.connections > 0);
        connected.map(|(agent, _)| *agent).collect()
    }

    pub(crate) fn received(&self, agent: AgentId, record: &Record) {
        let mut agents = self.agents();
        let of = agents.entry(agent).or_default();
        of.records += 1;
        of.bytes += record.sealed().len() as u64;
        let body = &record.claims().body;
        of.lost += lost(body);
        if let Body::Batch(batch) = body {
            of.events += batch.events();
        }
    }

    pub(crate) fn done(&self, agent: AgentId, outcome: Outcome) {
        let mut agents = self.agents();
        let of = agents.entry(agent).or_default();
        match outcome {
            Outcome::Stored => of.stored += 1,
            Outcome::Repeated => of.repeated += 1,
            Outcome::Refused(error) => *of.refused.entry(reason(error)).or_default() += 1,
        }
    }

    /// All of it as text.
    pub(crate) fn text(&self, store_bytes: u64, store_works: bool, newest: u64) -> String {
        let mut text = String::new();
        let mut single = |name: &str, kind: &str, help: &str, value: u64| {
            let _ = writeln!(text, "# HELP tracer_collector_{name} {help}");
            let _ = writeln!(text, "# TYPE tracer_collector_{name} {kind}");
            let _ = writeln!(text, "tracer_collector_{name} {value}");
        };
        let counters = [
            (
                "connections_turned_away_total",
                "Connections beyond a limit.",
                &self.turned_away,
            ),
            (
                "handshakes_failed_total",
                "TLS handshakes that failed.",
                &self.failed_handshakes,
            ),
            ("requests_total", "Requests over HTTPS.", &self.requests),
            (
                "requests_denied_total",
                "Requests that were not allowed.",
                &self.denied,
            ),
            (
                "records_expired_total",
                "Records that retention deleted.",
                &self.expired,
            ),
            (
                "certificates_issued_total",
                "Certificates issued to agents.",
                &self.certificates,
            ),
        ];
        for (name, help, counter) in counters {
            single(name, "counter", help, counter.value());
        }
        single(
            "store_bytes",
            "gauge",
            "Bytes of stored records.",
            store_bytes,
        );
        single(
            "store_works",
            "gauge",
            "Whether the last write succeeded.",
            store_works.into(),
        );
        single(
            "newest_record",
            "gauge",
            "Number of the newest record.",
            newest,
        );
        let agents = self.agents();
        type Read = fn(&OfAgent) -> u64;
        let families: [(&str, &str, &str, Read); 7] = [
            ("agent_connections", "gauge", "Open connections.", |of| {
                of.connections
            }),
            (
                "agent_records_total",
                "counter",
                "Records received.",
                |of| of.records,
            ),
            (
                "agent_bytes_total",
                "counter",
                "Sealed bytes received.",
                |of| of.bytes,
            ),
            (
                "agent_events_total",
                "counter",
                "Events in records received.",
                |of| of.events,
            ),
            (
                "agent_events_lost_total",
                "counter",
                "Events declared as lost.",
                |of| of.lost,
            ),
            ("agent_stored_total", "counter", "Records stored.", |of| {
                of.stored
            }),
            (
                "agent_repeated_total",
                "counter",
                "Records stored before.",
                |of| of.repeated,
            ),
        ];
        for (name, kind, help, read) in families {
            let _ = writeln!(text, "# HELP tracer_collector_{name} {help}");
            let _ = writeln!(text, "# TYPE tracer_collector_{name} {kind}");
            for (agent, of) in agents.iter() {
                let labels = labels(*agent, &of.name);
                let _ = writeln!(text, "tracer_collector_{name}{{{labels}}} {}", read(of));
            }
        }
        let name = "tracer_collector_agent_refused_total";
        let _ = writeln!(text, "# HELP {name} Records refused, by reason.");
        let _ = writeln!(text, "# TYPE {name} counter");
        for (agent, of) in agents.iter() {
            for (reason, count) in &of.refused {
                let labels = labels(*agent, &of.name);
                let _ = writeln!(text, "{name}{{{labels},reason=\"{reason}\"}} {count}");
            }
        }
        text
    }
}

/// A node's name has no character that would have to be escaped.
fn labels(agent: AgentId, name: &str) -> String {
    format!("agent=\"{agent}\",node=\"{name}\"")
}

const fn reason(error: ChainError) -> &'static str {
    match error {
        ChainError::Tampered(_) => "tampered",
        ChainError::OtherSession(_) => "other_session",
        ChainError::Missing { .. } => "missing_before",
        ChainError::Forked(_) => "forked",
        ChainError::Unlinked(_) => "unlinked",
        ChainError::EpochOrder { .. } => "epoch_order",
        ChainError::AfterEnd(_) => "after_end",
        ChainError::Truncated(_) => "truncated",
    }
}
