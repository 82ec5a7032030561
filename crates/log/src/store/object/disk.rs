//! The committed objects as a directory of whole files, so that a start, cold reads and the keeper find
//! there what they find on a disk.
//!
//! ```text
//! 0000000017.log         --> the group in which chunk 17 lies    3/12
//! 0000000018.checkpoint  --> by whom chunk 18 was made           3/0000000018.checkpoint
//! tmp-0000000019.sorted  --> here, until it gets its name: that is its PUT
//! ```
//!
//! Which objects count is what the head said at the takeover, and what this broker has added since.
//! Another broker that goes on beside it, before or after, has other names for all that it writes. A
//! list of the bucket is only asked for what may be removed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Bucket, Head, ObjectLie, ObjectName, Reached};
use crate::chunk::{ChunkHeader, ChunkKind, chunk_name, is_temporary, parse_chunk_name};
use crate::disk::{Disk, DiskFile, Space};
use crate::fault::{Fault, FaultKind};
use crate::position::ChunkId;

type Staged = Arc<Mutex<Vec<u8>>>;

/// What a broker over objects sees and writes.
#[derive(Clone, Debug)]
pub struct ObjectDisk {
    bucket: Bucket,
    incarnation: u32,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// In which group each log chunk lies.
    logs: BTreeMap<ChunkId, ObjectName>,
    /// Who made the chunks from an id on, up to the next.
    makers: BTreeMap<ChunkId, u32>,
    /// Chunks that are being written.
    staged: BTreeMap<String, Staged>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no object is {name}"))
}

fn immutable() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "an object does not change")
}

impl ObjectDisk {
    /// The log that `head` names, for the incarnation that it begins.
    ///
    /// Each object that it names is asked for by name. One that is not there was removed when nobody
    /// needed it any more; a start that does need it says that it is missing.
    ///
    /// # Errors
    ///
    /// Unavailable if the bucket does not answer, corrupt if an object is no chunk.
    pub(super) fn open(bucket: Bucket, head: &Head) -> Result<Self, Fault> {
        let disk = Self {
            bucket,
            incarnation: head.current.incarnation,
            state: Arc::default(),
        };
        let mut state = State::default();
        for reached in head.committed() {
            state
                .makers
                .insert(reached.first_chunk, reached.incarnation);
            disk.open_groups(reached, &mut state)?;
        }
        *lock(&disk.state) = state;
        Ok(disk)
    }

    fn open_groups(&self, reached: Reached, state: &mut State) -> Result<(), Fault> {
        for seq in 1.. {
            let name = self.group_name(reached.incarnation, seq);
            let object = self.bucket.get(name).map_err(|source| {
                Fault::io(FaultKind::Unavailable, format!("reading {name}"), source)
            })?;
            let counts = seq <= reached.last_seq;
            let orphans = self.bucket.lie() == Some(ObjectLie::OrphansRead);
            if !counts && (!orphans || object.is_none()) {
                break;
            }
            if let Some(object) = object {
                state.logs.insert(chunk_of(name, &object)?, name);
            }
        }
        Ok(())
    }

    pub(super) fn group_name(&self, incarnation: u32, seq: u64) -> ObjectName {
        let shared = self.bucket.lie() == Some(ObjectLie::GroupNamesShared);
        let incarnation = if shared { 0 } else { incarnation };
        ObjectName::Group { incarnation, seq }
    }

    /// A group of this broker is on its way, and `chunk` lies in it.
    pub(super) fn add(&self, chunk: ChunkId, seq: u64) {
        let name = self.group_name(self.incarnation, seq);
        let mut state = lock(&self.state);
        state.logs.insert(chunk, name);
        if seq == 1 {
            state.makers.insert(chunk, self.incarnation);
        }
    }

    /// Under which name a chunk lies in the bucket, as this broker sees it.
    fn find(&self, chunk: ChunkId, kind: ChunkKind) -> Option<ObjectName> {
        let state = lock(&self.state);
        if kind == ChunkKind::Log {
            return state.logs.get(&chunk).copied();
        }
        let (_, maker) = state.makers.range(..=chunk).next_back()?;
        let shared = self.bucket.lie() == Some(ObjectLie::ChunkNamesShared);
        let incarnation = if shared { 0 } else { *maker };
        Some(ObjectName::Chunk {
            incarnation,
            chunk,
            kind,
        })
    }

