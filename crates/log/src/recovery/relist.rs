//! What a log chunk holds, told by its frames alone: for a start that finds its footer damaged.

use std::collections::BTreeMap;

use super::chain::{self, LogChunk};
use super::refused;
use super::scan::take_apart;
use crate::access::Sparing;
use crate::chunk::{CHUNK_HEADER_BYTES, ChunkFile, ChunkHeader, ChunkKind};
use crate::disk::Disk;
use crate::entry::EntryKind;
use crate::fault::Fault;
use crate::footer::{self, Footer, PAGE_BYTES};
use crate::frame::FRAME_HEADER_BYTES;
use crate::index::{PAYLOADS, TailEntry};
use crate::position::{ChunkId, Position};
use crate::walk::offsets_of;

/// What a footer lists, found again.
#[derive(Debug)]
pub struct Relisted {
    /// Where its last frame ends.
    pub end: Position,
    /// Its batches, by partition; those with a damaged payload too, so that readers are told.
    pub tail: BTreeMap<u64, Vec<TailEntry>>,
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
    let opened = ChunkFile::open(disk, chunk, ChunkKind::Log)?;
    let log = LogChunk {
        header: *opened.header(),
        name: opened.header().name(),
        file: opened.file(),
        length: opened.bytes()?,
        end: 0,
    };
    let mut found = Relisted {
        end: log.position(u64::from(CHUNK_HEADER_BYTES)),
        tail: BTreeMap::new(),
    };
    let end = read_frames(&log, &mut found, max_timestamp)?;
    found.end = log.position(end);
    let next = next_header(disk, chunk)?;
    let ends_here = match next.filter(|next| next.previous_end.chunk() == chunk) {
        Some(next) => next.previous_end == found.end,
        None => footer_follows(&opened, &log, end)?,
    };
    if ends_here {
        return Ok(found);
    }
    Err(refused(&log.name, found.end, "a frame of it"))
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
