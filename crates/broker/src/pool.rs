//! The read pool: a few threads that read from disk, so that no thread that serves sockets does.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, Weak};

use bytes::Bytes;
use mulgil_log::chunk::ChunkFile;
use mulgil_log::fault::Fault;
use mulgil_log::footer::Footer;
use mulgil_log::index::{ColdRead, TailEntry};
use mulgil_log::position::ChunkId;
use mulgil_log::reader::{self, FoundBatch, ReadError};
use mulgil_log::store::ChunkStore;
use mulgil_record::batch::{Batch, DecodeLimits};
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId};

use crate::lane::{ColdPart, ColdTask, ColdWork, FindPart, FindPlace, payload_batch};
use crate::mailbox::lock;
use crate::request::{FoundOffset, ReadRefusal, Reply, Seek};
use crate::shell::Broker;

/// How many threads read from disk.
const THREADS: usize = 2;
/// Largest batch that is opened to find a record by time, bytes after decompression.
const OPENED_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, Default)]
struct Queue {
    work: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    work: VecDeque<ColdWork>,
    /// How much was ever submitted.
    submitted: u64,
    /// Nobody submits any more.
    ended: bool,
}

/// How many chunks are kept open, so that a reader that goes through one opens it once.
const OPEN_MAX: usize = 64;

type Open = (Arc<ChunkFile>, Option<Footer>);

/// Chunks that were read lately, kept open, each with its footer if it has one.
///
/// Who has a chunk open can read it though it is deleted meanwhile.
#[derive(Debug)]
pub struct OpenChunks {
    store: Arc<dyn ChunkStore>,
    open: Mutex<VecDeque<(ChunkId, Open)>>,
}

impl OpenChunks {
    /// No chunk is open yet.
    #[must_use]
    pub fn new(store: Arc<dyn ChunkStore>) -> Self {
        Self {
            store,
            open: Mutex::default(),
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

    /// Lets go of chunks that are gone, so that the system can have their room back.
    pub fn forget(&self, chunks: &[ChunkId]) {
        lock(&self.open).retain(|(id, _)| !chunks.contains(id));
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
        waiting.work.push_back(work);
        waiting.submitted += 1;
        drop(waiting);
        self.queue.more.notify_one();
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
        let work = loop {
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
        let (to, reply) = (work.to, carry_out(work, chunks));
        let Some(broker) = broker.upgrade() else {
            return;
        };
        broker.answer(to, reply);
    }
}

/// Does what the lane asked, and makes the answer.
pub fn carry_out(work: ColdWork, chunks: &OpenChunks) -> Reply {
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
            Reply::Read(outcomes)
        }
        ColdTask::Find {
            mut outcomes,
            missing,
        } => {
            for (at, part) in missing {
                let Some(outcome) = outcomes.get_mut(at) else {
                    continue;
                };
                match (find(part, chunks), &mut *outcome) {
                    (Ok(found), Ok(answer)) => *answer = found.unwrap_or(*answer),
                    (Err(refusal), _) => *outcome = Err(refusal),
                    (Ok(_), Err(_)) => {}
                }
            }
            Reply::FindOffsets(outcomes)
        }
    }
}

fn read_part(part: ColdPart, chunks: &OpenChunks) -> Result<Vec<Bytes>, ReadRefusal> {
    let found = match part {
        ColdPart::Places { partition, entries } => read_places(partition, &entries, chunks),
        ColdPart::Sealed { read, .. } => read_sealed(&read, chunks),
    };
    let found = found.map_err(refusal)?;
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
            Ok(more) => found.extend(more),
            // What was read before the damage is good; the next read meets the damage itself.
            Err(_) if !found.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn read_sealed(read: &ColdRead, chunks: &OpenChunks) -> Result<Vec<FoundBatch>, ReadError> {
    let (file, footer) = chunks.sealed(read.chunk)?;
    reader::read_cold(&*file, &footer, read)
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

fn find(part: FindPart, chunks: &OpenChunks) -> Result<Option<FoundOffset>, ReadRefusal> {
    let batches: Vec<Bytes> = match part.place {
        FindPlace::Memory(batch) => vec![batch],
        FindPlace::Entry(entry) => {
            let found = read_places(part.partition, &[entry], chunks).map_err(refusal)?;
            found.iter().map(|b| payload_batch(&b.payload)).collect()
        }
        FindPlace::Sealed(read) => {
            let found = find_sealed(&read, part.seek, chunks).map_err(refusal)?;
            found.iter().map(|b| payload_batch(&b.payload)).collect()
        }
    };
    let mut best: Option<FoundOffset> = None;
    for bytes in batches {
        let Some(found) = find_in_batch(bytes, part.seek)? else {
            continue;
        };
        if matches!(part.seek, Seek::Time(_)) {
            return Ok(Some(found));
        }
        if best.is_none_or(|b| found.timestamp > b.timestamp) {
            best = Some(found);
        }
    }
    Ok(best)
}

fn find_sealed(
    read: &ColdRead,
    seek: Seek,
    chunks: &OpenChunks,
) -> Result<Vec<FoundBatch>, ReadError> {
    let (file, footer) = chunks.sealed(read.chunk)?;
    match seek {
        Seek::Time(timestamp) => reader::find_by_time(&*file, &footer, read, timestamp),
        Seek::MaxTimestamp | Seek::Earliest | Seek::Latest => {
            reader::find_by_max_time(&*file, &footer, read)
        }
    }
}

fn find_in_batch(bytes: Bytes, seek: Seek) -> Result<Option<FoundOffset>, ReadRefusal> {
    let unreadable = |what: String| ReadRefusal::Unavailable(what);
    let batch = Batch::check(bytes).map_err(|e| unreadable(e.to_string()))?;
    let base = batch.header.base_offset;
    let leader_epoch: LeaderEpoch = batch.header.leader_epoch;
    let limits = DecodeLimits {
        bytes_max: OPENED_BYTES_MAX,
        ..DecodeLimits::default()
    };
    let records = batch
        .records(limits)
        .map_err(|e| unreadable(e.to_string()))?;
    let found = match seek {
        Seek::Time(timestamp) => records.first_at_or_after(timestamp),
        Seek::MaxTimestamp => records.max_timestamp_record(),
        Seek::Earliest | Seek::Latest => None,
    };
    Ok(found.map(|at| FoundOffset {
        offset: Some(base.plus(i64::from(at.offset_delta))),
        timestamp: Some(at.timestamp),
        leader_epoch,
    }))
}
