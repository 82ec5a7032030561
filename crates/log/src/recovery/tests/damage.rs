//! Bits that turn around in what was synced: reported or refused, and never served.

use super::*;
use crate::chunk::{CHUNK_HEADER_BYTES, ChunkKind, chunk_name};
use crate::entry::EntryKind;
use crate::frame::{FLAG_GROUP_END, FRAME_HEADER_BYTES, OpenFrame, Salt};
use crate::scripted::{Heard, Said, salt_of};
use crate::store::SyncLevel;

const FIRST: u64 = CHUNK_HEADER_BYTES as u64;

fn batch(base: i64) -> Said {
    (EntryKind::Batch, 4, base, vec![7; 100])
}

fn offsets(group: u64) -> Said {
    (EntryKind::GroupOffsets, group, 0, vec![8; 50])
}

/// A log of one chunk with these frames, all synced, and a mark behind them if asked for.
fn log_of(frames: Vec<Vec<Said>>, mark: bool) -> (MemDisk, Known, String) {
    let disk = MemDisk::new(1);
    let (recovered, _) = hear(&mem(&disk)).unwrap();
    let mut broker = Broker::start(mem(&disk), &recovered, Known::default(), || 0);
    for frame in frames {
        broker.submit(vec![frame], SyncLevel::Synced);
        broker.step_all();
    }
    if mark {
        broker.mark(false);
        broker.step_all();
    }
    let known = broker.known.lock().unwrap().clone();
    (disk, known, chunk_name(ChunkId(1), ChunkKind::Log))
}

fn flip(disk: &MemDisk, name: &str, at: u64) {
    assert!(disk.flip(name, at, 3), "there is a byte {at} in {name}");
}

#[test]
fn a_damaged_batch_is_an_error_of_its_offsets_alone() {
    let (disk, _, name) = log_of(vec![vec![batch(10), offsets(1)], vec![batch(11)]], true);
    flip(&disk, &name, FIRST + 64 + 40 + 50);
    let (recovered, heard) = hear(&mem(&disk)).unwrap();
    let lost = DamagedRange {
        partition: 4,
        base: 10,
        last: 10,
        at: Position::new(ChunkId(1), CHUNK_HEADER_BYTES + 64),
    };
    assert_eq!(heard.damaged, vec![lost]);
    assert_eq!(heard.frames[&Lsn(1)], vec![offsets(1)]);
    assert_eq!(heard.frames[&Lsn(2)], vec![batch(11)]);
    assert_eq!(recovered.next_lsn, Lsn(3), "the mark is left out");
}

/// As large as three pages.
fn large(kind: EntryKind) -> Said {
    (kind, 4, 11, vec![7; 12_000])
}

#[test]
fn an_unreadable_page_inside_a_batch_is_an_error_of_its_offsets_alone() {
    let frames = vec![
        vec![batch(10)],
        vec![large(EntryKind::Batch)],
        vec![batch(12)],
    ];
    let (disk, known, name) = log_of(frames, true);
    assert!(disk.lose_page(&name, FIRST + 6_000));
    let (recovered, heard) = hear(&mem(&disk)).unwrap();
    let lost: Vec<_> = heard
        .damaged
        .iter()
        .map(|d| (d.partition, d.base, d.last))
        .collect();
    assert_eq!(lost, [(4, 11, 11)]);
    for lsn in [1, 3] {
        assert_eq!(heard.frames[&Lsn(lsn)], known.frames[&Lsn(lsn)]);
    }
    assert_eq!(recovered.next_lsn, Lsn(4), "the mark is left out");
}

#[test]
fn an_unreadable_page_in_state_refuses_the_start_and_is_repaired() {
    let frames = vec![
        vec![batch(10)],
        vec![large(EntryKind::GroupOffsets)],
        vec![batch(12)],
    ];
    let (disk, known, name) = log_of(frames, true);
    assert!(disk.lose_page(&name, FIRST + 6_000));
    let fault = hear(&mem(&disk)).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Corrupt);
    let done = repair(&mem(&disk), RepairMode::Write).unwrap();
    assert_eq!(done.lost.len(), 1, "{done:?}");
    let (_, heard) = hear(&mem(&disk)).unwrap();
    for lsn in [1, 3] {
        assert_eq!(heard.frames[&Lsn(lsn)], known.frames[&Lsn(lsn)]);
    }
}

