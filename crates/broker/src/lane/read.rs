//! Reading by offset, and waiting for more.
//!
//! What lies in the tail is answered here, as slices of the frames it was written with. What lies
//! further back becomes [`ColdWork`] for the read pool. A read that finds too little is parked; the
//! rise of a high watermark counts towards it, and when it has enough, or its time is over, its own
//! runtime comes back for it. So nobody reads while a commit is being finished.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use mulgil_core::machine::{Elapsed, Now};
use mulgil_log::index::{ColdRead, Located, TailEntry};
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId};

use super::append::BATCH_PREFIX_BYTES;
use super::{BuryTask, Due, Lane, Origin, ReplyTo, Rise, Turn};
use crate::request::{Isolation, Read, ReadOut, ReadPartition, ReadRefusal, Reply};

/// Most places on disk that one answer is put together from: each may be a seek of some milliseconds
/// and hold more than there is room for. What lies behind is for the next read, as when a read is full.
const COLD_PARTS_MAX: usize = 256;

/// One partition's share of a cold read.
#[derive(Debug)]
pub enum ColdPart {
    /// A batch that is in memory; only for who does not want it as it is stored.
    Memory(Bytes),
    /// Batches of a chunk that has no footer yet, by their places.
    Places {
        /// Which partition.
        partition: PartitionId,
        /// Where its batches lie.
        entries: Vec<TailEntry>,
    },
    /// Batches of a chunk with a footer.
    Sealed {
        /// Which partition.
        partition: PartitionId,
        /// What to look up.
        read: ColdRead,
    },
}

/// A read that needs the disk: the read pool fills what is missing and answers.
#[derive(Debug)]
pub struct ColdWork {
    /// Where the answer goes.
    pub to: ReplyTo,
    /// What to do.
    pub task: ColdTask,
}

/// What the read pool has to do.
#[derive(Debug)]
pub enum ColdTask {
    /// Read batches.
    Read(ReadTask),
    /// Find offsets by time.
    Find(FindTask),
    /// Pack a record for a dead-letter target.
    Bury(Box<BuryTask>),
}

impl ColdTask {
    /// The task to look at these places; the answer so far.
    #[must_use]
    pub fn find(
        outcomes: Vec<Result<crate::request::FoundOffset, ReadRefusal>>,
        missing: Vec<(usize, super::offsets::FindPart)>,
    ) -> Self {
        Self::Find(FindTask {
            outcomes,
            missing: missing.into(),
            left: Vec::new(),
        })
    }
}

/// A read while it is carried out.
#[derive(Debug)]
pub struct ReadTask {
    /// The answer so far.
    pub outcomes: Vec<Result<ReadOut, ReadRefusal>>,
    /// By index, what to read for which of them.
    pub missing: VecDeque<(usize, ColdPart)>,
    /// Bytes of batches in the answer so far.
    pub bytes: u64,
    /// At most so many, but one batch in any case.
    pub bytes_max: u64,
    /// How many parts are being read at this moment.
    pub parts_under_way: usize,
    /// How much of the answer they may take, bytes.
    pub bytes_under_way: u64,
}

/// A search while it is carried out.
#[derive(Debug)]
pub struct FindTask {
    /// The answer so far.
    pub outcomes: Vec<Result<crate::request::FoundOffset, ReadRefusal>>,
    /// By index, which place to look at for which of them.
    pub missing: VecDeque<(usize, super::offsets::FindPart)>,
    /// By index, those who have to look elsewhere.
    pub left: Vec<(usize, super::offsets::FindLeft)>,
}

/// A read that waits for more.
#[derive(Debug)]
struct Parked {
    to: ReplyTo,
    read: Read,
    deadline: Elapsed,
    bytes: u64,
}

/// All reads that wait.
#[derive(Debug, Default)]
pub(super) struct Reads {
    parked: BTreeMap<u64, Parked>,
    deadlines: BTreeSet<(Elapsed, u64)>,
    by_origin: BTreeMap<Origin, BTreeSet<u64>>,
    next: u64,
}

impl Reads {
    fn park(&mut self, parked: Parked) -> u64 {
        self.next += 1;
        let id = self.next;
        self.deadlines.insert((parked.deadline, id));
        self.by_origin
            .entry(parked.to.origin)
            .or_default()
            .insert(id);
        self.parked.insert(id, parked);
        id
    }

