//! A kcat that produces while the broker is killed under it, and what it was told about each record.
//!
//! With `-vvv` kcat writes a line for every acknowledged record, with its offset. It produces to one
//! partition, so for an idempotent producer the acknowledgements come in the order of the records, and
//! the n-th line belongs to the n-th record.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::kcat::Kcat;
use crate::repo;

const FINISH_LIMIT: Duration = Duration::from_secs(120);
/// At a steady pace so many lines go at once, then comes a short rest.
const LINES_AT_ONCE: u64 = 40;
const REST: Duration = Duration::from_millis(1);

/// How a producer behaves when it is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Idempotent: every record once, in order.
    ExactlyOnce,
    /// acks=all without idempotence: over a failure a record may come twice, and late.
    AtLeastOnce,
}

impl Promise {
    fn settings(self) -> [&'static str; 4] {
        match self {
            Self::ExactlyOnce => ["-X", "enable.idempotence=true", "-X", "acks=all"],
            Self::AtLeastOnce => ["-X", "max.in.flight=1", "-X", "acks=all"],
        }
    }
}

/// How fast a producer is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// About 30,000 records a second, which two cores carry beside the broker.
    Steady,
    /// As fast as kcat takes them.
    Full,
}

/// A producer that runs.
#[derive(Debug)]
pub(crate) struct Producer {
    child: Child,
    reports: PathBuf,
    feeder: Option<JoinHandle<Result<u64>>>,
    stop: Arc<AtomicBool>,
    fed: Arc<AtomicU64>,
}

impl Producer {
    /// Produces `line(0)`, `line(1)` ... to partition 0 of `topic` until it is told to stop or
    /// `line` gives none.
    pub(crate) fn start(
        kcat: &Kcat,
        topic: &str,
        (promise, pace): (Promise, Pace),
        more: &[&str],
        line: impl FnMut(u64) -> Option<Vec<u8>> + Send + 'static,
    ) -> Result<Self> {
        let reports = repo::scratch("reports")?.join(format!("{topic}.log"));
        // -E keeps kcat alive when all brokers are down, which here is so for a moment.
        let patient = [
            "-P",
            "-t",
            topic,
            "-p",
            "0",
            "-vvv",
            "-E",
            "-X",
            "message.timeout.ms=120000",
        ];
        let quick = [
            "-X",
            "reconnect.backoff.max.ms=200",
            "-X",
            "retry.backoff.ms=50",
        ];
        let settings = promise.settings();
        let arguments = [&patient[..], &quick, &settings, more].concat();
        let mut child = kcat
            .command(&arguments)?
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&reports)?)
            .spawn()
            .context("cannot start kcat")?;
        let stdin = child.stdin.take().context("kcat has no stdin")?;
        let (stop, fed) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let feeder = {
            let (stop, fed) = (Arc::clone(&stop), Arc::clone(&fed));
            std::thread::spawn(move || feed(stdin, line, pace, (&stop, &fed)))
        };
        Ok(Self {
            child,
            reports,
            feeder: Some(feeder),
            stop,
            fed,
        })
    }

    /// How many records it was given until now.
    pub(crate) fn fed(&self) -> u64 {
        self.fed.load(Ordering::Relaxed)
    }

    /// The offsets of the records that were acknowledged until now, in the order of the records.
    pub(crate) fn acknowledged(&self) -> Result<Vec<i64>> {
        let mut offsets = Vec::new();
        for line in BufReader::new(File::open(&self.reports)?).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            if let Some(offset) = line
                .split("Message delivered to partition 0 (offset ")
                .nth(1)
            {
                let digits = offset.split(')').next().unwrap_or_default();
                offsets.push(
                    digits
                        .parse()
                        .with_context(|| format!("odd report: {line}"))?,
                );
            }
        }
        Ok(offsets)
    }

    /// Ends the input and waits until every record is answered; gives their number.
    pub(crate) fn finish(&mut self, wait_for_input: bool) -> Result<u64> {
        self.stop.store(!wait_for_input, Ordering::Relaxed);
        let feeder = self.feeder.take().context("finished twice")?;
        let fed = feeder
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let end = Instant::now() + FINISH_LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let fed = fed.with_context(|| self.last_words())?;
                ensure!(status.success(), "kcat: {status}; {}", self.last_words());
                return Ok(fed);
            }
            ensure!(
                Instant::now() < end,
                "kcat waits for answers yet; {}",
                self.last_words()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn last_words(&self) -> String {
        let said = std::fs::read(&self.reports).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let other: Vec<&str> = said
            .lines()
            .filter(|line| !line.contains("Message delivered"))
            .collect();
        let from = other.len().saturating_sub(8);
        format!(
            "it said: {}",
            other.get(from..).unwrap_or_default().join(" | ")
        )
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn feed(
    stdin: ChildStdin,
    mut line: impl FnMut(u64) -> Option<Vec<u8>>,
    pace: Pace,
    (stop, fed): (&AtomicBool, &AtomicU64),
) -> Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 16, stdin);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(bytes) = line(number) else { break };
        out.write_all(&bytes)?;
        number += 1;
        fed.store(number, Ordering::Relaxed);
        if pace == Pace::Steady && number % LINES_AT_ONCE == 0 {
            out.flush()?;
            std::thread::sleep(REST);
        }
    }
    out.flush()?;
    Ok(number)
}
