//! What a repair keeps of a log that recovery refuses.

use super::*;
use crate::checkpoint::CheckpointWriter;
use crate::chunk::{CHUNK_HEADER_BYTES, ChunkKind, ChunkWriter, chunk_name, parse_chunk_name};
use crate::entry::EntryKind;
use crate::scripted::Heard;
use crate::store::{ChunkStore as _, Group, SyncLevel};

/// A log of several chunks, all synced, with a mark at its end.
fn long_log(seed: u64) -> (MemDisk, Known) {
    let disk = MemDisk::new(seed);
    let (recovered, _) = hear(&mem(&disk)).unwrap();
    let mut broker = Broker::start(mem(&disk), &recovered, Known::default(), || 0);
    let mut dice = Dice::new(seed);
    for _ in 0..12 {
        broker.act(&mut dice);
    }
    broker.store.submit(Group::sync_only());
    broker.mark(false);
    broker.step_all();
    let known = broker.known.lock().unwrap().clone();
    (disk, known)
}

/// All that is heard was written, or is the filler of a repair; how many entries are missing.
fn missing(known: &Known, heard: &Heard) -> usize {
    let mut missing = 0;
    for (lsn, written) in &known.frames {
        let said = heard.frames.get(lsn).map_or(&[][..], Vec::as_slice);
        let filler = |kind| kind == EntryKind::SyncedMark;
        let strange = said.iter().find(|s| !filler(s.0) && !written.contains(s));
        assert_eq!(strange, None, "frame {}", lsn.0);
        let lost = written.iter().filter(|w| !filler(w.0) && !said.contains(w));
        missing += lost.count();
    }
    missing
}

/// Repairs, first dry, and recovers; what was lost, in words.
fn repaired(disk: &MemDisk, known: &Known) -> (Repair, usize) {
    let before = disk.files();
    let planned = repair(&mem(disk), RepairMode::DryRun).unwrap();
    assert_eq!(disk.files(), before, "a dry run changes nothing");
    let done = repair(&mem(disk), RepairMode::Write).unwrap();
    assert_eq!(planned, done);
    let (_, heard) = hear(&mem(disk)).unwrap_or_else(|fault| panic!("{fault} after {done:?}"));
    let missing = missing(known, &heard);
    // A synced repair outlives a power cut like anything else.
    hear(&mem(&disk.crash(FaultPlan::drop_all()))).unwrap();
    (done, missing)
}

#[test]
fn a_whole_log_needs_no_repair() {
    for seed in 0..10 {
        let (disk, known) = long_log(seed);
        let (done, missing) = repaired(&disk, &known);
        assert_eq!((done, missing), (Repair::default(), 0));
    }
}

#[test]
fn wiped_sectors_are_repaired_and_told() {
    let mut refused = 0;
    for seed in 0..150 {
        let (disk, known) = long_log(seed % 5);
        let mut dice = Dice::new(seed);
        let mut files = disk.files();
        let log = |name: &String| parse_chunk_name(name).is_some_and(|c| c.1 == ChunkKind::Log);
        let mut logs: Vec<_> = files.iter_mut().filter(|(name, _)| log(name)).collect();
        let chosen = usize::try_from(dice.below(logs.len() as u64)).unwrap();
        let bytes = &mut logs[chosen].1;
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() - 104;
        let at = usize::try_from(dice.below(used as u64 / 512)).unwrap() * 512;
        let sectors = 1 + usize::try_from(dice.below(3)).unwrap();
        let to = (at + sectors * 512).min(used);
        bytes[at..to].fill(u8::try_from(dice.below(2)).unwrap() * 0xaa);
        let image = MemDisk::with_files(1, files);
        if hear(&mem(&image)).is_ok() {
            continue;
        }
        refused += 1;
        let (done, missing) = repaired(&image, &known);
        assert!(
            missing == 0 || !done.lost.is_empty(),
            "seed {seed}: {done:?}"
        );
        let kept = image.files();
        let told = kept.keys().any(|name| name.starts_with("quarantine/"));
        assert!(told || done.lost.iter().all(|lost| lost.at.offset() == 0));
    }
    assert!(refused > 30, "{refused}");
}

