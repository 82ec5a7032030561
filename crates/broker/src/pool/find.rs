//! Searches by time: opening the batches that may have the record.
//!
//! The index promises a largest timestamp for a whole place, an extent or a batch. It may have been that
//! of a record below the log start, which does not count. Then the search goes back to the lane, which
//! knows what lies behind; one place a visit, so that no search holds a thread for long.

use bytes::Bytes;
use mulgil_log::index::ColdRead;
use mulgil_log::reader::{self, FoundBatch};
use mulgil_record::batch::{Batch, BatchError, DecodeLimits};
use mulgil_record::compression::CompressionError;
use mulgil_record::ids::Offset;

use super::OpenChunks;
use super::part::{read_places, refusal};
use crate::lane::{FindLeft, FindPart, FindPlace, FindTask, payload_batch};
use crate::request::{FoundOffset, ReadRefusal, Seek};

/// So much is unpacked for one search, bytes: as much as a megabyte of text packed well. What a
/// batch of a hundred times that holds is not looked for; its first offset is the answer.
const OPENED_BYTES_MAX: usize = 32 << 20;

/// What one place says.
enum Met {
    /// The record, if there is one: the search is over.
    Over(Option<FoundOffset>),
    /// The record lies at this offset or behind it, or the best so far is the one.
    Behind(Offset, Option<FoundOffset>),
}

/// Looks into the place of one search.
pub(super) fn look(task: &mut FindTask, at: usize, part: &FindPart, chunks: &OpenChunks) {
    let Some(outcome) = task.outcomes.get_mut(at) else {
        return;
    };
    let mut opened = part.opened;
    match (find(part, &mut opened, chunks), &mut *outcome) {
        (Ok(Met::Over(found)), Ok(answer)) => *answer = found.unwrap_or(*answer),
        (Ok(Met::Behind(from, best)), Ok(_)) => {
            let search = FindLeft {
                partition: part.partition,
                seek: part.seek,
                from,
                best,
                opened,
            };
            task.left.push((at, search));
        }
        (Err(refusal), _) => *outcome = Err(refusal),
        (Ok(_), Err(_)) => {}
    }
}

fn find(part: &FindPart, opened: &mut usize, chunks: &OpenChunks) -> Result<Met, ReadRefusal> {
    let (batches, from, promised) = match &part.place {
        FindPlace::Memory(batch) => (vec![batch.clone()], part.behind, part.promised),
        FindPlace::Entry(entry) => {
            let found = read_places(part.partition, &[*entry], chunks).map_err(refusal)?;
            (payloads(&found), part.behind, part.promised)
        }
        FindPlace::Sealed(read) => {
            let (found, promised) = find_sealed(read, part, chunks).map_err(refusal)?;
            let behind = found.last().map(|batch| Offset(batch.last).plus(1));
            (payloads(&found), behind.unwrap_or(part.behind), promised)
        }
    };
    let mut newest: Option<FoundOffset> = None;
    for bytes in batches {
        let Some(found) = find_in_batch(bytes, part, opened)? else {
            continue;
        };
        if matches!(part.seek, Seek::Time(_)) {
            return Ok(Met::Over(Some(found)));
        }
        if newest.is_none_or(|newest| found.timestamp > newest.timestamp) {
            newest = Some(found);
        }
    }
    if matches!(part.seek, Seek::Time(_)) {
        return Ok(Met::Behind(from, None));
    }
    // Nothing else in the place has more than what the block promised.
    let kept = time_of(newest) >= promised;
    let from = if kept { part.behind } else { from };
    let best = if time_of(newest) > time_of(part.best) {
        newest
    } else {
        part.best
    };
    if time_of(best) >= part.promised {
        return Ok(Met::Over(best));
    }
    Ok(Met::Behind(from, best))
}

fn time_of(found: Option<FoundOffset>) -> i64 {
    found.and_then(|found| found.timestamp).unwrap_or(-1)
}

fn payloads(found: &[FoundBatch]) -> Vec<Bytes> {
    found.iter().map(|b| payload_batch(&b.payload)).collect()
}

/// The batches of the block to look into, and the largest timestamp that it is said to have.
fn find_sealed(
    read: &ColdRead,
    part: &FindPart,
    chunks: &OpenChunks,
) -> Result<(Vec<FoundBatch>, i64), reader::ReadError> {
    match part.seek {
        Seek::Time(timestamp) => {
            let found = chunks.by_footer_or_entries(
                read,
                |file, footer| reader::find_by_time(file, footer, read, timestamp),
                |file, unlisted| unlisted.find_by_time(file, read, timestamp),
            )?;
            Ok((found, part.promised))
        }
        Seek::MaxTimestamp | Seek::Earliest | Seek::Latest => {
            let newest = chunks.by_footer_or_entries(
                read,
                |file, footer| reader::find_by_max_time(file, footer, read),
                |file, unlisted| unlisted.find_by_max_time(file, read),
            )?;
            Ok((newest.batches, newest.max_timestamp))
        }
    }
}

/// The record of a batch that is looked for, if it is there.
///
/// A batch that would have to be unpacked beyond what a search may have answers with the first of its
/// offsets that counts, and the largest of its timestamps: no record that is looked for lies before it.
fn find_in_batch(
    bytes: Bytes,
    part: &FindPart,
    opened: &mut usize,
) -> Result<Option<FoundOffset>, ReadRefusal> {
    let unreadable = |error: BatchError| ReadRefusal::Unavailable(error.to_string());
    let batch = Batch::check(bytes).map_err(unreadable)?;
    let header = batch.header;
    let (base, leader_epoch) = (header.base_offset, header.leader_epoch);
    if matches!(part.seek, Seek::Time(wanted) if header.max_timestamp < wanted) {
        return Ok(None);
    }
    let limits = DecodeLimits {
        bytes_max: OPENED_BYTES_MAX.saturating_sub(*opened),
        ..DecodeLimits::default()
    };
    let records = match batch.records(limits) {
        Ok(records) => records,
        Err(BatchError::Compression(CompressionError::TooLarge { .. })) => {
            *opened = OPENED_BYTES_MAX;
            return Ok(Some(FoundOffset {
                offset: Some(base.max(part.start)),
                timestamp: Some(header.max_timestamp),
                leader_epoch,
            }));
        }
        Err(error) => return Err(unreadable(error)),
    };
    *opened = opened.saturating_add(records.memory_bytes());
    let below = part.start.0.saturating_sub(base.0).max(0);
    let below = i32::try_from(below).unwrap_or(i32::MAX);
    let found = match part.seek {
        Seek::Time(timestamp) => records.first_at_or_after_from(timestamp, below),
        Seek::MaxTimestamp => records.max_timestamp_from(below),
        Seek::Earliest | Seek::Latest => None,
    };
    Ok(found.map(|at| FoundOffset {
        offset: Some(base.plus(i64::from(at.offset_delta))),
        timestamp: Some(at.timestamp),
        leader_epoch,
    }))
}
