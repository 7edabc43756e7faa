//! Real agents and collectors, killed in the middle of what they do: what a ship has said to keep is
//! stored once, in order and unchanged, or declared; content is nowhere in the clear. Needs root and BPF.
//!
//! Each run is a seed: `TRACER_SEED` runs one alone, `TRACER_FULL=1` all thirty.

mod full;
mod stored;

use std::{
    collections::BTreeSet, os::unix::process::ExitStatusExt as _, process::ExitStatus, thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use memchr::memmem::Finder;
use tracer_collector::{config::Configuration, server::Server};
use tracer_event::{Body, WallNanos};
use tracer_tests::{
    cache::Cache,
    comparison::assert_exact,
    fleet::{self, Fleet, Part, Wishes},
    model::TINY,
    patience,
    random::SplitMix,
    report::Account,
    requires_root,
    tracer::Trace,
    workload::{Place, Running, Runtime},
};

/// In every prompt. Nobody issued it.
const SECRET: &str = "hunter2-Quokka-4711-ferdinand";

fn seeds(few: std::ops::Range<u64>, all: std::ops::Range<u64>) -> std::ops::Range<u64> {
    if let Some(seed) = std::env::var("TRACER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return seed..seed + 1;
    }
    match std::env::var_os("TRACER_FULL") {
        Some(_) => all,
        None => few,
    }
}

/// As many generations of a second or more, which wait before they begin, and before they end.
fn generations(cache: &Cache, count: usize) -> Result<Running> {
    let prompt = format!("The password is {SECRET}, keep it. Tell me a story about the sea.");
    let mut steps = vec!["--n", "40", "--pause-us", "25000", "--prompt", &prompt];
    steps.extend(["load", "context", "wait", "generate"]);
    steps.extend(["reuse", "generate"].repeat(count - 1));
    steps.extend(["wait=end", "free", "unload"]);
    let mut running = Running::start(
        Runtime::NodeLlamaCpp.command(cache, TINY, &steps)?,
        Place::Host,
    )?;
    running.until_waiting()?;
    Ok(running)
}

/// Kills some of the processes at some times while a generation runs. At the end all run again.
fn disturb(fleet: &mut Fleet, random: &mut SplitMix, whom: &[Part]) -> Result<()> {
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(100 + random.number() % 700));
        let index = random.below(whom.len());
        let victim = whom[index];
        // One may be on its way up again by itself.
        fleet.until("there", |_| true)?;
        fleet.kill(victim)?;
        thread::sleep(Duration::from_millis(random.number() % 600));
        fleet.run(victim)?;
    }
    Ok(())
}

/// Until the collector has what there is.
fn drained(fleet: &mut Fleet) -> Result<()> {
    fleet.until("drained", |status| {
        let is_handed = status
            .capture
            .as_ref()
            .is_some_and(|capture| capture.records_waiting == 0);
        status.is_connected && status.spool_records == 0 && is_handed
    })
}

/// An agent that captures text.
fn content() -> Wishes {
    Wishes {
        is_content: true,
        ..Wishes::default()
    }
}

fn ended_well() -> ExitStatus {
    ExitStatus::from_raw(0)
}

