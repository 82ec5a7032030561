//! Which partitions a pass compacts, and which chunks it takes for that.
//!
//! To compact a partition, all chunks that hold what may be compacted of it have to be in one pass:
//! then no older record of a key is left anywhere, and a record that deletes a key may go in its time.
//! The bounds:
//!
//! - A partition is compacted when so much of it is unclean as its topic says, and then at most
//!   1 / (that share) bytes of it are written for each unclean one. Or it is overdue.
//! - Its unclean part lies in log chunks and on shelves of its like, its clean part in chunks where
//!   nothing but clean parts lie. So the bytes of others that go along lie in log chunks. They go to
//!   a sorted chunk a first time, which is likely to be a small one that is joined to others later:
//!   a third write, as in a pass under short space. Unless something is overdue, there may be at most
//!   [`OTHERS_MAX`] of them for each unclean byte.
//! - A pass with up to `live_max` live bytes takes as many partitions as fit, but one in any case: the
//!   room for a second copy of one partition has to be there. On a full disk it takes one, unless what
//!   others need is taken anyway.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{ChunkUse, PlanBounds, room_for};
use crate::position::ChunkId;

/// Bytes of others that a compaction may move for each unclean byte, if nothing is overdue.
const OTHERS_MAX: u64 = 8;

/// A partition that may be compacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub partition: u64,
    /// Offsets below are clean: no two records have one key.
    pub clean_to: i64,
    /// Offsets from here on are left alone.
    pub to: i64,
    /// Bytes below `clean_to`.
    pub clean_bytes: u64,
    /// Bytes from there to `to`.
    pub dirty_bytes: u64,
    /// The chunks in which these offsets lie, and how many bytes of them in each.
    pub chunks: Vec<(ChunkId, u64)>,
    /// What share of it must be unclean, thousandths.
    pub dirty_permille: u32,
    /// Whether it has waited too long.
    pub overdue: bool,
}

impl Candidate {
    fn is_due(&self) -> bool {
        let total = u128::from(self.clean_bytes) + u128::from(self.dirty_bytes);
        let dirty = u128::from(self.dirty_bytes);
        dirty > 0 && (self.overdue || dirty * 1000 >= total * u128::from(self.dirty_permille))
    }
}

/// What is known while partitions are chosen.
struct Choice<'a> {
    uses: BTreeMap<ChunkId, &'a ChunkUse>,
    /// Bytes of each chunk that are nobody's but candidates'.
    keyed: BTreeMap<ChunkId, u64>,
    bounds: &'a PlanBounds,
    chunks: BTreeSet<ChunkId>,
    live: u64,
    partitions: Vec<u64>,
}

impl Choice<'_> {
    /// The chunks that these candidates need beyond those that are taken.
    fn missing(&self, candidates: &[&Candidate]) -> BTreeSet<ChunkId> {
        let needed = candidates.iter().flat_map(|c| &c.chunks);
        let needed = needed.map(|(chunk, _)| *chunk);
        needed
            .filter(|chunk| !self.chunks.contains(chunk))
            .collect()
    }

    /// Takes candidates together, if what goes along and the room allow it.
    fn take(&mut self, candidates: &[&Candidate]) -> bool {
        let missing = self.missing(candidates);
        let uses = missing.iter().map(|chunk| self.uses.get(chunk));
        let Some(uses) = uses.collect::<Option<Vec<_>>>() else {
            return false;
        };
        let live: u64 = uses.iter().map(|used| used.live).sum();
        let others = uses.iter().map(|used| {
            let keyed = self.keyed.get(&used.chunk).copied().unwrap_or_default();
            used.live.saturating_sub(keyed)
        });
        let others: u64 = others.sum();
        let dirty: u64 = candidates.iter().map(|c| c.dirty_bytes).sum();
        let overdue = candidates.iter().any(|c| c.overdue);
        let total = self.live.saturating_add(live);
        // On a full disk a partition is compacted alone, or with a chunk that is taken anyway.
        let alone = !self.bounds.freeing || self.live == 0;
        let first = self.partitions.is_empty() && candidates.len() == 1 && alone;
        let most = if self.bounds.freeing {
            0
        } else {
            self.bounds.live_max
        };
        let much = total > most && live > 0 && !first;
        let no_room = live > 0 && room_for(total) > self.bounds.space_left;
        if much || no_room || (!overdue && others > dirty.saturating_mul(OTHERS_MAX)) {
            return false;
        }
        self.live = total;
        self.chunks.extend(missing);
        self.partitions
            .extend(candidates.iter().map(|c| c.partition));
        true
    }
}

