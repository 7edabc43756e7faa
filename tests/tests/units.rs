//! The packaged units under a real systemd: who each process is and what it cannot do, that each is started
//! again without the other, reloads, and stops in order. Needs root, BPF, and systemd as the first process,
//! which it is in a guest:
//!
//! ```text
//! cargo xtask vm --kernel 6.12 --test the-units-run-under-systemd
//! ```

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use tracer_agent::{confine::CAPTURE_NEEDS, status::ShipStatus};
use tracer_event::{Body, Pid};
use tracer_tests::{
    cache::Cache,
    model::TINY,
    package::run,
    patience,
    report::Account,
    requires_root,
    tracer::{Line, binary},
    workload::{Place, Running, Runtime},
};

const COLLECTOR: &str = "tracer-collector";
const SHIP: &str = "tracer-ship";
const CAPTURE: &str = "tracer-capture";
/// In the order in which they are started.
const UNITS: [&str; 3] = [COLLECTOR, SHIP, CAPTURE];
const CONFIG: &str = "/etc/tracer/agent.toml";
const COLLECTOR_HOME: &str = "/var/lib/tracer-collector";
/// More than systemd's default of starts in ten seconds, after which it would give up.
const KILLS: usize = 7;

#[test]
#[ignore = "systemd must be the first process: `cargo xtask vm --test the-units-run-under-systemd`"]
fn the_packaged_units_are_confined_restarted_reloaded_and_stopped_by_systemd() -> Result<()> {
    requires_root!();
    let first = fs::read_to_string("/proc/1/comm")?;
    ensure!(first.trim() == "systemd", "the first process is {first}");
    let done = install().and_then(|()| live());
    if done.is_err() {
        journal();
    }
    done
}

/// Installs what the package installs, where it does, and sets up collector and agent as the manual says.
fn install() -> Result<()> {
    patience::until("systemd is up", || {
        let state = systemctl(&["is-system-running"])?.0;
        Ok(state == "running" || state == "degraded")
    })?;
    // As on any system.
    fs::create_dir_all("/var/lib")?;
    if !Path::new("/etc/hosts").exists() {
        fs::write("/etc/hosts", "127.0.0.1 localhost\n")?;
    }
    let sources =
        fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd"))?;
    let tracer = binary()?;
    let installed = [
        (tracer.clone(), PathBuf::from("/usr/bin/tracer")),
        (
            tracer.with_file_name(COLLECTOR),
            "/usr/bin/tracer-collector".into(),
        ),
        (
            sources.join("sysusers.conf"),
            "/usr/lib/sysusers.d/tracer.conf".into(),
        ),
    ];
    let units = UNITS.map(|unit| {
        let file = format!("{unit}.service");
        let place = Path::new("/usr/lib/systemd/system").join(&file);
        (sources.join(file), place)
    });
    for (from, to) in installed.into_iter().chain(units) {
        fs::create_dir_all(to.parent().context("it lies in a folder")?)?;
        fs::hard_link(&from, &to)
            .with_context(|| format!("installing {} as {}", from.display(), to.display()))?;
    }
    run(&mut Command::new("systemd-sysusers"))?;
    succeed(&["daemon-reload"])?;
    succeed(&["start", "systemd-journald.service"])?;

    let made = Command::new("tracer-collector")
        .args(["init", COLLECTOR_HOME])
        .output()?;
    let told = String::from_utf8_lossy(&made.stdout).into_owned();
    let mut words = told.split_whitespace();
    let token = words.find(|word| word.starts_with("tracer-enroll-1."));
    let token = token.with_context(|| format!("init prints no token:\n{told}"))?;
    give(Path::new(COLLECTOR_HOME), user(COLLECTOR)?)?;
    fs::create_dir_all("/etc/tracer")?;
    configure("shape", "64MiB")?;
    run(Command::new("tracer").args(["agent", "enroll", "--token", token]))?;
    for unit in UNITS {
        succeed(&["start", unit])?;
    }
    until("connected and tracing", |status| {
        status.is_connected && doing(status) == "tracing at level shape"
    })
}

/// All that happens to the units while they run.
fn live() -> Result<()> {
    who_they_are()?;
    what_they_cannot_do()?;
    for (number, unit) in UNITS.into_iter().enumerate() {
        one_is_killed_and_started_again_alone(unit)?;
        println!(
            "{} of 3: {unit} comes back, and nobody else is started",
            number + 1
        );
    }
    they_reload()?;
    let (pid, account) = trace_a_model()?;
    they_stop_in_order(pid, &account)
}

