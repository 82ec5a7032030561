//! What a log chunk holds, told by its frames alone: for a start that finds its footer damaged.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chain::{self, LogChunk};
use super::scan::take_apart;
use super::{DamagedRange, refused, sync_names, tail};
use crate::access::{AppendTo, Sparing};
use crate::chunk::{
    CHUNK_HEADER_BYTES, ChunkFile, ChunkHeader, ChunkKind, temporary_name, write_failed,
};
use crate::disk::Disk;
use crate::entry::EntryKind;
use crate::fault::{Fault, FaultKind};
use crate::footer::{self, Footer, PAGE_BYTES, Sealed};
use crate::frame::FRAME_HEADER_BYTES;
use crate::index::{PAYLOADS, TailEntry};
use crate::position::{ChunkId, Position};
use crate::seal::{seal_log_chunk, write_log_footer};
use crate::walk::offsets_of;

/// What a footer lists, found again.
#[derive(Debug)]
pub struct Relisted {
    /// Where its last frame ends.
    pub end: Position,
    /// Its batches, by partition; those with a damaged payload too, so that readers are told.
    pub tail: BTreeMap<u64, Vec<TailEntry>>,
}

/// What the new footer of a chunk lists.
#[derive(Debug)]
pub struct Resealed {
    /// The footer, and what memory keeps of it.
    pub sealed: Sealed,
    /// Why the chunk still has its old one.
    pub unwritten: Option<Fault>,
}

/// Goes through the frames of a log chunk that has got its last one. `max_timestamp` says the largest
/// timestamp of a payload.
///
/// No other chunk is read, and nothing is guessed: all frames follow one another with rising numbers,
/// and it is certain where the last one ends. The next chunk says so, if it is still there; else the
/// footer must begin right behind it.
///
/// # Errors
///
/// Corrupt if its frames are not whole, or more may have followed; otherwise what the system says.
pub fn relist(
    disk: &dyn Disk,
    chunk: ChunkId,
    max_timestamp: &dyn Fn(&[u8]) -> i64,
) -> Result<Relisted, Fault> {
    let log = opened(disk, chunk)?;
    let file = ChunkFile::new(log.header, Arc::clone(&log.file));
    let mut found = Relisted {
        end: log.position(u64::from(CHUNK_HEADER_BYTES)),
        tail: BTreeMap::new(),
    };
    let end = read_frames(&log, &mut found, max_timestamp)?;
    found.end = log.position(end);
    let next = next_header(disk, chunk)?;
    let ends_here = match next.filter(|next| next.previous_end.chunk() == chunk) {
        Some(next) => next.previous_end == found.end,
        None => footer_follows(&file, &log, end)?,
    };
    if ends_here {
        return Ok(found);
    }
    Err(refused(&log.name, found.end, "a frame of it"))
}

/// Puts a new footer to a log chunk whose own is damaged, from nothing but its frames.
///
/// The chunk is written anew beside itself, and the old file, whose footer may be all that says where the
/// frames end, stays until the new one is whole and synced. Without room for that, or if a sector of it
/// can't be read now, it stays as it is: what the footer would list is told all the same, and readers
/// find the entries themselves.
///
/// # Errors
///
/// As [`relist`], and what the system says of writing.
pub fn reseal(
    disk: &dyn Disk,
    chunk: ChunkId,
    max_timestamp: &dyn Fn(&[u8]) -> i64,
    damaged: &[DamagedRange],
) -> Result<Resealed, Fault> {
    let relisted = relist(disk, chunk, max_timestamp)?;
    match write_anew(disk, chunk, &relisted, damaged) {
        Ok(sealed) => Ok(Resealed {
            sealed,
            unwritten: None,
        }),
        Err(fault) if matches!(fault.kind, FaultKind::Exhausted | FaultKind::Unavailable) => {
            let mut nowhere = Nowhere(relisted.end);
            Ok(Resealed {
                sealed: write_log_footer(&mut nowhere, relisted.tail, damaged)?,
                unwritten: Some(fault),
            })
        }
        Err(fault) => Err(fault),
    }
}

