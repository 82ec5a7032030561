//! Whole objects instead of files, in memory, with the faults of an object store.
//!
//! ```text
//! group --> object <incarnation>/<seq>: chunk header, frames --PUT--> bucket
//!           PUTs are late, lost and tried again, answered twice, or land after a takeover
//!           all up to seq n stored --> commit: head { incarnation, last seq n }, compared
//!           the head has another incarnation --> Failed(Fenced), and nothing more
//! ```
//!
//! A group is one chunk and must begin one. Only what the head names is part of the log: a zombie's
//! late objects are orphans under an incarnation that no longer commits, and a takeover seals how far
//! the one before it came. So recovery needs no list of the bucket and trusts no order in it.
//!
//! Nothing happens but in [`ObjectStoreMem::step`], and its choices are the caller's.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::{ChunkStore, Completion, Group, OnCompletion, files};
use crate::chunk::{ChunkFile, ChunkHeader, ChunkKind, ChunkWriter, chunk_name};
use crate::disk::cut::Dice;
use crate::disk::{DiskFile, MemDisk, Space};
use crate::fault::{Fault, FaultKind};
use crate::frame::{FLAG_GROUP_END, FLAG_MARK, FrameHeader};
use crate::position::{ChunkId, Position};

/// PUTs under way at once.
const OUTSTANDING: usize = 8;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which incarnation writes, and how far it and those before it have committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The incarnation that may commit.
    pub incarnation: u32,
    /// Its last committed object; 0 for none.
    pub last_seq: u64,
    /// Incarnations before it, each with its last committed object.
    pub sealed: Vec<(u32, u64)>,
}

/// A small store of one head, with compare. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct HeadStore(Arc<Mutex<Head>>);

impl HeadStore {
    /// The head as it is.
    #[must_use]
    pub fn head(&self) -> Head {
        lock(&self.0).clone()
    }

    /// Seals the incarnation that writes and begins the next one; what the head is then.
    #[must_use]
    pub fn take_over(&self) -> Head {
        let mut head = lock(&self.0);
        if head.last_seq > 0 {
            let sealed = (head.incarnation, head.last_seq);
            head.sealed.push(sealed);
        }
        head.incarnation += 1;
        head.last_seq = 0;
        head.clone()
    }

    /// Commits all objects of `incarnation` up to `last_seq`.
    ///
    /// # Errors
    ///
    /// Fenced if another incarnation has taken over.
    pub fn commit(&self, incarnation: u32, last_seq: u64) -> Result<(), Fault> {
        let mut head = lock(&self.0);
        if head.incarnation != incarnation {
            let what = format!(
                "incarnation {incarnation} has been taken over by {}",
                head.incarnation
            );
            return Err(Fault::new(FaultKind::Fenced, what));
        }
        head.last_seq = head.last_seq.max(last_seq);
        Ok(())
    }
}

/// Stored objects. Clones are the same bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    groups: Arc<Mutex<BTreeMap<(u32, u64), Bytes>>>,
    /// Sorted and checkpoint chunks, which are whole when they get their names.
    chunks: MemDisk,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            groups: Arc::default(),
            chunks: MemDisk::new(0),
        }
    }
}

impl Bucket {
    /// How many groups lie in it, orphans included.
    #[must_use]
    pub fn groups(&self) -> usize {
        lock(&self.groups).len()
    }

    /// The log as the head names it, for recovery: each object is a chunk, wholly synced.
    #[must_use]
    pub fn committed(&self, head: &Head) -> MemDisk {
        let mut files = self.chunks.files();
        let objects = self.committed_objects(head).into_iter();
        files.extend(objects.map(|(chunk, object)| {
            let name = chunk_name(chunk, ChunkKind::Log);
            (name, object.to_vec())
        }));
        MemDisk::with_files(0, files)
    }

    fn committed_objects(&self, head: &Head) -> Vec<(ChunkId, Bytes)> {
        let current = (head.incarnation, head.last_seq);
        let named = head.sealed.iter().copied().chain([current]);
        let groups = lock(&self.groups);
        let objects = named.flat_map(|(inc, last)| groups.range((inc, 0)..=(inc, last)));
        objects
            .map(|(_, object)| (chunk_of(object), object.clone()))
            .collect()
    }
}

/// The chunk that an object says it is.
fn chunk_of(object: &[u8]) -> ChunkId {
    let id = object.get(8..12).and_then(|bytes| bytes.try_into().ok());
    ChunkId(id.map_or(0, u32::from_le_bytes))
}

/// A group on its way.
#[derive(Debug)]
struct Flying {
    seq: u64,
    object: Option<Bytes>,
    stored: bool,
    told: bool,
    frames: Vec<(Position, Bytes)>,
    through: Position,
}

