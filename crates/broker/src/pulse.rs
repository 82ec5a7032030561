//! Whether the broker's threads still turn: each leaves the time behind when it comes round.
//!
//! Who asks reads these times alone, and waits for nothing: a lane that hangs would take the answer
//! with it. No time here hangs on a disk, but for the keeper's, which has long enough for a slow one.
//!
//! ```text
//! ticker, through the lane ---- every second -----> lane
//! each runtime ---------------- every second -----> runtime
//! keeper ---------------------- every piece ------> keeper
//! store has failed ------------ once -------------> failed
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mulgil_core::machine::Elapsed;

/// How often lane and runtimes show themselves.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

/// A visit to the lane takes microseconds, and a runtime's longest piece of work is to check one
/// request. What has not come round for ten beats never will.
const SILENT_MAX_MS: u64 = 10_000;

/// The keeper's longest piece of work is to sync a chunk of 3 GiB: a minute on a slow disk.
const KEEPER_SILENT_MAX_MS: u64 = 300_000;

/// When each thread came round last, running milliseconds.
#[derive(Debug)]
pub struct Pulse {
    lane: AtomicU64,
    keeper: AtomicU64,
    runtimes: Vec<AtomicU64>,
    failed: AtomicBool,
}

/// One thing that must turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turning {
    /// Its name: `lane`, `keeper`, `runtimes` or `store`.
    pub name: &'static str,
    /// Why it is taken for dead, if it is.
    pub dead: Option<String>,
}

impl Pulse {
    pub(crate) fn new(runtimes: usize, now: Elapsed) -> Self {
        let beat = || AtomicU64::new(now.0);
        Self {
            lane: beat(),
            keeper: beat(),
            runtimes: (0..runtimes).map(|_| beat()).collect(),
            failed: AtomicBool::new(false),
        }
    }

    pub(crate) fn lane(&self, now: Elapsed) {
        self.lane.store(now.0, Ordering::Relaxed);
    }

    pub(crate) fn keeper(&self, now: Elapsed) {
        self.keeper.store(now.0, Ordering::Relaxed);
    }

    pub(crate) fn runtime(&self, number: u16, now: Elapsed) {
        if let Some(beat) = self.runtimes.get(usize::from(number)) {
            beat.store(now.0, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// How all of them are at `now`. While the broker is `stopping`, the keeper has ended in order.
    pub(crate) fn turning(&self, now: Elapsed, stopping: bool) -> Vec<Turning> {
        let silent = |beat: &AtomicU64| now.0.saturating_sub(beat.load(Ordering::Relaxed));
        let late = |ms: u64, most: u64, what: &str| {
            (ms > most).then(|| format!("{what} has not come round for {} s", ms / 1_000))
        };
        let slowest = self.runtimes.iter().map(silent).max().unwrap_or(0);
        let keeper = if stopping { 0 } else { silent(&self.keeper) };
        let failed = self.failed.load(Ordering::Relaxed);
        let turning = |name, dead| Turning { name, dead };
        vec![
            turning("lane", late(silent(&self.lane), SILENT_MAX_MS, "the lane")),
            turning("runtimes", late(slowest, SILENT_MAX_MS, "a runtime")),
            turning("keeper", late(keeper, KEEPER_SILENT_MAX_MS, "the keeper")),
            turning(
                "store",
                failed.then(|| "the log cannot be written".to_owned()),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(pulse: &Pulse, at: u64, stopping: bool) -> Vec<&'static str> {
        let turning = pulse.turning(Elapsed(at), stopping).into_iter();
        turning
            .filter(|turning| turning.dead.is_some())
            .map(|turning| turning.name)
            .collect()
    }

    #[test]
    fn who_has_not_come_round_for_its_time_is_named() {
        let pulse = Pulse::new(2, Elapsed(1_000));
        assert!(dead(&pulse, 11_000, false).is_empty());
        assert_eq!(dead(&pulse, 11_001, false), ["lane", "runtimes"]);
        pulse.lane(Elapsed(11_000));
        pulse.runtime(0, Elapsed(11_000));
        assert_eq!(dead(&pulse, 11_001, false), ["runtimes"]);
        pulse.runtime(1, Elapsed(11_000));
        assert!(dead(&pulse, 11_001, false).is_empty());
        pulse.lane(Elapsed(301_001));
        pulse.runtime(0, Elapsed(301_001));
        pulse.runtime(1, Elapsed(301_001));
        assert_eq!(dead(&pulse, 301_001, false), ["keeper"]);
        assert!(dead(&pulse, 301_001, true).is_empty());
        pulse.keeper(Elapsed(301_001));
        pulse.failed();
        assert_eq!(dead(&pulse, 301_001, false), ["store"]);
    }
}
