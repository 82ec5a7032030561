//! What operators ask for, of a real lane: more partitions, who produces, records to give up.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test fails the test"
)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use mulgil_broker::clock::Clock;
use mulgil_broker::configure::{
    DescribeProducers, GrowTopics, PRODUCERS_TOLD_MAX, ProducersRefusal,
};
use mulgil_broker::request::{
    AlterRefusal, Append, AppendPartition, CreateTopic, CreateTopics, Reply, Request, TopicRef,
};
use mulgil_broker::shell::Broker;
use mulgil_meta::schema::{Durability, TopicName, TopicSettings};
use mulgil_record::batch::BatchBuilder;
use mulgil_record::compression::Codec;
use mulgil_record::ids::{PartitionId, ProducerEpoch, ProducerId, TopicId};

#[path = "support/running.rs"]
#[expect(dead_code, reason = "other tests look at files")]
mod running;

use running::{end, open, open_with, runtime, wait};

/// Runs `test` beside the ticker of a broker.
fn with<F: Future<Output = ()>>(broker: Arc<Broker>, test: impl FnOnce(Arc<Broker>) -> F) {
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = test(Arc::clone(&broker)) => {}
        }
    });
    end(broker);
}

fn with_broker<F: Future<Output = ()>>(test: impl FnOnce(Arc<Broker>) -> F) {
    let dir = tempfile::tempdir().unwrap();
    with(open(dir.path()), test);
}

