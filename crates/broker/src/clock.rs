//! The only place that reads the machine's clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mulgil_core::machine::{Elapsed, Now, WallTime};

/// Gives both times: running time, which goes on from where the last run of the broker ended, and
/// wall time.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    base_ms: u64,
}

impl Clock {
    /// A clock whose running time begins at `base_ms`, the highest found in the log.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everybody else is given"
    )]
    pub fn new(base_ms: u64) -> Self {
        Self {
            started: Instant::now(),
            base_ms,
        }
    }

    /// Nanoseconds that this clock has run, for how long something took.
    #[must_use]
    pub fn ran_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Both times.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everybody else is given"
    )]
    pub fn now(&self) -> Now {
        let elapsed = self.started.elapsed().as_millis();
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        Now {
            elapsed: Elapsed(self.base_ms + u64::try_from(elapsed).unwrap_or(u64::MAX / 2)),
            wall: WallTime(u64::try_from(wall).unwrap_or(u64::MAX / 2)),
        }
    }

    /// Microseconds since the start, for figures alone: nothing is decided by them.
    #[must_use]
    pub fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
