//! Queues and subscriptions as the API has them, over a broker in memory.

use bytes::Bytes;
use mulgil_admin::backend::{Backend as _, Publish};
use mulgil_admin::model::{CreateTopic, Outcome, ReceivedRecord};
use mulgil_broker::start::Progress;
use mulgil_log::disk::MemDisk;
use serde_json::json;

use super::*;
use crate::node::{self, NodeOptions};

const JOBS: Which<'static> = Which {
    kind: Kind::Queue,
    name: "jobs",
};

fn change(settings: &serde_json::Value) -> SubscriptionChange {
    serde_json::from_value(settings.clone()).unwrap()
}

fn queue(settings: &serde_json::Value) -> CreateQueue {
    CreateQueue {
        name: "jobs".to_owned(),
        settings: change(settings),
        ..CreateQueue::default()
    }
}

/// Runs `test` over a broker with the queue `jobs` that has these settings.
fn with_queue(settings: &serde_json::Value, test: impl AsyncFnOnce(&LocalBackend)) {
    let options = NodeOptions {
        runtimes: 1,
        ..NodeOptions::default()
    };
    let disk = Arc::new(MemDisk::new(1));
    let node = node::start(disk, &options, &Progress::default()).unwrap();
    let backend = LocalBackend::new(&node);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        Queues::create(&*backend, queue(settings)).await.unwrap();
        test(&backend).await;
        drop(backend);
        node.stop().await;
    });
}

async fn publish(backend: &LocalBackend, values: &[&str]) {
    let record = |value: &&str| Publish {
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..Publish::default()
    };
    let records = values.iter().map(record).collect();
    let results = backend.publish("jobs", records).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

async fn take(backend: &LocalBackend, records_max: u32, wait_ms: u32) -> Vec<ReceivedRecord> {
    let receive = Receive {
        records_max,
        lock_ms: Some(60_000),
        wait_ms,
    };
    backend.receive(JOBS, receive).await.unwrap().records
}

fn values(records: &[ReceivedRecord]) -> Vec<String> {
    let value = |one: &ReceivedRecord| one.record.value.clone().unwrap().0;
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    records.iter().map(|one| text(value(one))).collect()
}

fn settlement(receipt: &str, outcome: Outcome) -> Settlement {
    Settlement {
        receipt: receipt.to_owned(),
        outcome,
    }
}

async fn counts(backend: &LocalBackend) -> (u64, u64, u64) {
    let counts = backend.describe(JOBS).await.unwrap().summary.counts;
    (counts.available, counts.acquired, counts.scheduled)
}

/// Waits until so many records are available, acquired and scheduled; locks last longer than that.
async fn until(backend: &LocalBackend, wanted: (u64, u64, u64)) {
    let reached = async {
        while counts(backend).await != wanted {
            tokio::task::yield_now().await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(20), reached);
    assert!(reached.await.is_ok(), "{:?}", counts(backend).await);
}

#[test]
fn records_come_out_whole_and_are_settled_by_their_receipts() {
    with_queue(&json!({}), async |backend| {
        publish(backend, &["a", "b", "c"]).await;
        let got = take(backend, 2, 0).await;
        assert_eq!(values(&got), ["a", "b"]);
        assert_eq!((got[0].acquired, got[0].failed), (1, 0));
        assert!(got[0].locked_until > got[0].record.timestamp);
        assert_eq!(counts(backend).await, (1, 2, 0));
        let results = backend
            .settle(
                JOBS,
                vec![
                    settlement(&got[0].receipt, Outcome::Accept),
                    settlement("1.2", Outcome::Accept),
                    settlement(
                        &got[1].receipt,
                        Outcome::Release {
                            failed: true,
                            at: None,
                            delay_ms: Some(3_600_000),
                        },
                    ),
                    settlement(&got[0].receipt, Outcome::Accept),
                    settlement("999.0.0.1.1", Outcome::Accept),
                ],
            )
            .await
            .unwrap();
        let codes: Vec<_> = { results.iter() }
            .map(|result| result.as_ref().err().map(|why| why.code))
            .collect();
        let (bad, not_held) = (Some(Code::BadReceipt), Some(Code::NotHeld));
        assert_eq!(codes, [None, bad, None, not_held, bad]);
        assert_eq!(counts(backend).await, (1, 0, 1));
        let page = backend
            .browse(
                JOBS,
                Browse {
                    records_max: 10,
                    ..Browse::default()
                },
            )
            .await
            .unwrap();
        let states: Vec<_> = { page.records.iter() }
            .map(|one| (one.record.offset, one.state.as_str(), one.failed))
            .collect();
        assert_eq!(states, [(1, "scheduled", 1), (2, "available", 0)]);
        assert_eq!(page.next, None);
        let detail = backend.describe(JOBS).await.unwrap();
        assert_eq!(detail.summary.totals.accepted, 1);
        assert!(detail.summary.oldest_age_seconds.is_some());
    });
}

#[test]
fn what_is_rejected_is_dropped_and_counted_by_its_reason() {
    with_queue(&json!({}), async |backend| {
        publish(backend, &["a"]).await;
        let got = take(backend, 1, 0).await;
        let words = Some("no such customer".to_owned());
        let reject = settlement(&got[0].receipt, Outcome::Reject { words });
        let results = backend.settle(JOBS, vec![reject]).await.unwrap();
        assert_eq!(results, [Ok(())]);
        let totals = backend.describe(JOBS).await.unwrap().summary.totals;
        let dropped = GivenUp {
            reason: "rejected".to_owned(),
            records: 1,
        };
        assert_eq!(totals.dropped, [dropped]);
    });
}

#[test]
fn who_waits_gets_what_comes_and_who_goes_leaves_nothing_locked() {
    with_queue(&json!({}), async |backend| {
        let (got, ()) = tokio::join!(take(backend, 5, 30_000), publish(backend, &["a"]));
        assert_eq!(values(&got), ["a"]);
        let release = Outcome::Release {
            failed: false,
            at: None,
            delay_ms: None,
        };
        let settled = backend
            .settle(JOBS, vec![settlement(&got[0].receipt, release)])
            .await;
        assert_eq!(settled.unwrap(), [Ok(())]);
        // Whoever is dropped at whatever step holds nothing a moment later.
        for steps in 0..50 {
            let receive = Receive {
                lock_ms: Some(60_000),
                ..Receive::default()
            };
            let mut asked = backend.receive(JOBS, receive);
            for _ in 0..steps {
                let polled = std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(asked.as_mut().poll(cx).is_ready())
                });
                if polled.await {
                    // It has its answer, and the record with it.
                    return;
                }
                tokio::task::yield_now().await;
            }
            drop(asked);
            until(backend, (1, 0, 0)).await;
        }
    });
}