    fn stored(&self, name: &str) -> io::Result<(ObjectName, Bytes)> {
        let (chunk, kind) = parse_chunk_name(name).ok_or_else(|| not_found(name))?;
        let found = self.find(chunk, kind).ok_or_else(|| not_found(name))?;
        let object = self.bucket.get(found)?;
        Ok((found, object.ok_or_else(|| not_found(name))?))
    }
}

/// The chunk that an object says it is.
fn chunk_of(name: ObjectName, object: &[u8]) -> Result<ChunkId, Fault> {
    let id = object.get(8..12).and_then(|bytes| bytes.try_into().ok());
    let chunk = ChunkId(id.map_or(0, u32::from_le_bytes));
    ChunkHeader::read(object, chunk)
        .map_err(|error| Fault::new(FaultKind::Corrupt, format!("{error} in object {name}")))?;
    Ok(chunk)
}

impl Disk for ObjectDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if !is_temporary(name) {
            return Err(immutable());
        }
        let staged = Staged::default();
        lock(&self.state)
            .staged
            .insert(name.to_owned(), Arc::clone(&staged));
        Ok(Arc::new(Unnamed(staged)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let (_, object) = self.stored(name)?;
        Ok(Arc::new(Stored(object)))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let logs: Vec<ChunkId> = lock(&self.state).logs.keys().copied().collect();
        let mut named: Vec<(ChunkId, ChunkKind)> = logs
            .into_iter()
            .map(|chunk| (chunk, ChunkKind::Log))
            .collect();
        for listed in self.bucket.list() {
            if let ObjectName::Chunk { chunk, kind, .. } = listed
                && self.find(chunk, kind) == Some(listed)
            {
                named.push((chunk, kind));
            }
        }
        named.sort_unstable();
        let mut all = Vec::with_capacity(named.len());
        for (chunk, kind) in named {
            let name = chunk_name(chunk, kind);
            match self.stored(&name) {
                Ok((_, object)) => all.push((name, object.len() as u64)),
                // Removed in between, or before this broker began.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (chunk, kind) = parse_chunk_name(to).ok_or_else(immutable)?;
        let staged = lock(&self.state).staged.get(from).map(Arc::clone);
        let staged = staged.ok_or_else(|| not_found(from))?;
        let name = self.find(chunk, kind).filter(|_| kind != ChunkKind::Log);
        let name = name.ok_or_else(immutable)?;
        self.bucket.put(name, Bytes::from(lock(&staged).clone()))?;
        lock(&self.state).staged.remove(from);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if lock(&self.state).staged.remove(name).is_some() {
            return Ok(());
        }
        let (found, _) = self.stored(name)?;
        self.bucket.delete(found)?;
        if let Some((chunk, ChunkKind::Log)) = parse_chunk_name(name) {
            lock(&self.state).logs.remove(&chunk);
        }
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space {
            total: u64::MAX,
            free: u64::MAX,
        })
    }
}

fn copy_out(from: &[u8], buf: &mut [u8], offset: u64) -> usize {
    let at = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = from.get(at..).unwrap_or_default();
    let read = rest.len().min(buf.len());
    if let (Some(into), Some(bytes)) = (buf.get_mut(..read), rest.get(..read)) {
        into.copy_from_slice(bytes);
    }
    read
}

/// A stored object, to be read like a file.
#[derive(Debug)]
struct Stored(Bytes);

impl DiskFile for Stored {
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(immutable())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(copy_out(&self.0, buf, offset))
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Err(immutable())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(immutable())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// A chunk that is being written, and is no object yet.
#[derive(Debug)]
struct Unnamed(Staged);

impl DiskFile for Unnamed {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut all = lock(&self.0);
        let from = usize::try_from(offset).map_err(|_large| immutable())?;
        let end = from + bytes.len();
        if all.len() < end {
            all.resize(end, 0);
        }
        if let Some(place) = all.get_mut(from..end) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(copy_out(&lock(&self.0), buf, offset))
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).map_err(|_large| immutable())?;
        lock(&self.0).resize(bytes, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }
}
