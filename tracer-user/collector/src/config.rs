//! The collector's configuration: TOML, strict, checked once.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tracer_wire::enrolment::TrustDomain;

use crate::store::Retention;

/// What the file says. [`Typed::check`] makes a [`Configuration`] of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Typed {
    /// Names the agents that this collector takes.
    pub trust_domain: String,
    /// DNS names and addresses by which the collector is reached; they stand in its certificate.
    pub names: Vec<String>,
    /// Where it listens.
    pub listen: Listen,
    /// What agents and people are told, if that is another port than it listens at.
    #[serde(default)]
    pub advertise: Advertise,
    /// Where records are.
    #[serde(default)]
    pub store: StoreSection,
    /// How long they are kept.
    #[serde(default)]
    pub retention: RetentionSection,
    /// How long certificates are good.
    #[serde(default)]
    pub certificates: Certificates,
    /// What clients may use up.
    #[serde(default)]
    pub limits: Limits,
}

/// Where the collector listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// For agents.
    pub agents: SocketAddr,
    /// For people and exporters, and for agents that enrol.
    pub https: SocketAddr,
}

/// Addresses as others see them, `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advertise {
    /// The agents' port; the first name with the port listened at unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<String>,
    /// The HTTPS port, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
}

/// Where records are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSection {
    /// A folder; from the configuration's own, if it is relative.
    pub folder: PathBuf,
    /// Size of a file of records. Retention deletes whole files.
    pub segment_mib: u64,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            folder: "store".into(),
            segment_mib: 64,
        }
    }
}

/// How long records are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSection {
    /// Telemetry.
    pub telemetry_days: u32,
    /// Content.
    pub content_days: u32,
    /// All records together: beyond, the oldest go first.
    pub total_gib: u64,
}

impl Default for RetentionSection {
    fn default() -> Self {
        Self {
            telemetry_days: 30,
            content_days: 7,
            total_gib: 100,
        }
    }
}

/// How long certificates are good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Certificates {
    /// An agent's. It renews when two thirds are over.
    pub agent_hours: u32,
    /// The collector's own.
    pub collector_days: u32,
    /// Whether who queries must show one: then no reader's token is taken.
    pub required_of_readers: bool,
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            agent_hours: 24,
            collector_days: 30,
            required_of_readers: false,
        }
    }
}

/// What clients may use up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of agents at once.
    pub agent_connections: usize,
    /// Connections to the HTTPS port at once.
    pub https_connections: usize,
    /// Connections at once from one address, at each port.
    pub connections_per_address: usize,
    /// Records that an agent may send before the first is acknowledged.
    pub records_in_flight: u32,
    /// Records a second of one agent, on average.
    pub records_per_second: u32,
    /// Memory for records that are not on the disk yet, of all agents.
    pub ingest_mib: usize,
    /// Queries at once, live ones too.
    pub queries: usize,
    /// Requests a second to enrol or renew, of all.
    pub enrolments_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            agent_connections: 1024,
            https_connections: 256,
            connections_per_address: 64,
            records_in_flight: 32,
            records_per_second: 1000,
            ingest_mib: 64,
            queries: 16,
            enrolments_per_second: 20,
        }
    }
}

/// A configuration that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The folder that the file is in: the authority and the telemetry key are there.
    pub folder: PathBuf,
    /// As in [`Typed::trust_domain`].
    pub trust_domain: TrustDomain,
    /// As in [`Typed::names`].
    pub names: Vec<String>,
    /// Where it listens.
    pub listen: Listen,
    /// What agents are told.
    pub agents: String,
    /// What people are told.
    pub https: String,
    /// Where records are.
    pub store: PathBuf,
    /// Bytes of a segment.
    pub segment: u64,
    /// How long records are kept.
    pub retention: Retention,
    /// How long an agent's certificate is good.
    pub agent_lasts: Duration,
    /// How long the collector's is.
    pub collector_lasts: Duration,
    /// Whether readers' tokens are refused.
    pub only_certified_readers: bool,
    /// What clients may use up.
    pub limits: Limits,
}

impl Configuration {
    /// The configuration in a file.
    ///
    /// # Errors
    /// If it cannot be read or is wrong; the message says where.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("reading the configuration {}", path.display()))?;
        let typed: Typed =
            toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            Some(_) | None => Path::new("."),
        };
        typed
            .check(folder)
            .with_context(|| format!("in {}", path.display()))
    }
}

