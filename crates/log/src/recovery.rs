//! Reading the log back after a start: what is whole, what is torn, what is damaged.
//!
//! ```text
//! chunk 3 ........... chunk 4 ................. chunk 7 (the newest)
//! [frames]|previous   [frames]|previous         [frames][frames][frames]XXXXXXX000000
//!         end of 4 says       end of 7 says     ^synced         ^end    ^torn   ^never written
//!         where 3 ends        where 4 ends       `-- the tail --'
//! ```
//!
//! The chunks form a chain from the newest back, each header saying where the one before ends for
//! good. Every frame says which position was synced when it was sealed; the highest of these divides
//! the newest chunk. Below it everything was on disk once, so what is not whole there is *damage*:
//! reported, or the start is refused. Beyond it the last moments before a power cut may have left
//! anything: the frames that are whole are copied to a fresh chunk and synced before anybody hears
//! of them, the rest is put into quarantine. No log chunk is ever changed in place.

use std::sync::Arc;

use crate::chunk::{ChunkHeader, is_temporary};
use crate::disk::Disk;
use crate::entry::EntryHeader;
use crate::fault::{Fault, FaultKind};
use crate::frame::{FLAG_CLEAN, FrameHeader};
use crate::position::{ChunkId, Lsn, Position};

mod chain;
mod relist;
mod repair;
mod scan;
mod tail;
#[cfg(test)]
mod tests;
mod window;

pub use relist::{Relisted, Resealed, relist, reseal};
pub use repair::{Lost, Repair, RepairMode, repair};

use chain::{Chain, LogChunk};
use scan::Scan;

/// Takes in what recovery finds, in the order in which it was written.
pub trait Replay {
    /// An entry that is whole, where it lies, in the frame with this header.
    ///
    /// # Errors
    ///
    /// What makes the start fail; recovery ends with it.
    fn entry(
        &mut self,
        at: Position,
        entry: &EntryHeader,
        payload: &[u8],
        frame: &FrameHeader,
    ) -> Result<(), Fault>;

    /// Offsets whose entry is damaged. They are lost, and must be answered with an error.
    fn damaged(&mut self, range: DamagedRange);

    /// So many of so many bytes of the log are replayed. What is not used of the newest chunk counts
    /// too, so that the last steps may be large.
    fn progressed(&mut self, _bytes: u64, _of: u64) {}
}

/// Offsets of a partition whose bytes are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// The partition; 0 if the damaged entry is a payload stored once for several queues.
    pub partition: u64,
    /// The first offset; of a payload, its id.
    pub base: i64,
    /// The last offset.
    pub last: i64,
    /// Where the damaged entry lies.
    pub at: Position,
}

/// Where recovery begins to replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoverFrom {
    /// The start of a frame, or [`Position::ZERO`] for the first frame there is.
    ///
    /// A position from a checkpoint that a chunk header names is good for this: the header was written
    /// when all before it was synced.
    pub position: Position,
}

/// Bytes that were taken out of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The file in which they were found.
    pub file: String,
    /// From which byte of it on.
    pub from: u64,
    /// How many.
    pub bytes: u64,
    /// Where they are kept.
    pub kept_as: String,
    /// Why they are no part of the log.
    pub why: String,
}

/// What recovery found, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The id for the next chunk, of whatever kind.
    pub next_chunk: ChunkId,
    /// The number for the next frame.
    pub next_lsn: Lsn,
    /// The highest incarnation found; the next start takes the one after it.
    pub incarnation: u32,
    /// The highest running time found, milliseconds.
    pub elapsed_ms: u64,
    /// The wall time of the newest frame or chunk, milliseconds since 1970.
    pub wall_ms: u64,
    /// Where the log ends: `previous_end` of the chunk that every start begins.
    pub end: Position,
    /// The highest position known to be synced before a tail was copied.
    pub synced: Position,
    /// The broker stopped cleanly.
    pub clean: bool,
    /// How many frames were copied to a fresh chunk.
    pub copied: u64,
    /// Frames whose header was damaged and whose entries were used nevertheless.
    pub mended: Vec<Position>,
    /// What was taken out of the log.
    pub quarantined: Vec<Quarantined>,
    /// The newest complete checkpoint that any log chunk names.
    pub checkpoint: ChunkId,
    /// The cluster to which the log belongs; 0 for an empty one.
    pub cluster: u128,
}

/// The newest log chunk, without reading any frame; it names the checkpoint to begin with.
///
/// A chunk that holds no frame yet counts too: its header was written when its checkpoint was
/// complete.
///
/// # Errors
///
/// What the system says.
pub fn newest_chunk(disk: &dyn Disk) -> Result<Option<ChunkHeader>, Fault> {
    let headers = chain::headers(disk)?;
    Ok(headers
        .into_iter()
        .rev()
        .find_map(|found| found.header.ok()))
}

