//! The read pool: a few threads that read from disk, so that no thread that serves sockets does.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, Weak};

use bytes::Bytes;
use mulgil_log::chunk::ChunkFile;
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::footer::Footer;
use mulgil_log::index::{ColdRead, TailEntry};
use mulgil_log::position::ChunkId;
use mulgil_log::reader::{self, FoundBatch, ReadError, Unlisted};
use mulgil_log::store::ChunkStore;
use mulgil_record::ids::{Offset, PartitionId};

use crate::lane::{
    ColdPart, ColdTask, ColdWork, FindFurther, ReplyTo, max_timestamp, payload_batch,
};
use crate::mailbox::lock;
use crate::request::{ReadRefusal, Reply};
use crate::shell::Broker;

mod find;

/// How many threads read from disk.
const THREADS: usize = 2;

#[derive(Debug, Default)]
struct Queue {
    work: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    work: VecDeque<(u64, ColdWork)>,
    /// How much was handed to the pool, and the numbers of what is not answered yet.
    submitted: u64,
    under_way: BTreeSet<u64>,
    /// Nobody submits any more.
    ended: bool,
}

/// How many chunks are kept open, so that a reader that goes through one opens it once.
const OPEN_MAX: usize = 64;

/// Memory for what was found in chunks whose footer is damaged, bytes: a partition whose smallest batches
/// fill a chunk takes about as much, and to find it again costs reading the chunk.
const UNLISTED_BYTES_MAX: usize = 64 << 20;

/// A chunk, and a slot of its footer.
type Extent = (ChunkId, u32);

type Open = (Arc<ChunkFile>, Option<Footer>);

/// Chunks that were read lately, kept open, each with its footer if it has one.
///
/// Who has a chunk open can read it though it is deleted meanwhile.
#[derive(Debug)]
pub struct OpenChunks {
    store: Arc<dyn ChunkStore>,
    open: Mutex<VecDeque<(ChunkId, Open)>>,
    /// What was found in chunks whose footer is damaged, by chunk and slot.
    unlisted: Mutex<VecDeque<(Extent, Arc<Unlisted>)>>,
}

impl OpenChunks {
    /// No chunk is open yet.
    #[must_use]
    pub fn new(store: Arc<dyn ChunkStore>) -> Self {
        Self {
            store,
            open: Mutex::default(),
            unlisted: Mutex::default(),
        }
    }

    fn file(&self, chunk: ChunkId) -> Result<Arc<ChunkFile>, Fault> {
        Ok(self.get(chunk, false)?.0)
    }

    fn sealed(&self, chunk: ChunkId) -> Result<(Arc<ChunkFile>, Footer), Fault> {
        match self.get(chunk, true)? {
            (file, Some(footer)) => Ok((file, footer)),
            (file, None) => Footer::open(&*file).map(|footer| (file, footer)),
        }
    }

    fn get(&self, chunk: ChunkId, with_footer: bool) -> Result<Open, Fault> {
        let mut open = lock(&self.open);
        let at = open
            .iter()
            .position(|(id, found)| *id == chunk && (found.1.is_some() || !with_footer));
        if let Some(found) = at.and_then(|at| open.remove(at)) {
            open.push_back(found.clone());
            return Ok(found.1);
        }
        drop(open);
        let file = self.store.open_chunk(chunk)?;
        let footer = with_footer.then(|| Footer::open(&*file)).transpose()?;
        let mut open = lock(&self.open);
        open.retain(|(id, _)| *id != chunk);
        while open.len() >= OPEN_MAX {
            open.pop_front();
        }
        open.push_back((chunk, (Arc::clone(&file), footer)));
        Ok((file, footer))
    }

    /// Reads by the footer of a chunk, or, if that is damaged, by what its entries say of themselves.
    fn by_footer_or_entries<T>(
        &self,
        read: &ColdRead,
        by_footer: impl FnOnce(&ChunkFile, &Footer) -> Result<T, ReadError>,
        by_entries: impl FnOnce(&ChunkFile, &Unlisted) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let opened = self.sealed(read.chunk).map_err(ReadError::from);
        let listed = opened.and_then(|(file, footer)| by_footer(&file, &footer));
        match listed {
            Err(ReadError::Fault(fault)) if fault.kind == FaultKind::Corrupt => {
                let file = self.file(read.chunk)?;
                let unlisted = self.unlisted(&file, read, &fault)?;
                by_entries(&file, &unlisted)
            }
            other => other,
        }
    }

