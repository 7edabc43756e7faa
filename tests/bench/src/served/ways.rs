//! The same generation of llama.cpp under each way to watch it: the default profile, captured text,
//! histograms of ggml, and bpftrace scripts that tell as much as each of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tracer_probe::code::Image;
use tracer_tests::{
    cache::Cache,
    model::SMALL,
    tracer::{KEEP_CONTENT, Tracing},
    workload::Running,
};

use super::{GROUP, subject::Subject};
use crate::{
    bpftrace::Bpftrace,
    peer::LeftOut,
    row::{Bar, Row},
    statistics::SplitMix,
};

/// What is watched.
const WATCHED: Subject = Subject::LlamaCpp(SMALL);

/// How it is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Untraced,
    Steps(Tool),
    Text(Tool),
    Histograms(Tool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tool {
    Tracer,
    Bpftrace,
}

use Tool::{Bpftrace as Theirs, Tracer as Ours};
use Way::{Histograms, Steps, Text, Untraced};

impl Way {
    const ALL: [Self; 7] = [
        Untraced,
        Steps(Ours),
        Text(Ours),
        Histograms(Ours),
        Steps(Theirs),
        Text(Theirs),
        Histograms(Theirs),
    ];

    fn name(self) -> &'static str {
        match self {
            Untraced => "untraced",
            Steps(Ours) => "default profile",
            Text(Ours) => "captured text",
            Histograms(Ours) => "histograms of ggml beside it",
            Steps(Theirs) => "bpftrace, a line for each step",
            Text(Theirs) => "bpftrace, a line for each step and its token",
            Histograms(Theirs) => "bpftrace, histograms of ggml beside it",
        }
    }

    fn is_of(self, tool: Tool) -> bool {
        match self {
            Untraced => false,
            Steps(of) | Text(of) | Histograms(of) => of == tool,
        }
    }
}

/// Measures each way once in each repetition, in random order, against untraced in the same one.
///
/// # Errors
/// If the workload or the tracer cannot be run, or does not see the steps.
pub(super) fn measure(
    repetitions: usize,
    tokens: u32,
    left_out: &mut Vec<LeftOut>,
) -> Result<Vec<Row>> {
    const SEED: u64 = 0x7761_7973;
    let cache = Cache::open()?;
    let bpftrace = Bpftrace::find()
        .map_err(|why| left_out.push(LeftOut::because(GROUP, "bpftrace", &why)))
        .ok();
    let mut random = SplitMix(SEED);
    let mut speeds: BTreeMap<Way, Vec<f64>> = BTreeMap::new();
    for _ in 0..repetitions {
        let mut left = Way::ALL.to_vec();
        left.retain(|way| bpftrace.is_some() || !way.is_of(Theirs));
        while !left.is_empty() {
            let way = left.swap_remove(random.below(left.len()));
            let speed = run(way, &cache, tokens, bpftrace.as_ref())
                .with_context(|| format!("measuring {}", way.name()))?;
            speeds.entry(way).or_default().push(speed);
        }
    }
    let version = bpftrace.as_ref().map(ToString::to_string);
    let untraced = speeds.remove(&Untraced).context("it was measured")?;
    let row = |(way, speeds): (Way, Vec<f64>)| {
        let ratios = std::iter::zip(speeds, &untraced).map(|(traced, plain)| traced / plain);
        let peer = match &version {
            Some(version) if way.is_of(Theirs) => format!("{version}; "),
            _ => String::new(),
        };
        let name = format!("134 M parameters: tokens/s ÷ untraced, {}", way.name());
        let note = format!("{peer}{repetitions} repetitions of {tokens} tokens");
        Row::judge(GROUP, name, "x", ratios.collect(), Bar::None, note)
    };
    speeds.into_iter().map(row).collect()
}

/// Tokens a second.
fn run(way: Way, cache: &Cache, tokens: u32, bpftrace: Option<&Bpftrace>) -> Result<f64> {
    let mut running = WATCHED.start(cache, tokens)?;
    match way {
        Untraced => {
            running.go()?;
            WATCHED.speed(&running.finish()?)
        }
        Steps(Ours) => under(running, tokens, Tracing::start(&[])?),
        Text(Ours) => under(
            running,
            tokens,
            Tracing::content("text", KEEP_CONTENT, &[])?,
        ),
        Histograms(Ours) => under(running, tokens, Tracing::start(&["--profile", "ggml"])?),
        Steps(Theirs) | Text(Theirs) | Histograms(Theirs) => {
            let bpftrace = bpftrace.context("it was found")?;
            let libraries = Libraries::of(running.pid())?;
            let attached = bpftrace.attach(running.pid(), &libraries.script(way)?)?;
            running.go()?;
            let speed = WATCHED.speed(&running.finish()?)?;
            let output = attached.finish()?;
            let seen = output.counted("calls");
            ensure!(
                seen >= u64::from(tokens),
                "bpftrace saw {seen} of {tokens} steps"
            );
            Ok(speed)
        }
    }
}

