//! A disk in memory that loses power, lies, fills up and fails on request, always in the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::cut::{Dice, FaultPlan, Model, apply_to};
use super::ops::DiskOp;
use super::{Disk, DiskFile, PAGE_BYTES, Space, checked};

/// How an operation fails on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// The disk reports an error (EIO).
    Broken,
    /// No room (ENOSPC).
    Full,
}

impl WriteFault {
    fn error(self) -> io::Error {
        match self {
            Self::Broken => io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()),
            Self::Full => io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    seed: u64,
    /// What was there before the first operation.
    base: Model,
    model: Model,
    /// All operations since `base`, if they are kept.
    history: Option<Vec<DiskOp>>,
    done: usize,
    next_file: u64,
    names: BTreeMap<String, u64>,
    /// What a process reads: written, synced or not.
    contents: BTreeMap<u64, Arc<Mutex<Vec<u8>>>>,
    capacity: Option<u64>,
    fail_write: Option<(usize, WriteFault)>,
    fail_sync: Option<(usize, WriteFault)>,
    /// Files and pages of them that the disk does not give back.
    unreadable: BTreeSet<(u64, u64)>,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemDisk {
    /// An empty disk; `seed` decides what power cuts do.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            seed,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// A disk with these files, all durable.
    #[must_use]
    pub fn with_files(seed: u64, files: BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::new(seed);
        {
            let mut state = lock(&disk.state);
            for (name, bytes) in files {
                state.next_file += 1;
                let file = state.next_file;
                state.base.put_durable(file, &name, bytes.clone());
                state.names.insert(name, file);
                state.contents.insert(file, Arc::new(Mutex::new(bytes)));
            }
            state.model = state.base.clone();
        }
        disk
    }

    /// Keeps all operations from here on, for [`MemDisk::crash_after`]. To be called first.
    #[must_use]
    pub fn with_history(self) -> Self {
        lock(&self.state).history = Some(Vec::new());
        self
    }

    /// How many operations that change the disk were done.
    #[must_use]
    pub fn ops(&self) -> usize {
        lock(&self.state).done
    }

    /// The disk after a power cut at this moment.
    #[must_use]
    pub fn crash(&self, plan: FaultPlan) -> Self {
        let state = lock(&self.state);
        let plan = mixed_in(plan, state.seed, state.done);
        Self::with_files(Dice::new(plan.seed).roll(), state.model.cut(plan))
    }

    /// The disk after a power cut when `ops` operations were done.
    ///
    /// # Panics
    ///
    /// Without [`MemDisk::with_history`].
    #[must_use]
    pub fn crash_after(&self, ops: usize, plan: FaultPlan) -> Self {
        let state = lock(&self.state);
        let history = state.history.as_ref().expect("the disk keeps its history");
        let mut model = state.base.clone();
        for op in history.iter().take(ops) {
            model.apply(op);
        }
        let plan = mixed_in(plan, state.seed, ops);
        Self::with_files(Dice::new(plan.seed).roll(), model.cut(plan))
    }

    /// All files as a process sees them.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = lock(&self.state);
        let contents = |file| state.contents.get(file).map(|bytes| lock(bytes).clone());
        state
            .names
            .iter()
            .filter_map(|(name, file)| Some((name.clone(), contents(file)?)))
            .collect()
    }

    /// Turns one bit around, durably: what a rotten disk does. Says whether there was such a bit.
    #[must_use]
    pub fn flip(&self, name: &str, offset: u64, bit: u8) -> bool {
        let mut state = lock(&self.state);
        let Some(file) = state.names.get(name).copied() else {
            return false;
        };
        let Ok(at) = usize::try_from(offset) else {
            return false;
        };
        let mask = 1_u8 << (bit % 8);
        let seen = state.contents.get(&file).is_some_and(|contents| {
            lock(contents).get_mut(at).is_some_and(|byte| {
                *byte ^= mask;
                true
            })
        });
        if let Some(byte) = state.model.durable_mut(file).and_then(|b| b.get_mut(at)) {
            *byte ^= mask;
        }
        seen
    }

    /// From here on the page at `offset` cannot be read (EIO): what a bad sector does. Says whether
    /// there is such a file.
    #[must_use]
    pub fn lose_page(&self, name: &str, offset: u64) -> bool {
        let mut state = lock(&self.state);
        let file = state.names.get(name).copied();
        file.is_some_and(|file| state.unreadable.insert((file, offset / PAGE_BYTES)))
    }

    /// Lets the write that comes after `after` further ones fail.
    pub fn fail_write(&self, after: usize, how: WriteFault) {
        lock(&self.state).fail_write = Some((after, how));
    }

    /// Lets the sync (of a file or of names) that comes after `after` further ones fail.
    pub fn fail_sync(&self, after: usize, how: WriteFault) {
        lock(&self.state).fail_sync = Some((after, how));
    }

    /// Lets the disk hold no more than `bytes`, or (`None`) any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.state).capacity = bytes;
    }
}

