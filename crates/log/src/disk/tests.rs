//! The three disks do the same, and only two of them lie.

use std::process::Command;

use super::*;
use crate::fault::FaultKind;
use crate::position::Lsn;
use crate::recovery::Recovered;
use crate::scripted::{Broker, Known, compare, hear, synced_by};

/// What every disk must do, however it does it.
fn behaves(disk: &dyn Disk) {
    let file = disk.create("a").unwrap();
    assert!(disk.create("a").is_err(), "it exists");
    assert!(disk.open("b").is_err(), "it does not exist");
    file.write_at(b"world", 6).unwrap();
    file.write_parts_at(&[Bytes::from("he"), Bytes::new(), Bytes::from("llo")], 0)
        .unwrap();
    let mut read = [9; 20];
    assert_eq!(file.read_at(&mut read, 0).unwrap(), 11);
    assert_eq!(&read[..12], b"hello\0world\x09");
    assert_eq!(file.read_at(&mut read, 11).unwrap(), 0);
    file.allocate(0, 8192).unwrap();
    assert_eq!(file.len().unwrap(), 8192);
    file.set_len(4).unwrap();
    file.sync().unwrap();
    disk.rename("a", "quarantine/b").unwrap();
    disk.create("c").unwrap();
    disk.sync_names().unwrap();
    let names = [("c".to_owned(), 0), ("quarantine/b".to_owned(), 4)];
    assert_eq!(disk.list().unwrap(), names);
    assert!(disk.open("c").unwrap().is_empty().unwrap());
    disk.remove("c").unwrap();
    assert!(disk.remove("c").is_err());
    for name in ["../x", "", ".hidden", "x/y", "quarantine/../x"] {
        assert!(disk.create(name).is_err(), "{name}");
    }
    let space = disk.space().unwrap();
    assert!(space.free > 0 && space.free <= space.total);
}

#[test]
fn all_disks_behave_alike() {
    behaves(&MemDisk::new(1));
    let folder = tempfile::tempdir().unwrap();
    behaves(&RealDisk::open(&folder.path().join("real")).unwrap());
    let real = RealDisk::open(&folder.path().join("recorded")).unwrap();
    behaves(&RecordingDisk::start(real, &folder.path().join("tape")).unwrap());
}

#[test]
fn more_parts_than_one_call_takes() {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(folder.path()).unwrap();
    let file = disk.create("many").unwrap();
    let parts: Vec<Bytes> = (0..3000_u32)
        .map(|n| Bytes::copy_from_slice(&n.to_le_bytes()))
        .collect();
    file.write_parts_at(&parts, 4).unwrap();
    let mut last = [0; 4];
    assert_eq!(file.read_at(&mut last, 4 * 3000).unwrap(), 4);
    assert_eq!(last, 2999_u32.to_le_bytes());
}

const DIRECTORY: &str = "MULGIL_TEST_LOCKED_DIRECTORY";

#[test]
fn a_second_process_is_refused() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        // The second process: this test, started by itself.
        let fault = RealDisk::open(directory.as_ref()).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Fenced);
        assert!(fault.what.contains("is in use by process "), "{fault}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let held = RealDisk::open(folder.path()).unwrap();
    let second = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "disk::tests::a_second_process_is_refused"])
        .env(DIRECTORY, folder.path())
        .output()
        .unwrap();
    assert!(second.status.success(), "{second:?}");
    drop(held);
    RealDisk::open(folder.path()).unwrap();
}

#[test]
fn a_cut_keeps_what_was_synced_and_nothing_else_for_sure() {
    let disk = MemDisk::new(3);
    let file = disk.create("a").unwrap();
    file.write_at(&[1; 2048], 0).unwrap();
    file.sync().unwrap();
    disk.sync_names().unwrap();
    file.write_at(&[2; 2048], 0).unwrap();
    disk.create("b").unwrap().write_at(&[3; 10], 0).unwrap();
    let dropped = disk.crash(FaultPlan::drop_all()).files();
    assert_eq!(dropped.len(), 1);
    assert_eq!(dropped["a"], vec![1; 2048]);
    let kept = disk.crash(FaultPlan::keep_all()).files();
    assert_eq!(
        (kept["a"].as_slice(), kept["b"].len()),
        (&[2; 2048][..], 10)
    );
    let torn = (0..100).map(|seed| disk.crash(FaultPlan::mixed(seed)).files()["a"].clone());
    let torn: std::collections::BTreeSet<Vec<u8>> = torn.collect();
    assert!(torn.len() > 10, "every mixture of sectors comes up");
    for bytes in &torn {
        let whole = bytes.chunks(512).all(|s| s.iter().all(|b| *b == s[0]));
        assert!(whole, "a sector is old or new, never both");
    }
    let again = disk.crash(FaultPlan::mixed(5)).files();
    assert_eq!(again, disk.crash(FaultPlan::mixed(5)).files());
}

