//! The writer on its own, and its thread.

use std::sync::{Mutex, mpsc};

use super::*;
use crate::disk::{Disk, FaultPlan, MemDisk, RealDisk, WriteFault};
use crate::entry::{EntryHeader, EntryKind};
use crate::fault::FaultKind;
use crate::frame::{FrameHeader, Salt};
use crate::scripted::{SMALL, hear, mem};

pub(super) fn header(chunk: u32, previous_end: Position, first_lsn: u64) -> ChunkHeader {
    ChunkHeader {
        chunk: ChunkId(chunk),
        kind: ChunkKind::Log,
        incarnation: 1,
        previous_end,
        first_lsn: Lsn(first_lsn),
        elapsed_ms: 0,
        wall_ms: 0,
        checkpoint: ChunkId::NONE,
        synced: Position::ZERO,
        cluster: 1,
        salt: Salt(88),
    }
}

pub(super) fn stamped(at: Position, lsn: u64, payload: &[u8]) -> StampedFrame {
    let mut frame = OpenFrame::new(at, Vec::new());
    let entry = EntryHeader {
        kind: EntryKind::Batch,
        version: 1,
        flags: 0,
        length: 0,
        object: 1,
        base: i64::try_from(lsn).unwrap(),
        count: 1,
    };
    frame.push(entry, &[payload]);
    StampedFrame {
        frame,
        lsn: Lsn(lsn),
        elapsed_ms: lsn,
        wall_ms: lsn,
    }
}

/// A log of single frames over any store.
struct Lane {
    at: Position,
    lsn: u64,
    next: Option<ChunkHeader>,
}

impl Lane {
    fn new() -> Self {
        let first = header(1, Position::ZERO, 1);
        Self {
            at: first.first_position(),
            lsn: 1,
            next: Some(first),
        }
    }

    fn group(&mut self, level: SyncLevel) -> Group {
        let frame = stamped(self.at, self.lsn, &[5; 100]);
        self.at = frame.frame.end();
        self.lsn += 1;
        Group {
            new_chunk: self.next.take(),
            frames: vec![frame],
            level,
            mark: false,
        }
    }
}

type Told = Arc<Mutex<Vec<String>>>;

/// A callback that writes down what it is told, and the list.
fn listener() -> (OnCompletion, Told) {
    let told: Told = Arc::default();
    let list = Arc::clone(&told);
    let complete = Arc::new(move |completion| {
        let said = match completion {
            Completion::Written { frames } => format!("written {}", frames.len()),
            Completion::Synced { through } => format!("synced {:#x}", through.offset()),
            Completion::Failed(fault) => format!("failed {:?}", fault.kind),
        };
        list.lock().unwrap().push(said);
    });
    (complete, told)
}

fn take(told: &Told) -> Vec<String> {
    std::mem::take(&mut *told.lock().unwrap())
}

#[test]
fn written_groups_are_synced_with_the_next_synced_one() {
    let disk = MemDisk::new(1);
    let (complete, told) = listener();
    let store = StepStore::new(mem(&disk), SMALL, complete);
    let mut lane = Lane::new();
    store.submit(lane.group(SyncLevel::Written));
    store.submit(lane.group(SyncLevel::Synced));
    store.submit(Group::sync_only());
    while store.step() {}
    let ends = ["written 1", "written 1", "synced 0x11a0", "synced 0x11a0"];
    assert_eq!(take(&told), ends);
}

#[test]
fn joined_groups_share_one_sync() {
    let disk = MemDisk::new(1);
    let (complete, told) = listener();
    let store = StepStore::new(mem(&disk), SMALL, complete);
    let mut lane = Lane::new();
    for _ in 0..5 {
        store.submit(lane.group(SyncLevel::Synced));
    }
    assert!(store.step_joined(5));
    assert_eq!(take(&told), ["written 5", "synced 0x1410"]);
}

#[test]
fn much_that_is_unsynced_is_synced_unasked() {
    let disk = MemDisk::new(1);
    let (complete, told) = listener();
    let store = StepStore::new(mem(&disk), SMALL, complete);
    let mut lane = Lane::new();
    while take(&told).iter().all(|said| said.starts_with("written")) {
        store.submit(lane.group(SyncLevel::Written));
        store.step();
        assert!(lane.lsn < 200);
    }
    assert!(lane.lsn > 100);
}

#[test]
fn after_a_failure_nothing_is_written() {
    for (syncs, writes) in [(Some(2), None), (None, Some(3)), (Some(3), None)] {
        let disk = MemDisk::new(1);
        let (complete, told) = listener();
        let store = StepStore::new(mem(&disk), SMALL, complete);
        let mut lane = Lane::new();
        if let Some(after) = syncs {
            disk.fail_sync(after, WriteFault::Broken);
        }
        if let Some(after) = writes {
            disk.fail_write(after, WriteFault::Full);
        }
        for _ in 0..4 {
            store.submit(lane.group(SyncLevel::Synced));
            store.step();
        }
        let said = take(&told);
        assert_eq!(said.last().unwrap(), "failed Fatal", "{said:?}");
        assert_eq!(said.iter().filter(|s| s.starts_with("failed")).count(), 1);
        let done = disk.ops();
        store.submit(lane.group(SyncLevel::Synced));
        store.step();
        assert_eq!(disk.ops(), done);
    }
}

#[test]
fn a_frame_in_the_wrong_place_is_refused() {
    let disk = MemDisk::new(1);
    let (complete, told) = listener();
    let store = StepStore::new(mem(&disk), SMALL, complete);
    let mut lane = Lane::new();
    store.submit(lane.group(SyncLevel::Synced));
    lane.at = lane.at.plus(8);
    store.submit(lane.group(SyncLevel::Synced));
    while store.step() {}
    assert_eq!(take(&told).last().unwrap(), "failed Fatal");
}

