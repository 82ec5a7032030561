//! What records ask for by reserved headers, and by which order a subscription hands them out.

use mulgil_broker::core::queue::Subscription as Queue;
use mulgil_broker::facts::work_out;
use mulgil_broker::request::{Atomic, FindOffset, Isolation, Seek, Take};
use mulgil_broker::subscription::{
    BeginAt, CreateQueue, CreateSubscription, Order, Outcome, OverflowPolicy, Receive, RecordState,
    Selector, Settle, Settlement, Span, SubscriptionReply, SubscriptionRequest,
    SubscriptionSettings,
};
use mulgil_record::asked::{self, facts_of};
use mulgil_record::batch::{Batch, DecodeLimits};
use mulgil_record::facts::Columns;

use super::subscriptions::{named, release};
use super::*;

/// A record's key, and one reserved header of it.
type Sent = (&'static str, Option<(&'static str, &'static str)>);

fn batch(sent: &[Sent], codec: Codec) -> Batch {
    let mut builder = BatchBuilder::new(codec, 1_000);
    for (key, header) in sent {
        let header = header.map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())));
        builder.push(
            1_000,
            Some(key.as_bytes()),
            Some(b"value"),
            header.as_slice(),
        );
    }
    builder.finish()
}

/// As a door sends it.
fn told(sent: &[Sent], columns: Columns, now: Now) -> Request {
    let batch = batch(sent, Codec::Lz4);
    let records = batch.records(DecodeLimits::default()).unwrap();
    let now = i64::try_from(now.wall.0).unwrap();
    let facts = facts_of(&records, columns, now).unwrap();
    Request::Append(Append {
        partitions: vec![AppendPartition {
            partition: PARTITION,
            batch,
            facts: facts.encode().into(),
        }],
    })
}

impl World {
    fn queue_by(&mut self, order: Order) {
        self.queue_of(SubscriptionSettings {
            order,
            ..SubscriptionSettings::default()
        });
    }

    fn queue_of(&mut self, settings: SubscriptionSettings) {
        let topic = CreateTopic {
            name: TopicName::in_default("topic-7"),
            partitions: None,
            settings: TopicSettings::default(),
            id: TOPIC,
        };
        let ask = SubscriptionRequest::CreateQueue(Box::new(CreateQueue { topic, settings }));
        let SubscriptionReply::QueueCreated(created) = self.subscription(ask) else {
            panic!("no answer to a queue's creation");
        };
        created.unwrap();
    }

    /// Sends records with all that may be asked for worked out; what is said of that.
    fn send(&mut self, sent: &[Sent]) -> Result<(), AppendRefusal> {
        let ask = told(sent, Columns(0x3f), self.now);
        let Reply::Append(mut outcomes) = self.answer(ask) else {
            panic!("no answer to an append");
        };
        outcomes.remove(0).map(drop)
    }

    /// Offsets as they are handed out, one at a time; what is held stays held.
    fn take(&mut self, most: usize) -> Vec<Settlement> {
        let mut taken = Vec::new();
        for _ in 0..most {
            let ask = SubscriptionRequest::Receive(Receive {
                subscription: named("topic-7"),
                records_max: 1,
                lock_ms: Some(60_000),
                wait_ms: 0,
                locked_max: None,
                keys_together: false,
            });
            let SubscriptionReply::Acquired(got) = self.subscription(ask) else {
                panic!("no records");
            };
            let got = got.unwrap();
            let Some(one) = got.first() else { break };
            let receipt = one.receipt(one.span.first);
            taken.push(Settlement::of(receipt, Outcome::Accept));
        }
        taken
    }
}

fn offsets(taken: &[Settlement]) -> Vec<i64> {
    taken.iter().map(|one| one.span.first.0).collect()
}

const PLAIN: Option<(&str, &str)> = None;
const URGENT: Option<(&str, &str)> = Some((asked::PRIORITY, "9"));

