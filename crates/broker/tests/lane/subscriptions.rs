//! Subscriptions in the lane: queues from creation to reclaiming, and the law of restart over all of it.

use std::collections::BTreeMap;

use mulgil_broker::core::queue::Subscription as Queue;
use mulgil_broker::request::{FindOffset, Isolation, Seek};
use mulgil_broker::subscription::{
    Acquired, Attach, BeginAt, Browse, ConsumerId, CreateQueue, CreateSubscription, Grant, List,
    LockTerm, Outcome, QueueRefusal, Receipt, Receive, RecordState, Settle, SettleRefusal,
    Settlement, SubscriptionPicture, SubscriptionRef, SubscriptionRefusal, SubscriptionReply,
    SubscriptionRequest, SubscriptionSettings,
};
use mulgil_record::ids::SubscriptionId;

use super::*;

pub(crate) fn named(name: &str) -> SubscriptionRef {
    SubscriptionRef::Name(TopicName::in_default(name))
}

fn queue() -> SubscriptionRef {
    named("topic-7")
}

fn receive(records_max: u32, wait_ms: u32) -> Request {
    Request::Subscription(SubscriptionRequest::Receive(Receive {
        subscription: queue(),
        records_max,
        lock_ms: Some(5_000),
        wait_ms,
        locked_max: None,
        keys_together: false,
    }))
}

fn settle(items: Vec<Settlement>) -> Request {
    Request::Subscription(SubscriptionRequest::Settle(Settle {
        subscription: queue(),
        items,
    }))
}

pub(crate) fn release(failed: bool) -> Outcome {
    Outcome::Release {
        failed,
        not_before: None,
    }
}

/// One record's receipt each.
pub(crate) fn receipts(acquired: &[Acquired]) -> Vec<Receipt> {
    let of =
        |one: &Acquired| -> Vec<Receipt> { one.span.offsets().map(|at| one.receipt(at)).collect() };
    acquired.iter().flat_map(of).collect()
}

impl World {
    pub(crate) fn subscription(&mut self, ask: SubscriptionRequest) -> SubscriptionReply {
        let Reply::Subscription(reply) = self.answer(Request::Subscription(ask)) else {
            panic!("no answer of a subscription");
        };
        reply
    }

    fn create_queue(&mut self) {
        self.create_queue_with(SubscriptionSettings::default());
    }

