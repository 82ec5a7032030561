//! What a run came to.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use mulgil_admin::catalogue::Code;
use serde_json::Value;

use super::shared::Shared;
use crate::failure::{Failure, Outcome};
use crate::out::{Cell, Column, Table, View, human};

/// The latencies that are told.
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];
/// Three digits, up to ten minutes, in microseconds.
const LONGEST_US: u64 = 600_000_000;

/// Latencies in microseconds.
pub(super) fn histogram() -> Outcome<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST_US, 3)
        .map_err(|error| Failure::new(Code::Internal, error.to_string()))
}

/// Notes a latency.
pub(super) fn note(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
}

/// What a thread came to.
pub(super) fn joined<T>(thread: ScopedJoinHandle<'_, Outcome<T>>) -> Outcome<T> {
    let panicked = |_panic| Failure::new(Code::Internal, "a thread panicked");
    thread.join().map_err(panicked)?
}

/// The figures.
#[derive(Debug)]
pub(super) struct Report {
    command: &'static str,
    topic: String,
    pub(super) messages: u64,
    bytes: u64,
    took: Duration,
    /// What was asked for, messages a second.
    pub(super) rate: Option<u32>,
    pub(super) latencies: Option<Histogram<u64>>,
    /// Published and not read.
    pub(super) missing: Option<u64>,
}

impl Report {
    /// What was counted in a run that took so long.
    pub(super) fn new(command: &'static str, topic: &str, shared: &Shared, took: Duration) -> Self {
        let (messages, bytes) = shared.counted();
        Self {
            command,
            topic: topic.to_owned(),
            messages,
            bytes,
            took,
            rate: None,
            latencies: None,
            missing: None,
        }
    }

    /// A run that lost messages has failed.
    pub(super) fn complete(&self) -> Outcome<()> {
        match self.missing {
            Some(missing) if missing > 0 => {
                let detail = format!("{missing} messages were published and never came");
                Err(Failure::new(Code::PartlyDone, detail))
            }
            _ => Ok(()),
        }
    }

    /// A quantity each second.
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    fn each_second(&self, count: u64) -> f64 {
        count as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// For every form of output. Bytes are those of the values.
    pub(super) fn view(&self) -> View {
        let (messages, bytes) = (
            self.each_second(self.messages),
            self.each_second(self.bytes),
        );
        let mut json = serde_json::Map::new();
        let mut put = |name: &str, value: Value| json.insert(name.to_owned(), value);
        put("command", self.command.into());
        put("topic", self.topic.clone().into());
        put("messages", self.messages.into());
        put("bytes", self.bytes.into());
        put("seconds", self.took.as_secs_f64().into());
        put("messages_per_second", messages.into());
        put("bytes_per_second", bytes.into());
        let fact = |name: &str, text: String| (name.to_owned(), text);
        let mut facts = vec![
            fact("topic", self.topic.clone()),
            fact("messages", self.messages.to_string()),
            fact("bytes", human::bytes(self.bytes)),
            fact("seconds", format!("{:.1}", self.took.as_secs_f64())),
            fact("messages_per_second", format!("{messages:.0}")),
            fact("bytes_per_second", human::bytes(whole(bytes))),
        ];
        if let Some(rate) = self.rate {
            put("asked_messages_per_second", rate.into());
            facts.push(fact("asked_messages_per_second", rate.to_string()));
        }
        if let Some(missing) = self.missing {
            put("missing_messages", missing.into());
            facts.push(fact("missing_messages", missing.to_string()));
        }
        let mut table = Table::default();
        if let Some(latencies) = &self.latencies {
            table = Table::new(&[Column::new("latency"), Column::new("seconds")]);
            let mut quantiles = serde_json::Map::new();
            for (name, quantile) in QUANTILES {
                let latency = Duration::from_micros(latencies.value_at_quantile(quantile));
                let seconds = latency.as_secs_f64();
                quantiles.insert(name.to_owned(), seconds.into());
                let seconds = Cell::new(seconds, format!("{seconds:.6}"));
                table.rows.push(vec![Cell::text(name), seconds]);
            }
            put("latency_seconds", quantiles.into());
        }
        View {
            json: json.into(),
            facts,
            table,
            names: vec![self.topic.clone()],
        }
    }
}

/// A file for latencies, made before the run so that a wrong path costs nothing.
#[derive(Debug)]
pub(super) struct Hdr {
    file: File,
    name: String,
}

impl Hdr {
    /// Makes the file.
    pub(super) fn create(path: &Path) -> Outcome<Self> {
        let name = path.display().to_string();
        match File::create(path) {
            Ok(file) => Ok(Self { file, name }),
            Err(error) => Err(unusable(&name, &error)),
        }
    }

    /// Writes the latencies as one interval of a log that the tools of `HdrHistogram` read, in
    /// milliseconds.
    pub(super) fn write(self, report: &Report) -> Outcome<()> {
        let Some(latencies) = &report.latencies else {
            return Ok(());
        };
        let mut file = BufWriter::new(self.file);
        let mut serializer = V2DeflateSerializer::new();
        let mut log = IntervalLogWriterBuilder::new();
        log.with_max_value_divisor(1000.0);
        log.begin_log_with(&mut file, &mut serializer)
            .map_err(|error| unusable(&self.name, &error))?
            .write_histogram(latencies, Duration::ZERO, report.took, None)
            .map_err(|error| unusable(&self.name, &format!("{error:?}")))?;
        file.flush().map_err(|error| unusable(&self.name, &error))
    }
}

fn unusable(name: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::FileUnusable, format!("{name}: {error}"))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate, shown with three digits"
)]
const fn whole(rate: f64) -> u64 {
    rate as u64
}