#[test]
fn the_highest_priority_goes_first_also_after_a_restart() {
    for from_checkpoint in [false, true] {
        let mut world = World::start(MemDisk::new(1), &[]);
        world.queue_by(Order::Priority);
        world.send(&[("a", PLAIN), ("b", URGENT)]).unwrap();
        let most = Some((asked::PRIORITY, "200"));
        world.send(&[("c", most)]).unwrap();
        let checkpoint = if from_checkpoint {
            world.whole_checkpoint()
        } else {
            Vec::new()
        };
        world.send(&[("d", URGENT)]).unwrap();
        let mut world = world.restarted(&checkpoint);
        assert_eq!(offsets(&world.take(9)), [2, 1, 3, 0]);
    }
}

#[test]
fn records_of_a_key_wait_for_each_other_and_no_other_waits_for_them() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.queue_by(Order::Key);
    world
        .send(&[("a", PLAIN), ("a", PLAIN), ("b", PLAIN), ("a", PLAIN)])
        .unwrap();
    world
        .send(&[("b", Some((asked::ORDERING_KEY, "a")))])
        .unwrap();
    let first = world.take(9);
    assert_eq!(offsets(&first), [0, 2]);
    // The lock outlives the broker, and so does the order.
    let mut world = world.restarted(&[]);
    assert!(world.take(9).is_empty());
    world.settled(first[..1].to_vec());
    let second = world.take(9);
    assert_eq!(offsets(&second), [1]);
    // One that is tried again is still before those behind it.
    let mut back = second[0].clone();
    back.outcome = release(true);
    world.settled(vec![back]);
    assert_eq!(offsets(&world.take(9)), [1]);
}

#[test]
fn a_record_is_handed_out_when_it_asks_to_be_and_given_up_when_it_expires() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.queue_by(Order::Fifo);
    let later = [
        ("a", Some((asked::DELAY, "5000"))),
        ("b", PLAIN),
        ("c", Some((asked::TTL, "2000"))),
    ];
    world.send(&later).unwrap();
    let mut world = world.restarted(&[]);
    assert_eq!(offsets(&world.take(1)), [1]);
    world.pass(4_999);
    assert_eq!(world.take(9), []);
    world.pass(1);
    assert_eq!(offsets(&world.take(9)), [0]);
    let machines = world.queues();
    let machine = machines.values().next().unwrap();
    assert_eq!(machine.record(Offset(2)), RecordState::Settled);
}

#[test]
fn what_came_before_a_reader_needs_more_is_not_taken_but_sent_again() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.answer(create(TOPIC, 1, TopicSettings::default()));
    let plain = told(&[("a", PLAIN)], Columns(0), world.now);
    assert!(matches!(world.answer(plain), Reply::Append(o) if o[0].is_ok()));
    let create = CreateSubscription {
        name: TopicName::in_default("by-key"),
        topic: TopicRef::Id(TOPIC),
        begin: BeginAt::Start,
        filter: None,
        settings: SubscriptionSettings {
            order: Order::Key,
            ..SubscriptionSettings::default()
        },
    };
    world.subscription(SubscriptionRequest::Create(Box::new(create)));
    for columns in [Columns(0), Columns::PRIORITY] {
        let Reply::Append(owing) = world.answer(told(&[("a", PLAIN)], columns, world.now)) else {
            panic!("no answer to an append");
        };
        assert_eq!(owing[0], Err(AppendRefusal::FactsOwed));
    }
    let known = told(&[("a", PLAIN)], Columns::ORDERING_KEY, world.now);
    assert!(matches!(world.answer(known), Reply::Append(o) if o[0].is_ok()));
}

const TARGET: PartitionId = PartitionId(2);

fn moved_to(partition: PartitionId) -> AppendPartition {
    AppendPartition {
        partition,
        batch: batch(&[("moved", PLAIN)], Codec::None),
        facts: Bytes::new(),
    }
}

fn take_out(spans: &[(i64, i64)]) -> Take {
    let span = |(first, end): &(i64, i64)| Span {
        first: Offset(*first),
        end: Offset(*end),
    };
    Take {
        subscription: named("topic-7"),
        partition: PARTITION,
        spans: spans.iter().map(span).collect(),
    }
}

