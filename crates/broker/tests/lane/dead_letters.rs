//! Dead letters: what a queue gives up goes to its target, in one frame, once.

use mulgil_broker::death::{self, DeathRecord};
use mulgil_broker::pool::{self, Carried, OpenChunks};
use mulgil_broker::request::{Isolation, Read, ReadPartition};
use mulgil_broker::subscription::{
    Acquired, CreateQueue, Outcome, OverflowPolicy, Receive, Settle, Settlement,
    SubscriptionPicture, SubscriptionRefusal, SubscriptionReply, SubscriptionRequest,
    SubscriptionSettings,
};
use mulgil_meta::schema::Cleanup;
use mulgil_record::batch::{Batch, DecodeLimits, Record};

use super::subscriptions::{named, receipts, release};
use super::*;

const GRAVE: TopicId = TopicId(8);
/// Behind the first second in which nobody asks again.
const LATER_MS: u64 = 2_000;

fn queue(id: TopicId, settings: SubscriptionSettings) -> SubscriptionRequest {
    let topic = CreateTopic {
        name: TopicName::in_default(&format!("topic-{}", id.0)),
        partitions: None,
        settings: TopicSettings::default(),
        id,
    };
    SubscriptionRequest::CreateQueue(Box::new(CreateQueue { topic, settings }))
}

fn to_grave() -> SubscriptionSettings {
    SubscriptionSettings {
        dead_letter: Some(GRAVE),
        failed_max: Some(2),
        ..SubscriptionSettings::default()
    }
}

fn reject(words: &str) -> Outcome {
    Outcome::Reject {
        words: Some(words.into()),
    }
}

impl World {
    /// Two queues, of which one takes what the other gives up.
    fn with_grave(settings: SubscriptionSettings) -> Self {
        let mut world = Self::start(MemDisk::new(1), &[]);
        for ask in [
            queue(TOPIC, settings),
            queue(GRAVE, SubscriptionSettings::default()),
        ]
        .into_iter()
        .rev()
        {
            let SubscriptionReply::QueueCreated(created) = world.subscription(ask) else {
                panic!("no answer to a queue's creation");
            };
            created.unwrap();
        }
        world
    }

    fn source(&self) -> PartitionId {
        // The grave was created first.
        PartitionId(2)
    }

    fn receive_of(&mut self, name: &str) -> Vec<Acquired> {
        let ask = SubscriptionRequest::Receive(Receive {
            subscription: named(name),
            records_max: 100,
            lock_ms: Some(5_000),
            wait_ms: 0,
            locked_max: None,
            keys_together: false,
        });
        let SubscriptionReply::Acquired(got) = self.subscription(ask) else {
            panic!("no records");
        };
        got.unwrap()
    }

    fn settle_of(&mut self, name: &str, got: &[Acquired], outcome: &Outcome) {
        let items = receipts(got).into_iter();
        let ask = SubscriptionRequest::Settle(Settle {
            subscription: named(name),
            items: items
                .map(|one| Settlement::of(one, outcome.clone()))
                .collect(),
        });
        let SubscriptionReply::Settled(settled) = self.subscription(ask) else {
            panic!("nothing settled");
        };
        settled.unwrap().into_iter().for_each(Result::unwrap);
    }

    fn picture_of(&mut self, name: &str) -> SubscriptionPicture {
        let SubscriptionReply::Described(picture) =
            self.subscription(SubscriptionRequest::Describe(named(name)))
        else {
            panic!("no picture");
        };
        *picture.unwrap()
    }

    fn chunks(&self) -> OpenChunks {
        let shared: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let ignore = Arc::new(|_said| {});
        OpenChunks::new(Arc::new(StepStore::new(
            shared,
            StoreOptions::default(),
            ignore,
        )))
    }

    /// Does what the read pool would do, in the most unlikely order; says how many records came to the lane.
    fn bury(&mut self) -> usize {
        let (chunks, mut buried) = (self.chunks(), 0);
        while let Some(work) = self.cold.pop() {
            match pool::carry_out(work, &chunks, u32::MAX) {
                Carried::Buried(burial) => {
                    let now = self.now;
                    self.visit(|lane, turn| lane.bury(burial, now, turn));
                    buried += 1;
                }
                Carried::More(work) => self.cold.push(work),
                Carried::Answer(to, reply) => self.replies.push((to.ticket.0, reply)),
                Carried::Further(_) => panic!("nobody searches by time"),
            }
        }
        self.settle();
        buried
    }