/// Zeroes there would be a tear, and what was acknowledged would be cut off.
#[test]
fn an_unreadable_page_at_the_end_of_the_log_is_no_tear() {
    let frames = vec![vec![batch(10)], vec![large(EntryKind::Batch)]];
    let (disk, _, name) = log_of(frames, false);
    assert!(disk.lose_page(&name, FIRST + 6_000));
    let fault = hear(&mem(&disk)).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unavailable);
}

#[test]
fn damaged_state_refuses_the_start_and_says_where() {
    let (disk, _, name) = log_of(vec![vec![offsets(17)], vec![batch(11)]], true);
    flip(&disk, &name, FIRST + 64 + 40 + 5);
    let fault = hear(&mem(&disk)).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Corrupt);
    for said in ["0000000001.log", "group 17", "mulgil repair", "0x1040"] {
        assert!(fault.what.contains(said), "{said} in: {fault}");
    }
}

#[test]
fn a_damaged_frame_header_is_mended() {
    let frames = vec![
        vec![batch(10)],
        vec![offsets(1), batch(11)],
        vec![batch(12)],
    ];
    let (disk, known, name) = log_of(frames, true);
    let second = FIRST + 64 + 144;
    flip(&disk, &name, second + 20);
    let (recovered, heard) = hear(&mem(&disk)).unwrap();
    assert_eq!(recovered.mended.len(), 1);
    assert_eq!(recovered.mended[0].offset(), u32::try_from(second).unwrap());
    for lsn in 1..4 {
        assert_eq!(heard.frames[&Lsn(lsn)], known.frames[&Lsn(lsn)]);
    }
}

#[test]
fn the_last_frame_is_damage_after_a_mark_and_a_tear_before_it() {
    for mark in [true, false] {
        let (disk, _, name) = log_of(vec![vec![batch(10)], vec![batch(11)]], mark);
        let second = FIRST + 64 + 144;
        flip(&disk, &name, second + 64 + 45);
        let (recovered, heard) = hear(&mem(&disk)).unwrap();
        assert_eq!(heard.damaged.len(), usize::from(mark));
        assert_eq!(recovered.quarantined.len(), usize::from(!mark));
        if !mark {
            let torn = &recovered.quarantined[0];
            assert_eq!((torn.file.as_str(), torn.from), (name.as_str(), second));
            let kept = disk.files().remove(&torn.kept_as).unwrap();
            assert_eq!(kept.len() as u64, torn.bytes);
        }
    }
}

#[test]
fn no_flipped_bit_is_ever_served() {
    let frames = (0..6)
        .map(|n| vec![batch(n), offsets(2), batch(100 + n)])
        .collect();
    let (disk, known, name) = log_of(frames, true);
    let end = disk.files()[&name]
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap() as u64;
    let marked = end - 64;
    for at in 0..=end {
        let image = MemDisk::with_files(1, disk.files());
        flip(&image, &name, at);
        let (recovered, heard) = match hear(&mem(&image)) {
            Ok(found) => found,
            Err(fault) => {
                assert_eq!(fault.kind, FaultKind::Corrupt, "byte {at}: {fault}");
                continue;
            }
        };
        for (lsn, said) in &heard.frames {
            let served = said.iter().all(|said| known.frames[lsn].contains(said));
            assert!(served, "byte {at}: something else was served");
        }
        let count = |frames: &Heard| frames.frames.values().map(Vec::len).sum::<usize>();
        let missing = 18 - count(&heard);
        let told = heard.damaged.len() + usize::from(at >= marked);
        assert!(
            missing <= told,
            "byte {at}: {missing} entries are gone without a word"
        );
        assert!(recovered.next_lsn >= Lsn(7), "byte {at}");
    }
}

