//! The newest chunk is a header and nothing else: what it proves of the chunk before stays proven.
//!
//! The chunk before has a damaged frame that no other frame says was synced. With the proof it is
//! damage, and all behind it is served; without, it would be a torn tail, and all behind it gone.

use super::*;
use crate::chunk::{CHUNK_HEADER_BYTES, ChunkFile, ChunkKind, chunk_name};
use crate::disk::WriteFault;
use crate::entry::EntryKind;
use crate::scripted::{Heard, Said};
use crate::store::SyncLevel;

const BARE: ChunkId = ChunkId(2);

fn batch(base: i64) -> Said {
    (EntryKind::Batch, 4, base, vec![7; 100])
}

/// Ten frames written together, the first of them damaged, and a chunk behind them without frames.
fn bare_after_damage() -> MemDisk {
    let disk = MemDisk::new(1);
    let (recovered, _) = hear(&mem(&disk)).unwrap();
    let mut broker = Broker::start(mem(&disk), &recovered, Known::default(), || 0);
    broker.submit(
        (0..10).map(|base| vec![batch(base)]).collect(),
        SyncLevel::Synced,
    );
    broker.roll();
    broker.submit(Vec::new(), SyncLevel::Synced);
    broker.step_all();
    let at = u64::from(CHUNK_HEADER_BYTES) + 64 + 40 + 50;
    assert!(disk.flip(&chunk_name(ChunkId(1), ChunkKind::Log), at, 3));
    MemDisk::with_files(1, disk.files())
}

/// All but the damaged entry is there, and that is reported.
fn all_is_there(image: &MemDisk) -> Result<Recovered, String> {
    let (recovered, heard) = hear(&mem(image)).map_err(|fault| fault.to_string())?;
    let count = |heard: &Heard| heard.frames.values().map(Vec::len).sum::<usize>();
    let found = (count(&heard), heard.damaged.len(), recovered.next_lsn);
    if found != (9, 1, Lsn(11)) {
        return Err(format!("entries, damaged, next frame: {found:?}"));
    }
    Ok(recovered)
}

/// Recovers from what a cut after every operation leaves, `depth` times one after the other.
fn cut_between(image: &MemDisk, depth: usize) {
    let image = MemDisk::with_files(2, image.files()).with_history();
    let whole = all_is_there(&image).unwrap();
    assert_eq!((whole.copied, whole.quarantined.len()), (0, 0));
    if depth == 0 {
        return;
    }
    for ops in 0..=image.ops() {
        for plan in plans() {
            cut_between(&image.crash_after(ops, plan), depth - 1);
        }
    }
}

#[test]
fn the_proof_survives_cuts_during_and_between_recoveries() {
    cut_between(&bare_after_damage(), 3);
}

#[test]
fn the_proof_survives_a_broker_that_stops_before_its_first_frame() {
    let disk = bare_after_damage();
    let recovered = all_is_there(&disk).unwrap();
    let image = MemDisk::with_files(3, disk.files()).with_history();
    let counted = image.clone();
    let mut broker = Broker::start(mem(&image), &recovered, Known::default(), move || {
        counted.ops()
    });
    broker.submit(Vec::new(), SyncLevel::Synced);
    broker.step_all();
    for ops in 0..=image.ops() {
        for plan in plans() {
            cut_between(&image.crash_after(ops, plan), 1);
        }
    }
}

#[test]
fn chunks_without_frames_follow_one_another() {
    let disk = bare_after_damage();
    for _ in 0..4 {
        let recovered = all_is_there(&disk).unwrap();
        let mut broker = Broker::start(mem(&disk), &recovered, Known::default(), || 0);
        broker.submit(Vec::new(), SyncLevel::Synced);
        broker.step_all();
    }
    let recovered = all_is_there(&disk).unwrap();
    let mut broker = Broker::start(mem(&disk), &recovered, Known::default(), || 0);
    broker.submit(vec![vec![batch(99)]], SyncLevel::Synced);
    broker.step_all();
    let (recovered, heard) = hear(&mem(&disk)).unwrap();
    assert_eq!((recovered.next_lsn, heard.damaged.len()), (Lsn(12), 1));
    assert_eq!(heard.frames[&Lsn(11)], vec![batch(99)]);
}

