//! A wall clock that is set: nothing is given up by a date until it can be believed again.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test fails the test"
)]

use std::sync::Arc;

use bytes::Bytes;
use mulgil_broker::group::{
    Command, CommitOffsets, Generation, GroupReply, GroupRequest, OffsetEntry, OffsetKey,
};
use mulgil_broker::lane::{Lane, LaneOptions, LogHead, Origin, Turn};
use mulgil_broker::request::{
    Append, AppendPartition, CreateTopic, CreateTopics, Reply, Request, Ticket,
};
use mulgil_broker::start;
use mulgil_core::machine::{Elapsed, Now, WallTime};
use mulgil_log::disk::{Disk, MemDisk};
use mulgil_log::store::Completion;
use mulgil_meta::schema::{TopicName, TopicSettings};
use mulgil_record::batch::BatchBuilder;
use mulgil_record::compression::Codec;
use mulgil_record::ids::{Offset, PartitionId, ProducerEpoch, ProducerId, TopicId};

/// Some time in 2026, milliseconds since 1970.
const WALL_MS: u64 = 1_780_000_000_000;
const MINUTE_MS: u64 = 60_000;
/// Longer than anything is kept.
const MONTH_MS: u64 = 30 * 24 * 60 * MINUTE_MS;

/// `elapsed` after the start, with a wall clock that is `off`.
fn at(elapsed: u64, off: u64) -> Now {
    Now {
        elapsed: Elapsed(elapsed),
        wall: WallTime(WALL_MS + elapsed + off),
    }
}

fn lane() -> Lane {
    lane_with(&LaneOptions::default())
}

fn lane_with(options: &LaneOptions) -> Lane {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new(1));
    let found = start::read_back(&disk, options).unwrap();
    let recovered = found.recovered;
    let head = LogHead {
        chunk: recovered.next_chunk,
        lsn: recovered.next_lsn,
        incarnation: 1,
        previous_end: recovered.end,
        checkpoint: recovered.checkpoint,
        cluster: 1,
        secret: 5,
    };
    let mut lane = found.replayer.finish(head, at(0, 0));
    let mut turn = Turn::default();
    lane.begin(at(0, 0));
    settle(&mut lane, at(0, 0), &mut turn);
    lane
}

/// Syncs what there is to sync.
fn settle(lane: &mut Lane, now: Now, turn: &mut Turn) {
    while let Some(group) = lane.take_group(now) {
        let through = group.frames.last().unwrap().frame.end();
        lane.completed(Completion::Synced { through }, now, turn);
    }
}

fn ask(lane: &mut Lane, request: Request, now: Now) -> Reply {
    let from = Origin {
        runtime: 0,
        connection: 1,
    };
    let mut turn = Turn::default();
    lane.enter(from, [(Ticket(1), request)], now, &mut turn);
    settle(lane, now, &mut turn);
    turn.replies.pop().unwrap().1
}

/// A topic with a record of a producer, and a committed offset.
fn fill(lane: &mut Lane, now: Now) -> PartitionId {
    let topic = CreateTopic {
        name: TopicName::in_default("t"),
        partitions: Some(1),
        settings: TopicSettings::default(),
        id: TopicId(7),
    };
    let create = Request::CreateTopics(CreateTopics {
        topics: vec![topic],
        validate_only: false,
    });
    let Reply::CreateTopics(created) = ask(lane, create, now) else {
        panic!()
    };
    created[0].as_ref().unwrap();
    let partition = lane.catalog().topics.values().next().unwrap().partitions[0];
    let time = i64::try_from(now.wall.0).unwrap();
    let mut builder = BatchBuilder::new(Codec::None, time);
    builder.push(time, None, Some(b"v"), &[]);
    let batch = builder
        .producer(ProducerId(5), ProducerEpoch(0), 0)
        .finish();
    let part = AppendPartition {
        partition,
        batch,
        facts: Bytes::new(),
    };
    let append = Request::Append(Append {
        partitions: vec![part],
    });
    let Reply::Append(appended) = ask(lane, append, now) else {
        panic!()
    };
    appended[0].as_ref().unwrap();
    let entry = OffsetEntry {
        key: OffsetKey {
            topic: TopicId(7),
            partition: 0,
        },
        offset: Offset(1),
        leader_epoch: None,
        metadata: "".into(),
        retention_ms: None,
    };
    let commit = CommitOffsets {
        member: None,
        instance: None,
        generation: Generation(-1),
        entries: vec![entry],
    };
    let command = Command::CommitOffsets(Box::new(commit));
    let group = Arc::from("g");
    let commit = Request::Group(GroupRequest::Command { group, command });
    let Reply::Group(GroupReply::Done(_)) = ask(lane, commit, now) else {
        panic!()
    };
    partition
}