#[test]
fn both_headers_of_a_chunk_must_be_damaged_to_lose_it() {
    let (disk, known, name) = log_of(vec![vec![batch(1)]], true);
    flip(&disk, &name, 9);
    check(&disk, &known, Lsn(1)).unwrap();
    flip(&disk, &name, 2048 + 30);
    let fault = hear(&mem(&disk)).unwrap_err();
    assert!(fault.what.contains("chunk header"), "{fault}");
}

#[test]
fn a_missing_chunk_refuses_the_start() {
    let disk = MemDisk::new(2);
    let (recovered, _) = hear(&mem(&disk)).unwrap();
    let mut broker = Broker::start(mem(&disk), &recovered, Known::default(), || 0);
    for _ in 0..3 {
        broker.submit(vec![vec![batch(1)]], SyncLevel::Synced);
        broker.roll();
        broker.submit(vec![vec![batch(2)]], SyncLevel::Synced);
        broker.step_all();
    }
    for gone in 1..=3 {
        let mut files = disk.files();
        files
            .remove(&chunk_name(ChunkId(gone), ChunkKind::Log))
            .unwrap();
        let image = MemDisk::with_files(3, files);
        let fault = hear(&mem(&image)).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Corrupt);
        assert!(fault.what.contains("missing"), "{fault}");
    }
}

#[test]
fn a_frame_that_claims_too_much_is_torn() {
    let (disk, _, name) = log_of(vec![vec![batch(1)]], true);
    let mut files = disk.files();
    let bytes = files.get_mut(&name).unwrap();
    let at = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let at = at.next_multiple_of(8);
    let position = Position::new(ChunkId(1), u32::try_from(at).unwrap());
    let huge = FrameHeader {
        flags: 0,
        length: 0xffff_fff8,
        entries: 1,
        lsn: Lsn(3),
        position,
        synced: Position::ZERO,
        elapsed_ms: 0,
        wall_ms: 0,
        incarnation: 1,
        salt: salt_of(ChunkId(1)),
    };
    bytes[at..at + FRAME_HEADER_BYTES].copy_from_slice(&huge.encode());
    let image = MemDisk::with_files(3, files);
    let (recovered, _) = hear(&mem(&image)).unwrap();
    assert_eq!(recovered.quarantined.len(), 1);
}

#[test]
fn replay_can_begin_in_the_middle() {
    let frames = (0..5).map(|n| vec![batch(n)]).collect();
    let (disk, _, _) = log_of(frames, true);
    let third = Position::new(ChunkId(1), CHUNK_HEADER_BYTES + 2 * (64 + 144));
    let mut heard = Heard::default();
    let from = RecoverFrom { position: third };
    let recovered = recover(&mem(&disk), &mut heard, from).unwrap();
    assert_eq!(recovered.next_lsn, Lsn(6));
    assert_eq!(heard.frames.keys().next(), Some(&Lsn(3)));
    let end = RecoverFrom {
        position: third.plus(3 * (64 + 144)),
    };
    let mut nothing = Heard::default();
    let recovered = recover(&mem(&disk), &mut nothing, end).unwrap();
    assert_eq!((recovered.next_lsn, nothing.frames.len()), (Lsn(6), 0));
    let beyond = RecoverFrom {
        position: third.plus(1 << 20),
    };
    let fault = recover(&mem(&disk), &mut heard, beyond).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Corrupt);
}

#[test]
fn an_unknown_number_is_not_guessed() {
    let (disk, _, name) = log_of(vec![vec![batch(1)], vec![batch(2)]], true);
    let second = FIRST + 64 + 144;
    flip(&disk, &name, second + 20);
    let position = Position::new(ChunkId(1), CHUNK_HEADER_BYTES + 2 * (64 + 144));
    let mut heard = Heard::default();
    let from = RecoverFrom { position };
    let fault = recover(&mem(&disk), &mut heard, from).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Corrupt);
}

