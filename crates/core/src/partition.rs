//! One partition: which offset comes next, who wrote what already, and what may be read.
//!
//! The machine sees batches by their headers alone; the bytes pass by it to the log. It promises
//! that an offset is given once, that a batch of an idempotent producer is taken once, and that a
//! producer's batches are taken in order.
//!
//! ```text
//! log start      last stable   high watermark        next offset
//!     |---- readable ----|- open txn -|---- not yet durable ----|
//! ```
//!
//! It deliberately does not know what durable means: the shell raises the high watermark when the
//! frame that carries a batch has reached what the topic asks for.

pub mod wire;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use mulgil_record::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::machine::{After, Decision, Elapsed, Keep, Machine, Now, Restart, WallTime};

/// How many batches of each producer are remembered, as Kafka does (`NUM_BATCHES_TO_RETAIN`).
pub const REMEMBERED_BATCHES: usize = 5;

/// Most producers that one turn forgets.
const EXPIRED_A_TURN: usize = 1_024;

/// What a batch says of its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Which producer.
    pub producer: ProducerId,
    /// Which incarnation of it.
    pub epoch: ProducerEpoch,
    /// Sequence number of the batch's first record.
    pub first: i32,
    /// Sequence number of its last record.
    pub last: i32,
}

/// What is asked of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Take a batch of `records` records.
    Append {
        /// Offsets that it takes.
        records: u32,
        /// Largest timestamp of its records, milliseconds since 1970.
        max_timestamp: i64,
        /// Who wrote it, if its producer is idempotent.
        sequence: Option<Sequence>,
    },
    /// Give up all records below an offset.
    Trim {
        /// The first record that stays.
        to: Offset,
    },
    /// Forget producers that have written nothing since `before`; a turn forgets a part of them.
    ExpireProducers {
        /// By running time: a wall clock that was wrong must not make a batch new again.
        before: Elapsed,
    },
}

/// How the state of a partition moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A batch has its offsets.
    Appended {
        /// Offset of its first record.
        base: Offset,
        /// How many offsets it takes.
        records: u32,
        /// Under which leadership.
        epoch: LeaderEpoch,
        /// Largest timestamp of its records.
        max_timestamp: i64,
        /// Who wrote it.
        sequence: Option<Sequence>,
        /// When it was taken, for the expiry of producers.
        at: Elapsed,
    },
    /// Records below are given up.
    Trimmed {
        /// The first record that stays.
        to: Offset,
    },
    /// A producer is forgotten.
    ProducerExpired {
        /// Which.
        producer: ProducerId,
    },
    /// Offsets below may be given without a sync of each.
    CeilingRaised {
        /// The first offset that may not.
        to: Offset,
    },
    /// The partition goes on at an offset, after an unclean stop that may have lost the ones before.
    Resumed {
        /// The next offset to give.
        next: Offset,
        /// Under which leadership.
        epoch: LeaderEpoch,
    },
}

/// What a decision tells the shell to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The batch was taken.
    Taken {
        /// Offset of its first record.
        base: Offset,
    },
    /// The batch had been taken before; this is where.
    Duplicate {
        /// Offset of its first record.
        base: Offset,
    },
    /// The log start is now here.
    Started {
        /// First offset that can be read.
        at: Offset,
    },
}

/// Why a command was turned down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A gap in a producer's sequence.
    #[error("producer {} sent sequence {got} where {expected} was expected", .producer.0)]
    OutOfOrder {
        /// Which producer.
        producer: ProducerId,
        /// What came.
        got: i32,
        /// What should have come.
        expected: i32,
    },
    /// A newer incarnation of the producer has written.
    #[error("producer {} with epoch {} is fenced by epoch {}", .producer.0, .got.0, .current.0)]
    Fenced {
        /// Which producer.
        producer: ProducerId,
        /// What came.
        got: ProducerEpoch,
        /// The epoch that holds.
        current: ProducerEpoch,
    },
    /// The batch was taken so long ago that its offset is forgotten.
    #[error("producer {} repeats sequence {got}, older than what is remembered", .producer.0)]
    DuplicateForgotten {
        /// Which producer.
        producer: ProducerId,
        /// What came.
        got: i32,
    },
    /// A producer that nothing is known of starts in the middle of its sequence.
    #[error("producer {} is unknown here", .producer.0)]
    UnknownProducer {
        /// Which producer.
        producer: ProducerId,
    },
    /// A trim beyond the end.
    #[error("offset {to} lies outside {start}..{end}")]
    OutOfRange {
        /// What was asked.
        to: Offset,
        /// First offset there is.
        start: Offset,
        /// First offset there is not.
        end: Offset,
    },
}

/// A batch that a producer wrote, as far as duplicates need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Sequence number of its first record.
    pub first: i32,
    /// Sequence number of its last record.
    pub last: i32,
    /// Offset of its first record.
    pub base: Offset,
}

