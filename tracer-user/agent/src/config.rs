//! The agent's configuration: strict TOML, every error with its line.

use std::{
    fs,
    io::Read as _,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de::Error as _};
use tracer_wire::{Recipient, enrolment::is_node_name};
use x509_cert::der::DateTime;

use crate::spool::Limits;

/// Where the configuration lies unless another place is named.
pub const DEFAULT_PATH: &str = "/etc/tracer/agent.toml";
/// Bytes that it may have.
const LIMIT: u64 = 1 << 20;

/// What an agent is configured to do.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// The collector.
    pub collector: CollectorConfig,
    /// What is traced.
    pub capture: CaptureConfig,
    /// Who may read content.
    pub content: ContentConfig,
    /// The process with the network.
    pub ship: ShipConfig,
}

/// `[collector]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectorConfig {
    /// The file with the token to enrol with, which names the collector; in ship's folder if it is not
    /// given, where ship removes it once it was used.
    pub token_file: Option<PathBuf>,
    /// What people call this node; the host's name if it is not given.
    #[serde(deserialize_with = "node_name")]
    pub name: Option<String>,
    /// Whom telemetry is sealed for; if it is not given, what the collector says at enrolment.
    pub recipient: Option<Recipient>,
}

/// How much of a call may leave its process, as `tracer trace --capture` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// When, how long, and the result.
    Timing,
    /// Sizes, counts and parameters, too.
    #[default]
    Shape,
    /// Token ids, too.
    Tokens,
    /// Text, too.
    Text,
}

impl Level {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timing => "timing",
            Self::Shape => "shape",
            Self::Tokens => "tokens",
            Self::Text => "text",
        }
    }
}

/// `[capture]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// The folder of its keys.
    pub state: PathBuf,
    /// Only this runtime.
    pub runtime: Option<String>,
    /// Only processes that run this executable.
    pub exe: Option<PathBuf>,
    /// Only processes of this cgroup.
    pub cgroup: Option<PathBuf>,
    /// How much may leave a process.
    pub level: Level,
    /// Until when a level above `shape` is captured, in seconds since 1970; then it is `shape`.
    #[serde(deserialize_with = "time")]
    pub until: Option<u64>,
    /// Runtime profiles besides the built-in ones.
    pub profiles: Vec<PathBuf>,
    /// The redaction policy in place of the built-in one.
    pub policy: Option<PathBuf>,
    /// Whether probes that cost too much are switched off.
    pub govern: bool,
    /// Whether the files of loaded models are compared with their names in a Hugging Face cache or an
    /// Ollama store.
    pub verify_auto: bool,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self {
            state: "/var/lib/tracer".into(),
            runtime: None,
            exe: None,
            cgroup: None,
            level: Level::default(),
            until: None,
            profiles: Vec::new(),
            policy: None,
            govern: true,
            verify_auto: false,
        }
    }
}

/// `[content]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContentConfig {
    /// Whom it is sealed for, as `tracer key new` prints them. None: the stream is off.
    pub recipients: Vec<Recipient>,
}

/// `[ship]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShipConfig {
    /// The user that it runs as, from /etc/passwd.
    pub user: String,
    /// Its folder, for the spool and its certificate.
    pub state: PathBuf,
    /// The folder for its sockets.
    pub sockets: PathBuf,
    /// What the spool may use, in bytes.
    #[serde(deserialize_with = "bytes")]
    pub spool: u64,
    /// Where metrics are served: an address of this host alone.
    #[serde(deserialize_with = "loopback")]
    pub metrics: Option<SocketAddr>,
}

