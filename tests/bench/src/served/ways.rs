//! The same work of a runtime under each way to watch it: the default profile, captured content, histograms
//! of its operations, and bpftrace scripts that tell as much as each of them.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};
use tracer_event::{Body, inference::Direction};
use tracer_tests::{
    cache::Cache,
    compile::SOURCES,
    tracer::{KEEP_CONTENT, Trace, Tracing},
    workload::Running,
};

use super::{
    GROUP,
    scripts::Libraries,
    subject::{Pace, Subject},
};
use crate::{
    bpftrace::Bpftrace,
    peer::LeftOut,
    row::{Bar, Row},
    statistics::SplitMix,
};

/// How a model is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Untraced,
    Traced(Tool, Extra),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tool {
    Tracer,
    Bpftrace,
}

/// What is told besides what the default profile tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extra {
    Nothing,
    /// What the model is given, or says.
    Content,
    /// How long its operations take. Where they are of the library that has the default profile, that one is
    /// not used beside them: a library has one profile.
    Histograms,
}

use Extra::{Content, Histograms, Nothing};
use Tool::{Bpftrace as Theirs, Tracer as Ours};
use Way::{Traced, Untraced};

impl Subject {
    /// The capture level that has content, and what that is; or why there is none.
    fn content(self) -> Result<(&'static str, &'static str), &'static str> {
        match self {
            Self::LlamaCpp(_) => Ok(("text", "captured text")),
            Self::PyTorch => Ok(("tokens", "captured token ids")),
            Self::OnnxRuntime => Err(
                "the profile has no content: a session is given tensors by name, and what they mean is known \
                 to the model's own code alone; a profile of one's own can read them",
            ),
        }
    }

    /// The profile of histograms, what it times, and whether the default profile is at work beside it.
    fn histograms(self) -> Result<(String, &'static str, bool)> {
        let of_ours = |name: &str| -> Result<String> {
            let profile = fs::canonicalize(SOURCES)?.join(name);
            Ok(profile.display().to_string())
        };
        Ok(match self {
            Self::LlamaCpp(_) => ("ggml".to_owned(), "histograms of ggml beside it", true),
            Self::OnnxRuntime => (
                of_ours("onnx_nodes.toml")?,
                "histogram of its nodes alone",
                false,
            ),
            Self::PyTorch => (
                of_ours("torch_operators.toml")?,
                "histogram of the embedding alone",
                false,
            ),
        })
    }

    fn name_of(self, tool: Tool, extra: Extra) -> Result<String> {
        let what = match (extra, tool) {
            (Nothing, Ours) => "default profile",
            (Nothing, Theirs) => "a line for each step",
            (Content, Ours) => self.content().map_err(anyhow::Error::msg)?.1,
            (Content, Theirs) => "a line for each step and its token",
            (Histograms, _) => self.histograms()?.1,
        };
        Ok(match tool {
            Ours => what.to_owned(),
            Theirs => format!("bpftrace, {what}"),
        })
    }
}

