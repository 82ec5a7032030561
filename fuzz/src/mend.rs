//! Puts right checksums into wrong bytes.
//!
//! No fuzzer guesses a CRC-32C. Targets of formats with checksums so have a first byte that says
//! whether checksums, places and magic numbers are put right before the parser sees the bytes, which
//! is what lets the lies in all other fields through to it.

use mulgil_log::chunk::CHUNK_MAGIC;
use mulgil_log::entry::{ENTRY_HEADER_BYTES, entry_bytes};
use mulgil_log::footer::{
    DAMAGE_BYTES, FOOTER_MAGIC, FOOTER_VERSION, PAGE_BYTES, SLOT_BYTES, TRAILER_BYTES,
};
use mulgil_log::frame::{FRAME_HEADER_BYTES, FRAME_MAGIC};
use mulgil_log::position::Position;
use mulgil_record::batch::HEADER_BYTES;
use mulgil_record::crc::crc32c;

/// Splits off the first byte: whether its lowest bit asks for mending, and the rest.
pub(crate) fn choice(bytes: &[u8]) -> (bool, Vec<u8>) {
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    (first & 1 == 1, rest.to_vec())
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..at + N) {
        place.copy_from_slice(&field);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
    field.copied().map_or(0, u32::from_le_bytes)
}

fn crc_of(bytes: &[u8], from: usize, to: usize) -> [u8; 4] {
    crc32c(&[bytes.get(from..to).unwrap_or_default()]).to_le_bytes()
}

/// Length, magic and checksum of a record batch that fills `bytes`.
pub(crate) fn batch(bytes: &mut [u8]) {
    if bytes.len() < HEADER_BYTES {
        return;
    }
    let length = i32::try_from(bytes.len() - 12).unwrap_or(i32::MAX);
    put(bytes, 8, length.to_be_bytes());
    put(bytes, 16, [2]);
    let crc = crc32c(&[bytes.get(21..).unwrap_or_default()]);
    put(bytes, 17, crc.to_be_bytes());
}

/// Place and checksums of the entry at the start of `bytes`; says how long it claims to be.
pub(crate) fn entry(bytes: &mut [u8], place: u32) -> usize {
    let length = u32_at(bytes, 4) as usize;
    let payload = bytes.get(ENTRY_HEADER_BYTES..).unwrap_or_default();
    let payload = crc32c(&[payload.get(..length).unwrap_or(payload)]);
    put(bytes, 28, payload.to_le_bytes());
    put(bytes, 32, place.to_le_bytes());
    let crc = crc_of(bytes, 0, 36);
    put(bytes, 36, crc);
    entry_bytes(length)
}

/// Entries one after the other, from `place` of their chunk on.
pub(crate) fn entries(mut bytes: &mut [u8], mut place: u32) {
    while bytes.len() >= ENTRY_HEADER_BYTES {
        let total = entry(bytes, place);
        if total >= bytes.len() {
            return;
        }
        bytes = bytes.split_at_mut(total).1;
        place = place.saturating_add(u32::try_from(total).unwrap_or(u32::MAX));
    }
}

/// Magic, position and checksum of a frame header.
pub(crate) fn frame_header(bytes: &mut [u8], position: Position) {
    put(bytes, 0, FRAME_MAGIC);
    put(bytes, 24, position.0.to_le_bytes());
    let crc = crc_of(bytes, 0, 60);
    put(bytes, 60, crc);
}

/// Frames one after the other, with all that is in them.
pub(crate) fn frames(mut bytes: &mut [u8], mut position: Position) {
    while bytes.len() >= FRAME_HEADER_BYTES {
        frame_header(bytes, position);
        let body = u32_at(bytes, 8) as usize;
        let left = bytes.len() - FRAME_HEADER_BYTES;
        let first = position.offset().saturating_add(64);
        let end = FRAME_HEADER_BYTES + body.min(left);
        entries(
            bytes.get_mut(FRAME_HEADER_BYTES..end).unwrap_or_default(),
            first,
        );
        if body >= left {
            return;
        }
        bytes = bytes.split_at_mut(end).1;
        position = position.plus(end);
    }
}

/// Magic and checksum of the used bytes of a chunk header, and its chunk and kind.
pub(crate) fn chunk_header(used: &mut [u8], chunk: u32, kind: u8) {
    put(used, 0, CHUNK_MAGIC);
    put(used, 4, [1, kind]);
    put(used, 8, chunk.to_le_bytes());
    let crc = crc_of(used, 0, 124);
    put(used, 124, crc);
}

/// Checksums of all parts of the footer at the end of `file`, as its trailer says where they lie.
pub(crate) fn footer(file: &mut [u8], chunk: u32) {
    let Some(trailer) = file.len().checked_sub(TRAILER_BYTES) else {
        return;
    };
    put(file, trailer, FOOTER_MAGIC);
    put(file, trailer + 4, [FOOTER_VERSION]);
    put(file, trailer + 6, 64_u16.to_le_bytes());
    put(file, trailer + 8, chunk.to_le_bytes());
    let length = file.len() as u64;
    put(file, trailer + 24, length.to_le_bytes());
    seal(file, trailer..file.len(), 4, (chunk, 0));
    let pages = u32_at(file, trailer + 12);
    let at = u32_at(file, trailer + 16) as usize;
    let slots = u32_at(file, trailer + 32);
    let damaged = u32_at(file, trailer + 36);
    let mut next = at;
    for (part, count, bytes) in [
        (1, pages, PAGE_BYTES),
        (2, slots, SLOT_BYTES),
        (3, damaged, DAMAGE_BYTES),
    ] {
        for number in 0..count {
            let end = next.saturating_add(bytes);
            if end > trailer {
                return;
            }
            if part == 1 {
                page(file, next..end, (chunk, number));
            } else {
                seal(file, next..end, part, (chunk, number));
            }
            next = end;
        }
    }
}

/// The last four bytes of a part of a footer are the checksum of the rest.
fn seal(file: &mut [u8], range: std::ops::Range<usize>, part: u32, place: (u32, u32)) {
    let (end, covered) = (range.end, range.start..range.end - 4);
    let crc = footer_crc(part, place, file.get(covered).unwrap_or_default(), &[]);
    put(file, end - 4, crc);
}

fn footer_crc(part: u32, (chunk, number): (u32, u32), a: &[u8], b: &[u8]) -> [u8; 4] {
    let place = [part, chunk, number].map(u32::to_le_bytes).concat();
    crc32c(&[&place, a, b]).to_le_bytes()
}

/// An index page has its number first, and its checksum at byte 12.
fn page(file: &mut [u8], range: std::ops::Range<usize>, (chunk, number): (u32, u32)) {
    put(file, range.start, number.to_le_bytes());
    let bytes = file.get(range.clone()).unwrap_or_default();
    let (head, rest) = bytes.split_at(16);
    let crc = footer_crc(1, (chunk, number), head.get(..12).unwrap_or_default(), rest);
    put(file, range.start + 12, crc);
}