#[derive(Debug, Default)]
struct State {
    flying: VecDeque<Flying>,
    next_seq: u64,
    end: Position,
    failed: bool,
    /// A group that could not be taken; told at the next step.
    refused: Option<Fault>,
}

/// A store of whole objects in memory.
pub struct ObjectStoreMem {
    bucket: Bucket,
    heads: HeadStore,
    incarnation: u32,
    complete: OnCompletion,
    state: Mutex<State>,
}

impl core::fmt::Debug for ObjectStoreMem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ObjectStoreMem")
            .field("incarnation", &self.incarnation)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl ObjectStoreMem {
    /// Takes the log in `bucket` over; recover from [`Bucket::committed`] of the head that it gives.
    #[must_use]
    pub fn take_over(bucket: Bucket, heads: HeadStore, complete: OnCompletion) -> (Self, Head) {
        let head = heads.take_over();
        let store = Self {
            bucket,
            heads,
            incarnation: head.incarnation,
            complete,
            state: Mutex::new(State {
                next_seq: 1,
                ..State::default()
            }),
        };
        (store, head)
    }

    /// Which incarnation it is.
    #[must_use]
    pub const fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Groups that are not committed.
    pub fn outstanding(&self) -> usize {
        lock(&self.state).flying.len()
    }

    /// Lets one thing happen, which `choice` decides. Says whether anything was left to do.
    pub fn step(&self, choice: u64) -> bool {
        let mut dice = Dice::new(choice);
        let mut state = lock(&self.state);
        if state.failed {
            return false;
        }
        if let Some(fault) = state.refused.take() {
            return self.fail(state, fault);
        }
        if state.flying.is_empty() {
            return false;
        }
        if dice.parts(160) {
            self.put(&mut state, &mut dice);
            let written = state.written();
            drop(state);
            for frames in written {
                (self.complete)(Completion::Written { frames });
            }
            return true;
        }
        self.commit(state, &mut dice)
    }

    /// A PUT is answered, or gets lost, or is stored without an answer, and will be tried again.
    fn put(&self, state: &mut State, dice: &mut Dice) {
        let waiting = state.flying.iter_mut().take(OUTSTANDING);
        let mut waiting: Vec<&mut Flying> = waiting.filter(|group| !group.stored).collect();
        if waiting.is_empty() {
            return;
        }
        let chosen = dice.below(waiting.len() as u64);
        let chosen = usize::try_from(chosen).unwrap_or_default();
        let fate = dice.below(4);
        if let Some(group) = waiting.get_mut(chosen).filter(|_| fate != 0) {
            if let Some(object) = &group.object {
                let name = (self.incarnation, group.seq);
                lock(&self.bucket.groups).insert(name, object.clone());
            }
            group.stored = fate != 1;
        }
    }

    /// Commits what is stored without a gap.
    fn commit(&self, mut state: MutexGuard<'_, State>, dice: &mut Dice) -> bool {
        let stored = state.flying.iter().take_while(|group| group.told).count();
        if stored == 0 {
            return true;
        }
        let committed = 1 + usize::try_from(dice.below(stored as u64)).unwrap_or_default();
        let last = state.flying.get(committed - 1);
        let (last_seq, through) = last.map_or((0, Position::ZERO), |g| (g.seq, g.through));
        if let Err(fault) = self.heads.commit(self.incarnation, last_seq) {
            return self.fail(state, fault);
        }
        if dice.parts(64) {
            // The answer is lost. What the head says is asked for before anything else is done.
            return true;
        }
        state.flying.drain(..committed);
        drop(state);
        (self.complete)(Completion::Synced { through });
        true
    }

    fn fail(&self, mut state: MutexGuard<'_, State>, fault: Fault) -> bool {
        state.failed = true;
        drop(state);
        (self.complete)(Completion::Failed(fault));
        true
    }

    /// The object that a group is, with what it says when it is stored.
    fn build(&self, group: Group, state: &State) -> Result<Flying, Fault> {
        let mut flying = Flying {
            seq: state.next_seq,
            object: None,
            stored: false,
            told: false,
            frames: Vec::new(),
            through: state.end,
        };
        let Some(mut header) = group.new_chunk else {
            if group.frames.is_empty() {
                flying.seq = state.next_seq - 1;
                flying.stored = true;
                return Ok(flying);
            }
            let what = "a group that is to be an object begins no chunk";
            return Err(Fault::new(FaultKind::Fatal, what));
        };
        let mut end = header.first_position();
        let last = group.frames.len().saturating_sub(1);
        for (index, stamped) in group.frames.into_iter().enumerate() {
            let at = stamped.frame.position();
            if at != end {
                let what = format!("a frame for {at} was submitted where the log is at {end}");
                return Err(Fault::new(FaultKind::Fatal, what));
            }
            let group_end = if index == last { FLAG_GROUP_END } else { 0 };
            let mark = if group.mark { FLAG_MARK } else { 0 };
            let sealed = stamped.frame.seal(&FrameHeader {
                flags: group_end | mark,
                length: 0,
                entries: 0,
                lsn: stamped.lsn,
                position: at,
                synced: header.first_position(),
                elapsed_ms: stamped.elapsed_ms,
                wall_ms: stamped.wall_ms,
                incarnation: header.incarnation,
                salt: header.salt,
            });
            end = at.plus(sealed.len());
            flying.frames.push((at, sealed));
        }
        header.synced = end;
        let mut object = BytesMut::from(header.encode());
        for (_, frame) in &flying.frames {
            object.extend_from_slice(frame);
        }
        flying.object = Some(object.freeze());
        flying.through = end;
        Ok(flying)
    }

    /// The object of `chunk`, if it is one of ours or committed.
    fn object(&self, chunk: ChunkId) -> Option<Bytes> {
        let own = |(name, bytes): (&(u32, u64), &Bytes)| {
            (name.0 == self.incarnation && chunk_of(bytes) == chunk).then(|| bytes.clone())
        };
        let found = lock(&self.bucket.groups).iter().find_map(own);
        found.or_else(|| {
            let committed = self.bucket.committed_objects(&self.heads.head());
            let found = committed.into_iter().find(|(id, _)| *id == chunk);
            found.map(|(_, object)| object)
        })
    }
}

