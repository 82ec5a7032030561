//! The chunk store: where groups of frames become durable, and where they are read back.
//!
//! The lane submits [`Group`]s and goes on; the store answers through a callback, in order:
//!
//! ```text
//! submit(group) --> Written { frames }     the bytes can be read back, a power cut may take them
//!               --> Synced { through }     all below is durable
//!               --> Failed(fault)          once, and then nothing more: the process must end
//! ```
//!
//! One `Written` may cover several groups, and one `Synced` several `Written`: what was submitted
//! while a sync was under way is written and synced together. The forms: [`LocalStore`], files and a
//! writer thread; [`StepStore`], the same code without a thread, for the simulation;
//! [`ObjectStoreMem`], whole objects in memory with the faults of an object store.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::chunk::{ChunkFile, ChunkHeader, ChunkKind, ChunkWriter};
use crate::disk::Space;
use crate::fault::Fault;
use crate::footer::Sealed;
use crate::frame::OpenFrame;
use crate::index::TailEntry;
use crate::position::{ChunkId, Lsn, Position};
use crate::recovery::DamagedRange;
use crate::seal::seal_log_chunk;

mod files;
mod local;
mod object;
mod step;
#[cfg(test)]
mod tests;
mod writer;

pub use local::LocalStore;
pub use object::{
    Bucket, Commit, Head, HeadStore, MaxTimestamp, ObjectDisk, ObjectLie, ObjectName,
    ObjectStoreMem, Reached, Refused, Weather,
};
pub use step::StepStore;

/// A frame with all that its header says, except for what the store knows.
#[derive(Debug)]
pub struct StampedFrame {
    /// The entries, and where they will lie.
    pub frame: OpenFrame,
    /// Its number.
    pub lsn: Lsn,
    /// Running time, milliseconds.
    pub elapsed_ms: u64,
    /// Wall time, milliseconds since 1970.
    pub wall_ms: u64,
}

/// What a group waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncLevel {
    /// Handed to the operating system; synced together with a later group.
    Written,
    /// On disk.
    Synced,
}

/// Frames that are written at once.
#[derive(Debug)]
pub struct Group {
    /// The chunk that they begin, if they begin one. The very first group must.
    pub new_chunk: Option<ChunkHeader>,
    /// The frames, each where the one before ends. None: only sync what was written.
    pub frames: Vec<StampedFrame>,
    /// What it waits for.
    pub level: SyncLevel,
    /// It holds one frame that only says that all before is synced.
    pub mark: bool,
}

impl Group {
    /// A group without frames, which has everything synced that was written.
    #[must_use]
    pub const fn sync_only() -> Self {
        Self {
            new_chunk: None,
            frames: Vec::new(),
            level: SyncLevel::Synced,
            mark: false,
        }
    }

    /// Bytes of its frames.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frames
            .iter()
            .map(|stamped| stamped.frame.bytes())
            .sum()
    }
}

/// What became of submitted groups. They come in order.
#[derive(Debug)]
pub enum Completion {
    /// These frames are written, as they lie in the log, and can be read back.
    Written {
        /// Each with its position.
        frames: Vec<(Position, Bytes)>,
    },
    /// All below this position is on disk.
    Synced {
        /// The end of the last frame.
        through: Position,
    },
    /// A write or sync failed. Nothing is written any more; the process must end.
    Failed(Fault),
}

/// Takes completions, on the writer's thread and under no lock of the store.
pub type OnCompletion = Arc<dyn Fn(Completion) + Send + Sync>;

/// How a store behaves; the defaults are for production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Bytes by which a new log chunk grows first; each further step is twice as large.
    pub grow_first: u64,
    /// The largest step.
    pub grow_most: u64,
    /// Zeroes that are written ahead of small writes, bytes; none if it is 0.
    pub fill_bytes: u64,
    /// Queued groups are written together up to this many bytes.
    pub join_bytes: usize,
    /// Unsynced bytes that bring about a sync of their own.
    pub unsynced_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            grow_first: 16 << 20,
            grow_most: 256 << 20,
            fill_bytes: 1 << 20,
            join_bytes: 8 << 20,
            unsynced_bytes: 64 << 20,
        }
    }
}

/// Where chunks are kept.
pub trait ChunkStore: Send + Sync + fmt::Debug {
    /// Queues a group. What becomes of it comes through the callback.
    fn submit(&self, group: Group);

    /// Opens a chunk for reading; log chunks can be read as soon as their frames are written.
    ///
    /// # Errors
    ///
    /// Unavailable if there is no such chunk, corrupt if its header is damaged.
    fn open_chunk(&self, chunk: ChunkId) -> Result<Arc<ChunkFile>, Fault>;

    /// Begins a sorted or checkpoint chunk.
    ///
    /// # Errors
    ///
    /// Exhausted if there is no room.
    fn create_chunk(&self, header: ChunkHeader) -> Result<ChunkWriter, Fault>;

    /// Puts a footer to a log chunk whose frames end at `end` for good, durably, and says what it lists.
    ///
    /// `tail` comes in order of partition, as [`crate::index::Index::tail_of`] gives it. A store whose
    /// chunks have their footers from the start has nothing to write here.
    ///
    /// # Errors
    ///
    /// As [`seal_log_chunk`].
    fn seal(
        &self,
        chunk: &ChunkFile,
        end: Position,
        tail: &mut dyn Iterator<Item = (u64, Vec<TailEntry>)>,
        damaged: &[DamagedRange],
    ) -> Result<Sealed, Fault> {
        seal_log_chunk(chunk, end, tail, damaged)
    }

    /// Removes a chunk for good. Who has it open can still read it. No chunk is no error.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn delete(&self, chunk: ChunkId) -> Result<(), Fault>;

    /// All chunks with their kinds and bytes, in order.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn chunks(&self) -> Result<Vec<(ChunkId, ChunkKind, u64)>, Fault>;

    /// How much room there is.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn space(&self) -> Result<Space, Fault>;
}
