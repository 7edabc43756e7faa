//! Running one guest: QEMU with a kernel and an initramfs, and nothing else.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::console::{self, Statement, Verdict};
use super::report;
use super::series::Series;
use super::suite::{Expected, Test};

/// From power-on to the banner. Software emulation on a busy machine took up to 45 s.
const BOOT_LIMIT: Duration = Duration::from_secs(150);
/// From the banner to the first test, and from one test to the next.
const PAUSE_LIMIT: Duration = Duration::from_secs(60);
/// What a guest has beyond a test's own limit to end it and to say so. One that says nothing for longer
/// has stood still.
const ENDING_LIMIT: Duration = Duration::from_secs(40);
/// For how long a processor may run in the kernel without a pause, by the kernel's own watchdog.
pub(super) const STUCK_LIMIT: Duration = Duration::from_secs(75);
/// For what a guest that stood still prints when it is interrupted.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(10);
/// After the last test.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(30);
/// Roughly one in twenty emulated boots dies before the first process runs, for reasons outside
/// this project.
const BOOTS: usize = 3;

/// How QEMU runs the guest's instructions.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Accelerator {
    /// In software.
    Tcg,
    /// On the processor's virtualisation extensions.
    Kvm,
}

/// A guest ready to boot.
pub(crate) struct Guest<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) series: Series,
    pub(crate) initramfs: &'a Path,
    pub(crate) accelerator: Accelerator,
    /// Mebibytes.
    pub(crate) memory: u64,
    /// The tests to run, in this order.
    pub(crate) tests: Vec<Test>,
    /// Where its console is kept.
    pub(crate) console: PathBuf,
}

/// What one test did.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    pub(crate) took: Duration,
    /// What the guest printed while it ran.
    pub(crate) output: String,
}

/// What one guest did.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// The kernel's release as the guest reports it; `None` when no boot came that far.
    pub(crate) release: Option<String>,
    pub(crate) outcomes: Vec<Outcome>,
}

/// Why a boot ended before all tests had.
#[derive(Clone, Copy, Debug)]
enum BrokenOff {
    /// Nothing was heard for so long. Rarely an emulated guest does that, as some boots do.
    StoodStill(Duration),
    /// Nobody switched it off: its kernel panicked, or QEMU did not go on.
    Ended,
}