impl State {
    /// What is stored and not told yet, up to the first gap.
    fn written(&mut self) -> Vec<Vec<(Position, Bytes)>> {
        let mut written = Vec::new();
        for group in self.flying.iter_mut().take_while(|group| group.stored) {
            group.told = true;
            let frames = core::mem::take(&mut group.frames);
            written.extend(Some(frames).filter(|frames| !frames.is_empty()));
        }
        written
    }
}

impl ChunkStore for ObjectStoreMem {
    fn submit(&self, group: Group) {
        let mut state = lock(&self.state);
        if state.failed || state.refused.is_some() {
            return;
        }
        match self.build(group, &state) {
            Ok(flying) => {
                state.next_seq = flying.seq + 1;
                state.end = flying.through;
                state.flying.push_back(flying);
            }
            Err(fault) => state.refused = Some(fault),
        }
    }

    fn open_chunk(&self, chunk: ChunkId) -> Result<Arc<ChunkFile>, Fault> {
        let Some(object) = self.object(chunk) else {
            return files::open_chunk(&self.bucket.chunks, chunk);
        };
        let header = ChunkHeader::read(&object, chunk).map_err(|error| {
            Fault::new(
                FaultKind::Corrupt,
                format!("{error} in the object of chunk {chunk}"),
            )
        })?;
        Ok(Arc::new(ChunkFile::new(header, Arc::new(Stored(object)))))
    }

    fn create_chunk(&self, header: ChunkHeader) -> Result<ChunkWriter, Fault> {
        ChunkWriter::create(Arc::new(self.bucket.chunks.clone()), header)
    }

    fn delete(&self, chunk: ChunkId) -> Result<(), Fault> {
        lock(&self.bucket.groups).retain(|_, bytes| chunk_of(bytes) != chunk);
        files::delete(&self.bucket.chunks, chunk)
    }

    fn chunks(&self) -> Result<Vec<(ChunkId, ChunkKind, u64)>, Fault> {
        let mut chunks = files::chunks(&self.bucket.chunks)?;
        let objects = self.bucket.committed_objects(&self.heads.head());
        chunks.extend(
            objects
                .into_iter()
                .map(|(chunk, object)| (chunk, ChunkKind::Log, object.len() as u64)),
        );
        chunks.sort_unstable();
        Ok(chunks)
    }

    fn space(&self) -> Result<Space, Fault> {
        Ok(Space {
            total: u64::MAX,
            free: u64::MAX,
        })
    }
}

/// A stored object, to be read like a file.
#[derive(Debug)]
struct Stored(Bytes);

fn immutable() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "an object does not change")
}

impl DiskFile for Stored {
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(immutable())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.0.get(from..).unwrap_or_default();
        let read = rest.len().min(buf.len());
        if let (Some(into), Some(bytes)) = (buf.get_mut(..read), rest.get(..read)) {
            into.copy_from_slice(bytes);
        }
        Ok(read)
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