#[test]
fn a_chunk_without_header_and_a_missing_one_are_made_up() {
    for seed in 0..10 {
        for chunk in 1..4 {
            let (disk, known) = long_log(seed);
            let name = chunk_name(ChunkId(chunk), ChunkKind::Log);
            if disk.files().contains_key(&name) {
                assert!(disk.flip(&name, 9, 1) && disk.flip(&name, 2100, 1));
                let (done, missing) = repaired(&disk, &known);
                assert_eq!((done.lost.len(), missing), (1, 0), "{done:?}");
            }
        }
        let (disk, known) = long_log(seed);
        let names: Vec<_> = chain::headers(&disk).unwrap();
        let Some(middle) = names.get(1).filter(|_| names.len() > 2) else {
            continue;
        };
        let mut files = disk.files();
        files.remove(&middle.name);
        let (done, _) = repaired(&MemDisk::with_files(1, files), &known);
        assert_eq!(done.lost.len(), 1);
        assert_eq!(done.rewritten, std::slice::from_ref(&middle.name));
    }
}

/// Six log chunks, of which the last names a checkpoint; behind that the fourth is to be replayed.
fn checkpointed_log() -> (MemDisk, Vec<chain::FoundChunk>, Position) {
    let disk = MemDisk::new(1);
    let (recovered, _) = hear(&mem(&disk)).unwrap();
    let mut broker = Broker::start(mem(&disk), &recovered, Known::default(), || 0);
    for number in 0..5 {
        let entry = (EntryKind::Batch, 4, number, vec![7; 100]);
        broker.submit(vec![vec![entry]], SyncLevel::Synced);
        broker.roll();
    }
    broker.mark(false);
    broker.step_all();
    let logs = chain::headers(&disk).unwrap();
    let (newest, fourth) = (logs.last().unwrap(), logs.get(3).unwrap().chunk);
    let checkpoint = ChunkHeader {
        chunk: ChunkId(90),
        kind: ChunkKind::Checkpoint,
        previous_end: Position::ZERO,
        ..newest.header.unwrap()
    };
    let out = ChunkWriter::create(mem(&disk), checkpoint).unwrap();
    let from = Position::new(fourth, CHUNK_HEADER_BYTES);
    let writer = CheckpointWriter::new(out, from);
    writer.finish().unwrap().0.finish().unwrap();
    let named = ChunkHeader {
        checkpoint: ChunkId(90),
        ..newest.header.unwrap()
    };
    newest.file.write_at(&named.encode(), 0).unwrap();
    (disk, logs, from)
}

/// What regrouping has taken from the middle of the log is not lost: a checkpoint lies behind it.
#[test]
fn chunks_that_a_checkpoint_made_needless_are_not_missed() {
    let (disk, logs, _) = checkpointed_log();
    let mut files = disk.files();
    for gone in logs.iter().skip(1).take(2) {
        files.remove(&gone.name).unwrap();
    }
    let image = MemDisk::with_files(1, files);
    let planned = repair(&mem(&image), RepairMode::DryRun).unwrap();
    assert_eq!(planned, Repair::default());
    // One that a start needs is missed.
    let mut files = image.files();
    files.remove(&logs.get(4).unwrap().name).unwrap();
    let image = MemDisk::with_files(1, files);
    let planned = repair(&mem(&image), RepairMode::DryRun).unwrap();
    assert_eq!(planned.lost.len(), 1);
}

/// Without the chunk with which replay begins, and perhaps the one behind it, no start is possible.
#[test]
fn a_log_that_has_lost_its_beginning_is_repaired_and_told() {
    for gone in [4, 5] {
        let (disk, logs, from) = checkpointed_log();
        let mut files = disk.files();
        for gone in logs.iter().take(gone) {
            files.remove(&gone.name).unwrap();
        }
        let image = MemDisk::with_files(1, files);
        let start = || {
            let mut heard = Heard::default();
            let from = RecoverFrom { position: from };
            recover(&mem(&image), &mut heard, from).map(|_| heard)
        };
        let refused = start().unwrap_err();
        assert!(refused.what.contains("is missing"), "{refused}");
        let before = image.files();
        let planned = repair(&mem(&image), RepairMode::DryRun).unwrap();
        assert_eq!(image.files(), before, "a dry run changes nothing");
        assert_eq!(planned.lost.len(), gone - 3, "{planned:?}");
        let clear = |lost: &Lost| lost.what.contains("all changes of topics, groups, offsets");
        assert!(planned.lost.iter().all(clear), "{planned:?}");
        assert_eq!(repair(&mem(&image), RepairMode::Write).unwrap(), planned);
        let heard = start().unwrap_or_else(|fault| panic!("{fault} after {planned:?}"));
        let kept = heard.frames.values().flatten();
        let kept = kept.filter(|said| said.0 == EntryKind::Batch);
        assert_eq!(kept.count(), 5 - gone, "what lies behind is there");
        let again = repair(&mem(&image), RepairMode::DryRun).unwrap();
        assert_eq!(again, Repair::default());
    }
}
