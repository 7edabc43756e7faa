//! llama-server of a distribution's build, run as `nobody` in its own root, and a client that keeps
//! what the server itself says about each request.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cache::Cache,
    debian::{self, DebianRoot},
    model::{self, Shape},
    workload::NOBODY,
};

const PATIENCE: Duration = Duration::from_secs(120);
/// Mounts what the server needs into its root, in a mount namespace that ends with it.
const ENTER_ROOT: &str = r#"
set -e
mount --bind /proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount --bind "$MODELS" "$ROOT/models"
exec chroot --userspec="$USER_ID:$USER_ID" --groups= "$ROOT" /usr/bin/llama-server "$@"
"#;

/// A running llama-server. It is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    log: PathBuf,
    _folder: TempDir,
    /// The build that runs.
    pub build: DebianRoot,
}

impl Server {
    /// Starts the server on a free port with `options` and waits until it answers.
    ///
    /// # Errors
    /// When the packages cannot be fetched, or the server ends or stays silent.
    pub fn start(cache: &Cache, shape: Shape, options: &[&str]) -> Result<Self> {
        let build = debian::llama_cpp(cache)?;
        let model = model::model(cache, shape)?;
        let (models, name) = (
            model.parent().context("the model lies in a folder")?,
            model.file_name(),
        );
        let name = name
            .context("the model has a name")?
            .to_string_lossy()
            .into_owned();
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("server.log");
        let output = File::create(&log)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                ENTER_ROOT,
                "llama-server",
            ])
            .args([
                "--model",
                &format!("/models/{name}"),
                "--host",
                "127.0.0.1",
                "--port",
                &port.to_string(),
            ])
            .args(["--metrics", "--no-webui", "--verbose"])
            .args(options)
            .envs([
                ("ROOT", build.folder.as_os_str()),
                ("MODELS", models.as_os_str()),
            ])
            .env("USER_ID", NOBODY.to_string())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot run `unshare`; install util-linux")?;
        let mut server = Self {
            child,
            port,
            log,
            _folder: folder,
            build,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                bail!("llama-server ended with {status}:\n{}", self.log()?);
            }
            if self
                .get("/health")
                .is_ok_and(|answer| answer.contains("\"ok\""))
            {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!(
            "llama-server did not become ready within {PATIENCE:?}:\n{}",
            self.log()?
        )
    }

    /// The server's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the server has logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        read_lossy(&self.log)
    }

    /// Waits until the log has what `wanted` looks for.
    ///
    /// # Errors
    /// When it does not within two minutes.
    pub fn until_logged(&self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let start = Instant::now();
        while !wanted(&self.log()?) {
            if start.elapsed() > PATIENCE {
                bail!("the server never logged it:\n{}", self.log()?);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Asks for a completion and waits for it.
    ///
    /// # Errors
    /// When the server refuses it or its answer cannot be read.
    pub fn complete(&self, prompt: &str, tokens: u32) -> Result<Completion> {
        let request = serde_json::json!({
            "prompt": prompt, "n_predict": tokens, "temperature": 0, "cache_prompt": true,
            "return_tokens": true, "ignore_eos": true,
        });
        let answer = self.post("/completion", &request)?;
        serde_json::from_str(&answer)
            .with_context(|| format!("the server's answer is not a completion: {answer}"))
    }

    /// Asks for a long completion, reads `pieces` of it and leaves; returns how many were read.
    ///
    /// # Errors
    /// When the server refuses it, or ends the answer before that.
    pub fn cancel_after(&self, prompt: &str, pieces: usize) -> Result<usize> {
        let request = serde_json::json!({
            "prompt": prompt, "n_predict": 100_000, "temperature": 0, "stream": true, "ignore_eos": true,
        });
        let stream = self.send("POST", "/completion", &request.to_string())?;
        let mut seen = 0;
        for line in BufReader::new(stream).lines() {
            seen += usize::from(line?.starts_with("data: "));
            if seen == pieces {
                return Ok(seen);
            }
        }
        bail!("the server ended the answer after {seen} of {pieces} pieces")
    }

    /// One of the server's own counters, such as `n_decode_total`.
    ///
    /// # Errors
    /// When the server has no such counter.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = self.get("/metrics")?;
        let line = format!("llamacpp:{name} ");
        let value = text.lines().find_map(|found| found.strip_prefix(&line));
        let value = value.with_context(|| format!("the server has no metric `{name}`"))?;
        Ok(value.trim().parse()?)
    }

    /// Stops the server as its owner would and returns its log.
    ///
    /// # Errors
    /// When it cannot be signalled or does not end.
    pub fn stop(mut self) -> Result<String> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        self.log()
    }

    fn get(&self, path: &str) -> Result<String> {
        body(self.send("GET", path, "")?)
    }

    fn post(&self, path: &str, request: &Value) -> Result<String> {
        body(self.send("POST", path, &request.to_string())?)
    }

    fn send(&self, method: &str, path: &str, content: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        )?;
        Ok(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What the server says about a finished request.
#[derive(Clone, Debug, Deserialize)]
pub struct Completion {
    /// The generated token ids.
    pub tokens: Vec<i32>,
    /// Tokens of the whole prompt.
    pub tokens_evaluated: u32,
    /// `limit`, `eos` or `word`.
    pub stop_type: String,
    /// The slot, which is the sequence id.
    pub id_slot: i32,
    /// Counts and times.
    pub timings: Timings,
}

/// The server's own counts for one request.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Timings {
    /// Prompt tokens taken from the cache.
    pub cache_n: u32,
    /// Prompt tokens decoded.
    pub prompt_n: u32,
    /// Tokens generated.
    pub predicted_n: u32,
    /// Milliseconds from the first to the last generated token.
    pub predicted_ms: f64,
}

/// What the server's own log says about one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The slot, which is the sequence id.
    pub slot: i32,
    /// Prompt tokens taken from the cache.
    pub cached: u32,
    /// Tokens in the slot's sequence when the request ended: cached ones and all that were decoded.
    pub held: u32,
    /// Whether the client left before the end.
    pub cancelled: bool,
}

