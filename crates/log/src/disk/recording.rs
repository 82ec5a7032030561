//! The operating system's files, with every operation written down outside the data directory.
//!
//! A write is written down before it is done, a sync after it is done and before the caller hears of
//! it. So a recording that is cut anywhere tells of no sync that did not happen, and of every write
//! that a later power cut could have left behind. The recording itself is not synced: it outlives a
//! killed process, not a power cut.
//!
//! A mistake from [`Planted`] can be built in: then less is synced than the caller is told.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::ops::DiskOp;
use super::planted::Planted;
use super::{Disk, DiskFile, RealDisk, Space};
use crate::fault::{Fault, FaultKind};

/// How long after the reply a sync comes with [`Planted::EarlyReply`].
const LATE: Duration = Duration::from_millis(20);
/// Of so many syncs one is left out with [`Planted::SometimesNoSync`].
const LEFT_OUT_OF: u64 = 8;

#[derive(Debug)]
struct Tape {
    file: File,
    sequence: u64,
    next_file: u64,
    /// Numbers of files by their present name.
    names: std::collections::BTreeMap<String, u64>,
    planted: Option<Planted>,
    /// How often each file was to be synced.
    syncs: std::collections::BTreeMap<u64, u64>,
}

impl Tape {
    fn note(&mut self, op: &DiskOp) -> io::Result<()> {
        self.sequence += 1;
        self.file.write_all(&op.encode(self.sequence))
    }

    fn number(&mut self, name: &str) -> u64 {
        self.next_file += 1;
        self.names.insert(name.to_owned(), self.next_file);
        self.next_file
    }

    /// Which file is synced when `file` should be, if any is.
    fn synced_for(&mut self, file: u64) -> Option<u64> {
        let count = self.syncs.entry(file).or_default();
        *count += 1;
        match self.planted {
            Some(Planted::NoSync) => None,
            Some(Planted::NoHeaderSync) if *count == 1 => None,
            Some(Planted::SometimesNoSync) if count.is_multiple_of(LEFT_OUT_OF) => None,
            Some(Planted::WrongFile) if file > 1 => Some(file - 1),
            _ => Some(file),
        }
    }
}

fn lock(tape: &Mutex<Tape>) -> MutexGuard<'_, Tape> {
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

type Shared = Arc<Mutex<Tape>>;

/// A [`RealDisk`] that writes down what is done to it.
#[derive(Debug)]
pub struct RecordingDisk {
    disk: RealDisk,
    tape: Shared,
}

impl RecordingDisk {
    /// Records everything done to `disk` into a new file at `recording`, beginning with what is there.
    ///
    /// # Errors
    ///
    /// If `recording` exists, or what the system says.
    pub fn start(disk: RealDisk, recording: &Path) -> Result<Self, Fault> {
        let failed = |source| {
            let what = format!("recording into {}", recording.display());
            Fault::io(FaultKind::Unavailable, what, source)
        };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(recording)
            .map_err(failed)?;
        let mut tape = Tape {
            file,
            sequence: 0,
            next_file: 0,
            names: std::collections::BTreeMap::new(),
            planted: None,
            syncs: std::collections::BTreeMap::new(),
        };
        for (name, length) in disk.list().map_err(failed)? {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let mut bytes = vec![0; length];
            let read = disk
                .open(&name)
                .and_then(|file| file.read_at(&mut bytes, 0));
            bytes.truncate(read.map_err(failed)?);
            let file = tape.number(&name);
            let bytes = Bytes::from(bytes);
            tape.note(&DiskOp::Base { file, name, bytes })
                .map_err(failed)?;
        }
        Ok(Self {
            disk,
            tape: Arc::new(Mutex::new(tape)),
        })
    }

    /// The same disk, with a mistake built in.
    #[must_use]
    pub fn with_planted(self, planted: Option<Planted>) -> Self {
        lock(&self.tape).planted = planted;
        self
    }

    fn with<T>(&self, act: impl FnOnce(&mut Tape, &RealDisk) -> io::Result<T>) -> io::Result<T> {
        act(&mut lock(&self.tape), &self.disk)
    }

    fn wrap(&self, number: u64, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(RecordingFile {
            number,
            file,
            tape: Arc::clone(&self.tape),
        })
    }
}

impl Disk for RecordingDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let (number, file) = self.with(|tape, disk| {
            let file = disk.create(name)?;
            let number = tape.number(name);
            tape.note(&DiskOp::Create {
                file: number,
                name: name.to_owned(),
            })?;
            Ok((number, file))
        })?;
        Ok(self.wrap(number, file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let (number, file) = self.with(|tape, disk| {
            let file = disk.open(name)?;
            let number = tape.names.get(name).copied();
            Ok((number.ok_or(io::ErrorKind::NotFound)?, file))
        })?;
        Ok(self.wrap(number, file))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|tape, disk| {
            disk.rename(from, to)?;
            if let Some(number) = tape.names.remove(from) {
                tape.names.insert(to.to_owned(), number);
            }
            tape.note(&DiskOp::Rename {
                from: from.to_owned(),
                to: to.to_owned(),
            })
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|tape, disk| {
            disk.remove(name)?;
            tape.names.remove(name);
            tape.note(&DiskOp::Remove {
                name: name.to_owned(),
            })
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.with(|tape, disk| {
            if tape.planted == Some(Planted::NoDirectorySync) {
                return Ok(());
            }
            disk.sync_names()?;
            tape.note(&DiskOp::SyncNames)
        })
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space()
    }
}

#[derive(Debug)]
struct RecordingFile {
    number: u64,
    file: Arc<dyn DiskFile>,
    tape: Shared,
}

impl RecordingFile {
    fn note(&self, op: &DiskOp) -> io::Result<()> {
        lock(&self.tape).note(op)
    }

    /// Notes a sync of this file some time after its caller was told of it.
    fn note_later(&self) -> io::Result<()> {
        let (tape, op) = (Arc::clone(&self.tape), DiskOp::Sync { file: self.number });
        let late = move || {
            #[expect(clippy::disallowed_methods, reason = "the mistake is to be late")]
            thread::sleep(LATE);
            drop(lock(&tape).note(&op));
        };
        thread::Builder::new().spawn(late).map(drop)
    }
}

impl DiskFile for RecordingFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.note(&DiskOp::Write {
            file: self.number,
            offset,
            bytes: Bytes::copy_from_slice(bytes),
        })?;
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn read_new(&self, length: usize, offset: u64) -> io::Result<Vec<u8>> {
        self.file.read_new(length, offset)
    }

    fn reads_in_pieces(&self) {
        self.file.reads_in_pieces();
    }

    fn sync(&self) -> io::Result<()> {
        let (planted, synced) = {
            let mut tape = lock(&self.tape);
            (tape.planted, tape.synced_for(self.number))
        };
        let Some(file) = synced else {
            return Ok(());
        };
        self.file.sync()?;
        if planted == Some(Planted::EarlyReply) {
            return self.note_later();
        }
        self.note(&DiskOp::Sync { file })
    }

    fn allocate(&self, from: u64, bytes: u64) -> io::Result<()> {
        self.note(&DiskOp::Allocate {
            file: self.number,
            from,
            bytes,
        })?;
        self.file.allocate(from, bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.note(&DiskOp::SetLen {
            file: self.number,
            bytes,
        })?;
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
