//! Finding offsets by time, and the ends of leaderships.

use bytes::Bytes;
use mulgil_log::index::{ColdRead, TailEntry, TimeLookup};
use mulgil_record::ids::{Offset, PartitionId};

use super::read::{ColdTask, ColdWork};
use super::{Due, Lane, ReplyTo, Turn};
use crate::request::{FindEpochEnd, FindOffset, FoundOffset, ReadRefusal, Reply, Seek};

/// Where the record with a wanted timestamp may lie: its batch has to be opened, off the lane.
#[derive(Debug)]
pub struct FindPart {
    /// Which partition.
    pub partition: PartitionId,
    /// What is wanted: [`Seek::Time`] or [`Seek::MaxTimestamp`].
    pub seek: Seek,
    /// The log start: records below do not count.
    pub start: Offset,
    /// Its batch.
    pub place: FindPlace,
    /// The largest timestamp of the place, of whatever record.
    pub promised: i64,
    /// First offset behind the place.
    pub behind: Offset,
    /// The best that was found before.
    pub best: Option<FoundOffset>,
    /// Bytes that were unpacked for this search before.
    pub opened: usize,
}

/// Searches that did not find in one place what it seemed to have.
#[derive(Debug)]
pub struct FindFurther {
    /// Where the answer goes.
    pub to: ReplyTo,
    /// The answer so far.
    pub outcomes: Vec<Result<FoundOffset, ReadRefusal>>,
    /// By index, what is still searched.
    pub left: Vec<(usize, FindLeft)>,
}

/// A search that goes on.
#[derive(Clone, Copy, Debug)]
pub struct FindLeft {
    /// Which partition.
    pub partition: PartitionId,
    /// What is wanted.
    pub seek: Seek,
    /// Batches that end at this offset or above are left to look at.
    pub from: Offset,
    /// The best that was found before.
    pub best: Option<FoundOffset>,
    /// Bytes that were unpacked for this search before.
    pub opened: usize,
}

/// Where a batch lies.
#[derive(Debug)]
pub enum FindPlace {
    /// In memory.
    Memory(Bytes),
    /// In a chunk without a footer.
    Entry(TailEntry),
    /// Somewhere in a chunk with a footer.
    Sealed(ColdRead),
}

impl Lane {
    pub(super) fn find_offsets(&mut self, to: ReplyTo, find: &[FindOffset], turn: &mut Turn) {
        let mut missing = Vec::new();
        let mut outcomes = Vec::with_capacity(find.len());
        for (at, wanted) in find.iter().enumerate() {
            let (outcome, part) = match self.find_offset(wanted) {
                Ok((found, part)) => (Ok(found), part),
                Err(refusal) => (Err(refusal), None),
            };
            outcomes.push(outcome);
            missing.extend(part.map(|part| (at, part)));
        }
        self.finish_find(to, outcomes, missing, turn);
    }

    /// Goes on with searches for which the read pool has looked in vain, or not far enough.
    pub fn find_further(&mut self, further: FindFurther, turn: &mut Turn) {
        let FindFurther {
            to,
            mut outcomes,
            left,
        } = further;
        let mut missing = Vec::new();
        for (at, left) in left {
            let Some(outcome) = outcomes.get_mut(at) else {
                continue;
            };
            match self.look(&left) {
                Ok(Some(part)) => missing.push((at, part)),
                Ok(None) => {
                    if let (Ok(answer), Some(best)) = (outcome, left.best) {
                        *answer = best;
                    }
                }
                Err(refusal) => *outcome = Err(refusal),
            }
        }
        self.finish_find(to, outcomes, missing, turn);
    }

