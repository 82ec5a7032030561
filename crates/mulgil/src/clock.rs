//! The clocks and the timer of the program, read here and nowhere else in it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mulgil_admin::time::Timestamp;

/// The wall clock.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The wall clock, whole seconds since 1970.
pub(crate) fn wall_seconds() -> i64 {
    wall().0 / 1_000
}

/// The running clock.
pub(crate) fn running() -> Instant {
    Instant::now()
}

/// Waits on this thread.
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}
