//! Figures for operators: counted by many threads without a lock, read by who asks.
//!
//! A figure costs its writer one or two additions to memory, once a request, batch or sync, never
//! once a record. Nothing here is ever counted down, but for what is plainly a level.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mulgil_core::machine::WallTime;

/// Upper bounds of durations, microseconds: 100 µs to 10 s, about 2.5 apart.
const DURATION_BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Upper bounds of sizes, bytes: 256 bytes to 4 MiB (the largest group of frames), 4 apart.
const SIZE_BOUNDS: [u64; 8] = [
    256,
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
];

/// How often a quantity lay between which bounds.
#[derive(Debug)]
pub struct Distribution<const N: usize> {
    bounds: [u64; N],
    counts: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

/// Durations, microseconds.
pub type Durations = Distribution<16>;

/// Sizes, bytes.
pub type Sizes = Distribution<8>;

impl Default for Durations {
    fn default() -> Self {
        Self::within(DURATION_BOUNDS)
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self::within(SIZE_BOUNDS)
    }
}

/// What a distribution was when somebody looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Upper bounds in rising order, each with how many lay at or below it.
    pub buckets: Vec<(u64, u64)>,
    /// How many there were.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
}

impl<const N: usize> Distribution<N> {
    fn within(bounds: [u64; N]) -> Self {
        Self {
            bounds,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts one.
    pub fn count(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        let counter = self.counts.get(at).unwrap_or(&self.above);
        counter.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub fn counted(&self) -> Counted {
        let mut below = 0;
        let pairs = self.bounds.iter().zip(&self.counts);
        let buckets = pairs.map(|(bound, count)| {
            below += count.load(Ordering::Relaxed);
            (*bound, below)
        });
        let buckets = buckets.collect();
        Counted {
            buckets,
            count: below + self.above.load(Ordering::Relaxed),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// Something that an operator should know at once, and since when it holds.
#[derive(Debug, Default)]
pub struct Alarm {
    /// Milliseconds since 1970; 0 while nothing is wrong.
    since_ms: AtomicU64,
}

impl Alarm {
    /// Raises or ends it. Raised again, it keeps the time of the first. Says whether that is a change.
    pub fn set(&self, raised: bool, now: WallTime) -> bool {
        let (from, to) = if raised {
            (0, now.0.max(1))
        } else {
            (self.since_ms.load(Ordering::Relaxed), 0)
        };
        from != to
            && self
                .since_ms
                .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether something is wrong.
    pub fn is_raised(&self) -> bool {
        self.since().is_some()
    }

    /// Since when, if something is wrong.
    pub fn since(&self) -> Option<WallTime> {
        let since = self.since_ms.load(Ordering::Relaxed);
        (since > 0).then_some(WallTime(since))
    }
}

/// What an operator should know at once.
#[derive(Debug, Default)]
pub struct Alarms {
    /// Appends are refused because the disk is full.
    pub disk_full: Alarm,
    /// Retention and expiry wait because the wall clock was set.
    pub clock_stepped: Alarm,
    /// New groups or offsets are refused because all groups hold as much as they may.
    pub groups_full: Alarm,
    /// The start took pieces out of the log.
    pub quarantine: Alarm,
}

/// How the store does.
#[derive(Debug, Default)]
pub struct StoreFigures {
    /// From handing a group of frames to the store until it is written, microseconds.
    pub append: Durations,
    /// Of one sync of the log, microseconds.
    pub sync: Durations,
    /// Bytes of one group of frames, which share a write and a sync.
    pub group: Sizes,
    /// The store has a group that it has not answered for.
    busy: AtomicBool,
    /// When it got it, microseconds since the start.
    submitted_us: AtomicU64,
    /// When what it does last began: the sync, once it has written.
    syncing_us: AtomicU64,
}

impl StoreFigures {
    /// A group of so many bytes goes to the store; none at all is a sync alone.
    pub(crate) fn submitted(&self, bytes: usize, now_us: u64) {
        if bytes > 0 {
            self.group.count(bytes as u64);
        }
        self.submitted_us.store(now_us, Ordering::Relaxed);
        self.syncing_us.store(now_us, Ordering::Relaxed);
        self.busy.store(true, Ordering::Release);
    }

    /// The store has written a group.
    pub(crate) fn written(&self, now_us: u64) {
        let submitted = self.submitted_us.load(Ordering::Relaxed);
        self.append.count(now_us.saturating_sub(submitted));
    }

    /// What follows from a written group is done: if it is to be synced, that begins now.
    pub(crate) fn goes_on(&self, now_us: u64) {
        self.syncing_us.store(now_us, Ordering::Relaxed);
    }

    /// The store has synced.
    pub(crate) fn synced(&self, now_us: u64) {
        let began = self.syncing_us.load(Ordering::Relaxed);
        self.sync.count(now_us.saturating_sub(began));
    }

    /// The store has nothing to do any more.
    pub(crate) fn idle(&self) {
        self.busy.store(false, Ordering::Release);
    }

    /// For how long the store has had its present group, microseconds; `None` if it has none.
    pub fn busy_for(&self, now_us: u64) -> Option<u64> {
        self.busy
            .load(Ordering::Acquire)
            .then(|| now_us.saturating_sub(self.submitted_us.load(Ordering::Relaxed)))
    }
}

/// What the keeper has done since the start.
#[derive(Debug, Default)]
pub struct KeeperFigures {
    /// Passes of regrouping that were completed.
    pub regroup_passes: AtomicU64,
    /// Bytes that these have read.
    pub regroup_read_bytes: AtomicU64,
    /// Bytes that these have written.
    pub regroup_written_bytes: AtomicU64,
    /// Checkpoints written.
    pub checkpoints: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_counts_each_value_at_its_bound_and_all_above() {
        let durations = Durations::default();
        for value in [0, 100, 101, 10_000_000, 10_000_001] {
            durations.count(value);
        }
        let counted = durations.counted();
        assert_eq!(counted.buckets[..2], [(100, 2), (250, 3)]);
        assert_eq!(counted.buckets.last(), Some(&(10_000_000, 4)));
        assert_eq!((counted.count, counted.sum), (5, 20_000_202));
    }

    #[test]
    fn an_alarm_keeps_the_time_at_which_it_began() {
        let alarm = Alarm::default();
        assert!(!alarm.set(false, WallTime(5)));
        assert!(alarm.set(true, WallTime(10)));
        assert!(!alarm.set(true, WallTime(20)));
        assert_eq!(alarm.since(), Some(WallTime(10)));
        assert!(alarm.set(false, WallTime(30)));
        assert_eq!(alarm.since(), None);
        assert!(alarm.set(true, WallTime(40)));
        assert_eq!(alarm.since(), Some(WallTime(40)));
    }

    #[test]
    fn the_store_is_busy_from_a_group_until_its_answer() {
        let store = StoreFigures::default();
        assert_eq!(store.busy_for(7), None);
        store.submitted(1_000, 10);
        assert_eq!(store.busy_for(30), Some(20));
        store.written(40);
        store.goes_on(50);
        store.synced(250);
        store.idle();
        assert_eq!(store.busy_for(300), None);
        assert_eq!(store.append.counted().sum, 30);
        assert_eq!(store.sync.counted().sum, 200);
        assert_eq!(store.group.counted().sum, 1_000);
    }
}
