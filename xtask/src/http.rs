//! A request to a server on this machine. It speaks HTTP/1.0, so that an answer ends with its
//! connection; neither TLS nor redirections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Longer than any of the servers here thinks about a request.
const LIMIT: Duration = Duration::from_secs(100);

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// Cuts the bytes of a whole answer.
    fn of(bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .with_context(|| format!("no whole answer: {text:?}"))?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .with_context(|| format!("no status in: {head:?}"))?;
        let body = body.to_owned();
        Ok(Self { status, body })
    }

    /// The body as JSON, if the status is one of success.
    pub(crate) fn good(&self) -> Result<Value> {
        ensure!(
            (200..300).contains(&self.status),
            "status {}: {}",
            self.status,
            self.body
        );
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&self.body).with_context(|| format!("no JSON: {}", self.body))
    }

    /// Fails unless the status is `wanted`.
    pub(crate) fn refused(&self, wanted: u16) -> Result<()> {
        ensure!(
            self.status == wanted,
            "status {} instead of {wanted}: {}",
            self.status,
            self.body
        );
        Ok(())
    }
}

/// Sends a request with `body`, if there is one, to `address`, and waits for the answer.
pub(crate) fn ask(address: &str, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Answer::of(&answer).with_context(|| format!("{method} {path}"))
}

/// The body of a GET that went well.
pub(crate) fn get(address: &str, path: &str) -> Result<Value> {
    ask(address, "GET", path, None)?
        .good()
        .with_context(|| format!("GET {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_cut() {
        let answer = Answer::of(b"HTTP/1.1 201 Created\r\nX: y\r\n\r\n{\"id\":1}").unwrap();
        assert_eq!(answer.status, 201);
        assert_eq!(answer.good().unwrap(), serde_json::json!({"id": 1}));
        assert!(answer.refused(409).is_err());
    }

    #[test]
    fn no_content_is_an_answer_and_a_torn_head_is_none() {
        let answer = Answer::of(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert_eq!(answer.good().unwrap(), Value::Null);
        assert!(Answer::of(b"HTTP/1.1 204 No Con").is_err());
        assert!(Answer::of(b"").is_err());
    }

    #[test]
    fn an_error_is_not_taken_for_success() {
        let answer = Answer::of(b"HTTP/1.1 409 Conflict\r\n\r\n{\"message\":\"m\"}").unwrap();
        assert!(answer.good().is_err());
        answer.refused(409).unwrap();
    }
}
