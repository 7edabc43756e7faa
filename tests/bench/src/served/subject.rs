//! What is served, and how a run says how fast it was.

use std::process::Command;

use anyhow::{Context, Result};
use tracer_tests::{
    cache::Cache,
    model::{Shape, TINY},
    python,
    report::{Event, Line},
    torch,
    tracer::Trace,
    workload::{Place, Running, Runtime},
};

use super::cost::probe_of;

/// A runtime with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// llama.cpp as node-llama-cpp ships it.
    LlamaCpp(Shape),
    /// ONNX Runtime's Python module.
    OnnxRuntime,
    /// PyTorch's CPU library.
    PyTorch,
}

/// How fast a run was, by the process's own report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Steps a second, those left out that warm it.
    pub(super) speed: f64,
    /// From the question to the first token, or to the first answer where it has no tokens, in milliseconds.
    pub(super) first: f64,
}

impl Subject {
    /// As its rows name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LlamaCpp(TINY) => "toy of 4 M parameters",
            Self::LlamaCpp(_) => "134 M parameters",
            Self::OnnxRuntime => "ONNX Runtime",
            Self::PyTorch => "PyTorch",
        }
    }

    /// A process that has its model and waits, to do so many steps.
    pub(super) fn start(self, cache: &Cache, steps: u32) -> Result<Running> {
        let mut running = Running::start(self.command(cache, steps)?, Place::Host)?;
        running.until_waiting()?;
        Ok(running)
    }

    fn command(self, cache: &Cache, steps: u32) -> Result<Command> {
        match self {
            Self::LlamaCpp(shape) => {
                let tokens = steps.to_string();
                let arguments = ["--n", &tokens, "load", "context", "wait", "generate"];
                Runtime::NodeLlamaCpp.command(cache, shape, &arguments)
            }
            Self::OnnxRuntime => python::serving(cache, steps),
            Self::PyTorch => torch::serving(cache, steps),
        }
    }

    /// How many of the steps the tracer saw.
    pub(super) fn seen(self, trace: &Trace, pid: u32) -> Result<u64> {
        let calls = |probe: &str| {
            let told = trace.of(pid).filter_map(probe_of);
            told.filter(|of| *of == probe).count() as u64
        };
        match self {
            Self::LlamaCpp(_) => Ok(trace.summary()?.steps),
            Self::OnnxRuntime => Ok(calls("onnxruntime/run")),
            Self::PyTorch => Ok(calls("torch/embedding")),
        }
    }

    /// How fast it was.
    pub(super) fn pace(self, report: &[Line]) -> Result<Pace> {
        let when = |wanted: fn(&Event) -> bool| {
            let mut lines = report.iter();
            lines
                .find(|line| wanted(&line.event))
                .map(|line| line.boot_ns)
        };
        let (ends, first): (Vec<(u64, u64)>, _) = match self {
            Self::LlamaCpp(_) => {
                // Calls after the first one, which holds the prompt.
                let is_end = |line: &&Line| matches!(line.event, Event::DecodeEnd { .. });
                let ends = report.iter().filter(is_end).map(|line| line.boot_ns);
                let asked = when(|event| matches!(event, Event::DecodeBegin { .. }));
                let answered = when(|event| matches!(event, Event::Sampled { .. }));
                let first = Option::zip(asked, answered).map(|(asked, answered)| answered - asked);
                ((0..).zip(ends).collect(), first)
            }
            Self::OnnxRuntime | Self::PyTorch => {
                let measured = |line: &Line| match line.event {
                    Event::Measured { calls, .. } => Some((calls, line.boot_ns)),
                    _ => None,
                };
                let first = report.iter().find_map(|line| match line.event {
                    Event::First { took_ns } => Some(took_ns),
                    _ => None,
                });
                (report.iter().filter_map(measured).collect(), first)
            }
        };
        let (Some((before, begin)), Some((last, end))) = (ends.first(), ends.last()) else {
            anyhow::bail!("the workload reported no step");
        };
        let steps = u32::try_from(last - before).context("more steps than were asked for")?;
        let first = first.context("the workload reported no first answer")?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let (seconds, first) = ((end - begin) as f64 / 1e9, first as f64 / 1e6);
        anyhow::ensure!(steps > 0 && seconds > 0.0, "one step is no speed");
        let speed = f64::from(steps) / seconds;
        Ok(Pace { speed, first })
    }
}
