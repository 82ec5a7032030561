//! How long the log waits for more before it says that all is synced.
//!
//! A mark costs a sync, and a message that comes meanwhile waits for it. A producer whose pace is that
//! of the marks would meet one every time. So the wait doubles when something met a mark, and halves
//! when a mark went by alone.

/// A wait grows to so many times the one that was asked for. Until its mark is synced, damage to the
/// newest frames looks like a tear; so it stays below a tenth of a second.
const GROWTH_MOST: u64 = 8;

/// The wait before a mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct MarkWait {
    least_ms: u64,
    wait_ms: u64,
    met: bool,
}

impl MarkWait {
    pub(super) const fn new(least_ms: u64) -> Self {
        Self {
            least_ms,
            wait_ms: least_ms,
            met: false,
        }
    }

    /// Milliseconds from a sync to the mark behind it.
    pub(super) const fn ms(&self) -> u64 {
        self.wait_ms
    }

    /// Something waits while a mark is on its way.
    pub(super) const fn meet(&mut self) {
        self.met = true;
    }

    /// A mark is synced.
    pub(super) fn marked(&mut self) {
        self.wait_ms = if std::mem::take(&mut self.met) {
            (self.wait_ms * 2).min(self.least_ms * GROWTH_MOST)
        } else {
            (self.wait_ms / 2).max(self.least_ms)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages every `every_ms`, a mark taking less than that: how many of 100 met a mark.
    fn meetings(every_ms: u64) -> u32 {
        let mut wait = MarkWait::new(10);
        let mut met = 0;
        for _ in 0..100 {
            if wait.ms() < every_ms {
                // The mark is on its way for a millisecond.
                let meets = every_ms - wait.ms() <= 1;
                if meets {
                    wait.meet();
                    met += 1;
                }
                wait.marked();
            }
        }
        met
    }

    #[test]
    fn a_producer_at_the_pace_of_marks_meets_few_of_them() {
        assert_eq!(meetings(11), 1);
        assert_eq!(meetings(15), 0);
        assert_eq!(meetings(1000), 0);
    }

    #[test]
    fn the_wait_has_bounds_and_comes_back() {
        let mut wait = MarkWait::new(10);
        for _ in 0..10 {
            wait.meet();
            wait.marked();
        }
        assert_eq!(wait.ms(), 80);
        for _ in 0..3 {
            wait.marked();
        }
        assert_eq!(wait.ms(), 10);
    }
}