/// What is still there: records given up, producers known, offsets committed.
fn left(lane: &mut Lane, partition: PartitionId, now: Now) -> (u64, usize, usize) {
    let group = Arc::from("g");
    let offsets = Request::Group(GroupRequest::Offsets { group, keys: None });
    let Reply::Group(GroupReply::Offsets(offsets)) = ask(lane, offsets, now) else {
        panic!()
    };
    let producers = lane.machine(partition).unwrap().producers.len();
    (lane.figures().dropped.retention, producers, offsets.len())
}

/// All that happens by itself.
fn pass(lane: &mut Lane, now: Now) {
    let mut turn = Turn::default();
    lane.tick(now, &mut turn);
    lane.retain(PartitionId(0), 10, now);
    settle(lane, now, &mut turn);
}

#[test]
fn nothing_is_given_up_by_a_clock_that_was_set() {
    let mut lane = lane();
    let partition = fill(&mut lane, at(10, 0));
    assert_eq!(left(&mut lane, partition, at(20, 0)), (0, 1, 1));

    // Offsets are looked over every ten minutes.
    let stepped = at(11 * MINUTE_MS, MONTH_MS);
    pass(&mut lane, stepped);
    assert!(!lane.believes(stepped));
    assert_eq!(left(&mut lane, partition, stepped), (0, 1, 1));
    let later = at(60 * MINUTE_MS, MONTH_MS);
    pass(&mut lane, later);
    assert_eq!(left(&mut lane, partition, later), (0, 1, 1));

    let back = at(61 * MINUTE_MS, 0);
    assert!(lane.believes(back));
    pass(&mut lane, back);
    assert_eq!(left(&mut lane, partition, back), (0, 1, 1));
    let month = at(MONTH_MS, 0);
    pass(&mut lane, month);
    assert_eq!(left(&mut lane, partition, month), (1, 0, 0));
}

#[test]
fn producers_expire_by_running_time_whatever_the_wall_clock_says() {
    let mut lane = lane();
    let partition = fill(&mut lane, at(10, 0));
    let day = 24 * 60 * MINUTE_MS;
    let short = at(day, MONTH_MS);
    pass(&mut lane, short);
    assert_eq!(left(&mut lane, partition, short), (0, 1, 1));
    let over = at(day + MINUTE_MS, MONTH_MS);
    pass(&mut lane, over);
    assert!(!lane.believes(over));
    assert_eq!(left(&mut lane, partition, over), (0, 0, 1));
}

#[test]
fn how_far_a_clock_may_step_holds_for_all_dates() {
    let options = LaneOptions {
        clock_step_ms: MONTH_MS,
        ..LaneOptions::default()
    };
    let mut lane = lane_with(&options);
    let partition = fill(&mut lane, at(10, 0));
    // Believed: records and offsets have had their time.
    let stepped = at(11 * MINUTE_MS, MONTH_MS);
    pass(&mut lane, stepped);
    assert!(lane.believes(stepped));
    assert_eq!(left(&mut lane, partition, stepped), (1, 1, 0));
}