#[test]
fn a_receive_is_as_large_as_an_answer_may_be_and_the_rest_is_given_back() {
    with_queue(&json!({}), async |backend| {
        let large = "x".repeat(900_000);
        for _ in 0..6 {
            publish(backend, &[&large]).await;
        }
        let got = take(backend, 10, 0).await;
        assert!((4..6).contains(&got.len()), "{} came", got.len());
        let back = 6 - got.len() as u64;
        until(backend, (back, got.len() as u64, 0)).await;
        let rest = take(backend, 10, 1_000).await;
        assert_eq!(rest.len() as u64, back);
        let offset = got.len() as i64;
        assert_eq!((rest[0].record.offset, rest[0].failed), (offset, 0));
    });
}

#[test]
fn settings_are_changed_one_by_one_and_names_are_those_of_topics() {
    let settings = json!({"lock_ms": 5000, "retry": {"kind": "fixed", "ms": 10}});
    with_queue(&settings, async |backend| {
        let alter = |settings: serde_json::Value| {
            let settings = change(&settings);
            Queues::alter(backend, JOBS, AlterSubscription { settings })
        };
        let (first, second) = tokio::join!(
            alter(json!({"failed_max": 3})),
            alter(json!({"ttl_ms": 1000}))
        );
        assert!(first.is_ok() && second.is_ok());
        let detail = backend.describe(JOBS).await.unwrap();
        let settings = &detail.summary.settings;
        assert_eq!(
            (settings.failed_max, settings.ttl_ms),
            (Some(3), Some(1000))
        );
        assert_eq!(
            (settings.lock_ms, settings.retry),
            (5000, Retry::Fixed { ms: 10 })
        );
        for (bad, code) in [
            (json!({"lock_ms": 0}), Code::SubscriptionSetting),
            (json!({"lock_ms": 100_000_000}), Code::SubscriptionSetting),
            (json!({"dead_letter": "nowhere"}), Code::DeadLetterTarget),
        ] {
            assert_eq!(alter(bad).await.unwrap_err().code, code);
        }
        let again = Queues::create(backend, queue(&json!({})))
            .await
            .unwrap_err();
        assert_eq!(again.code, Code::SubscriptionExists);
    });
}

#[test]
fn a_subscription_of_a_topic_is_no_queue() {
    with_queue(&json!({}), async |backend| {
        let topic = CreateTopic {
            name: "orders".to_owned(),
            partitions: Some(2),
            ..CreateTopic::default()
        };
        backend.create_topic(topic).await.unwrap();
        let billing = CreateSubscription {
            name: "billing".to_owned(),
            topic: "orders".to_owned(),
            ..CreateSubscription::default()
        };
        let created = backend.subscribe(billing).await.unwrap();
        assert!(!created.summary.queue);
        assert_eq!(created.partition_details.len(), 2);
        let list = |kind, topic| List {
            kind,
            topic,
            after: None,
            limit: 1000,
        };
        for (kind, topic, names) in [
            (Kind::Subscription, None, vec!["billing", "jobs"]),
            (Kind::Subscription, Some("orders"), vec!["billing"]),
            (Kind::Queue, None, vec!["jobs"]),
        ] {
            let page = Queues::list(backend, list(kind, topic)).await.unwrap();
            let found: Vec<_> = page.subscriptions.iter().map(|one| &*one.name).collect();
            assert_eq!((found, page.next), (names, None));
        }
        let as_queue = |name| Which {
            kind: Kind::Queue,
            name,
        };
        let refused = Queues::delete(backend, as_queue("billing")).await;
        assert_eq!(refused.unwrap_err().code, Code::NotAQueue);
        let unknown = Queues::delete(backend, as_queue("nothing")).await;
        assert_eq!(unknown.unwrap_err().code, Code::SubscriptionUnknown);
        Queues::delete(backend, JOBS).await.unwrap();
        let topic = backend.describe_topic("jobs").await;
        assert_eq!(topic.unwrap_err().code, Code::TopicUnknown);
    });
}