    /// Where the entries of a partition lie in a chunk whose footer is damaged.
    fn unlisted(
        &self,
        file: &ChunkFile,
        read: &ColdRead,
        damage: &Fault,
    ) -> Result<Arc<Unlisted>, Fault> {
        let key = (read.chunk, read.slot);
        let known = |kept: &VecDeque<(Extent, Arc<Unlisted>)>| {
            let found = kept.iter().find(|(of, _)| *of == key);
            found.map(|(_, unlisted)| Arc::clone(unlisted))
        };
        if let Some(unlisted) = known(&lock(&self.unlisted)) {
            return Ok(unlisted);
        }
        tracing::warn!(%damage, partition = read.partition, "entries are read without their footer");
        let footer = Footer::open(file).ok();
        let kind = file.header().kind;
        let found = Unlisted::find(file, kind, footer.as_ref(), read, &max_timestamp)?;
        let found = Arc::new(found);
        let mut kept = lock(&self.unlisted);
        kept.push_back((key, Arc::clone(&found)));
        let mut bytes: usize = kept.iter().map(|(_, found)| found.memory_bytes()).sum();
        while bytes > UNLISTED_BYTES_MAX && kept.len() > 1 {
            let gone = kept.pop_front();
            bytes -= gone.map_or(0, |(_, gone)| gone.memory_bytes());
        }
        Ok(found)
    }

    /// Lets go of chunks that are gone, so that the system can have their room back.
    pub fn forget(&self, chunks: &[ChunkId]) {
        lock(&self.open).retain(|(id, _)| !chunks.contains(id));
        lock(&self.unlisted).retain(|((id, _), _)| !chunks.contains(id));
    }
}

/// Figures of the read pool, for operators.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolFigures {
    /// Reads that wait for a thread.
    pub waiting: usize,
    /// Reads that were ever handed to it.
    pub submitted: u64,
    /// Chunks kept open.
    pub open_chunks: usize,
}

/// Threads that read from disk.
#[derive(Debug)]
pub(crate) struct ReadPool {
    queue: Arc<Queue>,
    chunks: Arc<OpenChunks>,
}

impl ReadPool {
    /// Starts the threads; they end with the pool.
    pub(crate) fn start(store: Arc<dyn ChunkStore>, broker: &Weak<Broker>) -> Self {
        let chunks = Arc::new(OpenChunks::new(store));
        let queue = Arc::<Queue>::default();
        for number in 0..THREADS {
            let (queue, chunks, broker) = (Arc::clone(&queue), Arc::clone(&chunks), broker.clone());
            std::thread::Builder::new()
                .name(format!("read-{number}"))
                .spawn(move || run(&queue, &chunks, &broker))
                .expect("the process may start a thread");
        }
        Self { queue, chunks }
    }

    /// Lets go of chunks that are gone.
    pub(crate) fn forget(&self, chunks: &[ChunkId]) {
        self.chunks.forget(chunks);
    }

    /// Figures for operators.
    pub(crate) fn figures(&self) -> PoolFigures {
        let waiting = lock(&self.queue.work);
        let (submitted, waiting) = (waiting.submitted, waiting.work.len());
        PoolFigures {
            waiting,
            submitted,
            open_chunks: lock(&self.chunks.open).len(),
        }
    }

    /// Hands work to the pool.
    pub(crate) fn submit(&self, work: ColdWork) {
        let mut waiting = lock(&self.queue.work);
        let number = waiting.submitted;
        waiting.submitted += 1;
        waiting.under_way.insert(number);
        waiting.work.push_back((number, work));
        drop(waiting);
        self.queue.more.notify_one();
    }

    /// How much was handed to the pool until now.
    pub(crate) fn submitted(&self) -> u64 {
        lock(&self.queue.work).submitted
    }

    /// Whether the first `count` pieces that were handed to the pool are done.
    pub(crate) fn has_done(&self, count: u64) -> bool {
        let waiting = lock(&self.queue.work);
        waiting
            .under_way
            .first()
            .is_none_or(|first| *first >= count)
    }
}

impl Drop for ReadPool {
    fn drop(&mut self) {
        lock(&self.queue.work).ended = true;
        self.queue.more.notify_all();
    }
}

fn run(queue: &Queue, chunks: &OpenChunks, broker: &Weak<Broker>) {
    loop {
        let mut waiting = lock(&queue.work);
        let (number, work) = loop {
            if let Some(work) = waiting.work.pop_front() {
                break work;
            }
            if waiting.ended {
                return;
            }
            let woken = queue.more.wait(waiting);
            waiting = woken.unwrap_or_else(std::sync::PoisonError::into_inner);
        };
        drop(waiting);
        let carried = carry_out(work, chunks);
        lock(&queue.work).under_way.remove(&number);
        let Some(broker) = broker.upgrade() else {
            return;
        };
        match carried {
            Carried::Answer(to, reply) => broker.answer(to, reply),
            Carried::Further(further) => broker.find_further(further),
        }
    }
}

