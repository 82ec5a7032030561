//! Whole objects instead of files, in memory, with the faults of an object store.
//!
//! ```text
//! group --> object <incarnation>/<seq>: chunk header, frames, footer --PUT--> bucket
//!           PUTs are late, lost and tried again, answered twice, or land after a takeover
//!           all up to seq n stored --> commit: head { incarnation, last seq n }, compared
//!           committed --> Written, Synced
//!           no answer, or refused --> the head is read: what it says is what is committed
//!           the head has another incarnation --> Failed(Fenced), and nothing more
//! ```
//!
//! A group is one chunk and must begin one. Only what the head names is part of the log: a zombie's
//! late objects are orphans under an incarnation that no longer commits, and a takeover seals how far
//! the one before it came. So recovery needs no list of the bucket and trusts no order in it. Nothing
//! is told of a group before it is committed, not even that it is written: nobody could read it back.
//!
//! Nothing happens but in [`ObjectStoreMem::step`], and its choices are the caller's. What is not here
//! yet: manifests (a takeover asks for each object since the first), leases, block caches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{ChunkStore, Completion, Group, OnCompletion, files};
use crate::chunk::{ChunkFile, ChunkHeader, ChunkKind, ChunkWriter};
use crate::disk::cut::Dice;
use crate::disk::{Disk, Space};
use crate::fault::{Fault, FaultKind};
use crate::footer::{Footer, Sealed};
use crate::index::TailEntry;
use crate::position::{ChunkId, Position};
use crate::recovery::DamagedRange;

mod bucket;
mod build;
mod disk;
mod head;
mod lie;
#[cfg(test)]
mod tests;

pub use bucket::{Bucket, ObjectName, Weather};
pub use build::MaxTimestamp;
pub use disk::ObjectDisk;
pub use head::{Commit, Head, HeadStore, Reached, Refused};
pub use lie::ObjectLie;

/// PUTs under way at once.
const OUTSTANDING: usize = 8;
/// Tries without an answer after which a broker gives up: an object is never left out, so all behind
/// it would wait, and memory fill up.
const TRIES_MAX: u32 = 16;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A group on its way.
#[derive(Debug)]
struct Flying {
    seq: u64,
    object: Bytes,
    stored: bool,
    tries: u32,
    told: bool,
    frames: Vec<(Position, Bytes)>,
    through: Position,
}

#[derive(Debug, Default)]
struct State {
    flying: VecDeque<Flying>,
    next_seq: u64,
    /// What is committed, and where the newest group ends.
    reached: Reached,
    sealed: Vec<Reached>,
    end: Position,
    revision: u64,
    /// A commit was not answered: the head is asked before anything else is done.
    unsure: bool,
    unanswered: u32,
    /// Somebody asked for a sync where nothing is under way.
    owed: bool,
    failed: bool,
    /// A group that could not be taken; told at the next step.
    refused: Option<Fault>,
}

/// What came of a step, to be told when no lock is held.
#[derive(Debug, Default)]
struct Told {
    frames: Vec<(Position, Bytes)>,
    through: Option<Position>,
}

/// A store of whole objects in memory.
pub struct ObjectStoreMem {
    bucket: Bucket,
    heads: HeadStore,
    disk: ObjectDisk,
    incarnation: u32,
    max_timestamp: MaxTimestamp,
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
    /// Takes the log in `bucket` over; recover from [`ObjectStoreMem::disk`].
    ///
    /// From here on nobody before it can commit, even if this start fails.
    ///
    /// # Errors
    ///
    /// Unavailable if the bucket does not answer, corrupt if a committed object is no chunk.
    pub fn take_over(
        bucket: &Bucket,
        heads: &HeadStore,
        max_timestamp: MaxTimestamp,
        complete: OnCompletion,
    ) -> Result<Self, Fault> {
        let head = heads.take_over();
        Ok(Self {
            bucket: bucket.clone(),
            heads: heads.clone(),
            disk: ObjectDisk::open(bucket.clone(), &head)?,
            incarnation: head.current.incarnation,
            max_timestamp,
            complete,
            state: Mutex::new(State {
                next_seq: 1,
                reached: head.current,
                sealed: head.sealed,
                revision: head.revision,
                ..State::default()
            }),
        })
    }