#[test]
fn bytes_behind_the_header_go_to_quarantine_and_the_header_stays() {
    let mut files = bare_after_damage().files();
    let name = chunk_name(BARE, ChunkKind::Log);
    let bytes = files.get_mut(&name).unwrap();
    bytes.resize(2 * CHUNK_HEADER_BYTES as usize, 0);
    bytes[CHUNK_HEADER_BYTES as usize..][..40].fill(0xaa);
    let image = MemDisk::with_files(1, files);
    let torn = all_is_there(&image).unwrap().quarantined.remove(0);
    assert_eq!((torn.file.as_str(), torn.bytes), (name.as_str(), 40));
    assert_eq!(image.files()[&torn.kept_as], vec![0xaa; 40]);
    cut_between(&image, 1);
}

#[test]
fn a_full_disk_leaves_the_chunk_where_it_is() {
    for torn in [false, true] {
        let mut files = bare_after_damage().files();
        let bytes = files.get_mut(&chunk_name(BARE, ChunkKind::Log)).unwrap();
        bytes.resize(2 * CHUNK_HEADER_BYTES as usize, 0);
        bytes[CHUNK_HEADER_BYTES as usize] = u8::from(torn);
        let used = files.values().map(|bytes| bytes.len() as u64).sum();
        let image = MemDisk::with_files(1, files.clone());
        image.set_capacity(Some(used));
        let recovered = all_is_there(&image).unwrap();
        assert_eq!(recovered.quarantined.len(), usize::from(torn));
        assert_eq!(image.files(), files);
        // The next chunk goes on from it in its place.
        image.set_capacity(None);
        let mut broker = Broker::start(mem(&image), &recovered, Known::default(), || 0);
        broker.submit(vec![vec![batch(99)]], SyncLevel::Synced);
        broker.step_all();
        let after = image.crash(FaultPlan::drop_all());
        assert_eq!(hear(&mem(&after)).unwrap().0.next_lsn, Lsn(12));
    }
}

#[test]
fn the_header_is_not_believed_to_be_on_disk() {
    // The process was killed, and the page cache alone holds the header.
    let disk = bare_after_damage();
    let mut files = disk.files();
    let header = files.remove(&chunk_name(BARE, ChunkKind::Log)).unwrap();
    let image = MemDisk::with_files(1, files).with_history();
    let file = image.create(&chunk_name(BARE, ChunkKind::Log)).unwrap();
    file.write_at(&header, 0).unwrap();
    all_is_there(&image).unwrap();
    all_is_there(&image.crash(FaultPlan::drop_all())).unwrap();
}

#[test]
fn a_failed_sync_ends_the_start_and_keeps_the_proof() {
    for after in 0..2 {
        let image = MemDisk::with_files(1, bare_after_damage().files());
        image.fail_sync(after, WriteFault::Broken);
        let failed = hear(&mem(&image)).is_err();
        assert!(failed || after > 0);
        cut_between(&image.crash(FaultPlan::drop_all()), 1);
    }
}

#[test]
fn what_is_written_anew_says_that_it_is_whole() {
    let disk = bare_after_damage();
    let before = ChunkFile::open(&disk, BARE, ChunkKind::Log).unwrap();
    let recovered = all_is_there(&disk).unwrap();
    let after = ChunkFile::open(&disk, BARE, ChunkKind::Log).unwrap();
    let synced = Position::new(BARE, CHUNK_HEADER_BYTES);
    let whole = ChunkHeader {
        synced,
        ..*before.header()
    };
    assert_eq!((after.header(), recovered.end), (&whole, synced));
}

#[test]
fn a_repair_goes_by_the_proof_too() {
    let disk = bare_after_damage();
    let name = chunk_name(ChunkId(1), ChunkKind::Log);
    // The header of the second frame, and the entry in it.
    let second = u64::from(CHUNK_HEADER_BYTES) + 64 + 144;
    assert!(disk.flip(&name, second + 20, 1) && disk.flip(&name, second + 64 + 5, 1));
    hear(&mem(&disk)).unwrap_err();
    let done = repair(&mem(&disk), RepairMode::Write).unwrap();
    assert_eq!((done.lost.len(), done.rewritten), (1, vec![name]));
    let (recovered, heard) = hear(&mem(&disk)).unwrap();
    assert_eq!((recovered.next_lsn, heard.damaged.len()), (Lsn(11), 1));
}