/// What the kernel says of both processes, of each thread.
fn who_they_are() -> Result<()> {
    let bits = |needs_admin: bool| -> u64 {
        let needs = CAPTURE_NEEDS.iter();
        let kept = needs.filter(|(_, why)| needs_admin || !why.contains("fanotify"));
        kept.map(|(capability, _)| capability.bits()).sum()
    };
    // The unit grants what `verify_auto` may need; capture gives it up where it does not.
    let sets = [
        (CAPTURE, 0, bits(false), bits(true)),
        (SHIP, user(SHIP)?, 0, 0),
    ];
    for (unit, user, kept, bound) in sets {
        let pid = pid(unit)?;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let status = fs::read_to_string(task?.path().join("status"))?;
            let told: BTreeMap<_, _> = status
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name, value.trim().replace('\t', " ")))
                .collect();
            let expected = [
                ("Uid", format!("{user} {user} {user} {user}")),
                ("CapInh", format!("{:016x}", 0)),
                ("CapPrm", format!("{kept:016x}")),
                ("CapEff", format!("{kept:016x}")),
                ("CapBnd", format!("{bound:016x}")),
                ("CapAmb", format!("{:016x}", 0)),
                ("NoNewPrivs", String::from("1")),
                ("Seccomp", String::from("2")),
            ];
            for (name, value) in expected {
                let found = told.get(name).map(String::as_str);
                ensure!(
                    found == Some(&*value),
                    "{unit}: {name} is {found:?}, not {value}"
                );
            }
        }
    }
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net"));
    let ours = network("1")?;
    ensure!(
        network(&pid(CAPTURE)?.to_string())? != ours,
        "capture is in the host's network"
    );
    ensure!(
        network(&pid(SHIP)?.to_string())? == ours,
        "ship is not in the host's network"
    );
    // What there is in capture's own: nothing but a loopback that is down.
    let interfaces = fs::read_to_string(format!("/proc/{}/net/dev", pid(CAPTURE)?))?;
    let names: Vec<_> = interfaces
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim()))
        .collect();
    ensure!(names == ["lo"], "capture has the interfaces {names:?}");
    Ok(())
}