    /// Which incarnation it is.
    #[must_use]
    pub const fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The committed log as a directory, for a start.
    #[must_use]
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    /// Groups that are not committed.
    pub fn outstanding(&self) -> usize {
        let state = lock(&self.state);
        state.flying.len() + usize::from(state.owed)
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
        if state.flying.is_empty() && !state.owed && !state.unsure {
            return false;
        }
        let stored = state.flying.iter().take_while(|group| group.stored).count();
        let waiting = stored < state.flying.len();
        let done = if waiting && (stored == 0 || dice.parts(160)) {
            self.put(&mut state, &mut dice)
        } else {
            self.commit(&mut state, &mut dice)
        };
        match done {
            Ok(told) => {
                drop(state);
                self.tell(told);
                true
            }
            Err(fault) => self.fail(state, fault),
        }
    }

    fn tell(&self, told: Told) {
        if !told.frames.is_empty() {
            (self.complete)(Completion::Written {
                frames: told.frames,
            });
        }
        if let Some(through) = told.through {
            (self.complete)(Completion::Synced { through });
        }
    }

    fn fail(&self, mut state: MutexGuard<'_, State>, fault: Fault) -> bool {
        state.failed = true;
        drop(state);
        (self.complete)(Completion::Failed(fault));
        true
    }

    /// A PUT is answered, or not, and will be tried again.
    fn put(&self, state: &mut State, dice: &mut Dice) -> Result<Told, Fault> {
        let waiting = state.flying.iter_mut().take(OUTSTANDING);
        let mut waiting: Vec<&mut Flying> = waiting.filter(|group| !group.stored).collect();
        let chosen = match waiting.len() {
            0 => return Ok(Told::default()),
            count => usize::try_from(dice.below(count as u64)).unwrap_or_default(),
        };
        if let Some(group) = waiting.get_mut(chosen) {
            let name = self.disk.group_name(self.incarnation, group.seq);
            match self.bucket.put(name, group.object.clone()) {
                Ok(()) => group.stored = true,
                Err(source) => {
                    group.tries += 1;
                    if group.tries == TRIES_MAX {
                        let what = format!("{TRIES_MAX} PUTs of {name} were not answered");
                        return Err(Fault::io(FaultKind::Fatal, what, source));
                    }
                }
            }
        }
        if self.bucket.lie() == Some(ObjectLie::AckBeforeCommit) {
            let stored = state.flying.iter().take_while(|group| group.stored);
            let last = stored.last().map(|group| group.seq);
            return Ok(last.map_or_else(Told::default, |last| state.tell_through(last)));
        }
        Ok(Told::default())
    }

    /// Commits what is stored without a gap, or asks how far it has come.
    fn commit(&self, state: &mut State, dice: &mut Dice) -> Result<Told, Fault> {
        if state.unsure {
            return self.ask(state);
        }
        let gaps = self.bucket.lie() == Some(ObjectLie::GapCommitted);
        let ready = state.flying.iter().take_while(|group| group.stored || gaps);
        let ready = if gaps {
            state
                .flying
                .iter()
                .rposition(|group| group.stored)
                .map_or(0, |at| at + 1)
        } else {
            ready.count()
        };
        if ready == 0 {
            return Ok(state.settle_owed());
        }
        let last = usize::try_from(dice.below(ready as u64)).unwrap_or_default();
        let last_seq = state.flying.get(last).map_or(0, |group| group.seq);
        let reached = Reached {
            last_seq,
            ..state.reached
        };
        let commit = Commit {
            reached,
            revision: state.revision,
            sealed: state.sealed.clone(),
        };
        let fate = match self.bucket.weather() {
            Weather::Calm => 3,
            Weather::Rough | Weather::RoughReads => dice.below(10),
            Weather::Down => 0,
        };
        match fate {
            0 => state.unsure = true,
            1 => {
                self.heads.delay(commit);
                state.unsure = true;
            }
            2 => {
                let _unanswered = self.heads.commit(&commit);
                state.unsure = true;
            }
            _ => match self.heads.commit(&commit) {
                Ok(revision) => {
                    state.revision = revision;
                    state.unanswered = 0;
                    return Ok(state.committed(reached));
                }
                Err(Refused) => state.unsure = true,
            },
        }
        if fate < 3 && self.bucket.lie() == Some(ObjectLie::TimeoutTaken) {
            state.unsure = false;
            return Ok(state.committed(reached));
        }
        Ok(Told::default())
    }