/// The requests of a log, by the server's task number, in the order in which they ended.
///
/// The lines are llama-server 0.7.0's own:
/// `slot operator(): id  0 | task 5 | cached n_tokens = 13, memory_seq_rm [13, end)`,
/// `slot release: id  0 | task 5 | stop processing: n_tokens = 27, truncated = 0` and
/// `srv stop: cancel task, id_task = 9`.
///
/// # Errors
/// When a request ends that never began.
pub fn served(log: &str) -> Result<Vec<Served>> {
    let mut open: BTreeMap<u32, Served> = BTreeMap::new();
    let mut ended = Vec::new();
    for line in log.lines() {
        if let Some(task) = number_after(line, "cancel task, id_task = ") {
            open.entry(task).or_default().cancelled = true;
        }
        let (Some(slot), Some(task)) = (number_after(line, "id "), number_after(line, "| task "))
        else {
            continue;
        };
        if let Some(cached) = number_after(line, "| cached n_tokens = ") {
            let request = open.entry(task).or_default();
            (request.slot, request.cached) = (slot.cast_signed(), cached);
        } else if let Some(held) = number_after(line, "| stop processing: n_tokens = ") {
            let request = open
                .remove(&task)
                .with_context(|| format!("task {task} ended but never began"))?;
            ended.push(Served { held, ..request });
        }
    }
    Ok(ended)
}

/// The number that follows the first `label`, after any spaces.
fn number_after(line: &str, label: &str) -> Option<u32> {
    let rest = line.split_once(label)?.1.trim_start();
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn body(mut stream: TcpStream) -> Result<String> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the server's answer has no header")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        bail!("the server answered {status}: {body}");
    }
    Ok(body.to_owned())
}

fn read_lossy(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
