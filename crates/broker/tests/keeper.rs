//! The whole broker on a real disk with small chunks: footers, checkpoints, regrouping, retention,
//! cold reads, and starts from all of it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test fails the test"
)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use mulgil_broker::lane::LaneOptions;
use mulgil_broker::request::{
    Append, AppendPartition, CreateTopic, CreateTopics, FindOffset, Isolation, Read, ReadOut,
    ReadPartition, ReadRefusal, Reply, Request, Seek, Trim,
};
use mulgil_broker::shell::Broker;
use mulgil_broker::start;
use mulgil_log::chunk::{ChunkFile, parse_chunk_name};
use mulgil_log::disk::{Disk, DiskFile, RealDisk, Space};
use mulgil_log::fault::FaultKind;
use mulgil_log::footer::Footer;
use mulgil_meta::schema::{TopicName, TopicSettings};
use mulgil_record::batch::{Batch, BatchBuilder, DecodeLimits};
use mulgil_record::compression::Codec;
use mulgil_record::facts::Facts;
use mulgil_record::ids::{Offset, PartitionId, TopicId};

#[path = "keeper/full_disk.rs"]
mod full_disk;
#[path = "keeper/gaps.rs"]
mod gaps;
#[path = "support/running.rs"]
mod running;
#[path = "keeper/sorted.rs"]
mod sorted;

use running::{busy_keeper, end, files, lock, open, open_on, open_with, runtime, wait};

const PARTITIONS: u32 = 7;

fn batch(partition: u64, from: i64, records: i64, time: fn(i64) -> i64) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None, time(from));
    for at in from..from + records {
        let value = format!("{partition}/{at}/{}", "x".repeat(300));
        builder.push(time(at), None, Some(value.as_bytes()), &[]);
    }
    builder.finish()
}

async fn append(broker: &Broker, partition: PartitionId, from: i64, records: i64) -> i64 {
    append_timed(broker, partition, (from, records), |at| at).await
}

/// Appends records that have these timestamps.
async fn append_timed(
    broker: &Broker,
    partition: PartitionId,
    (from, records): (i64, i64),
    time: fn(i64) -> i64,
) -> i64 {
    let batch = batch(partition.0, from, records, time);
    let part = AppendPartition {
        partition,
        batch,
        facts: Facts::without_any(u32::try_from(records).unwrap())
            .encode()
            .into(),
    };
    let reply = broker
        .ask(Request::Append(Append {
            partitions: vec![part],
        }))
        .await;
    let Some(Reply::Append(outcomes)) = reply else {
        panic!("{reply:?}")
    };
    outcomes[0].as_ref().unwrap().base.0
}

async fn ask_read(
    broker: &Broker,
    partition: PartitionId,
    offset: i64,
) -> Result<ReadOut, ReadRefusal> {
    let part = ReadPartition {
        partition,
        offset: Offset(offset),
        bytes_max: 30_000,
        leader_epoch: None,
        last_epoch: None,
    };
    let request = Request::Read(Read {
        partitions: vec![part],
        bytes_min: 0,
        wait_ms: 0,
        bytes_max: 1 << 20,
        isolation: Isolation::Uncommitted,
    });
    let Some(Reply::Read(mut outcomes)) = broker.ask(request).await else {
        panic!()
    };
    outcomes.swap_remove(0)
}

async fn read(broker: &Broker, partition: PartitionId, offset: i64) -> Vec<(i64, Bytes)> {
    let outcome = ask_read(broker, partition, offset).await.unwrap();
    let mut found = Vec::new();
    for bytes in &outcome.batches {
        let batch = Batch::check(bytes.clone()).unwrap();
        let records = batch.records(DecodeLimits::default()).unwrap();
        for record in records.iter() {
            found.push((records.offset(record.offset_delta).0, record.value.unwrap()));
        }
    }
    found
}

/// Everything of a partition from `start` on, checked to be without gaps.
async fn check(broker: &Broker, partition: PartitionId, start: i64, end: i64) {
    let mut next = start;
    while next < end {
        let found = read(broker, partition, next).await;
        assert!(
            !found.is_empty(),
            "nothing at {next} of partition {partition}, end {end}"
        );
        let wanted = next;
        for (offset, value) in found.into_iter().filter(|(offset, _)| *offset >= wanted) {
            assert_eq!(offset, next);
            let expected = format!("{}/{offset}/", partition.0);
            assert!(
                value.starts_with(expected.as_bytes()),
                "{offset} of {partition}"
            );
            next += 1;
        }
    }
    assert_eq!(next, end);
}