fn mixed_in(plan: FaultPlan, seed: u64, ops: usize) -> FaultPlan {
    let seed = Dice::new(seed ^ (ops as u64).rotate_left(32)).roll() ^ plan.seed;
    FaultPlan { seed, ..plan }
}

/// Counts down to a planned failure.
fn due(planned: &mut Option<(usize, WriteFault)>) -> io::Result<()> {
    match planned {
        Some((0, how)) => {
            let error = how.error();
            *planned = None;
            Err(error)
        }
        Some((left, _)) => {
            *left -= 1;
            Ok(())
        }
        None => Ok(()),
    }
}

impl State {
    fn note(&mut self, op: DiskOp) {
        self.model.apply(&op);
        self.done += 1;
        if let Some(history) = &mut self.history {
            history.push(op);
        }
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .filter_map(|file| self.contents.get(file))
            .map(|bytes| lock(bytes).len() as u64)
            .sum()
    }

    /// Does an operation on the contents of one file.
    fn change(&mut self, file: u64, op: DiskOp, end: u64) -> io::Result<()> {
        let contents = self.contents.get(&file).map(Arc::clone);
        let contents = contents.ok_or(io::ErrorKind::NotFound)?;
        let had = lock(&contents).len() as u64;
        if let Some(capacity) = self.capacity.filter(|_| end > had)
            && self.used() + (end - had) > capacity
        {
            return Err(WriteFault::Full.error());
        }
        apply_to(&mut lock(&contents), &op);
        self.note(op);
        Ok(())
    }
}

impl Disk for MemDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = lock(&self.state);
        if state.names.contains_key(checked(name)?) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        due(&mut state.fail_write)?;
        state.next_file += 1;
        let file = state.next_file;
        let contents = Arc::new(Mutex::new(Vec::new()));
        state.names.insert(name.to_owned(), file);
        state.contents.insert(file, Arc::clone(&contents));
        state.note(DiskOp::Create {
            file,
            name: name.to_owned(),
        });
        Ok(Arc::new(MemFile {
            disk: self.clone(),
            file,
            contents,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = lock(&self.state);
        let file = state.names.get(checked(name)?).copied();
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        let contents = state.contents.get(&file).map(Arc::clone);
        Ok(Arc::new(MemFile {
            disk: self.clone(),
            file,
            contents: contents.ok_or(io::ErrorKind::NotFound)?,
        }))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let state = lock(&self.state);
        let length = |file| state.contents.get(file).map(|bytes| lock(bytes).len());
        Ok(state
            .names
            .iter()
            .map(|(name, file)| (name.clone(), length(file).unwrap_or(0) as u64))
            .collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        checked(to)?;
        due(&mut state.fail_write)?;
        let file = state.names.remove(checked(from)?);
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        if let Some(replaced) = state.names.insert(to.to_owned(), file) {
            state.contents.remove(&replaced);
        }
        state.note(DiskOp::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        due(&mut state.fail_write)?;
        let file = state.names.remove(checked(name)?);
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        state.contents.remove(&file);
        state.note(DiskOp::Remove {
            name: name.to_owned(),
        });
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        due(&mut state.fail_sync)?;
        state.note(DiskOp::SyncNames);
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let state = lock(&self.state);
        let total = state.capacity.unwrap_or(1 << 40);
        Ok(Space {
            total,
            free: total.saturating_sub(state.used()),
        })
    }
}

#[derive(Debug)]
struct MemFile {
    disk: MemDisk,
    file: u64,
    contents: Arc<Mutex<Vec<u8>>>,
}

impl DiskFile for MemFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = lock(&self.disk.state);
        due(&mut state.fail_write)?;
        let op = DiskOp::Write {
            file: self.file,
            offset,
            bytes: Bytes::copy_from_slice(bytes),
        };
        state.change(self.file, op, offset + bytes.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let pages = offset / PAGE_BYTES..(offset + buf.len() as u64).div_ceil(PAGE_BYTES);
        let lost = (self.file, pages.start)..(self.file, pages.end);
        if lock(&self.disk.state)
            .unreadable
            .range(lost)
            .next()
            .is_some()
        {
            return Err(WriteFault::Broken.error());
        }
        let contents = lock(&self.contents);
        let from = usize::try_from(offset).map_or(contents.len(), |at| at.min(contents.len()));
        let rest = contents.get(from..).unwrap_or_default();
        let read = rest.len().min(buf.len());
        if let (Some(into), Some(bytes)) = (buf.get_mut(..read), rest.get(..read)) {
            into.copy_from_slice(bytes);
        }
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.disk.state);
        due(&mut state.fail_sync)?;
        state.note(DiskOp::Sync { file: self.file });
        Ok(())
    }

    fn allocate(&self, from: u64, bytes: u64) -> io::Result<()> {
        let op = DiskOp::Allocate {
            file: self.file,
            from,
            bytes,
        };
        lock(&self.disk.state).change(self.file, op, from + bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let op = DiskOp::SetLen {
            file: self.file,
            bytes,
        };
        lock(&self.disk.state).change(self.file, op, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.contents).len() as u64)
    }
}