    fn create_queue_with(&mut self, settings: SubscriptionSettings) {
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

    fn receive(&mut self, records_max: u32) -> Vec<Acquired> {
        let Reply::Subscription(SubscriptionReply::Acquired(got)) =
            self.answer(receive(records_max, 0))
        else {
            panic!("no records");
        };
        got.unwrap()
    }

    pub(crate) fn settled(&mut self, items: Vec<Settlement>) -> Vec<Result<(), SettleRefusal>> {
        let Reply::Subscription(SubscriptionReply::Settled(settled)) = self.answer(settle(items))
        else {
            panic!("nothing settled");
        };
        settled.unwrap()
    }

    fn settle_all(&mut self, receipts: &[Receipt], outcome: &Outcome) {
        let items = receipts.iter().map(|r| Settlement::of(*r, outcome.clone()));
        for outcome in self.settled(items.collect()) {
            outcome.unwrap();
        }
    }

    fn picture(&mut self) -> SubscriptionPicture {
        let SubscriptionReply::Described(picture) =
            self.subscription(SubscriptionRequest::Describe(queue()))
        else {
            panic!("no picture");
        };
        *picture.unwrap()
    }

    pub(crate) fn queues(&self) -> BTreeMap<(SubscriptionId, PartitionId), Queue> {
        let machines = self.lane.queue_machines();
        machines
            .map(|(id, at, machine)| ((id, at), machine.clone()))
            .collect()
    }

    pub(crate) fn whole_checkpoint(&mut self) -> Vec<Objects> {
        let mut all = self.checkpoint();
        all.push(self.lane.checkpoint_subscriptions(0, 100));
        all
    }

    /// Goes on after a restart, which leads to the same machines.
    pub(crate) fn restarted(self, checkpoint: &[Objects]) -> Self {
        let (before, now) = (self.queues(), self.now);
        let options = LaneOptions::default();
        let world = Self::start_as(self.disk, checkpoint, &options, now);
        assert_eq!(world.queues(), before);
        world
    }

    fn first_offset(&mut self) -> i64 {
        let find = FindOffset {
            partition: PARTITION,
            seek: Seek::Earliest,
            isolation: Isolation::Uncommitted,
            leader_epoch: None,
        };
        let Reply::FindOffsets(found) = self.answer(Request::FindOffsets(vec![find])) else {
            panic!("no offset");
        };
        found[0].as_ref().unwrap().offset.unwrap().0
    }
}

#[test]
fn a_queue_hands_out_each_record_once_and_forgets_what_is_accepted_over_restarts() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    world.answer(append(3));
    let first = receipts(&world.receive(2));
    assert_eq!(first.iter().map(|r| r.offset.0).collect::<Vec<_>>(), [0, 1]);
    let second = receipts(&world.receive(2));
    assert_eq!(second.iter().map(|r| r.offset.0).collect::<Vec<_>>(), [2]);
    assert!(world.receive(2).is_empty());
    world.settle_all(&first[..1], &Outcome::Accept);
    world.settle_all(&second, &release(true));
    let mut world = world.restarted(&[]);
    let counts = world.picture().partitions[0].counts;
    assert_eq!((counts.available, counts.acquired), (1, 1));
    // The lock outlives the restart, and so does its receipt.
    let again = world.receive(2);
    assert_eq!(receipts(&again)[0].offset, Offset(2));
    assert_eq!((again[0].tries.acquired, again[0].tries.failed), (2, 1));
    world.settle_all(&first[1..], &Outcome::Accept);
    world.settle_all(&receipts(&again), &Outcome::Accept);
    let mut world = world.restarted(&[]);
    let picture = world.picture().partitions[0];
    assert_eq!((picture.start, picture.end), (Offset(3), Offset(3)));
    assert_eq!(picture.tally.accepted, 3);
}

#[test]
fn nothing_is_told_before_it_is_synced() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    let asked = world.ask(vec![append(1), receive(1, 0)]);
    assert!(!world.has_answer(asked + 1), "the record is not on disk");
    world.settle();
    let at = world.replies.iter().position(|(of, _)| *of == asked + 1);
    let (_, Reply::Subscription(SubscriptionReply::Acquired(got))) =
        world.replies.swap_remove(at.unwrap())
    else {
        panic!("no records");
    };
    let receipt = receipts(&got.unwrap())[0];
    let asked = world.ask(vec![settle(vec![Settlement::of(receipt, Outcome::Accept)])]);
    assert!(!world.has_answer(asked), "the settlement is not on disk");
    world.settle();
    assert!(world.has_answer(asked));
}

#[test]
fn who_waits_gets_what_comes_and_who_waits_in_vain_is_told() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    let waits = world.ask(vec![receive(5, 1_000)]);
    world.settle();
    assert!(!world.has_answer(waits));
    world.answer(append(2));
    assert!(world.has_answer(waits));
    let waits = world.ask(vec![receive(5, 1_000)]);
    world.pass(999);
    assert!(!world.has_answer(waits));
    world.pass(1);
    let (_, reply) = world.replies.iter().find(|(of, _)| *of == waits).unwrap();
    let Reply::Subscription(SubscriptionReply::Acquired(Ok(got))) = reply else {
        panic!("{reply:?}");
    };
    assert!(got.is_empty());
    assert_eq!(world.picture().consumers, 0);
}

#[test]
fn a_lock_that_ran_out_gives_the_record_to_the_next_and_its_receipt_is_worth_nothing() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    world.answer(append(1));
    let late = receipts(&world.receive(1))[0];
    world.pass(5_000);
    let again = world.receive(1);
    assert_eq!(again[0].tries.acquired, 2);
    let refused = world.settled(vec![
        Settlement::of(late, Outcome::Accept),
        Settlement::of(receipts(&again)[0], Outcome::Accept),
    ]);
    let offset = Offset(0);
    let not_held = SettleRefusal::Queue(QueueRefusal::NotHeld { offset });
    assert_eq!(refused, [Err(not_held), Ok(())]);
    world.restarted(&[]);
}