/// Reads the log from `from` on, hands everything to `replay`, and leaves a log that is whole.
///
/// What changes on disk is only this: files that nobody finished are removed, a tail that nobody
/// called synced is copied to a fresh chunk, torn bytes are copied to quarantine, and a newest chunk
/// without frames is written anew, since its header may be the only proof that the chunk before it is
/// synced. A crash at any point leaves a disk on which recovery gives the same result.
///
/// # Errors
///
/// Corrupt, with file, position and object, if state below the synced position is damaged, a chunk is
/// missing, or frame numbers have a gap; whatever `replay` or the system says.
pub fn recover(
    disk: &Arc<dyn Disk>,
    replay: &mut dyn Replay,
    from: RecoverFrom,
) -> Result<Recovered, Fault> {
    remove_unfinished(disk.as_ref())?;
    let chain = Chain::open(disk.as_ref(), from.position)?;
    let mut recovered = Recovered {
        next_chunk: chain.next_chunk,
        next_lsn: Lsn(1),
        ..Recovered::default()
    };
    chain::set_aside(disk.as_ref(), &chain.void, &mut recovered.quarantined)?;
    if let Some((newest, older)) = chain.chunks.split_last() {
        let mut scan = Scan::new(from.position, bytes_to_read(&chain, from.position));
        for chunk in older {
            scan.trusted(chunk, chunk.end, replay)?;
        }
        recover_newest(disk, newest, &mut scan, replay, &mut recovered)?;
        scan.all_read(replay);
        scan.report(&mut recovered);
        recovered.cluster = newest.header.cluster;
    }
    recovered.incarnation = recovered.incarnation.max(chain.incarnation);
    recovered.checkpoint = chain.checkpoint;
    sync_names(disk.as_ref())?;
    Ok(recovered)
}

/// How many bytes of the log lie behind `from`; of the newest chunk all that the file has.
fn bytes_to_read(chain: &Chain, from: Position) -> u64 {
    let newest = chain.chunks.last().map(|chunk| chunk.header.chunk);
    let bytes = chain.chunks.iter().map(|chunk| {
        let last = Some(chunk.header.chunk) == newest;
        let end = if last { chunk.length } else { chunk.end };
        let within = chunk.header.chunk == from.chunk();
        let start = if within { u64::from(from.offset()) } else { 0 };
        end.saturating_sub(start)
    });
    bytes.sum()
}

/// Replays the chunk in which the log ends.
fn recover_newest(
    disk: &Arc<dyn Disk>,
    newest: &LogChunk,
    scan: &mut Scan,
    replay: &mut dyn Replay,
    recovered: &mut Recovered,
) -> Result<(), Fault> {
    if newest.is_whole() {
        // All of it was synced when it got its name. What lies behind its frames is its footer.
        recovered.synced = newest.position(newest.end);
        recovered.end = recovered.synced;
        scan.trusted(newest, newest.end, replay)?;
        recovered.clean = scan.last_flags() & FLAG_CLEAN != 0;
        return Ok(());
    }
    let synced = newest.synced()?;
    recovered.synced = newest.position(synced);
    scan.trusted(newest, synced, replay)?;
    let next = scan.next_lsn().ok_or_else(|| {
        let what = "the frames before it, which must tell the number of the next";
        refused(&newest.name, newest.position(synced), what)
    })?;
    let tail = tail::find(newest, synced, next)?;
    recovered.clean = tail.last_flags.unwrap_or_else(|| scan.last_flags()) & FLAG_CLEAN != 0;
    recovered.end = newest.position(synced);
    let torn = tail::quarantine(disk.as_ref(), newest, tail.end)?;
    if newest.is_bare()? {
        // Bytes for which quarantine had no room are still there alone.
        match &torn {
            Some(torn) if torn.kept_as == newest.name => tail::keep_in_place(newest)?,
            Some(_) | None => tail::settle(disk, newest)?,
        }
    }
    if let Some(torn) = torn {
        recovered.clean = false;
        recovered.quarantined.push(torn);
    }
    if tail.frames.is_empty() {
        return Ok(());
    }
    let copied = tail::copy(disk, newest, synced, &tail, recovered.next_chunk)?;
    recovered.next_chunk = recovered.next_chunk.next();
    recovered.copied = tail.frames.len() as u64;
    recovered.end = copied.position(copied.end);
    scan.trusted(&copied, copied.end, replay)
}

/// Removes files that were being written when the process ended.
fn remove_unfinished(disk: &dyn Disk) -> Result<(), Fault> {
    let failed = |source| Fault::io(FaultKind::Unavailable, "removing unfinished files", source);
    for (name, _) in disk.list().map_err(failed)? {
        if is_temporary(&name) {
            disk.remove(&name).map_err(failed)?;
        }
    }
    Ok(())
}

fn sync_names(disk: &dyn Disk) -> Result<(), Fault> {
    disk.sync_names()
        .map_err(|source| Fault::io(FaultKind::Fatal, "syncing the data directory", source))
}

/// A start that must be refused: what is damaged, and what helps.
fn refused(file: &str, at: Position, what: &str) -> Fault {
    let what =
        format!("{file} is damaged at {at}: {what}; `mulgil repair` shows what would be lost");
    Fault::new(FaultKind::Corrupt, what)
}
