//! Frames with entries of every kind, and logs of one and two chunks.

use mulgil_log::chunk::{ChunkHeader, ChunkKind};
use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_log::frame::{
    FLAG_CLEAN, FLAG_GROUP_END, FLAG_MARK, FRAME_HEADER_BYTES, FrameHeader, OpenFrame, Salt,
};
use mulgil_log::position::{ChunkId, Lsn, Position};
use mulgil_record::compression::Codec;

use super::records::sample;
use super::{Seed, both};
use crate::targets::PLACE;

fn header_of(kind: EntryKind, object: u64, base: i64, count: u32) -> EntryHeader {
    EntryHeader {
        kind,
        version: 1,
        flags: 0,
        length: 0,
        object,
        base,
        count,
    }
}

/// One frame with two batches and one entry of every other kind.
fn open(at: Position, base: i64) -> OpenFrame {
    let mut frame = OpenFrame::new(at, Vec::new());
    frame.push(
        header_of(EntryKind::Batch, 1, base, 2),
        &[&sample(Codec::None, 2)],
    );
    frame.push(header_of(EntryKind::Batch, 2, base, 1), &[b"odd"]);
    for kind in (2..=u16::MAX).map_while(EntryKind::from_number) {
        frame.push(header_of(kind, 3, base, 1), &[b"payload"]);
    }
    frame
}

fn stamp(lsn: u64, synced: Position, flags: u8) -> FrameHeader {
    FrameHeader {
        flags,
        length: 0,
        entries: 0,
        lsn: Lsn(lsn),
        position: Position::ZERO,
        synced,
        elapsed_ms: lsn * 10,
        wall_ms: 1_780_000_000_000,
        incarnation: 1,
        salt: Salt::NONE,
    }
}

pub(crate) fn entry() -> Vec<Seed> {
    let frame = open(PLACE, 5).seal(&stamp(1, Position::ZERO, 0));
    let first = Position::new(PLACE.chunk(), PLACE.offset());
    let mut alone = OpenFrame::new(first, Vec::new());
    alone.push(
        header_of(EntryKind::Batch, 1, i64::MAX, u32::MAX),
        &[b"last"],
    );
    let alone = alone.seal(&stamp(1, Position::ZERO, 0));
    let body = |frame: &[u8]| frame.get(FRAME_HEADER_BYTES..).unwrap_or_default().to_vec();
    let mut seeds = both("batch", &body(&frame)).to_vec();
    seeds.extend(both("huge-offsets", &body(&alone)));
    seeds
}

pub(crate) fn frame() -> Vec<Seed> {
    let full = open(PLACE, 5).seal(&stamp(1, Position::ZERO, FLAG_GROUP_END));
    let mark = OpenFrame::synced_mark(PLACE, Vec::new()).seal(&stamp(2, PLACE, FLAG_MARK));
    let mut seeds = both("full", &full).to_vec();
    seeds.extend(both("mark", &mark));
    seeds
}

fn header(chunk: u32, previous_end: Position, first_lsn: u64, synced: Position) -> Vec<u8> {
    let header = ChunkHeader {
        chunk: ChunkId(chunk),
        kind: ChunkKind::Log,
        incarnation: 1,
        previous_end,
        first_lsn: Lsn(first_lsn),
        elapsed_ms: 5,
        wall_ms: 1_780_000_000_000,
        checkpoint: ChunkId::NONE,
        synced,
        cluster: 99,
        salt: Salt::NONE,
    };
    header.encode().to_vec()
}

pub(crate) fn chunk_header() -> Vec<Seed> {
    let mut whole = header(3, PLACE, 7, PLACE);
    whole.truncate(2176);
    both("log", &whole).to_vec()
}

/// Frames from `at` on: full ones, a mark, and one that nobody called synced.
fn frames(mut at: Position, first_lsn: u64, flags: u8) -> (Vec<u8>, Position) {
    let mut bytes = Vec::new();
    let mut synced = at;
    for lsn in first_lsn..first_lsn + 2 {
        let base = i64::try_from(lsn).unwrap_or(0) * 2;
        let sealed = open(at, base).seal(&stamp(lsn, synced, FLAG_GROUP_END));
        synced = at;
        at = at.plus(sealed.len());
        bytes.extend_from_slice(&sealed);
    }
    let mark = OpenFrame::synced_mark(at, Vec::new());
    let mark = mark.seal(&stamp(
        first_lsn + 2,
        at,
        FLAG_MARK | FLAG_GROUP_END | flags,
    ));
    at = at.plus(mark.len());
    bytes.extend_from_slice(&mark);
    (bytes, at)
}

/// As the recovery target takes them.
fn log(one: &[u8], two: &[u8]) -> Vec<u8> {
    let length = u32::try_from(one.len()).unwrap_or(0).to_le_bytes();
    [&length, one, two].concat()
}

fn chunk(header: &[u8], frames: &[u8]) -> Vec<u8> {
    [header.get(..128).unwrap_or_default(), frames].concat()
}

pub(crate) fn recovery() -> Vec<Seed> {
    let (start, next) = (
        Position::new(ChunkId(1), 4096),
        Position::new(ChunkId(2), 4096),
    );
    let (frames_one, end) = frames(start, 1, FLAG_CLEAN);
    let one = chunk(&header(1, Position::ZERO, 1, Position::ZERO), &frames_one);
    let (frames_two, _) = frames(next, 4, 0);
    let two = chunk(&header(2, end, 4, end), &frames_two);
    let cut = two.split_at(two.len() - 100).0.to_vec();
    let torn = [&two[..], &[0; 300], b"torn"].concat();
    let mut damaged = two.clone();
    if let Some(byte) = damaged.get_mut(128 + 64 + 41) {
        *byte ^= 1;
    }
    let mut seeds = Vec::new();
    for (name, log) in [
        ("one", log(&one, &[])),
        ("two", log(&one, &two)),
        ("cut", log(&one, &cut)),
        ("torn", log(&one, &torn)),
        ("damaged", log(&one, &damaged)),
        (
            "empty",
            log(
                &chunk(&header(1, Position::ZERO, 1, Position::ZERO), &[]),
                &[],
            ),
        ),
    ] {
        seeds.extend(both(name, &log));
    }
    seeds
}
