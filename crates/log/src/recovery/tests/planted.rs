//! Bugs planted on purpose: the cuts must find each of them.

use std::io;

use super::*;
use crate::disk::{DiskFile, Space};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    NoSync,
    NoSyncOfNames,
    SyncsTheFirstFileOnly,
    SyncsEveryThirdTime,
}

#[derive(Debug)]
struct BuggyDisk {
    disk: Arc<dyn Disk>,
    bug: Bug,
    first: std::sync::OnceLock<Arc<dyn DiskFile>>,
    syncs: Arc<std::sync::atomic::AtomicU64>,
}

impl BuggyDisk {
    fn wrap(disk: Arc<dyn Disk>, bug: Bug) -> Arc<dyn Disk> {
        Arc::new(Self {
            disk,
            bug,
            first: std::sync::OnceLock::new(),
            syncs: Arc::default(),
        })
    }
}

impl Disk for BuggyDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.create(name)?;
        let first = Arc::clone(self.first.get_or_init(|| Arc::clone(&file)));
        Ok(Arc::new(BuggyFile {
            file,
            first,
            bug: self.bug,
            syncs: Arc::clone(&self.syncs),
        }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        match self.bug {
            Bug::NoSyncOfNames => Ok(()),
            Bug::NoSync | Bug::SyncsTheFirstFileOnly | Bug::SyncsEveryThirdTime => {
                self.disk.sync_names()
            }
        }
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space()
    }
}

#[derive(Debug)]
struct BuggyFile {
    file: Arc<dyn DiskFile>,
    first: Arc<dyn DiskFile>,
    bug: Bug,
    syncs: Arc<std::sync::atomic::AtomicU64>,
}

impl DiskFile for BuggyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let before = self
            .syncs
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match self.bug {
            Bug::NoSync => Ok(()),
            Bug::NoSyncOfNames => self.file.sync(),
            Bug::SyncsTheFirstFileOnly => self.first.sync(),
            Bug::SyncsEveryThirdTime if !before.is_multiple_of(3) => Ok(()),
            Bug::SyncsEveryThirdTime => self.file.sync(),
        }
    }

    fn allocate(&self, from: u64, bytes: u64) -> io::Result<()> {
        self.file.allocate(from, bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

#[test]
fn each_planted_bug_is_found() {
    for bug in [
        Bug::NoSync,
        Bug::NoSyncOfNames,
        Bug::SyncsTheFirstFileOnly,
        Bug::SyncsEveryThirdTime,
    ] {
        let found = (0..3).any(|seed| {
            let (disk, known) = life(seed, 14, |disk| BuggyDisk::wrap(disk, bug));
            cut_everywhere(&disk, &known, &plans()).is_err()
        });
        assert!(found, "{bug:?} was not found");
    }
}

#[test]
fn an_answer_before_the_sync_is_found() {
    let (disk, mut known) = life(2, 14, |disk| disk);
    // As if each answer had been given just before the sync that it was for.
    for (ops, _) in &mut known.synced {
        *ops = ops.saturating_sub(1);
    }
    assert!(cut_everywhere(&disk, &known, &plans()).is_err());
}

#[test]
fn a_recovery_that_trusts_the_page_cache_is_found() {
    // The copy of the tail is written and not synced; then the power goes.
    let found = (0..20).any(|seed| {
        let (disk, known) = life(seed, 6, |disk| disk);
        let spoiled = BuggyDisk::wrap(mem(&disk), Bug::NoSync);
        let (recovered, _) = hear(&spoiled).unwrap();
        let after = disk.crash(FaultPlan::drop_all());
        check(&after, &known, Lsn(recovered.next_lsn.0 - 1)).is_err()
    });
    assert!(found);
}
