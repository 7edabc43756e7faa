//! What is served, and how a run says how fast it was.

use std::process::Command;

use anyhow::{Context, Result};
use tracer_tests::{
    cache::Cache,
    model::Shape,
    python,
    report::{Event, Line},
    torch,
    tracer::Trace,
    workload::{Place, Running, Runtime},
};

use super::cost::probe_of;

/// A runtime with a model.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject {
    /// llama.cpp as node-llama-cpp ships it.
    LlamaCpp(Shape),
    /// ONNX Runtime's Python module.
    OnnxRuntime,
    /// PyTorch's CPU library.
    PyTorch,
}

impl Subject {
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

    /// Steps a second by the process's own report, those left out that warm it.
    pub(super) fn speed(self, report: &[Line]) -> Result<f64> {
        let ends: Vec<(u64, u64)> = match self {
            // Calls after the first one, which holds the prompt.
            Self::LlamaCpp(_) => {
                let is_end = |line: &&Line| matches!(line.event, Event::DecodeEnd { .. });
                let ends = report.iter().filter(is_end);
                (0..).zip(ends.map(|line| line.boot_ns)).collect()
            }
            Self::OnnxRuntime | Self::PyTorch => {
                let measured = |line: &Line| match line.event {
                    Event::Measured { calls, .. } => Some((calls, line.boot_ns)),
                    _ => None,
                };
                report.iter().filter_map(measured).collect()
            }
        };
        let (Some((first, begin)), Some((last, end))) = (ends.first(), ends.last()) else {
            anyhow::bail!("the workload reported no step");
        };
        let steps = u32::try_from(last - first).context("more steps than were asked for")?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let seconds = (end - begin) as f64 / 1e9;
        anyhow::ensure!(steps > 0 && seconds > 0.0, "one step is no speed");
        Ok(f64::from(steps) / seconds)
    }
}