/// Settles one that is held, takes some that wait, and appends what is said: how many batches, or why not.
fn at_once(
    world: &mut World,
    held: &Settlement,
    spans: &[(i64, i64)],
    append: Vec<AppendPartition>,
) -> Result<usize, String> {
    let atomic = Atomic {
        append,
        settle: vec![Settle {
            subscription: named("topic-7"),
            items: vec![held.clone()],
        }],
        take: vec![take_out(spans)],
    };
    let Reply::Atomic(done) = world.answer(Request::Atomic(Box::new(atomic))) else {
        panic!("no answer");
    };
    done.map(|appended| appended.len())
        .map_err(|why| why.to_string())
}

#[test]
fn what_is_appended_here_and_settled_there_is_so_or_neither_is() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.queue_by(Order::Fifo);
    for key in ["a", "b", "c", "d"] {
        world.send(&[(key, PLAIN)]).unwrap();
    }
    world.answer(create(TopicId(9), 1, TopicSettings::default()));
    let held = world.take(1).remove(0);
    let before = world.queues();
    for (targets, spans, why) in [
        (&[TARGET][..], [(1, 2), (4, 5)], "record 4 does not wait"),
        (
            &[TARGET],
            [(1, 3), (2, 4)],
            "not possible in one frame: a record twice",
        ),
        (
            &[TARGET, TARGET],
            [(1, 2), (3, 4)],
            "not possible in one frame: two batches for one partition",
        ),
        (
            &[TARGET, PartitionId(77)],
            [(1, 2), (3, 4)],
            "partition 77 does not exist",
        ),
    ] {
        let append = targets.iter().map(|target| moved_to(*target)).collect();
        let refused = at_once(&mut world, &held, &spans, append);
        assert_eq!(refused, Err(why.to_owned()));
    }
    assert_eq!(
        world.queues(),
        before,
        "nothing was done of what was refused"
    );
    let done = at_once(&mut world, &held, &[(1, 2), (3, 4)], vec![moved_to(TARGET)]);
    assert_eq!(done, Ok(1));
    let mut world = world.restarted(&[]);
    assert_eq!(offsets(&world.take(9)), [2]);
    let read = Request::FindOffsets(vec![FindOffset {
        partition: TARGET,
        seek: Seek::Latest,
        isolation: Isolation::Uncommitted,
        leader_epoch: None,
    }]);
    let Reply::FindOffsets(found) = world.answer(read) else {
        panic!("no end");
    };
    assert_eq!(found[0].as_ref().unwrap().offset, Some(Offset(1)));
}

/// A batch as doors send it, judged by all filters there are.
fn judged(world: &World, sent: &[Sent]) -> Request {
    let batch = batch(sent, Codec::Gzip);
    let records = batch.records(DecodeLimits::default()).unwrap();
    let catalog = world.lane.catalog();
    let needed = catalog.needed(catalog.topic_by_id(TOPIC).unwrap());
    let facts = work_out(&records, &needed, 0).unwrap();
    Request::Append(Append {
        partitions: vec![AppendPartition {
            partition: PARTITION,
            batch,
            facts: facts.encode().into(),
        }],
    })
}

fn filtered(name: &str, filter: &str) -> SubscriptionRequest {
    SubscriptionRequest::Create(Box::new(CreateSubscription {
        name: TopicName::in_default(name),
        topic: TopicRef::Id(TOPIC),
        begin: BeginAt::Start,
        filter: Some(Selector::parse(filter).unwrap()),
        settings: SubscriptionSettings::default(),
    }))
}