async fn create(broker: &Broker, settings: TopicSettings) -> Vec<PartitionId> {
    let name = TopicName::in_default("t");
    let topic = CreateTopic {
        name: name.clone(),
        partitions: Some(PARTITIONS),
        settings,
        id: TopicId(5),
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
    broker.catalog().topic(&name).unwrap().partitions.clone()
}

/// The records' timestamps are small numbers, so age would take them at once.
fn forever() -> TopicSettings {
    TopicSettings {
        retention_ms: None,
        ..TopicSettings::default()
    }
}

async fn find(broker: &Broker, partition: PartitionId, seek: Seek) -> Option<i64> {
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
    outcomes[0].as_ref().unwrap().offset.map(|offset| offset.0)
}

async fn trim(broker: &Broker, partition: PartitionId, to: i64) {
    let trim = Trim {
        partition,
        to: Some(Offset(to)),
    };
    let Some(Reply::Trim(outcomes)) = broker.ask(Request::Trim(vec![trim])).await else {
        panic!()
    };
    assert_eq!(outcomes[0], Ok(Offset(to)));
}

#[test]
fn what_was_acknowledged_is_read_from_every_kind_of_chunk_and_after_every_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = BTreeMap::new();
    for round in 0..5 {
        let broker = open(dir.path());
        runtime().block_on(async {
            tokio::select! {
                () = Arc::clone(&broker).tick_forever() => {}
                () = async {
                    let partitions = if round == 0 {
                        create(&broker, forever()).await
                    } else {
                        let name = TopicName::in_default("t");
                        broker.catalog().topic(&name).unwrap().partitions.clone()
                    };
                    for (id, end) in &ends {
                        check(&broker, *id, 0, *end).await;
                    }
                    for turn in 0..200 {
                        let id = partitions[turn % partitions.len()];
                        let end = ends.entry(id).or_insert(0);
                        let base = append(&broker, id, *end, 10).await;
                        assert_eq!(base, *end);
                        *end += 10;
                    }
                    for (id, end) in &ends {
                        check(&broker, *id, 0, *end).await;
                    }
                    // Every second round stops cleanly, the others just end.
                    if round % 2 == 0 {
                        broker.stop().await;
                    }
                } => {}
            }
        });
        end(broker);
    }
    assert!(files(dir.path(), ".sorted") > 0, "chunks were regrouped");
    let broker = open(dir.path());
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                let (id, end) = ends.iter_mut().next().unwrap();
                let written = || broker.keeper_figures().checkpoints.load(Ordering::Relaxed);
                // Two are kept, and one that no chunk names yet.
                while written() < 5 || files(dir.path(), ".checkpoint") > 3 {
                    assert!(*end < 300_000, "old checkpoints stay");
                    append(&broker, *id, *end, 10).await;
                    *end += 10;
                }
            } => {}
        }
    });
    end(broker);
}

#[test]
fn retention_and_trims_free_the_disk_and_survive_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    let mut kept = 0;
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                let settings = TopicSettings {
                    retention_bytes: Some(50_000),
                    ..forever()
                };
                let partitions = create(&broker, settings).await;
                let (big, small) = (partitions[0], partitions[1]);
                for turn in 0..600 {
                    append(&broker, big, turn * 10, 10).await;
                }
                append(&broker, small, 0, 10).await;
                wait("retention", || broker.partition_figures(big).unwrap().start.0 > 5_000).await;
                trim(&broker, small, 10).await;
                kept = broker.partition_figures(big).unwrap().start.0;
                check(&broker, big, kept, 6_000).await;
                // All but the newest chunks are given back.
                wait("old chunks to go", || files(dir.path(), ".log") < 8).await;
                check(&broker, big, kept, 6_000).await;
                broker.stop().await;
            } => {}
        }
    });
    end(broker);
    let broker = open(dir.path());
    runtime().block_on(async {
        let name = TopicName::in_default("t");
        let partitions = broker.catalog().topic(&name).unwrap().partitions.clone();
        let figures = broker.partition_figures(partitions[0]).unwrap();
        assert!(figures.start.0 >= kept);
        check(&broker, partitions[0], figures.start.0, 6_000).await;
        assert_eq!(
            broker.partition_figures(partitions[1]).unwrap().start,
            Offset(10)
        );
        for (seek, expected) in [
            (Seek::Time(5_995), Some(5_995)),
            (Seek::MaxTimestamp, Some(5_999)),
            (Seek::Time(6_000), None),
        ] {
            let found = find(&broker, partitions[0], seek).await;
            assert_eq!(found, expected, "{seek:?}");
        }
    });
    end(broker);
}

/// Times without any order, so that the largest of a place lies anywhere in it.
fn mixed(at: i64) -> i64 {
    at * 7_919 % 10_007
}