impl Guest<'_> {
    /// Boots, again when a boot never reaches the banner, and runs the tests.
    ///
    /// A guest that stands still is booted once more for the tests that it has left; one that ends has
    /// failed them. `tell` gets the kernel's release and each outcome as soon as it is known.
    pub(crate) fn run(&self, tell: impl Fn(&str, &Outcome)) -> Result<Run> {
        // What an earlier invocation left; every boot adds to it.
        fs::write(&self.console, b"")
            .with_context(|| format!("keeping the console in {}", self.console.display()))?;
        let mut run = Run::default();
        let mut stood_still = false;
        let (mut log, mut broken_off) = (Log::default(), None);
        for attempt in 1..=BOOTS {
            log = Log::default();
            broken_off = self.boot(&without_outcome(&self.tests, &run), &mut log, &tell)?;
            run.outcomes.append(&mut log.outcomes);
            let Some(release) = log.release.take() else {
                println!(
                    "vm: {}: boot {attempt} of {BOOTS} never printed its banner",
                    self.series
                );
                continue;
            };
            run.release = Some(release);
            let Some(BrokenOff::StoodStill(limit)) = broken_off.filter(|_| !stood_still) else {
                break;
            };
            stood_still = true;
            println!(
                "vm: {}: the guest stood still for {} s in boot {attempt} of {BOOTS}; it printed\n{}",
                self.series,
                limit.as_secs(),
                report::indent(&log.output)
            );
        }
        if run.release.is_some() {
            let rest = unfinished(&without_outcome(&self.tests, &run), log.output, broken_off);
            for outcome in &rest {
                tell(run.release.as_deref().unwrap_or_default(), outcome);
            }
            run.outcomes.extend(rest);
        }
        Ok(run)
    }

    fn boot(
        &self,
        tests: &[Test],
        log: &mut Log,
        tell: &impl Fn(&str, &Outcome),
    ) -> Result<Option<BrokenOff>> {
        let mut qemu = Running(self.start(tests)?);
        let output = qemu.0.stdout.take().context("QEMU's console is a pipe")?;
        let (lines, received) = mpsc::channel();
        // Ends when QEMU's end of the pipe closes.
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { break };
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let mut kept = OpenOptions::new()
            .append(true)
            .open(&self.console)
            .with_context(|| format!("keeping the console in {}", self.console.display()))?;
        let mut limit = BOOT_LIMIT;
        let mut deadline = Instant::now() + limit;
        let mut finished = false;
        let mut stood_still = None;
        let broken_off = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match received.recv_timeout(left) {
                Ok(line) => {
                    kept.write_all(&line)
                        .and_then(|()| kept.write_all(b"\n"))
                        .context("keeping the console")?;
                    let known = log.outcomes.len();
                    let line = String::from_utf8_lossy(&line);
                    if stood_still.is_some() {
                        log.print(&line);
                        continue;
                    }
                    if console::is_stuck(&line) {
                        stood_still = Some(BrokenOff::StoodStill(STUCK_LIMIT));
                        let _ = qemu.interrupt();
                        deadline = Instant::now() + LAST_WORDS_LIMIT;
                    }
                    limit = match log.read(&line) {
                        Some(Statement::Banner(_)) => PAUSE_LIMIT,
                        Some(Statement::Start(name)) => self.limit_of(&name) + ENDING_LIMIT,
                        Some(Statement::Result { .. }) => PAUSE_LIMIT,
                        Some(Statement::Done) => {
                            finished = true;
                            POWER_OFF_LIMIT
                        }
                        None => continue,
                    };
                    deadline = Instant::now() + limit;
                    let release = log.release.as_deref().unwrap_or_default();
                    for outcome in &mut log.outcomes[known..] {
                        self.judge(outcome);
                        tell(release, outcome);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    break stood_still.or((!finished).then_some(BrokenOff::Ended));
                }
                Err(RecvTimeoutError::Timeout) if finished || stood_still.is_some() => {
                    break stood_still;
                }
                Err(RecvTimeoutError::Timeout) => {
                    stood_still = Some(BrokenOff::StoodStill(limit));
                    // Where its processors are, if they still listen.
                    let _ = qemu.interrupt();
                    deadline = Instant::now() + LAST_WORDS_LIMIT;
                }
            }
        };
        drop(qemu);
        // It only forwards lines, so a panic there would be a bug in this file.
        reader.join().expect("the console reader does not panic");
        Ok(broken_off)
    }

    fn limit_of(&self, name: &str) -> Duration {
        let named = self.tests.iter().find(|test| test.name == name);
        let limit = named.map(|test| test.limit);
        // The kernel may have printed into the name.
        limit
            .or_else(|| self.tests.iter().map(|test| test.limit).max())
            .unwrap_or_default()
    }

    /// Turns the verdict of a test that is expected to fail: the guest knows only that it did not
    /// succeed.
    fn judge(&self, outcome: &mut Outcome) {
        let test = self.tests.iter().find(|test| test.name == outcome.name);
        let Some(Expected::Failure(words)) = test.map(|test| test.expected) else {
            return;
        };
        let says_all = words.iter().all(|word| outcome.output.contains(word));
        outcome.verdict = if outcome.verdict == Verdict::Fail && says_all {
            Verdict::Pass
        } else {
            outcome
                .output
                .push_str(&format!("expected a failure that says {words:?}\n"));
            Verdict::Fail
        };
    }

    fn start(&self, tests: &[Test]) -> Result<Child> {
        let (accelerator, processor) = match self.accelerator {
            // One thread for both processors: with a thread each, one processor may run code that the
            // other has changed and told it of (seen with QEMU 7.2: a breakpoint that the kernel had
            // taken away again, which is a panic).
            Accelerator::Tcg => ("tcg,thread=single", "max"),
            Accelerator::Kvm => ("kvm", "host"),
        };
        let names: Vec<_> = tests.iter().map(|test| test.name).collect();
        // Without `bpf` in lsm= the kernel accepts LSM programs and never calls them.
        let parameters = format!(
            "console=ttyS0 panic=-1 unknown_nmi_panic=1 quiet random.trust_cpu=on \
             lsm=lockdown,yama,bpf tracer.tests={}",
            names.join(",")
        );
        Command::new("qemu-system-x86_64")
            .args([
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
                "-display",
                "none",
            ])
            .args([
                "-chardev",
                "stdio,id=console,mux=on,signal=off",
                "-serial",
                "chardev:console",
                "-mon",
                "chardev=console",
                "-accel",
                accelerator,
                "-cpu",
                processor,
                "-smp",
                "2",
            ])
            .args([
                "-m",
                &self.memory.to_string(),
                "-append",
                &parameters,
                "-kernel",
            ])
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("starting qemu-system-x86_64; scripts/setup installs it")
    }
}

/// The tests that have not ended yet.
fn without_outcome(tests: &[Test], run: &Run) -> Vec<Test> {
    let has_ended = |test: &Test| run.outcomes.iter().any(|known| known.name == test.name);
    tests
        .iter()
        .copied()
        .filter(|test| !has_ended(test))
        .collect()
}