impl Typed {
    /// Makes a configuration of it.
    ///
    /// # Errors
    /// If a value is out of its range; the message names it.
    pub fn check(self, folder: &Path) -> Result<Configuration> {
        let Self {
            trust_domain,
            names,
            listen,
            advertise,
            store,
            retention,
            certificates,
            limits,
        } = self;
        let Some(first) = names.first() else {
            bail!(
                "names is empty: give the DNS name or address by which agents reach the collector"
            );
        };
        let address = |given: Option<String>, key: &str, port: u16| {
            let is_v6 = first.contains(':');
            let address = given.unwrap_or_else(|| {
                if is_v6 {
                    format!("[{first}]:{port}")
                } else {
                    format!("{first}:{port}")
                }
            });
            let has_port = address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            ensure!(has_port, "advertise.{key} = {address:?} is not host:port");
            Ok(address)
        };
        for name in &names {
            let parsed = rustls_pki_types::ServerName::try_from(name.as_str());
            ensure!(
                parsed.is_ok(),
                "names holds {name:?}, which is neither a DNS name nor an address"
            );
        }
        in_range("store.segment_mib", store.segment_mib, 1, 4096)?;
        in_range(
            "certificates.agent_hours",
            certificates.agent_hours.into(),
            1,
            24 * 90,
        )?;
        in_range(
            "certificates.collector_days",
            certificates.collector_days.into(),
            1,
            825,
        )?;
        in_range(
            "retention.telemetry_days",
            retention.telemetry_days.into(),
            1,
            36_500,
        )?;
        in_range(
            "retention.content_days",
            retention.content_days.into(),
            1,
            36_500,
        )?;
        in_range("retention.total_gib", retention.total_gib, 1, 1 << 20)?;
        for (name, value, most) in [
            (
                "agent_connections",
                limits.agent_connections as u64,
                1 << 20,
            ),
            (
                "https_connections",
                limits.https_connections as u64,
                1 << 20,
            ),
            (
                "connections_per_address",
                limits.connections_per_address as u64,
                1 << 20,
            ),
            ("records_in_flight", limits.records_in_flight.into(), 1024),
            (
                "records_per_second",
                limits.records_per_second.into(),
                1_000_000,
            ),
            ("queries", limits.queries as u64, 4096),
            (
                "enrolments_per_second",
                limits.enrolments_per_second.into(),
                100_000,
            ),
        ] {
            in_range(&format!("limits.{name}"), value, 1, most)?;
        }
        // A record has to fit.
        in_range("limits.ingest_mib", limits.ingest_mib as u64, 2, 1 << 16)?;
        const DAY: Duration = Duration::from_hours(24);
        Ok(Configuration {
            trust_domain: trust_domain
                .parse()
                .with_context(|| format!("trust_domain = {trust_domain:?}"))?,
            agents: address(advertise.agents, "agents", listen.agents.port())?,
            https: address(advertise.https, "https", listen.https.port())?,
            names,
            listen,
            store: folder.join(store.folder),
            folder: folder.to_owned(),
            segment: store.segment_mib << 20,
            retention: Retention {
                telemetry: DAY * retention.telemetry_days,
                content: DAY * retention.content_days,
                total: retention.total_gib << 30,
            },
            agent_lasts: Duration::from_hours(certificates.agent_hours.into()),
            collector_lasts: DAY * certificates.collector_days,
            only_certified_readers: certificates.required_of_readers,
            limits,
        })
    }
}

fn in_range(name: &str, value: u64, least: u64, most: u64) -> Result<()> {
    ensure!(
        (least..=most).contains(&value),
        "{name} = {value} is not from {least} to {most}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "trust_domain = \"a.b\"\nnames = [\"collector.example\"]\n\
                         [listen]\nagents = \"0.0.0.0:7444\"\nhttps = \"0.0.0.0:7443\"\n";

    fn check(text: &str) -> Result<Configuration> {
        let typed: Typed = toml::from_str(text)?;
        typed.check(Path::new("/etc/tracer-collector"))
    }

    #[test]
    fn what_is_not_given_has_a_default() {
        let configuration = check(LEAST).unwrap();
        assert_eq!(configuration.agents, "collector.example:7444");
        assert_eq!(configuration.https, "collector.example:7443");
        assert_eq!(
            configuration.store,
            Path::new("/etc/tracer-collector/store")
        );
        assert_eq!(configuration.agent_lasts, Duration::from_hours(24));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (change, message) in [
            ("[limits]\nagent_conections = 3\n", "agent_conections"),
            ("[limits]\nqueries = 0\n", "limits.queries"),
            (
                "[retention]\ntelemetry_days = 0\n",
                "retention.telemetry_days",
            ),
            ("[advertise]\nagents = \"nowhere\"\n", "advertise.agents"),
        ] {
            let error = check(&format!("{LEAST}{change}")).unwrap_err();
            assert!(format!("{error:#}").contains(message), "{error:#}");
        }
        for (from, to, message) in [
            ("a.b", "A B", "trust_domain"),
            ("[\"collector.example\"]", "[]", "names is empty"),
            ("collector.example", "not a name", "neither a DNS name"),
        ] {
            let error = check(&LEAST.replace(from, to)).unwrap_err();
            assert!(format!("{error:#}").contains(message), "{error:#}");
        }
    }

    #[test]
    fn an_address_of_version_6_is_in_brackets() {
        let configuration = check(&LEAST.replace("collector.example", "::1")).unwrap();
        assert_eq!(configuration.agents, "[::1]:7444");
    }
}
