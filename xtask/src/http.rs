//! A request to a server on this machine. It speaks HTTP/1.0, so that an answer ends with its
//! connection; neither TLS nor redirections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Longer than any of the servers here thinks about a request.
const LIMIT: Duration = Duration::from_secs(100);
/// A server that says nothing so many times is not well.
const ASKED_MAX: usize = 3;

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
    let answer = exchange(address, method, path, body)?;
    Answer::of(&answer).with_context(|| format!("{method} {path}"))
}

/// All that comes back before the connection is closed.
fn exchange(address: &str, method: &str, path: &str, body: Option<&Value>) -> Result<Vec<u8>> {
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
    Ok(answer)
}

/// The body of a GET that went well.
///
/// One that changes nothing may be sent again if the connection was closed without a word (RFC 9110, 9.2.2).
/// Apicurio Registry does that now and then, and says nothing of it.
pub(crate) fn get(address: &str, path: &str) -> Result<Value> {
    let mut answer = exchange(address, "GET", path, None)?;
    for _ in 1..ASKED_MAX {
        if !answer.is_empty() {
            break;
        }
        println!("  GET {path}: closed without an answer, asked again");
        answer = exchange(address, "GET", path, None)?;
    }
    Answer::of(&answer)
        .and_then(|answer| answer.good())
        .with_context(|| format!("GET {path}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Takes a connection with a request without a body, and says `answer`.
    fn serve_one(listener: &TcpListener, answer: &[u8]) {
        let (mut stream, _) = listener.accept().unwrap();
        let mut read = Vec::new();
        // All of it: closing before that would tear the answer away.
        while !read.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            read.extend(byte);
        }
        stream.write_all(answer).unwrap();
    }

    /// Says these to the connections that come, one after the other.
    fn serve(answers: &'static [&'static [u8]]) -> (String, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let each = move || {
            for answer in answers {
                serve_one(&listener, answer);
            }
        };
        (address, thread::spawn(each))
    }

    #[test]
    fn a_get_is_sent_again_if_nothing_was_said_and_not_for_ever() {
        let (address, served) = serve(&[b"", b"HTTP/1.1 200 OK\r\n\r\n7"]);
        assert_eq!(get(&address, "/x").unwrap(), serde_json::json!(7));
        served.join().unwrap();
        let (address, served) = serve(&[b"", b"", b""]);
        let why = get(&address, "/x").unwrap_err();
        assert!(format!("{why:#}").contains("no whole answer"), "{why:#}");
        served.join().unwrap();
        assert_eq!(ASKED_MAX, 3, "one for each time it is asked");
        // Half an answer is one.
        let (address, served) = serve(&[b"HTTP/1.1 200"]);
        let why = get(&address, "/x").unwrap_err();
        assert!(format!("{why:#}").contains("no whole answer"), "{why:#}");
        served.join().unwrap();
    }

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
