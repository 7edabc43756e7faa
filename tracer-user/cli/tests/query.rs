//! `tracer query`, `nodes` and `key` as they are typed, against a collector that listens.

mod said;

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use said::Said;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tracer_collector::{
    Port,
    config::Configuration,
    init::{self, CONFIGURATION, Plan},
    server::Server,
    store::{Registry, SqliteStore, Store as _, TokenPurpose},
};
use tracer_event::{
    Body, BootNanos, Content, ContextId, Digest, Event, Grant, Known, Level, Moment, Name, Nanos,
    Place, RawEvent, Schema, WallNanos, agent, inference,
};
use tracer_redact::{CaptureLevel, Engine, Policy, Raw, RunKey};
use tracer_wire::{
    BatchBuilder, Recipient, Record, Sealer, SigningKey, Stream, enrolment::TokenSecret,
};

const BEGIN: u64 = 1_795_402_800_000_000_000;
const SECRET: &str = "ferdinand-4711";

/// A collector with two nodes' events, and what one needs to ask it.
struct Site {
    folder: TempDir,
    token: PathBuf,
    key: PathBuf,
    known: Configuration,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

fn tracer(arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command
        .args(arguments)
        .env_remove("TRACER_READER_TOKEN")
        .env("XDG_CONFIG_HOME", "/nonexistent");
    Said::of(&mut command)
}

impl Site {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("ada.key");
        let said = tracer(&["key", "new", key.to_str().expect("text")]);
        let recipient: Recipient = said.out.trim().parse().expect("a recipient");
        let plan = Plan {
            agents: "127.0.0.1:0".parse().expect("an address"),
            https: "127.0.0.1:0".parse().expect("an address"),
            ..Plan::on_loopback(
                folder.path().join("collector"),
                "test.internal".parse().expect("a name"),
            )
        };
        let now = WallNanos(BEGIN);
        let configuration = init::init(&plan, now).expect("it is made");
        let secret = fs::read_to_string(plan.folder.join("telemetry.key")).expect("a key");
        let telemetry = tracer_wire::RecipientSecret::parse(&secret).expect("a key");
        fill(&configuration, telemetry.recipient(), &recipient);
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let path = plan.folder.join(CONFIGURATION);
        let serving = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let configuration = Configuration::read(&path).expect("it is right");
                let server = Server::bind(configuration, None).await.expect("it listens");
                let port = server.address(Port::Https).expect("an address").port();
                tell.send(port).expect("somebody waits");
                let stop = async {
                    let _ = stopped.await;
                };
                let never = || {
                    Box::pin(std::future::pending())
                        as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
                };
                server.serve(stop, never).await.expect("it serves");
            });
        });
        let port = told.recv().expect("it listens");
        let mut known = configuration;
        known.https = format!("localhost:{port}");
        let hour = Duration::from_hours(24 * 3650);
        let reader = init::reader_token(&known, "ada", hour, now).expect("a token");
        let token = folder.path().join("reader.token");
        fs::write(&token, reader.to_string()).expect("it is ours");
        Self {
            folder,
            token,
            key,
            known,
            stop: Some(stop),
            serving: Some(serving),
        }
    }

    fn ask(&self, arguments: &[&str]) -> Said {
        let token = ["--token", self.token.to_str().expect("text")];
        tracer(&[&arguments[..1], &token, &arguments[1..]].concat())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

/// Stores what two nodes have sent.
fn fill(configuration: &Configuration, telemetry: &Recipient, content: &Recipient) {
    let registry = Registry::open(&configuration.store).expect("it opens");
    let store = SqliteStore::open(&configuration.store, 1 << 20).expect("it opens");
    let (now, later) = (WallNanos(BEGIN), WallNanos(u64::MAX >> 2));
    for (number, node) in [(1, "gpu-7"), (2, "gpu-8")] {
        let key = SigningKey::from_seed(&[number; 32]).expect("a key");
        let secret = TokenSecret::generate().expect("random bytes");
        registry
            .add_token(TokenPurpose::Enrol, "", &secret, later, now)
            .expect("it is kept");
        registry
            .enrol(&secret, key.agent(), node, later, now)
            .expect("it is let in");
        for (stream, recipient) in [(Stream::Telemetry, telemetry), (Stream::Content, content)] {
            let records = session(&key, stream, recipient);
            store.append(&records, now).expect("it is stored");
        }
    }
}

fn session(key: &SigningKey, stream: Stream, recipient: &Recipient) -> Vec<Record> {
    let policy = Policy::parse("[fields]\ntext = \"keep\"\n").expect("it is right");
    let engine = Engine::new(policy, CaptureLevel::Text, RunKey::new([7; 32])).expect("an engine");
    let recipients = vec![recipient.clone()];
    let (mut sealer, opening) =
        Sealer::begin(key, stream, recipients, WallNanos(BEGIN)).expect("it begins");
    let mut records = vec![opening];
    let mut builder = BatchBuilder::new(stream);
    for second in 0..5 {
        let time = BEGIN + second * 1_000_000_000;
        let bodies = match stream {
            Stream::Telemetry => vec![step(), silent()],
            Stream::Content => vec![text()],
        };
        for body in bodies {
            builder
                .push(&event(time, body).redact(&engine))
                .expect("it fits");
        }
        let batch = builder
            .take()
            .expect("it is compressed")
            .expect("there is one");
        let sealed = sealer.seal(batch, WallNanos(time)).expect("it is sealed");
        records.extend(sealed.into_records());
    }
    records.extend(sealer.close());
    records
}

fn event(time: u64, body: Body<Raw<Content>>) -> RawEvent {
    Event {
        schema: Schema,
        time: Moment {
            boot: BootNanos(time - BEGIN),
            wall: WallNanos(time),
        },
        place: Place::node(Name::new("gpu")),
        probe: None,
        grant: Arc::new(Grant {
            name: Name::new("local"),
            level: Level::Text,
            policy: Digest([0xab; 32]),
        }),
        late: false,
        body,
    }
}

fn step() -> Body<Raw<Content>> {
    Body::Step(Box::new(inference::Step {
        context: Known::Known(ContextId(1)),
        model: Known::Unknown,
        kind: Known::Known(inference::StepKind::Decode),
        duration: Known::Known(Nanos(10_000_000)),
        tokens: Known::Known(1),
        sequences: Known::Known(1),
        outcome: inference::Outcome::Returned(0),
        warm_up: false,
        approximate: false,
    }))
}

fn silent() -> Body<Raw<Content>> {
    Body::Silent(agent::Silent {
        runtime: Name::new("llama.cpp"),
        busy: Nanos(1_000_000_000),
    })
}

fn text() -> Body<Raw<Content>> {
    Body::Text(Box::new(inference::Text {
        direction: inference::Direction::Output,
        context: Known::Unknown,
        request: Known::Unknown,
        sequence: Known::Unknown,
        part: 0,
        text: Raw::new(Content::text(SECRET)),
        incomplete: false,
    }))
}

#[test]
fn events_are_asked_for_by_node_kind_and_time() {
    let site = Site::start();
    let count = |arguments: &[&str]| {
        let said = site.ask(&[&["query", "-o", "ndjson"], arguments].concat());
        let lines = said.out.lines().count();
        let status = if lines == 0 { 1 } else { 0 };
        assert_eq!(said.status, Some(status), "{said:?}");
        lines
    };
    assert_eq!(count(&[]), 20);
    assert_eq!(count(&["--node", "gpu-7"]), 10);
    assert_eq!(count(&["--node", "gpu-7", "--kind", "inference.step"]), 5);
    assert_eq!(count(&["--to", "2026-11-23T03:00:00Z"]), 4);
    assert_eq!(count(&["--limit", "3"]), 3);
    assert_eq!(count(&["--node", "nobody"]), 0);
    let pretty = site.ask(&["query"]);
    assert!(pretty.out.contains("20 events"), "{pretty:?}");
    assert!(!pretty.out.contains(SECRET));
}

#[test]
fn content_opens_with_its_key_and_no_other() {
    let site = Site::start();
    let key = site.key.to_str().expect("text");
    let said = site.ask(&["query", "--key", key, "-o", "ndjson"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(said.out.matches(SECRET).count(), 10);
    let said = site.ask(&["query", "--key", key, "--node", "gpu-8"]);
    assert_eq!(said.out.matches(SECRET).count(), 5, "{said:?}");

    let other = site.folder.path().join("other.key");
    let other = other.to_str().expect("text");
    assert_eq!(tracer(&["key", "new", other]).status, Some(0));
    let said = site.ask(&["query", "--key", other]);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(said.out.contains("not sealed for this key"), "{said:?}");
    assert!(!said.out.contains(SECRET));
}

#[test]
fn nodes_are_listed() {
    let site = Site::start();
    let said = site.ask(&["nodes"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    let nodes: Vec<_> = said
        .out
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(nodes, ["gpu-7", "gpu-8"]);
    let said = site.ask(&["nodes", "-o", "ndjson"]);
    assert_eq!(said.out.lines().count(), 2);
}

#[test]
fn a_certificate_lets_in_as_a_token_does() {
    let site = Site::start();
    let made = |name: &str, lasts| {
        let file = site.folder.path().join(name);
        // The clock of this process is the one that counts in a handshake.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = WallNanos(now.expect("it is later").as_nanos() as u64);
        init::reader_certificate(&site.known, "ada", None, lasts, now, &file).expect("one");
        file.to_str().expect("text").to_owned()
    };
    let hour = Duration::from_hours(1);
    let good = made("ada.pem", hour);
    let asked = |arguments: &[&str]| {
        tracer(&[&arguments[..1], &["--certificate"], &arguments[1..]].concat())
    };
    let said = asked(&["query", &good, "-o", "ndjson"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(said.out.lines().count(), 20);
    assert_eq!(asked(&["nodes", &good]).status, Some(0));

    // It is good no longer.
    let registry = Registry::open(&site.known.store).expect("it opens");
    let tokens = registry.tokens().expect("they are kept");
    let mut certificates = tokens.iter().rev();
    let token = certificates.find(|token| token.purpose == TokenPurpose::ReadCertified);
    let id = token.expect("one was made").id;
    registry
        .revoke_token(id, WallNanos(BEGIN))
        .expect("it is kept");
    let said = asked(&["query", &good]);
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(said.err.contains("make another certificate"), "{said:?}");

    let expired = made("old.pem", Duration::ZERO);
    let said = asked(&["nodes", &expired]);
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(said.err.contains("make another certificate"), "{said:?}");

    let text = fs::read_to_string(&good).expect("it is ours");
    let half = site.folder.path().join("half.pem");
    let end = text.find("-----BEGIN CERTIFICATE").expect("it has one");
    fs::write(&half, &text[..end]).expect("it is ours");
    let said = asked(&["query", half.to_str().expect("text")]);
    assert!(said.err.contains("holds no certificate"), "{said:?}");
}

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    let site = Site::start();
    let nothing = tracer(&["query"]);
    assert_eq!(nothing.status, Some(2));
    assert!(
        nothing.err.contains("tracer-collector token new"),
        "{nothing:?}"
    );

    let wrong = site.ask(&["query", "--from", "yesterday"]);
    assert_eq!(wrong.status, Some(2));
    assert!(wrong.err.contains("a time such as"), "{wrong:?}");

    let nobody = site.ask(&["query", "--collector", "localhost:1"]);
    assert_eq!(nobody.status, Some(2));
    assert!(nobody.err.contains("localhost:1"), "{nobody:?}");

    // A token of another collector does not trust this one.
    let other = Site::start();
    let text = fs::read_to_string(&site.token).expect("it is ours");
    let ours: tracer_wire::enrolment::ReaderToken = text.parse().expect("a token");
    let said = other.ask(&["query", "--collector", &ours.0.collector]);
    assert_eq!(said.status, Some(2));
    assert!(said.err.contains("UnknownIssuer"), "{said:?}");
}

#[test]
fn a_key_is_for_its_owner_and_not_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ada.key");
    let name = file.to_str().expect("text");
    let new = tracer(&["key", "new", name]);
    assert!(new.out.starts_with("x25519:"), "{new:?}");
    let mode = fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(tracer(&["key", "show", name]).out, new.out);
    let again = tracer(&["key", "new", name]);
    assert_eq!(again.status, Some(2));
    assert!(again.err.contains("exists already"), "{again:?}");
}
