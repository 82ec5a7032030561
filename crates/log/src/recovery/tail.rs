//! The end of the newest chunk, which nobody called synced: what is whole is copied, the rest kept
//! apart.

use std::sync::Arc;

use super::Quarantined;
use super::chain::LogChunk;
use super::scan::{Piece, take_apart};
use super::window::Window;
use crate::chunk::{ChunkHeader, ChunkKind, ChunkWriter, write_failed};
use crate::disk::{Disk, DiskFile, QUARANTINE};
use crate::entry::EntryError;
use crate::fault::{Fault, FaultKind};
use crate::frame::{FLAG_MARK, FRAME_HEADER_BYTES, FrameError, FrameHeader, restamp};
use crate::position::{ChunkId, Lsn, Position};

/// Bytes copied to quarantine at once.
const COPY: usize = 1 << 20;

/// Whole frames that nobody called synced.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) frames: Vec<FrameHeader>,
    /// Where the first byte lies that is in no whole frame.
    pub(super) end: u64,
    /// The flags of the last whole frame, if there is one.
    pub(super) last_flags: Option<u8>,
}

/// Finds the whole frames of the newest chunk from `synced` on.
///
/// Marks at the end are left out: they hold nothing, and were only written to be believed.
pub(super) fn find(chunk: &LogChunk, synced: u64, next_lsn: Lsn) -> Result<Tail, Fault> {
    let mut window = chunk.window();
    let mut pieces = Vec::new();
    let mut next = next_lsn;
    let mut tail = Tail {
        end: synced,
        ..Tail::default()
    };
    while let Some(frame) = whole_frame(chunk, &mut window, tail.end, next, &mut pieces)? {
        tail.end += FRAME_HEADER_BYTES as u64 + u64::from(frame.length);
        next = frame.lsn.next();
        tail.last_flags = Some(frame.flags);
        tail.frames.push(frame);
    }
    while tail
        .frames
        .pop_if(|frame| frame.flags & FLAG_MARK != 0)
        .is_some()
    {}
    Ok(tail)
}

/// The frame at `at`, if it and everything in it is whole.
fn whole_frame(
    chunk: &LogChunk,
    window: &mut Window<'_>,
    at: u64,
    lsn: Lsn,
    pieces: &mut Vec<Piece>,
) -> Result<Option<FrameHeader>, Fault> {
    let newer = |what: String| Fault::new(FaultKind::Corrupt, format!("{}: {what}", chunk.name));
    let bytes = window.get(at, FRAME_HEADER_BYTES)?;
    let read = FrameHeader::read(bytes, chunk.position(at), chunk.header.salt);
    if let Err(FrameError::UnknownVersion(version)) = read {
        let what = format!("frame version {version} is newer than this program");
        return Err(newer(what));
    }
    let Some(frame) = chunk.frame_at(window, at)?.filter(|frame| frame.lsn == lsn) else {
        return Ok(None);
    };
    let body_at = at + FRAME_HEADER_BYTES as u64;
    let body = window.get(body_at, frame.length as usize)?;
    match take_apart(body, body_at, pieces) {
        Err((_, EntryError::UnknownKind(kind))) => {
            return Err(newer(format!(
                "entry kind {kind} is newer than this program"
            )));
        }
        Err(_) => return Ok(None),
        Ok(()) => {}
    }
    let whole = body.len() == frame.length as usize
        && pieces.len() == frame.entries as usize
        && pieces.iter().all(|piece| piece.whole);
    Ok(whole.then_some(frame))
}

/// Copies what lies behind the last whole frame out of the log, if it is more than zeroes.
pub(super) fn quarantine(
    disk: &dyn Disk,
    chunk: &LogChunk,
    from: u64,
) -> Result<Option<Quarantined>, Fault> {
    let end = chunk.window().end_of_bytes(from)?;
    if end == from {
        return Ok(None);
    }
    let kept_as = format!("{QUARANTINE}{}-{from}.bin", chunk.header.chunk);
    let mut report = Quarantined {
        file: chunk.name.clone(),
        from,
        bytes: end - from,
        kept_as,
        why: "a torn tail: written and never synced".to_owned(),
    };
    match keep(disk, chunk, from, end, &report.kept_as) {
        Ok(()) => {}
        // The bytes stay in the chunk, where nobody looks for them any more. A full disk must not
        // refuse a start: it is by starting that it gets free.
        Err(fault) if fault.kind == FaultKind::Exhausted => {
            drop(disk.remove(&report.kept_as));
            report.kept_as.clone_from(&chunk.name);
        }
        Err(fault) => return Err(fault),
    }
    Ok(Some(report))
}

