//! Which chunks a pass takes.
//!
//! The bounds, and why they hold:
//!
//! - A byte is written to the log once, and to a sorted chunk once. After that it moves only when its
//!   chunk is less than half live, so that each moved byte is paid for by more than one that is freed,
//!   or when its chunk is small, an eighth of a normal pass: such chunks come from passes under short
//!   space, and join to one that is not small. So no byte is written more than about three times.
//! - A chunk that is half live takes at most twice the room that it needs: the store takes at most
//!   twice the live bytes, beside log chunks that wait for the next pass (`total_min` and the one
//!   that is being written).
//! - While a pass runs, its output lies beside its sources. A normal pass needs room for
//!   `live_max`; if there is less, one chunk is taken, for which there must be room: what lives in it,
//!   and a thirty-second of that and 1 MiB for the footer.
//! - On a full disk (`freeing`) only what frees room is worth it, and soon: always one chunk, the one
//!   that frees most. Sorted chunks must give an eighth of themselves beside 1 MiB, so that none is
//!   rewritten again and again for its footer, or for a batch that is wanted in part; a log chunk goes
//!   once anyway, so any room is enough.

use crate::chunk::ChunkKind;
use crate::position::ChunkId;

/// A chunk that may go into a pass: sealed, and below every position that replay needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkUse {
    /// Which chunk.
    pub chunk: ChunkId,
    /// What it holds.
    pub kind: ChunkKind,
    /// Its length.
    pub bytes: u64,
    /// Bytes in it that are still wanted.
    pub live: u64,
}

/// When a pass is worth it, and how large it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanBounds {
    /// A pass begins when chunks of this many bytes wait for one.
    pub total_min: u64,
    /// It takes chunks with up to this many live bytes.
    pub live_max: u64,
    /// Room that its output may take.
    pub space_left: u64,
    /// The disk is full: one chunk at a time, and only for the room that it frees.
    pub freeing: bool,
}

impl Default for PlanBounds {
    fn default() -> Self {
        Self {
            total_min: 2 << 30,
            live_max: 4 << 30,
            space_left: u64::MAX,
            freeing: false,
        }
    }
}

/// What a chunk takes beside its entries, at least: header, one page of index, directory and trailer. A
/// chunk that is little more would be rewritten for ever, each time into one that is as large.
const EMPTY_BYTES: u64 = 3 * 4096;
/// What a sorted chunk may take beside its entries and what grows with them: as [`EMPTY_BYTES`], and what
/// fills up the page before the index.
const AROUND_BYTES: u64 = 4 * 4096;
/// Sorted chunks below this share of `total_min` are joined to others.
const SMALL_SHARE: u64 = 8;
/// So many chunks are joined, however little is in them: compaction that may not wait makes small ones.
const COUNT_MAX: usize = 64;

impl ChunkUse {
    const fn is_waiting(&self, bounds: &PlanBounds) -> bool {
        match self.kind {
            ChunkKind::Log => true,
            ChunkKind::Sorted | ChunkKind::Compacted => {
                self.live + EMPTY_BYTES < self.bytes / 2
                    || self.bytes < bounds.total_min / SMALL_SHARE
            }
            ChunkKind::Checkpoint => false,
        }
    }

    /// Bytes that a pass over it gives back, at least.
    const fn freed(&self) -> u64 {
        let taken = match self.kind {
            // Its footer lists each batch, so that of the sorted chunk is no larger: with 1 MiB for it,
            // nothing would ever be freed of a small chunk.
            ChunkKind::Log => self.live + self.live / 32 + AROUND_BYTES,
            ChunkKind::Sorted | ChunkKind::Compacted | ChunkKind::Checkpoint => room_for(self.live),
        };
        self.bytes.saturating_sub(taken)
    }

    /// Whether what it frees is worth writing the rest anew.
    const fn frees(&self, bounds: &PlanBounds) -> bool {
        let once = bounds.freeing && matches!(self.kind, ChunkKind::Log);
        self.freed() > 0 && (once || self.freed() >= self.bytes / SMALL_SHARE)
    }

    /// Whether a pass over this chunk alone has the room that it needs.
    #[must_use]
    pub const fn fits(&self, bounds: &PlanBounds) -> bool {
        self.live == 0 || room_for(self.live) <= bounds.space_left
    }
}

/// Bytes of a sorted chunk with this many live bytes.
pub(super) const fn room_for(live: u64) -> u64 {
    live.saturating_add(live / 32).saturating_add(1 << 20)
}

