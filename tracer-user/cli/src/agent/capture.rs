//! The process that sees events: `tracer trace`'s pipeline, with a sink that seals.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, ensure};
use tracer_abi::CaptureLevel;
use tracer_agent::{
    capture::{CollectorKey, Handing, Outbox, ROOM, Sealing, Whom, load_or_make_key},
    config::{AgentConfig, Level},
    confine,
    ship::LINK,
    signals::Signals,
};
use tracer_probe::{Selection, features::Host};
use tracer_wire::Recipient;

use crate::{
    arguments::meant::{self, integrity::Against, level_name},
    consent::{ceiling, journal},
    trace::{run::Run, settings::Settings},
};

/// How long the end waits until ship has everything.
const DRAIN: Duration = Duration::from_secs(10);
/// Between two looks at signals while there is nothing to trace for.
const LOOK: Duration = Duration::from_millis(200);
/// Between two reports of how it goes.
const REPORT: Duration = Duration::from_secs(1);
/// The kernel that opens the files a process has mapped without `CAP_SYS_ADMIN`, and attaches probes
/// without it.
const RIGHTS_WITHOUT_ADMIN: (u32, u32) = (5, 16);

/// Why a run ended.
enum Ended {
    Stop,
    /// There is another configuration.
    Reload(Box<AgentConfig>),
    /// Nothing can come any more of what was selected.
    Finished,
    /// Content was captured, and its time is over.
    ContentOver,
}

/// Runs until a signal.
///
/// # Errors
/// If the host does not allow tracing, or the process cannot be confined.
pub(super) fn run(path: &Path, config: AgentConfig, supervised: bool) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "cannot trace: capture needs root; start it by its service or with sudo"
    );
    if let Some(obstacle) = Host::read().obstacle() {
        return Err(anyhow!(obstacle).context("cannot trace"));
    }
    let key = load_or_make_key(&config.capture.state)?;
    // It is used until the process ends.
    let key = &*Box::leak(Box::new(key));
    let collector = CollectorKey::load(&config.capture.state, config.collector.recipient.clone())?;
    let whom = Whom {
        socket: config.ship.sockets.join(LINK),
        user: config.ship_user()?.0,
    };
    let needs_admin = config.capture.verify_auto || is_before(RIGHTS_WITHOUT_ADMIN);
    confine::capture(needs_admin, supervised)?;
    let signals = Signals::listen().context("listen for signals")?;
    let outbox = Arc::new(Outbox::new(key, ROOM));
    let handing = Handing::start(whom, key, Arc::clone(&outbox), collector)
        .context("start the thread that hands records over")?;
    let seal = |recipient, readers| Sealing::new(key, Arc::clone(&outbox), recipient, readers);
    let mut config = config;
    let ended = loop {
        let Some(recipient) = await_collector(&handing, &signals) else {
            break Ok(());
        };
        let level = level_now(&config);
        let wishes = Wishes {
            path,
            config: &config,
            level,
        };
        match one_run(&wishes, &handing, &signals, recipient, seal) {
            Ok(Ended::Stop) => break Ok(()),
            Ok(Ended::Finished) => log::info!("what was selected has ended"),
            Ok(Ended::ContentOver) => log::info!("content is not captured any more"),
            Ok(Ended::Reload(new)) => {
                config = *new;
                log::info!("the configuration was read again");
            }
            Err(error) => break Err(error),
        }
    };
    handing.tell(|status| "ending".clone_into(&mut status.doing));
    if !handing.finish(DRAIN) {
        log::error!("ship did not take everything: the records that it has not are lost");
    }
    ended
}

/// Whom telemetry is for; none if the process should end first.
fn await_collector(handing: &Handing, signals: &Signals) -> Option<Recipient> {
    let mut is_told = false;
    while !signals.is_stop() {
        if let Some(recipient) = handing.collector(LOOK) {
            return Some(recipient);
        }
        if !is_told {
            is_told = true;
            let doing = "waiting for the first enrolment: whom telemetry is for is not known";
            log::info!("{doing}");
            handing.tell(|status| doing.clone_into(&mut status.doing));
        }
    }
    None
}

/// What a run is to do.
struct Wishes<'a> {
    path: &'a Path,
    config: &'a AgentConfig,
    level: Level,
}

