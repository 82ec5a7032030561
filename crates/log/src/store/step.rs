//! The local store without its thread: each step writes one group and answers before it returns.

use core::fmt;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::writer::Writer;
use super::{ChunkStore, Group, OnCompletion, StoreOptions, files};
use crate::chunk::{ChunkFile, ChunkHeader, ChunkKind, ChunkWriter};
use crate::disk::{Disk, Space};
use crate::fault::Fault;
use crate::position::ChunkId;

/// A store over any disk that does nothing but when it is told to.
pub struct StepStore {
    disk: Arc<dyn Disk>,
    queue: Mutex<VecDeque<Group>>,
    /// Taken out while it works, so that no lock is held while completions are told.
    writer: Mutex<Option<Writer>>,
}

impl fmt::Debug for StepStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepStore")
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}

impl StepStore {
    /// A store over `disk` that answers through `complete`.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, options: StoreOptions, complete: OnCompletion) -> Self {
        Self {
            writer: Mutex::new(Some(Writer::new(Arc::clone(&disk), options, complete))),
            disk,
            queue: Mutex::new(VecDeque::new()),
        }
    }

    /// How many groups wait.
    pub fn queued(&self) -> usize {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.len()
    }

    /// Writes the first group that waits. Says whether there was one.
    pub fn step(&self) -> bool {
        self.step_joined(1)
    }

    /// Writes up to `groups` groups together, as the thread does with what piled up.
    pub fn step_joined(&self, groups: usize) -> bool {
        let writer = || self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut working) = writer().take() else {
            return false;
        };
        let joined: Vec<Group> = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let joined = queue.len().min(groups);
            queue.drain(..joined).collect()
        };
        let any = !joined.is_empty();
        if any {
            working.take(joined);
        }
        *writer() = Some(working);
        any
    }
}

impl ChunkStore for StepStore {
    fn submit(&self, group: Group) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(group);
    }

    fn open_chunk(&self, chunk: ChunkId) -> Result<Arc<ChunkFile>, Fault> {
        files::open_chunk(self.disk.as_ref(), chunk)
    }

    fn create_chunk(&self, header: ChunkHeader) -> Result<ChunkWriter, Fault> {
        ChunkWriter::create(Arc::clone(&self.disk), header)
    }

    fn delete(&self, chunk: ChunkId) -> Result<(), Fault> {
        files::delete(self.disk.as_ref(), chunk)
    }

    fn chunks(&self) -> Result<Vec<(ChunkId, ChunkKind, u64)>, Fault> {
        files::chunks(self.disk.as_ref())
    }

    fn space(&self) -> Result<Space, Fault> {
        files::space(self.disk.as_ref())
    }
}
