//! What the API does with topics and records, over a broker in memory.

use bytes::Bytes;
use mulgil_admin::backend::Begin;
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{Place, SettingsChange};
use mulgil_broker::request::{Append, AppendPartition, ReadOut};
use mulgil_broker::start::Progress;
use mulgil_log::disk::MemDisk;
use mulgil_record::batch::{Batch, BatchBuilder, DecodeLimits, Retained};
use mulgil_record::compression::Codec;
use mulgil_record::ids::Offset;

use super::records::Page;
use super::*;
use crate::node::{self, NodeOptions};

/// Runs `test` over a broker that has the topic `t`, with these settings.
fn with_topic(settings: &[(&str, &str)], test: impl AsyncFnOnce(&LocalBackend)) {
    with_options(NodeOptions::default(), settings, test);
}

fn with_options(
    mut options: NodeOptions,
    settings: &[(&str, &str)],
    test: impl AsyncFnOnce(&LocalBackend),
) {
    options.runtimes = 1;
    let disk = Arc::new(MemDisk::new(1));
    let node = node::start(disk, &options, &Progress::default()).unwrap();
    let backend = LocalBackend::new(&node);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let topic = CreateTopic {
            name: "t".to_owned(),
            partitions: Some(1),
            settings: change(settings),
            ..CreateTopic::default()
        };
        backend.create_topic(topic).await.unwrap();
        test(&backend).await;
        drop(backend);
        node.stop().await;
    });
}

/// Records of long ago stay.
const KEPT: &[(&str, &str)] = &[("retention_ms", "none")];

fn change(settings: &[(&str, &str)]) -> SettingsChange {
    let mut change = SettingsChange::default();
    for (name, value) in settings {
        change.set(name, value).unwrap();
    }
    change
}

async fn stated(backend: &LocalBackend) -> Vec<(String, String)> {
    let detail = backend.describe_topic("t").await.unwrap();
    detail.summary.settings.stated.into_iter().collect()
}