/// What came of work.
#[derive(Debug)]
pub enum Carried {
    /// The answer, and where it goes.
    Answer(ReplyTo, Reply),
    /// What was looked for lies elsewhere, and the lane has to say where:
    /// [`crate::lane::Lane::find_further`].
    Further(FindFurther),
}

/// Does what the lane asked.
pub fn carry_out(work: ColdWork, chunks: &OpenChunks) -> Carried {
    match work.task {
        ColdTask::Read {
            mut outcomes,
            missing,
        } => {
            for (at, part) in missing {
                let Some(outcome) = outcomes.get_mut(at) else {
                    continue;
                };
                match (read_part(part, chunks), &mut *outcome) {
                    (Ok(batches), Ok(out)) => out.batches.extend(batches),
                    (Err(refusal), _) => *outcome = Err(refusal),
                    (Ok(_), Err(_)) => {}
                }
            }
            Carried::Answer(work.to, Reply::Read(outcomes))
        }
        ColdTask::Find { outcomes, missing } => find::find_all(work.to, outcomes, missing, chunks),
    }
}

fn read_part(part: ColdPart, chunks: &OpenChunks) -> Result<Vec<Bytes>, ReadRefusal> {
    let (found, end) = match part {
        ColdPart::Places { partition, entries } => (read_places(partition, &entries, chunks), None),
        ColdPart::Sealed { read, .. } => (read_sealed(&read, chunks), Some(Offset(read.end))),
    };
    let found = found.map_err(refusal)?;
    if let Some(end) = end.filter(|_| found.is_empty()) {
        // Only damage ends a place before its last batch. Nothing lies between here and there, and an
        // answer without batches would be the end of the partition to its reader.
        return Err(ReadRefusal::Damaged {
            base: end,
            last: end,
        });
    }
    Ok(found
        .iter()
        .map(|batch| payload_batch(&batch.payload))
        .collect())
}

fn read_places(
    partition: PartitionId,
    entries: &[TailEntry],
    chunks: &OpenChunks,
) -> Result<Vec<FoundBatch>, ReadError> {
    let mut found = Vec::with_capacity(entries.len());
    for of_chunk in entries.chunk_by(|a, b| a.at.chunk() == b.at.chunk()) {
        let Some(first) = of_chunk.first() else {
            continue;
        };
        let read = chunks
            .file(first.at.chunk())
            .map_err(ReadError::from)
            .and_then(|file| reader::read_tail(&*file, partition.0, of_chunk));
        match read {
            Ok(more) => {
                let whole = more.len() == of_chunk.len();
                found.extend(more);
                if !whole {
                    // It ended before damage. What lies in the next chunk must not follow: the reader
                    // would go on behind the damage and never hear of it.
                    break;
                }
            }
            // What was read before the damage is good; the next read meets the damage itself.
            Err(_) if !found.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn read_sealed(read: &ColdRead, chunks: &OpenChunks) -> Result<Vec<FoundBatch>, ReadError> {
    chunks.by_footer_or_entries(
        read,
        |file, footer| reader::read_cold(file, footer, read),
        |file, unlisted| unlisted.read(file, read),
    )
}

fn refusal(error: ReadError) -> ReadRefusal {
    tracing::error!(%error, "a read from disk failed");
    match error {
        ReadError::Damaged(range) => ReadRefusal::Damaged {
            base: Offset(range.base),
            last: Offset(range.last),
        },
        ReadError::Fault(fault) => ReadRefusal::Unavailable(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use mulgil_log::disk::MemDisk;
    use mulgil_log::store::{StepStore, StoreOptions};

    use super::*;
    use crate::lane::Origin;
    use crate::request::Ticket;

    fn work(number: u64) -> ColdWork {
        let origin = Origin {
            runtime: 0,
            connection: 1,
        };
        ColdWork {
            to: ReplyTo {
                origin,
                ticket: Ticket(number),
            },
            task: ColdTask::Find {
                outcomes: Vec::new(),
                missing: Vec::new(),
            },
        }
    }

    #[test]
    fn what_was_submitted_first_is_waited_for_and_no_more() {
        let disk = Arc::new(MemDisk::new(0));
        let store = StepStore::new(disk, StoreOptions::default(), Arc::new(|_| ()));
        let pool = ReadPool {
            queue: Arc::default(),
            chunks: Arc::new(OpenChunks::new(Arc::new(store))),
        };
        assert!(pool.has_done(pool.submitted()));
        pool.submit(work(1));
        let before = pool.submitted();
        pool.submit(work(2));
        assert!(!pool.has_done(before));
        // Without a broker to answer, a thread ends after one piece.
        run(&pool.queue, &pool.chunks, &Weak::new());
        assert!(pool.has_done(before) && !pool.has_done(pool.submitted()));
        run(&pool.queue, &pool.chunks, &Weak::new());
        assert!(pool.has_done(pool.submitted()));
    }
}