/// Writes the chunk under another name, with its new footer, and then puts it in its place.
fn write_anew(
    disk: &dyn Disk,
    chunk: ChunkId,
    relisted: &Relisted,
    damaged: &[DamagedRange],
) -> Result<Sealed, Fault> {
    let log = opened(disk, chunk)?;
    let temporary = temporary_name(chunk, ChunkKind::Log);
    let failed = |source| write_failed(&temporary, source);
    // One of an earlier start that did not come to its end.
    match disk.remove(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let file = disk.create(&temporary).map_err(failed)?;
    let mut plainly = log.window();
    let end = u64::from(relisted.end.offset());
    let written = tail::copy_through(&mut plainly, (0, end), file.as_ref())
        .and_then(|()| {
            let anew = ChunkFile::new(log.header, file);
            let tail = relisted.tail.iter();
            let tail = tail.map(|(partition, entries)| (*partition, entries.clone()));
            seal_log_chunk(&anew, relisted.end, tail, damaged)
        })
        .and_then(|sealed| {
            disk.rename(&temporary, &log.name).map_err(failed)?;
            sync_names(disk)?;
            Ok(sealed)
        });
    if written.is_err() {
        // What can't be removed now is removed by recovery.
        drop(disk.remove(&temporary));
    }
    written
}

/// Keeps nothing but where it would be.
struct Nowhere(Position);

impl AppendTo for Nowhere {
    fn position(&self) -> Position {
        self.0
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Position, Fault> {
        let at = self.0;
        self.0 = at.plus(bytes.len());
        Ok(at)
    }
}

/// A log chunk, of which nothing but its header is known.
fn opened(disk: &dyn Disk, chunk: ChunkId) -> Result<LogChunk, Fault> {
    let opened = ChunkFile::open(disk, chunk, ChunkKind::Log)?;
    Ok(LogChunk {
        header: *opened.header(),
        name: opened.header().name(),
        file: opened.file(),
        length: opened.bytes()?,
        end: 0,
    })
}

/// Takes in all frames from the first on; says where they end.
fn read_frames(
    log: &LogChunk,
    found: &mut Relisted,
    max_timestamp: &dyn Fn(&[u8]) -> i64,
) -> Result<u64, Fault> {
    let mut window = log.synced_window();
    let mut pieces = Vec::new();
    let mut at = u64::from(CHUNK_HEADER_BYTES);
    let mut lsn = log.header.first_lsn;
    while let Some(frame) = log.frame_at(&mut window, at)? {
        let body_at = at + FRAME_HEADER_BYTES as u64;
        let body = window.get(body_at, frame.length as usize)?;
        let whole = take_apart(body, body_at, &mut pieces).is_ok()
            && body.len() == frame.length as usize
            && pieces.len() == frame.entries as usize;
        if !whole || frame.lsn != lsn {
            return Err(refused(&log.name, log.position(at), "a frame of it"));
        }
        for piece in &pieces {
            let Some((base, last)) = offsets_of(&piece.header) else {
                continue;
            };
            let payloads = piece.header.kind == EntryKind::Payload;
            let partition = if payloads {
                PAYLOADS
            } else {
                piece.header.object
            };
            let at = log.position(body_at + piece.start() as u64);
            let payload = body.get(piece.payload.clone()).unwrap_or_default();
            found.tail.entry(partition).or_default().push(TailEntry {
                base,
                last,
                at,
                length: piece.header.length,
                max_timestamp: if piece.whole {
                    max_timestamp(payload)
                } else {
                    -1
                },
            });
        }
        lsn = lsn.next();
        at = body_at + u64::from(frame.length);
    }
    Ok(at)
}

/// The header of the log chunk behind `chunk`.
fn next_header(disk: &dyn Disk, chunk: ChunkId) -> Result<Option<ChunkHeader>, Fault> {
    let mut behind = chain::headers(disk)?.into_iter();
    let next = behind.find(|found| found.chunk > chunk);
    Ok(next.and_then(|found| found.header.ok()))
}

/// Whether the footer begins where frames that end at `end` leave off: nothing can lie between.
fn footer_follows(file: &ChunkFile, log: &LogChunk, end: u64) -> Result<bool, Fault> {
    let at = end.next_multiple_of(PAGE_BYTES as u64);
    let mut window = log.synced_window();
    let between = usize::try_from(at - end).unwrap_or(PAGE_BYTES);
    if window.get(end, between)?.iter().any(|byte| *byte != 0) {
        return Ok(false);
    }
    if let Ok(footer) = Footer::open(&Sparing(file)) {
        return Ok(footer.at == at);
    }
    let page = window.get(at, PAGE_BYTES)?;
    Ok(footer::is_first_page(page, log.header.chunk))
}