#[test]
fn a_nearly_full_disk_is_not_filled_ahead() {
    let disk = MemDisk::new(1);
    disk.set_capacity(Some(40 << 10));
    let (complete, told) = listener();
    let store = StepStore::new(mem(&disk), SMALL, complete);
    let mut lane = Lane::new();
    store.submit(lane.group(SyncLevel::Synced));
    store.step();
    assert_eq!(take(&told).last().unwrap(), "synced 0x10d0");
    assert_eq!(disk.files()["0000000001.log"].len(), 0x10d0);
}

#[test]
fn zeroes_are_written_ahead_of_small_frames_once_and_not_of_large_ones() {
    // A frame here takes 208 bytes; a write is small up to a 128th of what is filled.
    for (fill_bytes, extra) in [(32 << 10, 1), (16 << 10, 0)] {
        let disk = MemDisk::new(1);
        let (complete, _) = listener();
        let options = StoreOptions {
            fill_bytes,
            ..SMALL
        };
        let store = StepStore::new(mem(&disk), options, complete);
        let mut lane = Lane::new();
        let mut ops = Vec::new();
        for _ in 0..10 {
            let before = disk.ops();
            store.submit(lane.group(SyncLevel::Synced));
            while store.step() {}
            ops.push(disk.ops() - before);
        }
        let after_first = ops.split_off(1);
        assert!(after_first.iter().all(|n| *n == 2), "{after_first:?}");
        let begun = 5; // create, allocate, header, sync, names
        assert_eq!(ops, [begun + 2 + extra]);
    }
}

#[test]
fn a_mark_says_that_all_before_it_is_synced() {
    let disk = MemDisk::new(1);
    let (complete, _) = listener();
    let store = StepStore::new(mem(&disk), SMALL, complete);
    let mut lane = Lane::new();
    let mut group = lane.group(SyncLevel::Written);
    let at = lane.at;
    let mark = StampedFrame {
        frame: OpenFrame::synced_mark(at, Vec::new()),
        lsn: Lsn(2),
        elapsed_ms: 0,
        wall_ms: 0,
    };
    group.level = SyncLevel::Written;
    store.submit(group);
    store.submit(Group {
        new_chunk: None,
        frames: vec![mark],
        level: SyncLevel::Synced,
        mark: true,
    });
    assert!(store.step_joined(2));
    let file = store.open_chunk(ChunkId(1)).unwrap();
    let bytes = file.read(u64::from(at.offset()), 64).unwrap();
    let mark = FrameHeader::read(&bytes, at, Salt(88)).unwrap();
    assert_eq!(mark.synced, at);
}

#[test]
fn ten_threads_on_a_real_disk() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&folder.path().join("data")).unwrap());
    let refused = RealDisk::open(&folder.path().join("data")).unwrap_err();
    assert_eq!(refused.kind, FaultKind::Fenced);
    let owner = format!("is in use by process {}", std::process::id());
    assert!(refused.what.ends_with(&owner), "{refused}");
    let (tell, told) = mpsc::channel();
    let complete = Arc::new(move |completion| tell.send(completion).unwrap());
    let store = LocalStore::start(Arc::clone(&disk), StoreOptions::default(), complete).unwrap();
    let lane = Mutex::new(Lane::new());
    std::thread::scope(|scope| {
        for _ in 0..10 {
            let submit = || store.submit(lane.lock().unwrap().group(SyncLevel::Synced));
            scope.spawn(move || (0..50).for_each(|_| submit()));
        }
    });
    let end = lane.lock().unwrap().at;
    let mut written = 0;
    for completion in told {
        match completion {
            Completion::Written { frames } => written += frames.len(),
            Completion::Synced { through } if through == end => break,
            Completion::Synced { .. } => {}
            Completion::Failed(fault) => panic!("{fault}"),
        }
    }
    assert_eq!(written, 500);
    drop(store);
    let (recovered, heard) = hear(&disk).unwrap();
    assert_eq!((recovered.next_lsn, heard.frames.len()), (Lsn(501), 500));
    drop(disk);
    drop(RealDisk::open(&folder.path().join("data")).unwrap());
}

#[test]
fn an_unfinished_chunk_has_no_name() {
    let disk = MemDisk::new(1);
    let store = StepStore::new(mem(&disk), SMALL, listener().0);
    let sorted = ChunkHeader {
        kind: ChunkKind::Sorted,
        ..header(5, Position::ZERO, 0)
    };
    let mut writer = store.create_chunk(sorted).unwrap();
    writer.append(b"some").unwrap();
    assert_eq!(store.chunks().unwrap(), []);
    let image = disk.crash(FaultPlan::keep_all());
    hear(&mem(&image)).unwrap();
    assert!(
        image.files().is_empty(),
        "recovery removes what nobody finished"
    );
    let file = writer.finish().unwrap();
    assert_eq!(file.read(4096, 4).unwrap(), "some");
    assert_eq!(file.header().synced, Position::new(ChunkId(5), 4100));
    let after = disk.crash(FaultPlan::drop_all());
    assert_eq!(after.files()["0000000005.sorted"].len(), 4100);
    drop(
        store
            .create_chunk(ChunkHeader {
                chunk: ChunkId(6),
                ..sorted
            })
            .unwrap(),
    );
    let there = store.chunks().unwrap();
    assert_eq!(there, [(ChunkId(5), ChunkKind::Sorted, 4100)]);
    store.delete(ChunkId(5)).unwrap();
    assert!(store.open_chunk(ChunkId(5)).is_err());
}
