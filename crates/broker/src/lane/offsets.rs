//! Finding offsets by time, and the ends of leaderships.

use bytes::Bytes;
use mulgil_log::index::{ColdRead, TailEntry, TimeLookup};
use mulgil_record::ids::{Offset, PartitionId};

use super::read::{ColdTask, ColdWork};
use super::{Due, Lane, ReplyTo, Turn};
use crate::request::{FindEpochEnd, FindOffset, FoundOffset, ReadRefusal, Reply, Seek};

/// Where the record with a wanted timestamp lies: its batch has to be opened, off the lane.
#[derive(Debug)]
pub struct FindPart {
    /// Which partition.
    pub partition: PartitionId,
    /// What is wanted: [`Seek::Time`] or [`Seek::MaxTimestamp`].
    pub seek: Seek,
    /// Its batch.
    pub place: FindPlace,
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
            let (outcome, place) = match self.find_offset(wanted) {
                Ok((found, place)) => (Ok(found), place),
                Err(refusal) => (Err(refusal), None),
            };
            outcomes.push(outcome);
            let (partition, seek) = (wanted.partition, wanted.seek);
            missing.extend(place.map(|place| {
                (
                    at,
                    FindPart {
                        partition,
                        seek,
                        place,
                    },
                )
            }));
        }
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
            task: ColdTask::Find { outcomes, missing },
        });
    }

    fn find_offset(
        &self,
        find: &FindOffset,
    ) -> Result<(FoundOffset, Option<FindPlace>), ReadRefusal> {
        let id = find.partition;
        let hosted = self
            .partitions
            .get(&id)
            .ok_or(ReadRefusal::UnknownPartition(id))?;
        self.check_epoch(find.leader_epoch)?;
        let end = hosted.high_watermark;
        let leader_epoch = self.leader_epoch;
        let plain = |offset| FoundOffset {
            offset: Some(offset),
            timestamp: None,
            leader_epoch,
        };
        let none = FoundOffset {
            offset: None,
            timestamp: None,
            leader_epoch,
        };
        let lookup = match find.seek {
            Seek::Earliest => return Ok((plain(hosted.log_start), None)),
            Seek::Latest => return Ok((plain(end), None)),
            Seek::Time(timestamp) => self.index.by_time(id.0, timestamp, end.0),
            Seek::MaxTimestamp => self.index.by_max_time(id.0, end.0),
        };
        let place = match lookup {
            TimeLookup::None => None,
            TimeLookup::Tail(entry) => Some(
                self.batch_in_memory(&entry)
                    .map_or(FindPlace::Entry(entry), FindPlace::Memory),
            ),
            TimeLookup::Cold(read) => Some(FindPlace::Sealed(read)),
        };
        Ok((none, place))
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