#[test]
fn names_are_lost_or_kept_one_by_one() {
    let disk = MemDisk::new(3);
    disk.create("old").unwrap();
    disk.sync_names().unwrap();
    disk.create("new").unwrap();
    disk.rename("new", "newer").unwrap();
    disk.remove("old").unwrap();
    let outcomes = (0..200).map(|seed| disk.crash(FaultPlan::mixed(seed)).files());
    let names = outcomes.map(|files| files.into_keys().collect::<Vec<_>>().join(" "));
    let names: std::collections::BTreeSet<String> = names.collect();
    let wanted = ["", "new", "new old", "newer", "newer old", "old"];
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
}

#[test]
fn a_full_disk_refuses_and_frees_itself() {
    let disk = MemDisk::new(1);
    disk.set_capacity(Some(1000));
    let file = disk.create("a").unwrap();
    file.write_at(&[1; 900], 0).unwrap();
    let error = file.write_at(&[1; 200], 900).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    file.write_at(&[2; 900], 0).unwrap();
    disk.remove("a").unwrap();
    assert_eq!(disk.space().unwrap().free, 1000);
}

#[test]
fn a_recording_gives_the_disk_after_any_cut() {
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape");
    let real = RealDisk::open(&folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/before"), b"was there").unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RecordingDisk::start(real, &tape).unwrap());
    let (recovered, _): (Recovered, _) = hear(&disk).unwrap();
    // As a client would: the length of the recording when the answer arrives.
    let measured = tape.clone();
    let length = move || usize::try_from(std::fs::metadata(&measured).unwrap().len()).unwrap();
    let mut broker = Broker::start(Arc::clone(&disk), &recovered, Known::default(), length);
    let mut dice = cut::Dice::new(8);
    for _ in 0..8 {
        broker.act(&mut dice);
    }
    let mut known = broker.known.lock().unwrap().clone();
    let recording = Recording::open(&tape).unwrap();
    for (bytes, _) in &mut known.synced {
        *bytes = recording.ops_within(*bytes as u64);
    }
    assert!(known.synced.len() > 2);
    for cut in 0..=recording.ops().len() {
        let into = folder.path().join(format!("cut-{cut}"));
        replay_recording(&recording, cut, FaultPlan::mixed(cut as u64), &into).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&into).unwrap());
        let (recovered, heard) = hear(&disk).unwrap();
        let synced = synced_by(&known, cut);
        compare(&known, synced, &recovered, &heard).unwrap_or_else(|w| panic!("{cut}: {w}"));
        assert!(cut == 0 || into.join("before").exists());
        std::fs::remove_dir_all(&into).unwrap();
    }
    assert!(synced_by(&known, usize::MAX) > Lsn(5));
}

#[test]
fn a_recording_cut_in_the_middle_ends_before_it() {
    let ops = [
        DiskOp::Create {
            file: 1,
            name: "a".to_owned(),
        },
        DiskOp::Write {
            file: 1,
            offset: 3,
            bytes: Bytes::from("text"),
        },
        DiskOp::SyncNames,
    ];
    let mut bytes = Vec::new();
    for (op, sequence) in ops.iter().zip(1..) {
        bytes.extend(op.encode(sequence));
    }
    let whole = Recording::parse(Bytes::from(bytes.clone()));
    assert_eq!(whole.ops(), ops);
    for end in 0..bytes.len() {
        let cut = Recording::parse(Bytes::copy_from_slice(&bytes[..end]));
        assert_eq!(cut.ops().len(), whole.ops_within(end as u64));
    }
}
