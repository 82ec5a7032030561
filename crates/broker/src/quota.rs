//! Measuring quotas: what the sharers of a limit have used lately, and how long they must wait.
//!
//! As Kafka's `Rate`: the amount of the last eleven windows of a second each, over the time that these
//! windows have lasted, ten seconds at the least; so a burst of ten seconds' worth passes at once.
//! Who is over the limit waits until the rate is back at it. Nobody is refused: the wait is told with
//! the answer, and the connection is not read meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use mulgil_core::machine::Elapsed;
use mulgil_meta::quota::{Limit, Quotas, Sharers};

use crate::mailbox::lock;

/// How long a window is, milliseconds: Kafka's `quota.window.size.seconds`.
const WINDOW_MS: u64 = 1000;
/// Over how many windows the rate is taken, Kafka's `quota.window.num`.
const WINDOWS: u64 = 11;
/// Longest wait for the time of threads, milliseconds, as Kafka's: what was spent is not as large as
/// what was asked for, and a wait of one window takes any client below its limit sooner or later.
const REQUEST_WAIT_MAX_MS: u64 = WINDOW_MS;
/// Longest wait for bytes, milliseconds. One request is at most 100 MiB, so this is only reached by who
/// may send less than 30 kB a second.
const BYTES_WAIT_MAX_MS: u64 = 60 * 60 * 1000;
/// Meters are looked through for silent ones when there are so many more than at the last time.
const SWEEP_EVERY: usize = 1024;

/// What all sharers of all limits have used lately.
#[derive(Debug, Default)]
pub struct QuotaMeters {
    meters: Mutex<Meters>,
}

#[derive(Debug, Default)]
struct Meters {
    by_sharers: BTreeMap<(Limit, Sharers), Meter>,
    sweep_at: usize,
}

/// The amounts of the last windows, oldest first, each with its number.
#[derive(Clone, Debug, Default)]
struct Meter {
    windows: VecDeque<(u64, u64)>,
}

impl QuotaMeters {
    /// Counts what a client of a user has asked for, and says how long it has to wait, milliseconds.
    ///
    /// Costs nothing while there are no quotas.
    pub fn charge(
        &self,
        quotas: &Quotas,
        limit: Limit,
        (user, client): (&str, &str),
        amount: u64,
        now: Elapsed,
    ) -> u64 {
        let Some((most, sharers)) = quotas.find(limit, user, client) else {
            return 0;
        };
        let mut meters = lock(&self.meters);
        if meters.by_sharers.len() >= meters.sweep_at {
            meters.by_sharers.retain(|_, meter| meter.is_live(now));
            meters.sweep_at = meters.by_sharers.len() + SWEEP_EVERY;
        }
        let meter = meters.by_sharers.entry((limit, sharers)).or_default();
        meter.add(amount, now);
        let longest = match limit {
            Limit::ProduceBytes | Limit::ConsumeBytes => BYTES_WAIT_MAX_MS,
            Limit::RequestMicropercent => REQUEST_WAIT_MAX_MS,
        };
        meter.wait_ms(most, now).min(longest)
    }
}

/// What passes at once of a limit of `most` a second: the burst of all windows but one.
#[must_use]
pub const fn burst(most: u64) -> u64 {
    most.saturating_mul(WINDOWS - 1)
}

impl Meter {
    fn add(&mut self, amount: u64, now: Elapsed) {
        let window = now.0 / WINDOW_MS;
        while self
            .windows
            .front()
            .is_some_and(|(at, _)| at + WINDOWS <= window)
        {
            self.windows.pop_front();
        }
        match self.windows.back_mut() {
            Some((at, sum)) if *at == window => *sum = sum.saturating_add(amount),
            Some(_) | None => self.windows.push_back((window, amount)),
        }
    }

    fn is_live(&self, now: Elapsed) -> bool {
        let window = now.0 / WINDOW_MS;
        self.windows
            .back()
            .is_some_and(|(at, _)| at + WINDOWS > window)
    }

    /// How long until the amount of the windows is what `most` a second allows.
    fn wait_ms(&self, most: u64, now: Elapsed) -> u64 {
        let Some((first, _)) = self.windows.front() else {
            return 0;
        };
        let lasted = now.0.saturating_sub(first * WINDOW_MS);
        let least = (WINDOWS - 1) * WINDOW_MS;
        let span = u128::from(lasted.max(least));
        let used: u128 = self.windows.iter().map(|(_, sum)| u128::from(*sum)).sum();
        let most = u128::from(most.max(1));
        let over = (used * 1000).saturating_sub(most * span);
        u64::try_from(over / most).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use mulgil_meta::quota::{Part, QuotaEntity};
    use mulgil_meta::state::Metadata;

    use super::*;

    fn quotas(client: Part, most: u64) -> Metadata {
        let mut metadata = Metadata::default();
        let user = Part::Absent;
        let entity = QuotaEntity { user, client };
        let edits = [(Limit::ProduceBytes, Some(most))];
        let change = metadata.edit_quota(&entity, &edits).unwrap();
        metadata.apply(&change);
        metadata
    }

    fn charge(meters: &QuotaMeters, metadata: &Metadata, client: &str, bytes: u64, at: u64) -> u64 {
        let (limit, now) = (Limit::ProduceBytes, Elapsed(at));
        meters.charge(metadata.quotas(), limit, ("u", client), bytes, now)
    }

    #[test]
    fn who_keeps_to_its_rate_never_waits() {
        let (meters, metadata) = (QuotaMeters::default(), quotas(Part::Default, 1000));
        for at in 0..600 {
            assert_eq!(charge(&meters, &metadata, "c", 99, at * 100), 0, "{at}");
        }
    }

    #[test]
    fn who_waits_as_told_has_the_rate_that_was_set() {
        let (meters, metadata) = (QuotaMeters::default(), quotas(Part::Default, 1000));
        let (mut at, mut sent, mut waited) = (0, 0, 0);
        while at < 100_000 {
            let wait = charge(&meters, &metadata, "c", 500, at);
            sent += 500;
            waited += wait;
            at += 10 + wait;
        }
        // A burst of ten seconds' worth at the start, and the rate from then on.
        assert!((100_000..=113_000).contains(&sent), "{sent}");
        assert!(waited > 80_000, "{waited}");
    }

    #[test]
    fn each_client_has_the_default_for_itself() {
        let (meters, metadata) = (QuotaMeters::default(), quotas(Part::Default, 10));
        assert!(charge(&meters, &metadata, "a", 5000, 0) > 0);
        assert_eq!(charge(&meters, &metadata, "b", 5, 0), 0);
        let named = quotas(Part::Named("a".into()), 10);
        assert_eq!(charge(&meters, &named, "other", 1_000_000, 0), 0);
    }

    #[test]
    fn silent_clients_are_forgotten() {
        let (meters, metadata) = (QuotaMeters::default(), quotas(Part::Default, 10));
        for client in 0..10_000_u64 {
            charge(&meters, &metadata, &client.to_string(), 1, client * 100);
        }
        assert!(lock(&meters.meters).by_sharers.len() < 2 * SWEEP_EVERY);
    }
}