/// A topic that expires by nothing.
async fn create(broker: &Broker, name: &str, settings: TopicSettings) -> Vec<PartitionId> {
    let id = TopicId(u128::from_be_bytes(
        *format!("{name:0>16}").as_bytes().first_chunk().unwrap(),
    ));
    let name = TopicName::in_default(name);
    let topic = CreateTopic {
        name: name.clone(),
        partitions: Some(2),
        settings: TopicSettings {
            retention_ms: None,
            ..settings
        },
        id,
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

/// Appends one batch of each of these producers.
async fn produce(broker: &Broker, partition: PartitionId, producers: std::ops::Range<i64>) {
    let one = |id| {
        let mut builder = BatchBuilder::new(Codec::None, 7);
        builder = builder.producer(ProducerId(id), ProducerEpoch(0), 0);
        builder.push(7, Some(b"k"), Some(b"v"), &[]);
        AppendPartition {
            partition,
            batch: builder.finish(),
            facts: Bytes::new(),
        }
    };
    let partitions = producers.map(one).collect();
    let reply = broker.ask(Request::Append(Append { partitions })).await;
    let Some(Reply::Append(outcomes)) = reply else {
        panic!("no answer")
    };
    assert!(outcomes.iter().all(Result::is_ok));
}

/// How many producers of each partition are told, and when the first of the first last wrote.
async fn told(
    broker: &Broker,
    partitions: Vec<PartitionId>,
    told_before: usize,
) -> (Vec<Result<usize, ProducersRefusal>>, Option<u64>) {
    let ask = DescribeProducers {
        partitions,
        told_before,
    };
    let reply = broker.ask(Request::DescribeProducers(ask)).await;
    let Some(Reply::DescribeProducers(outcomes)) = reply else {
        panic!("no answer")
    };
    let first = outcomes[0].as_ref().ok().and_then(|told| told.first());
    let written = first.map(|active| active.last_write_ms);
    let counts = outcomes.into_iter();
    (counts.map(|told| told.map(|t| t.len())).collect(), written)
}

#[test]
fn the_last_write_of_a_producer_is_told_as_a_date() {
    with_broker(async |broker| {
        let wall = || Clock::new(0).now().wall.0;
        let id = create(&broker, "t", TopicSettings::default()).await[0];
        let before = wall();
        produce(&broker, id, 5..6).await;
        // The clocks are read one after the other, and cut to milliseconds each.
        let after = wall() + 1;
        let (_, written) = told(&broker, vec![id], 0).await;
        let (earliest, latest) = (before - 1, after.max(wall()) + 1);
        let written = written.unwrap();
        assert!((earliest..=latest).contains(&written), "{written}");
    });
}

#[test]
fn producers_that_are_told_in_one_answer_have_a_bound() {
    with_broker(async |broker| {
        let settings = TopicSettings {
            durability: Durability::Memory,
            ..TopicSettings::default()
        };
        let ids = create(&broker, "t", settings).await;
        let (many, few) = (ids[0], ids[1]);
        let half = i64::try_from(PRODUCERS_TOLD_MAX / 2 + 1).unwrap();
        for first in (0..half).step_by(5_000) {
            produce(&broker, many, first..half.min(first + 5_000)).await;
        }
        produce(&broker, few, 0..3).await;
        let half = PRODUCERS_TOLD_MAX / 2 + 1;
        let most = PRODUCERS_TOLD_MAX;
        let too_many = Err(ProducersRefusal::TooMany { most });
        let nobody = PartitionId(99);
        let unknown = Err(ProducersRefusal::UnknownPartition(nobody));
        let asked = vec![few, many, many, nobody, few];
        let (outcomes, _) = told(&broker, asked, 0).await;
        assert_eq!(outcomes, [Ok(3), Ok(half), too_many, unknown, Ok(3)]);
        // What was told in an earlier part counts, and is never less than nothing.
        let (outcomes, _) = told(&broker, vec![few, many], half).await;
        assert_eq!(outcomes, [Ok(3), too_many]);
        let (outcomes, _) = told(&broker, vec![few], usize::MAX).await;
        assert_eq!(outcomes, [too_many]);
    });
}

async fn grow(
    broker: &Broker,
    topics: &[(&str, u32)],
    validate_only: bool,
) -> Vec<Result<(), AlterRefusal>> {
    grow_piece(broker, topics, 0, validate_only).await
}

async fn grow_piece(
    broker: &Broker,
    topics: &[(&str, u32)],
    asked_in_all: u64,
    validate_only: bool,
) -> Vec<Result<(), AlterRefusal>> {
    let topics = topics.iter();
    let topics = topics.map(|(name, to)| (TopicRef::Name(TopicName::in_default(name)), *to));
    let ask = GrowTopics {
        topics: topics.collect(),
        asked_in_all,
        validate_only,
    };
    let Some(Reply::GrowTopics(outcomes)) = broker.ask(Request::GrowTopics(ask)).await else {
        panic!("no answer")
    };
    outcomes
}

#[test]
fn one_command_adds_a_bounded_number_of_partitions_to_all_its_topics() {
    with_broker(async |broker| {
        for name in ["a", "b"] {
            create(&broker, name, TopicSettings::default()).await;
        }
        let most = 10_000;
        // One piece of many counts with the others.
        let asked = u64::from(most) + 1;
        let refused = Err(AlterRefusal::TooMany { asked, most });
        assert_eq!(
            grow_piece(&broker, &[("a", 3)], asked, false).await,
            [refused]
        );
        assert_eq!(
            grow_piece(&broker, &[("a", 3)], asked - 1, true).await,
            [Ok(())]
        );
        for dry in [true, false] {
            let asked = 18_000;
            let too_many = Err(AlterRefusal::TooMany { asked, most });
            let both = [("a", 9_002), ("b", 9_002)];
            let outcomes = grow(&broker, &both, dry).await;
            assert_eq!(outcomes, [too_many.clone(), too_many]);
            let asked = 50_000;
            let too_many = Err(AlterRefusal::TooMany { asked, most });
            assert_eq!(grow(&broker, &[("a", 50_002)], dry).await, [too_many]);
        }
        // What is refused anyway counts for nothing.
        let odd = [("a", 3), ("none", 9_000), ("b", 1)];
        let outcomes = grow(&broker, &odd, false).await;
        assert_eq!(outcomes[..2], [Ok(()), Err(AlterRefusal::Unknown)]);
        assert!(matches!(
            outcomes[2],
            Err(AlterRefusal::PartitionCount { least: 3, .. })
        ));
        let partitions = |name| {
            let topic = broker
                .catalog()
                .topic(&TopicName::in_default(name))
                .cloned();
            topic.unwrap().partitions.len()
        };
        assert_eq!((partitions("a"), partitions("b")), (3, 2));
    });
}

#[test]
fn a_dry_run_on_a_full_disk_is_refused_as_the_command_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let topic = async |broker: Arc<Broker>| {
        create(&broker, "a", TopicSettings::default()).await;
    };
    with(open(dir.path()), topic);
    let full = |dir: &Path| open_with(dir, |keeper| keeper.reserve_bytes = u64::MAX);
    with(full(dir.path()), async |broker| {
        wait("a full disk", || broker.figures().disk_full).await;
        for dry in [true, false] {
            let outcomes = grow(&broker, &[("a", 3)], dry).await;
            assert_eq!(outcomes, [Err(AlterRefusal::DiskFull)]);
        }
    });
}
