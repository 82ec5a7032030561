//! Requests that name much and announce little, against a real lane, store and read pool: what they
//! are answered, and how long the lane is held for them, stays within what they may have.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test fails the test"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mulgil_broker::configure::{Configure, Configured};
use mulgil_broker::door::Hall;
use mulgil_broker::request::{
    Append, AppendPartition, CreateTopic, CreateTopics, FindOffset, Isolation, Read, ReadOut,
    ReadPartition, Reply, Request, Seek, TopicRef,
};
use mulgil_broker::shell::Broker;
use mulgil_meta::schema::{Durability, TopicName, TopicSettings};
use mulgil_meta::settings::{Edit, Operation};
use mulgil_record::batch::{Batch, BatchBuilder};
use mulgil_record::compression::Codec;
use mulgil_record::ids::{Offset, PartitionId, TopicId};

#[path = "support/running.rs"]
mod running;

use running::{end, files, open, runtime, wait};

/// As many elements as a request of the Kafka door may have.
const MANY: usize = 1 << 18;

/// Runs `test` beside the ticker of a broker in a fresh directory.
fn with_broker<F: Future<Output = ()>>(test: impl FnOnce(Arc<Broker>, std::path::PathBuf) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = test(Arc::clone(&broker), dir.path().to_owned()) => {}
        }
    });
    end(broker);
}

async fn create(broker: &Broker, partitions: u32) -> Vec<PartitionId> {
    let name = TopicName::in_default("t");
    let topic = CreateTopic {
        name: name.clone(),
        partitions: Some(partitions),
        settings: TopicSettings {
            retention_ms: None,
            ..TopicSettings::default()
        },
        id: TopicId(5),
    };
    let create = CreateTopics {
        topics: vec![topic],
        validate_only: false,
    };
    let Some(Reply::CreateTopics(outcomes)) = broker.ask(Request::CreateTopics(create)).await
    else {
        panic!("no answer")
    };
    outcomes[0].as_ref().unwrap();
    broker.catalog().topic(&name).unwrap().partitions.clone()
}

async fn append(broker: &Broker, partition: PartitionId, bytes: usize) {
    let mut builder = BatchBuilder::new(Codec::None, 7);
    builder.push(7, None, Some(&vec![b'x'; bytes]), &[]);
    append_batch(broker, partition, builder.finish()).await;
}

async fn append_batch(broker: &Broker, partition: PartitionId, batch: Batch) {
    let part = AppendPartition {
        partition,
        batch,
        facts: Bytes::new(),
    };
    let partitions = vec![part];
    let reply = broker.ask(Request::Append(Append { partitions })).await;
    let Some(Reply::Append(outcomes)) = reply else {
        panic!("{reply:?}")
    };
    outcomes[0].as_ref().unwrap();
}

fn from_start(partition: PartitionId, bytes_max: u32) -> ReadPartition {
    ReadPartition {
        partition,
        offset: Offset(0),
        bytes_max,
        leader_epoch: None,
        last_epoch: None,
    }
}

async fn read(broker: &Broker, partitions: Vec<ReadPartition>, bytes_max: u32) -> Vec<ReadOut> {
    let request = Request::Read(Read {
        partitions,
        bytes_min: 0,
        wait_ms: 0,
        bytes_max,
        isolation: Isolation::Uncommitted,
    });
    let Some(Reply::Read(outcomes)) = broker.ask(request).await else {
        panic!("no answer")
    };
    outcomes.into_iter().map(Result::unwrap).collect()
}

fn bytes_of(outs: &[ReadOut]) -> usize {
    outs.iter()
        .flat_map(|out| &out.batches)
        .map(Bytes::len)
        .sum()
}

/// Fills chunks until everything of the first batches lies in chunks with a footer.
async fn bury(broker: &Broker, dir: &std::path::Path, partition: PartitionId) {
    for _ in 0..400 {
        append(broker, partition, 3_000).await;
    }
    wait("sorted chunks", || files(dir, ".sorted") > 0).await;
}