    fn take(&mut self, id: u64) -> Option<Parked> {
        let parked = self.parked.remove(&id)?;
        self.deadlines.remove(&(parked.deadline, id));
        if let Some(of_origin) = self.by_origin.get_mut(&parked.to.origin) {
            of_origin.remove(&id);
            if of_origin.is_empty() {
                self.by_origin.remove(&parked.to.origin);
            }
        }
        Some(parked)
    }

    /// Sends reads whose time is over back to their runtimes.
    pub(super) fn expire(&mut self, now: Elapsed, turn: &mut Turn) {
        while let Some((_, id)) = self
            .deadlines
            .first()
            .copied()
            .filter(|(due, _)| *due <= now)
        {
            self.deadlines.pop_first();
            if let Some(parked) = self.parked.get_mut(&id) {
                parked.bytes = u64::MAX;
                turn.retries.push((parked.to, id));
            }
        }
    }

    /// Sends one read back to its runtime at once.
    pub(super) fn wake(&mut self, id: u64, turn: &mut Turn) {
        if let Some(parked) = self.parked.get_mut(&id) {
            parked.bytes = u64::MAX;
            turn.retries.push((parked.to, id));
        }
    }

    pub(super) fn deadline(&self) -> Option<Elapsed> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    /// Forgets the reads of a connection; says which partitions each waited for.
    pub(super) fn forget(&mut self, origin: Origin) -> Vec<(u64, Vec<PartitionId>)> {
        let ids = self.by_origin.remove(&origin).unwrap_or_default();
        let taken = ids.into_iter().filter_map(|id| Some((id, self.take(id)?)));
        taken
            .map(|(id, p)| (id, p.read.partitions.iter().map(|r| r.partition).collect()))
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.parked.len()
    }
}

/// What one pass over a read's partitions found.
#[derive(Default)]
struct Gathered {
    outcomes: Vec<Result<ReadOut, ReadRefusal>>,
    missing: Vec<(usize, ColdPart)>,
    bytes: u64,
    bytes_max: u64,
    refused: bool,
}

/// What is left for one partition.
#[derive(Clone, Copy)]
struct Room {
    bytes: u64,
    /// Nothing was found yet: one batch may be larger.
    first: bool,
    /// It may come from disk.
    cold: bool,
}

impl Lane {
    pub(super) fn read(&mut self, to: ReplyTo, read: Read, now: Now, turn: &mut Turn) {
        let gathered = self.gather(&read);
        let enough = gathered.bytes >= u64::from(read.bytes_min);
        if enough || gathered.refused || read.wait_ms == 0 || self.stopping {
            return self.finish(to, gathered, turn);
        }
        let deadline = Elapsed(now.elapsed.0 + u64::from(read.wait_ms));
        let partitions: Vec<_> = read.partitions.iter().map(|p| p.partition).collect();
        let id = self.reads.park(Parked {
            to,
            read,
            deadline,
            bytes: gathered.bytes,
        });
        for partition in partitions {
            if let Some(hosted) = self.partitions.get_mut(&partition) {
                hosted.readers.insert(id);
            }
        }
    }

    /// Answers a read that was sent back to its runtime, with whatever there is.
    pub fn resume(&mut self, id: u64, now: Now, turn: &mut Turn) {
        let Some(parked) = self.reads.take(id) else {
            return;
        };
        let partitions: Vec<_> = parked.read.partitions.iter().map(|p| p.partition).collect();
        self.unpark(id, &partitions);
        if parked.deadline <= now.elapsed {
            let gathered = self.gather(&parked.read);
            return self.finish(parked.to, gathered, turn);
        }
        let left = parked.deadline.0 - now.elapsed.0;
        let wait_ms = u32::try_from(left).unwrap_or(u32::MAX);
        self.read(
            parked.to,
            Read {
                wait_ms,
                ..parked.read
            },
            now,
            turn,
        );
    }

    pub(super) fn unpark(&mut self, id: u64, partitions: &[PartitionId]) {
        for partition in partitions {
            if let Some(hosted) = self.partitions.get_mut(partition) {
                hosted.readers.remove(&id);
            }
        }
    }

