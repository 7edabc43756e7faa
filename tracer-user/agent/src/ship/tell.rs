//! Tells how the agent is: to `tracer agent status`, and to Prometheus.

use std::{net::TcpListener, os::unix::net::UnixListener, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use super::Status;

/// How long somebody may take to ask and to read. They are served one after another.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a question, at most.
const LONGEST: usize = 4096;

/// Writes the status as JSON to whoever connects and is root or this process's user.
pub(super) fn control(listener: UnixListener, status: Status) -> Result<()> {
    listener
        .set_nonblocking(true)
        .context("prepare the control socket")?;
    let listener =
        tokio::net::UnixListener::from_std(listener).context("prepare the control socket")?;
    let own = rustix::process::geteuid().as_raw();
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                tokio::time::sleep(PATIENCE / 20).await;
                continue;
            };
            let peer = stream.peer_cred().map(|peer| peer.uid());
            if !peer.is_ok_and(|peer| peer == 0 || peer == own) {
                continue;
            }
            let text = serde_json::to_vec(&status.now()).expect("a status is numbers and text");
            let _ = timeout(PATIENCE, stream.write_all(&text)).await;
        }
    });
    Ok(())
}

/// Serves `GET /metrics`.
pub(super) fn metrics(listener: TcpListener, status: Status) -> Result<()> {
    listener
        .set_nonblocking(true)
        .context("prepare the metrics' port")?;
    let listener =
        tokio::net::TcpListener::from_std(listener).context("prepare the metrics' port")?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(PATIENCE / 20).await;
                continue;
            };
            let _ = timeout(PATIENCE, answer(stream, &status)).await;
        }
    });
    Ok(())
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    status: &Status,
) -> std::io::Result<()> {
    let mut question = Vec::new();
    while memchr::memmem::find(&question, b"\r\n\r\n").is_none() {
        let mut piece = [0; 512];
        let count = stream.read(&mut piece).await?;
        if count == 0 || question.len() + count > LONGEST {
            return Ok(());
        }
        question.extend_from_slice(&piece[..count]);
    }
    let (line, body) = match question.starts_with(b"GET /metrics ") {
        true => ("200 OK", status.now().metrics()),
        false => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {line}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
