//! What the threads of a run share, and the progress that is shown of it.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::clock;
use crate::interrupt::Interrupt;
use crate::out::say;

/// How often the main thread looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Counted by all threads of a run.
#[derive(Debug)]
pub(super) struct Shared {
    /// When the run began.
    pub(super) begin: Instant,
    stop: AtomicBool,
    /// Messages that may still be sent.
    left: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Shared {
    /// A run of at most `count` messages that begins now.
    pub(super) fn new(count: Option<u64>) -> Self {
        Self {
            begin: clock::running(),
            stop: AtomicBool::new(false),
            left: AtomicU64::new(count.unwrap_or(u64::MAX)),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Ends the run early.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Asks to send `wanted` messages; how many of them may go.
    pub(super) fn claim(&self, wanted: u64) -> u64 {
        let take = |left: u64| Some(left.saturating_sub(wanted));
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        before.unwrap_or(0).min(wanted)
    }

    /// So many messages of so many bytes in all are done.
    pub(super) fn count(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Messages that are done, and their bytes.
    pub(super) fn counted(&self) -> (u64, u64) {
        let messages = self.messages.load(Ordering::Relaxed);
        (messages, self.bytes.load(Ordering::Relaxed))
    }
}

/// A bar on a terminal, a JSON line every five seconds for programs that asked for JSON lines, nothing
/// otherwise.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    reported: Option<Instant>,
    duration: Duration,
    count: Option<u64>,
}

impl Progress {
    /// The progress of a run that ends after a time, or after so many messages.
    pub(super) fn new(duration: Duration, count: Option<u64>, jsonl: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            bar: terminal.then(bar),
            reported: (!terminal && jsonl).then(clock::running),
            duration,
            count,
        }
    }

    /// Looks at the run until `is_over`, and stops it when the user wants an end.
    pub(super) fn watch(
        mut self,
        shared: &Shared,
        interrupt: &Interrupt,
        is_over: impl Fn() -> bool,
    ) {
        while !is_over() {
            if interrupt.asked() {
                shared.stop();
            }
            self.show(shared);
            clock::pause(LOOK_EVERY);
        }
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn show(&mut self, shared: &Shared) {
        let now = clock::running();
        let took = now - shared.begin;
        let (messages, bytes) = shared.counted();
        if let Some(bar) = &self.bar {
            // Whichever end is nearer.
            let length = self.duration.as_millis().max(1);
            let by_time = took.as_millis() * 1000 / length;
            let by_count = self.count.map_or(0, |count| {
                u128::from(messages) * 1000 / u128::from(count.max(1))
            });
            bar.set_position(
                u64::try_from(by_time.max(by_count))
                    .unwrap_or(1000)
                    .min(1000),
            );
            let second = u128::from(messages) * 1000 / took.as_millis().max(1);
            bar.set_message(format!("{messages} messages, {second}/s"));
        } else if let Some(reported) = self.reported.as_mut()
            && now - *reported >= REPORT_EVERY
        {
            *reported = now;
            let line = json!({
                "progress": { "messages": messages, "bytes": bytes, "seconds": took.as_secs() },
            });
            say(&line.to_string());
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {msg} ETA {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr()).with_style(style)
}
