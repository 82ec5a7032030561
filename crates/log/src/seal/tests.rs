//! Footers of log chunks.

use std::sync::Arc;

use super::*;
use crate::chunk::{ChunkHeader, ChunkWriter};
use crate::disk::{Disk, FaultPlan, MemDisk};
use crate::entry::{EntryHeader, EntryKind};
use crate::fault::FaultKind;
use crate::footer::Footer;
use crate::frame::{FLAG_GROUP_END, FrameHeader, OpenFrame, Salt};
use crate::index::{Index, Located};
use crate::position::{ChunkId, Lsn};
use crate::reader::read_cold;
use crate::recovery::{relist, reseal};
use crate::regroup::{Keep, Live, Output, RegroupOptions, Source, regroup};
use crate::testing::{Sample, samples, timestamp_of};

/// Nobody gives anything up.
struct KeepAll;

impl Live for KeepAll {
    fn live(&self, _: u64, _: i64, _: i64) -> Keep {
        Keep::All
    }

    fn max_timestamp(&self, _: &EntryHeader, payload: &[u8]) -> i64 {
        timestamp_of(payload)
    }
}

fn header(chunk: u32, kind: ChunkKind) -> ChunkHeader {
    ChunkHeader {
        chunk: ChunkId(chunk),
        kind,
        incarnation: 1,
        previous_end: Position::ZERO,
        first_lsn: Lsn(1),
        elapsed_ms: 0,
        wall_ms: 0,
        checkpoint: ChunkId::NONE,
        synced: Position::ZERO,
        cluster: 0,
        salt: Salt(77),
    }
}

/// A log chunk of frames with room behind them, and where its frames end.
fn write_frames(disk: &MemDisk, samples: &[Sample], index: &mut Index) -> Position {
    let header = header(1, ChunkKind::Log);
    let file = disk.create(&header.name()).unwrap();
    file.allocate(0, 1 << 20).unwrap();
    file.write_at(&header.encode(), 0).unwrap();
    let mut at = header.first_position();
    for (lsn, group) in (1..).zip(samples.chunks(7)) {
        let mut frame = OpenFrame::new(at, Vec::new());
        for sample in group {
            push(&mut frame, sample, index);
        }
        at = frame.end();
        let begin = frame.position();
        let stamp = FrameHeader {
            flags: FLAG_GROUP_END,
            length: 0,
            entries: 0,
            lsn: Lsn(lsn),
            position: begin,
            synced: Position::ZERO,
            elapsed_ms: 0,
            wall_ms: 0,
            incarnation: 1,
            salt: header.salt,
        };
        let bytes = frame.seal(&stamp);
        file.write_at(&bytes, u64::from(begin.offset())).unwrap();
    }
    file.sync().unwrap();
    disk.sync_names().unwrap();
    at
}

fn push(frame: &mut OpenFrame, sample: &Sample, index: &mut Index) {
    let payload = sample.payload();
    let header = EntryHeader {
        kind: EntryKind::Batch,
        version: 1,
        flags: 0,
        length: 0,
        object: sample.partition,
        base: sample.base,
        count: sample.count,
    };
    let at = frame.push(header, &[&payload]);
    let entry = TailEntry {
        base: sample.base,
        last: sample.last(),
        at,
        length: u32::try_from(payload.len()).unwrap(),
        max_timestamp: sample.timestamp,
    };
    index.append(sample.partition, entry);
}

fn tail(index: &Index, chunk: u32) -> Vec<(u64, Vec<TailEntry>)> {
    let tail = index.tail_of(ChunkId(chunk), ..);
    tail.map(|(partition, entries)| (partition, entries.copied().collect()))
        .collect()
}

fn open(disk: &MemDisk, chunk: u32, kind: ChunkKind) -> ChunkFile {
    ChunkFile::open(disk, ChunkId(chunk), kind).unwrap()
}

/// All payloads of a partition, read in small steps out of one chunk.
fn read_partition(index: &Index, file: &ChunkFile, partition: u64) -> Vec<Vec<u8>> {
    let footer = Footer::open(file).unwrap();
    let mut found = Vec::new();
    let mut offset = 0;
    while let Located::Cold(read) = index.locate(partition, offset, 500, i64::MAX) {
        let batches = read_cold(file, &footer, &read).unwrap();
        offset = batches.last().map_or(read.end, |batch| batch.last + 1);
        found.extend(batches.into_iter().map(|batch| batch.payload.to_vec()));
    }
    found
}