/// Adds to the chunks of a pass what compaction needs; says which partitions are compacted.
///
/// `uses` are all chunks that may be taken, `chosen` those that [`super::plan`] has taken.
pub fn add_compaction(
    uses: &[ChunkUse],
    chosen: &mut Vec<ChunkId>,
    candidates: &[Candidate],
    bounds: &PlanBounds,
) -> Vec<u64> {
    let mut keyed: BTreeMap<ChunkId, u64> = BTreeMap::new();
    for (chunk, bytes) in candidates.iter().flat_map(|c| &c.chunks) {
        *keyed.entry(*chunk).or_default() += bytes;
    }
    let uses: BTreeMap<_, _> = uses.iter().map(|used| (used.chunk, used)).collect();
    let taken = chosen.iter().filter_map(|chunk| uses.get(chunk));
    let mut choice = Choice {
        live: taken.map(|used| used.live).sum(),
        uses,
        keyed,
        bounds,
        chunks: chosen.iter().copied().collect(),
        partitions: Vec::new(),
    };
    let due = candidates.iter().filter(|c| c.is_due());
    let (overdue, due): (Vec<_>, Vec<_>) = due.partition(|c| c.overdue);
    for candidate in overdue {
        choice.take(&[candidate]);
    }
    // Many small ones that lie in the same chunks are worth it together.
    if !due.is_empty() && !choice.take(&due) {
        for candidate in due {
            choice.take(&[candidate]);
        }
    }
    chosen.clear();
    chosen.extend(choice.chunks);
    choice.partitions.sort_unstable();
    choice.partitions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::ChunkKind;

    const MIB: u64 = 1 << 20;

    fn used(chunk: u32, kind: ChunkKind, live: u64) -> ChunkUse {
        ChunkUse {
            chunk: ChunkId(chunk),
            kind,
            bytes: 256 * MIB,
            live: live * MIB,
        }
    }

    fn candidate(partition: u64, clean: u64, dirty: u64, chunks: &[(u32, u64)]) -> Candidate {
        let chunks = chunks
            .iter()
            .map(|(chunk, bytes)| (ChunkId(*chunk), bytes * MIB));
        Candidate {
            partition,
            clean_to: 100,
            to: 200,
            clean_bytes: clean * MIB,
            dirty_bytes: dirty * MIB,
            chunks: chunks.collect(),
            dirty_permille: 500,
            overdue: false,
        }
    }

    fn overdue(candidate: Candidate) -> Candidate {
        Candidate {
            overdue: true,
            ..candidate
        }
    }

    fn add(
        uses: &[ChunkUse],
        chosen: &[u32],
        candidates: &[Candidate],
        bounds: &PlanBounds,
    ) -> (Vec<u32>, Vec<u64>) {
        let mut chosen = chosen.iter().map(|chunk| ChunkId(*chunk)).collect();
        let partitions = add_compaction(uses, &mut chosen, candidates, bounds);
        (chosen.iter().map(|chunk| chunk.0).collect(), partitions)
    }

    #[test]
    fn a_partition_is_compacted_when_enough_of_it_is_unclean_or_it_is_overdue() {
        let uses = [
            used(3, ChunkKind::Compacted, 100),
            used(5, ChunkKind::Sorted, 60),
        ];
        let bounds = PlanBounds::default();
        let little = candidate(7, 100, 60, &[(3, 100), (5, 60)]);
        let none = (vec![], vec![]);
        assert_eq!(
            add(&uses, &[], std::slice::from_ref(&little), &bounds),
            none
        );
        let late = overdue(little);
        assert_eq!(add(&uses, &[], &[late], &bounds), (vec![3, 5], vec![7]));
        let more = candidate(7, 60, 60, &[(3, 60), (5, 60)]);
        assert_eq!(add(&uses, &[], &[more], &bounds), (vec![3, 5], vec![7]));
        let clean = overdue(candidate(7, 100, 0, &[(3, 100)]));
        assert_eq!(add(&uses, &[], &[clean], &bounds), none);
    }

    #[test]
    fn others_are_moved_along_for_what_is_worth_it_alone_or_together() {
        let uses = [used(1, ChunkKind::Log, 200)];
        let bounds = PlanBounds::default();
        let none = (vec![], vec![]);
        let small = |partition| candidate(partition, 0, 10, &[(1, 10)]);
        assert_eq!(add(&uses, &[], &[small(7)], &bounds), none);
        let three = [small(7), small(8), small(9)];
        let together = (vec![1], vec![7, 8, 9]);
        assert_eq!(add(&uses, &[], &three, &bounds), together);
        let late = [overdue(small(7)), small(8)];
        assert_eq!(add(&uses, &[], &late, &bounds), (vec![1], vec![7, 8]));
        // The chunk is taken anyway.
        let taken = (vec![1], vec![7]);
        assert_eq!(add(&uses, &[1], &[small(7)], &bounds), taken);
    }

    #[test]
    fn there_must_be_room_and_a_pass_does_not_grow_without_end() {
        let uses: Vec<_> = (1..=9)
            .map(|chunk| used(chunk, ChunkKind::Sorted, 200))
            .collect();
        let all: Vec<_> = (1..=9)
            .map(|chunk| candidate(u64::from(chunk), 0, 200, &[(chunk, 200)]))
            .collect();
        let bounds = PlanBounds {
            live_max: 500 * MIB,
            ..PlanBounds::default()
        };
        let two = (vec![2, 3], vec![2, 3]);
        assert_eq!(add(&uses, &[], &all[1..], &bounds), two);
        let late: Vec<_> = all.iter().cloned().map(overdue).collect();
        assert_eq!(add(&uses, &[], &late, &bounds), (vec![1, 2], vec![1, 2]));
        let tiny = PlanBounds {
            live_max: 100 * MIB,
            ..bounds
        };
        assert_eq!(add(&uses, &[], &all, &tiny), (vec![1], vec![1]));
        let short = PlanBounds {
            space_left: 100 * MIB,
            ..bounds
        };
        assert_eq!(add(&uses, &[], &all, &short), (vec![], vec![]));
        let full = PlanBounds {
            freeing: true,
            ..PlanBounds::default()
        };
        assert_eq!(add(&uses, &[], &all, &full), (vec![1], vec![1]));
        assert_eq!(add(&uses, &[3], &all, &full), (vec![3], vec![3]));
        let gone = candidate(7, 0, 200, &[(99, 200)]);
        assert_eq!(add(&uses, &[], &[gone], &bounds), (vec![], vec![]));
    }
}