    fn finish(&mut self, to: ReplyTo, gathered: Gathered, turn: &mut Turn) {
        let Gathered {
            outcomes,
            missing,
            bytes_max,
            ..
        } = gathered;
        let gone =
            |outcome: &Result<_, _>| matches!(outcome, Err(ReadRefusal::UnknownPartition(_)));
        if outcomes.iter().any(gone) && self.unknown_due() != Due::NOW {
            // What is on disk is left out, so that nothing but the lane has to hold the answer.
            return self.answer(to, self.unknown_due(), Reply::Read(outcomes), turn);
        }
        if missing.is_empty() {
            // Everything read lies below a high watermark, so it waits for nothing.
            return self.answer(to, Due::NOW, Reply::Read(outcomes), turn);
        }
        let batches = outcomes.iter().flatten().flat_map(|out| &out.batches);
        let bytes = batches.map(|batch| batch.len() as u64).sum();
        turn.cold.push(ColdWork {
            to,
            task: ColdTask::Read(ReadTask {
                outcomes,
                missing: missing.into(),
                bytes,
                bytes_max,
                parts_under_way: 0,
                bytes_under_way: 0,
            }),
        });
    }

    fn gather(&self, read: &Read) -> Gathered {
        let mut found = Gathered {
            bytes_max: u64::from(read.bytes_max.min(self.read_limit)),
            ..Gathered::default()
        };
        for (at, part) in read.partitions.iter().enumerate() {
            let room = Room {
                bytes: found.bytes_max.saturating_sub(found.bytes),
                first: found.bytes == 0,
                cold: found.missing.len() < COLD_PARTS_MAX,
            };
            let (outcome, cold) = match self.read_one(part, read.isolation, room) {
                Ok((out, cold, bytes)) => {
                    found.bytes += bytes;
                    found.refused |= out.diverging.is_some();
                    (Ok(out), cold)
                }
                Err(refusal) => {
                    found.refused = true;
                    (Err(refusal), None)
                }
            };
            found.outcomes.push(outcome);
            found.missing.extend(cold.map(|cold| (at, cold)));
        }
        found
    }

    /// Reads one partition: what memory has, what must come from disk, and how many bytes in all.
    fn read_one(
        &self,
        part: &ReadPartition,
        isolation: Isolation,
        room: Room,
    ) -> Result<(ReadOut, Option<ColdPart>, u64), ReadRefusal> {
        let id = part.partition;
        let hosted = self
            .partitions
            .get(&id)
            .ok_or(ReadRefusal::UnknownPartition(id))?;
        self.check_epoch(part.leader_epoch)?;
        let high_watermark = hosted.high_watermark;
        let log_start = hosted.log_start;
        // No transactions yet: nothing is open, so all that is durable is stable.
        let last_stable = high_watermark;
        let end = match isolation {
            Isolation::Uncommitted => high_watermark,
            Isolation::Committed => last_stable,
        };
        let mut out = ReadOut {
            high_watermark,
            last_stable,
            log_start,
            batches: Vec::new(),
            diverging: None,
        };
        if let Some(epoch) = part.last_epoch {
            out.diverging = diverging(hosted.machine.end_of_epoch(epoch), epoch, part.offset);
            if out.diverging.is_some() {
                return Ok((out, None, 0));
            }
        }
        let offset = part.offset;
        if offset < log_start || offset > high_watermark {
            return Err(ReadRefusal::OutOfRange {
                offset,
                start: log_start,
                end: high_watermark,
            });
        }
        if offset == end {
            // Most partitions of most reads: nothing new.
            return Ok((out, None, 0));
        }
        let budget = u64::from(part.bytes_max).min(room.bytes);
        if budget == 0 && !room.first {
            return Ok((out, None, 0));
        }
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        let (cold, bytes) = match self.index.locate(id.0, offset.0, budget, end.0) {
            Located::End => (None, 0),
            Located::Damaged { base, last } => {
                let (base, last) = (Offset(base), Offset(last));
                return Err(ReadRefusal::Damaged { base, last });
            }
            Located::Cold(_) if !room.cold => (None, 0),
            Located::Cold(read) => {
                // What it really takes, the pool finds out; something in any case.
                let bytes = (read.budget_bytes as u64).max(1);
                (
                    Some(ColdPart::Sealed {
                        partition: id,
                        read,
                    }),
                    bytes,
                )
            }
            Located::Tail(entries) => self.read_tail(id, entries, (budget, room), &mut out.batches),
        };
        Ok((out, cold, bytes))
    }