/// Chooses the chunks of the next pass, oldest first; none if it is not worth it.
///
/// Chunks in which nothing lives are taken always: they need no room, and free theirs.
#[must_use]
pub fn plan(chunks: &[ChunkUse], bounds: &PlanBounds) -> Vec<ChunkId> {
    let (dead, mut waiting): (Vec<ChunkUse>, Vec<ChunkUse>) = chunks
        .iter()
        .filter(|chunk| chunk.kind != ChunkKind::Checkpoint)
        .partition(|chunk| chunk.live == 0);
    waiting.sort_unstable_by_key(|chunk| chunk.chunk);
    let mut chosen: Vec<_> = dead.iter().map(|chunk| chunk.chunk).collect();
    let several = if bounds.freeing {
        None
    } else {
        normal(&waiting, bounds)
    };
    chosen.extend(several.unwrap_or_else(|| under_short_space(&waiting, bounds)));
    chosen.sort_unstable();
    chosen
}

/// Several chunks at a time. None if there is no room for what would be taken.
fn normal(chunks: &[ChunkUse], bounds: &PlanBounds) -> Option<Vec<ChunkId>> {
    let waiting = || chunks.iter().filter(|chunk| chunk.is_waiting(bounds));
    let total: u64 = waiting().map(|chunk| chunk.bytes).sum();
    if total < bounds.total_min && waiting().count() < COUNT_MAX {
        return Some(Vec::new());
    }
    let mut live = 0;
    let taken = waiting().take_while(|chunk| {
        let first = live == 0;
        live += chunk.live;
        first || live <= bounds.live_max
    });
    let taken: Vec<_> = taken.collect();
    let needed = room_for(taken.iter().map(|chunk| chunk.live).sum());
    (needed <= bounds.space_left).then(|| taken.iter().map(|chunk| chunk.chunk).collect())
}