    /// The records of a partition that are in memory.
    fn records(&mut self, partition: PartitionId) -> Vec<Record> {
        let read = Read {
            partitions: vec![ReadPartition {
                partition,
                offset: Offset(0),
                bytes_max: 1 << 20,
                leader_epoch: None,
                last_epoch: None,
            }],
            bytes_min: 0,
            wait_ms: 0,
            bytes_max: 1 << 20,
            isolation: Isolation::Uncommitted,
        };
        let ticket = self.ask(vec![Request::Read(read)]);
        self.settle();
        self.bury();
        let at = self.replies.iter().position(|(of, _)| *of == ticket);
        let Reply::Read(mut read) = self.replies.swap_remove(at.unwrap()).1 else {
            panic!("nothing read");
        };
        let batches = read.remove(0).unwrap().batches;
        let batches = batches
            .into_iter()
            .map(|bytes| Batch::check(bytes).unwrap());
        let unpacked = batches.map(|batch| batch.records(DecodeLimits::default()).unwrap());
        unpacked
            .flat_map(|all| (0..all.len()).filter_map(move |at| all.get(at)))
            .collect()
    }
}

fn death_of(record: &Record) -> DeathRecord {
    let (_, value) = { record.headers.iter() }
        .find(|(key, _)| key.as_ref() == death::HEADER.as_bytes())
        .unwrap();
    DeathRecord::read(value.as_deref().unwrap()).unwrap()
}

#[test]
fn what_is_rejected_goes_to_the_target_with_its_reason_and_is_there_once() {
    let mut world = World::with_grave(to_grave());
    let source = world.source();
    world.answer(append_to(source, 1, 5));
    let got = world.receive_of("topic-7");
    world.settle_of("topic-7", &got, &reject("no such customer"));
    assert_eq!(
        world.picture_of("topic-7").partitions[0].counts.archiving,
        1
    );
    assert_eq!(world.bury(), 1);
    let dead = world.records(PARTITION);
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].value.as_deref(), Some(&[1; 5][..]));
    let told = death_of(&dead[0]);
    assert_eq!(
        (
            told.subscription.as_str(),
            told.topic.as_str(),
            told.partition
        ),
        ("topic-7", "topic-7", 0)
    );
    assert_eq!((told.offset, told.reason.as_str()), (0, "rejected"));
    assert_eq!((told.acquired, told.timestamp_ms), (1, 1_000));
    assert_eq!(told.words.as_deref(), Some("no such customer"));
    let picture = world.picture_of("topic-7");
    assert_eq!(picture.partitions[0].counts.archiving, 0);
    assert_eq!(picture.partitions[0].tally.moved.iter().sum::<u64>(), 1);
    // The target is a queue, and its consumers get it.
    let got = world.receive_of("topic-8");
    assert_eq!(receipts(&got).len(), 1);
    let mut world = world.restarted(&[]);
    world.pass(LATER_MS);
    assert_eq!(world.bury(), 0, "it is there, and is not asked for again");
    assert_eq!(world.records(PARTITION).len(), 1);
}

#[test]
fn what_fails_too_often_goes_there_and_the_rest_stays() {
    let mut world = World::with_grave(to_grave());
    let source = world.source();
    world.answer(append_to(source, 1, 5));
    world.answer(append_to(source, 1, 6));
    for _ in 0..2 {
        let got = world.receive_of("topic-7");
        let first = [Acquired {
            span: mulgil_broker::subscription::Span::one(got[0].span.first),
            ..got[0]
        }];
        world.settle_of("topic-7", &first, &release(true));
        let behind: Vec<_> = receipts(&got).into_iter().skip(1).collect();
        let ask = SubscriptionRequest::Settle(Settle {
            subscription: named("topic-7"),
            items: behind
                .into_iter()
                .map(|one| Settlement::of(one, release(false)))
                .collect(),
        });
        world.subscription(ask);
    }
    assert_eq!(world.bury(), 1);
    let dead = world.records(PARTITION);
    let told = death_of(&dead[0]);
    assert_eq!((told.reason.as_str(), told.failed), ("delivery_limit", 2));
    assert_eq!(
        world.picture_of("topic-7").partitions[0].counts.available,
        1
    );
}

