//! Which dates the lane believes: a large step of the wall clock makes nobody lose anything.
//!
//! The offsets of empty groups expire by date, for their time goes on over restarts. The date is
//! believed as it is at the start, and then goes on with the running time: a clock that is set forward
//! by a year would otherwise end all of them at once. What is written is stamped with the later
//! of both dates, so that it has its full time whichever of them is right in the end.

use mulgil_core::machine::{Now, WallTime};

/// A wall clock that goes this far off the running time has been set, and is not believed. Smaller
/// corrections are followed. As for retention.
const CLOCK_STEP_MS: u128 = 60 * 60 * 1_000;

/// The wall clock as the lane sees it.
#[derive(Debug)]
pub(super) struct Dates {
    /// Wall minus running time, as it was when it was last believed.
    offset: i128,
}

impl Dates {
    /// The clock as it is at a start is believed.
    pub(super) fn at_start(now: Now) -> Self {
        Self {
            offset: i128::from(now.wall.0) - i128::from(now.elapsed.0),
        }
    }

    /// The date that is believed: for looks at what has expired.
    pub(super) fn believed(&mut self, now: Now) -> Now {
        let offset = i128::from(now.wall.0) - i128::from(now.elapsed.0);
        if (offset - self.offset).unsigned_abs() <= CLOCK_STEP_MS {
            self.offset = offset;
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
        let mut dates = Dates::at_start(at(0, 100 * HOUR));
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
}