/// Tried by a program in the place of each process, under the same unit.
fn what_they_cannot_do() -> Result<()> {
    let refused = "\
import os, socket, sys
def refused(what, attempt):
    try:
        attempt()
    except OSError as error:
        print(what, 'is refused:', error)
    else:
        sys.exit(what + ' is not refused')
";
    let capture = "
for family in [socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET]:
    refused(str(family), lambda: socket.socket(family, socket.SOCK_STREAM if family < 16 else socket.SOCK_RAW))
refused('a file in /usr', lambda: open('/usr/written', 'w'))
refused('a file in /etc', lambda: open('/etc/written', 'w'))
open('/var/lib/tracer/written', 'w')
os.remove('/var/lib/tracer/written')
socket.socket(socket.AF_UNIX).connect('/run/tracer-ship/link.sock')
";
    let ship = "
refused('the folder of capture', lambda: os.listdir('/var/lib/tracer'))
refused('the key of capture', lambda: open('/var/lib/tracer/record.key'))
refused('the folder of the collector', lambda: os.listdir('/var/lib/tracer-collector'))
refused('the passwords', lambda: open('/etc/shadow'))
refused('a file in /etc', lambda: open('/etc/written', 'w'))
refused('root', lambda: os.setuid(0))
refused('a raw socket', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
seen = [name for name in os.listdir('/proc') if name.isdigit()]
if seen != [str(os.getpid())]:
    sys.exit('other processes are seen: ' + str(seen))
open('/var/lib/tracer-ship/written', 'w')
os.remove('/var/lib/tracer-ship/written')
socket.create_connection(('127.0.0.1', 7444)).close()
";
    // There is something to be refused.
    let key = Path::new("/var/lib/tracer/record.key");
    ensure!(key.exists(), "{} does not exist", key.display());
    for (unit, tries) in [(CAPTURE, capture), (SHIP, ship)] {
        let script = Path::new("/usr/lib").join(format!("{unit}-tries.py"));
        fs::write(&script, format!("{refused}{tries}"))?;
        let installed = format!("/usr/lib/systemd/system/{unit}.service");
        let text: String = fs::read_to_string(installed)?
            .lines()
            // The folder of the sockets is there, and would go with this unit.
            .filter(|line| !line.starts_with("Restart=") && !line.starts_with("RuntimeDirectory"))
            .map(|line| match line.starts_with("ExecStart=") {
                true => format!(
                    "Type=oneshot\nExecStart=/usr/bin/python3 {}\n",
                    script.display()
                ),
                false => format!("{line}\n"),
            })
            .collect();
        let name = format!("{unit}-tries");
        fs::write(format!("/run/systemd/system/{name}.service"), text)?;
        succeed(&["daemon-reload"])?;
        succeed(&["start", &name])?;
    }
    Ok(())
}

/// SIGKILL, again and again: systemd starts it anew each time, and the others run on.
fn one_is_killed_and_started_again_alone(victim: &str) -> Result<()> {
    let others = || -> Result<Vec<u32>> {
        let others = UNITS.into_iter().filter(|unit| *unit != victim);
        others.map(pid).collect()
    };
    let before = others()?;
    for _ in 0..KILLS {
        let was = pid(victim)?;
        succeed(&["kill", "--signal=KILL", "--kill-who=main", victim])?;
        patience::until(&format!("{victim} is started again"), || {
            Ok(pid(victim).is_ok_and(|pid| pid != was))
        })?;
    }
    until("connected and tracing again", |status| {
        let capture = pid(CAPTURE).ok();
        let is_new = status.capture.as_ref().map(|capture| capture.pid) == capture;
        status.is_connected && is_new && doing(status) == "tracing at level shape"
    })?;
    let after = others()?;
    ensure!(
        before == after,
        "others were started too: {before:?}, then {after:?}"
    );
    Ok(())
}

/// `systemctl reload`: capture goes on as the same process, ship comes back; what is wrong changes nothing.
fn they_reload() -> Result<()> {
    let before = (pid(CAPTURE)?, pid(SHIP)?);
    configure("shape", "64 million")?;
    for unit in [CAPTURE, SHIP] {
        succeed(&["reload", unit])?;
        patience::until(&format!("{unit} refuses what is wrong"), || {
            Ok(log(unit)?.contains("goes on as it was"))
        })?;
    }
    ensure!(
        before == (pid(CAPTURE)?, pid(SHIP)?),
        "a wrong configuration ended one of them"
    );
    configure("timing", "32MiB")?;
    succeed(&["reload", CAPTURE])?;
    until("capture has reloaded", |status| {
        doing(status) == "tracing at level timing"
    })?;
    configure("shape", "32MiB")?;
    for unit in [CAPTURE, SHIP] {
        succeed(&["reload", unit])?;
    }
    until("both have reloaded", |status| {
        let is_shape = doing(status) == "tracing at level shape";
        is_shape && status.spool_limit == 32 << 20 && status.is_connected
    })?;
    ensure!(pid(CAPTURE)? == before.0, "capture was started again");
    ensure!(pid(SHIP)? != before.1, "ship is not confined anew");
    Ok(())
}

/// A real model that answers twice: its process, and what it did.
fn trace_a_model() -> Result<(u32, Account)> {
    let steps = [
        "--n", "16", "load", "context", "wait", "generate", "reuse", "generate", "free", "unload",
    ];
    let command = Runtime::NodeLlamaCpp.command(&Cache::open()?, TINY, &steps)?;
    let mut running = Running::start(command, Place::Host)?;
    running.until_waiting()?;
    until("attached", |status| {
        let mut capture = status.capture.iter();
        capture.any(|capture| capture.attached > 0)
    })?;
    // Its libraries are attached one after the other: until a look finds no more of them.
    let mut known = 0;
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3));
        let now = status()?.capture.map_or(0, |capture| capture.attached);
        if now == known {
            break;
        }
        known = now;
    }
    running.go()?;
    let pid = running.pid();
    Ok((pid, Account::of(&running.finish()?)?))
}

/// Capture, then ship: what there was is with the collector, step by step, and nothing waits.
fn they_stop_in_order(model: u32, account: &Account) -> Result<()> {
    succeed(&["stop", CAPTURE])?;
    until("drained", |status| {
        status.is_connected && status.capture.is_none() && status.spool_records == 0
    })?;
    let kept = status()?;
    ensure!(kept.records_kept > 0, "nothing was kept");
    succeed(&["stop", SHIP])?;
    let steps = steps_of(model)?;
    ensure!(
        steps == account.calls.len(),
        "the model made {} calls, {steps} are stored",
        account.calls.len()
    );
    succeed(&["stop", COLLECTOR])?;
    for unit in UNITS {
        for (property, wanted) in [
            ("ActiveState", "inactive"),
            ("Result", "success"),
            ("ExecMainStatus", "0"),
        ] {
            let found = property_of(unit, property)?;
            ensure!(
                found == wanted,
                "{unit} ended with {property} {found}, not {wanted}"
            );
        }
    }
    println!("{steps} steps are stored, none waits");
    Ok(())
}

