//! What is known of one partition: where batches were seen, and what every answer must respect.

use std::collections::BTreeMap;

use mulgil_meta::schema::Durability;
use mulgil_record::ids::{PartitionId, TopicId};

use super::{BatchName, Found, Outage};
use crate::violation::{Kept, Rule, Violation};

/// A batch where somebody saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Which.
    pub batch: BatchName,
    /// Its last offset.
    pub last: i64,
    /// Whether it must be there still.
    pub must: bool,
    /// The weakest level of its topic since it was sent.
    pub level: Durability,
}

/// What is known of one partition.
#[derive(Clone, Debug, Default)]
pub struct PartitionModel {
    /// Its topic.
    pub topic: TopicId,
    /// All batches that anybody saw, by first offset. Those that may be lost stay here: their offsets
    /// are used.
    pub placed: BTreeMap<i64, Placed>,
    /// The highest start that anybody asked for.
    pub start_asked: i64,
    /// A start that was asked for, whatever comes of what is under way.
    pub start_surely_asked: i64,
    /// The highest start that anybody was told.
    pub start_seen: i64,
    /// The highest high watermark that anybody was told.
    pub high_watermark_seen: i64,
    /// Records in its middle may have been lost.
    pub lossy: bool,
    /// A start may have discarded all of it.
    pub discarded: bool,
}

impl PartitionModel {
    pub(super) fn place(&mut self, id: PartitionId, base: i64, placed: Placed) -> Kept {
        let before = self.placed.range(..=placed.last).next_back();
        if let Some((at, other)) = before
            && other.last >= base
            && (*at != base || other.batch != placed.batch)
        {
            let what = format!(
                "partition {id}: {:?} is at {base}..={}, where {:?} was at {at}..={}",
                placed.batch, placed.last, other.batch, other.last
            );
            return Err(Violation::new(Rule::OffsetOnce, what));
        }
        let entry = self.placed.entry(base).or_insert(placed);
        entry.must = true;
        entry.level = entry.level.min(placed.level);
        Ok(())
    }

    /// Whether all that must be between two offsets was found there.
    pub(super) fn check_all(&self, id: PartitionId, range: (i64, i64), found: &[Found]) -> Kept {
        let (from, to) = range;
        for (base, placed) in self.placed.range(..=to).rev() {
            if placed.last < from {
                break;
            }
            let there = |found: &Found| found.base == *base && found.name == placed.batch;
            if placed.must && !found.iter().any(there) {
                let what = format!(
                    "a read of partition {id} from {from} to {to} gave no {:?}, which is at {base}",
                    placed.batch
                );
                return Err(Violation::new(Rule::ReadsAll, what));
            }
        }
        Ok(())
    }

    pub(super) fn ended(&mut self, outage: Outage, level: Durability) {
        let discarded = level == Durability::Memory;
        self.discarded |= discarded;
        self.lossy |= outage.loses(level);
        for placed in self.placed.values_mut() {
            let lost = discarded || outage.loses(placed.level);
            placed.must &= !lost;
            self.lossy |= lost;
        }
    }

    /// Whether a read from `offset` would find something that must be there.
    #[must_use]
    pub fn has_from(&self, offset: i64) -> bool {
        let from = offset.max(self.start_seen);
        let last = self.placed.iter().next_back();
        last.is_some_and(|(base, placed)| {
            placed.must && placed.last >= from && *base < self.high_watermark_seen
        })
    }
}