fn payloads(samples: &[Sample], partition: u64) -> Vec<Vec<u8>> {
    let of_it = samples.iter().filter(|s| s.partition == partition);
    of_it.map(Sample::payload).collect()
}

#[test]
fn a_log_chunk_is_sealed_read_and_regrouped_on_a_disk() {
    let disk = MemDisk::new(1);
    let mut index = Index::new();
    let samples = samples(5, 500, 200);
    let end = write_frames(&disk, &samples, &mut index);
    let chunk = open(&disk, 1, ChunkKind::Log);
    let sealed = seal_log_chunk(&chunk, end, tail(&index, 1), &[]).unwrap();
    assert_eq!(chunk.bytes().unwrap(), sealed.footer.bytes, "cut to length");
    index.seal(ChunkId(1), sealed.extents);
    for partition in 1..=5 {
        let found = read_partition(&index, &chunk, partition);
        assert_eq!(found, payloads(&samples, partition));
    }
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut create = |_: ChunkKind| -> Result<Box<dyn Output>, Fault> {
        let writer = ChunkWriter::create(Arc::clone(&shared), header(2, ChunkKind::Sorted))?;
        Ok(Box::new(writer))
    };
    let source = Source {
        file: &chunk,
        footer: sealed.footer,
    };
    let options = RegroupOptions::default();
    let done = regroup(&[source], &[], &KeepAll, &options, &mut create).unwrap();
    index.replace(&done.removed, done.added);
    let crashed = disk.crash(FaultPlan::drop_all());
    let sorted = open(&crashed, 2, ChunkKind::Sorted);
    for partition in 1..=5 {
        let found = read_partition(&index, &sorted, partition);
        assert_eq!(found, payloads(&samples, partition));
    }
}

#[test]
fn a_power_cut_while_a_footer_is_written_costs_no_frame() {
    let disk = MemDisk::new(1).with_history();
    let mut index = Index::new();
    let samples = samples(5, 500, 200);
    let end = write_frames(&disk, &samples, &mut index);
    let before = disk.ops();
    let chunk = open(&disk, 1, ChunkKind::Log);
    let sealed = seal_log_chunk(&chunk, end, tail(&index, 1), &[]).unwrap();
    let mut after = Index::new();
    for (partition, extent) in &sealed.extents {
        after.load(*partition, *extent);
    }
    let frames = usize::try_from(end.offset()).unwrap();
    let whole = disk.files().into_values().next().unwrap();
    for ops in before..=disk.ops() {
        for seed in 0..20 {
            let cut = disk.crash_after(ops, FaultPlan::mixed(seed));
            let bytes = cut.files().into_values().next().unwrap();
            assert_eq!(bytes[..frames], whole[..frames]);
            let chunk = open(&cut, 1, ChunkKind::Log);
            match Footer::open(&chunk) {
                Ok(footer) => {
                    assert_eq!(footer, sealed.footer);
                    for partition in 1..=5 {
                        let found = read_partition(&after, &chunk, partition);
                        assert_eq!(found, payloads(&samples, partition));
                    }
                }
                Err(_) => assert!(ops < disk.ops(), "it was synced"),
            }
            // The next start seals it again.
            let again = seal_log_chunk(&chunk, end, tail(&index, 1), &[]).unwrap();
            assert_eq!(again.extents, sealed.extents);
            assert_eq!(Footer::open(&chunk).unwrap(), sealed.footer);
        }
    }
}