/// Steps of a process that the collector gives out to somebody with a token.
fn steps_of(model: u32) -> Result<usize> {
    let config = format!("{COLLECTOR_HOME}/collector.toml");
    let made = Command::new("tracer-collector")
        .args(["token", "new", "--reader", "test", "--config", &config])
        .output()?;
    let told = String::from_utf8(made.stdout)?;
    let mut words = told.split_whitespace();
    let token = words.find(|word| word.starts_with("tracer-reader-1."));
    let token = token.with_context(|| format!("no reader's token:\n{told}"))?;
    let asked = Command::new("tracer")
        .args(["query", "--output", "ndjson"])
        .env("TRACER_READER_TOKEN", token)
        .output()?;
    ensure!(
        asked.status.success(),
        "{}",
        String::from_utf8_lossy(&asked.stderr)
    );
    let lines = String::from_utf8(asked.stdout)?;
    let lines: Vec<Line> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let steps = lines
        .iter()
        .filter(|line| matches!(line.body, Body::Step(_)) && line.place.pid == Some(Pid(model)));
    Ok(steps.count())
}

fn configure(level: &str, spool: &str) -> Result<()> {
    let text = format!(
        "[collector]\nname = \"unit\"\n[capture]\nlevel = \"{level}\"\ngovern = false\n[ship]\nspool = \"{spool}\"\n"
    );
    fs::write(CONFIG, text)?;
    Ok(fs::set_permissions(
        CONFIG,
        fs::Permissions::from_mode(0o644),
    )?)
}

fn doing(status: &ShipStatus) -> &str {
    status.capture.as_ref().map_or("", |capture| &capture.doing)
}

fn status() -> Result<ShipStatus> {
    let asked = Command::new("tracer")
        .args(["agent", "status", "--output", "json"])
        .output()?;
    let error = String::from_utf8_lossy(&asked.stderr).into_owned();
    serde_json::from_slice(&asked.stdout).with_context(|| format!("status: {error}"))
}

fn until(what: &str, wanted: impl Fn(&ShipStatus) -> bool) -> Result<()> {
    let mut last = None;
    let reached = patience::until(what, || {
        // Ship may be on its way up.
        let Ok(status) = status() else {
            return Ok(false);
        };
        let is_so = wanted(&status);
        last = Some(status);
        Ok(is_so)
    });
    reached.with_context(|| format!("{last:#?}"))
}

/// The process of a unit that runs.
fn pid(unit: &str) -> Result<u32> {
    let pid: u32 = property_of(unit, "MainPID")?.parse()?;
    ensure!(pid != 0, "{unit} does not run");
    Ok(pid)
}

fn property_of(unit: &str, property: &str) -> Result<String> {
    Ok(systemctl(&["show", "--value", "--property", property, unit])?.0)
}

fn succeed(arguments: &[&str]) -> Result<()> {
    let (told, is_success) = systemctl(arguments)?;
    ensure!(is_success, "systemctl {}: {told}", arguments.join(" "));
    Ok(())
}

/// What `systemctl` says, and whether it succeeded.
fn systemctl(arguments: &[&str]) -> Result<(String, bool)> {
    let asked = Command::new("systemctl").args(arguments).output();
    let asked = asked.context("cannot run systemctl")?;
    let text = [asked.stdout, asked.stderr].concat();
    Ok((
        String::from_utf8_lossy(&text).trim().to_owned(),
        asked.status.success(),
    ))
}

fn log(unit: &str) -> Result<String> {
    let read = Command::new("journalctl")
        .args(["--no-pager", "--output=cat", "--unit", unit])
        .output()?;
    Ok(String::from_utf8_lossy(&read.stdout).into_owned())
}

/// Prints what systemd and the units said.
fn journal() {
    let read = Command::new("journalctl")
        .args(["--no-pager", "--lines=200"])
        .output();
    if let Ok(read) = read {
        println!("{}", String::from_utf8_lossy(&read.stdout));
    }
}

/// The number of a user of this system.
fn user(name: &str) -> Result<u32> {
    let users = fs::read_to_string("/etc/passwd")?;
    for line in users.lines() {
        let mut fields = line.split(':');
        if fields.next() == Some(name) {
            let number = fields.nth(1).context("a user has a number")?;
            return Ok(number.parse()?);
        }
    }
    bail!("there is no user {name}")
}

/// Makes a folder and all below it a user's.
fn give(path: &Path, user: u32) -> Result<()> {
    chown(path, Some(user), Some(user))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}
