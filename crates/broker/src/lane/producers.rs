//! Handing out producer ids: the core's machine, and its changes in the log.

use mulgil_core::machine::{Decision, Machine, Now};
use mulgil_core::producer_ids::{Change, Command, Effect, ProducerIdRefusal, ProducerIds};
use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_log::position::Position;

use super::{Due, Lane};
use crate::request::{NewProducer, NewProducerRefusal, Reply};

/// The machine that hands ids out, and the entry that its answers wait for.
#[derive(Debug, Default)]
pub(super) struct Producers {
    machine: ProducerIds,
    /// The entry that reserved the block.
    due: Position,
}

impl Producers {
    /// A block of ids was taken; replayed, or from a checkpoint.
    pub(super) fn taken(&mut self, first: i64, count: u32) {
        let first = mulgil_record::ids::ProducerId(first);
        self.machine.apply(&Change::BlockTaken { first, count });
    }

    /// The first id that was never reserved, for a checkpoint.
    pub(super) fn taken_below(&self) -> i64 {
        self.machine.taken_below().0
    }
}

impl Lane {
    pub(super) fn new_producer(&mut self, new: NewProducer, now: Now) -> (Due, Reply) {
        if self.stopping {
            return (
                Due::NOW,
                Reply::NewProducer(Err(NewProducerRefusal::Stopping)),
            );
        }
        let mut decision = Decision::default();
        let give = Command::Give {
            current: new.current,
        };
        if let Err(refusal) = self.producers.machine.decide(give, now, &mut decision) {
            let refusal = match refusal {
                ProducerIdRefusal::NoIncarnation { .. } => NewProducerRefusal::NoIncarnation,
                ProducerIdRefusal::Exhausted => NewProducerRefusal::Exhausted,
            };
            return (Due::NOW, Reply::NewProducer(Err(refusal)));
        }
        for (_, change) in &decision.changes {
            if let Change::BlockTaken { first, count } = change {
                self.producers.due = self.log.push(block(first.0, *count), &[]);
            }
            self.producers.machine.apply(change);
        }
        let given = decision.effects.first().map(|(_, effect)| match effect {
            Effect::Given { producer, epoch } => (*producer, *epoch),
        });
        let given = given.ok_or(NewProducerRefusal::Exhausted);
        (Due::synced(self.producers.due), Reply::NewProducer(given))
    }
}

const fn block(base: i64, count: u32) -> EntryHeader {
    EntryHeader {
        kind: EntryKind::ProducerEpoch,
        version: 1,
        flags: 0,
        length: 0,
        object: 0,
        base,
        count,
    }
}