/// A log whose last frame is torn, and holds a record with what looks like the header of a frame at its
/// own place, made with this salt.
fn torn_with_a_forged_header(salt: Salt) -> MemDisk {
    let (disk, _, name) = log_of(vec![vec![batch(1)]], true);
    let mut files = disk.files();
    let bytes = files.get_mut(&name).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let at = used.next_multiple_of(8);
    let place = |at: usize| Position::new(ChunkId(1), u32::try_from(at).unwrap());
    let record = at + FRAME_HEADER_BYTES + crate::entry::ENTRY_HEADER_BYTES;
    let stamp = |at, salt| FrameHeader {
        flags: FLAG_GROUP_END,
        length: 0,
        entries: 0,
        lsn: Lsn(9),
        position: place(at),
        synced: place(at),
        elapsed_ms: 0,
        wall_ms: 0,
        incarnation: 1,
        salt,
    };
    let forged = stamp(record, salt).encode();
    let mut frame = OpenFrame::new(place(at), Vec::new());
    let header = EntryHeader {
        kind: EntryKind::Batch,
        version: 1,
        flags: 0,
        length: 0,
        object: 4,
        base: 2,
        count: 1,
    };
    frame.push(header, &[&forged]);
    let frame = frame.seal(&stamp(at, salt_of(ChunkId(1))));
    // Its own header never got to disk.
    bytes.resize(bytes.len().max(at + frame.len()), 0);
    bytes[at + FRAME_HEADER_BYTES..at + frame.len()].copy_from_slice(&frame[FRAME_HEADER_BYTES..]);
    MemDisk::with_files(3, files)
}

#[test]
fn a_forged_header_inside_a_record_does_not_make_a_torn_tail_damage() {
    let disk = torn_with_a_forged_header(Salt::NONE);
    let (recovered, heard) = hear(&mem(&disk)).unwrap();
    assert_eq!((recovered.quarantined.len(), heard.damaged.len()), (1, 0));
    assert_eq!(heard.frames.len(), 1);
    // Who knew the salt could do it.
    let disk = torn_with_a_forged_header(salt_of(ChunkId(1)));
    assert_eq!(hear(&mem(&disk)).unwrap_err().kind, FaultKind::Corrupt);
}

#[test]
fn a_log_without_salt_is_read_and_goes_on_with_one() {
    let (disk, known, name) = log_of(vec![vec![batch(1)], vec![batch(2)]], true);
    let mut files = disk.files();
    let bytes = files.get_mut(&name).unwrap();
    // As version 1 wrote it: no salt in the headers of the chunk and of its frames.
    let mut at = CHUNK_HEADER_BYTES as usize;
    while bytes[at..].starts_with(b"MGFR") {
        let place = Position::new(ChunkId(1), u32::try_from(at).unwrap());
        let head = FrameHeader::read(&bytes[at..], place, salt_of(ChunkId(1))).unwrap();
        let salt = Salt::NONE;
        let unsalted = FrameHeader { salt, ..head }.encode();
        bytes[at..at + FRAME_HEADER_BYTES].copy_from_slice(&unsalted);
        at += FRAME_HEADER_BYTES + head.length as usize;
    }
    for copy in [0, 2048] {
        let head = &mut bytes[copy..copy + 128];
        head[4] = 1;
        head[80..84].fill(0);
        let crc = mulgil_record::crc::crc32c(&[&head[..124]]);
        head[124..].copy_from_slice(&crc.to_le_bytes());
    }
    let disk = MemDisk::with_files(3, files);
    let recovered = check(&disk, &known, Lsn(2)).unwrap();
    let mut broker = Broker::start(mem(&disk), &recovered, known, || 0);
    broker.submit(vec![vec![batch(3)]], SyncLevel::Synced);
    broker.step_all();
    let (recovered, heard) = hear(&mem(&disk)).unwrap();
    assert_eq!((recovered.next_lsn, heard.damaged.len()), (Lsn(4), 0));
    assert!(heard.frames.contains_key(&Lsn(1)) && heard.frames.contains_key(&Lsn(3)));
}
