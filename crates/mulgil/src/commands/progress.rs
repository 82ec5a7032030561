//! How far publishing is: a bar on a terminal, a JSON line every five seconds for programs that asked
//! for JSON lines, nothing otherwise. Always on standard error.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::clock;
use crate::out::say;

const REPORT_EVERY: Duration = Duration::from_secs(5);
/// A bar for a single message would only flicker.
const BAR_AFTER: Duration = Duration::from_millis(300);
/// The clock is looked at once in so many messages.
const LOOK_EVERY: u64 = 256;

/// Counts messages and shows it.
#[derive(Debug)]
pub(super) struct Progress {
    records: u64,
    bytes: u64,
    total: Option<u64>,
    started: Instant,
    reported: Instant,
    bar: Option<ProgressBar>,
    terminal: bool,
    jsonl: bool,
}

impl Progress {
    pub(super) fn new(total: Option<u64>, jsonl: bool) -> Self {
        let now = clock::running();
        let terminal = io::stderr().is_terminal();
        Self {
            records: 0,
            bytes: 0,
            total,
            started: now,
            reported: now,
            bar: None,
            terminal,
            jsonl,
        }
    }

    /// One more message, of so many bytes.
    pub(super) fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        if self.records.is_multiple_of(LOOK_EVERY) {
            self.look();
        }
    }

    /// Bytes of all messages.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn look(&mut self) {
        let now = clock::running();
        if self.terminal {
            if now - self.started >= BAR_AFTER {
                let total = self.total;
                let bar = self.bar.get_or_insert_with(|| bar(total));
                // A line feed a message was taken off.
                bar.set_position(self.bytes + self.records);
                bar.set_message(format!("{} messages", self.records));
            }
        } else if self.jsonl && now - self.reported >= REPORT_EVERY {
            self.reported = now;
            let seconds = (now - self.started).as_secs();
            let line = json!({
                "progress": {
                    "records": self.records, "bytes": self.bytes,
                    "total_bytes": self.total, "seconds": seconds,
                },
            });
            say(&line.to_string());
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {msg} ETA {eta}",
        None => "{spinner} {bytes} {binary_bytes_per_sec} {msg}",
    };
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style)
}
