//! Dead letters: what a subscription gives up goes to its target.
//!
//! ```text
//! machine: archive --> read pool: read, unpack, pack --> lane: append to the target, archived
//!    ^                                                         |     one frame
//!    '------ full: later and later; missing: dropped, counted -'
//! ```
//!
//! A crash before the frame leaves the record given up and not archived, so that it is asked for again
//! after the start; it is in the target once, or not yet.

use bytes::Bytes;
use mulgil_core::machine::Now;
use mulgil_core::queue::{Command, Death, NotArchived, RecordState, Span};
use mulgil_meta::subscription::{Filter, Needed};
use mulgil_record::batch::Batch;
use mulgil_record::ids::{Offset, PartitionId, SubscriptionId};

use super::super::read::{ColdPart, ColdTask, ColdWork};
use super::super::{Lane, Origin, ReplyTo, Turn};
use super::Key;
use crate::death::Place;
use crate::request::{AppendRefusal, ReadRefusal, Ticket};

/// Nobody waits for an answer; all burials stand in one line of the read pool.
const NOBODY: ReplyTo = ReplyTo {
    origin: Origin {
        runtime: u16::MAX,
        connection: u64::MAX,
    },
    ticket: Ticket(0),
};

/// A record that is to be packed for a dead-letter target.
#[derive(Debug)]
pub struct BuryTask {
    /// Which subscription gave it up.
    pub subscription: SubscriptionId,
    /// In which partition it lies.
    pub partition: PartitionId,
    /// The names of both.
    pub from: Place,
    /// Which record, and why.
    pub death: Death,
    /// Where its batch is.
    pub place: ColdPart,
    /// Which records the subscription wants: it gives up no other.
    pub filter: Option<Filter>,
    /// What readers of the target must know of it.
    pub needed: Needed,
}

/// A record that is packed, or cannot be.
#[derive(Debug)]
pub struct Burial {
    /// Which subscription gave it up.
    pub subscription: SubscriptionId,
    /// In which partition it lies.
    pub partition: PartitionId,
    /// Which record.
    pub offset: Offset,
    /// A batch of it alone with its facts, or why there is none.
    pub packed: Result<(Batch, Bytes), NotArchived>,
}

impl Lane {
    /// Has a record packed for the dead-letter target.
    pub(super) fn give_up(&mut self, key: Key, death: &Death, now: Now, turn: &mut Turn) {
        match self.bury_task(key, death) {
            Ok(task) => {
                if let Some(hosted) = self.subscriptions.hosted.get_mut(&key) {
                    hosted.burials.push_back((death.offset, None));
                }
                turn.cold.push(ColdWork {
                    to: NOBODY,
                    task: ColdTask::Bury(Box::new(task)),
                });
            }
            Err(why) => {
                let offset = death.offset;
                let command = Command::NotArchived { offset, why };
                self.command_queue(key, command, now, turn);
            }
        }
    }

    fn bury_task(&self, key: Key, death: &Death) -> Result<BuryTask, NotArchived> {
        let (subscription, partition) = key;
        let known = self.metadata.subscriptions().get(subscription);
        let known = known.ok_or(NotArchived::TargetMissing)?;
        let target = known.settings.dead_letter;
        let target = target.and_then(|id| self.metadata.topic_by_id(id));
        let source = self.metadata.topic_by_id(known.topic);
        let (Some(target), Some(source)) = (target, source) else {
            return Err(NotArchived::TargetMissing);
        };
        let number = source.partitions.iter().position(|one| *one == partition);
        let place = self
            .place_of(partition, death.offset)
            .map_err(|why| match why {
                ReadRefusal::OutOfRange { offset, start, .. } if offset < start => {
                    NotArchived::Unreadable
                }
                ReadRefusal::Damaged { .. } => NotArchived::Unreadable,
                // It is not told yet, or cannot be read at present.
                ReadRefusal::OutOfRange { .. }
                | ReadRefusal::UnknownPartition(_)
                | ReadRefusal::FencedEpoch { .. }
                | ReadRefusal::UnknownEpoch { .. }
                | ReadRefusal::Unavailable(_) => NotArchived::TargetFull,
            })?;
        Ok(BuryTask {
            subscription,
            partition,
            from: Place {
                subscription: known.name.name.to_string(),
                topic: source.name.name.to_string(),
                topic_id: source.id,
                partition: number.map_or(u32::MAX, |at| u32::try_from(at).unwrap_or(u32::MAX)),
            },
            death: death.clone(),
            place: place.ok_or(NotArchived::TargetFull)?,
            filter: known.filter.clone(),
            needed: self.metadata.needed(target),
        })
    }

    /// Takes a record that is packed, and brings all to the target whose turn it is.
    pub fn bury(&mut self, burial: Burial, now: Now, turn: &mut Turn) {
        let key = (burial.subscription, burial.partition);
        // Its subscription may have been deleted, and be another that is asked by now.
        let Some(hosted) = self.subscriptions.hosted.get_mut(&key) else {
            return;
        };
        let offset = burial.offset;
        let place = hosted.burials.iter_mut().find(|(of, _)| *of == offset);
        if let Some((_, packed)) = place {
            *packed = Some(burial);
        }
        while let Some(hosted) = self.subscriptions.hosted.get_mut(&key)
            && let Some((_, Some(_))) = hosted.burials.front()
            && let Some((_, Some(next))) = hosted.burials.pop_front()
        {
            self.bury_one(next, now, turn);
        }
    }

    /// Appends a record to the dead-letter target and settles it where it lay, in one frame.
    fn bury_one(&mut self, burial: Burial, now: Now, turn: &mut Turn) {
        let Burial {
            subscription,
            partition,
            offset,
            packed,
        } = burial;
        let key = (subscription, partition);
        let hosted = self.subscriptions.hosted.get(&key);
        // It may have been trimmed, or its subscription deleted, meanwhile.
        if hosted.is_none_or(|hosted| hosted.machine.record(offset) != RecordState::Archiving) {
            return;
        }
        self.log.cut(now);
        let buried =
            packed.and_then(|(batch, facts)| self.bury_in_target(key, &batch, &facts, now));
        let command = match buried {
            Ok(()) => Command::Archived(Span::one(offset)),
            Err(why) => Command::NotArchived { offset, why },
        };
        self.command_queue(key, command, now, turn);
    }

    fn bury_in_target(
        &mut self,
        key: Key,
        batch: &Batch,
        facts: &Bytes,
        now: Now,
    ) -> Result<(), NotArchived> {
        let partition = self.grave_of(key).ok_or(NotArchived::TargetMissing)?;
        match self.append_one(partition, batch, facts, now) {
            Ok(_) => Ok(()),
            Err(AppendRefusal::UnknownPartition(_)) => Err(NotArchived::TargetMissing),
            Err(_) => Err(NotArchived::TargetFull),
        }
    }

    /// The partition of the target: that of the same number, so that what has one order keeps it.
    fn grave_of(&self, (subscription, partition): Key) -> Option<PartitionId> {
        let known = self.metadata.subscriptions().get(subscription)?;
        let source = self.metadata.topic_by_id(known.topic)?;
        let target = self.metadata.topic_by_id(known.settings.dead_letter?)?;
        let number = source.partitions.iter().position(|one| *one == partition)?;
        let count = target.partitions.len().max(1);
        target.partitions.get(number % count).copied()
    }
}
