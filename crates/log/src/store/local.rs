//! Files and the one thread that writes them.

use core::fmt;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::writer::Writer;
use super::{ChunkStore, Group, OnCompletion, StoreOptions, files};
use crate::chunk::{ChunkFile, ChunkHeader, ChunkKind, ChunkWriter};
use crate::disk::{Disk, Space};
use crate::fault::{Fault, FaultKind};
use crate::position::ChunkId;

#[derive(Debug, Default)]
struct Queue {
    groups: VecDeque<Group>,
    closed: bool,
}

impl Queue {
    /// The groups in front, up to `join_bytes` of them, but at least one if there is any.
    fn pop_joined(&mut self, join_bytes: usize) -> Vec<Group> {
        let mut joined = Vec::new();
        let mut bytes = 0;
        while let Some(group) = self.groups.front() {
            bytes += group.bytes();
            if !joined.is_empty() && bytes > join_bytes {
                break;
            }
            joined.extend(self.groups.pop_front());
        }
        joined
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next groups to write together; none when the store is closed and all is written.
    fn next(&self, join_bytes: usize) -> Option<Vec<Group>> {
        let mut queue = self.lock();
        loop {
            let joined = queue.pop_joined(join_bytes);
            if !joined.is_empty() {
                return Some(joined);
            }
            if queue.closed {
                return None;
            }
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A store over a disk, with a writer thread of its own.
pub struct LocalStore {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStore")
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}

impl LocalStore {
    /// Starts the writer thread, which answers through `complete`.
    ///
    /// Dropping the store writes what is queued and ends the thread.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn start(
        disk: Arc<dyn Disk>,
        options: StoreOptions,
        complete: OnCompletion,
    ) -> Result<Self, Fault> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let mut writer = Writer::new(Arc::clone(&disk), options, complete);
        let thread = thread::Builder::new()
            .name("mulgil-log".to_owned())
            .spawn(move || {
                while let Some(groups) = theirs.next(options.join_bytes) {
                    writer.take(groups);
                }
            })
            .map_err(|source| {
                Fault::io(FaultKind::Unavailable, "starting the writer thread", source)
            })?;
        Ok(Self {
            disk,
            shared,
            thread: Some(thread),
        })
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // The callback may hold the last reference to the store; a thread can't wait for itself.
            if thread.thread().id() != thread::current().id() {
                drop(thread.join());
            }
        }
    }
}

impl ChunkStore for LocalStore {
    fn submit(&self, group: Group) {
        self.shared.lock().groups.push_back(group);
        self.shared.wake.notify_one();
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
