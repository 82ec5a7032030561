//! What becomes of a record that comes back: tried again, at once or later, or given up.

use super::State;
use super::names::{Reason, Tries};
use super::settings::{Retry, Settings};
use crate::machine::WallTime;

/// What becomes of a record that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Anybody may have it, perhaps later.
    Back {
        failed: bool,
        not_before: Option<WallTime>,
    },
    /// It is given up.
    GivenUp { failed: bool, reason: Reason },
}

/// Whether a record was tried often enough.
pub(super) fn is_exhausted(settings: &Settings, tries: Tries) -> bool {
    let failed = settings.failed_max.is_some_and(|max| tries.failed >= max);
    let acquired = settings
        .acquired_max
        .is_some_and(|max| tries.acquired >= max);
    failed || acquired
}

/// What becomes of a held record that comes back, and failed now or not.
pub(super) fn fate(
    settings: &Settings,
    state: &State,
    offset: i64,
    failed: bool,
    not_before: Option<WallTime>,
    now: WallTime,
) -> Fate {
    let mut tries = state.tries(offset);
    tries.failed = tries.failed.saturating_add(u16::from(failed));
    if is_exhausted(settings, tries) {
        let reason = Reason::DeliveryLimit;
        return Fate::GivenUp { failed, reason };
    }
    let too_old = || {
        let appended = state.kept.marks.not_after(offset)?;
        Some(appended.plus_ms(settings.age_ms_max?) <= now)
    };
    if failed && too_old() == Some(true) {
        let reason = Reason::TooOld;
        return Fate::GivenUp { failed, reason };
    }
    let by_policy = || {
        let delay = delay_ms(settings.retry, offset, tries.failed);
        (failed && delay > 0).then(|| now.plus_ms(delay))
    };
    let not_before = not_before.filter(|at| *at > now).or_else(by_policy);
    Fate::Back { failed, not_before }
}

/// How long a record waits after its `failed`th failure.
fn delay_ms(retry: Retry, offset: i64, failed: u16) -> u64 {
    let times = u64::from(failed.max(1));
    match retry {
        Retry::AtOnce => 0,
        Retry::Fixed { ms } => ms,
        Retry::Linear { ms, ms_max } => ms.saturating_mul(times).min(ms_max),
        Retry::Exponential {
            ms,
            ms_max,
            jitter_percent,
        } => {
            let doublings = u32::from(failed.max(1) - 1).min(63);
            let whole = ms.saturating_mul(1 << doublings).min(ms_max);
            let most = u128::from(whole) * u128::from(jitter_percent.min(100)) / 100;
            let share = u128::from(share_of(offset, failed));
            let off = u64::try_from((most * share) >> 32).unwrap_or(0);
            whole - off
        }
    }
}

/// A number below 2^32 that differs from record to record and from try to try, and that every replay
/// finds again.
fn share_of(offset: i64, failed: u16) -> u32 {
    let mut mixed = offset.cast_unsigned() ^ (u64::from(failed) << 48);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from(mixed >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_as_the_policy_says_and_never_beyond_its_bound() {
        let linear = Retry::Linear {
            ms: 100,
            ms_max: 250,
        };
        assert_eq!(
            [1, 2, 3, 9].map(|n| delay_ms(linear, 7, n)),
            [100, 200, 250, 250]
        );
        let doubling = Retry::Exponential {
            ms: 100,
            ms_max: 1_000,
            jitter_percent: 0,
        };
        let delays = [1, 2, 3, 4, 5, u16::MAX].map(|n| delay_ms(doubling, 7, n));
        assert_eq!(delays, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(delay_ms(Retry::AtOnce, 7, 3), 0);
        assert_eq!(delay_ms(Retry::Fixed { ms: 5 }, 7, 3), 5);
    }

    #[test]
    fn jitter_takes_off_its_share_and_parts_what_failed_together() {
        let retry = Retry::Exponential {
            ms: 1_000,
            ms_max: 60_000,
            jitter_percent: 50,
        };
        let delays: std::vec::Vec<u64> = (0..1_000).map(|at| delay_ms(retry, at, 1)).collect();
        assert!(delays.iter().all(|ms| (500..=1_000).contains(ms)));
        let early = delays.iter().filter(|ms| **ms < 750).count();
        assert!((400..600).contains(&early), "{early}");
        assert_eq!(delay_ms(retry, 3, 1), delay_ms(retry, 3, 1));
    }
}
