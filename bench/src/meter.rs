//! Processor time of the broker and of the generator over a stretch of a run, and latencies.

use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::process::{self, Cpu};
use crate::results::Figures;

/// A moment: the clock, and what both processes have used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    at: Instant,
    broker: Cpu,
    generator: Cpu,
}

/// What was moved over a stretch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
}

impl Moved {
    /// What was moved since `earlier`.
    pub(crate) const fn since(self, earlier: Self) -> Self {
        Self {
            records: self.records - earlier.records,
            bytes: self.bytes - earlier.bytes,
            requests: self.requests - earlier.requests,
        }
    }
}

impl Moment {
    /// This moment, for the broker with `pid`.
    pub(crate) fn take(pid: u32) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            broker: Cpu::of(pid)?,
            generator: Cpu::of(std::process::id())?,
        })
    }

    /// Rates and costs of moving `moved` from `self` until `end`.
    pub(crate) fn until(self, end: Self, pid: u32, moved: Moved) -> Result<Figures> {
        let seconds = end.at.duration_since(self.at).as_secs_f64();
        let broker = end.broker.since(self.broker);
        let generator = end.generator.since(self.generator);
        let (records, bytes) = (float(moved.records), float(moved.bytes));
        let requests = float(moved.requests);
        let (resident_mib, peak_mib) = process::resident_mib(pid)?;
        let mut figures = Figures::new();
        let mut put = |name: &str, value: f64| figures.insert(name.to_owned(), value);
        put("seconds", seconds);
        put("messages_per_s", records / seconds);
        put("moved_gb", bytes / 1e9);
        put("mb_per_s", bytes / seconds / 1e6);
        put("requests_per_s", requests / seconds);
        put("server_us_per_message", broker.total() * 1e6 / records);
        put("server_us_per_request", broker.total() * 1e6 / requests);
        put("server_s_per_gb", broker.total() * 1e9 / bytes);
        put("server_cores", broker.total() / seconds);
        put("server_system_share", broker.system / broker.total());
        put(
            "generator_us_per_message",
            generator.total() * 1e6 / records,
        );
        put("generator_s_per_gb", generator.total() * 1e9 / bytes);
        put("server_resident_mib", resident_mib);
        put("generator_cores", generator.total() / seconds);
        put("server_peak_mib", peak_mib);
        Ok(figures)
    }
}

/// A histogram of microseconds, up to a minute.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

/// Notes a latency.
pub(crate) fn note(histogram: &mut Histogram<u64>, latency: Duration) {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    histogram.saturating_record(micros);
}

/// Puts the quantiles of `histogram` among `figures`, in microseconds.
pub(crate) fn put_quantiles(figures: &mut Figures, name: &str, histogram: &Histogram<u64>) {
    for (label, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        let micros = float(histogram.value_at_quantile(quantile));
        figures.insert(format!("{name}_{label}_us"), micros);
    }
}

/// Bytes as MiB.
pub(crate) const fn mib(bytes: u64) -> f64 {
    float(bytes) / 1_048_576.0
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}
