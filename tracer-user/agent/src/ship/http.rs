//! One question over HTTPS: what enrolment needs, and no more (RFC 9112).

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tracer_wire::enrolment::Problem;

/// Bytes of an answer, at most.
const LIMIT: usize = 256 << 10;

/// The question was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// The connection failed.
    #[error("the connection to the collector: {0}")]
    Connection(std::io::Error),
    /// The collector said no.
    #[error("the collector answers {status}: {why}")]
    Refused {
        /// HTTP's number.
        status: u16,
        /// Its words.
        why: String,
    },
    /// What answered is no collector.
    #[error("what answered is no collector: {0}")]
    Form(&'static str),
}

impl From<std::io::Error> for HttpError {
    fn from(cause: std::io::Error) -> Self {
        Self::Connection(cause)
    }
}

/// Asks, and reads the answer to its end.
pub(super) async fn post<A: DeserializeOwned>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    path: &str,
    question: &impl Serialize,
) -> Result<A, HttpError> {
    let body = serde_json::to_vec(question).map_err(|_| HttpError::Form("no question"))?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    let limited = (&mut stream).take(LIMIT as u64);
    let read = { limited }.read_to_end(&mut answer).await;
    // Some ends close without saying so first; what arrived whole is whole by its length.
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(error.into()),
    }
    let (status, body) = split(&answer)?;
    if status == 200 {
        return serde_json::from_slice(body)
            .map_err(|_| HttpError::Form("its answer is not the JSON that was agreed on"));
    }
    let why = serde_json::from_slice::<Problem>(body).map_or_else(
        |_| "without a reason".to_owned(),
        |problem| problem.error.chars().filter(|c| !c.is_control()).collect(),
    );
    Err(HttpError::Refused { status, why })
}

/// Status and body of an answer that is whole.
fn split(answer: &[u8]) -> Result<(u16, &[u8]), HttpError> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")
        .ok_or(HttpError::Form("its answer has no end of headers"))?;
    let head =
        str::from_utf8(&answer[..end]).map_err(|_| HttpError::Form("its headers are no text"))?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3))
        .and_then(|status| status.parse().ok())
        .ok_or(HttpError::Form("it does not speak HTTP/1.1"))?;
    let mut length = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Err(HttpError::Form("a header without a colon"));
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let body = &answer[end + 4..];
    match length {
        Some(length) => body
            .get(..length)
            .map(|body| (status, body))
            .ok_or(HttpError::Form("its answer is cut off")),
        None => Err(HttpError::Form("its answer does not say how long it is")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_refused() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(split(whole).unwrap(), (200, b"{}".as_slice()));
        for length in 0..whole.len() {
            assert!(split(&whole[..length]).is_err(), "{length}");
        }
        for wrong in [
            b"SSH-2.0-x\r\n\r\n".as_slice(),
            b"HTTP/1.1 2xx\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
            b"\xff\r\n\r\n",
        ] {
            assert!(split(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
