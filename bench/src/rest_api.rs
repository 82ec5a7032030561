//! The broker's HTTP API over one plain connection that is kept.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// A connection.
pub(crate) struct Api {
    to: TcpStream,
    from: BufReader<TcpStream>,
    host: String,
}

impl Api {
    /// Connects to the broker whose data lies in `home`.
    pub(crate) fn of(home: &Path) -> Result<Self> {
        let text = std::fs::read(home.join("data/addresses.json"))
            .or_else(|_elsewhere| std::fs::read(home.join("addresses.json")))
            .context("the broker has written no addresses")?;
        let addresses: Value = serde_json::from_slice(&text)?;
        let host = addresses.get("http").and_then(Value::as_str);
        let host = host.context("the broker has no HTTP address")?.to_owned();
        let to = TcpStream::connect(&host)?;
        to.set_nodelay(true)?;
        let from = BufReader::new(to.try_clone()?);
        Ok(Self { to, from, host })
    }

    /// Asks, and waits for an answer that is not an error.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &str) -> Result<Value> {
        let kind = if path.ends_with("/records") {
            "application/x-ndjson"
        } else {
            "application/json"
        };
        let (host, length) = (&self.host, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.to.write_all(request.as_bytes())?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let status: u16 = { line.split(' ').nth(1) }
            .and_then(|status| status.parse().ok())
            .context("no status")?;
        let mut length = 0;
        loop {
            line.clear();
            self.from.read_line(&mut line)?;
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        self.from.read_exact(&mut answer)?;
        let said = || String::from_utf8_lossy(&answer).into_owned();
        ensure!(
            (200..300).contains(&status),
            "{method} {path}: {status} {}",
            said()
        );
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}
