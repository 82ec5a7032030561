//! Regrouping: what still lives in old chunks is rewritten, sorted by partition and offset.
//!
//! ```text
//! log chunk 3   a1 b1 a2 c1 b2 ..  \
//! log chunk 4   c2 a3 b3 a4 c3 ..   >--> sorted chunk 9   a1 a2 a3 a4 .. | b1 b2 b3 .. | c1 c2 c3 ..
//! sorted 5      a0 | b0             /
//! ```
//!
//! A pass reads no byte that nobody wants, and writes each that lives once. Extents of one partition
//! never overlap, so merging is putting them one behind the other in the order of their first offsets.
//!
//! Reading is the hard part: in partition order, the batches of ten thousand partitions lie at random
//! places of the log chunks. A temporary sorted copy would write everything twice. Instead a pass
//! works in *loads*: as many of the wanted blocks as fit into `memory_bytes`, in partition order, are
//! listed from the footers; then each source is read once from front to back for the blocks of this
//! load, skipping gaps that are longer than a new read costs; the load is checked, judged and
//! written. So with live bytes L and memory M, sources are read at most about L / M times over when
//! batches are small, and once when they are large or M suffices: 4 GiB with 256 MiB cost at worst 16
//! sequential reads and exactly one write. Reads of files that were just written often cost no disk at
//! all; writes are what wears disks and slows the syncs beside them.
//!
//! Memory is `memory_bytes`, 1 MiB for output, 24 bytes a block of 32 KiB and some 130 bytes for each
//! extent that is written.
//!
//! Entries keep their payload and its checksum, which therefore covers a batch from the lane to its
//! reader, however often it moves; the header is stamped for the new place. A batch that is damaged
//! in its source is not copied. Its offsets become a damage record in the new footer, so that who
//! reads them gets an error for ever, and who reads others never does.

use crate::access::{AppendTo, ReadAt, corrupt};
use crate::chunk::{ChunkKind, ChunkWriter};
use crate::chunkset::{ChunkInfo, ChunkSetChange};
use crate::entry::EntryHeader;
use crate::fault::Fault;
use crate::footer::Footer;
use crate::index::Extent;
use crate::position::ChunkId;
use crate::recovery::DamagedRange;

mod candidates;
mod load;
mod output;
mod plan;
mod scan;
#[cfg(test)]
mod tests;
mod units;

pub use candidates::{Candidate, add_compaction};
use load::Load;
use output::Outputs;
pub use plan::{ChunkUse, PlanBounds, plan};
pub use scan::{Visit, scan};
use units::{Counted, Unit, Units};

/// What is to be done with offsets of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// They stay as they are.
    All,
    /// Nobody wants them any more: below the log start, of a deleted partition, settled by all.
    None,
    /// Some of them go. Of a range of batches: ask for each. Of one batch: [`Live::rewrite`] it.
    Rewrite,
}

/// What becomes of a batch of which not all records live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewritten {
    /// It stays as it is.
    AsIs,
    /// No record of it lives.
    Gone,
    /// This payload stands for it, with the same offsets.
    Payload(Vec<u8>),
}

/// Which of the chunks that a pass writes an entry goes to. What is compacted lies apart, so that
/// compacting it again moves nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// With what was compacted: a chunk of kind [`ChunkKind::Compacted`].
    Clean,
    /// With what is still to be compacted.
    Keyed,
    /// With everything else.
    Plain,
}

impl Shelf {
    const ALL: [Self; 3] = [Self::Clean, Self::Keyed, Self::Plain];

    const fn kind(self) -> ChunkKind {
        match self {
            Self::Clean => ChunkKind::Compacted,
            Self::Keyed | Self::Plain => ChunkKind::Sorted,
        }
    }
}

/// Judges what lives. Answers must not change for the worse while a pass runs: what was dropped once
/// is gone.
pub trait Live {
    /// What is to be done with the batches of `partition` between two offsets, both included.
    fn live(&self, partition: u64, base: i64, last: i64) -> Keep;

    /// The largest timestamp in a batch.
    fn max_timestamp(&self, header: &EntryHeader, payload: &[u8]) -> i64;

    /// What becomes of a batch of which not all records live.
    fn rewrite(&self, header: &EntryHeader, payload: &[u8]) -> Rewritten {
        let (_, _) = (header, payload);
        Rewritten::AsIs
    }

    /// Where an entry goes that was not compacted before.
    fn shelf(&self, partition: u64, base: i64) -> Shelf {
        let (_, _) = (partition, base);
        Shelf::Plain
    }

    /// Called after every mebibyte or so with what was read and written: to slow a pass down, or to
    /// end it.
    ///
    /// # Errors
    ///
    /// Whatever is to end the pass.
    fn pace(&self, bytes: u64) -> Result<(), Fault> {
        let _ = bytes;
        Ok(())
    }
}

/// A chunk that is being written and gets its name when it is whole.
pub trait Output: AppendTo {
    /// Makes the chunk durable.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn finish(self: Box<Self>) -> Result<(), Fault>;
}

impl Output for ChunkWriter {
    fn finish(self: Box<Self>) -> Result<(), Fault> {
        Self::finish(*self).map(drop)
    }
}