    /// Asks the head how far this broker has come, and whether it may go on.
    fn ask(&self, state: &mut State) -> Result<Told, Fault> {
        if self.bucket.weather() == Weather::Down {
            state.unanswered += 1;
            if state.unanswered == TRIES_MAX {
                let what = format!("the head was asked for {TRIES_MAX} times without an answer");
                return Err(Fault::new(FaultKind::Fatal, what));
            }
            return Ok(Told::default());
        }
        let head = self.heads.head();
        if head.current.incarnation != self.incarnation {
            let what = format!(
                "incarnation {} has been taken over by {}",
                self.incarnation, head.current.incarnation
            );
            return Err(Fault::new(FaultKind::Fenced, what));
        }
        state.unsure = false;
        state.unanswered = 0;
        state.revision = head.revision;
        Ok(state.committed(head.current))
    }

    /// Takes a group as an object; what has no frames waits for those before it.
    fn take(&self, group: Group, state: &mut State) -> Result<(), Fault> {
        let Some(header) = group.new_chunk else {
            if group.frames.is_empty() {
                state.owed = true;
                return Ok(());
            }
            let what = "a group that is to be an object begins no chunk";
            return Err(Fault::new(FaultKind::Fatal, what));
        };
        let built = build::build(header, group.frames, group.mark, self.max_timestamp)?;
        let seq = state.next_seq;
        state.next_seq += 1;
        if seq == 1 {
            state.reached.first_chunk = header.chunk;
        }
        state.end = built.end;
        self.disk.add(header.chunk, seq);
        state.flying.push_back(Flying {
            seq,
            object: built.object,
            stored: false,
            tries: 0,
            told: false,
            frames: built.frames,
            through: built.end,
        });
        Ok(())
    }
}

impl State {
    /// The head names all up to here.
    fn committed(&mut self, reached: Reached) -> Told {
        if reached.last_seq <= self.reached.last_seq {
            return Told::default();
        }
        self.reached = reached;
        let told = self.tell_through(reached.last_seq);
        self.flying.retain(|group| group.seq > reached.last_seq);
        told
    }

    fn tell_through(&mut self, seq: u64) -> Told {
        let mut told = Told::default();
        let groups = self.flying.iter_mut().take_while(|group| group.seq <= seq);
        for group in groups.filter(|group| !group.told) {
            group.told = true;
            told.frames.append(&mut group.frames);
            told.through = Some(group.through);
        }
        told
    }

    /// A sync that was asked for while nothing was under way.
    fn settle_owed(&mut self) -> Told {
        let owed = core::mem::take(&mut self.owed);
        Told {
            through: owed.then_some(self.end),
            ..Told::default()
        }
    }
}

impl ChunkStore for ObjectStoreMem {
    fn submit(&self, group: Group) {
        let mut state = lock(&self.state);
        if state.failed || state.refused.is_some() {
            return;
        }
        if let Err(fault) = self.take(group, &mut state) {
            state.refused = Some(fault);
        }
    }

    fn open_chunk(&self, chunk: ChunkId) -> Result<Arc<ChunkFile>, Fault> {
        files::open_chunk(&self.disk, chunk)
    }

    fn create_chunk(&self, header: ChunkHeader) -> Result<ChunkWriter, Fault> {
        ChunkWriter::create(Arc::new(self.disk.clone()), header)
    }

    /// An object has its footer from the start: it says where what is in `tail` lies.
    fn seal(
        &self,
        chunk: &ChunkFile,
        _: Position,
        tail: &mut dyn Iterator<Item = (u64, Vec<TailEntry>)>,
        _: &[DamagedRange],
    ) -> Result<Sealed, Fault> {
        let footer = Footer::open(chunk)?;
        let mut extents = footer.extents(chunk)?;
        let wanted: Vec<u64> = tail.map(|(partition, _)| partition).collect();
        extents.retain(|(partition, _)| wanted.binary_search(partition).is_ok());
        Ok(Sealed { footer, extents })
    }

    fn delete(&self, chunk: ChunkId) -> Result<(), Fault> {
        files::delete(&self.disk, chunk)
    }

    fn chunks(&self) -> Result<Vec<(ChunkId, ChunkKind, u64)>, Fault> {
        files::chunks(&self.disk)
    }

    fn space(&self) -> Result<Space, Fault> {
        files::space(&self.disk)
    }
}
