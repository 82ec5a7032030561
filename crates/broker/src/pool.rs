//! The read pool: a few threads that read from disk, so that no thread that serves sockets does.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, Weak};

use bytes::Bytes;
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::index::{ColdRead, TailEntry};
use mulgil_log::reader;
use mulgil_log::store::ChunkStore;
use mulgil_record::batch::{Batch, DecodeLimits};
use mulgil_record::ids::{LeaderEpoch, Offset};

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
    work: Mutex<VecDeque<ColdWork>>,
    more: Condvar,
}

/// Threads that read from disk.
#[derive(Debug)]
pub(crate) struct ReadPool {
    queue: Arc<Queue>,
}

impl ReadPool {
    /// Starts the threads; they end with the process.
    pub(crate) fn start(store: Arc<dyn ChunkStore>, broker: Weak<Broker>) -> Self {
        let queue = Arc::<Queue>::default();
        for number in 0..THREADS {
            let (queue, store, broker) = (Arc::clone(&queue), Arc::clone(&store), broker.clone());
            std::thread::Builder::new()
                .name(format!("read-{number}"))
                .spawn(move || run(&queue, &*store, &broker))
                .expect("the process may start a thread");
        }
        Self { queue }
    }

    /// Hands work to the pool.
    pub(crate) fn submit(&self, work: ColdWork) {
        lock(&self.queue.work).push_back(work);
        self.queue.more.notify_one();
    }
}

fn run(queue: &Queue, store: &dyn ChunkStore, broker: &Weak<Broker>) {
    loop {
        let mut waiting = lock(&queue.work);
        let work = loop {
            match waiting.pop_front() {
                Some(work) => break work,
                None => {
                    waiting = queue
                        .more
                        .wait(waiting)
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                }
            }
        };
        drop(waiting);
        let (to, reply) = (work.to, carry_out(work, store));
        let Some(broker) = broker.upgrade() else { return };
        broker.answer(to, reply);
    }
}

/// Does what the lane asked, and makes the answer.
pub fn carry_out(work: ColdWork, store: &dyn ChunkStore) -> Reply {
    match work.task {
        ColdTask::Read { mut outcomes, missing } => {
            for (at, part) in missing {
                let Some(outcome) = outcomes.get_mut(at) else { continue };
                match (read_part(part, store), &mut *outcome) {
                    (Ok(batches), Ok(out)) => out.batches.extend(batches),
                    (Err(refusal), _) => *outcome = Err(refusal),
                    (Ok(_), Err(_)) => {}
                }
            }
            Reply::Read(outcomes)
        }
        ColdTask::Find { mut outcomes, missing } => {
            for (at, part) in missing {
                let Some(outcome) = outcomes.get_mut(at) else { continue };
                match (find(part, store), &mut *outcome) {
                    (Ok(found), Ok(answer)) => *answer = found.unwrap_or(*answer),
                    (Err(refusal), _) => *outcome = Err(refusal),
                    (Ok(_), Err(_)) => {}
                }
            }
            Reply::FindOffsets(outcomes)
        }
    }
}

fn read_part(part: ColdPart, store: &dyn ChunkStore) -> Result<Vec<Bytes>, ReadRefusal> {
    let payloads = match part {
        ColdPart::Places { entries, .. } => read_places(&entries, store)?,
        ColdPart::Sealed { read, .. } => read_sealed(&read, store)?,
    };
    Ok(payloads.iter().map(payload_batch).collect())
}

fn read_places(entries: &[TailEntry], store: &dyn ChunkStore) -> Result<Vec<Bytes>, ReadRefusal> {
    let mut payloads = Vec::with_capacity(entries.len());
    for of_chunk in entries.chunk_by(|a, b| a.at.chunk() == b.at.chunk()) {
        let Some(first) = of_chunk.first() else { continue };
        let read = store
            .open_chunk(first.at.chunk())
            .and_then(|chunk| reader::read_tail(&*chunk, of_chunk));
        match read {
            Ok(found) => payloads.extend(found.into_iter().map(|batch| batch.payload)),
            // What was read before the damage is good; the next read meets the damage itself.
            Err(_) if !payloads.is_empty() => break,
            Err(fault) => return Err(refusal(&fault, first.base, first.last)),
        }
    }
    Ok(payloads)
}

fn read_sealed(read: &ColdRead, store: &dyn ChunkStore) -> Result<Vec<Bytes>, ReadRefusal> {
    let found = store
        .open_chunk(read.chunk)
        .and_then(|chunk| reader::read_cold(&*chunk, read.chunk, read))
        .map_err(|fault| refusal(&fault, read.from, read.from))?;
    Ok(found.into_iter().map(|batch| batch.payload).collect())
}

fn refusal(fault: &Fault, base: i64, last: i64) -> ReadRefusal {
    tracing::error!(%fault, source = ?fault.source, base, last, "a read from disk failed");
    match fault.kind {
        FaultKind::Corrupt => ReadRefusal::Damaged { base: Offset(base), last: Offset(last) },
        FaultKind::Unavailable | FaultKind::Fenced | FaultKind::Exhausted | FaultKind::Fatal => {
            ReadRefusal::Unavailable(fault.to_string())
        }
    }
}

fn find(part: FindPart, store: &dyn ChunkStore) -> Result<Option<FoundOffset>, ReadRefusal> {
    let batches = match part.place {
        FindPlace::Memory(batch) => vec![batch],
        FindPlace::Entry(entry) => {
            read_places(&[entry], store)?.iter().map(payload_batch).collect()
        }
        FindPlace::Sealed(read) => {
            read_sealed(&read, store)?.iter().map(payload_batch).collect()
        }
    };
    let mut best: Option<FoundOffset> = None;
    for bytes in batches {
        let Some(found) = find_in_batch(bytes, part.seek)? else { continue };
        if matches!(part.seek, Seek::Time(_)) {
            return Ok(Some(found));
        }
        if best.is_none_or(|b| found.timestamp > b.timestamp) {
            best = Some(found);
        }
    }
    Ok(best)
}

fn find_in_batch(bytes: Bytes, seek: Seek) -> Result<Option<FoundOffset>, ReadRefusal> {
    let unreadable = |what: String| ReadRefusal::Unavailable(what);
    let batch = Batch::check(bytes).map_err(|e| unreadable(e.to_string()))?;
    let base = batch.header.base_offset;
    let leader_epoch: LeaderEpoch = batch.header.leader_epoch;
    let limits = DecodeLimits { bytes_max: OPENED_BYTES_MAX, ..DecodeLimits::default() };
    let records = batch.records(limits).map_err(|e| unreadable(e.to_string()))?;
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
