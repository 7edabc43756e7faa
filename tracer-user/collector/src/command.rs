//! What can be typed, and what it does.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracer_collector::{
    Port,
    config::Configuration,
    init::{self, CONFIGURATION, Plan},
    server::Server,
    store::{Registry, SqliteStore, Store as _},
    verify,
};
use tracer_event::WallNanos;
use tracer_wire::{AgentId, SessionId, enrolment::is_node_name};

use crate::{
    manual,
    rotate::{self, Rotate},
};

/// Stores the sealed events of many agents
#[derive(Parser)]
#[command(name = "tracer-collector", version, propagate_version = true)]
struct Typed {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a collector in a new folder: authority, keys, configuration, store
    Init(Init),
    /// Take agents' events and answer queries, until SIGTERM; SIGHUP reads the configuration again
    Serve(Configured),
    /// Say whether a configuration is right, and print it with all defaults
    Check(Configured),
    /// Tokens for agents that enrol, and tokens and certificates for people and programs that query
    #[command(subcommand)]
    Token(Token),
    /// Agents that enrolled
    #[command(subcommand)]
    Agent(Agent),
    /// Check all that is stored: checksums, signatures, that no record is missing; without the keys
    ///
    /// Exit status: 0 all is as it was sent, 1 it is not, 2 error.
    Verify(Configured),
    /// Destroy what one session holds, keys first; the collector must not be running
    Shred(Shred),
    /// Exchange keys: the authority's, or that which telemetry is sealed for; the collector must not be running
    #[command(subcommand)]
    Rotate(Rotate),
    /// Print shell completions
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one page per command to a folder
    Man {
        /// Folder for tracer-collector.1, tracer-collector-serve.1, …
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Configured {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Args)]
struct Init {
    /// The folder, which does not exist yet or is empty
    folder: PathBuf,
    /// A DNS name or address by which agents reach it; the first is what they are told
    #[arg(long = "name", value_name = "NAME", default_values = ["localhost", "127.0.0.1"])]
    names: Vec<String>,
    /// Where to listen for agents
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7444")]
    agents: SocketAddr,
    /// Where to listen for people, exporters and agents that enrol
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7443")]
    https: SocketAddr,
    /// Names the agents that trust this collector
    #[arg(long, value_name = "NAME", default_value = "tracer.internal")]
    trust_domain: String,
}

#[derive(Subcommand)]
enum Token {
    /// Make one, and print it: it is shown this once
    New(NewToken),
    /// Those that were made; their secrets are not kept
    List(Configured),
    /// One is no longer good, also for queries that are running
    Revoke {
        #[command(flatten)]
        configured: Configured,
        /// Its number in the list
        id: i64,
    },
}

#[derive(Args)]
struct NewToken {
    #[command(flatten)]
    configured: Configured,
    /// For somebody who queries, by name; without it, for one agent that enrols
    #[arg(long, value_name = "NAME")]
    reader: Option<String>,
    /// Make a certificate for the reader in place of a token: its key, it, and the authority's are written to
    /// this new file, all in PEM
    #[arg(long, value_name = "FILE", requires = "reader")]
    certificate: Option<PathBuf>,
    /// For the key that signed this request (PKCS #10, PEM), which stays where it is
    #[arg(long, value_name = "FILE", requires = "certificate")]
    request: Option<PathBuf>,
    /// The name that the agent's node must have; without it, any
    #[arg(long, value_name = "NAME", conflicts_with = "reader")]
    node: Option<String>,
    /// How long it is good: 1 hour for an agent, 90 days for a reader unless given
    #[arg(long, value_name = "HOURS")]
    hours: Option<u32>,
}

#[derive(Subcommand)]
enum Agent {
    /// All of them
    List(Configured),
    /// One is no longer let in, and its connections are closed within seconds
    Revoke {
        #[command(flatten)]
        configured: Configured,
        /// The agent, as the list has it
        agent: AgentId,
    },
}

#[derive(Args)]
struct Shred {
    #[command(flatten)]
    configured: Configured,
    /// The agent
    agent: AgentId,
    /// Its session
    session: SessionId,
}

/// Runs what was typed. Errors go to standard error; the exit status is then 2.
pub(crate) fn run() -> ExitCode {
    let typed = match Typed::try_parse() {
        Ok(typed) => typed,
        Err(refusal) => {
            let _ = refusal.print();
            return ExitCode::from(if refusal.use_stderr() { 2 } else { 0 });
        }
    };
    Log::install();
    match carry_out(typed.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(io::stderr(), "tracer-collector: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn carry_out(command: Command) -> Result<bool> {
    let done = match command {
        Command::Verify(Configured { config }) => return verify(&config),
        Command::Init(init) => make(init),
        Command::Serve(Configured { config }) => serve(&config),
        Command::Check(Configured { config }) => {
            let configuration = Configuration::read(&config)?;
            say(&format!("{configuration:#?}\n"))
        }
        Command::Rotate(what) => rotate::rotate(what, now()).and_then(|text| say(&text)),
        Command::Completions { shell } => manual::completions(&mut Typed::command(), shell),
        Command::Man { folder } => manual::pages(Typed::command(), folder.as_deref()),
        Command::Token(token) => tokens(token),
        Command::Agent(agent) => agents(agent),
        Command::Shred(Shred {
            configured: Configured { config },
            agent,
            session,
        }) => {
            let configuration = Configuration::read(&config)?;
            let store = SqliteStore::open(&configuration.store, configuration.segment)?;
            let count = store.shred(agent, session)?;
            ensure!(count > 0, "nothing of session {session} is kept");
            say(&format!("{count} records were overwritten\n"))
        }
    };
    done.map(|()| true)
}

fn verify(config: &Path) -> Result<bool> {
    let configuration = Configuration::read(config)?;
    let store = SqliteStore::open(&configuration.store, configuration.segment)?;
    let report = verify::verify(&store)?;
    say(&report.to_string())?;
    Ok(report.is_whole())
}

fn make(typed: Init) -> Result<()> {
    let Init {
        folder,
        names,
        agents,
        https,
        trust_domain,
    } = typed;
    let plan = Plan {
        folder,
        trust_domain: trust_domain.parse().context("--trust-domain")?,
        names,
        agents,
        https,
    };
    let now = now();
    let configuration = init::init(&plan, now)?;
    let token = init::enrolment_token(&configuration, "", HOUR, now)?;
    let config = plan.folder.join(CONFIGURATION);
    let config = config.display();
    say(&format!(
        "Made a collector in {}.\n\n\
         Start it:\n    tracer-collector serve --config {config}\n\n\
         Enrol an agent within an hour, on its host:\n    sudo tracer agent enroll --token {token}\n\n\
         Another one:\n    tracer-collector token new --config {config}\n\
         To query:\n    tracer-collector token new --config {config} --reader NAME\n",
        plan.folder.display()
    ))
}

const HOUR: Duration = Duration::from_hours(1);

fn serve(config: &Path) -> Result<()> {
    let configuration = Configuration::read(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("awaiting SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("awaiting SIGINT")?;
        let hangup = signal(SignalKind::hangup()).context("awaiting SIGHUP")?;
        let server = Server::bind(configuration, Some(config.to_owned())).await?;
        log::info!(
            "agents: {}, https: {}",
            server.address(Port::Agents)?,
            server.address(Port::Https)?
        );
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let hangup = std::sync::Arc::new(tokio::sync::Mutex::new(hangup));
        let reload = move || {
            let hangup = std::sync::Arc::clone(&hangup);
            let asked = async move {
                hangup.lock().await.recv().await;
            };
            Box::pin(asked) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
        };
        server.serve(stop, reload).await
    })
}

fn tokens(token: Token) -> Result<()> {
    match token {
        Token::New(NewToken {
            configured: Configured { config },
            reader,
            certificate,
            request,
            node,
            hours,
        }) => {
            let configuration = Configuration::read(&config)?;
            let lasts = |hours: u32| Duration::from_hours(hours.into());
            if let Some(name) = reader {
                ensure!(
                    is_node_name(&name),
                    "--reader takes letters, digits, '.', '-', '_'"
                );
                let lasts = lasts(hours.unwrap_or(24 * 90));
                if let Some(file) = certificate {
                    return certify(&configuration, &name, request.as_deref(), lasts, &file);
                }
                let token = init::reader_token(&configuration, &name, lasts, now())?;
                return say(&format!("{token}\n"));
            }
            let node = node.unwrap_or_default();
            let is_name = node.is_empty() || is_node_name(&node);
            ensure!(
                is_name,
                "--node takes at most 64 letters, digits, '.', '-', '_'"
            );
            let lasts = lasts(hours.unwrap_or(1));
            let token = init::enrolment_token(&configuration, &node, lasts, now())?;
            say(&format!("{token}\n"))
        }
        Token::List(Configured { config }) => {
            let registry = registry(&config)?;
            let mut text = String::from("   ID  FOR    NAME              STATE\n");
            for token in registry.tokens()? {
                let state = if token.revoked.is_some() {
                    String::from("revoked")
                } else if let Some(agent) = token.used_by {
                    format!("used by {agent}")
                } else if token.expires <= now() {
                    String::from("expired")
                } else {
                    let left = Duration::from_nanos(token.expires.0 - now().0);
                    format!(
                        "good for {} h {} min",
                        left.as_secs() / 3600,
                        left.as_secs() / 60 % 60
                    )
                };
                let name = if token.name.is_empty() {
                    "-"
                } else {
                    &token.name
                };
                text += &format!("{:5}  {:5}  {name:16}  {state}\n", token.id, token.purpose);
            }
            say(&text)
        }
        Token::Revoke {
            configured: Configured { config },
            id,
        } => {
            if !registry(&config)?.revoke_token(id, now())? {
                bail!(
                    "there is no token or certificate {id} that was good; see tracer-collector token list"
                );
            }
            say(&format!("{id} is no longer good\n"))
        }
    }
}

fn certify(
    configuration: &Configuration,
    name: &str,
    request: Option<&Path>,
    lasts: Duration,
    file: &Path,
) -> Result<()> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
    };
    let request = request.map(read).transpose()?;
    init::reader_certificate(configuration, name, request.as_deref(), lasts, now(), file)?;
    say(&format!("{}\n", file.display()))
}

fn agents(agent: Agent) -> Result<()> {
    match agent {
        Agent::List(Configured { config }) => {
            let mut text = String::from("NODE              STATE     AGENT\n");
            for agent in registry(&config)?.agents()? {
                let state = if agent.revoked.is_some() {
                    "revoked"
                } else if agent.certified_until <= now() {
                    "expired"
                } else {
                    "good"
                };
                text += &format!("{:16}  {state:8}  {}\n", agent.name, agent.agent);
            }
            say(&text)
        }
        Agent::Revoke {
            configured: Configured { config },
            agent,
        } => {
            if !registry(&config)?.revoke_agent(agent, now())? {
                bail!("there is no agent {agent} that was let in; see tracer-collector agent list");
            }
            say(&format!("agent {agent} is no longer let in\n"))
        }
    }
}

fn registry(config: &Path) -> Result<Registry> {
    let configuration = Configuration::read(config)?;
    Ok(Registry::open(&configuration.store)?)
}

fn say(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("writing to standard output"),
    }
}

fn now() -> WallNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    WallNanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Writes the log to standard error, where the journal takes it: a line each, the priority before it
/// as systemd reads it.
struct Log;

impl Log {
    fn install() {
        // Nothing else has set one.
        let _ = log::set_logger(&Self);
        let level = std::env::var("TRACER_LOG").ok();
        let level = level.and_then(|level| level.parse().ok());
        log::set_max_level(level.unwrap_or(log::LevelFilter::Info));
    }
}

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("tracer_")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let priority = match record.level() {
            log::Level::Error => 3,
            log::Level::Warn => 4,
            log::Level::Info => 6,
            log::Level::Debug | log::Level::Trace => 7,
        };
        // What others sent may stand in a line: it must not begin another.
        let line: String = record
            .args()
            .to_string()
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        let _ = writeln!(io::stderr(), "<{priority}>{line}");
    }

    fn flush(&self) {}
}