fn under(mut running: Running, tokens: u32, mut tracing: Tracing) -> Result<f64> {
    tracing.until_attached(running.pid())?;
    running.go()?;
    let speed = WATCHED.speed(&running.finish()?)?;
    let trace = tracing.interrupt()?;
    trace.assert_nothing_lost()?;
    let seen = trace.summary()?.steps;
    ensure!(
        seen >= u64::from(tokens),
        "the tracer saw {seen} of {tokens} steps"
    );
    Ok(speed)
}

/// The libraries that a process has mapped, under names that bpftrace can read: it takes no `@` in a path.
struct Libraries {
    folder: TempDir,
    /// By file name, as they are linked.
    links: Vec<PathBuf>,
}

impl Libraries {
    fn of(pid: u32) -> Result<Self> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let paths: BTreeSet<&str> = maps
            .lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .filter(|path| path.contains("/libllama") || path.contains("/libggml"))
            .collect();
        let folder = tempfile::tempdir()?;
        let mut links = Vec::new();
        for path in paths {
            let name = Path::new(path)
                .file_name()
                .context("a library has a name")?;
            let link = folder.path().join(name);
            symlink(path, &link)?;
            links.push(link);
        }
        Ok(Self { folder, links })
    }

    fn script(&self, way: Way) -> Result<String> {
        const STEPS: [&str; 2] = ["llama_decode", "llama_process"];
        const TOKENS: [&str; 1] = [
            "_ZN13llama_context14process_ubatchERK12llama_ubatch14llm_graph_typeP22llama_memory_context_iR11ggml_status",
        ];
        /// Those of the profile `ggml`.
        const OPERATIONS: [&str; 5] = [
            "ggml_backend_sched_split_graph",
            "ggml_backend_sched_graph_compute_async",
            "ggml_backend_sched_synchronize",
            "ggml_graph_plan",
            "ggml_graph_compute",
        ];
        let mut script = String::new();
        for site in self.sites(&STEPS)? {
            script.push_str(&format!(
                "uprobe:{site} {{ @began[tid] = nsecs; }} uretprobe:{site} /@began[tid]/ {{ \
                 @calls = count(); printf(\"%d %d %d\\n\", tid, nsecs - @began[tid], retval); \
                 delete(@began[tid]); }} "
            ));
        }
        if matches!(way, Text(_)) {
            for site in self.sites(&TOKENS)? {
                // Its number of tokens, and the first of them: a step of a generation has one.
                script.push_str(&format!(
                    "uprobe:{site} {{ $ids = *(uint64 *)(arg1 + 24); printf(\"%d %d %d %d\\n\", tid, \
                     *(uint32 *)(arg1 + 4), *(int32 *)$ids, nsecs); }} "
                ));
            }
        }
        if matches!(way, Histograms(_)) {
            for (number, site) in self.sites(&OPERATIONS)?.into_iter().enumerate() {
                script.push_str(&format!(
                    "uprobe:{site} {{ @from{number}[tid] = nsecs; }} uretprobe:{site} /@from{number}[tid]/ {{ \
                     @ns{number} = hist(nsecs - @from{number}[tid]); delete(@from{number}[tid]); }} "
                ));
            }
        }
        Ok(script)
    }

    /// Where these functions are, as bpftrace names it; those that no library has are left out.
    fn sites(&self, symbols: &[&str]) -> Result<Vec<String>> {
        let mut sites = Vec::new();
        for link in &self.links {
            let image = Image::parse(File::open(link)?)?;
            let found = image.symbols(symbols).found;
            let here = symbols.iter().filter(|symbol| found.contains_key(**symbol));
            sites.extend(here.map(|symbol| format!("{}:{symbol}", link.display())));
        }
        ensure!(
            !sites.is_empty(),
            "no library in {} has any of {symbols:?}",
            self.folder.path().display()
        );
        Ok(sites)
    }
}