    /// Where the batch of one offset is. None: it is not told yet.
    pub(super) fn place_of(
        &self,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<Option<ColdPart>, ReadRefusal> {
        let part = ReadPartition {
            partition,
            offset,
            bytes_max: 1,
            leader_epoch: None,
            last_epoch: None,
        };
        let room = Room {
            bytes: 1,
            first: true,
            cold: true,
        };
        let (out, cold, _) = self.read_one(&part, Isolation::Uncommitted, room)?;
        let memory = out.batches.into_iter().next().map(ColdPart::Memory);
        Ok(memory.or(cold))
    }

    /// Takes batches from the tail, or says where on disk they lie.
    fn read_tail<'a>(
        &self,
        partition: PartitionId,
        entries: impl Iterator<Item = &'a TailEntry>,
        (budget, room): (usize, Room),
        batches: &mut Vec<Bytes>,
    ) -> (Option<ColdPart>, u64) {
        let mut bytes = 0_usize;
        let mut places = Vec::new();
        for entry in entries {
            let size = entry.length as usize;
            if bytes + size > budget && !(room.first && bytes == 0) {
                break;
            }
            if places.is_empty() {
                match self.batch_in_memory(entry) {
                    Some(batch) => batches.push(batch),
                    // Rather a short answer from memory than a wait for the disk.
                    None if bytes > 0 || !room.cold => break,
                    None => places.push(*entry),
                }
            } else {
                places.push(*entry);
            }
            bytes += size;
        }
        let cold = (!places.is_empty()).then_some(ColdPart::Places {
            partition,
            entries: places,
        });
        (cold, bytes as u64)
    }

    /// The batch of an entry, if its frame is still in memory.
    pub(super) fn batch_in_memory(&self, entry: &TailEntry) -> Option<Bytes> {
        let at = entry.at.plus(mulgil_log::entry::ENTRY_HEADER_BYTES);
        let payload = self.tail.get(at, entry.length as usize)?;
        Some(batch_of_payload(&payload))
    }

    /// Compares the leadership that a reader believes in (KIP-320).
    pub(super) fn check_epoch(&self, believed: Option<LeaderEpoch>) -> Result<(), ReadRefusal> {
        let current = self.leader_epoch;
        match believed {
            Some(epoch) if epoch < current => Err(ReadRefusal::FencedEpoch { current }),
            Some(epoch) if epoch > current => Err(ReadRefusal::UnknownEpoch { current }),
            Some(_) | None => Ok(()),
        }
    }

    /// A high watermark rises: reads that wait for it come nearer to what they want.
    pub(super) fn rise_one(&mut self, rise: Rise, turn: &mut Turn) {
        let Some(hosted) = self.partitions.get_mut(&rise.partition) else {
            return;
        };
        hosted.high_watermark = hosted.high_watermark.max(rise.to);
        for id in &hosted.readers {
            let Some(parked) = self.reads.parked.get_mut(id) else {
                continue;
            };
            let wanted = u64::from(parked.read.bytes_min);
            let had = parked.bytes;
            parked.bytes = had.saturating_add(u64::from(rise.bytes));
            if had < wanted && parked.bytes >= wanted {
                turn.retries.push((parked.to, *id));
            }
        }
    }
}

/// The batch inside a batch entry's payload.
pub(super) fn batch_of_payload(payload: &Bytes) -> Bytes {
    let facts = payload
        .first_chunk()
        .map_or(0, |b: &[u8; 4]| u32::from_le_bytes(*b)) as usize;
    let from = (BATCH_PREFIX_BYTES + facts).min(payload.len());
    payload.slice(from..)
}

/// Where a reader has to go back to, if it has read beyond the end of the leadership it knows.
fn diverging(
    known: Option<(LeaderEpoch, Offset)>,
    epoch: LeaderEpoch,
    offset: Offset,
) -> Option<(LeaderEpoch, Offset)> {
    known.filter(|(found, end)| *found < epoch || *end < offset)
}