    fn finish_find(
        &mut self,
        to: ReplyTo,
        mut outcomes: Vec<Result<FoundOffset, ReadRefusal>>,
        missing: Vec<(usize, FindPart)>,
        turn: &mut Turn,
    ) {
        let gone =
            |outcome: &Result<_, _>| matches!(outcome, Err(ReadRefusal::UnknownPartition(_)));
        if outcomes.iter().any(gone) && self.unknown_due() != Due::NOW {
            // Only the lane can hold an answer, so nothing may have to be read for it.
            for (at, part) in missing {
                if let Some(outcome) = outcomes.get_mut(at) {
                    let id = part.partition;
                    let what =
                        format!("partition {id} was asked about with one that is going away");
                    *outcome = Err(ReadRefusal::Unavailable(what));
                }
            }
            return self.answer(to, self.unknown_due(), Reply::FindOffsets(outcomes), turn);
        }
        if missing.is_empty() {
            return self.answer(to, Due::NOW, Reply::FindOffsets(outcomes), turn);
        }
        turn.cold.push(ColdWork {
            to,
            task: ColdTask::find(outcomes, missing),
        });
    }

    fn find_offset(
        &self,
        find: &FindOffset,
    ) -> Result<(FoundOffset, Option<FindPart>), ReadRefusal> {
        let (partition, seek) = (find.partition, find.seek);
        let hosted = self
            .partitions
            .get(&partition)
            .ok_or(ReadRefusal::UnknownPartition(partition))?;
        self.check_epoch(find.leader_epoch)?;
        let answer = |offset| FoundOffset {
            offset,
            timestamp: None,
            leader_epoch: self.leader_epoch,
        };
        match seek {
            Seek::Earliest => return Ok((answer(Some(hosted.log_start)), None)),
            Seek::Latest => return Ok((answer(Some(hosted.high_watermark)), None)),
            Seek::Time(_) | Seek::MaxTimestamp => {}
        }
        let all = FindLeft {
            partition,
            seek,
            from: hosted.log_start,
            best: None,
            opened: 0,
        };
        Ok((answer(None), self.look(&all)?))
    }

    /// Where to look next, unless nothing that is left can be better than what was found.
    fn look(&self, left: &FindLeft) -> Result<Option<FindPart>, ReadRefusal> {
        let id = left.partition;
        let hosted = self
            .partitions
            .get(&id)
            .ok_or(ReadRefusal::UnknownPartition(id))?;
        let start = hosted.log_start;
        let from = left.from.max(start).0;
        let end = hosted.high_watermark.0;
        let lookup = match left.seek {
            Seek::Earliest | Seek::Latest => TimeLookup::None,
            Seek::Time(timestamp) => self.index.by_time_from(id.0, timestamp, from, end),
            Seek::MaxTimestamp => self.index.by_max_time_from(id.0, from, end),
        };
        let (place, promised, behind) = match lookup {
            TimeLookup::None => return Ok(None),
            TimeLookup::Tail(entry) => {
                let memory = self.batch_in_memory(&entry).map(FindPlace::Memory);
                let place = memory.unwrap_or(FindPlace::Entry(entry));
                (place, entry.max_timestamp, entry.last + 1)
            }
            TimeLookup::Cold {
                read,
                max_timestamp,
            } => (FindPlace::Sealed(read), max_timestamp, read.end),
        };
        let best = left.best.and_then(|best| best.timestamp);
        let part = FindPart {
            partition: id,
            seek: left.seek,
            start,
            place,
            promised,
            behind: Offset(behind),
            best: left.best,
            opened: left.opened,
        };
        // Of equals the first, and what was found lies before what is left.
        Ok(best.is_none_or(|best| best < promised).then_some(part))
    }

    pub(super) fn find_epoch_ends(&self, find: &[FindEpochEnd]) -> (Due, Reply) {
        let mut due = Due::NOW;
        let outcomes = find.iter().map(|wanted| {
            let id = wanted.partition;
            let hosted = self
                .partitions
                .get(&id)
                .ok_or(ReadRefusal::UnknownPartition(id))?;
            self.check_epoch(wanted.leader_epoch)?;
            due = due.and(hosted.newest);
            let end = hosted.machine.end_of_epoch(wanted.epoch);
            Ok(end.map(|(epoch, offset)| (epoch, Offset(offset.0))))
        });
        let outcomes = outcomes.collect();
        (due, Reply::FindEpochEnds(outcomes))
    }
}
