//! Hands out producer ids, each once.
//!
//! Ids are taken from the log in blocks, so that most of them cost no write. What a stop leaves of a
//! block is never used.
//!
//! ```text
//! given | volatile: next .. end of block | not yet taken
//! ```
//!
//! A producer that is idempotent and nothing more may ask for a newer epoch of the id it has
//! (KIP-360); like Kafka, this gives it a new id instead, for nothing but its own batches hangs on
//! the old one. Epochs rise only for transactional producers, which are not kept here.

use mulgil_record::ids::{ProducerEpoch, ProducerId};

use crate::machine::{After, Decision, Elapsed, Keep, Machine, Now, Restart, WallTime};

/// Ids in a block, as in Kafka (`ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
pub const BLOCK_IDS: u32 = 1_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// An id for an idempotent producer.
    Give {
        /// What the producer has, if it wants to go on from there.
        current: Option<(ProducerId, ProducerEpoch)>,
    },
}

/// How the state moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Ids are set aside. Durable.
    BlockTaken {
        /// The first.
        first: ProducerId,
        /// How many.
        count: u32,
    },
    /// An id is given. Volatile: a stop gives up the rest of the block.
    Given {
        /// Which.
        producer: ProducerId,
    },
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An id, never given before.
    Given {
        /// The id.
        producer: ProducerId,
        /// The incarnation to begin with.
        epoch: ProducerEpoch,
    },
}

/// Why no id is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerIdRefusal {
    /// What the producer says it has cannot be: one of id and epoch is missing.
    #[error("id {} with epoch {} is no incarnation of a producer", .producer.0, .epoch.0)]
    NoIncarnation {
        /// The id it says.
        producer: ProducerId,
        /// The epoch it says.
        epoch: ProducerEpoch,
    },
    /// All 2^63 are given.
    #[error("no producer ids are left")]
    Exhausted,
}

/// Which ids were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerIds {
    /// The next to give, if the block holds it. Volatile.
    next: i64,
    /// The first after the block.
    end: i64,
}

impl ProducerIds {
    /// All ids below have been set aside; this is all that a checkpoint needs.
    #[must_use]
    pub const fn taken_below(&self) -> ProducerId {
        ProducerId(self.end)
    }
}

impl Machine for ProducerIds {
    type Command = Command;
    type Change = Change;
    type Effect = Effect;
    type Refusal = ProducerIdRefusal;

    fn decide(
        &self,
        command: Command,
        _now: Now,
        out: &mut Decision<Change, Effect>,
    ) -> Result<(), ProducerIdRefusal> {
        let Command::Give { current } = command;
        if let Some((producer, epoch)) = current
            && (producer.0 < 0 || epoch.0 < 0)
        {
            return Err(ProducerIdRefusal::NoIncarnation { producer, epoch });
        }
        let producer = ProducerId(self.next);
        let epoch = ProducerEpoch(0);
        let mut after = After::WhatItRead;
        if self.next == self.end {
            let (first, count) = (producer, BLOCK_IDS);
            let end = self.end.checked_add(i64::from(count));
            end.ok_or(ProducerIdRefusal::Exhausted)?;
            out.changes
                .push((Keep::Waited, Change::BlockTaken { first, count }));
            after = After::OwnFrame;
        }
        out.changes
            .push((Keep::Volatile, Change::Given { producer }));
        out.effects.push((after, Effect::Given { producer, epoch }));
        Ok(())
    }

    fn apply(&mut self, change: &Change) {
        match *change {
            // The rest of the block before is given up with it, so that a replay ends as a stop does.
            Change::BlockTaken { first, count } => {
                self.end = self.end.max(first.0.saturating_add(i64::from(count)));
                self.next = self.end;
            }
            Change::Given { producer } => self.next = producer.0.saturating_add(1),
        }
    }

    fn deadline(&self) -> (Option<Elapsed>, Option<WallTime>) {
        (None, None)
    }
}

impl Restart for ProducerIds {
    fn forget_volatile(&mut self) {
        self.next = self.end;
    }
}
