//! A disk whose power goes at a chosen operation, that fails once on request, and that can lie.
//!
//! It lies around a [`MemDisk`], which knows what is durable. When the power is out nothing changes
//! any more; what a power cut leaves is worked out from the disk below at leisure.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mulgil_log::disk::{Disk, DiskFile, MemDisk, Space};

use crate::planted::Planted;

/// What goes wrong when the operations until it are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The power goes before the operation.
    PowerBefore,
    /// The power goes when the operation is done, before anybody is told.
    PowerAfter,
    /// The operation fails (EIO); of a write, some bytes may be there.
    Broken,
}

#[derive(Debug, Default)]
struct State {
    planned: Option<(u64, Trouble)>,
    out: bool,
    failed: bool,
    planted: Option<Planted>,
    recovering: bool,
    /// Files that were opened, for the sync of a wrong one.
    opened: Vec<(String, Arc<dyn DiskFile>)>,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    mem: MemDisk,
    state: Arc<Mutex<State>>,
}

fn broken() -> io::Error {
    io::Error::other("the simulated disk is broken")
}

impl SimDisk {
    /// A disk over `mem`.
    #[must_use]
    pub fn new(mem: MemDisk, planted: Option<Planted>) -> Self {
        let state = State {
            planted,
            ..State::default()
        };
        Self {
            mem,
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk below.
    #[must_use]
    pub const fn mem(&self) -> &MemDisk {
        &self.mem
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used(&self) -> u64 {
        let files = self.mem.files();
        files.values().map(|bytes| bytes.len() as u64).sum()
    }

    /// Plans what goes wrong when `after` further operations are done.
    pub fn plan(&self, after: u64, trouble: Trouble) {
        self.state().planned = Some((after, trouble));
    }

    /// Takes back what was planned and has not happened.
    pub fn calm(&self) {
        self.state().planned = None;
    }

    /// Takes the power away now.
    pub fn cut(&self) {
        self.state().out = true;
    }

    /// Whether the power is out.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.state().out
    }

    /// Whether an operation failed on request.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// Says that the disk below has a limit from here on, so that writes may fail.
    pub fn set_limited(&self) {
        self.state().failed = true;
    }

    /// Says whether recovery is at work, for bugs planted in it.
    pub fn set_recovering(&self, recovering: bool) {
        self.state().recovering = recovering;
    }

    /// Counts an operation that changes the disk, and does it if nothing goes wrong.
    fn change<T>(&self, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let trouble = {
            let mut state = self.state();
            if state.out {
                return Err(broken());
            }
            match &mut state.planned {
                Some((0, trouble)) => {
                    let trouble = *trouble;
                    state.planned = None;
                    state.out = trouble != Trouble::Broken;
                    state.failed |= trouble == Trouble::Broken;
                    Some(trouble)
                }
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            }
        };
        match trouble {
            None => change(),
            Some(Trouble::PowerAfter) => {
                let _done = change();
                Err(broken())
            }
            Some(Trouble::PowerBefore | Trouble::Broken) => Err(broken()),
        }
    }

    fn opened(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let mut state = self.state();
        if state.planted == Some(Planted::SyncOfWrongFile) {
            state.opened.push((name.to_owned(), Arc::clone(&file)));
        }
        drop(state);
        Arc::new(SimFile {
            disk: self.clone(),
            name: name.to_owned(),
            file,
        })
    }

    /// Syncs `file`, or what the planted bug makes of that.
    fn sync(&self, name: &str, file: &Arc<dyn DiskFile>) -> io::Result<()> {
        let state = self.state();
        let instead = match state.planted {
            Some(Planted::SyncSkipped) => None,
            Some(Planted::TailTrusted) if state.recovering => None,
            Some(Planted::SyncOfWrongFile) => {
                let other = state.opened.iter().find(|(other, _)| other != name);
                other.map(|(_, file)| Arc::clone(file))
            }
            Some(_) | None => Some(Arc::clone(file)),
        };
        drop(state);
        self.change(|| instead.map_or(Ok(()), |file| file.sync()))
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.change(|| self.mem.create(name))?;
        Ok(self.opened(name, file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.opened(name, self.mem.open(name)?))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.mem.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|| self.mem.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|| self.mem.remove(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        let skipped = self.state().planted == Some(Planted::NamesNotSynced);
        self.change(|| {
            if skipped {
                Ok(())
            } else {
                self.mem.sync_names()
            }
        })
    }

    fn space(&self) -> io::Result<Space> {
        self.mem.space()
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    name: String,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let failed = self.disk.has_failed();
        let result = self.disk.change(|| self.file.write_at(bytes, offset));
        if !failed && self.disk.has_failed() {
            // Half of a failed write is there.
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            let _written = self.file.write_at(half, offset);
        }
        result
    }

    fn write_parts_at(&self, parts: &[Bytes], mut offset: u64) -> io::Result<()> {
        for part in parts {
            self.write_at(part, offset)?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync(&self.name, &self.file)
    }

    fn allocate(&self, from: u64, bytes: u64) -> io::Result<()> {
        self.disk.change(|| self.file.allocate(from, bytes))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk.change(|| self.file.set_len(bytes))
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