/// Measures each way once in each repetition, in random order, against untraced in the same one.
///
/// # Errors
/// If the workload or the tracer cannot be run, or does not see the steps.
pub(super) fn measure(
    subject: Subject,
    repetitions: usize,
    steps: u32,
    left_out: &mut Vec<LeftOut>,
) -> Result<Vec<Row>> {
    const SEED: u64 = 0x7761_7973;
    let cache = Cache::open()?;
    let mut leave_out = |peer: String, reason: String| {
        left_out.push(LeftOut {
            group: GROUP,
            peer,
            reason,
        });
    };
    let bpftrace = Bpftrace::find()
        .map_err(|why| leave_out("bpftrace".to_owned(), format!("{why:#}")))
        .ok();
    let mut extras = vec![Nothing, Histograms];
    match subject.content() {
        Ok(_) => extras.push(Content),
        Err(why) => leave_out(
            format!("captured content of {}", subject.name()),
            why.to_owned(),
        ),
    }
    let mut ways = vec![Untraced];
    for extra in extras {
        ways.push(Traced(Ours, extra));
        if bpftrace.is_some() {
            ways.push(Traced(Theirs, extra));
        }
    }
    let mut random = SplitMix(SEED);
    let mut paces: BTreeMap<Way, Vec<Pace>> = BTreeMap::new();
    for _ in 0..repetitions {
        let mut left = ways.clone();
        while !left.is_empty() {
            let way = left.swap_remove(random.below(left.len()));
            let pace = run(subject, way, &cache, steps, bpftrace.as_ref())
                .with_context(|| format!("measuring {}, {way:?}", subject.name()));
            match (way, pace) {
                (_, Ok(pace)) => paces.entry(way).or_default().push(pace),
                // A peer that fails here is no reason to measure nothing.
                (Traced(Theirs, extra), Err(why)) => {
                    let name = subject.name_of(Theirs, extra)?;
                    leave_out(format!("{}, {name}", subject.name()), format!("{why:#}"));
                    ways.retain(|&other| other != way);
                    paces.remove(&way);
                }
                (Untraced | Traced(Ours, _), Err(why)) => return Err(why),
            }
        }
    }
    let version = bpftrace.as_ref().map(ToString::to_string);
    let untraced = paces.remove(&Untraced).context("it was measured")?;
    let mut rows = Vec::new();
    for (way, paces) in paces {
        type Figure = fn(Pace) -> f64;
        let Traced(tool, extra) = way else { continue };
        let peer = match &version {
            Some(version) if tool == Theirs => format!("{version}; "),
            _ => String::new(),
        };
        let note = format!("{peer}{repetitions} repetitions of {steps} steps");
        let way = subject.name_of(tool, extra)?;
        let figures: [(&str, Figure); 2] = [
            ("tokens/s", |pace| pace.speed),
            ("time to first token", |pace| pace.first),
        ];
        for (what, figure) in figures {
            let both = std::iter::zip(&paces, &untraced);
            let ratios = both.map(|(traced, plain)| figure(*traced) / figure(*plain));
            let name = format!("{}: {what} ÷ untraced, {way}", subject.name());
            rows.push(Row::judge(
                GROUP,
                name,
                "x",
                ratios.collect(),
                Bar::None,
                &*note,
            )?);
        }
    }
    Ok(rows)
}

fn run(
    subject: Subject,
    way: Way,
    cache: &Cache,
    steps: u32,
    bpftrace: Option<&Bpftrace>,
) -> Result<Pace> {
    let mut running = subject.start(cache, steps)?;
    match way {
        Untraced => {
            running.go()?;
            subject.pace(&running.finish()?)
        }
        Traced(Ours, extra) => under(subject, running, steps, extra),
        Traced(Theirs, extra) => {
            let bpftrace = bpftrace.context("it was found")?;
            let libraries = Libraries::of(subject, running.pid())?;
            let attached = bpftrace.attach(running.pid(), &libraries.script(extra)?)?;
            running.go()?;
            let pace = subject.pace(&running.finish()?)?;
            let output = attached.finish()?;
            let seen = output.counted("calls").max(output.counted("operations"));
            ensure!(
                seen >= u64::from(steps),
                "bpftrace saw {seen} of {steps} steps"
            );
            Ok(pace)
        }
    }
}

fn under(subject: Subject, mut running: Running, steps: u32, extra: Extra) -> Result<Pace> {
    let pid = running.pid();
    let (profile, _, is_beside) = subject.histograms()?;
    let mut tracing = match extra {
        Nothing => Tracing::start(&[])?,
        Content => {
            let (level, _) = subject.content().map_err(anyhow::Error::msg)?;
            Tracing::content(level, KEEP_CONTENT, &[])?
        }
        Histograms => Tracing::start(&["--profile", &profile])?,
    };
    tracing.until_attached(pid)?;
    running.go()?;
    let pace = subject.pace(&running.finish()?)?;
    let trace = tracing.interrupt()?;
    trace.assert_nothing_lost()?;
    let counted = || -> Result<u64> {
        let operations = trace.operations()?;
        Ok(operations.values().map(|all| all.count).sum())
    };
    let mut seen = Vec::new();
    if extra != Histograms || is_beside {
        seen.push(("steps", subject.seen(&trace, pid)?));
    }
    match extra {
        Nothing => {}
        Content => ensure!(
            has_content(subject, &trace, pid)?,
            "the tracer captured no content of {}",
            subject.name()
        ),
        Histograms => seen.push(("operations", counted()?)),
    }
    for (what, count) in seen {
        ensure!(
            count >= u64::from(steps),
            "the tracer saw {count} {what} in {steps} steps"
        );
    }
    Ok(pace)
}

/// Whether anything of what the model was given, or said, was told.
fn has_content(subject: Subject, trace: &Trace, pid: u32) -> Result<bool> {
    Ok(match subject {
        Subject::LlamaCpp(_) => !trace.text(pid, Direction::Output)?.is_empty(),
        Subject::OnnxRuntime => false,
        Subject::PyTorch => trace.of(pid).any(|line| match &line.body {
            Body::Called(called) => {
                let mut names = called.values.keys();
                names.any(|name| name.as_str() == "token_ids")
            }
            _ => false,
        }),
    })
}