/// The failures of tests that no guest ended: the first of them printed what was printed last.
fn unfinished(tests: &[Test], printed: String, broken_off: Option<BrokenOff>) -> Vec<Outcome> {
    let reason = match broken_off {
        Some(BrokenOff::StoodStill(limit)) => {
            format!("the guest stood still for {} s", limit.as_secs())
        }
        Some(BrokenOff::Ended) => "the guest ended early".to_owned(),
        None => "the guest never ran it".to_owned(),
    };
    let printed = std::iter::once(printed).chain(std::iter::repeat(String::new()));
    std::iter::zip(tests, printed)
        .map(|(test, printed)| Outcome {
            name: test.name.to_owned(),
            verdict: Verdict::Fail,
            took: Duration::ZERO,
            output: format!("{printed}no result: {reason}\n"),
        })
        .collect()
}

/// A guest that is switched off when it goes out of sight.
struct Running(Child);

impl Running {
    /// Has the guest's kernel panic by an interrupt that nothing masks, and so print where it is.
    fn interrupt(&mut self) -> io::Result<()> {
        // What is written goes to the guest, after Ctrl-A and C to QEMU.
        match &mut self.0.stdin {
            Some(input) => input.write_all(b"\x01cnmi\n"),
            None => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has usually ended by itself, which is what both errors would say.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Gathers results from console lines.
#[derive(Default)]
struct Log {
    release: Option<String>,
    outcomes: Vec<Outcome>,
    /// What was printed since the last statement.
    output: String,
}

impl Log {
    fn read(&mut self, line: &str) -> Option<Statement> {
        let statement = console::parse(line);
        match &statement {
            Some(Statement::Banner(release)) => self.release = Some(release.clone()),
            Some(Statement::Start(_)) => self.output.clear(),
            Some(Statement::Result {
                name,
                verdict,
                took,
            }) => {
                // It is said twice, so that one may be garbled.
                if self.outcomes.iter().all(|known| known.name != *name) {
                    self.outcomes.push(Outcome {
                        name: name.clone(),
                        verdict: *verdict,
                        took: *took,
                        output: std::mem::take(&mut self.output),
                    });
                }
            }
            Some(Statement::Done) => {}
            None => self.print(line),
        }
        statement
    }

    fn print(&mut self, line: &str) {
        self.output.push_str(line.trim_end_matches('\r'));
        self.output.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::super::suite::TESTS;
    use super::*;

    #[test]
    fn a_result_carries_what_was_printed_since_its_start() {
        let mut log = Log::default();
        for line in [
            "Linux version 6.1",
            "TRACER-VM BANNER 6.1.0",
            "TRACER-VM START one\r",
            "expected 1, found 2\r",
            "TRACER-VM RESULT one fail 12\r",
            "TRACER-VM START two\r",
            "TRACER-VM RESULT two pass 1\r",
            "TRACER-VM DONE\r",
        ] {
            log.read(line);
        }
        assert_eq!(log.release.as_deref(), Some("6.1.0"));
        let [one, two] = log.outcomes.as_slice() else {
            panic!("two results were printed: {:?}", log.outcomes);
        };
        assert_eq!(
            (one.verdict, one.output.as_str()),
            (Verdict::Fail, "expected 1, found 2\n")
        );
        assert_eq!((two.verdict, two.output.as_str()), (Verdict::Pass, ""));
    }

    #[test]
    fn every_test_without_a_result_has_failed_and_the_running_one_shows_what_it_printed() {
        let outcome = Outcome {
            name: TESTS[0].name.to_owned(),
            verdict: Verdict::Pass,
            took: Duration::ZERO,
            output: String::new(),
        };
        let run = Run {
            release: Some("6.1.0".to_owned()),
            outcomes: vec![outcome],
        };
        let left = without_outcome(&TESTS[..3], &run);
        let still = BrokenOff::StoodStill(Duration::from_secs(75));
        let failed = unfinished(&left, "where it is\n".to_owned(), Some(still));
        let [running, later] = failed.as_slice() else {
            panic!("two tests were left: {failed:?}");
        };
        assert_eq!(
            (running.name.as_str(), running.verdict),
            (TESTS[1].name, Verdict::Fail)
        );
        assert_eq!(
            running.output,
            "where it is\nno result: the guest stood still for 75 s\n"
        );
        assert_eq!(later.output, "no result: the guest stood still for 75 s\n");
    }

    #[test]
    fn a_result_that_is_said_twice_counts_once_even_when_the_kernel_prints_into_one() {
        for (first, second) in [
            (
                "TRACER-VM RESULT one pass 12",
                "TRACER-VM RESULT one pass 12",
            ),
            (
                "TRACER-VM RES[  9.1] usb: up",
                "TRACER-VM RESULT one pass 12",
            ),
            (
                "TRACER-VM RESULT one pass 12",
                "TRACER-VM RESULT one pa[  9.1] usb: up",
            ),
        ] {
            let mut log = Log::default();
            for line in ["TRACER-VM START one", "TRACER-VM START one", first, second] {
                log.read(line);
            }
            let [one] = log.outcomes.as_slice() else {
                panic!("{first}, {second}: {:?}", log.outcomes);
            };
            assert_eq!(one.verdict, Verdict::Pass);
        }
    }
}
