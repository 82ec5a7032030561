//! `mulgil repair` on a directory that is damaged here, and a server that starts on what it leaves.

use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;

use mulgil_log::chunk::{ChunkHeader, ChunkKind};
use mulgil_log::disk::{Disk, RealDisk};
use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_log::frame::{OpenFrame, Salt};
use mulgil_log::position::{ChunkId, Lsn, Position};
use mulgil_log::store::{ChunkStore as _, Group, StampedFrame, StepStore, StoreOptions, SyncLevel};

use super::{Command, Transcript, mulgil, run};

/// A log of two chunks; the second is a header and nothing else.
struct Log {
    store: StepStore,
    begun: Option<ChunkHeader>,
    at: Position,
    next: Lsn,
}

impl Log {
    fn new(disk: Arc<dyn Disk>) -> Self {
        let store = StepStore::new(disk, StoreOptions::default(), Arc::new(|_told| ()));
        let mut log = Self {
            store,
            begun: None,
            at: Position::ZERO,
            next: Lsn(1),
        };
        log.roll(1);
        log
    }

    fn roll(&mut self, chunk: u32) {
        let header = ChunkHeader {
            chunk: ChunkId(chunk),
            kind: ChunkKind::Log,
            incarnation: 1,
            previous_end: self.at,
            first_lsn: self.next,
            elapsed_ms: 0,
            wall_ms: 0,
            checkpoint: ChunkId::NONE,
            synced: Position::ZERO,
            cluster: 7,
            salt: Salt::derive(9, ChunkId(chunk)),
        };
        self.at = header.first_position();
        self.begun = Some(header);
    }

    /// A frame for each of these entries: kind, object, payload; all with one sync.
    fn write(&mut self, entries: &[(EntryKind, u64, &[u8])]) -> Vec<Position> {
        let mut places = Vec::new();
        let mut frames = Vec::new();
        for (kind, object, payload) in entries {
            let mut frame = OpenFrame::new(self.at, Vec::new());
            let header = EntryHeader {
                kind: *kind,
                version: 1,
                flags: 0,
                length: 0,
                object: *object,
                base: 1,
                count: 1,
            };
            places.push(frame.push(header, &[payload]));
            self.at = frame.end();
            frames.push(StampedFrame {
                frame,
                lsn: self.next,
                elapsed_ms: 0,
                wall_ms: 0,
            });
            self.next = self.next.next();
        }
        self.store.submit(Group {
            new_chunk: self.begun.take(),
            frames,
            level: SyncLevel::Synced,
            mark: false,
        });
        while self.store.step() {}
        places
    }
}

/// Two changes of groups are damaged; that the second was synced is in the header of chunk 2 alone.
fn damaged(dir: &Path) {
    let epoch = (EntryKind::LeaderEpoch, 0, &[][..]);
    let offsets = |group| (EntryKind::GroupOffsets, group, &[8; 50][..]);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir).unwrap());
    let mut log = Log::new(Arc::clone(&disk));
    let mut places = log.write(&[epoch]);
    places.extend(log.write(&[offsets(17)]));
    places.extend(log.write(&[offsets(18), epoch]));
    log.roll(2);
    log.write(&[]);
    let file = disk.open("0000000001.log").unwrap();
    for place in [places[1], places[2]] {
        file.write_at(&[9], u64::from(place.offset()) + 50).unwrap();
    }
}

/// Starts a server and stops it; what it wrote to standard error, and its exit code.
fn serve(dir: &str) -> (String, Option<i32>) {
    let line = format!("server --data-dir {dir} --kafka 0 --http 0 --sqs 0");
    let mut child = mulgil(&line).spawn().unwrap();
    let mut ready = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut ready).unwrap();
    if ready.contains("Server startup complete") {
        let id = child.id().to_string();
        let kill = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(kill.success());
    }
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    (stderr, ended.status.code())
}

#[test]
fn a_damaged_directory_is_repaired_and_starts() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("data");
    let dir = path.display().to_string();
    let mut t = Transcript::default();
    t.mask(dir.clone(), "DIR");
    t.mask(format!("process {}", std::process::id()), "process PID");
    let repair = format!("repair --data-dir {dir}");
    t.run(&repair);
    assert!(!path.exists(), "nothing is made");
    damaged(&path);
    for _ in 0..2 {
        let (stderr, code) = serve(&dir);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("mulgil repair"), "{stderr}");
    }
    for format in super::FORMATS {
        t.run(&format!("{repair} -o {format}"));
    }
    let lock = RealDisk::open(&path).unwrap();
    t.run(&format!("{repair} --yes"));
    drop(lock);
    t.run(&format!("{repair} --yes"));
    t.run(&repair);
    t.run(&format!("{repair} --yes -o json"));
    t.check("repair");
    for _ in 0..3 {
        let (stderr, code) = serve(&dir);
        assert_eq!(code, Some(0), "{stderr}");
        for chunk in ["0000000001.log", "0000000002.log"] {
            assert!(path.join(chunk).exists(), "{chunk} is still needed");
        }
    }
    let whole = run(&mut mulgil(&repair), b"");
    assert_eq!(whole.status.code(), Some(0));
}
