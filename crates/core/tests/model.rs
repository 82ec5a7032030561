//! A partition beside a naive model of it, among producers that repeat and reorder what they send,
//! on a disk that may lose what was not synced.
//!
//! The model keeps everything for ever in plain vectors, and looks through all of it each time.

use mulgil_core::machine::{Decision, Elapsed, Machine as _, Now, WallTime};
use mulgil_core::partition::{Change, Command, Effect, Partition, Refusal, Sequence};
use mulgil_record::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use proptest::collection::vec;
use proptest::prelude::*;

const PRODUCERS: i64 = 3;

/// Batches that a producer may have under way.
const IN_FLIGHT: usize = 5;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A producer makes a batch and keeps it until it is acknowledged.
    Make { producer: i64, records: i32 },
    /// It sends one of those it keeps, perhaps out of order, perhaps again.
    Send {
        producer: i64,
        which: usize,
        heard: bool,
    },
    /// Something old comes out of the network once more.
    Echo { which: usize },
    /// It begins a new epoch with what it keeps.
    Bump { producer: i64 },
    /// The broker stops; of what it wrote, the disk keeps a part.
    Crash { lost: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let producer = 0..PRODUCERS;
    prop_oneof![
        8 => (producer.clone(), 1..4).prop_map(|(producer, records)| Step::Make { producer, records }),
        12 => (producer.clone(), 0..IN_FLIGHT, prop::bool::weighted(0.8))
            .prop_map(|(producer, which, heard)| Step::Send { producer, which, heard }),
        2 => any::<usize>().prop_map(|which| Step::Echo { which }),
        1 => producer.prop_map(|producer| Step::Bump { producer }),
        1 => (0usize..8).prop_map(|lost| Step::Crash { lost }),
    ]
}

/// A batch in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    sequence: Sequence,
    base: i64,
}

/// The naive partition.
#[derive(Default)]
struct Model {
    stored: Vec<Stored>,
    next: i64,
    /// Producers that may skip: who had written before the last loss, and has not written since.
    may_skip: Vec<ProducerId>,
}

#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Taken,
    Duplicate(i64),
    Refused,
}

impl Model {
    /// Whether the partition would take any batch of the producer, so that it must begin with the right
    /// one; over one connection it does.
    fn trusts(&self, producer: ProducerId) -> bool {
        let mut stored = self.stored.iter();
        let known = stored.any(|s| s.sequence.producer == producer);
        !known || self.may_skip.contains(&producer)
    }

    fn expect(&self, sequence: Sequence) -> Expected {
        let producer = sequence.producer;
        let of_producer = self
            .stored
            .iter()
            .filter(|s| s.sequence.producer == producer);
        let may_skip = self.may_skip.contains(&producer);
        let Some(epoch) = of_producer.clone().map(|s| s.sequence.epoch).max() else {
            return Expected::Taken;
        };
        let of_epoch: Vec<&Stored> = of_producer.filter(|s| s.sequence.epoch == epoch).collect();
        let newest = of_epoch.last().map_or(-1, |s| s.sequence.last);
        let mut recent = of_epoch.iter().rev().take(5);
        if sequence.epoch == epoch
            && let Some(same) = recent.find(|s| s.sequence == sequence)
        {
            return Expected::Duplicate(same.base);
        }
        let expected = if sequence.epoch > epoch {
            0
        } else {
            newest + 1
        };
        let fits = sequence.first == expected || (may_skip && sequence.first > expected);
        if sequence.epoch >= epoch && fits {
            Expected::Taken
        } else {
            Expected::Refused
        }
    }

    fn take(&mut self, sequence: Sequence) -> i64 {
        let base = self.next;
        self.stored.push(Stored { sequence, base });
        self.next += i64::from(sequence.last - sequence.first + 1);
        self.may_skip.retain(|p| *p != sequence.producer);
        base
    }

    fn lose(&mut self, kept: usize, next: i64) {
        self.stored.truncate(kept);
        self.may_skip = self.stored.iter().map(|s| s.sequence.producer).collect();
        self.next = next;
    }

    /// Each batch lies there once, and each producer's in order.
    fn check(&self) {
        for (at, later) in self.stored.iter().enumerate() {
            for earlier in self.stored.iter().take(at) {
                let (a, b) = (earlier.sequence, later.sequence);
                assert!(earlier.base < later.base, "an offset is given twice");
                let in_order = (a.epoch, a.last) < (b.epoch, b.first);
                assert!(a.producer != b.producer || in_order, "{a:?} before {b:?}");
            }
        }
    }
}

/// A producer as clients are: it keeps what is not acknowledged, oldest first.
struct Client {
    id: ProducerId,
    epoch: ProducerEpoch,
    next: i32,
    kept: Vec<Sequence>,
}

struct World {
    partition: Partition,
    log: Vec<Change>,
    model: Model,
    clients: Vec<Client>,
    sent: Vec<Sequence>,
    epoch: i32,
}

