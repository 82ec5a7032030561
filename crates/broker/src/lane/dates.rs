//! Which dates the lane believes: a large step of the wall clock makes nobody lose anything.
//!
//! Nobody can tell a clock that was set right from one that was set wrong. The date is believed as it
//! is at the start, and then goes on with the running time; small corrections are followed. A clock
//! that is set may come back, or the broker be started again. Until then
//!
//! - records are not given up by a date: whoever does that asks whether the clock is believed;
//! - the offsets of empty groups expire by the date that was believed before, for their time goes on
//!   over restarts. A clock that is set forward by a year would otherwise end all of them at once;
//! - what is written is stamped with the later of both dates, so that it has its full time whichever of
//!   them is right in the end.
//!
//! What a partition knows of producers goes by running time alone.

use mulgil_core::machine::{Now, WallTime};

/// The wall clock as the lane sees it.
#[derive(Debug)]
pub(super) struct Dates {
    /// Wall minus running time, as it was when it was last believed.
    offset: i128,
    step_ms: u64,
}

impl Dates {
    /// The clock as it is at a start is believed. One that then goes further than `step_ms` off the
    /// running time has been set.
    pub(super) fn at_start(now: Now, step_ms: u64) -> Self {
        let offset = offset(now);
        Self { offset, step_ms }
    }

    /// Whether the clock can be believed at `now`.
    pub(super) fn believes(&mut self, now: Now) -> bool {
        let offset = offset(now);
        let believed = (offset - self.offset).unsigned_abs() <= u128::from(self.step_ms);
        if believed {
            self.offset = offset;
        }
        believed
    }

    /// The date that is believed: for looks at what has expired.
    pub(super) fn believed(&mut self, now: Now) -> Now {
        if self.believes(now) {
            return now;
        }
        let wall = u64::try_from(i128::from(now.elapsed.0) + self.offset).unwrap_or(0);
        Now {
            wall: WallTime(wall),
            ..now
        }
    }

    /// The date to stamp with: the later of the one that is shown and the one that is believed.
    pub(super) fn stamp(&mut self, now: Now) -> Now {
        Now {
            wall: now.wall.max(self.believed(now).wall),
            ..now
        }
    }
}

fn offset(now: Now) -> i128 {
    i128::from(now.wall.0) - i128::from(now.elapsed.0)
}

#[cfg(test)]
mod tests {
    use mulgil_core::machine::Elapsed;

    use super::*;

    const HOUR: u64 = 60 * 60 * 1_000;

    fn at(elapsed: u64, wall: u64) -> Now {
        Now {
            elapsed: Elapsed(elapsed),
            wall: WallTime(wall),
        }
    }

    #[test]
    fn a_step_is_not_believed_and_a_correction_is() {
        let mut dates = Dates::at_start(at(0, 100 * HOUR), HOUR);
        let corrected = at(5, 100 * HOUR + HOUR / 2);
        assert_eq!(dates.believed(corrected), corrected);
        for set in [at(10, 400 * HOUR), at(10, HOUR)] {
            let believed = at(10, 100 * HOUR + HOUR / 2 + 5);
            assert_eq!(dates.believed(set), believed);
            let stamp = dates.stamp(set).wall;
            assert_eq!(stamp, set.wall.max(believed.wall), "never too early");
        }
        let back = at(20, 100 * HOUR + HOUR);
        assert_eq!(dates.believed(back), back);
    }

    #[test]
    fn a_step_is_doubted_until_the_clock_comes_back_and_a_drift_is_followed() {
        let mut dates = Dates::at_start(at(0, 50_000), 1_000);
        let mut looks = |elapsed, wall| dates.believes(at(elapsed, wall));
        assert!(looks(10, 51_010), "as far as a step may be");
        assert!(looks(20, 52_020), "and from there on");
        assert!(!looks(30, 53_031));
        assert!(!looks(40, 90_000));
        assert!(!looks(50, 0));
        assert!(looks(60, 52_060), "it has come back");
    }
}