#[test]
fn nothing_that_a_model_did_is_missing_after_ship_and_collector_were_killed() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    for seed in seeds(0..3, 0..15) {
        let mut random = SplitMix(seed);
        let mut fleet = Fleet::start(content())?;
        let mut running = generations(&cache, 3)?;
        let pid = running.pid();
        fleet.until("attached", |status| {
            status
                .capture
                .as_ref()
                .is_some_and(|capture| capture.attached > 0)
        })?;
        thread::sleep(Duration::from_secs(1));
        running.go()?;
        disturb(&mut fleet, &mut random, &[Part::Ship, Part::Collector])?;
        running.until_waiting()?;
        thread::sleep(Duration::from_secs(2));
        running.go()?;
        let lines = running.finish()?;
        fleet.until("there", |status| status.capture.is_some())?;
        fleet.stop(Part::Capture)?;
        fleet.until("drained", |status| {
            status.is_connected && status.spool_records == 0
        })?;
        let kept = fleet.kept()?;
        fleet.stop(Part::Ship)?;
        fleet.stop(Part::Collector)?;
        let stored = stored::read(&fleet)?;
        ensure!(
            (stored.sessions, stored.closed) == (2, 2),
            "seed {seed}: sessions"
        );
        ensure!(
            stored.declared == 0,
            "seed {seed}: {} records are gone",
            stored.declared
        );
        ensure!(
            stored.records >= kept,
            "seed {seed}: {kept} kept, {} stored",
            stored.records
        );
        let trace = Trace {
            events: stored.events,
            stderr: String::new(),
            status: ended_well(),
        };
        assert_exact(&Account::of(&lines)?, &trace, pid)
            .map_err(|error| error.context(format!("seed {seed}")))?;
        println!(
            "seed {seed}: {kept} records kept, {} stored",
            stored.records
        );
    }
    Ok(())
}

#[test]
fn what_was_kept_is_stored_whoever_is_killed() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    for seed in seeds(100..103, 100..115) {
        let mut random = SplitMix(seed);
        let mut fleet = Fleet::start(content())?;
        let mut running = generations(&cache, 3)?;
        let pid = running.pid();
        running.go()?;
        let all = [Part::Capture, Part::Ship, Part::Collector];
        disturb(&mut fleet, &mut random, &all)?;
        running.until_waiting()?;
        running.kill()?;
        drained(&mut fleet)?;
        fleet.stop(Part::Capture)?;
        fleet.until("drained", |status| {
            status.is_connected && status.spool_records == 0
        })?;
        let kept = fleet.kept()?;
        fleet.stop(Part::Ship)?;
        fleet.stop(Part::Collector)?;
        let stored = stored::read(&fleet)?;
        ensure!(
            stored.declared == 0,
            "seed {seed}: {} records are gone",
            stored.declared
        );
        ensure!(
            stored.records >= kept,
            "seed {seed}: {kept} kept, {} stored",
            stored.records
        );
        ensure!(
            stored.closed >= 1,
            "seed {seed}: the last capture ended in order"
        );
        // No step is told twice, however often processes began again.
        let mut steps = BTreeSet::new();
        for line in &stored.events {
            if let Body::Step(_) = line.body
                && line.place.pid == Some(tracer_event::Pid(pid))
            {
                ensure!(
                    steps.insert((line.time.boot, line.place.tid)),
                    "seed {seed}: a step twice"
                );
            }
        }
        println!(
            "seed {seed}: {kept} records kept, {} stored, {} steps",
            stored.records,
            steps.len()
        );
    }
    Ok(())
}

