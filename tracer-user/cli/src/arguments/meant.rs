//! What the arguments mean: checked, with every default in place.

pub(crate) mod integrity;
pub(crate) mod profile;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tracer_abi::CaptureLevel;
use tracer_probe::{Selection, files::Tier};

use super::{
    quantity,
    typed::{self, DocumentFormat, KernelLog, ListFormat},
};

/// How long a run above level `shape` may take when `--duration` does not say: content is never
/// captured without an end.
const CONTENT_LIMIT: Duration = Duration::from_secs(3600);

/// One run of `tracer`.
#[derive(Debug)]
pub(crate) enum Invocation {
    Doctor(DocumentFormat),
    Ps(Ps),
    Trace(Trace),
    Diff(Diff),
    Files(Files),
    ReleaseFiles,
    Profile(profile::Profile),
    Verify(integrity::Verify),
    Sign(integrity::Sign),
    Query(typed::Query),
    Nodes(typed::Nodes),
    Key(typed::Key),
    Agent(typed::Agent),
    LeaseKeeper,
    GateWatchdog,
    Policy(typed::Policy),
    Completions(clap_complete::Shell),
    /// The manual: into a folder, or the main page to standard output.
    Man(Option<PathBuf>),
}

/// `tracer ps`.
#[derive(Debug)]
pub(crate) struct Ps {
    pub(crate) verbose: bool,
    pub(crate) format: ListFormat,
    /// Only this process.
    pub(crate) pid: Option<u32>,
    pub(crate) profiles: Vec<PathBuf>,
}

/// `tracer trace`.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) selection: Selection,
    /// `None`: until it is stopped, or the selected processes have ended.
    pub(crate) duration: Option<Duration>,
    pub(crate) level: CaptureLevel,
    pub(crate) profiles: Vec<PathBuf>,
    /// What the files of loaded models are compared with, if with anything.
    pub(crate) vouch: Option<integrity::Against>,
    pub(crate) policy: Option<PathBuf>,
    pub(crate) govern: bool,
    /// From which level on the kernel programs' own log is printed.
    pub(crate) kernel_log: Option<log::Level>,
    pub(crate) outputs: Vec<Output>,
    /// Only print these, and end.
    pub(crate) print_only: bool,
}

/// `tracer files`.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) watch: Vec<PathBuf>,
    /// The policy that is enforced; it says what is watched.
    pub(crate) enforce: Option<PathBuf>,
    /// `None`: until it is stopped.
    pub(crate) duration: Option<Duration>,
    /// `None`: the best one that works.
    pub(crate) tier: Option<Tier>,
    pub(crate) policy: Option<PathBuf>,
    pub(crate) outputs: Vec<Output>,
}

/// `tracer diff`.
#[derive(Debug)]
pub(crate) struct Diff {
    pub(crate) left: (PathBuf, Pick),
    pub(crate) right: (PathBuf, Pick),
    pub(crate) format: DocumentFormat,
}

/// Which snapshot of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The only one; more are an error.
    Only,
    /// Counted from 1.
    Nth(usize),
    /// The last one of a process.
    OfProcess(u32),
}

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) format: OutputFormat,
    pub(crate) destination: Destination,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    Pretty,
    Json,
    Ndjson,
}

/// Where events are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    StandardOutput,
    File(PathBuf),
}

/// Decides what the typed arguments mean.
///
/// # Errors
/// If a word cannot be read or the arguments contradict each other.
pub(crate) fn resolve(typed: typed::Typed) -> Result<Invocation> {
    Ok(match typed.command {
        typed::Command::Doctor(typed::Doctor { output }) => Invocation::Doctor(output),
        typed::Command::Ps(ps) => Invocation::Ps(resolve_ps(ps)?),
        typed::Command::Trace(trace) => Invocation::Trace(resolve_trace(trace)?),
        typed::Command::Diff(diff) => Invocation::Diff(resolve_diff(diff)?),
        typed::Command::Files(files) if files.release => Invocation::ReleaseFiles,
        typed::Command::Files(files) => Invocation::Files(resolve_files(files)?),
        typed::Command::Profile(typed) => Invocation::Profile(profile::resolve(typed)?),
        typed::Command::Verify(verify) => Invocation::Verify(integrity::resolve_verify(verify)?),
        typed::Command::Sign(sign) => Invocation::Sign(integrity::resolve_sign(sign)),
        typed::Command::Query(query) => Invocation::Query(query),
        typed::Command::Nodes(nodes) => Invocation::Nodes(nodes),
        typed::Command::Key(key) => Invocation::Key(key),
        typed::Command::Agent(agent) => Invocation::Agent(agent),
        typed::Command::VerifyModel(verify) => {
            Invocation::Verify(integrity::resolve_verify_model(verify)?)
        }
        typed::Command::SignModel(sign) => Invocation::Sign(integrity::resolve_sign_model(sign)?),
        typed::Command::LeaseKeeper(typed::LeaseKeeper {}) => Invocation::LeaseKeeper,
        typed::Command::GateWatchdog(typed::GateWatchdog {}) => Invocation::GateWatchdog,
        typed::Command::Policy(policy) => Invocation::Policy(policy),
        typed::Command::Completions(typed::Completions { shell }) => Invocation::Completions(shell),
        typed::Command::Man(typed::Man { folder }) => Invocation::Man(folder),
    })
}

