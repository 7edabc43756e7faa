//! bpftrace scripts that tell of a served model what each of our profiles tells: as somebody would write them
//! who knows the same functions and the same layouts.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tracer_probe::code::Image;

use super::{subject::Subject, ways::Extra};

/// The libraries that a process has mapped, under names that bpftrace can read: it takes no `@` in a path.
pub(super) struct Libraries {
    folder: TempDir,
    /// By file name, as they are linked.
    links: Vec<PathBuf>,
    subject: Subject,
}

impl Libraries {
    /// Those of `subject` in the process `pid`.
    pub(super) fn of(subject: Subject, pid: u32) -> Result<Self> {
        let names: &[&str] = match subject {
            Subject::LlamaCpp(_) => &["/libllama", "/libggml"],
            Subject::OnnxRuntime => &["/onnxruntime_pybind11_state"],
            Subject::PyTorch => &["/libtorch_cpu.so"],
        };
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let paths: BTreeSet<&str> = maps
            .lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .filter(|path| names.iter().any(|name| path.contains(name)))
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
        Ok(Self {
            folder,
            links,
            subject,
        })
    }

    /// A script that counts in `@calls`, and prints what the default profile tells and `extra` with it; of
    /// histograms alone where they take the default profile's place.
    pub(super) fn script(&self, extra: Extra) -> Result<String> {
        match self.subject {
            Subject::LlamaCpp(_) => self.of_llama(extra),
            Subject::OnnxRuntime => self.of_onnx_runtime(extra),
            Subject::PyTorch => self.of_pytorch(extra),
        }
    }

    fn of_llama(&self, extra: Extra) -> Result<String> {
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
        match extra {
            Extra::Nothing => {}
            Extra::Content => {
                for site in self.sites(&TOKENS)? {
                    // Its number of tokens, and the first of them: a step of a generation has one.
                    script.push_str(&format!(
                        "uprobe:{site} {{ $ids = *(uint64 *)(arg1 + 24); printf(\"%d %d %d %d\\n\", tid, \
                         *(uint32 *)(arg1 + 4), *(int32 *)$ids, nsecs); }} "
                    ));
                }
            }
            Extra::Histograms => {
                for (number, site) in self.sites(&OPERATIONS)?.into_iter().enumerate() {
                    script.push_str(&histogram(&site, number));
                }
            }
        }
        Ok(script)
    }

    /// `InferenceSession::Run`: the session, how many inputs and outputs, the first name of each, and the shape
    /// of the first input.
    fn of_onnx_runtime(&self, extra: Extra) -> Result<String> {
        const RUN: &str = "Running with tag: ";
        const NODE: &str = "Non-zero status code returned while running ";
        if extra == Extra::Histograms {
            return Ok(histogram(&self.referring_to(NODE)?, 0));
        }
        let site = self.referring_to(RUN)?;
        // The first input is an OrtValue in a span; its first word is a Tensor.
        Ok(format!(
            "uprobe:{site} {{ @began[tid] = nsecs; @session[tid] = arg1; @inputs[tid] = arg3; \
             @outputs[tid] = sarg2; @input[tid] = *(uint64 *)arg4; @output[tid] = *(uint64 *)sarg3; \
             $tensor = *(uint64 *)*(uint64 *)sarg1; @dimensions[tid] = *(uint64 *)($tensor + 24); \
             @dimension[tid] = *(uint64 *)*(uint64 *)($tensor + 32); }} \
             uretprobe:{site} /@began[tid]/ {{ @calls = count(); \
             printf(\"%d %d %p %d %d %s %s %d %d\\n\", tid, nsecs - @began[tid], @session[tid], \
             @inputs[tid], @outputs[tid], str(@input[tid]), str(@output[tid]), @dimensions[tid], \
             @dimension[tid]); delete(@began[tid]); }} "
        ))
    }

    /// The embedding's entry, with the shape, type and length of its indices and, as content, the first of
    /// them; and its return.
    fn of_pytorch(&self, extra: Extra) -> Result<String> {
        const EMBEDDING: &str = "_ZN2at4_ops9embedding4callERKNS_6TensorES4_N3c106SymIntEbb";
        let sites = self.sites(&[EMBEDDING])?;
        let site = sites.first().context("it has a site")?;
        let (format, id) = match extra {
            Extra::Histograms => return Ok(histogram(site, 0)),
            Extra::Nothing => ("", ""),
            Extra::Content => (
                " %d",
                ", *(int64 *)*(uint64 *)(*(uint64 *)($tensor + 16) + 16)",
            ),
        };
        Ok(format!(
            "uprobe:{site} {{ @began[tid] = nsecs; $tensor = *(uint64 *)arg2; \
             printf(\"%d %d %d %d %d %d{format}\\n\", tid, nsecs, *(uint64 *)($tensor + 56), \
             *(int64 *)($tensor + 64), *(int64 *)($tensor + 152), *(uint16 *)($tensor + 160){id}); }} \
             uretprobe:{site} /@began[tid]/ {{ @calls = count(); \
             printf(\"%d %d\\n\", tid, nsecs - @began[tid]); delete(@began[tid]); }} "
        ))
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

    /// The function without a symbol that refers to this string: by its address, which is found as our
    /// profile finds it. bpftrace itself has no means for that.
    fn referring_to(&self, text: &str) -> Result<String> {
        let [link] = &*self.links else {
            anyhow::bail!("one library was expected: {:?}", self.links);
        };
        let image = Image::parse(File::open(link)?)?;
        let functions = image.functions_referring_to(text.as_bytes())?;
        let functions: Vec<u64> = functions.into_iter().collect();
        let [function] = &*functions else {
            anyhow::bail!("one function was expected to refer to {text:?}: {functions:?}");
        };
        Ok(format!("{}:{function:#x}", link.display()))
    }
}

/// Times a function and counts its calls.
fn histogram(site: &str, number: usize) -> String {
    format!(
        "uprobe:{site} {{ @from{number}[tid] = nsecs; }} uretprobe:{site} /@from{number}[tid]/ {{ \
         @operations = count(); @ns{number} = hist(nsecs - @from{number}[tid]); \
         delete(@from{number}[tid]); }} "
    )
}
