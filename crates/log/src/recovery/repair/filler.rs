//! Bytes that say nothing, of any length, in the place of bytes that can't be read.

use super::{
    ENTRY_HEADER_BYTES, EntryHeader, EntryKind, FRAME_HEADER_BYTES, Fault, FaultKind, FrameHeader,
    HEAD, LogChunk, Lsn, crc32c, piece_at,
};

/// How far it is from the start of `rest`, which is no entry, to the next one that is; or to the end.
pub(super) fn next_entry(rest: &[u8], place: u64) -> usize {
    let mut at = ENTRY_HEADER_BYTES;
    while let Some(here) = rest.get(at..).filter(|here| !here.is_empty()) {
        let place = u32::try_from(place + at as u64).unwrap_or(u32::MAX);
        if piece_at(here, place, 0).is_ok() {
            break;
        }
        at += 8;
    }
    at.min(rest.len())
}

/// Whether no entry begins anywhere in `body`.
pub(super) fn no_entry_at_all(body: &[u8], place: u64) -> bool {
    let first = u32::try_from(place).unwrap_or(u32::MAX);
    piece_at(body, first, 0).is_err() && next_entry(body, place) == body.len()
}

/// Puts one synced mark that fills `bytes` bytes at `from` of `body`; it will lie at `place`.
pub(super) fn put_entry(body: &mut [u8], from: usize, bytes: usize, place: u64) {
    let Some(room) = body.get_mut(from..from + bytes) else {
        return;
    };
    room.fill(0);
    let Some((head, payload)) = room.split_first_chunk_mut::<ENTRY_HEADER_BYTES>() else {
        return;
    };
    let header = EntryHeader {
        kind: EntryKind::SyncedMark,
        version: 1,
        flags: 0,
        length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        object: 0,
        base: 0,
        count: 0,
    };
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    *head = header.encode(place, crc32c(&[payload]));
}

/// Frames number `next` to before `until` that fill the bytes from `at` to `upto` of `chunk`.
pub(super) fn frames(
    chunk: &LogChunk,
    at: u64,
    upto: u64,
    next: Lsn,
    until: Lsn,
) -> Result<Vec<u8>, Fault> {
    let count = until.0.saturating_sub(next.0);
    let room = upto - at;
    let body = room.saturating_sub(count.saturating_mul(HEAD));
    let fits = count > 0 && count.saturating_mul(HEAD) <= room;
    let fits = fits && (body == 0 || body >= ENTRY_HEADER_BYTES as u64) && body.is_multiple_of(8);
    if !fits {
        let what = format!(
            "{}: {count} lost frames do not fit in the {room} bytes at {}",
            chunk.name,
            chunk.position(at)
        );
        return Err(Fault::new(FaultKind::Corrupt, what));
    }
    let mut bytes = Vec::new();
    for lsn in next.0..until.0 {
        let last = lsn + 1 == until.0;
        let place = at + bytes.len() as u64;
        let length = if last { body } else { 0 };
        let header = FrameHeader {
            flags: 0,
            length: u32::try_from(length).unwrap_or(u32::MAX),
            entries: u32::from(length > 0),
            lsn: Lsn(lsn),
            position: chunk.position(place),
            synced: chunk.header.first_position(),
            elapsed_ms: chunk.header.elapsed_ms,
            wall_ms: chunk.header.wall_ms,
            incarnation: chunk.header.incarnation,
            salt: chunk.header.salt,
        };
        bytes.extend_from_slice(&header.encode());
    }
    let from = bytes.len();
    bytes.resize(from + usize::try_from(body).unwrap_or(0), 0);
    if body > 0 {
        let filled = bytes.len() - from;
        put_entry(&mut bytes, from, filled, at + from as u64);
    }
    debug_assert_eq!(bytes.len() % FRAME_HEADER_BYTES % 8, 0);
    Ok(bytes)
}