impl World {
    fn new() -> Self {
        let client = |id| Client {
            id: ProducerId(id),
            epoch: ProducerEpoch(0),
            next: 0,
            kept: Vec::new(),
        };
        Self {
            partition: Partition::new(LeaderEpoch(0)),
            log: Vec::new(),
            model: Model::default(),
            clients: (0..PRODUCERS).map(client).collect(),
            sent: Vec::new(),
            epoch: 0,
        }
    }

    fn client(&mut self, producer: i64) -> &mut Client {
        let at = usize::try_from(producer).expect("a producer");
        self.clients.get_mut(at).expect("a producer")
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Make { producer, records } => self.client(producer).make(records),
            Step::Send {
                producer,
                which,
                heard,
            } => self.send(producer, which, heard),
            Step::Echo { which } => {
                let at = which.checked_rem(self.sent.len()).unwrap_or(0);
                // Connections end with the broker, so nothing older than a stop comes out of one.
                if let Some(sequence) = self.sent.get(at).copied() {
                    self.append(sequence);
                }
            }
            Step::Bump { producer } => self.client(producer).bump(),
            Step::Crash { lost } => self.crash(lost),
        }
    }

    fn send(&mut self, producer: i64, which: usize, heard: bool) {
        let which = if self.model.trusts(ProducerId(producer)) {
            0
        } else {
            which
        };
        let Some(sequence) = self.client(producer).kept.get(which).copied() else {
            return;
        };
        self.sent.push(sequence);
        // Answers come in the order of the batches, or the connection is gone.
        if self.append(sequence) && heard && which == 0 {
            self.client(producer).kept.retain(|s| *s != sequence);
        }
    }

    /// Appends, compares with the model, and says whether the producer may be content.
    fn append(&mut self, sequence: Sequence) -> bool {
        let expected = self.model.expect(sequence);
        let now = Now {
            elapsed: Elapsed(0),
            wall: WallTime(0),
        };
        let command = Command::Append {
            records: u32::try_from(sequence.last - sequence.first + 1).expect("few records"),
            max_timestamp: -1,
            sequence: Some(sequence),
        };
        let mut decision = Decision::default();
        let result = self.partition.decide(command, now, &mut decision);
        for (_, change) in &decision.changes {
            self.partition.apply(change);
            self.log.push(*change);
        }
        match (result, decision.effects.first()) {
            (Ok(()), Some((_, Effect::Taken { base }))) => {
                assert_eq!(expected, Expected::Taken);
                assert_eq!(base.0, self.model.take(sequence));
                true
            }
            (Ok(()), Some((_, Effect::Duplicate { base }))) => {
                assert_eq!(expected, Expected::Duplicate(base.0));
                true
            }
            (Err(refusal), None) => {
                assert_eq!(expected, Expected::Refused, "{refusal}");
                matches!(refusal, Refusal::DuplicateForgotten { .. })
            }
            other => {
                assert!(other.0.is_err(), "no such answer: {other:?}");
                false
            }
        }
    }

    /// The broker goes on behind all offsets that it may have given.
    fn crash(&mut self, lost: usize) {
        let next = self.partition.next;
        let appended = self.model.stored.len();
        let kept = appended - lost.min(appended);
        let is_append = |c: &&Change| matches!(c, Change::Appended { .. });
        let mut appends = 0;
        let keep = |c: &Change| {
            appends += usize::from(is_append(&c));
            appends <= kept
        };
        let log: Vec<Change> = self.log.iter().copied().take_while(keep).collect();
        self.partition = Partition::new(LeaderEpoch(0));
        log.iter().for_each(|change| self.partition.apply(change));
        self.log = log;
        self.epoch += 1;
        let resumed = Change::Resumed {
            next: next.plus(1),
            epoch: LeaderEpoch(self.epoch),
        };
        self.partition.apply(&resumed);
        self.log.push(resumed);
        self.model.lose(kept, next.0 + 1);
        self.sent.clear();
    }

    /// In the end every producer gets rid of what it keeps, in order.
    fn drain(&mut self) {
        for producer in 0..PRODUCERS {
            for sequence in core::mem::take(&mut self.client(producer).kept) {
                assert!(self.append(sequence), "{sequence:?} is never taken");
            }
        }
    }
}

impl Client {
    fn make(&mut self, records: i32) {
        if self.kept.len() < IN_FLIGHT {
            let first = self.next;
            self.next += records;
            self.kept.push(Sequence {
                producer: self.id,
                epoch: self.epoch,
                first,
                last: self.next - 1,
            });
        }
    }

    /// As clients do: what is kept is numbered anew from 0.
    fn bump(&mut self) {
        self.epoch = ProducerEpoch(self.epoch.0 + 1);
        self.next = 0;
        for old in core::mem::take(&mut self.kept) {
            self.make(old.last - old.first + 1);
        }
    }
}

proptest! {
    #[test]
    fn partition_is_as_naive_as_its_model(steps in vec(step(), 1..200)) {
        let mut world = World::new();
        for step in steps {
            world.act(step);
            world.model.check();
            prop_assert_eq!(world.partition.next, Offset(world.model.next));
        }
        world.drain();
        world.model.check();
    }
}