impl Default for ShipConfig {
    fn default() -> Self {
        Self {
            user: "tracer-ship".into(),
            state: "/var/lib/tracer-ship".into(),
            sockets: "/run/tracer-ship".into(),
            spool: 1 << 30,
            metrics: None,
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("read the configuration {path}: {cause}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Others could write it: they would decide who reads content.
    #[error("{path} can be changed by others than root: chown root {path} && chmod go-w {path}")]
    Writable {
        /// Which.
        path: PathBuf,
    },
    /// It is longer than any configuration.
    #[error("{0} is longer than 1 MiB")]
    TooLong(PathBuf),
    /// A line is wrong.
    #[error("{path}: {text}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// The line, and what is wrong with it.
        text: String,
    },
    /// Two settings do not go together.
    #[error("{path}: {why}; {remedy}")]
    Together {
        /// Which.
        path: PathBuf,
        /// Which, and why not.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The user is not there.
    #[error(
        "[ship] user = \"{0}\" is not in /etc/passwd; make it with: useradd --system --no-create-home \
         --shell /usr/sbin/nologin {0}"
    )]
    NoUser(String),
}

impl AgentConfig {
    /// Reads a configuration, and checks it.
    ///
    /// # Errors
    /// If it cannot be read, is not this user's or root's alone to write, or is wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |cause| ConfigError::Read {
            path: path.to_owned(),
            cause,
        };
        let file = fs::File::open(path).map_err(failed)?;
        let facts = file.metadata().map_err(failed)?;
        let own = rustix::process::geteuid().as_raw();
        if facts.mode() & 0o022 != 0 || ![0, own].contains(&facts.uid()) {
            let path = path.to_owned();
            return Err(ConfigError::Writable { path });
        }
        let mut text = String::new();
        file.take(LIMIT + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        if text.len() as u64 > LIMIT {
            return Err(ConfigError::TooLong(path.to_owned()));
        }
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Malformed {
            path: path.to_owned(),
            text: error.to_string().trim_end().to_owned(),
        })?;
        let together = |why: String, remedy| ConfigError::Together {
            path: path.to_owned(),
            why,
            remedy,
        };
        let CaptureConfig {
            runtime,
            exe,
            cgroup,
            level,
            until,
            ..
        } = &config.capture;
        let selections = [runtime.is_some(), exe.is_some(), cgroup.is_some()];
        if selections.into_iter().filter(|is_given| *is_given).count() > 1 {
            let why = "[capture] has more than one of runtime, exe and cgroup".to_owned();
            return Err(together(why, "leave one"));
        }
        if *level > Level::Shape {
            let name = level.name();
            if config.content.recipients.is_empty() {
                let why = format!(
                    "[capture] level = \"{name}\" captures content, and [content] recipients names \
                     nobody who may read it"
                );
                return Err(together(
                    why,
                    "add a recipient (tracer key new), or lower the level",
                ));
            }
            if until.is_none() {
                let why = format!("[capture] level = \"{name}\" has no end");
                let remedy = "add until = \"2026-01-31T12:00:00Z\": content is never captured without an end";
                return Err(together(why, remedy));
            }
        }
        Ok(config)
    }

    /// The user and group that ship runs as.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn ship_user(&self) -> Result<(u32, u32), ConfigError> {
        let missing = || ConfigError::NoUser(self.ship.user.clone());
        let users = fs::read_to_string("/etc/passwd").map_err(|_| missing())?;
        let mut lines = users.lines().map(|line| line.split(':'));
        let found = lines.find_map(|mut fields| {
            let name = fields.next()?;
            let (uid, gid) = (fields.nth(1)?, fields.next()?);
            (name == self.ship.user).then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))
        });
        found.flatten().ok_or_else(missing)
    }

    /// What people call this node.
    #[must_use]
    pub fn node_name(&self) -> String {
        if let Some(name) = &self.collector.name {
            return name.clone();
        }
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let name: String = host.trim().chars().filter(|c| fits(*c)).take(64).collect();
        if name.is_empty() {
            "node".to_owned()
        } else {
            name
        }
    }

    /// The file with the token to enrol with.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        let own = || self.ship.state.join("enrolment.token");
        self.collector.token_file.clone().unwrap_or_else(own)
    }

    /// What the spool may use.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::of_total(self.ship.spool)
    }
}

fn node_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(from)?;
    if is_node_name(&name) {
        return Ok(Some(name));
    }
    Err(D::Error::custom(
        "a node's name has at most 64 letters, digits, dots, hyphens and underscores",
    ))
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    let time: DateTime = text
        .parse()
        .map_err(|_| D::Error::custom("a time in UTC is written as \"2026-01-31T12:00:00Z\""))?;
    Ok(Some(time.unix_duration().as_secs()))
}