fn resolve_ps(typed: typed::Ps) -> Result<Ps> {
    let typed::Ps {
        verbose,
        output,
        pid,
        profiles,
    } = typed;
    let pid = pid
        .as_deref()
        .map(quantity::pid)
        .transpose()
        .context("--pid")?;
    Ok(Ps {
        verbose,
        format: output,
        pid,
        profiles: profiles.profile,
    })
}

fn resolve_trace(typed: typed::Trace) -> Result<Trace> {
    let typed::Trace {
        whom,
        duration,
        capture,
        profiles,
        vouch,
        policy,
        no_govern,
        kernel_log,
        output,
        print_config,
    } = typed;
    let level = level_of(capture);
    let mut duration = duration
        .as_deref()
        .map(quantity::duration)
        .transpose()
        .context("--duration")?;
    if level > CaptureLevel::Shape {
        let longest = duration.unwrap_or(CONTENT_LIMIT);
        ensure!(
            longest <= CONTENT_LIMIT,
            "--duration {} is too long for --capture {}: content is captured for at most {}",
            quantity::typed_duration(longest),
            level_name(level),
            quantity::typed_duration(CONTENT_LIMIT),
        );
        duration = Some(longest);
    }
    let kernel_log = kernel_log.map(|level| match level {
        KernelLog::Error => log::Level::Error,
        KernelLog::Warn => log::Level::Warn,
        KernelLog::Info => log::Level::Info,
        KernelLog::Debug => log::Level::Debug,
        KernelLog::Trace => log::Level::Trace,
    });
    Ok(Trace {
        selection: resolve_whom(whom)?,
        duration,
        level,
        profiles: profiles.profile,
        vouch: integrity::resolve_vouch(vouch)?,
        policy,
        govern: !no_govern,
        kernel_log,
        outputs: resolve_outputs(&output)?,
        print_only: print_config,
    })
}

fn resolve_files(typed: typed::Files) -> Result<Files> {
    let typed::Files {
        watch,
        enforce,
        release: _,
        duration,
        tier,
        policy,
        output,
    } = typed;
    Ok(Files {
        watch,
        enforce,
        duration: duration
            .as_deref()
            .map(quantity::duration)
            .transpose()
            .context("--duration")?,
        tier: tier.map(|tier| match tier {
            typed::Tier::Lsm => Tier::Lsm,
            typed::Tier::Fentry => Tier::Fentry,
            typed::Tier::Kprobe => Tier::Kprobe,
            typed::Tier::Tracepoint => Tier::Tracepoint,
        }),
        policy,
        outputs: resolve_outputs(&output)?,
    })
}

fn resolve_diff(typed: typed::Diff) -> Result<Diff> {
    let typed::Diff {
        left,
        right,
        pick_a,
        pick_b,
        output,
    } = typed;
    ensure!(
        !(is_standard_input(&left) && is_standard_input(&right)),
        "both snapshots cannot come from standard input: give at least one file"
    );
    Ok(Diff {
        left: (left, resolve_pick(pick_a.as_deref()).context("--pick-a")?),
        right: (right, resolve_pick(pick_b.as_deref()).context("--pick-b")?),
        format: output,
    })
}

/// Whether a path means standard input.
pub(crate) fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

fn resolve_pick(word: Option<&str>) -> Result<Pick> {
    let Some(word) = word else {
        return Ok(Pick::Only);
    };
    if let Some(pid) = word.strip_prefix("pid=") {
        return Ok(Pick::OfProcess(quantity::pid(pid)?));
    }
    match word.parse() {
        Ok(n) if n > 0 => Ok(Pick::Nth(n)),
        Ok(_) | Err(_) => bail!("`{word}` names no snapshot: give 1 for the first, or pid=N"),
    }
}

fn resolve_whom(typed: typed::Whom) -> Result<Selection> {
    let typed::Whom {
        pid,
        runtime,
        exe,
        cgroup,
    } = typed;
    // clap lets at most one of the four through.
    Ok(if !pid.is_empty() {
        let mut pids: Vec<u32> = pid
            .iter()
            .map(|word| quantity::pid(word))
            .collect::<Result<_, _>>()
            .context("--pid")?;
        pids.sort_unstable();
        pids.dedup();
        Selection::Pids(pids)
    } else if let Some(name) = runtime {
        Selection::Runtime(name)
    } else if let Some(path) = exe {
        Selection::Exe(path)
    } else if let Some(path) = cgroup {
        Selection::Cgroup(path)
    } else {
        Selection::Everything
    })
}

