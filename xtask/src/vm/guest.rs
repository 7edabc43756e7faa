//! Running one guest: QEMU with a kernel and an initramfs, and nothing else.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::console::{self, Statement, Verdict};
use super::series::Series;

/// From power-on to the banner. Software emulation on a busy machine took up to 45 s.
const BOOT_LIMIT: Duration = Duration::from_secs(150);
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
    /// The tests to run, by name, and the sum of their limits.
    pub(crate) tests: Vec<&'static str>,
    pub(crate) limit: Duration,
    /// Where its console is kept.
    pub(crate) console: PathBuf,
}

/// What one test did.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    pub(crate) took: Duration,
    /// Whether the guest reported its end; false when the guest itself broke off.
    pub(crate) ended: bool,
    /// What the guest printed while it ran.
    pub(crate) output: String,
}

/// What one guest did.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// The kernel's release as the guest reports it; `None` when no boot came that far.
    pub(crate) release: Option<String>,
    pub(crate) outcomes: Vec<Outcome>,
    /// Why the run ended before all tests had.
    pub(crate) broken_off: Option<String>,
}

impl Guest<'_> {
    /// Boots, again when a boot never reaches the banner, and runs the tests once.
    pub(crate) fn run(&self) -> Result<Run> {
        let mut run = Run::default();
        for attempt in 1..=BOOTS {
            run = self.boot()?;
            if run.release.is_some() {
                break;
            }
            println!(
                "vm: {}: boot {attempt} of {BOOTS} never printed its banner ({})",
                self.series,
                run.broken_off.as_deref().unwrap_or("it ended")
            );
        }
        // A guest that broke off took the running test and all later ones with it.
        if run.release.is_some() {
            for name in &self.tests {
                if !run.outcomes.iter().any(|outcome| outcome.name == *name) {
                    let reason = run
                        .broken_off
                        .as_deref()
                        .unwrap_or("the guest never ran it");
                    run.outcomes.push(Outcome {
                        name: (*name).to_owned(),
                        verdict: Verdict::Fail,
                        took: Duration::ZERO,
                        ended: false,
                        output: format!("no result: {reason}\n"),
                    });
                }
            }
        }
        Ok(run)
    }

    fn boot(&self) -> Result<Run> {
        let mut qemu = Running(self.start()?);
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
        let mut kept = File::create(&self.console)
            .with_context(|| format!("keeping the console in {}", self.console.display()))?;
        let mut log = Log::default();
        let mut deadline = Instant::now() + BOOT_LIMIT;
        let mut finished = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match received.recv_timeout(left) {
                Ok(line) => {
                    kept.write_all(&line)
                        .and_then(|()| kept.write_all(b"\n"))
                        .context("keeping the console")?;
                    match log.read(&String::from_utf8_lossy(&line)) {
                        Some(Statement::Banner(_)) => deadline = Instant::now() + self.limit,
                        Some(Statement::Done) => {
                            finished = true;
                            deadline = Instant::now() + POWER_OFF_LIMIT;
                        }
                        Some(Statement::Start(_) | Statement::Result { .. }) | None => {}
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    if !finished {
                        log.run.broken_off = Some("the guest ended early".to_owned());
                    }
                    break;
                }
                Err(RecvTimeoutError::Timeout) => {
                    if !finished {
                        log.run.broken_off = Some("the time limit passed".to_owned());
                    }
                    break;
                }
            }
        }
        drop(qemu);
        // It only forwards lines, so a panic there would be a bug in this file.
        reader.join().expect("the console reader does not panic");
        Ok(log.run)
    }

    fn start(&self) -> Result<Child> {
        let (accelerator, processor) = match self.accelerator {
            Accelerator::Tcg => ("tcg,thread=multi", "max"),
            Accelerator::Kvm => ("kvm", "host"),
        };
        // Without `bpf` in lsm= the kernel accepts LSM programs and never calls them.
        let parameters = format!(
            "console=ttyS0 panic=-1 quiet random.trust_cpu=on lsm=lockdown,yama,bpf \
             tracer.tests={}",
            self.tests.join(",")
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
                "-serial",
                "stdio",
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
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("starting qemu-system-x86_64; scripts/setup installs it")
    }
}

/// A guest that is switched off when it goes out of sight.
struct Running(Child);

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
    run: Run,
    output: String,
}

impl Log {
    fn read(&mut self, line: &str) -> Option<Statement> {
        let statement = console::parse(line);
        match &statement {
            Some(Statement::Banner(release)) => self.run.release = Some(release.clone()),
            Some(Statement::Start(_)) => self.output.clear(),
            Some(Statement::Result {
                name,
                verdict,
                took,
            }) => {
                // It is said twice, so that one may be garbled.
                if self.run.outcomes.iter().all(|known| known.name != *name) {
                    self.run.outcomes.push(Outcome {
                        name: name.clone(),
                        verdict: *verdict,
                        took: *took,
                        ended: true,
                        output: std::mem::take(&mut self.output),
                    });
                }
            }
            Some(Statement::Done) => {}
            None => {
                self.output.push_str(line.trim_end_matches('\r'));
                self.output.push('\n');
            }
        }
        statement
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(log.run.release.as_deref(), Some("6.1.0"));
        let [one, two] = log.run.outcomes.as_slice() else {
            panic!("two results were printed: {:?}", log.run.outcomes);
        };
        assert_eq!(
            (one.verdict, one.output.as_str()),
            (Verdict::Fail, "expected 1, found 2\n")
        );
        assert_eq!((two.verdict, two.output.as_str()), (Verdict::Pass, ""));
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
            let [one] = log.run.outcomes.as_slice() else {
                panic!("{first}, {second}: {:?}", log.run.outcomes);
            };
            assert_eq!(one.verdict, Verdict::Pass);
        }
    }
}