/// What is known of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The incarnation that may write.
    pub epoch: ProducerEpoch,
    /// Its last batches, oldest first, at most [`REMEMBERED_BATCHES`].
    pub batches: VecDeque<Remembered>,
    /// When it last wrote, by running time.
    pub last_write: Elapsed,
    /// Whether it may once skip sequence numbers: what it wrote may have been lost with the page
    /// cache, in a partition that does not sync.
    pub may_skip: bool,
}

/// One partition's state: nothing but the sum of its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// First offset that can be read.
    pub start: Offset,
    /// The next offset to give.
    pub next: Offset,
    /// Offsets below may be given without a sync of each.
    pub ceiling: Offset,
    /// The leadership that appends now.
    pub leader_epoch: LeaderEpoch,
    /// Where each leadership began to write, oldest first.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// Producers that wrote lately.
    pub producers: BTreeMap<ProducerId, Producer>,
    /// Largest timestamp seen, milliseconds since 1970; -1 if none.
    pub max_timestamp: i64,
}

impl Partition {
    /// An empty partition.
    #[must_use]
    pub const fn new(leader_epoch: LeaderEpoch) -> Self {
        Self {
            start: Offset::ZERO,
            next: Offset::ZERO,
            ceiling: Offset::ZERO,
            leader_epoch,
            epochs: Vec::new(),
            producers: BTreeMap::new(),
            max_timestamp: -1,
        }
    }

    /// The end of what `epoch` wrote: the newest epoch at or below it, and the first offset after it.
    ///
    /// As Kafka's `LeaderEpochFileCache.endOffsetFor` (KIP-101): of an epoch whose records are all
    /// trimmed, the answer is where the first known one began. None if it is newer than this one.
    #[must_use]
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        if epoch == self.leader_epoch {
            return Some((epoch, self.next));
        }
        if epoch > self.leader_epoch {
            return None;
        }
        let after = self.epochs.partition_point(|(e, _)| *e <= epoch);
        let end = self
            .epochs
            .get(after)
            .map_or(self.next, |(_, start)| *start);
        let found = after.checked_sub(1).and_then(|at| self.epochs.get(at));
        Some((found.map_or(epoch, |(e, _)| *e), end))
    }

    /// Whether a batch would be taken on faith: nothing that is known here says whether its producer
    /// wrote what comes before it. Those in order, repeated ones, and first ones of an epoch are not.
    #[must_use]
    pub fn is_on_faith(&self, sequence: Sequence) -> bool {
        let Some(known) = self.producers.get(&sequence.producer) else {
            return sequence.first != 0;
        };
        let newest = known.batches.back();
        if sequence.epoch != known.epoch {
            return sequence.epoch > known.epoch && known.may_skip && sequence.first != 0;
        }
        newest.is_none_or(|newest| {
            let expected = next_sequence(newest.last);
            known.may_skip && ahead_of(sequence.first, expected)
        })
    }

    fn check_sequence(&self, sequence: Sequence) -> Result<Option<Offset>, Refusal> {
        let producer = sequence.producer;
        let Some(known) = self.producers.get(&producer) else {
            // Kafka takes any first sequence of a producer it knows nothing of, because its state may
            // have expired (`ProducerAppendInfo.checkSequence`); so do we.
            return Ok(None);
        };
        if sequence.epoch < known.epoch {
            return Err(Refusal::Fenced {
                producer,
                got: sequence.epoch,
                current: known.epoch,
            });
        }
        if sequence.epoch > known.epoch {
            let refusal = Refusal::OutOfOrder {
                producer,
                got: sequence.first,
                expected: 0,
            };
            // A producer that may skip could have begun its epoch in what was lost.
            return if sequence.first == 0 || known.may_skip {
                Ok(None)
            } else {
                Err(refusal)
            };
        }
        let same = |b: &&Remembered| b.first == sequence.first && b.last == sequence.last;
        if let Some(batch) = known.batches.iter().find(same) {
            return Ok(Some(batch.base));
        }
        let Some(newest) = known.batches.back() else {
            return Ok(None);
        };
        let expected = next_sequence(newest.last);
        if sequence.first == expected {
            return Ok(None);
        }
        let ahead = ahead_of(sequence.first, expected);
        if ahead && known.may_skip {
            return Ok(None);
        }
        let oldest = known.batches.front().map_or(newest.first, |b| b.first);
        if !ahead && ahead_of(oldest, sequence.last) {
            return Err(Refusal::DuplicateForgotten {
                producer,
                got: sequence.first,
            });
        }
        Err(Refusal::OutOfOrder {
            producer,
            got: sequence.first,
            expected,
        })
    }

    fn remember(&mut self, base: Offset, sequence: Sequence, at: Elapsed) {
        let fresh = Producer {
            epoch: sequence.epoch,
            batches: VecDeque::new(),
            last_write: at,
            may_skip: false,
        };
        let known = self.producers.entry(sequence.producer).or_insert(fresh);
        if known.epoch != sequence.epoch {
            known.epoch = sequence.epoch;
            known.batches.clear();
        }
        // What was lost is the end of what the producer wrote, so if it skips, it does so at once.
        known.may_skip = false;
        if known.batches.len() == REMEMBERED_BATCHES {
            known.batches.pop_front();
        }
        known.batches.push_back(Remembered {
            first: sequence.first,
            last: sequence.last,
            base,
        });
        known.last_write = at;
    }

    fn begin_epoch(&mut self, epoch: LeaderEpoch, at: Offset) {
        self.leader_epoch = self.leader_epoch.max(epoch);
        if self.epochs.last().is_none_or(|(last, _)| *last < epoch) {
            // One that wrote nothing which is still there says nothing, as in Kafka's
            // `LeaderEpochFileCache.assign`.
            while self.epochs.pop_if(|(_, start)| *start >= at).is_some() {}
            self.epochs.push((epoch, at));
        }
    }

    fn drop_epochs_below(&mut self, start: Offset) {
        // The newest epoch that began at or before the start still describes the records there.
        let keep = self
            .epochs
            .partition_point(|(_, at)| *at <= start)
            .saturating_sub(1);
        self.epochs.drain(..keep);
        if let Some((_, at)) = self.epochs.first_mut() {
            *at = (*at).max(start);
        }
    }
}

