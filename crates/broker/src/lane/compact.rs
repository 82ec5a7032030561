//! What the lane says to compaction: which partitions keep only the newest record of each key, how
//! much of them is unclean, and how far they may be cleaned.
//!
//! ```text
//! start        clean_to                 to                                      end
//!   |-- compacted --|-- sealed, below ---|-- needed by replay, too new, open ----|
//!   | chunks        |   the checkpoints  |   or not yet durable
//!   | of that kind  |   : unclean        |   : left alone
//! ```
//!
//! What is clean is not written down anywhere: it is what lies in compacted chunks, from the first
//! extent on. So a start knows it from the footers.

use mulgil_core::machine::Now;
use mulgil_log::chunk::ChunkKind;
use mulgil_log::chunkset::ChunkSetChange;
use mulgil_log::index::Extent;
use mulgil_log::regroup::Candidate;
use mulgil_meta::schema::TopicSettings;
use mulgil_record::ids::PartitionId;

use super::{Hosted, Lane};

/// A partition that keeps only the newest record of each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// What of it may be compacted.
    pub candidate: Candidate,
    /// The first offset that was not given yet. The record before it always stays.
    pub end: i64,
    /// How long a record that deletes its key stays, milliseconds.
    pub delete_retention_ms: u64,
}

/// Some of the partitions that are compacted.
#[derive(Debug, Default)]
pub struct KeyedSlice {
    /// They.
    pub partitions: Vec<Keyed>,
    /// Whether records have waited too long in chunks that no pass can take yet.
    pub hurry: bool,
    /// Where to go on; `None` at the end.
    pub next: Option<PartitionId>,
}

/// Timestamps up to which something holds.
#[derive(Clone, Copy)]
struct Ages {
    /// May be compacted.
    settled: i64,
    /// Has waited too long.
    late: i64,
}

impl Ages {
    fn new(settings: &TopicSettings, now: Now) -> Self {
        let before = |ms: u64| {
            let at = i128::from(now.wall.0) - i128::from(ms);
            i64::try_from(at).unwrap_or(i64::MIN)
        };
        Self {
            settled: if settings.min_compaction_lag_ms == 0 {
                i64::MAX
            } else {
                before(settings.min_compaction_lag_ms)
            },
            // Half for the chunk in which a record lies, half for the wait behind it: an extent
            // says only how old its newest record is.
            late: before(settings.max_compaction_lag_ms / 2),
        }
    }

    /// A record without a timestamp (-1) has no age, and is never late.
    const fn is_late(self, timestamp: i64) -> bool {
        timestamp >= 0 && timestamp <= self.late && timestamp <= self.settled
    }
}

impl Lane {
    /// The partitions that are compacted, of some partitions from `from` on.
    #[must_use]
    pub fn keyed(&self, from: PartitionId, partitions_max: usize, now: Now) -> KeyedSlice {
        let mut slice = KeyedSlice::default();
        let mut hosted = self.partitions.range(from..);
        for (id, hosted) in hosted.by_ref().take(partitions_max) {
            let topic = self.metadata.topic_by_id(hosted.topic);
            let keeps =
                |settings: &TopicSettings| settings.cleanup.compact && !settings.reclaim_on_ack;
            let Some(topic) = topic.filter(|topic| keeps(&topic.settings)) else {
                continue;
            };
            let ages = Ages::new(&topic.settings, now);
            let (candidate, waits) = self.candidate(*id, hosted, &topic.settings, ages);
            slice.hurry |= waits;
            slice.partitions.push(Keyed {
                candidate,
                end: hosted.machine.next.0,
                delete_retention_ms: topic.settings.delete_retention_ms,
            });
        }
        slice.next = hosted.next().map(|(id, _)| *id);
        slice
    }

    /// What of a partition may be compacted, and whether what follows has waited too long.
    fn candidate(
        &self,
        id: PartitionId,
        hosted: &Hosted,
        settings: &TopicSettings,
        ages: Ages,
    ) -> (Candidate, bool) {
        let tail = self.index.first_of_tail(id.0);
        let open = tail.map_or(i64::MAX, |entry| entry.base);
        let limit = open.min(hosted.high_watermark.0);
        let start = hosted.machine.start.0;
        let mut candidate = Candidate {
            partition: id.0,
            clean_to: start,
            to: start,
            clean_bytes: 0,
            dirty_bytes: 0,
            chunks: Vec::new(),
            dirty_permille: settings.min_cleanable_dirty_ratio_permille,
            overdue: false,
        };
        let mut next = tail.map(|entry| entry.max_timestamp);
        for extent in self.index.extents(id.0) {
            let may = extent.last < limit && extent.max_timestamp <= ages.settled;
            let info = self.chunks.get(extent.chunk).filter(|i| self.is_usable(i));
            let Some(info) = info.filter(|_| may) else {
                next = Some(extent.max_timestamp);
                break;
            };
            add(&mut candidate, extent, info.kind, ages);
        }
        (
            candidate,
            next.is_some_and(|timestamp| ages.is_late(timestamp)),
        )
    }

    /// Goes on in the next log chunk although this one is not full, so that what lies in this one can be
    /// compacted, or go, soon.
    pub fn roll(&mut self, now: Now) {
        self.log.roll(now);
        // The chunk before is known to be synced when something behind it is.
        self.change_chunks(&ChunkSetChange::default());
    }
}

/// Counts an extent that may be compacted.
fn add(candidate: &mut Candidate, extent: &Extent, kind: ChunkKind, ages: Ages) {
    candidate.to = extent.last.saturating_add(1);
    candidate.chunks.push((extent.chunk, extent.bytes));
    if kind == ChunkKind::Compacted && candidate.dirty_bytes == 0 {
        candidate.clean_to = candidate.to;
        candidate.clean_bytes += extent.bytes;
    } else {
        candidate.overdue |= candidate.dirty_bytes == 0 && ages.is_late(extent.max_timestamp);
        candidate.dirty_bytes += extent.bytes;
    }
}
