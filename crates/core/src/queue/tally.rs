//! What became of the records of a subscription, counted.

use super::names::Reason;

/// What became of records since the subscription began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Acknowledged.
    pub accepted: u64,
    /// Given up and brought to the dead-letter target, by [`Reason`].
    pub moved: [u64; Reason::ALL.len()],
    /// Given up and dropped, by [`Reason`].
    pub dropped: [u64; Reason::ALL.len()],
    /// Overtaken by the log's retention before they were settled.
    pub lost: u64,
    /// Purged, or left behind by going to a later offset.
    pub purged: u64,
}

impl Tally {
    /// Counts those of another partition too.
    pub fn add(&mut self, more: &Self) {
        self.accepted = self.accepted.saturating_add(more.accepted);
        self.lost = self.lost.saturating_add(more.lost);
        self.purged = self.purged.saturating_add(more.purged);
        for (sum, more) in self.moved.iter_mut().zip(more.moved) {
            *sum = sum.saturating_add(more);
        }
        for (sum, more) in self.dropped.iter_mut().zip(more.dropped) {
            *sum = sum.saturating_add(more);
        }
    }

    pub(super) fn archived(&mut self, reason: Reason, moved: bool, count: u64) {
        let by_reason = if moved {
            &mut self.moved
        } else {
            &mut self.dropped
        };
        if let Some(counted) = by_reason.get_mut(usize::from(reason.code())) {
            *counted = counted.saturating_add(count);
        }
    }
}

/// How many records stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Anybody may have them.
    pub available: u64,
    /// Somebody holds them.
    pub acquired: u64,
    /// They wait for their time.
    pub scheduled: u64,
    /// They are given up, and wait for the dead-letter target.
    pub archiving: u64,
    /// Bytes of what is available or scheduled, as far as sizes are tracked.
    pub waiting_bytes: u64,
}