#[test]
fn what_a_connection_holds_comes_back_when_it_goes() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    let attach = SubscriptionRequest::Attach(Attach {
        subscription: queue(),
        priority: 0,
        exclusive: false,
        lock: LockTerm::Attached,
    });
    let SubscriptionReply::Attached(Ok(consumer)) = world.subscription(attach) else {
        panic!("not attached");
    };
    let grant = SubscriptionRequest::Grant(Grant {
        consumer,
        credit: 2,
    });
    assert!(matches!(
        world.subscription(grant),
        SubscriptionReply::Done(Ok(()))
    ));
    let next = |consumer| {
        Request::Subscription(SubscriptionRequest::Next {
            consumer,
            wait_ms: 1_000,
        })
    };
    let waits = world.ask(vec![next(consumer)]);
    world.answer(append(3));
    let (_, reply) = world.replies.iter().find(|(of, _)| *of == waits).unwrap();
    let Reply::Subscription(SubscriptionReply::Acquired(Ok(got))) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(receipts(got).len(), 2, "as much as the credit");
    let browse = SubscriptionRequest::Browse(Browse {
        subscription: queue(),
        partition: None,
        from: Offset(0),
        most: 10,
    });
    let SubscriptionReply::Browsed(Ok(browsed)) = world.subscription(browse) else {
        panic!("nothing to see");
    };
    let states: Vec<_> = browsed.records.iter().map(|record| record.state).collect();
    let (held, free) = (RecordState::Acquired, RecordState::Available);
    assert_eq!(states, [held, held, free]);
    let stranger = SubscriptionRequest::Next {
        consumer: ConsumerId(99),
        wait_ms: 0,
    };
    assert!(matches!(
        world.subscription(stranger),
        SubscriptionReply::Acquired(Err(SubscriptionRefusal::UnknownConsumer(_)))
    ));
    world.visit(|lane, _| lane.forget(ORIGIN));
    world.pass(1);
    let again = world.receive(3);
    assert_eq!(receipts(&again).len(), 3);
    assert_eq!((again[0].tries.acquired, again[0].tries.failed), (2, 1));
    world.restarted(&[]);
}

#[test]
fn a_checkpoint_has_all_machines_and_what_lies_behind_it_is_replayed() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    world.answer(append(10));
    let held = receipts(&world.receive(6));
    world.settle_all(&held[1..3], &Outcome::Accept);
    let checkpoint = world.whole_checkpoint();
    let mut world = world.restarted(&checkpoint);
    world.settle_all(&held[3..4], &Outcome::Accept);
    world.answer(append(4));
    let counts = world.picture().partitions[0].counts;
    assert_eq!((counts.available, counts.acquired), (8, 3));
    world.restarted(&checkpoint).restarted(&[]);
}

#[test]
fn a_subscription_begins_where_it_is_told_and_reads_partitions_that_come_later() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Fsync);
    world.answer(append(3));
    for (name, begin) in [("all", BeginAt::Start), ("new", BeginAt::End)] {
        let ask = CreateSubscription {
            name: TopicName::in_default(name),
            topic: TopicRef::Id(TOPIC),
            begin,
            filter: None,
            settings: SubscriptionSettings::default(),
        };
        let ask = SubscriptionRequest::Create(Box::new(ask));
        assert!(matches!(
            world.subscription(ask),
            SubscriptionReply::Created(Ok(_))
        ));
    }
    world.answer(append(1));
    world.answer(Request::AlterTopic(mulgil_broker::request::AlterTopic {
        topic: TopicRef::Id(TOPIC),
        settings: None,
        partitions: Some(2),
    }));
    world.answer(append_to(PartitionId(2), 2, 5));
    let SubscriptionReply::Listed(lines) = world.subscription(SubscriptionRequest::List(List {
        most: 10,
        ..List::default()
    })) else {
        panic!("no list");
    };
    let waiting: Vec<_> = lines.iter().map(|line| line.counts.available).collect();
    assert_eq!(waiting, [6, 3]);
    let checkpoint = world.whole_checkpoint();
    world.restarted(&checkpoint).restarted(&[]);
}