#[test]
fn a_crash_on_the_way_loses_nothing_and_doubles_nothing() {
    let mut world = World::with_grave(to_grave());
    let source = world.source();
    world.answer(append_to(source, 1, 5));
    let got = world.receive_of("topic-7");
    world.settle_of("topic-7", &got, &reject("no"));
    // Asked for, and never brought.
    let mut world = world.restarted(&[]);
    world.pass(LATER_MS);
    assert_eq!(world.bury(), 1);
    assert_eq!(world.records(PARTITION).len(), 1);
    // From a checkpoint, it is settled there and here.
    let checkpoint = world.whole_checkpoint();
    let mut world = world.restarted(&checkpoint);
    world.pass(LATER_MS);
    assert_eq!(world.bury(), 0);
    assert_eq!(world.records(PARTITION).len(), 1);
}

#[test]
fn without_its_target_it_is_dropped_and_counted() {
    let mut world = World::with_grave(to_grave());
    let source = world.source();
    world.answer(append_to(source, 1, 5));
    let got = world.receive_of("topic-7");
    let gone = SubscriptionRequest::DeleteQueue(named("topic-8"));
    world.subscription(gone);
    world.settle_of("topic-7", &got, &reject("no"));
    world.pass(LATER_MS);
    world.bury();
    let picture = world.picture_of("topic-7");
    assert_eq!(picture.partitions[0].tally.dropped.iter().sum::<u64>(), 1);
    assert_eq!(picture.partitions[0].counts.archiving, 0);
}

#[test]
fn a_target_that_goes_on_the_way_is_missed() {
    let mut world = World::with_grave(to_grave());
    let source = world.source();
    world.answer(append_to(source, 1, 5));
    let got = world.receive_of("topic-7");
    world.settle_of("topic-7", &got, &reject("no"));
    let gone = SubscriptionRequest::DeleteQueue(named("topic-8"));
    world.subscription(gone);
    assert_eq!(world.bury(), 1);
    let picture = world.picture_of("topic-7");
    assert_eq!(picture.partitions[0].tally.dropped.iter().sum::<u64>(), 1);
}

#[test]
fn while_the_target_takes_nothing_it_stays_and_is_brought_later() {
    let mut world = World::with_grave(to_grave());
    let source = world.source();
    world.answer(append_to(source, 1, 5));
    let got = world.receive_of("topic-7");
    world.settle_of("topic-7", &got, &reject("no"));
    world.lane.set_full(true);
    for _ in 0..3 {
        assert_eq!(world.bury(), 1);
        let counts = world.picture_of("topic-7").partitions[0].counts;
        assert_eq!((counts.archiving, counts.available), (1, 0));
        world.pass(60_000);
    }
    world.lane.set_full(false);
    assert_eq!(world.bury(), 1);
    assert_eq!(world.records(PARTITION).len(), 1);
    world.restarted(&[]);
}

#[test]
fn what_overflows_goes_there_though_it_is_not_told_yet() {
    let mut world = World::with_grave(SubscriptionSettings {
        length_max: Some(1),
        overflow: OverflowPolicy::DeadLetterOldest,
        ..to_grave()
    });
    let source = world.source();
    for _ in 0..3 {
        world.answer(append_to(source, 1, 5));
    }
    for _ in 0..5 {
        world.pass(LATER_MS);
        world.bury();
    }
    let dead = world.records(PARTITION);
    let offsets: Vec<_> = dead.iter().map(|one| death_of(one).offset).collect();
    assert_eq!(offsets, [0, 1]);
    assert_eq!(death_of(&dead[0]).reason, "overflow");
}

#[test]
fn a_compacted_topic_is_no_target() {
    let mut world = World::start(MemDisk::new(1), &[]);
    let settings = TopicSettings {
        cleanup: Cleanup {
            delete: true,
            compact: true,
        },
        ..TopicSettings::default()
    };
    world.answer(create(GRAVE, 1, settings));
    let SubscriptionReply::QueueCreated(created) = world.subscription(queue(TOPIC, to_grave()))
    else {
        panic!("no answer to a queue's creation");
    };
    assert_eq!(created.unwrap_err(), SubscriptionRefusal::DeadLetter);
}