#[test]
fn a_search_by_time_counts_what_lies_above_the_log_start_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                let id = create(&broker, forever()).await[0];
                // Chunks are regrouped once the headers of later ones name checkpoints.
                let mut end = 0;
                while end < 4_000 || files(dir.path(), ".sorted") == 0 {
                    assert!(end < 200_000, "nothing is regrouped");
                    append_timed(&broker, id, (end, 10), mixed).await;
                    end += 10;
                }
                // In sorted chunks, in log chunks, and in memory; at batches and inside them.
                for start in (0..end - 50).step_by(97).chain(end - 50..end) {
                    trim(&broker, id, start).await;
                    let newest = (start..end).rev().max_by_key(|at| mixed(*at));
                    assert_eq!(find(&broker, id, Seek::MaxTimestamp).await, newest, "{start}");
                    for time in [0, 5_000, 9_900, 9_990, 10_004, 10_006, 10_007] {
                        let first = (start..end).find(|at| mixed(*at) >= time);
                        let found = find(&broker, id, Seek::Time(time)).await;
                        assert_eq!(found, first, "{time} from {start}");
                    }
                }
                broker.stop().await;
            } => {}
        }
    });
    end(broker);
}

#[test]
fn a_damaged_footer_of_an_old_chunk_needs_no_other_chunk_at_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open_with(dir.path(), |keeper| keeper.regroup_bytes = u64::MAX);
    let mut ids = Vec::new();
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                ids = create(&broker, forever()).await;
                for turn in 0..700 {
                    append(&broker, ids[turn % ids.len()], (turn / ids.len()) as i64 * 10, 10).await;
                }
                wait("checkpoints", || files(dir.path(), ".checkpoint") > 1).await;
                broker.stop().await;
            } => {}
        }
    });
    end(broker);
    let mut logs: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
        .collect();
    logs.sort();
    assert!(logs.len() > 4);
    let flip = |path: &Path, at: usize| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    // In the directory, which is all of the last page but the trailer; and in the chunk behind it the
    // header of an entry, over which no replay gets.
    let whole = std::fs::read(&logs[0]).unwrap();
    let directory = Footer::open(&*opened(dir.path(), &logs[0])).unwrap();
    let at = usize::try_from(directory.at).unwrap() + 4096 * directory.index_pages as usize;
    flip(&logs[0], at);
    flip(&logs[1], 4096 + 64 + 8);
    let broker = open_with(dir.path(), |keeper| keeper.regroup_bytes = u64::MAX);
    runtime().block_on(async {
        for id in &ids {
            assert_eq!(read(&broker, *id, 0).await[0].0, 0);
        }
    });
    end(broker);
    assert!(
        std::fs::read(&logs[0]).unwrap() == whole,
        "the footer is the one that was"
    );
}

#[test]
fn a_start_without_the_log_is_refused_and_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                let partitions = create(&broker, forever()).await;
                let mut next = 0;
                while files(dir.path(), ".sorted") == 0 {
                    append(&broker, partitions[0], next, 50).await;
                    next += 50;
                }
                broker.stop().await;
            } => {}
        }
    });
    end(broker);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "log") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let sorted = files(dir.path(), ".sorted");
    let disk: Arc<dyn Disk> = Arc::new(lock(dir.path()));
    let fault = start::read_back(&disk, &LaneOptions::default()).map(drop);
    assert_eq!(fault.unwrap_err().kind, FaultKind::Corrupt);
    assert_eq!(files(dir.path(), ".sorted"), sorted);
}

/// What is written while a pass goes on would all have to be replayed otherwise.
#[test]
fn checkpoints_do_not_wait_for_a_pass_that_takes_long() {
    let dir = tempfile::tempdir().unwrap();
    // The first pass would take a week.
    let broker = open_with(dir.path(), |keeper| keeper.regroup_bytes_per_second = 1);
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                let partitions = create(&broker, forever()).await;
                let figures = broker.keeper_figures();
                let mut next = 0;
                for checkpoints in 1..=20 {
                    let mut appended = 0;
                    while appended < 150_000 {
                        append(&broker, partitions[0], next, 50).await;
                        next += 50;
                        appended += 50 * 300;
                    }
                    let written = || figures.checkpoints.load(Ordering::Relaxed);
                    wait("a checkpoint", || written() >= checkpoints).await;
                }
                assert_eq!(figures.regroup_passes.load(Ordering::Relaxed), 0);
                broker.stop().await;
            } => {}
        }
    });
    end(broker);
}

fn opened(dir: &Path, path: &Path) -> Arc<ChunkFile> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let (chunk, kind) = parse_chunk_name(name).unwrap();
    Arc::new(ChunkFile::open(&lock(dir), chunk, kind).unwrap())
}

/// A disk that cannot make the removal of a chunk durable, and says so to who removed it and nobody else.
#[derive(Debug)]
struct Forgetful(RealDisk);

thread_local! {
    static REMOVED: Cell<bool> = const { Cell::new(false) };
}