#[test]
fn a_subscription_begins_at_offsets_that_are_there() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Fsync);
    world.answer(append(5));
    for (name, at, waiting) in [("midst", 2, 3), ("early", -4, 5), ("late", 99, 0)] {
        let ask = CreateSubscription {
            name: TopicName::in_default(name),
            topic: TopicRef::Id(TOPIC),
            begin: BeginAt::Offsets(vec![(PARTITION, Offset(at))]),
            filter: None,
            settings: SubscriptionSettings::default(),
        };
        world.subscription(SubscriptionRequest::Create(Box::new(ask)));
        let ask = SubscriptionRequest::Describe(named(name));
        let SubscriptionReply::Described(picture) = world.subscription(ask) else {
            panic!("no picture");
        };
        assert_eq!(picture.unwrap().partitions[0].counts.available, waiting);
    }
    world.restarted(&[]);
}

#[test]
fn what_waits_is_purged_and_what_is_held_if_it_is_said() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    world.answer(append(10));
    let held = receipts(&world.receive(3));
    let purge = |held| SubscriptionRequest::Purge {
        subscription: queue(),
        held,
    };
    for (with_held, went) in [(false, 7), (false, 0), (true, 3)] {
        let SubscriptionReply::Purged(purged) = world.subscription(purge(with_held)) else {
            panic!("nothing purged");
        };
        assert_eq!(purged, Ok(went));
        world = world.restarted(&[]);
    }
    let gone = Settlement::of(held[0], Outcome::Accept);
    assert!(world.settled(vec![gone])[0].is_err());
    assert_eq!(world.picture().partitions[0].start, Offset(10));
}

#[test]
fn at_rest_a_queue_gives_memory_back_and_a_busy_one_keeps_it() {
    fn memory(world: &mut World) -> usize {
        world.picture().partitions[0].memory_bytes
    }
    fn work(world: &mut World, records: u32) {
        world.answer(append(records.try_into().unwrap()));
        let held = receipts(&world.receive(records));
        world.settle_all(&held, &Outcome::Accept);
    }
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    let idle = memory(&mut world);
    work(&mut world, 1_000);
    let full = memory(&mut world);
    assert!(full > idle + 10_000, "{full} is hardly more than {idle}");
    // Something happens before it has rested for long enough.
    world.pass(6_000);
    work(&mut world, 1);
    world.pass(6_000);
    assert!(memory(&mut world) > idle + 10_000, "it is at work");
    world.pass(10_000);
    let rests = memory(&mut world);
    assert!(rests < idle + 2_048, "{rests} is kept, {idle} at first");
    // What was read back at a start rests, too, and one that has rested works again.
    world = world.restarted(&[]);
    world.pass(10_000);
    assert!(memory(&mut world) < idle + 2_048);
    work(&mut world, 10);
    assert_eq!(world.picture().partitions[0].start, Offset(1_011));
}

#[test]
fn it_goes_back_to_what_is_still_there_and_on_over_what_waits() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    world.answer(append(10));
    let held = receipts(&world.receive(6));
    world.settle_all(&held, &Outcome::Accept);
    let seek = |to| SubscriptionRequest::Seek {
        subscription: queue(),
        to: vec![(PARTITION, Offset(to))],
    };
    for (to, waiting) in [(2, 8), (9, 1), (0, 10), (99, 0), (-5, 10)] {
        let sought = world.subscription(seek(to));
        assert!(matches!(sought, SubscriptionReply::Sought(Ok(()))));
        world = world.restarted(&[]);
        assert_eq!(world.picture().partitions[0].counts.available, waiting);
    }
    let elsewhere = SubscriptionRequest::Seek {
        subscription: queue(),
        to: vec![(PARTITION, Offset(0)), (PartitionId(9), Offset(0))],
    };
    let refused = world.subscription(elsewhere);
    let unknown = SubscriptionRefusal::UnknownPartition(PartitionId(9));
    let SubscriptionReply::Sought(refused) = refused else {
        panic!("no answer to a seek");
    };
    assert_eq!(refused, Err(unknown));
}