fn loopback<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let address = SocketAddr::deserialize(from)?;
    if address.ip().is_loopback() {
        return Ok(Some(address));
    }
    Err(D::Error::custom(
        "metrics ask nobody who reads them: give an address of this host alone, such as \
         \"127.0.0.1:9476\"",
    ))
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "B" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        "TiB" => Some(40),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    let size = number
        .zip(shift)
        .and_then(|(number, shift)| number.checked_mul(1 << shift));
    let smallest = Limits::SMALLEST;
    match size {
        Some(size) if size >= smallest => Ok(size),
        Some(_) => Err(D::Error::custom(format!(
            "the largest records need {smallest} bytes; give 8MiB or more"
        ))),
        None => Err(D::Error::custom(
            "a size is written as a whole number with B, KiB, MiB, GiB or TiB, for example \"1GiB\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::fixture::recipient;

    fn parse(text: &str) -> Result<AgentConfig, String> {
        AgentConfig::parse(text, Path::new("agent.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_a_whole_configuration() {
        let config = parse("").unwrap();
        assert_eq!(config.ship.spool, 1 << 30);
        assert_eq!(config.capture.level, Level::Shape);
        assert!(config.content.recipients.is_empty());
    }

    #[test]
    fn everything_can_be_said() {
        let reader = recipient().recipient().to_string();
        let text = format!(
            "[collector]\ntoken_file = \"/t\"\nname = \"gpu-7\"\nrecipient = \"{reader}\"\n\
             [capture]\nstate = \"/c\"\nruntime = \"llama.cpp\"\nlevel = \"text\"\n\
             until = \"2026-01-31T12:00:00Z\"\nprofiles = [\"ggml\"]\npolicy = \"/p\"\n\
             govern = false\nverify_auto = true\n[content]\nrecipients = [\"{reader}\"]\n\
             [ship]\nuser = \"nobody\"\nstate = \"/s\"\nsockets = \"/r\"\nspool = \"64MiB\"\n\
             metrics = \"127.0.0.1:9476\"\n"
        );
        let config = parse(&text).unwrap();
        assert_eq!(config.capture.until, Some(1_769_860_800));
        assert_eq!(config.ship.spool, 64 << 20);
        assert_eq!(config.node_name(), "gpu-7");
        assert_eq!(config.content.recipients, [recipient().recipient().clone()]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_a_remedy() {
        for (text, line, words) in [
            ("[ship]\nspol = \"1GiB\"\n", 2, "expected one of"),
            ("[ship]\n\nspool = \"1GB\"\n", 3, "for example \"1GiB\""),
            ("[ship]\nspool = \"1KiB\"\n", 2, "8MiB or more"),
            ("[ship]\nmetrics = \"0.0.0.0:9476\"\n", 2, "127.0.0.1:9476"),
            ("[collector]\nname = \"a/b\"\n", 2, "64 letters"),
            ("[content]\nrecipients = [\"age1\"]\n", 2, "x25519:"),
            ("[capture]\nuntil = \"soon\"\n", 2, "2026-01-31T12:00:00Z"),
            ("[capture]\nlevel = \"all\"\n", 2, "`timing`"),
            ("[net]\n", 1, "expected one of"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(&format!("line {line}")), "{text}: {error}");
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn content_needs_a_reader_and_an_end() {
        let error = parse("[capture]\nlevel = \"text\"\n").unwrap_err();
        assert!(error.contains("tracer key new"), "{error}");
        let reader = recipient().recipient().to_string();
        let text =
            format!("[capture]\nlevel = \"tokens\"\n[content]\nrecipients = [\"{reader}\"]\n");
        let error = parse(&text).unwrap_err();
        assert!(error.contains("until"), "{error}");
        let error = parse("[capture]\nruntime = \"a\"\nexe = \"/b\"\n").unwrap_err();
        assert!(error.contains("leave one"), "{error}");
    }

    #[test]
    fn a_configuration_that_others_can_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        AgentConfig::read(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        let error = AgentConfig::read(&path).unwrap_err();
        assert!(error.to_string().contains("chmod go-w"), "{error}");
    }

    #[test]
    fn the_user_of_ship_is_looked_up() {
        let mut config = AgentConfig::default();
        config.ship.user = "root".into();
        assert_eq!(config.ship_user().unwrap(), (0, 0));
        config.ship.user = "nobody at all".into();
        let error = config.ship_user().unwrap_err();
        assert!(error.to_string().contains("useradd"), "{error}");
    }
}