#[test]
fn content_is_in_the_clear_nowhere_but_for_its_reader() -> Result<()> {
    requires_root!();
    let cache = Cache::open()?;
    let mut fleet = Fleet::start(content())?;
    // More than anybody waits for.
    let mut running = generations(&cache, 200)?;
    fleet.until("attached", |status| {
        status
            .capture
            .as_ref()
            .is_some_and(|capture| capture.attached > 0)
    })?;
    thread::sleep(Duration::from_secs(1));
    // As it is, and in the hexadecimal and base64 forms that events could have.
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    let forms = [SECRET.as_bytes(), hex.as_bytes(), b"aHVudGVyMi1RdW9ra2E"].map(Finder::new);
    let holds = |bytes: &[u8]| forms.iter().any(|form| form.find(bytes).is_some());
    // The collector is away, so that all of it lies in the spool.
    fleet.kill(Part::Collector)?;
    running.go()?;
    // Whoever seals has it, or this would show nothing. What was sealed is freed, and may be written over:
    // it is looked for while the model still answers.
    let capture = fleet.pid(Part::Capture)?;
    patience::until("capture has seen the secret", || {
        fleet::holds_in_memory(capture, holds)
    })?;
    running.kill()?;
    thread::sleep(Duration::from_secs(2));
    fleet.until("in the spool", |status| {
        let is_handed = status
            .capture
            .as_ref()
            .is_some_and(|capture| capture.records_waiting == 0);
        status.spool_records > 0 && is_handed
    })?;
    let ship = fleet::memory(fleet.pid(Part::Ship)?)?;
    ensure!(
        ship.len() > 1 << 20,
        "its memory was read: {} bytes",
        ship.len()
    );
    ensure!(!holds(&ship), "ship's memory holds the secret");
    let spool = fleet::contents(&fleet.path("ship"))?;
    ensure!(
        spool.len() > 1000 && !holds(&spool),
        "the spool holds the secret"
    );
    fleet.run(Part::Collector)?;
    drained(&mut fleet)?;
    ensure!(
        !holds(&fleet::memory(fleet.pid(Part::Collector)?)?),
        "the collector's memory"
    );
    fleet.stop(Part::Capture)?;
    fleet.stop(Part::Ship)?;
    fleet.stop(Part::Collector)?;
    ensure!(
        !holds(&fleet::contents(&fleet.path("collector"))?),
        "the collector's folder"
    );
    let stored = stored::read(&fleet)?;
    let texts = stored.events.iter().filter_map(|line| match &line.body {
        Body::Text(text) => Some(serde_json::to_vec(text)),
        _ => None,
    });
    let read = texts.collect::<Result<Vec<_>, _>>()?.concat();
    ensure!(holds(&read), "its reader cannot read it");
    Ok(())
}

/// What each process may do is asked of the kernel; `tracer-agent`'s own tests try it.
#[test]
fn both_processes_have_what_they_need_and_no_more() -> Result<()> {
    requires_root!();
    let fleet = Fleet::start(content())?;
    let told = |part| -> Result<Vec<String>> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", fleet.pid(part)?))?;
        let wanted = ["Uid", "CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp"];
        let lines = status.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            wanted
                .contains(&name)
                .then(|| format!("{name} {}", value.trim().replace('\t', " ")))
        });
        Ok(lines.collect())
    };
    let capture: u64 = tracer_agent::confine::CAPTURE_NEEDS
        .iter()
        .filter(|(_, why)| !why.contains("fanotify"))
        .map(|(capability, _)| capability.bits())
        .sum();
    let sets = |bits: u64| ["CapPrm", "CapEff", "CapBnd"].map(|set| format!("{set} {bits:016x}"));
    let expected = |uid: &str, bits: u64| {
        let mut lines = vec![format!("Uid {uid} {uid} {uid} {uid}")];
        lines.extend(sets(bits));
        lines.extend(["NoNewPrivs 1".to_owned(), "Seccomp 2".to_owned()]);
        lines
    };
    assert_eq!(told(Part::Ship)?, expected("65534", 0));
    assert_eq!(told(Part::Capture)?, expected("0", capture));
    // Every thread, not only the first.
    for part in [Part::Ship, Part::Capture] {
        let tasks = format!("/proc/{}/task", fleet.pid(part)?);
        for task in std::fs::read_dir(tasks)? {
            let status = std::fs::read_to_string(task?.path().join("status"))?;
            ensure!(
                status.contains("Seccomp:\t2"),
                "{part:?}: a thread without a filter"
            );
        }
    }
    Ok(())
}

/// A collector in this process, whose certificates for agents end soon.
struct ShortLived {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<Result<()>>>,
}

impl ShortLived {
    fn serve(fleet: &Fleet, lasts: Duration) -> Result<Self> {
        let mut configuration = Configuration::read(&fleet.path("collector/collector.toml"))?;
        configuration.agent_lasts = lasts;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let server = Server::bind(configuration, None).await?;
                let stopped = async { drop(stopped.await) };
                server
                    .serve(stopped, || Box::pin(std::future::pending()))
                    .await
            })
        };
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread::spawn(serve)),
        })
    }
}

