//! Whether the wall clock can be believed.
//!
//! Nobody can tell a clock that was set right from one that was set wrong. Whatever gives something
//! up by a date therefore waits while the wall clock has gone far off the running time. It may come
//! back, or the broker be started again.

use mulgil_core::machine::Now;

/// What is believed of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Belief {
    /// Wall minus running time, as it was when it was last believed.
    offset: Option<i128>,
    step_ms: u64,
}

impl Belief {
    /// The clock is believed as it is when it is first looked at.
    pub(super) const fn new(step_ms: u64) -> Self {
        Self {
            offset: None,
            step_ms,
        }
    }

    /// Whether the clock can be believed at `now`. Slow corrections are followed.
    pub(super) fn look(&mut self, now: Now) -> bool {
        let offset = i128::from(now.wall.0) - i128::from(now.elapsed.0);
        let known = *self.offset.get_or_insert(offset);
        let believed = (offset - known).unsigned_abs() <= u128::from(self.step_ms);
        if believed {
            self.offset = Some(offset);
        }
        believed
    }
}

#[cfg(test)]
mod tests {
    use mulgil_core::machine::{Elapsed, WallTime};

    use super::*;

    #[test]
    fn a_step_is_doubted_until_the_clock_comes_back_and_a_drift_is_followed() {
        let mut belief = Belief::new(1_000);
        let mut look = |elapsed, wall| {
            belief.look(Now {
                elapsed: Elapsed(elapsed),
                wall: WallTime(wall),
            })
        };
        assert!(look(0, 50_000));
        assert!(look(10, 51_010), "as far as a step may be");
        assert!(look(20, 52_020), "and from there on");
        assert!(!look(30, 53_031));
        assert!(!look(40, 90_000));
        assert!(!look(50, 0));
        assert!(look(60, 52_060), "it has come back");
    }
}
