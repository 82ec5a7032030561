//! Compacted topics on a real disk: the keeper leaves the newest record of each key, beside a topic
//! that it leaves alone, over restarts.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test fails the test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mulgil_broker::request::{
    Append, AppendPartition, Appended, CreateTopic, CreateTopics, FindOffset, FoundOffset,
    Isolation, Read, ReadPartition, Reply, Request, Seek,
};
use mulgil_broker::shell::Broker;
use mulgil_meta::schema::{Cleanup, TopicName, TopicSettings};
use mulgil_record::batch::{Batch, BatchBuilder, DecodeLimits};
use mulgil_record::compression::Codec;
use mulgil_record::ids::{Offset, PartitionId, ProducerEpoch, ProducerId, TopicId};

#[path = "support/running.rs"]
mod running;

use running::{end, files, open, runtime, wait};

/// Offset, timestamp, key, value.
type Told = (i64, i64, String, Option<String>);

fn now_ms() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "records of a producer carry its wall clock"
    )]
    let now = SystemTime::now();
    let now = now.duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

async fn create(broker: &Broker, name: &str, id: u128, settings: TopicSettings) -> PartitionId {
    let name = TopicName::in_default(name);
    let topic = CreateTopic {
        name: name.clone(),
        partitions: Some(1),
        settings,
        id: TopicId(id),
    };
    let create = CreateTopics {
        topics: vec![topic],
        validate_only: false,
    };
    let Some(Reply::CreateTopics(outcomes)) = broker.ask(Request::CreateTopics(create)).await
    else {
        panic!()
    };
    outcomes[0].as_ref().unwrap();
    broker.catalog().topic(&name).unwrap().partitions[0]
}

fn compacted() -> TopicSettings {
    TopicSettings {
        cleanup: Cleanup {
            delete: false,
            compact: true,
        },
        // What compaction alone decides must not be decided by age.
        retention_ms: Some(1),
        min_cleanable_dirty_ratio_permille: 10,
        max_compaction_lag_ms: 200,
        delete_retention_ms: 400,
        ..TopicSettings::default()
    }
}

async fn append(broker: &Broker, partition: PartitionId, batch: Batch) -> Appended {
    let part = AppendPartition {
        partition,
        batch,
        facts: Bytes::new(),
    };
    let append = Append {
        partitions: vec![part],
    };
    let Some(Reply::Append(outcomes)) = broker.ask(Request::Append(append)).await else {
        panic!()
    };
    outcomes[0].clone().unwrap()
}

/// A batch of keys and values from producer 5, of which `sequence` records came before.
fn batch(sequence: i32, timestamp: i64, records: &[(String, Option<String>)]) -> Batch {
    let mut builder = BatchBuilder::new(Codec::Lz4, timestamp).producer(
        ProducerId(5),
        ProducerEpoch(0),
        sequence,
    );
    for (key, value) in records {
        let value = value.as_ref().map(String::as_bytes);
        builder.push(timestamp, Some(key.as_bytes()), value, &[]);
    }
    builder.finish()
}

/// All of a partition, from its start on.
async fn read_all(broker: &Broker, partition: PartitionId) -> Vec<Told> {
    let end = broker
        .partition_figures(partition)
        .unwrap()
        .high_watermark
        .0;
    let mut next = broker.partition_figures(partition).unwrap().start.0;
    let mut found = Vec::new();
    while next < end {
        let part = ReadPartition {
            partition,
            offset: Offset(next),
            bytes_max: 30_000,
            leader_epoch: None,
            last_epoch: None,
        };
        let read = Read {
            partitions: vec![part],
            bytes_min: 0,
            wait_ms: 0,
            bytes_max: 1 << 20,
            isolation: Isolation::Uncommitted,
        };
        let Some(Reply::Read(outcomes)) = broker.ask(Request::Read(read)).await else {
            panic!()
        };
        let Ok(out) = &outcomes[0] else {
            // Its chunk was given up between the look into the index and the read of the file.
            continue;
        };
        assert!(!out.batches.is_empty(), "whoever reads comes to the end");
        for bytes in &out.batches {
            let batch = Batch::check(bytes.clone()).unwrap();
            let records = batch.records(DecodeLimits::default()).unwrap();
            for record in records.iter() {
                let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
                let offset = records.offset(record.offset_delta).0;
                let time = records.timestamp(record.timestamp_delta);
                let key = record.key.map(text).unwrap_or_default();
                found.push((offset, time, key, record.value.map(text)));
            }
            next = batch.header.last_offset().0 + 1;
        }
    }
    found
}

async fn find(broker: &Broker, partition: PartitionId, seek: Seek) -> FoundOffset {
    let find = FindOffset {
        partition,
        seek,
        isolation: Isolation::Uncommitted,
        leader_epoch: None,
    };
    let Some(Reply::FindOffsets(outcomes)) = broker.ask(Request::FindOffsets(vec![find])).await
    else {
        panic!()
    };
    outcomes[0].clone().unwrap()
}

/// What was produced so far.
#[derive(Default)]
struct Produced {
    newest: BTreeMap<String, Told>,
    next: i64,
    plain: i64,
    /// The newest batch of the compacted topic, and where it was put.
    last: Option<(Batch, i64)>,
}