impl Drop for ShortLived {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn a_certificate_is_renewed_in_time_and_one_that_ended_takes_a_new_token() -> Result<()> {
    requires_root!();
    let mut fleet = Fleet::prepare(content())?;
    // The collector dates certificates five minutes back: two thirds of this are over in six seconds.
    let collector = ShortLived::serve(&fleet, Duration::from_secs(160))?;
    fleet.run(Part::Ship)?;
    fleet.run(Part::Capture)?;
    fleet.until("connected", |status| status.is_connected)?;
    let first = fleet.status()?.certificate_until;
    ensure!(first.is_some(), "it has a certificate");
    fleet.until("renewed", |status| {
        status.is_connected && status.certificate_until > first
    })?;
    let renewed = fleet.status()?.certificate_until;
    drop(collector);
    // Now they end at once. The agent renews with the one that it has, and is left with one that ends:
    // whether it is still connected by the time somebody looks is a matter of speed.
    let collector = ShortLived::serve(&fleet, Duration::from_secs(2))?;
    fleet.until("renewed once more", |status| {
        status.certificate_until < renewed
    })?;
    drop(collector);
    thread::sleep(Duration::from_secs(4));
    let _collector = ShortLived::serve(&fleet, Duration::from_hours(1))?;
    fleet.until("told that its certificate ended", |status| {
        status.collector.contains("enrol again with a new token")
    })?;
    let token = tracer_collector::init::enrolment_token(
        &Configuration::read(&fleet.path("collector/collector.toml"))?,
        "",
        Duration::from_hours(1),
        WallNanos(u64::try_from(
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)?
                .as_nanos(),
        )?),
    )?;
    fleet.enroll(&token.to_string())?;
    fleet.until("connected again", |status| status.is_connected)?;
    fleet.stop(Part::Capture)?;
    fleet.until("drained", |status| status.spool_records == 0)?;
    Ok(())
}

#[test]
fn a_wrong_configuration_is_refused_and_a_right_one_taken_over() -> Result<()> {
    requires_root!();
    let mut fleet = Fleet::start(content())?;
    let path = fleet.path("agent.toml");
    let right = std::fs::read_to_string(&path)?;
    fleet.until("tracing", |status| {
        let mut capture = status.capture.iter();
        capture.any(|capture| capture.doing == "tracing at level text")
    })?;
    let pids = [fleet.pid(Part::Ship)?, fleet.pid(Part::Capture)?];
    std::fs::write(&path, right.replace("64MiB", "64 million"))?;
    for part in [Part::Ship, Part::Capture] {
        fleet.reload(part)?;
    }
    patience::until("a wrong one is refused", || {
        let has_said = |part| fleet.log(part).contains("goes on as it was");
        Ok(has_said(Part::Ship) && has_said(Part::Capture))
    })?;
    assert_eq!([fleet.pid(Part::Ship)?, fleet.pid(Part::Capture)?], pids);
    let runs = fleet.log(Part::Capture).matches("tracing at level").count();
    assert_eq!(runs, 1, "its run goes on");
    let line = right.lines().position(|line| line.contains("64MiB"));
    let line = format!("line {}", line.context("it is in the file")? + 1);
    let said = fleet.log(Part::Capture);
    ensure!(said.contains(&line), "{line} is not named: {said}");
    std::fs::write(
        &path,
        right
            .replace("64MiB", "32MiB")
            .replace("level = \"text\"", "level = \"shape\""),
    )?;
    for part in [Part::Ship, Part::Capture] {
        fleet.reload(part)?;
    }
    fleet.until("as the new one says", |status| {
        let mut capture = status.capture.iter();
        let is_shape = capture.any(|capture| capture.doing == "tracing at level shape");
        is_shape && status.spool_limit == 32 << 20 && status.is_connected
    })?;
    // Ship was started again, capture was not.
    ensure!(fleet.pid(Part::Ship)? != pids[0], "ship is confined anew");
    assert_eq!(fleet.pid(Part::Capture)?, pids[1]);
    Ok(())
}