#[test]
fn each_filter_has_its_own_records_and_a_batch_that_a_new_one_did_not_judge_is_sent_again() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.answer(create(TOPIC, 1, TopicSettings::default()));
    world.subscription(filtered("a", "color = 'a'"));
    let before = judged(&world, &[("k", Some(("color", "b")))]);
    world.subscription(filtered("b", "color = 'b'"));
    let Reply::Append(owing) = world.answer(before) else {
        panic!("no answer to an append");
    };
    assert_eq!(owing[0], Err(AppendRefusal::FactsOwed));
    let colors = ["a", "b", "c", "b"].map(|color| ("k", Some(("color", color))));
    let sent = judged(&world, &colors);
    assert!(matches!(world.answer(sent), Reply::Append(o) if o[0].is_ok()));
    for from_checkpoint in [false, true] {
        let checkpoint = if from_checkpoint {
            world.whole_checkpoint()
        } else {
            Vec::new()
        };
        world = world.restarted(&checkpoint);
        let waiting = |machine: &Queue| {
            let all = machine.browse(Offset(0)).map(|one| one.offset.0);
            all.collect::<Vec<_>>()
        };
        let waiting: Vec<_> = world.queues().values().map(waiting).collect();
        assert_eq!(waiting, [vec![0], vec![1, 3]]);
    }
    // A place that is free is given to another filter; what was judged for the first says nothing of it.
    let delete = SubscriptionRequest::Delete(named("a"));
    let stale = judged(&world, &colors);
    world.subscription(delete);
    world.subscription(filtered("c", "color = 'c'"));
    let Reply::Append(owing) = world.answer(stale) else {
        panic!("no answer to an append");
    };
    assert_eq!(owing[0], Err(AppendRefusal::FactsOwed));
    let sent = judged(&world, &colors);
    assert!(matches!(world.answer(sent), Reply::Append(o) if o[0].is_ok()));
    let world = world.restarted(&[]);
    // What was there before is not judged yet: whoever hands it out does that.
    let counts = world
        .queues()
        .into_values()
        .map(|machine| machine.counts().available);
    assert_eq!(counts.collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn of_records_with_one_id_the_first_is_handed_out_alone_also_over_a_restart() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.queue_of(SubscriptionSettings {
        deduplicate_ms: Some(60_000),
        ..SubscriptionSettings::default()
    });
    let id = |id| Some((asked::DEDUPLICATION_ID, id));
    let again = |world: &mut World, sent: &[Sent]| {
        let ask = told(sent, Columns(0x3f), world.now);
        let Reply::Append(mut outcomes) = world.answer(ask) else {
            panic!("no answer to an append");
        };
        let appended = outcomes.remove(0).unwrap();
        let again = appended.again.into_iter();
        again
            .map(|(index, first)| (index, first.0))
            .collect::<Vec<_>>()
    };
    assert_eq!(again(&mut world, &[("a", id("1")), ("b", PLAIN)]), []);
    assert_eq!(
        again(&mut world, &[("c", id("2")), ("d", id("1"))]),
        [(1, 0)]
    );
    let taken = world.take(9);
    assert_eq!(offsets(&taken), [0, 1, 2]);
    world.settled(taken);
    let checkpoint = world.whole_checkpoint();
    let mut world = world.restarted(&checkpoint).restarted(&[]);
    // Within one batch, too, and whatever became of the first.
    let sent = [("e", id("1")), ("f", id("3")), ("g", id("3"))];
    assert_eq!(again(&mut world, &sent), [(0, 0), (2, 5)]);
    let taken = world.take(9);
    assert_eq!(offsets(&taken), [5]);
    world.settled(taken);
    world.pass(60_000);
    assert_eq!(again(&mut world, &[("h", id("1"))]), []);
    assert_eq!(offsets(&world.take(9)), [7]);
    world.restarted(&[]);
}

#[test]
fn a_queue_that_refuses_is_full_of_records_or_of_bytes() {
    for settings in [
        SubscriptionSettings {
            length_max: Some(2),
            ..SubscriptionSettings::default()
        },
        SubscriptionSettings {
            // Keys of one byte and values of five.
            bytes_max: Some(13),
            ..SubscriptionSettings::default()
        },
    ] {
        let mut world = World::start(MemDisk::new(1), &[]);
        world.queue_of(SubscriptionSettings {
            overflow: OverflowPolicy::Refuse,
            ..settings
        });
        world.send(&[("a", PLAIN), ("b", PLAIN)]).unwrap();
        let mut world = world.restarted(&[]);
        let full = world.send(&[("c", PLAIN)]).unwrap_err();
        let AppendRefusal::QueueFull { subscription, .. } = full else {
            panic!("{full}");
        };
        assert_eq!(subscription, TopicName::in_default("topic-7"));
        // What is held does not wait.
        let taken = world.take(1);
        world.send(&[("c", PLAIN)]).unwrap();
        world.settled(taken);
        assert_eq!(offsets(&world.take(9)), [1, 2]);
    }
}
