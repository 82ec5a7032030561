//! What nobody wants any more behind something that is wanted: settled by all subscriptions of a topic
//! that reclaims what is acknowledged.
//!
//! ```text
//! start                                                        end
//!   | wanted | settled by all ......... | wanted | settled ...  |
//!            '- given up by the next pass over its chunk -'    '- the last offset stays
//! ```
//!
//! What lies below the oldest that is wanted needs none of this: the start moves over it.
//!
//! Settlements that are asked for here may not be on disk yet. The pass that gives up what they settle
//! counts once its own entry is synced, and that lies behind them in the log.

use mulgil_core::machine::Now;
use mulgil_core::queue::{Settled, Span};
use mulgil_log::index::Extent;
use mulgil_record::ids::{Offset, PartitionId};

use super::{Hosted, Lane};

/// Offsets that are looked at together: at most 128 KiB a subscription.
const OFFSETS_A_PIECE: i64 = 1 << 20;
/// Such pieces of one visit, so that nobody waits long for the lane.
const PIECES_A_VISIT: usize = 4;

/// Some of what nobody wants any more.
#[derive(Debug, Default)]
pub struct GoneSlice {
    /// By partition, pieces in their order.
    pub gone: Vec<(u64, Settled)>,
    /// Where the batches of these partitions lie, each partition's once.
    pub extents: Vec<(u64, Vec<Extent>)>,
    /// Where to go on; `None` at the end.
    pub next: Option<(PartitionId, Offset)>,
}

impl Lane {
    /// What nobody wants any more of some partitions, from an offset of the first on.
    #[must_use]
    pub fn gone(
        &mut self,
        from: (PartitionId, Offset),
        partitions_max: usize,
        now: Now,
    ) -> GoneSlice {
        let mut slice = GoneSlice::default();
        let date = self.believes(now).then_some(now.wall);
        let mut pieces = 0;
        let mut hosted = self.partitions.range(from.0..);
        for (id, partition) in hosted.by_ref().take(partitions_max) {
            let start = partition.machine.start;
            let Some(limit) = self
                .reclaim_limit(*id, date)
                .filter(|_| self.subscriptions.all_settled_some(*id, start))
            else {
                continue;
            };
            let goes_on = *id == from.0 && from.1 > Offset::ZERO;
            let mut at = start;
            if goes_on {
                at = at.max(from.1);
            } else {
                let extents = self.index.extents(id.0).to_vec();
                slice.extents.push((id.0, extents));
            }
            while at < limit {
                if pieces == PIECES_A_VISIT {
                    slice.next = Some((*id, at));
                    return slice;
                }
                let end = at.plus(OFFSETS_A_PIECE).min(limit);
                let gone = self.gone_of(*id, partition, Span { first: at, end });
                slice.gone.extend(gone.map(|gone| (id.0, gone)));
                at = end;
                pieces += 1;
            }
        }
        slice.next = hosted.next().map(|(id, _)| (*id, Offset::ZERO));
        slice
    }

    /// What all subscriptions have settled of a piece, but for the last offset of the partition: who
    /// reads all of it comes to its end.
    fn gone_of(&self, id: PartitionId, partition: &Hosted, piece: Span) -> Option<Settled> {
        let mut gone = self.subscriptions.settled_by_all(id, piece)?;
        gone.spare(partition.machine.next.plus(-1));
        (!gone.is_empty()).then_some(gone)
    }
}