/// Copies the bytes from `from` to `end` of `chunk` into a file of their own.
pub(super) fn keep(
    disk: &dyn Disk,
    chunk: &LogChunk,
    from: u64,
    end: u64,
    kept_as: &str,
) -> Result<(), Fault> {
    let failed = |source| write_failed(kept_as, source);
    // One of an earlier start that did not come to its end.
    if let Err(error) = disk.remove(kept_as)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    let file = disk.create(kept_as).map_err(failed)?;
    copy_bytes(chunk, from, end, file.as_ref())?;
    file.sync().map_err(failed)?;
    disk.sync_names().map_err(failed)
}

/// Copies the bytes from `from` to `end` of `chunk` to the start of `into`.
pub(super) fn copy_bytes(
    chunk: &LogChunk,
    from: u64,
    end: u64,
    into: &dyn DiskFile,
) -> Result<(), Fault> {
    // Who copies has looked at what is there, or replaces it.
    copy_through(&mut chunk.synced_window(), (from, end), into)
}

/// As [`copy_bytes`], as `window` reads them.
pub(super) fn copy_through(
    window: &mut Window<'_>,
    (from, end): (u64, u64),
    into: &dyn DiskFile,
) -> Result<(), Fault> {
    let mut at = from;
    while at < end {
        let bytes = usize::try_from(end - at).map_or(COPY, |left| left.min(COPY));
        let copied = window.get(at, bytes)?;
        if copied.is_empty() {
            break;
        }
        into.write_at(copied, at - from)
            .map_err(|source| write_failed("a copy", source))?;
        at += copied.len() as u64;
    }
    Ok(())
}

/// Writes a chunk that is a header and nothing else anew, synced, in its own place.
///
/// What its header says of the chunk before is true, but the header may be in the page cache alone,
/// and after a failed sync nobody can tell. Under its old name it is either the one or the other at
/// any time, and both say the same. Without room for that it stays, and is synced as it is.
pub(super) fn settle(disk: &Arc<dyn Disk>, chunk: &LogChunk) -> Result<(), Fault> {
    let written = ChunkWriter::create(Arc::clone(disk), chunk.header).and_then(ChunkWriter::finish);
    match written {
        Ok(_) => Ok(()),
        Err(fault) if fault.kind == FaultKind::Exhausted => keep_in_place(chunk),
        Err(fault) => Err(fault),
    }
}

/// Makes what is in a chunk durable without another copy; its name is synced by who calls.
pub(super) fn keep_in_place(chunk: &LogChunk) -> Result<(), Fault> {
    chunk
        .file
        .sync()
        .map_err(|source| Fault::io(FaultKind::Fatal, format!("syncing {}", chunk.name), source))
}

/// Copies the tail into a chunk of its own, which is synced when it gets its name.
pub(super) fn copy(
    disk: &Arc<dyn Disk>,
    chunk: &LogChunk,
    synced: u64,
    tail: &Tail,
    into: ChunkId,
) -> Result<LogChunk, Fault> {
    let first = tail.frames.first();
    let header = ChunkHeader {
        chunk: into,
        kind: ChunkKind::Log,
        previous_end: chunk.position(synced),
        first_lsn: first.map_or(chunk.header.first_lsn, |frame| frame.lsn),
        elapsed_ms: first.map_or(0, |frame| frame.elapsed_ms),
        wall_ms: first.map_or(0, |frame| frame.wall_ms),
        synced: Position::ZERO,
        ..chunk.header
    };
    let mut writer = ChunkWriter::create(Arc::clone(disk), header)?;
    let mut window = chunk.window();
    for frame in &tail.frames {
        let length = FRAME_HEADER_BYTES + frame.length as usize;
        let bytes = window.get(u64::from(frame.position.offset()), length)?;
        let mut bytes = bytes.to_vec();
        let to = writer.position();
        restamp(&mut bytes, to, to, header.salt).map_err(|error| {
            let what = format!("{error} in {} while its tail was copied", chunk.name);
            Fault::new(FaultKind::Corrupt, what)
        })?;
        writer.append(&bytes)?;
    }
    let end = u64::from(writer.position().offset());
    let copied = writer.finish()?;
    Ok(LogChunk {
        header: *copied.header(),
        name: header.name(),
        file: copied.file(),
        length: end,
        end,
    })
}
