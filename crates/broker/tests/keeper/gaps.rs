//! What all subscriptions of a queue have settled gives its room back, though something older is wanted.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mulgil_broker::request::{CreateTopic, Reply, Request, TopicRef};
use mulgil_broker::shell::Broker;
use mulgil_broker::subscription::{
    BeginAt, Claim, CreateQueue, CreateSubscription, Outcome, Receipt, Receive, Settle, Settlement,
    Span, SubscriptionName, SubscriptionRef, SubscriptionReply, SubscriptionRequest,
    SubscriptionSettings,
};
use mulgil_meta::schema::{TopicName, TopicSettings};
use mulgil_record::ids::{PartitionId, TopicId};

use crate::running::{end, open, runtime, wait};
use crate::{append, append_timed, forever, read};

async fn ask(broker: &Broker, ask: SubscriptionRequest) -> SubscriptionReply {
    let Some(Reply::Subscription(reply)) = broker.ask(Request::Subscription(ask)).await else {
        panic!("a question about a subscription is answered as one")
    };
    reply
}

fn named(name: &str) -> SubscriptionRef {
    SubscriptionRef::Name(SubscriptionName::in_default(name))
}

async fn create_queue(broker: &Broker, name: &str, keep_at_least_ms: u64) -> PartitionId {
    let name = TopicName::in_default(name);
    let settings = TopicSettings {
        keep_at_least_ms,
        ..forever()
    };
    let queue = CreateQueue {
        topic: CreateTopic {
            name: name.clone(),
            partitions: Some(1),
            settings,
            id: TopicId(9 + u128::from(keep_at_least_ms)),
        },
        settings: SubscriptionSettings::default(),
    };
    let created = ask(broker, SubscriptionRequest::CreateQueue(Box::new(queue))).await;
    let SubscriptionReply::QueueCreated(Ok(_)) = created else {
        panic!("{created:?}")
    };
    broker.catalog().topic(&name).unwrap().partitions[0]
}

fn partition(broker: &Broker) -> PartitionId {
    let name = TopicName::in_default("q");
    broker.catalog().topic(&name).unwrap().partitions[0]
}

/// Takes all that there is.
async fn receive(broker: &Broker, name: &str) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    loop {
        let receive = Receive {
            subscription: named(name),
            records_max: 1_000,
            lock_ms: Some(3_600_000),
            wait_ms: 0,
            locked_max: None,
            keys_together: false,
        };
        let reply = ask(broker, SubscriptionRequest::Receive(receive)).await;
        let SubscriptionReply::Acquired(Ok(got)) = reply else {
            panic!("{reply:?}")
        };
        if got.is_empty() {
            return receipts;
        }
        for acquired in got {
            receipts.extend({ acquired.span.offsets() }.map(|at| acquired.receipt(at)));
        }
    }
}

async fn settle(broker: &Broker, name: &str, receipts: &[Receipt], outcome: &Outcome) {
    for some in receipts.chunks(1_000) {
        let items = some.iter().map(|receipt| Settlement {
            partition: receipt.partition,
            span: Span::one(receipt.offset),
            claim: Claim::Receipt(receipt.epoch),
            outcome: outcome.clone(),
        });
        let settle = Settle {
            subscription: named(name),
            items: items.collect(),
        };
        let reply = ask(broker, SubscriptionRequest::Settle(settle)).await;
        let SubscriptionReply::Settled(Ok(outcomes)) = reply else {
            panic!("{reply:?}")
        };
        assert!(outcomes.iter().all(Result::is_ok));
    }
}

/// Takes all, accepts it but for some, and lets go of these.
async fn work_off(broker: &Broker, name: &str, but: &[i64]) {
    let receipts = receive(broker, name).await;
    let is_left = |receipt: &Receipt| but.contains(&receipt.offset.0);
    let (left, done): (Vec<_>, Vec<_>) = receipts.into_iter().partition(is_left);
    settle(broker, name, &done, &Outcome::Accept).await;
    let release = Outcome::Release {
        failed: false,
        not_before: None,
    };
    settle(broker, name, &left, &release).await;
}

/// Goes on with work until passes have given up so much that who reads from an offset finds another.
async fn goes(
    broker: &Broker,
    next: &mut i64,
    readers: &[(&str, &[i64])],
    (from, number, to): (i64, usize, i64),
) {
    let id = partition(broker);
    while read(broker, id, from).await.get(number).map(|(at, _)| *at) != Some(to) {
        assert!(*next < 60_000, "settled records stay");
        append(broker, id, *next, 100).await;
        *next += 100;
        for (name, but) in readers {
            work_off(broker, name, but).await;
        }
    }
}