#[test]
fn a_cold_read_gives_what_was_asked_for_and_one_batch_more_at_most() {
    with_broker(async |broker, dir| {
        let ids = create(&broker, 40).await;
        for id in &ids {
            append(&broker, *id, 3_000).await;
        }
        bury(&broker, &dir, ids[0]).await;
        // One place many times, and many places, with next to nothing for each.
        let same = vec![from_start(ids[0], 1); MANY / 16];
        let found = read(&broker, same, 50_000).await;
        assert!((3_000..3_200).contains(&bytes_of(&found)));
        let each = |bytes_max| ids.iter().map(move |id| from_start(*id, bytes_max));
        let found = read(&broker, each(1).collect(), 50_000).await;
        assert!((3_000..3_200).contains(&bytes_of(&found)));
        assert!(!found[0].batches.is_empty(), "the first has the one");
        let found = read(&broker, each(0).collect(), 50_000).await;
        assert!((3_000..3_200).contains(&bytes_of(&found)));
        // Enough for each, and not for all; then for nobody but the first.
        let found = read(&broker, each(4_000).collect(), 20_000).await;
        assert!((12_000..=20_000).contains(&bytes_of(&found)));
        let found = read(&broker, each(4_000).collect(), 100).await;
        assert!((3_000..3_200).contains(&bytes_of(&found)));
        // Those that have nothing do not take the one from those behind.
        let mut parts: Vec<_> = each(1).collect();
        parts[0].offset = broker.partition_figures(ids[0]).unwrap().high_watermark;
        let found = read(&broker, parts, 50_000).await;
        assert!(found[0].batches.is_empty() && found[1].batches.len() == 1);
    });
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test that takes minutes has failed"
)]
fn reads_that_wait_for_one_partition_many_times_hold_up_nobody() {
    with_broker(async |broker, _| {
        let id = create(&broker, 1).await[0];
        let begun = Instant::now();
        let waiting = || {
            let request = Request::Read(Read {
                partitions: vec![from_start(id, 1_000); MANY],
                bytes_min: 1_000,
                wait_ms: 60_000,
                bytes_max: 50_000,
                isolation: Isolation::Uncommitted,
            });
            broker.ask(request)
        };
        let feed = async {
            wait("parked", || broker.figures().waiting_reads == 2).await;
            append(&broker, id, 2_000).await;
        };
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let hall = Hall::new(
            Arc::clone(&broker),
            0,
            Arc::default(),
            Arc::default(),
            stopped,
        );
        tokio::select! {
            () = hall.deliver_forever() => {}
            _ = async { tokio::join!(waiting(), waiting(), feed) } => {}
        }
        drop(stop);
        // Work that grows with the square of what is named takes minutes.
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
    });
}

#[test]
fn a_search_unpacks_a_bounded_amount_and_never_answers_with_too_late_an_offset() {
    // Offset 5 is looked for; what unpacks to 4 MiB is looked into, what unpacks to 40 MiB is not.
    for (bytes, expected) in [(4 << 20, (5, 40)), (40 << 20, (0, 60))] {
        with_broker(async |broker, _| {
            let id = create(&broker, 1).await[0];
            let mut builder = BatchBuilder::new(Codec::Zstd, 10);
            for time in [10, 11, 12, 13, 14, 40, 60] {
                builder.push(time, None, Some(&vec![0; bytes / 7]), &[]);
            }
            append_batch(&broker, id, builder.finish()).await;
            let find = FindOffset {
                partition: id,
                seek: Seek::Time(20),
                isolation: Isolation::Uncommitted,
                leader_epoch: None,
            };
            let reply = broker.ask(Request::FindOffsets(vec![find])).await;
            let Some(Reply::FindOffsets(found)) = reply else {
                panic!("no answer")
            };
            let found = found[0].as_ref().unwrap();
            let told = (found.offset.unwrap().0, found.timestamp.unwrap());
            assert_eq!(told, expected);
        });
    }
}

/// As many topics as one request may create.
const TOPICS: u128 = 10_000;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test that takes minutes has failed"
)]
fn settings_of_many_topics_take_time_by_their_number() {
    with_broker(async |broker, _| {
        for first in [0, TOPICS, 2 * TOPICS] {
            let topics = (first..first + TOPICS).map(|id| CreateTopic {
                name: TopicName::in_default(&format!("t{id}")),
                partitions: Some(1),
                settings: TopicSettings {
                    durability: Durability::Memory,
                    ..TopicSettings::default()
                },
                id: TopicId(id + 1),
            });
            let create = CreateTopics {
                topics: topics.collect(),
                validate_only: false,
            };
            let reply = broker.ask(Request::CreateTopics(create)).await;
            assert!(matches!(reply, Some(Reply::CreateTopics(_))), "{reply:?}");
        }
        let edit = Edit {
            name: "segment.bytes".into(),
            operation: Operation::Set("1048576".into()),
        };
        let target = |id| {
            (
                Configured::Topic(TopicRef::Id(TopicId(id))),
                vec![edit.clone()],
            )
        };
        let ask = Configure {
            targets: (1..=3 * TOPICS).map(target).collect(),
            replace: false,
            validate_only: false,
        };
        let begun = Instant::now();
        let reply = broker.ask(Request::Configure(ask)).await;
        let Some(Reply::Configure(outcomes)) = reply else {
            panic!("no answer")
        };
        assert!(outcomes.iter().all(Result::is_ok), "{:?}", outcomes.first());
        // Work that grows with the square takes minutes.
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
    });
}