/// The one chunk that frees most and whose live bytes have room; the oldest of equals.
fn under_short_space(chunks: &[ChunkUse], bounds: &PlanBounds) -> Vec<ChunkId> {
    let fitting = chunks
        .iter()
        .filter(|chunk| chunk.frees(bounds) && chunk.fits(bounds));
    let best = fitting.rev().max_by_key(|chunk| chunk.freed());
    best.map(|chunk| chunk.chunk).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;

    fn chunk(id: u32, kind: ChunkKind, bytes: u64, live: u64) -> ChunkUse {
        ChunkUse {
            chunk: ChunkId(id),
            kind,
            bytes,
            live,
        }
    }

    fn logs(count: u32, live: u64) -> Vec<ChunkUse> {
        (1..=count)
            .map(|id| chunk(id, ChunkKind::Log, 256 * MIB, live))
            .collect()
    }

    fn ids(chunks: &[ChunkId]) -> Vec<u32> {
        chunks.iter().map(|chunk| chunk.0).collect()
    }

    #[test]
    fn a_pass_waits_until_it_is_worth_it_and_takes_the_oldest() {
        let bounds = PlanBounds::default();
        assert!(plan(&logs(7, 256 * MIB), &bounds).is_empty());
        assert_eq!(plan(&logs(8, 256 * MIB), &bounds).len(), 8);
        let taken = plan(&logs(40, 256 * MIB), &bounds);
        assert_eq!(ids(&taken), (1..=16).collect::<Vec<_>>());
    }

    #[test]
    fn many_small_chunks_are_joined() {
        let mut chunks: Vec<_> = (1..=63)
            .map(|id| chunk(id, ChunkKind::Log, MIB, MIB))
            .collect();
        assert!(plan(&chunks, &PlanBounds::default()).is_empty());
        chunks.push(chunk(64, ChunkKind::Compacted, MIB, MIB));
        assert_eq!(plan(&chunks, &PlanBounds::default()).len(), 64);
    }

    #[test]
    fn sorted_chunks_go_along_when_less_than_half_lives_or_they_are_small() {
        let mut chunks = logs(8, 100 * MIB);
        chunks.push(chunk(20, ChunkKind::Sorted, 2 * GIB, GIB - EMPTY_BYTES - 1));
        chunks.push(chunk(21, ChunkKind::Sorted, 2 * GIB, GIB - EMPTY_BYTES));
        chunks.push(chunk(22, ChunkKind::Sorted, 200 * MIB, 190 * MIB));
        chunks.push(chunk(23, ChunkKind::Checkpoint, 200 * MIB, 0));
        let taken = plan(&chunks, &PlanBounds::default());
        assert_eq!(ids(&taken), [1, 2, 3, 4, 5, 6, 7, 8, 20, 22]);
    }

    #[test]
    fn what_is_dead_goes_at_once_and_needs_no_room() {
        let mut chunks = logs(3, 256 * MIB);
        chunks.push(chunk(9, ChunkKind::Sorted, GIB, 0));
        let bounds = PlanBounds {
            space_left: 0,
            ..PlanBounds::default()
        };
        assert_eq!(ids(&plan(&chunks, &bounds)), [9]);
    }

    #[test]
    fn short_space_makes_a_pass_of_one_chunk_that_frees_most() {
        let mut chunks = logs(20, 250 * MIB);
        let bounds = PlanBounds {
            space_left: 300 * MIB,
            ..PlanBounds::default()
        };
        assert!(plan(&chunks, &bounds).is_empty(), "nothing frees enough");
        chunks[4].live = 100 * MIB;
        chunks[7].live = 50 * MIB;
        chunks.push(chunk(30, ChunkKind::Sorted, 2 * GIB, 900 * MIB));
        assert_eq!(ids(&plan(&chunks, &bounds)), [8]);
        let less = PlanBounds {
            space_left: 10 * MIB,
            ..bounds
        };
        assert!(plan(&chunks, &less).is_empty());
    }

    #[test]
    fn a_full_disk_makes_passes_of_one_chunk_as_long_as_they_free_something() {
        let bounds = PlanBounds {
            space_left: 600 * MIB,
            freeing: true,
            ..PlanBounds::default()
        };
        let mut chunks = logs(20, 250 * MIB);
        assert!(plan(&chunks, &bounds).is_empty(), "nothing frees anything");
        chunks[3].live = 230 * MIB;
        chunks[9].live = 200 * MIB;
        chunks.push(chunk(30, ChunkKind::Sorted, 256 * MIB, 230 * MIB));
        chunks.push(chunk(31, ChunkKind::Sorted, 3 * GIB, GIB));
        chunks.push(chunk(32, ChunkKind::Compacted, 200 * MIB, 0));
        // What is dead goes along; the largest has no room.
        for expected in [vec![10, 32], vec![4], vec![]] {
            let taken = plan(&chunks, &bounds);
            assert_eq!(ids(&taken), expected);
            chunks.retain(|chunk| !taken.contains(&chunk.chunk));
        }
        let roomy = PlanBounds {
            space_left: 2 * GIB,
            ..bounds
        };
        assert_eq!(ids(&plan(&chunks, &roomy)), [31]);
    }

    /// Chunks of a broker that was told to make them small, or that ended early.
    #[test]
    fn a_full_disk_gets_back_what_is_dead_in_small_log_chunks() {
        const KIB: u64 = 1 << 10;
        let bounds = PlanBounds {
            space_left: 20 * MIB,
            freeing: true,
            ..PlanBounds::default()
        };
        let log = |id, live| chunk(id, ChunkKind::Log, 1_000 * KIB, live);
        let all_lives = [log(1, 990 * KIB), log(2, 960 * KIB)];
        assert!(plan(&all_lives, &bounds).is_empty());
        let chunks = [log(1, 990 * KIB), log(2, 900 * KIB), log(3, 100 * KIB)];
        assert_eq!(ids(&plan(&chunks, &bounds)), [3]);
        assert_eq!(ids(&plan(&chunks[..2], &bounds)), [2]);
        // Of one that was regrouped, the rest may be a batch that is wanted in part: it would never end.
        let sorted = chunk(4, ChunkKind::Sorted, 1_000 * KIB, 100 * KIB);
        assert!(plan(&[sorted], &bounds).is_empty());
    }

    #[test]
    fn a_chunk_fits_if_what_lives_in_it_does() {
        let bounds = PlanBounds {
            space_left: 34 * MIB,
            ..PlanBounds::default()
        };
        let fits = |live| chunk(1, ChunkKind::Log, 256 * MIB, live).fits(&bounds);
        assert!(fits(0) && fits(32 * MIB) && !fits(33 * MIB));
        let none = PlanBounds {
            space_left: 0,
            ..bounds
        };
        assert!(chunk(1, ChunkKind::Log, 256 * MIB, 0).fits(&none));
    }

    #[test]
    fn passes_come_to_an_end() {
        let mut chunks = logs(100, 200 * MIB);
        let bounds = PlanBounds::default();
        for pass in 0.. {
            assert!(pass < 20, "{chunks:?}");
            let taken = plan(&chunks, &bounds);
            if taken.is_empty() {
                break;
            }
            let (gone, mut stay): (Vec<_>, Vec<_>) =
                chunks.into_iter().partition(|c| taken.contains(&c.chunk));
            let live = gone.iter().map(|chunk| chunk.live).sum();
            stay.push(chunk(200 + pass, ChunkKind::Sorted, room_for(live), live));
            chunks = stay;
        }
        let logs_left = chunks.iter().filter(|c| c.kind == ChunkKind::Log).count();
        assert!(logs_left < 8);
    }
}