fn store_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap();
    // One may be given up while they are looked at.
    let bytes = files.filter_map(|file| Some(file.unwrap().metadata().ok()?.len()));
    bytes.sum()
}

#[test]
fn all_but_the_oldest_and_one_in_the_midst_are_given_up_and_a_start_finds_these() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    let mut next = 0;
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                let id = create_queue(&broker, "q", 0).await;
                for _ in 0..500 {
                    append(&broker, id, next, 10).await;
                    next += 10;
                }
                let passes = || broker.keeper_figures().regroup_passes.load(Ordering::Relaxed);
                wait("a pass while all is wanted", || passes() > 0).await;
                assert_eq!(read(&broker, id, 1).await[0].0, 0);
                let before = store_bytes(dir.path());
                let left = [0, 1_234];
                goes(&broker, &mut next, &[("q", &left)], (10, 0, 1_234)).await;
                // Of the batch of the oldest it alone is left.
                goes(&broker, &mut next, &[("q", &left)], (0, 1, 1_234)).await;
                wait("room", || store_bytes(dir.path()) < before).await;
                broker.stop().await;
            } => {}
        }
    });
    end(broker);
    let broker = open(dir.path());
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                let receipts = receive(&broker, "q").await;
                let offsets: Vec<_> = receipts.iter().map(|receipt| receipt.offset.0).collect();
                assert_eq!(offsets, [0, 1_234]);
                let id = partition(&broker);
                for offset in offsets {
                    let (at, value) = read(&broker, id, offset).await[0].clone();
                    assert_eq!(at, offset);
                    assert!(value.starts_with(format!("{}/{offset}/", id.0).as_bytes()));
                }
                settle(&broker, "q", &receipts, &Outcome::Accept).await;
                let start = || broker.partition_figures(id).unwrap().start.0;
                wait("the start to move over all of it", || start() == next).await;
            } => {}
        }
    });
    end(broker);
}

#[test]
fn what_another_subscription_has_not_settled_stays() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    let mut next = 0;
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                let id = create_queue(&broker, "q", 0).await;
                let second = CreateSubscription {
                    name: SubscriptionName::in_default("second"),
                    topic: TopicRef::Name(TopicName::in_default("q")),
                    begin: BeginAt::Start,
                    filter: None,
                    settings: SubscriptionSettings::default(),
                };
                let created = SubscriptionRequest::Create(Box::new(second));
                let SubscriptionReply::Created(Ok(_)) = ask(&broker, created).await else {
                    panic!("there is no such subscription yet")
                };
                for _ in 0..100 {
                    append(&broker, id, next, 10).await;
                    next += 10;
                }
                // The second has settled every other batch of ten, the first all but the first.
                let mut left: Vec<i64> = (0..1_000).filter(|at| at / 10 % 2 == 0).collect();
                work_off(&broker, "q", &[0]).await;
                work_off(&broker, "second", &left).await;
                let readers: [(&str, &[i64]); 2] = [("q", &[0]), ("second", &left)];
                goes(&broker, &mut next, &readers, (10, 0, 20)).await;
                let mut found = BTreeSet::new();
                let mut at = 0;
                while at < 1_000 {
                    let some = read(&broker, id, at).await;
                    found.extend(some.iter().map(|(at, _)| *at).filter(|at| *at < 1_000));
                    at = some.last().unwrap().0 + 1;
                }
                assert!(left.iter().all(|at| found.contains(at)), "wanted records are gone");
                // One is enough for it, too.
                left.retain(|at| *at == 500);
                let readers: [(&str, &[i64]); 2] = [("q", &[0]), ("second", &left)];
                for (name, but) in readers {
                    work_off(&broker, name, but).await;
                }
                goes(&broker, &mut next, &readers, (10, 0, 500)).await;
                assert_eq!(read(&broker, id, 0).await[0].0, 0);
            } => {}
        }
    });
    end(broker);
}

#[test]
fn what_is_kept_at_least_so_long_stays_though_all_have_settled_it() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                // Reclaimed in this order, so that what goes from the last might have gone from the others.
                let young = create_queue(&broker, "young", 86_400_000).await;
                let old = create_queue(&broker, "old", 86_400_001).await;
                let id = create_queue(&broker, "q", 0).await;
                let far = |_| 4_102_444_800_000;
                append_timed(&broker, young, (0, 10), far).await;
                append(&broker, old, 0, 10).await;
                append_timed(&broker, id, (0, 10), far).await;
                for name in ["young", "old", "q"] {
                    work_off(&broker, name, &[]).await;
                }
                let start = |id| broker.partition_figures(id).unwrap().start.0;
                wait("settled records to go", || start(id) == 10).await;
                assert_eq!((start(young), start(old)), (0, 10));
            } => {}
        }
    });
    end(broker);
}