/// Begins an output chunk of a kind.
pub type Create<'a> = dyn FnMut(ChunkKind) -> Result<Box<dyn Output + 'a>, Fault> + 'a;

/// A chunk that goes into a pass.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Its bytes.
    pub file: &'a dyn ReadAt,
    /// Its footer.
    pub footer: Footer,
}

impl core::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Source").field(&self.footer).finish()
    }
}

/// How a pass works; the defaults are for production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegroupOptions {
    /// Bytes of batches that are in memory at once.
    pub memory_bytes: usize,
    /// Bytes of an output chunk, about. A chunk ends below 4 GiB.
    pub chunk_bytes: u64,
}

impl Default for RegroupOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            chunk_bytes: 3 << 30,
        }
    }
}

/// What a pass did. Nothing of it counts before the change of the chunk set is synced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regrouped {
    /// Chunks that may go when the change is synced and their last reader is gone.
    pub removed: Vec<ChunkId>,
    /// Chunks that were written.
    pub chunks: Vec<ChunkInfo>,
    /// What the index is to know of them, by partition and offset.
    pub added: Vec<(u64, Extent)>,
    /// Offsets that were found to be damaged, or were known to be and still are in reach.
    pub damaged: Vec<DamagedRange>,
    /// The chunk whose footer says so.
    pub damaged_in: Option<ChunkId>,
    /// Bytes read, footers included.
    pub bytes_read: u64,
    /// Bytes written, footers included.
    pub bytes_written: u64,
    /// Bytes of entries that were not copied.
    pub dropped: u64,
}

impl Regrouped {
    /// The change of the chunk set that commits the pass.
    #[must_use]
    pub fn change(&self) -> ChunkSetChange {
        ChunkSetChange {
            added: self.chunks.clone(),
            removed: self.removed.clone(),
        }
    }
}

/// Rewrites what lives in `sources` into new chunks.
///
/// Sources are sealed chunks that no replay needs any more: of log chunks only batches, references
/// and payloads are taken, for all else is in checkpoints. `boundaries` is what
/// [`crate::index::Index::boundaries`] says of the sources. `create` begins an output chunk, and is
/// called as often as chunks fill; none is written if nothing lives.
///
/// # Errors
///
/// Corrupt if a footer is damaged or two sources hold the same offsets, or an entry is of a newer
/// version; whatever `live`, `create` or the system says. Chunks that were finished before are of no
/// use then; whoever began them deletes them.
pub fn regroup<'a>(
    sources: &[Source<'a>],
    boundaries: &[(u64, i64)],
    live: &dyn Live,
    options: &RegroupOptions,
    create: &mut Create<'a>,
) -> Result<Regrouped, Fault> {
    let counted: Vec<_> = sources
        .iter()
        .map(|source| Counted::new(source.file))
        .collect();
    let counted: Vec<_> = counted
        .iter()
        .zip(sources)
        .map(|(file, source)| (file, source.footer))
        .collect();
    let mut pass = Pass {
        live,
        dropped: 0,
        load: Load::new(options.memory_bytes),
        outputs: Outputs::new(create, options.chunk_bytes, boundaries),
    };
    for (file, footer) in &counted {
        for range in footer.damaged_ranges(*file)? {
            pass.outputs.damage(live, range);
        }
    }
    let mut units = Units::new(&counted);
    while let Some(unit) = units.next_unit()? {
        pass.take(&unit, &mut units)?;
    }
    pass.flush(&units)?;
    let mut done = pass.outputs.finish()?;
    done.dropped = pass.dropped;
    done.removed = sources.iter().map(|source| source.footer.chunk).collect();
    done.bytes_read = counted.iter().map(|(file, _)| file.read_bytes()).sum();
    Ok(done)
}

/// A pass that is under way.
struct Pass<'l, 'c, 'a> {
    live: &'l dyn Live,
    dropped: u64,
    load: Load,
    outputs: Outputs<'c, 'a>,
}

impl Pass<'_, '_, '_> {
    /// Lists what is wanted of a unit, and carries out loads as they fill.
    fn take(&mut self, unit: &Unit, units: &mut Units<'_>) -> Result<(), Fault> {
        let record = unit.record;
        let whole = self.live.live(record.partition, record.first, record.last);
        if whole == Keep::None {
            self.dropped += record.bytes;
            return Ok(());
        }
        for number in 0..record.index_count {
            let Some((block, limit)) = units.block(unit, number)? else {
                break;
            };
            let keep = match whole {
                Keep::Rewrite => self.live.live(record.partition, block.base, limit - 1),
                Keep::All | Keep::None => whole,
            };
            if keep == Keep::None {
                self.dropped += u64::from(block.bytes);
                continue;
            }
            if !self.load.has_room(&block) {
                self.flush(units)?;
            }
            self.load.want(unit, block, limit, keep);
        }
        Ok(())
    }

    fn flush(&mut self, units: &Units<'_>) -> Result<(), Fault> {
        self.load.read(units, &|bytes| self.live.pace(bytes))?;
        self.dropped += self.load.write(self.live, &mut self.outputs)?;
        Ok(())
    }
}

fn overlap(one: ChunkId, other: ChunkId, partition: u64) -> Fault {
    let what = format!("holds offsets of partition {partition} that chunk {one} holds, too");
    corrupt(other, what)
}
