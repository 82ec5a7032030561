//! The operating system's files, with every operation written down outside the data directory.
//!
//! A write is written down before it is done, a sync after it is done and before the caller hears of
//! it. So a recording that is cut anywhere tells of no sync that did not happen, and of every write
//! that a later power cut could have left behind. The recording itself is not synced: it outlives a
//! killed process, not a power cut.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::ops::DiskOp;
use super::{Disk, DiskFile, RealDisk, Space};
use crate::fault::{Fault, FaultKind};

#[derive(Debug)]
struct Tape {
    file: File,
    sequence: u64,
    next_file: u64,
    /// Numbers of files by their present name.
    names: std::collections::BTreeMap<String, u64>,
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

    fn with<T>(&self, act: impl FnOnce(&mut Tape, &RealDisk) -> io::Result<T>) -> io::Result<T> {
        let mut tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut tape, &self.disk)
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
        let mut tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        tape.note(op)
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

    fn sync(&self) -> io::Result<()> {
        self.file.sync()?;
        self.note(&DiskOp::Sync { file: self.number })
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