#[test]
fn frames_alone_give_the_footer_again_or_say_that_they_do_not() {
    let disk = MemDisk::new(1);
    let mut index = Index::new();
    let samples = samples(5, 500, 200);
    let end = write_frames(&disk, &samples, &mut index);
    let chunk = open(&disk, 1, ChunkKind::Log);
    let sealed = seal_log_chunk(&chunk, end, tail(&index, 1), &[]).unwrap();
    let name = header(1, ChunkKind::Log).name();
    let whole = disk.files().remove(&name).unwrap();
    let footer = usize::try_from(sealed.footer.at).unwrap();
    let relisted = |places: &[usize]| {
        for at in places {
            assert!(disk.flip(&name, *at as u64, 3));
        }
        let found = relist(&disk, ChunkId(1), &timestamp_of);
        for at in places {
            assert!(disk.flip(&name, *at as u64, 3));
        }
        found.map(|found| (found.end, found.tail.into_iter().collect::<Vec<_>>()))
    };
    let trailer = whole.len() - 10;
    let directory = whole.len() - 4096;
    for places in [
        &[directory][..],
        &[trailer],
        &[trailer, directory],
        &[footer + 20],
    ] {
        let (ends, again) = relisted(places).unwrap();
        assert_eq!((ends, &again), (end, &tail(&index, 1)));
        let again = seal_log_chunk(&chunk, end, again, &[]).unwrap();
        assert_eq!(again.extents, sealed.extents);
        assert!(disk.files()[&name] == whole);
    }
    // A payload is lost by itself; a header, of a frame or an entry, and nothing is certain.
    assert_eq!(relisted(&[directory, 4096 + 64 + 40]).unwrap().1.len(), 5);
    let last = end.offset() as usize - 8;
    let last_frame = (0..last)
        .rev()
        .find(|at| whole[*at..].starts_with(b"MGFR"))
        .unwrap();
    for at in [4096, 4096 + 64, last_frame + 20, end.offset() as usize] {
        let fault = relisted(&[trailer, at]).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Corrupt, "{at}");
    }
    // Without a whole trailer and a whole page nothing says that no frame follows; the next chunk does.
    assert!(relisted(&[trailer, footer + 20]).is_err());
    let next = ChunkHeader {
        previous_end: end,
        ..header(2, ChunkKind::Log)
    };
    disk.create(&next.name())
        .unwrap()
        .write_at(&next.encode(), 0)
        .unwrap();
    assert_eq!(relisted(&[trailer, footer + 20]).unwrap().0, end);
}

/// A log chunk with a footer whose directory is damaged, alone on its disk; and its extents.
fn with_bad_directory() -> (MemDisk, Sealed) {
    let disk = MemDisk::new(1);
    let mut index = Index::new();
    let end = write_frames(&disk, &samples(5, 500, 200), &mut index);
    let chunk = open(&disk, 1, ChunkKind::Log);
    let sealed = seal_log_chunk(&chunk, end, tail(&index, 1), &[]).unwrap();
    let name = header(1, ChunkKind::Log).name();
    let directory = disk.files()[&name].len() - 4096;
    assert!(disk.flip(&name, directory as u64, 3));
    (disk.crash(FaultPlan::keep_all()).with_history(), sealed)
}

/// Cuts the power after every operation that `mend` needs; says how many disks start for good then.
fn cut_while(mend: impl FnOnce(&MemDisk)) -> (usize, usize) {
    let (disk, sealed) = with_bad_directory();
    mend(&disk);
    let (mut fine, mut all) = (0, 0);
    for ops in 0..=disk.ops() {
        for plan in [
            FaultPlan::drop_all(),
            FaultPlan::keep_all(),
            FaultPlan::mixed(ops as u64),
        ] {
            let image = disk.crash_after(ops, plan);
            let chunk = open(&image, 1, ChunkKind::Log);
            let extents = Footer::open(&chunk).and_then(|footer| footer.extents(&chunk));
            let again = || reseal(&image, ChunkId(1), &timestamp_of, &[]);
            let extents = extents.or_else(|_| again().map(|done| done.sealed.extents));
            all += 1;
            fine += usize::from(extents.is_ok_and(|extents| extents == sealed.extents));
        }
    }
    (fine, all)
}

/// The chunks behind it may be gone, so that only its footer says where its frames end.
#[test]
fn a_cut_while_a_footer_is_made_anew_costs_no_later_start() {
    let (fine, all) = cut_while(|disk| {
        let done = reseal(disk, ChunkId(1), &timestamp_of, &[]).unwrap();
        assert!(done.unwritten.is_none());
        let chunk = open(disk, 1, ChunkKind::Log);
        let footer = Footer::open(&chunk).unwrap();
        assert_eq!(footer.extents(&chunk).unwrap(), done.sealed.extents);
        assert_eq!(disk.files().len(), 1);
    });
    assert_eq!(fine, all);
    let (fine, all) = cut_while(|disk| {
        let relisted = relist(disk, ChunkId(1), &timestamp_of).unwrap();
        let chunk = open(disk, 1, ChunkKind::Log);
        seal_log_chunk(&chunk, relisted.end, relisted.tail, &[]).unwrap();
    });
    assert!(fine < all, "in its own place it would");
}

#[test]
fn without_room_a_footer_is_made_anew_in_memory() {
    let (disk, sealed) = with_bad_directory();
    let before = disk.files();
    let used: usize = before.values().map(Vec::len).sum();
    disk.set_capacity(Some(used as u64 + 10_000));
    let done = reseal(&disk, ChunkId(1), &timestamp_of, &[]).unwrap();
    assert!(done.unwritten.is_some());
    assert_eq!(done.sealed.extents, sealed.extents);
    assert_eq!(disk.files(), before);
}
