//! Committed offsets: how far a group has come in each partition, and until when that is kept.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::ops::RangeInclusive;

use mulgil_record::ids::{LeaderEpoch, Offset, TopicId};

use crate::machine::WallTime;

/// What an offset is committed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetKey {
    /// The topic.
    pub topic: TopicId,
    /// Which of its partitions.
    pub partition: i32,
}

impl OffsetKey {
    /// Before every key of `topic`.
    pub(super) const fn first_of(topic: TopicId) -> Self {
        let partition = i32::MIN;
        Self { topic, partition }
    }

    /// Every key of `topic`.
    pub(super) const fn all_of(topic: TopicId) -> RangeInclusive<Self> {
        let partition = i32::MAX;
        Self::first_of(topic)..=Self { topic, partition }
    }
}

/// An offset to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// For what.
    pub key: OffsetKey,
    /// The next offset to read.
    pub offset: Offset,
    /// The leadership of the last record read, if the consumer says.
    pub leader_epoch: Option<LeaderEpoch>,
    /// A note of the consumer's.
    pub metadata: Box<str>,
    /// How long to keep it, if the consumer says, instead of what the setting says.
    pub retention_ms: Option<u64>,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: Offset,
    /// The leadership of the last record read, if the consumer said.
    pub leader_epoch: Option<LeaderEpoch>,
    /// A note of the consumer's.
    pub metadata: Box<str>,
    /// When it was committed.
    pub at: WallTime,
    /// Until when it is kept, if the consumer said.
    pub until: Option<WallTime>,
}

impl Committed {
    /// Whether it has had its time, which begins with the commit, or with `since` if that is later.
    pub(super) fn is_expired(&self, since: WallTime, retention_ms: u64, now: WallTime) -> bool {
        let until = since.max(self.at).plus_ms(retention_ms);
        self.until.unwrap_or(until) <= now
    }
}

/// All committed offsets of a group, and how far the look for expired ones has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) kept: BTreeMap<OffsetKey, Committed>,
    /// What they take in memory, about: the sum over all that are kept.
    pub(super) bytes: usize,
    /// When to look for expired ones next. Volatile: a start looks at once.
    pub(super) next_check: WallTime,
    /// Where the look was broken off, being bounded. Volatile.
    pub(super) from: Option<OffsetKey>,
}

impl Offsets {
    pub(super) fn keep(&mut self, key: OffsetKey, committed: Committed) {
        self.bytes += committed.held_bytes();
        let old = self.kept.insert(key, committed);
        self.bytes -= old.map_or(0, |old| old.held_bytes());
    }

    pub(super) fn give_up(&mut self, key: &OffsetKey) {
        let old = self.kept.remove(key);
        self.bytes -= old.map_or(0, |old| old.held_bytes());
    }

    pub(super) const fn forget_volatile(&mut self) {
        self.next_check = WallTime(0);
        self.from = None;
    }
}
