//! How far recovery is, for who sits in front of the server: a bar on a terminal, otherwise a line of
//! the log every five seconds. A start that is quick shows neither.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mulgil_admin::gate::Gate;
use mulgil_admin::model::Recovery;

use crate::clock;

const LOOK_EVERY: Duration = Duration::from_millis(250);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far recovery is until it is dropped.
pub(super) async fn show_forever(gate: &Gate) {
    let mut shown = Shown::new(io::stderr().is_terminal(), clock::running());
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some(recovery) = gate.recovery() {
            shown.look(&recovery, clock::running());
        }
    }
}

#[derive(Debug)]
struct Shown {
    terminal: bool,
    bar: Option<ProgressBar>,
    /// When the last line was written.
    line: Instant,
}

impl Shown {
    const fn new(terminal: bool, now: Instant) -> Self {
        Self {
            terminal,
            bar: None,
            line: now,
        }
    }

    /// Shows it, in the form that fits. Says whether there was something to show.
    fn look(&mut self, recovery: &Recovery, now: Instant) -> bool {
        if self.terminal {
            let bar = self.bar.get_or_insert_with(bar);
            bar.set_length(recovery.bytes_total);
            bar.set_position(recovery.bytes_read);
            bar.set_message(format!("recovery: {}", recovery.phase));
            return true;
        }
        if now.saturating_duration_since(self.line) < LINE_EVERY {
            return false;
        }
        self.line = now;
        let percent = recovery.percent();
        let (phase, read, total) = (&*recovery.phase, recovery.bytes_read, recovery.bytes_total);
        tracing::info!(percent, phase, read, total, "recovery goes on");
        true
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} ETA {eta}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_a_line_comes_every_five_seconds() {
        let (began, recovery) = (clock::running(), Recovery::default());
        let mut shown = Shown::new(false, began);
        let mut at = |ms| shown.look(&recovery, began + Duration::from_millis(ms));
        let said = [250, 4_999, 5_000, 5_250, 9_999, 10_000].map(&mut at);
        assert_eq!(said, [false, false, true, false, false, true]);
    }
}