#[test]
fn who_waits_at_a_paused_queue_is_served_when_it_is_resumed() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    let paused = |paused| SubscriptionRequest::Alter {
        subscription: queue(),
        settings: SubscriptionSettings {
            paused,
            ..SubscriptionSettings::default()
        },
    };
    world.subscription(paused(true));
    let mut world = world.restarted(&[]);
    world.answer(append(2));
    assert!(world.receive(1).is_empty());
    let waits = world.ask(vec![receive(5, 1_000)]);
    world.settle();
    assert!(!world.has_answer(waits));
    world.subscription(paused(false));
    world.settle();
    let (_, reply) = world.replies.iter().find(|(of, _)| *of == waits).unwrap();
    let Reply::Subscription(SubscriptionReply::Acquired(Ok(got))) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(receipts(got).len(), 2);
}

#[test]
fn a_queue_gives_back_the_room_of_what_is_accepted_and_of_nothing_else() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    world.answer(append(5));
    let held = receipts(&world.receive(5));
    let retain = |world: &mut World| {
        let now = world.now;
        world.visit(|lane, _| {
            lane.retain(PartitionId(0), 100, now);
        });
        world.settle();
        world.mark();
        world.first_offset()
    };
    world.settle_all(&held[1..3], &Outcome::Accept);
    assert_eq!(retain(&mut world), 0, "the first is not settled");
    world.settle_all(&held[..1], &Outcome::Accept);
    assert_eq!(retain(&mut world), 3);
    world.settle_all(&held[3..], &Outcome::Accept);
    let mut world = world.restarted(&[]);
    assert_eq!(retain(&mut world), 5);
    assert_eq!(world.restarted(&[]).first_offset(), 5);
}

#[test]
fn who_waits_at_a_queue_that_is_deleted_is_told_and_nothing_of_it_is_left() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    let waits = world.ask(vec![receive(5, 1_000)]);
    world.settle();
    let deleted = world.subscription(SubscriptionRequest::DeleteQueue(queue()));
    assert!(matches!(deleted, SubscriptionReply::Deleted(Ok(()))));
    world.pass(1);
    let (_, reply) = world.replies.iter().find(|(of, _)| *of == waits).unwrap();
    let told = Reply::Subscription(SubscriptionReply::Acquired(Err(
        SubscriptionRefusal::Deleted,
    )));
    assert_eq!(format!("{reply:?}"), format!("{told:?}"));
    assert!(world.queues().is_empty());
    let mut world = world.restarted(&[]);
    let unknown = world.subscription(SubscriptionRequest::Describe(queue()));
    assert!(matches!(
        unknown,
        SubscriptionReply::Described(Err(SubscriptionRefusal::Unknown))
    ));
}

#[test]
fn what_is_tried_too_often_is_dropped_and_counted_and_a_target_has_to_be_there() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue_with(SubscriptionSettings {
        failed_max: Some(2),
        ..SubscriptionSettings::default()
    });
    world.answer(append(1));
    for _ in 0..2 {
        let held = receipts(&world.receive(1));
        world.settle_all(&held, &release(true));
    }
    assert!(world.receive(1).is_empty());
    let tally = world.picture().partitions[0].tally;
    assert_eq!(tally.dropped.iter().sum::<u64>(), 1);
    let alter = SubscriptionRequest::Alter {
        subscription: queue(),
        settings: SubscriptionSettings {
            dead_letter: Some(TopicId(8)),
            ..SubscriptionSettings::default()
        },
    };
    assert!(matches!(
        world.subscription(alter),
        SubscriptionReply::Altered(Err(SubscriptionRefusal::UnknownDeadLetter(TopicId(8))))
    ));
    world.restarted(&[]);
}

#[test]
fn a_queue_that_is_deleted_while_a_checkpoint_is_taken_stays_deleted() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create_queue();
    world.answer(append(4));
    let held = receipts(&world.receive(2));
    world.settle_all(&held, &Outcome::Accept);
    let mut checkpoint = world.checkpoint();
    world.subscription(SubscriptionRequest::DeleteQueue(queue()));
    checkpoint.push(world.lane.checkpoint_subscriptions(0, 100));
    assert!(world.restarted(&checkpoint).queues().is_empty());
}