/// The sequence number after `last`; they wrap to 0 after 2^31 - 1, as Kafka's do.
#[must_use]
pub const fn next_sequence(last: i32) -> i32 {
    if last == i32::MAX { 0 } else { last + 1 }
}

/// Whether `a` comes after `b` in a sequence that wraps.
#[must_use]
pub const fn ahead_of(a: i32, b: i32) -> bool {
    let distance = a.wrapping_sub(b) & i32::MAX;
    distance != 0 && distance < (1 << 30)
}

impl Machine for Partition {
    type Command = Command;
    type Change = Change;
    type Effect = Effect;
    type Refusal = Refusal;

    fn decide(
        &self,
        command: Command,
        now: Now,
        out: &mut Decision<Change, Effect>,
    ) -> Result<(), Refusal> {
        match command {
            Command::Append {
                records,
                max_timestamp,
                sequence,
            } => {
                if let Some(sequence) = sequence
                    && let Some(base) = self.check_sequence(sequence)?
                {
                    out.effects
                        .push((After::WhatItRead, Effect::Duplicate { base }));
                    return Ok(());
                }
                let (base, epoch) = (self.next, self.leader_epoch);
                let at = now.elapsed;
                let change = Change::Appended {
                    base,
                    records,
                    epoch,
                    max_timestamp,
                    sequence,
                    at,
                };
                out.changes.push((Keep::Waited, change));
                out.effects.push((After::OwnFrame, Effect::Taken { base }));
            }
            Command::Trim { to } => {
                if to > self.next || to < Offset::ZERO {
                    let (start, end) = (self.start, self.next);
                    return Err(Refusal::OutOfRange { to, start, end });
                }
                let at = to.max(self.start);
                let mut after = After::WhatItRead;
                if at > self.start {
                    out.changes.push((Keep::Waited, Change::Trimmed { to }));
                    after = After::OwnFrame;
                }
                out.effects.push((after, Effect::Started { at }));
            }
            Command::ExpireProducers { before } => {
                let silent = self.producers.iter().filter(|(_, p)| p.last_write < before);
                let mut silent = silent.map(|(&producer, _)| producer);
                for producer in silent.by_ref().take(EXPIRED_A_TURN) {
                    let change = Change::ProducerExpired { producer };
                    out.changes.push((Keep::Riding, change));
                }
                out.again |= silent.next().is_some();
            }
        }
        Ok(())
    }

    fn apply(&mut self, change: &Change) {
        match *change {
            Change::Appended {
                base,
                records,
                epoch,
                max_timestamp,
                sequence,
                at,
            } => {
                self.begin_epoch(epoch, base);
                self.next = base.plus(i64::from(records));
                self.max_timestamp = self.max_timestamp.max(max_timestamp);
                if let Some(sequence) = sequence {
                    self.remember(base, sequence, at);
                }
            }
            Change::Trimmed { to } => {
                self.start = self.start.max(to);
                self.drop_epochs_below(self.start);
            }
            Change::ProducerExpired { producer } => {
                self.producers.remove(&producer);
            }
            Change::CeilingRaised { to } => self.ceiling = self.ceiling.max(to),
            Change::Resumed { next, epoch } => {
                if next > self.next {
                    // The batches of the lost stretch may have been acknowledged: each producer goes
                    // on from where it is, once.
                    self.producers.values_mut().for_each(|p| p.may_skip = true);
                    self.next = next;
                }
                self.leader_epoch = self.leader_epoch.max(epoch);
            }
        }
    }

    fn deadline(&self) -> (Option<Elapsed>, Option<WallTime>) {
        (None, None)
    }
}

impl Restart for Partition {
    /// Nothing: all that a partition knows is durable.
    fn forget_volatile(&mut self) {}
}