async fn append(backend: &LocalBackend, batches: Vec<Batch>) {
    let id = backend.topic("t").unwrap().partitions[0];
    let part = |batch| AppendPartition {
        partition: id,
        batch,
        facts: Bytes::new(),
    };
    let partitions = batches.into_iter().map(part).collect();
    let reply = backend.ask(Request::Append(Append { partitions })).await;
    let Ok(Reply::Append(outcomes)) = reply else {
        panic!("{reply:?}")
    };
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

const fn from(offset: i64, records_max: u32) -> Read {
    Read {
        partition: 0,
        from: Begin::Offset(offset),
        records_max,
        bytes_max: 4 << 20,
        wait_ms: 0,
    }
}

fn record(value: &[u8], timestamp_ms: Option<i64>) -> Publish {
    Publish {
        value: Some(Bytes::copy_from_slice(value)),
        timestamp_ms,
        ..Publish::default()
    }
}

/// The offsets of those that were taken, and the codes of those that were not.
fn told(results: Vec<Result<Position, Refusal>>) -> Vec<Result<i64, Code>> {
    let one = |result: Result<Position, Refusal>| {
        result
            .map(|position| position.offset)
            .map_err(|refusal| refusal.code)
    };
    results.into_iter().map(one).collect()
}

#[test]
fn changes_of_settings_that_overlap_all_hold() {
    with_topic(&[("retention_ms", "1d")], async |backend| {
        let alter = |settings: &[(&str, &str)]| {
            let change = AlterTopic {
                settings: change(settings),
                ..AlterTopic::default()
            };
            backend.alter_topic("t", change)
        };
        let (first, second, third) = tokio::join!(
            alter(&[("segment.bytes", "2MiB")]),
            alter(&[("compression", "zstd")]),
            alter(&[
                ("min.compaction.lag.ms", "2d"),
                ("max.compaction.lag.ms", "1d")
            ]),
        );
        first.unwrap();
        second.unwrap();
        assert_eq!(third.unwrap_err().code, Code::SettingValue);
        let expected = [
            ("compression.type", "zstd"),
            ("retention.ms", "86400000"),
            ("segment.bytes", "2097152"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(stated(backend).await, expected);
    });
}

#[test]
fn a_page_unpacks_what_it_has_room_for_and_the_next_goes_on() {
    with_topic(KEPT, async |backend| {
        let mut builder = BatchBuilder::new(Codec::Zstd, 7);
        builder.push(7, None, Some(&vec![0; 60 << 20]), &[]);
        let bomb = builder.finish();
        assert!(bomb.bytes.len() < 20_000);
        let mut small = BatchBuilder::new(Codec::Zstd, 7);
        small.push(7, None, Some(b"small"), &[]);
        let mut batches = vec![small.finish(); 2];
        batches.extend(vec![bomb; 5]);
        append(backend, batches).await;
        for (offset, expected) in [(0, vec![5, 5]), (2, vec![60 << 20]), (3, vec![60 << 20])] {
            let part = backend.read("t", from(offset, 100)).await.unwrap();
            let lengths = part.records.iter();
            let lengths: Vec<_> = lengths.map(|r| r.value.as_ref().unwrap().0.len()).collect();
            assert_eq!(lengths, expected);
            assert_eq!(part.next, offset + i64::try_from(expected.len()).unwrap());
        }
    });
}

#[test]
fn a_page_is_as_large_as_it_was_asked_for() {
    with_topic(KEPT, async |backend| {
        let mut builder = BatchBuilder::new(Codec::Zstd, 7);
        for _ in 0..100 {
            builder.push(
                7,
                Some(b"key"),
                Some(&[0; 1000]),
                &[(&b"name"[..], Some(&b"text"[..]))],
            );
        }
        append(backend, vec![builder.finish(); 3]).await;
        let page = async |offset, bytes_max| {
            let read = Read {
                bytes_max,
                ..from(offset, 250)
            };
            let part = backend.read("t", read).await.unwrap();
            let (first, last) = (&part.records[0], part.records.last().unwrap());
            assert_eq!((first.offset, part.next), (offset, last.offset + 1));
            assert_eq!(last.key.as_ref().unwrap().0, "key");
            assert_eq!(last.headers[0].value.as_ref().unwrap().0, "text");
            part.records.len()
        };
        assert_eq!(page(0, 1).await, 1);
        // 1,011 bytes each, of which the last goes beyond.
        assert_eq!(page(10, 20_000).await, 20);
        assert_eq!(
            page(95, 20_000).await,
            5,
            "the next batch has more than is left"
        );
        assert_eq!(page(0, 4 << 20).await, 250);
        assert_eq!(page(290, 4 << 20).await, 10);
    });
}

#[test]
fn readers_get_behind_offsets_that_compaction_took_away() {
    let mut builder = BatchBuilder::new(Codec::None, 7);
    for _ in 0..10 {
        builder.push(7, Some(b"key"), Some(b"value"), &[]);
    }
    let batch = builder.finish();
    let kept: Vec<_> = (0..10).map(|offset| offset < 5).collect();
    let records = batch.records(DecodeLimits::default()).unwrap();
    let Retained::Some(bytes) = records.retain(&kept, None).unwrap() else {
        panic!("some stay")
    };
    let batches = [Bytes::from(bytes)];
    let out = ReadOut {
        high_watermark: Offset(10),
        ..ReadOut::default()
    };
    for (at, records_max, expected) in [(6, 100, (0, 10)), (3, 100, (2, 10)), (3, 1, (1, 4))] {
        let page = Page::new("t", from(at, records_max), Offset(at), &out);
        let part = page.fill(&batches).unwrap().part;
        assert_eq!((part.records.len(), part.next), expected);
    }
    // Nothing is left up to the end: a reader that stayed where it is would ask for ever.
    let page = Page::new("t", from(6, 100), Offset(6), &out);
    let part = page.fill(&[]).unwrap().part;
    assert_eq!((part.records.len(), part.next), (0, 10));
}

#[test]
fn published_records_keep_to_the_timestamps_that_the_topic_takes() {
    let bounds = [
        ("timestamp_before_max_ms", "1h"),
        ("timestamp_after_max_ms", "1h"),
    ];
    with_topic(&bounds, async |backend| {
        let now = i64::try_from(backend.broker.now().wall.0).unwrap();
        let hours = |hours: i64| record(b"x", Some(now + hours * 3_600_000));
        let records = vec![hours(0), hours(2), hours(-2), record(b"x", None)];
        let results = backend.publish("t", records).await.unwrap();
        let refused = || Err(Code::RecordRefused);
        assert_eq!(told(results), [Ok(0), refused(), refused(), Ok(1)]);
        // None of many is taken: nothing is appended.
        let results = backend.publish("t", vec![hours(2)]).await.unwrap();
        assert_eq!(told(results), [refused()]);
    });
    with_topic(&[("timestamp_type", "log_append_time")], async |backend| {
        let before = Timestamp(i64::try_from(backend.broker.now().wall.0).unwrap());
        let records = vec![record(b"x", Some(5)), record(b"y", None)];
        let results = backend.publish("t", records).await.unwrap();
        assert_eq!(told(results), [Ok(0), Ok(1)]);
        let part = backend.read("t", from(0, 10)).await.unwrap();
        assert_eq!(part.records.len(), 2);
        assert!(part.records.iter().all(|r| r.timestamp >= Some(before)));
    });
}

#[test]
fn a_publish_may_be_larger_than_a_batch_and_a_record_may_not() {
    with_topic(KEPT, async |backend| {
        let mut records = vec![record(&[b'x'; 1024], None); 2000];
        records.insert(1000, record(&vec![b'x'; 1_100_000], None));
        let results = told(backend.publish("t", records).await.unwrap());
        let mut expected: Vec<_> = (0..2000).map(Ok).collect();
        expected.insert(1000, Err(Code::RecordTooLarge));
        assert!(results == expected, "{:?}", &results[990..1010]);
        let part = backend.read("t", from(1995, 100)).await.unwrap();
        assert_eq!((part.records.len(), part.next), (5, 2000));
    });
    // What is packed counts as it is packed.
    with_topic(&[("compression", "zstd")], async |backend| {
        let records = vec![record(&vec![b'x'; 1_100_000], None); 2];
        let results = told(backend.publish("t", records).await.unwrap());
        assert_eq!(results, [Ok(0), Ok(1)]);
    });
}

#[test]
fn groups_beyond_what_all_may_hold_are_refused_and_an_operator_sees_it() {
    let mut options = NodeOptions::default();
    options.lane.groups.groups_max = 1;
    with_options(options, &[], async |backend| {
        let reset = |group: &'static str| {
            let reset = ResetOffsets {
                to: Place::Earliest,
                topics: vec!["t".to_owned()],
                dry_run: false,
            };
            backend.reset(group, reset)
        };
        reset("one").await.unwrap();
        assert!(backend.model().alarms.is_empty());
        let refused = reset("two").await.unwrap_err();
        assert_eq!(refused.code, Code::GroupsFull, "{refused:?}");
        reset("one").await.unwrap();
        while backend.model().alarms.is_empty() {
            tokio::task::yield_now().await;
        }
        let alarm = backend.model().alarms.remove(0);
        assert_eq!(alarm.name, "groups_full");
        assert!(
            alarm.reason.starts_with("1 of 1 consumer groups"),
            "{alarm:?}"
        );
        let held = backend.counted().broker;
        assert_eq!((held.groups, held.groups_max), (1, 1));
        assert!((1_000..2_000).contains(&held.group_bytes), "{held:?}");
        assert_eq!(held.group_bytes_max, 256 << 20);
        backend.drop_group("one").await.unwrap();
        while !backend.model().alarms.is_empty() {
            tokio::task::yield_now().await;
        }
        reset("two").await.unwrap();
    });
}
