//! Parts of an answer: what one thread reads at a time.
//!
//! The first part of an answer is read alone, since only an answer that has nothing yet gets a batch that
//! is larger than what was asked for. Further ones may be read at the same time by several threads, each
//! within room that is set aside for it; so an answer has the same batches whoever reads them.

use bytes::Bytes;
use mulgil_log::access::Sparing;
use mulgil_log::index::{ColdRead, TailEntry};
use mulgil_log::reader::{self, FoundBatch, ReadError};
use mulgil_record::ids::{Offset, PartitionId};

use super::OpenChunks;
use crate::lane::{ColdPart, ReadTask, payload_batch};
use crate::request::ReadRefusal;

/// A part of an answer that was taken out to be read.
#[derive(Debug)]
pub(super) struct Part {
    /// Which of the answer's partitions it is for.
    at: usize,
    part: ColdPart,
    /// How much of the answer it may take, bytes.
    room: u64,
    /// The answer has nothing yet.
    first: bool,
}

/// What came of a part.
#[derive(Debug)]
pub(super) struct Filled {
    at: usize,
    room: u64,
    found: Result<Vec<Bytes>, ReadRefusal>,
}

/// Most bytes that a part adds to its answer, unless a single batch is larger.
fn bytes_most(part: &ColdPart) -> u64 {
    match part {
        ColdPart::Memory(batch) => batch.len() as u64,
        ColdPart::Places { entries, .. } => {
            let lengths = entries.iter().map(|entry| u64::from(entry.length));
            lengths.fold(0, u64::saturating_add)
        }
        ColdPart::Sealed { read, .. } => read.budget_bytes as u64,
    }
}

/// Whether nothing is left to be read for an answer, and nobody is at it.
pub(super) fn is_whole(read: &ReadTask) -> bool {
    let is_full = read.bytes > 0 && read.bytes >= read.bytes_max;
    read.parts_under_way == 0 && (read.missing.is_empty() || is_full)
}

/// Whether a part of an answer can be read now.
pub(super) fn has_part(read: &ReadTask) -> bool {
    let Some((_, next)) = read.missing.front() else {
        return false;
    };
    let taken = read.bytes.saturating_add(read.bytes_under_way);
    let room = read.bytes_max.saturating_sub(taken);
    if read.parts_under_way == 0 {
        read.bytes == 0 || room > 0
    } else {
        // What is set aside for others may come back, and would be missed by one that has too little.
        read.bytes > 0 && room >= bytes_most(next)
    }
}

impl Part {
    /// Takes the next part of an answer, if one can be read now.
    pub(super) fn take(read: &mut ReadTask) -> Option<Self> {
        if !has_part(read) {
            return None;
        }
        let (at, part) = read.missing.pop_front()?;
        let taken = read.bytes.saturating_add(read.bytes_under_way);
        let room = read.bytes_max.saturating_sub(taken).min(bytes_most(&part));
        read.parts_under_way += 1;
        read.bytes_under_way += room;
        let first = read.bytes == 0;
        Some(Self {
            at,
            part,
            room,
            first,
        })
    }

    /// Reads it.
    pub(super) fn read(self, chunks: &OpenChunks) -> Filled {
        let Self {
            at,
            part,
            room,
            first,
        } = self;
        let found = read_part(part, room, first, chunks);
        Filled { at, room, found }
    }
}

impl Filled {
    /// Puts what was read into the answer.
    pub(super) fn put(self, read: &mut ReadTask) {
        read.parts_under_way = read.parts_under_way.saturating_sub(1);
        read.bytes_under_way = read.bytes_under_way.saturating_sub(self.room);
        let Some(outcome) = read.outcomes.get_mut(self.at) else {
            return;
        };
        match (self.found, outcome) {
            (Err(why), outcome) => *outcome = Err(why),
            (Ok(batches), Ok(out)) => {
                read.bytes += batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
                out.batches.extend(batches);
            }
            (Ok(_), Err(_)) => {}
        }
    }
}

/// The batches of a part that fit. The first of an answer is given in any case, so that its reader gets on.
fn read_part(
    part: ColdPart,
    room: u64,
    first: bool,
    chunks: &OpenChunks,
) -> Result<Vec<Bytes>, ReadRefusal> {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let (end, found) = match part {
        ColdPart::Memory(batch) => return Ok(vec![batch]),
        ColdPart::Places {
            partition,
            mut entries,
        } => {
            let mut bytes = 0;
            let fitting = entries.iter().take_while(|entry| {
                bytes += entry.length as usize;
                bytes <= room
            });
            let least = usize::from(first);
            entries.truncate(fitting.count().max(least));
            (None, read_places(partition, &entries, chunks))
        }
        ColdPart::Sealed { read, .. } => {
            let budget_bytes = read.budget_bytes.min(room);
            let end = Offset(read.end);
            let read = ColdRead {
                budget_bytes,
                ..read
            };
            (Some(end), read_sealed(&read, chunks))
        }
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
    // The reader gives one batch in any case, and none beside it that does not fit.
    if !first && found.first().is_some_and(|b| b.payload.len() > room) {
        return Ok(Vec::new());
    }
    let batches = found.iter().map(|batch| payload_batch(&batch.payload));
    Ok(batches.collect())
}

pub(super) fn read_places(
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
            .and_then(|file| reader::read_tail(&Sparing(&file), partition.0, of_chunk));
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

pub(super) fn read_sealed(
    read: &ColdRead,
    chunks: &OpenChunks,
) -> Result<Vec<FoundBatch>, ReadError> {
    chunks.by_footer_or_entries(
        read,
        |file, footer| reader::read_cold(file, footer, read),
        |file, unlisted| unlisted.read(file, read),
    )
}

pub(super) fn refusal(error: ReadError) -> ReadRefusal {
    tracing::error!(%error, "a read from disk failed");
    match error {
        ReadError::Damaged(range) => ReadRefusal::Damaged {
            base: Offset(range.base),
            last: Offset(range.last),
        },
        ReadError::Fault(fault) => ReadRefusal::Unavailable(fault.to_string()),
    }
}
