//! Frames, entries and chunk headers as bytes: there and back, and whatever else comes along.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::chunk::{
    CHUNK_HEADER_BYTES, ChunkError, ChunkHeader, ChunkKind, chunk_name, parse_chunk_name,
};
use crate::disk::MemDisk;
use crate::entry::{Entry, EntryHeader, EntryKind};
use crate::fault::FaultKind;
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, OpenFrame, Salt, restamp};
use crate::position::{ChunkId, Lsn, Position};
use crate::recovery::{RepairMode, repair};
use crate::scripted::{hear, mem};

fn kinds() -> impl Strategy<Value = EntryKind> {
    (1_u16..=19).prop_map(|number| EntryKind::from_number(number).unwrap())
}

fn entries() -> impl Strategy<Value = Vec<(EntryHeader, Vec<u8>)>> {
    let header = (
        kinds(),
        any::<[u8; 2]>(),
        any::<u64>(),
        any::<i64>(),
        any::<u32>(),
    );
    let header = header.prop_map(
        |(kind, [version, flags], object, base, count)| EntryHeader {
            kind,
            version,
            flags,
            length: 0,
            object,
            base,
            count,
        },
    );
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    prop::collection::vec((header, payload), 0..6)
}

const SALT: Salt = Salt(0x1234_5678);

fn header(position: Position) -> FrameHeader {
    FrameHeader {
        flags: 1,
        length: 0,
        entries: 0,
        lsn: Lsn(7),
        position,
        synced: Position::ZERO,
        elapsed_ms: 5,
        wall_ms: 6,
        incarnation: 1,
        salt: SALT,
    }
}

fn sealed(at: Position, entries: &[(EntryHeader, Vec<u8>)]) -> Vec<u8> {
    let mut frame = OpenFrame::new(at, Vec::new());
    for (header, payload) in entries {
        let (first, second) = payload.split_at(payload.len() / 2);
        let before = frame.end();
        assert_eq!(frame.push(*header, &[first, second]), before);
    }
    let end = frame.end();
    let bytes = frame.seal(&header(at));
    assert_eq!(at.plus(bytes.len()), end);
    bytes.to_vec()
}

/// The entries of a frame that lies at `at`.
fn read_back(bytes: &[u8], at: Position) -> Vec<(EntryHeader, Vec<u8>)> {
    let header = FrameHeader::read(bytes, at, SALT).unwrap();
    assert_eq!(header.length as usize, bytes.len() - FRAME_HEADER_BYTES);
    let mut found = Vec::new();
    let mut from = FRAME_HEADER_BYTES;
    while from < bytes.len() {
        let place = at.plus(from).offset();
        let entry = Entry::read(&bytes[from..], place).unwrap();
        from += entry.header.total_bytes();
        found.push((entry.header, entry.payload.to_vec()));
    }
    assert_eq!(found.len(), header.entries as usize);
    found
}