impl Disk for Forgetful {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(name)
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.0.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)?;
        REMOVED.set(parse_chunk_name(name).is_some());
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        if REMOVED.replace(false) {
            return Err(io::Error::other("the directory is lost"));
        }
        self.0.sync_names()
    }

    fn space(&self) -> io::Result<Space> {
        self.0.space()
    }
}

/// The writer syncs the same directory, and the system tells of a failure once.
#[test]
fn a_failed_sync_of_names_is_fatal_if_the_keeper_made_it() {
    let dir = tempfile::tempdir().unwrap();
    let failed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&failed);
    let disk = Arc::new(Forgetful(lock(dir.path())));
    let on_fatal = Box::new(move |_: &_| told.store(true, Ordering::Relaxed));
    let broker = open_on(disk, busy_keeper(), on_fatal);
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                let settings = TopicSettings {
                    retention_bytes: Some(50_000),
                    ..forever()
                };
                let id = create(&broker, settings).await[0];
                let mut next = 0;
                while !failed.load(Ordering::Relaxed) {
                    assert!(next < 100_000, "nobody is told");
                    append(&broker, id, next, 10).await;
                    next += 10;
                }
                broker.stop().await;
            } => {}
        }
    });
    end(broker);
}

/// The files of one kind, in order.
fn named(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|kind| kind == extension))
        .collect();
    paths.sort();
    paths
}

/// Some batches of ten records, of which the second is damaged on disk at once; then so much of another
/// partition that a pass takes their log chunk. Says where the other one ends.
async fn damaged_by_a_pass(dir: &Path, broker: &Broker, ids: &[PartitionId], batches: i64) -> i64 {
    for at in 0..batches {
        append(broker, ids[0], at * 10, 10).await;
    }
    let log = named(dir, "log").swap_remove(0);
    let bytes = std::fs::read(&log).unwrap();
    let value = format!("{}/10/x", ids[0].0).into_bytes();
    let at = bytes.windows(value.len()).position(|w| w == value).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
    let mut end = 0;
    while log.exists() {
        assert!(end < 200_000, "nothing is regrouped");
        append(broker, ids[1], end, 10).await;
        end += 10;
    }
    end
}

async fn check_damaged(broker: &Broker, partition: PartitionId) {
    let (base, last) = (Offset(10), Offset(19));
    let damaged = ask_read(broker, partition, 10).await;
    assert_eq!(damaged.unwrap_err(), ReadRefusal::Damaged { base, last });
}

/// What a pass found damaged is in the footer that it wrote, and in no checkpoint yet.
#[test]
fn a_start_knows_what_a_pass_before_it_found_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ids, mut end_of_other) = (Vec::new(), 0);
    for round in 0..2 {
        let broker = open(dir.path());
        runtime().block_on(async {
            tokio::select! {
                () = Arc::clone(&broker).tick_forever() => {}
                () = async {
                    if round == 0 {
                        ids = create(&broker, forever()).await;
                        end_of_other = damaged_by_a_pass(dir.path(), &broker, &ids, 3).await;
                    }
                    check(&broker, ids[0], 0, 10).await;
                    check_damaged(&broker, ids[0]).await;
                    check(&broker, ids[0], 20, 30).await;
                    check(&broker, ids[1], 0, end_of_other).await;
                    broker.stop().await;
                } => {}
            }
        });
        end(broker);
    }
}

/// A chunk that holds only the record of what is damaged would be written anew with every look.
#[test]
fn a_chunk_of_nothing_but_damage_is_left_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ids, mut end_of_other) = (Vec::new(), 0);
    let broker = open(dir.path());
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                ids = create(&broker, forever()).await;
                end_of_other = damaged_by_a_pass(dir.path(), &broker, &ids, 2).await;
                trim(&broker, ids[1], end_of_other).await;
                trim(&broker, ids[0], 10).await;
                let small = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|m| m.len() < 20_000);
                wait("all but the damage to go", || {
                    let sorted = named(dir.path(), "sorted");
                    sorted.len() == 1 && sorted.iter().all(small)
                })
                .await;
                broker.stop().await;
            } => {}
        }
    });
    end(broker);
    let broker = open_with(dir.path(), |keeper| keeper.regroup_bytes = u64::MAX);
    let before = named(dir.path(), "sorted");
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                check_damaged(&broker, ids[0]).await;
                let written = || broker.keeper_figures().checkpoints.load(Ordering::Relaxed);
                // Between two checkpoints the keeper looks for chunks to be regrouped.
                while written() < 4 {
                    append(&broker, ids[1], end_of_other, 10).await;
                    end_of_other += 10;
                }
                assert_eq!(named(dir.path(), "sorted"), before);
                check_damaged(&broker, ids[0]).await;
                trim(&broker, ids[0], 20).await;
                wait("it to go with its offsets", || named(dir.path(), "sorted") != before).await;
                broker.stop().await;
            } => {}
        }
    });
    end(broker);
}
