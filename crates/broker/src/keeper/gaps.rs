//! Room that comes back although something older is still wanted: gaps of what all subscriptions of a
//! queue have settled.
//!
//! Which offsets of a chunk were left out when it was written is not in its footer. So what was gone
//! then is remembered for chunks that this process wrote, and what is gone now counts from there on. A
//! chunk of which nothing is known may be written once more than needed, after a start.

use std::collections::{BTreeMap, BTreeSet};

use mulgil_core::queue::Span;
use mulgil_log::index::Extent;
use mulgil_log::position::ChunkId;
use mulgil_log::regroup::{ChunkUse, Regrouped};
use mulgil_record::ids::{Offset, PartitionId};

use super::SLICE;
use crate::compact::{GoneOffsets, gone_in};
use crate::shell::Broker;

/// Memory for what is gone, bytes. What does not fit waits for its turn.
const MEMORY_MAX: usize = 64 << 20;

/// What the keeper knows of gaps.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    gone: GoneOffsets,
    /// By chunk, bytes of what is gone, as if all of it were there.
    dead: BTreeMap<ChunkId, u64>,
    /// The same for chunks that passes have written, when they did.
    left_out: BTreeMap<ChunkId, u64>,
    /// The partition to begin with, if memory did not do for all.
    resume: Option<PartitionId>,
}

impl Gaps {
    pub(super) const fn gone(&self) -> &GoneOffsets {
        &self.gone
    }

    /// Asks the lane what is gone now.
    pub(super) fn look(&mut self, broker: &Broker) {
        self.gone.clear();
        let mut extents = BTreeMap::new();
        let mut memory = 0;
        let begin = self.resume.take().unwrap_or(PartitionId(0));
        let mut from = Some((begin, Offset::ZERO));
        while let Some(at) = from {
            super::beat(broker);
            if memory > MEMORY_MAX {
                let cut = at.0;
                // A part of it would be enough for it alone, and is too little beside others.
                if self.gone.len() > 1 {
                    self.gone.remove(&cut.0);
                }
                self.resume = Some(cut);
                break;
            }
            let slice = broker.visit_quietly(|lane, now| lane.gone(at, SLICE, now));
            for (partition, piece) in slice.gone {
                memory += piece.memory_bytes();
                self.gone.entry(partition).or_default().push(piece);
            }
            extents.extend(slice.extents);
            from = slice.next;
        }
        self.dead.clear();
        for (partition, extents) in &extents {
            for extent in extents {
                *self.dead.entry(extent.chunk).or_default() += self.dead_of(*partition, extent);
            }
        }
        self.dead.retain(|_, dead| *dead > 0);
    }

    /// Bytes of an extent that are gone, as if all of its offsets were there.
    fn dead_of(&self, partition: u64, extent: &Extent) -> u64 {
        let span = Span {
            first: Offset(extent.first),
            end: Offset(extent.last).plus(1),
        };
        let gone = u128::from(gone_in(&self.gone, partition, span));
        let bytes = u128::from(extent.bytes) * gone / u128::from(span.count().max(1));
        u64::try_from(bytes).unwrap_or(extent.bytes)
    }

    /// Takes what is gone off what lives in chunks.
    pub(super) fn deduct(&mut self, uses: &mut [ChunkUse]) {
        if self.dead.is_empty() {
            return;
        }
        let there: BTreeSet<ChunkId> = uses.iter().map(|used| used.chunk).collect();
        self.left_out.retain(|chunk, _| there.contains(chunk));
        for used in uses {
            let dead = self.dead.get(&used.chunk).copied().unwrap_or(0);
            let left_out = self.left_out.get(&used.chunk).copied().unwrap_or(0);
            let more = u128::from(dead.saturating_sub(left_out));
            if more == 0 {
                continue;
            }
            // Of what is there, and not of what was there once.
            let of = u128::from(used.live.saturating_sub(left_out).max(1));
            let dead = (u128::from(used.live) * more / of).min(u128::from(used.live));
            let dead = u64::try_from(dead).unwrap_or(used.live);
            // What nothing lives in goes without being read, and this is an estimate.
            used.live = used.live.saturating_sub(dead).max(used.live.min(1));
        }
    }

    /// Remembers what a pass has left out.
    pub(super) fn written(&mut self, done: &Regrouped) {
        for (partition, extent) in &done.added {
            let dead = self.dead_of(*partition, extent);
            if dead > 0 {
                *self.left_out.entry(extent.chunk).or_default() += dead;
            }
        }
    }
}