fn resolve_outputs(words: &[String]) -> Result<Vec<Output>> {
    let mut outputs = Vec::new();
    for word in words {
        let output = resolve_output(word)?;
        if outputs
            .iter()
            .any(|known: &Output| known.destination == output.destination)
        {
            match output.destination {
                Destination::StandardOutput => bail!(
                    "-o {word}: standard output is taken by another -o; give this one a file, as \
                     -o {word}:FILE"
                ),
                Destination::File(path) => {
                    bail!("-o {word}: another -o already writes {}", path.display())
                }
            }
        }
        outputs.push(output);
    }
    Ok(outputs)
}

fn resolve_output(word: &str) -> Result<Output> {
    let (format, file) = match word.split_once(':') {
        Some((format, file)) => (format, Some(file)),
        None => (word, None),
    };
    let format = match format {
        "pretty" => OutputFormat::Pretty,
        "json" => OutputFormat::Json,
        "ndjson" => OutputFormat::Ndjson,
        _ => bail!("-o {word}: unknown format `{format}`: give pretty, json or ndjson"),
    };
    let destination = match file {
        Some("") => bail!("-o {word}: the file's name is missing after the colon"),
        Some("-") | None => Destination::StandardOutput,
        Some(file) => Destination::File(file.into()),
    };
    Ok(Output {
        format,
        destination,
    })
}

fn level_of(capture: typed::Capture) -> CaptureLevel {
    match capture {
        typed::Capture::Timing => CaptureLevel::Timing,
        typed::Capture::Shape => CaptureLevel::Shape,
        typed::Capture::Tokens => CaptureLevel::Tokens,
        typed::Capture::Text => CaptureLevel::Text,
    }
}

/// A level as it is typed.
pub(crate) fn level_name(level: CaptureLevel) -> &'static str {
    match level {
        CaptureLevel::Timing => "timing",
        CaptureLevel::Shape => "shape",
        CaptureLevel::Tokens => "tokens",
        CaptureLevel::Text => "text",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    pub(super) fn resolved(line: &str) -> Result<Invocation> {
        resolve(typed::Typed::try_parse_from(line.split_whitespace())?)
    }

    fn trace(line: &str) -> Trace {
        match resolved(line) {
            Ok(Invocation::Trace(trace)) => trace,
            other => panic!("{line}: {other:?}"),
        }
    }

    pub(super) fn refusal(line: &str) -> String {
        match resolved(line) {
            Ok(accepted) => panic!("{line}: {accepted:?}"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn trace_without_arguments_traces_everything_at_shape() {
        let trace = trace("tracer trace");
        assert_eq!(trace.selection, Selection::Everything);
        assert_eq!(trace.level, CaptureLevel::Shape);
        assert_eq!(trace.duration, None);
        assert!(trace.govern && !trace.print_only);
        assert_eq!(
            trace.outputs,
            [Output {
                format: OutputFormat::Pretty,
                destination: Destination::StandardOutput
            }]
        );
    }

    #[test]
    fn pids_may_follow_one_flag_or_commas() {
        for line in [
            "tracer trace --pid 7 5 7",
            "tracer trace --pid 7,5",
            "tracer trace --pid 5 --pid 7",
        ] {
            assert_eq!(trace(line).selection, Selection::Pids(vec![5, 7]), "{line}");
        }
    }

    #[test]
    fn two_kinds_of_selection_contradict_each_other() {
        assert!(
            refusal("tracer trace --pid 5 --runtime llama.cpp").contains("cannot be used with")
        );
    }

    #[test]
    fn content_is_never_captured_without_an_end() {
        assert_eq!(
            trace("tracer trace --capture tokens").duration,
            Some(CONTENT_LIMIT)
        );
        assert_eq!(
            trace("tracer trace --capture text --duration 5s").duration,
            Some(Duration::from_secs(5))
        );
        assert!(refusal("tracer trace --capture tokens --duration 2h").contains("at most 1h"));
        assert_eq!(
            trace("tracer trace --duration 2h").duration,
            Some(Duration::from_secs(7200))
        );
    }

    #[test]
    fn one_output_may_go_to_standard_output_and_others_to_files() {
        let outputs = trace("tracer trace -o pretty -o ndjson:a.ndjson -o json:-x").outputs;
        assert_eq!(outputs.len(), 3);
        assert_eq!(outputs[1].destination, Destination::File("a.ndjson".into()));
        assert!(refusal("tracer trace -o pretty -o json").contains("-o json:FILE"));
        assert!(refusal("tracer trace -o json:a -o ndjson:a").contains("already writes a"));
        assert!(refusal("tracer trace -o xml").contains("pretty, json or ndjson"));
        assert!(refusal("tracer trace -o json:").contains("missing"));
    }

    #[test]
    fn a_snapshot_is_picked_by_number_or_process() {
        assert_eq!(resolve_pick(None).ok(), Some(Pick::Only));
        assert_eq!(resolve_pick(Some("2")).ok(), Some(Pick::Nth(2)));
        assert_eq!(resolve_pick(Some("pid=42")).ok(), Some(Pick::OfProcess(42)));
        assert!(refusal("tracer diff a b --pick-a 0").contains("--pick-a"));
        assert!(refusal("tracer diff - -").contains("standard input"));
    }
}