fn positions() -> impl Strategy<Value = Position> {
    (1_u32..9, 0_u32..1_000_000).prop_map(|(c, at)| Position::new(ChunkId(c), 4096 + at * 8))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_frame_comes_back_as_it_went(at in positions(), to in positions(), entries in entries()) {
        let mut bytes = sealed(at, &entries);
        let expected: Vec<_> = entries
            .into_iter()
            .map(|(header, payload)| {
                let length = u32::try_from(payload.len()).unwrap();
                (EntryHeader { length, ..header }, payload)
            })
            .collect();
        prop_assert_eq!(&read_back(&bytes, at), &expected);
        restamp(&mut bytes, to, to, SALT).unwrap();
        prop_assert_eq!(read_back(&bytes, to), expected);
        prop_assert_eq!(FrameHeader::read(&bytes, to, SALT).unwrap().synced, to);
        prop_assert!(at == to || FrameHeader::read(&bytes, at, SALT).is_err());
    }

    #[test]
    fn no_bit_of_a_frame_turns_unnoticed(entries in entries(), bit in any::<prop::sample::Index>()) {
        let at = Position::new(ChunkId(2), 4096);
        let bytes = sealed(at, &entries);
        let bit = bit.index(bytes.len() * 8);
        let mut spoiled = bytes.clone();
        spoiled[bit / 8] ^= 1 << (bit % 8);
        let fine = std::panic::catch_unwind(|| read_back(&spoiled, at));
        // Zeroes that fill up an entry are the only bytes that nothing depends on.
        if let Ok(found) = fine {
            prop_assert_eq!(found, read_back(&bytes, at));
        }
    }

    #[test]
    fn a_chunk_header_comes_back(
        numbers in any::<(u32, u32, u64, u64, u64)>(),
        cluster in any::<u128>(),
        spoiled in 0_usize..4096,
    ) {
        let (chunk, incarnation, previous, lsn, time) = numbers;
        let header = ChunkHeader {
            chunk: ChunkId(chunk),
            kind: ChunkKind::Sorted,
            incarnation,
            previous_end: Position(previous),
            first_lsn: Lsn(lsn),
            elapsed_ms: time,
            wall_ms: time ^ 1,
            checkpoint: ChunkId(chunk / 2),
            synced: Position(previous ^ 8),
            cluster,
            salt: Salt(incarnation),
        };
        let mut bytes = header.encode().to_vec();
        prop_assert_eq!(bytes.len(), CHUNK_HEADER_BYTES as usize);
        prop_assert_eq!(ChunkHeader::read(&bytes, header.chunk), Ok(header));
        bytes[spoiled] ^= 0x10;
        prop_assert_eq!(ChunkHeader::read(&bytes, header.chunk), Ok(header));
        let other = ChunkHeader::read(&bytes, ChunkId(chunk ^ 1));
        prop_assert_eq!(other, Err(ChunkError::Damaged));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..6000),
        magic_at in 0_usize..4000,
    ) {
        let mut log = bytes.clone();
        if let Some(place) = log.get_mut(4096 + magic_at / 8 * 8..).and_then(|b| b.get_mut(..4)) {
            place.copy_from_slice(b"MGFR");
        }
        let files = BTreeMap::from([
            ("0000000003.log".to_owned(), log),
            ("0000000009.sorted".to_owned(), bytes.clone()),
        ]);
        let disk = MemDisk::with_files(1, files);
        repair(&mem(&disk), RepairMode::DryRun).unwrap();
        let (recovered, heard) = hear(&mem(&disk)).unwrap();
        prop_assert_eq!(heard.frames.len(), 0);
        prop_assert_eq!(recovered.next_chunk, ChunkId(10));
        let mut bytes = bytes;
        prop_assert!(restamp(&mut bytes, Position::ZERO, Position::ZERO, SALT).is_err());
    }
}

#[test]
fn every_kind_has_its_number() {
    for number in 0..100 {
        let kind = EntryKind::from_number(number);
        assert_eq!(
            kind.map(|kind| kind as u16),
            (1..=19).contains(&number).then_some(number)
        );
    }
}

#[test]
fn names_of_chunks_are_told_from_other_names() {
    for kind in ChunkKind::ALL {
        let name = chunk_name(ChunkId(17), kind);
        assert_eq!(parse_chunk_name(&name), Some((ChunkId(17), kind)));
        assert_eq!(ChunkKind::from_number(kind as u8), Some(kind));
    }
    for other in [
        "17.log",
        "0000000000.log",
        "tmp-0000000017.log",
        "lock",
        "0000000017.bin",
    ] {
        assert_eq!(parse_chunk_name(other), None, "{other}");
    }
}

#[test]
fn a_log_of_a_newer_version_is_refused_and_not_cut() {
    let disk = MemDisk::new(1);
    let at = Position::new(ChunkId(1), CHUNK_HEADER_BYTES);
    let chunk = ChunkHeader {
        chunk: ChunkId(1),
        kind: ChunkKind::Log,
        incarnation: 1,
        previous_end: Position::ZERO,
        first_lsn: Lsn(7),
        elapsed_ms: 0,
        wall_ms: 0,
        checkpoint: ChunkId::NONE,
        synced: Position::ZERO,
        cluster: 0,
        salt: SALT,
    };
    let mut bytes = chunk.encode().to_vec();
    let first = sealed(at, &[]);
    bytes.extend_from_slice(&first);
    let mut newer = sealed(at.plus(first.len()), &[]);
    newer[4] = 2;
    let crc = mulgil_record::crc::crc32c(&[&newer[..60]]) ^ SALT.0;
    newer[60..].copy_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&newer);
    drop(disk);
    let files = BTreeMap::from([(chunk.name(), bytes)]);
    let fault = hear(&mem(&MemDisk::with_files(1, files))).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Corrupt);
    assert!(fault.what.contains("version 2 is newer"), "{fault}");
}