/// Traces until a signal, or until content has been captured for as long as was allowed.
fn one_run(
    wishes: &Wishes<'_>,
    handing: &Handing,
    signals: &Signals,
    recipient: Recipient,
    seal: impl Fn(Recipient, Vec<Recipient>) -> Sealing,
) -> Result<Ended> {
    let Wishes { config, level, .. } = *wishes;
    let settings = settings(config, level)?;
    let is_content = settings.captures_content();
    let log = is_content
        .then(|| {
            ceiling::permit(settings.arguments.level)?;
            journal::record(&settings.journal_entry())
        })
        .transpose()?;
    let sealing = seal(recipient, config.content.recipients.clone());
    let mut run = Run::start(&settings, sealing)?;
    log::info!("tracing at level {}", level.name());
    let ended = follow(&mut run, wishes, handing, signals, is_content);
    // Whatever ended it: what the run still holds back is sealed.
    let finished = run.finish().map(|(sealing, _)| sealing.close());
    let noted = log.map(|log| {
        let level = level_name(settings.arguments.level);
        log.write(&format!("capture at level {level} ended"))
            .context("note the end of the capture in the host's log")
    });
    let ended = ended?;
    finished?;
    noted.transpose()?;
    Ok(ended)
}

/// Traces until something ends it.
fn follow(
    run: &mut Run<Sealing>,
    wishes: &Wishes<'_>,
    handing: &Handing,
    signals: &Signals,
    is_content: bool,
) -> Result<Ended> {
    let Wishes {
        path,
        config,
        level,
    } = *wishes;
    let mut reported = SystemTime::UNIX_EPOCH;
    loop {
        if signals.is_stop() {
            return Ok(Ended::Stop);
        }
        if signals.take_reload() {
            match reread(path) {
                Ok(new) => return Ok(Ended::Reload(Box::new(new))),
                Err(error) => log::error!("{error:#}; capture goes on as it was"),
            }
        }
        if is_content && level_now(config) != level {
            return Ok(Ended::ContentOver);
        }
        if !run.go_on(None)? {
            return Ok(Ended::Finished);
        }
        let lost = run.sink().take_lost();
        run.count_refused(lost);
        if reported.elapsed().is_ok_and(|since| since >= REPORT) {
            reported = SystemTime::now();
            let (found, counts) = (run.found(), run.sink().counts());
            handing.tell(|status| {
                status.doing = format!("tracing at level {}", level.name());
                status.runtimes = found.runtimes;
                status.attached = found.attached;
                status.events_sealed = counts.sealed;
                status.events_withheld = counts.withheld;
                status.events_lost += lost;
            });
        }
    }
}

/// The level that counts at this time.
fn level_now(config: &AgentConfig) -> Level {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    match config.capture.until {
        Some(until) if now < until => config.capture.level,
        Some(_) | None => config.capture.level.min(Level::Shape),
    }
}

fn reread(path: &Path) -> Result<AgentConfig> {
    let config = AgentConfig::read(path)?;
    settings(&config, config.capture.level)?;
    Ok(config)
}

/// What a run of `tracer trace` with the same wishes would be told.
pub(super) fn settings(config: &AgentConfig, level: Level) -> Result<Settings> {
    let capture = &config.capture;
    let selection = if let Some(name) = &capture.runtime {
        Selection::Runtime(name.clone())
    } else if let Some(path) = &capture.exe {
        Selection::Exe(path.clone())
    } else if let Some(path) = &capture.cgroup {
        Selection::Cgroup(path.clone())
    } else {
        Selection::Everything
    };
    let level = match level {
        Level::Timing => CaptureLevel::Timing,
        Level::Shape => CaptureLevel::Shape,
        Level::Tokens => CaptureLevel::Tokens,
        Level::Text => CaptureLevel::Text,
    };
    // The kernel's own deadline, for content alone.
    let until = capture.until.filter(|_| level > CaptureLevel::Shape);
    let duration = until.map(|until| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Duration::from_secs(until).saturating_sub(now.unwrap_or_default())
    });
    Settings::read(meant::Trace {
        selection,
        duration,
        level,
        profiles: capture.profiles.clone(),
        vouch: capture.verify_auto.then_some(Against::Store),
        policy: capture.policy.clone(),
        govern: capture.govern,
        kernel_log: None,
        outputs: Vec::new(),
        print_only: false,
    })
}

fn is_before(version: (u32, u32)) -> bool {
    let release = crate::trace::run::kernel_text("/proc/sys/kernel/osrelease");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < version,
        _ => true,
    }
}