impl Produced {
    /// Overwrites keys, and deletes some, with records of another topic in between.
    async fn more(&mut self, broker: &Broker, keyed: PartitionId, plain: PartitionId) {
        for round in 0..60_i64 {
            let time = now_ms();
            let records: Vec<_> = (0..10_i64)
                .map(|at| {
                    let number = (round * 7 + at * 3) % 50;
                    // Of each tenth key the last word is that it is gone; others come again.
                    let value = (number % 10 != 4).then(|| format!("{time}{}", "x".repeat(200)));
                    (format!("k{number}"), value)
                })
                .collect();
            let one = batch(i32::try_from(self.next).unwrap(), time, &records);
            let base = append(broker, keyed, one.clone()).await.base.0;
            assert_eq!(base, self.next);
            for (at, (key, value)) in (base..).zip(records) {
                self.newest.insert(key.clone(), (at, time, key, value));
            }
            self.next += 10;
            self.last = Some((one, base));
            let other = batch(i32::try_from(self.plain).unwrap(), 5, &[("k".into(), None)]);
            assert_eq!(append(broker, plain, other).await.base.0, self.plain);
            self.plain += 1;
        }
    }

    /// One more record: a deletion goes with a pass, and a pass needs something that is unclean.
    async fn tick(&mut self, broker: &Broker, keyed: PartitionId) {
        let time = now_ms();
        let (key, value) = ("tick".to_owned(), Some(time.to_string()));
        let records = [(key.clone(), value.clone())];
        let one = batch(i32::try_from(self.next).unwrap(), time, &records);
        let base = append(broker, keyed, one.clone()).await.base.0;
        self.newest.insert(key.clone(), (base, time, key, value));
        self.next += 1;
        self.last = Some((one, base));
    }

    /// Waits until a partition holds what must be left, and nothing else.
    async fn settled(&mut self, broker: &Broker, keyed: PartitionId) {
        let mut found = Vec::new();
        for _ in 0..300 {
            let wanted = self.wanted();
            found = read_all(broker, keyed).await;
            let missing = wanted.iter().find(|told| !found.contains(told));
            assert_eq!(missing, None, "what is newest stays");
            if found == wanted {
                return;
            }
            found.retain(|told| !wanted.contains(told));
            if found.iter().all(|told| told.3.is_none()) {
                self.tick(broker, keyed).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("there is still {found:?}");
    }

    /// What must be left when deletions are forgotten.
    fn wanted(&self) -> Vec<Told> {
        let last = self.next - 1;
        let newest = self.newest.values();
        let lives = newest.filter(|told| told.3.is_some() || told.0 == last);
        let mut lives: Vec<_> = lives.cloned().collect();
        lives.sort();
        lives
    }
}

async fn check(broker: &Broker, produced: &mut Produced, keyed: PartitionId, plain: PartitionId) {
    produced.settled(broker, keyed).await;
    let wanted = produced.wanted();
    let newest = wanted.iter().max_by_key(|told| (told.1, -told.0)).unwrap();
    let found = find(broker, keyed, Seek::MaxTimestamp).await;
    assert_eq!(found.offset, Some(Offset(newest.0)));
    for told in &wanted {
        let first = wanted.iter().find(|other| other.1 >= told.1).unwrap();
        let found = find(broker, keyed, Seek::Time(told.1)).await;
        assert_eq!(
            (found.offset, found.timestamp),
            (Some(Offset(first.0)), Some(first.1))
        );
    }
    let others = read_all(broker, plain).await;
    let offsets: Vec<_> = others.iter().map(|told| told.0).collect();
    assert_eq!(offsets, (0..produced.plain).collect::<Vec<_>>());
    // The producer's newest batch may lie there partly; it is still a duplicate.
    if let Some((batch, base)) = produced.last.clone() {
        let again = append(broker, keyed, batch).await;
        assert_eq!((again.base.0, again.duplicate), (base, true));
    }
}

#[test]
fn the_newest_of_each_key_is_left_and_nothing_of_others_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut produced = Produced::default();
    for round in 0..3 {
        let broker = open(dir.path());
        runtime().block_on(async {
            tokio::select! {
                () = Arc::clone(&broker).tick_forever() => {}
                () = async {
                    if round == 0 {
                        create(&broker, "keyed", 5, compacted()).await;
                        let forever = TopicSettings { retention_ms: None, ..TopicSettings::default() };
                        create(&broker, "plain", 6, forever).await;
                    }
                    let of = |name| {
                        let name = TopicName::in_default(name);
                        broker.catalog().topic(&name).unwrap().partitions[0]
                    };
                    let (keyed, plain) = (of("keyed"), of("plain"));
                    for _ in 0..3 {
                        produced.more(&broker, keyed, plain).await;
                        check(&broker, &mut produced, keyed, plain).await;
                    }
                    wait("a compacted chunk", || files(dir.path(), ".compacted") > 0).await;
                    if round % 2 == 0 {
                        broker.stop().await;
                    }
                } => {}
            }
        });
        end(broker);
    }
}
