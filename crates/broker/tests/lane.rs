//! The lane over a store that does one step at a time: what leaves when, and what replay makes of it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test fails the test"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mulgil_broker::core::machine::{Elapsed, Now, WallTime};
use mulgil_broker::group::{
    Command, CommitOffsets, Effect, Generation, GroupName, GroupRefusal, GroupReply, GroupRequest,
    Join, MemberId, Offered, OffsetEntry, OffsetKey, Waiter,
};
use mulgil_broker::lane::{ColdWork, Lane, LaneOptions, LogHead, Objects, Origin, Turn};
use mulgil_broker::request::{
    Append, AppendPartition, AppendRefusal, Appended, CreateRefusal, CreateTopic, CreateTopics,
    Reply, Request, Ticket, TopicRef,
};
use mulgil_broker::start;
use mulgil_log::checkpoint::CheckpointObject;
use mulgil_log::chunk::ChunkKind;
use mulgil_log::chunkset::ChunkInfo;
use mulgil_log::disk::{Disk, MemDisk};
use mulgil_log::index::Extent;
use mulgil_log::position::{ChunkId, Position};
use mulgil_log::recovery::{self, DamagedRange, Replay};
use mulgil_log::regroup::Regrouped;
use mulgil_log::store::{ChunkStore, Completion, StepStore, StoreOptions};
use mulgil_meta::schema::{Durability, TopicName, TopicSettings};
use mulgil_record::batch::BatchBuilder;
use mulgil_record::compression::Codec;
use mulgil_record::facts::Facts;
use mulgil_record::ids::{Offset, PartitionId, ProducerEpoch, ProducerId, TopicId};

#[path = "lane/dead_letters.rs"]
mod dead_letters;
#[path = "lane/facts.rs"]
mod facts;
#[path = "lane/groups.rs"]
mod groups;
#[path = "lane/limits.rs"]
mod limits;
#[path = "lane/refused.rs"]
mod refused;
#[path = "lane/subscriptions.rs"]
mod subscriptions;

const NOW: Now = Now {
    elapsed: Elapsed(1),
    wall: WallTime(1_000),
};
const ORIGIN: Origin = Origin {
    runtime: 0,
    connection: 1,
};
const TOPIC: TopicId = TopicId(7);
const PARTITION: PartitionId = PartitionId(1);

/// A lane, its store, and what the store has said and the lane has not heard.
struct World {
    disk: MemDisk,
    lane: Lane,
    store: StepStore,
    inbox: Arc<Mutex<VecDeque<Completion>>>,
    replies: Vec<(u64, Reply)>,
    /// What the read pool has to do, for who looks at it.
    cold: Vec<ColdWork>,
    asked: u64,
    now: Now,
}

impl World {
    /// Starts from `disk`, with these objects of a checkpoint, and replays the log from its first frame.
    fn start(disk: MemDisk, checkpoint: &[Objects]) -> Self {
        Self::start_with(disk, checkpoint, &LaneOptions::default())
    }

    fn start_with(disk: MemDisk, checkpoint: &[Objects], options: &LaneOptions) -> Self {
        Self::start_as(disk, checkpoint, options, NOW)
    }

    /// Starts at another time than the others.
    fn start_at(disk: MemDisk, now: Now) -> Self {
        Self::start_as(disk, &[], &LaneOptions::default(), now)
    }

    fn start_as(disk: MemDisk, checkpoint: &[Objects], options: &LaneOptions, now: Now) -> Self {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let found = start::read_back_by(&shared, options, |replayer, from| {
            for objects in checkpoint {
                for (kind, object, content) in &objects.objects {
                    replayer.load(&CheckpointObject {
                        kind: *kind,
                        object: *object,
                        good_for: objects.good_for,
                        content: Bytes::from(content.clone()),
                    })?;
                }
            }
            recovery::recover(&shared, replayer, from)
        });
        let found = found.unwrap();
        let head = LogHead {
            chunk: found.recovered.next_chunk,
            lsn: found.recovered.next_lsn,
            incarnation: found.recovered.incarnation + 1,
            previous_end: found.recovered.end,
            checkpoint: found.recovered.checkpoint,
            cluster: 1,
            secret: 5,
        };
        let inbox: Arc<Mutex<VecDeque<Completion>>> = Arc::default();
        let theirs = Arc::clone(&inbox);
        let complete = Arc::new(move |said| theirs.lock().unwrap().push_back(said));
        let mut world = Self {
            disk,
            lane: found.replayer.finish(head, now),
            store: StepStore::new(shared, StoreOptions::default(), complete),
            inbox,
            replies: Vec::new(),
            cold: Vec::new(),
            asked: 0,
            now,
        };
        world.visit(|lane, _| lane.begin(now));
        world.settle();
        world
    }

    fn visit(&mut self, visit: impl FnOnce(&mut Lane, &mut Turn)) {
        let mut turn = Turn::default();
        visit(&mut self.lane, &mut turn);
        if let Some(group) = self.lane.take_group(self.now) {
            self.store.submit(group);
        }
        self.cold.extend(turn.cold);
        let came = turn.replies.into_iter();
        self.replies
            .extend(came.map(|(to, reply)| (to.ticket.0, reply)));
    }

    /// Asks all of `requests` in one visit; their tickets follow one another, and the first is given.
    fn ask(&mut self, requests: Vec<Request>) -> u64 {
        let first = self.asked;
        self.asked += requests.len() as u64;
        let asks = (first..).map(Ticket).zip(requests);
        let now = self.now;
        self.visit(|lane, turn| lane.enter(ORIGIN, asks, now, turn));
        first
    }

    /// Lets the lane hear the next thing that the store says. Says whether there was one.
    fn hear(&mut self) -> bool {
        let next = self.inbox.lock().unwrap().pop_front();
        let Some(said) = next else {
            return self.store.step() && self.hear();
        };
        let now = self.now;
        self.visit(|lane, turn| lane.completed(said, now, turn));
        true
    }

    /// Lets so much time pass, by both clocks, and one tick come.
    fn pass(&mut self, ms: u64) {
        self.now.elapsed.0 += ms;
        self.now.wall.0 += ms;
        let now = self.now;
        self.visit(|lane, turn| lane.tick(now, turn));
        self.settle();
    }

    fn settle(&mut self) {
        while self.hear() {}
        assert!(self.lane.is_settled());
    }

    fn appended(&self, ticket: u64) -> Option<&Result<Appended, AppendRefusal>> {
        let (_, reply) = self.replies.iter().find(|(of, _)| *of == ticket)?;
        let Reply::Append(outcomes) = reply else {
            panic!("no answer to an append");
        };
        outcomes.first()
    }

    fn has_answer(&self, ticket: u64) -> bool {
        self.replies.iter().any(|(of, _)| *of == ticket)
    }

    /// Asks one thing and gives its answer, when all is synced.
    fn answer(&mut self, request: Request) -> Reply {
        let ticket = self.ask(vec![request]);
        self.settle();
        let at = self.replies.iter().position(|(of, _)| *of == ticket);
        self.replies.swap_remove(at.unwrap()).1
    }

    fn create(&mut self, durability: Durability) {
        let settings = TopicSettings {
            durability,
            ..TopicSettings::default()
        };
        let Reply::CreateTopics(created) = self.answer(create(TOPIC, 1, settings)) else {
            panic!("no answer to a creation");
        };
        created[0].as_ref().unwrap();
    }

    fn commit(&mut self, group: &GroupName, offset: i64) -> GroupReply {
        let entry = OffsetEntry {
            key: KEY,
            offset: Offset(offset),
            leader_epoch: None,
            metadata: "".into(),
            retention_ms: None,
        };
        self.command(
            group,
            Command::CommitOffsets(Box::new(CommitOffsets {
                member: None,
                instance: None,
                generation: Generation::NONE,
                entries: vec![entry],
            })),
        )
    }

    fn command(&mut self, group: &GroupName, command: Command) -> GroupReply {
        let group = Arc::clone(group);
        let ask = GroupRequest::Command { group, command };
        let Reply::Group(reply) = self.answer(Request::Group(ask)) else {
            panic!("no answer of a group");
        };
        reply
    }

    fn committed(&mut self, group: &GroupName) -> Option<i64> {
        let group = Arc::clone(group);
        let ask = GroupRequest::Offsets { group, keys: None };
        let Reply::Group(GroupReply::Offsets(found)) = self.answer(Request::Group(ask)) else {
            panic!("no offsets");
        };
        found.first().map(|(_, committed)| committed.offset.0)
    }

    /// Lets a mark say that all is synced.
    fn mark(&mut self) {
        let later = Now {
            elapsed: Elapsed(self.now.elapsed.0 + 1_000),
            ..self.now
        };
        self.visit(|lane, turn| lane.tick(later, turn));
        self.settle();
    }

    /// All objects of a checkpoint that is taken now. Before it a mark says that all is synced, as a
    /// header does in the life of a broker: positions in a checkpoint are those that stay.
    fn checkpoint(&mut self) -> Vec<Objects> {
        self.mark();
        let begun = self.lane.checkpoint_begin(self.now).objects;
        let partitions = self.lane.checkpoint_partitions(0, 100);
        let groups = self.lane.checkpoint_groups(0, 100);
        vec![begun, partitions, groups]
    }
}

const KEY: OffsetKey = OffsetKey {
    topic: TOPIC,
    partition: 0,
};

fn create(id: TopicId, partitions: u32, settings: TopicSettings) -> Request {
    Request::CreateTopics(CreateTopics {
        topics: vec![CreateTopic {
            name: TopicName::in_default(&format!("topic-{}", id.0)),
            partitions: Some(partitions),
            settings,
            id,
        }],
        validate_only: false,
    })
}

/// A batch that says it has so many records; the lane looks at no more than that.
fn append(records: i32) -> Request {
    append_bytes(records, 5)
}

fn append_bytes(records: i32, bytes: usize) -> Request {
    append_to(PARTITION, records, bytes)
}

fn append_to(partition: PartitionId, records: i32, bytes: usize) -> Request {
    let mut builder = BatchBuilder::new(Codec::None, 1_000);
    builder.push(1_000, None, Some(&vec![1; bytes]), &[]);
    let mut batch = builder.finish();
    batch.header.last_offset_delta = records - 1;
    Request::Append(Append {
        partitions: vec![AppendPartition {
            partition,
            batch,
            facts: Facts::without_any(1).encode().into(),
        }],
    })
}

#[test]
fn what_a_raise_of_the_same_group_has_reserved_waits_for_its_sync() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Os);
    world.answer(append(1));
    // The first of these is below what is synced and raises the ceiling; the second is above it.
    let first = world.ask(vec![append(600_000), append(600_000)]);
    while !world.has_answer(first) {
        assert!(world.hear());
    }
    assert!(
        !world.has_answer(first + 1),
        "its offsets may be given again"
    );
    world.settle();
    assert!(world.has_answer(first + 1));
}

#[test]
fn a_group_made_again_keeps_its_name_when_its_forerunner_is_replayed() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Fsync);
    let group = GroupName::from("billing");
    world.commit(&group, 5);
    world.command(&group, Command::Delete);
    assert_eq!(world.committed(&group), None);
    world.commit(&group, 8);
    let checkpoint = world.checkpoint();
    let mut world = World::start(world.disk, &checkpoint);
    assert_eq!(world.committed(&group), Some(8));
    world.commit(&group, 9);
    let mut world = World::start(world.disk, &[]);
    assert_eq!(world.committed(&group), Some(9));
}

#[test]
fn a_true_end_from_before_the_checkpoint_lowers_no_ceiling() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Os);
    world.answer(append(10));
    world.visit(|lane, _| lane.write_true_ends());
    world.settle();
    let mut world = World::start(world.disk, &[]);
    world.answer(append(1));
    let checkpoint = world.checkpoint();
    let reserved = world.lane.machine(PARTITION).unwrap().ceiling;
    assert!(reserved > Offset(1_000));
    let world = World::start(world.disk, &checkpoint);
    assert_eq!(world.lane.machine(PARTITION).unwrap().next, reserved);
}

#[test]
fn a_name_that_no_checkpoint_could_hold_is_no_groups_name() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Fsync);
    let longest = GroupName::from("g".repeat(32_767));
    assert!(matches!(world.commit(&longest, 1), GroupReply::Done(_)));
    let longer = GroupName::from("g".repeat(32_768));
    let refused = world.commit(&longer, 1);
    let GroupReply::Refused(GroupRefusal::NameTooLong { bytes, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(bytes, 32_768);
    assert_eq!(world.checkpoint()[2].objects.len(), 1);
}

#[test]
fn a_producer_in_memory_waits_for_a_disk_that_is_behind_and_is_refused_in_the_end() {
    let options = LaneOptions {
        hurry_bytes_max: 10_000,
        waiting_bytes_max: 30_000,
        ..LaneOptions::default()
    };
    let mut world = World::start_with(MemDisk::new(1), &[], &options);
    world.create(Durability::Memory);
    let thousands = |count| (0..count).map(|_| append_bytes(1, 1_000)).collect();
    // The first offsets are reserved. Then the store has a group, and whatever comes behind it waits.
    world.answer(append(1));
    world.ask(vec![append(1)]);
    let early = world.ask(thousands(5));
    assert!(world.has_answer(early + 4), "nothing to wait for");
    let late = world.ask(thousands(10));
    assert!(!world.has_answer(late + 9), "the disk is behind");
    let refused = world.ask(thousands(30)) + 29;
    assert!(matches!(
        world.appended(refused),
        Some(Err(AppendRefusal::Overloaded))
    ));
    world.settle();
    assert!(matches!(world.appended(late + 9), Some(Ok(_))));
    let again = world.ask(thousands(1));
    assert!(matches!(world.appended(again), Some(Ok(_))));
}

#[test]
fn a_member_says_a_bounded_amount_of_itself() {
    let mut world = World::start(MemDisk::new(1), &[]);
    let group = GroupName::from("large");
    let join = |bytes: usize| {
        Command::Join(Box::new(Join {
            waiter: Waiter(0),
            member: None,
            new_member: MemberId::from("member"),
            require_known_member: true,
            instance: None,
            client_id: "client".into(),
            client_host: "host".into(),
            protocol_type: "consumer".into(),
            offered: vec![Offered {
                name: "range".into(),
                metadata: Bytes::from(vec![0; bytes]),
            }],
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            can_skip_assignment: true,
        }))
    };
    let refused = world.command(&group, join((4 << 20) + 1));
    assert!(matches!(
        refused,
        GroupReply::Refused(GroupRefusal::TooLarge { .. })
    ));
    let named = world.command(&group, join(4 << 19));
    assert!(matches!(named, GroupReply::Done(Effect::Named { .. })));
}

#[test]
fn one_command_creates_a_bounded_number_of_partitions() {
    let mut world = World::start(MemDisk::new(1), &[]);
    let many = |from: u128, count: u128, partitions| {
        let topics = (from..from + count).map(|id| CreateTopic {
            name: TopicName::in_default(&format!("many-{id}")),
            partitions: Some(partitions),
            settings: TopicSettings::default(),
            id: TopicId(id),
        });
        Request::CreateTopics(CreateTopics {
            topics: topics.collect(),
            validate_only: false,
        })
    };
    let Reply::CreateTopics(refused) = world.answer(many(1, 101, 100)) else {
        panic!("no answer to a creation");
    };
    let too_many = CreateRefusal::TooMany {
        asked: 10_100,
        most: 10_000,
    };
    assert!(refused.iter().all(|r| r.as_ref().unwrap_err() == &too_many));
    let Reply::CreateTopics(created) = world.answer(many(1, 100, 100)) else {
        panic!("no answer to a creation");
    };
    assert!(created.iter().all(Result::is_ok));
}

#[test]
fn topics_that_go_together_are_forgotten_by_the_groups_that_read_them_and_by_no_others() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Fsync);
    let settings = TopicSettings::default();
    let more: Vec<_> = (8..12)
        .map(|id| create(TopicId(id), 1, settings.clone()))
        .collect();
    world.ask(more);
    world.settle();
    let (one, other) = (GroupName::from("one"), GroupName::from("other"));
    world.commit(&one, 5);
    world.commit(&other, 6);
    let names = (8..12).map(|id| TopicRef::Id(TopicId(id))).collect();
    world.answer(Request::DeleteTopics(names));
    assert_eq!(world.committed(&one), Some(5));
    assert_eq!(world.committed(&other), Some(6));
    let names = [7, 7, 8].map(|id| TopicRef::Id(TopicId(id)));
    let Reply::DeleteTopics(told) = world.answer(Request::DeleteTopics(names.to_vec())) else {
        panic!("no answer to a deletion");
    };
    assert!(told[0].is_ok() && told[1].is_err() && told[2].is_err());
    assert_eq!(world.committed(&one), None);
    assert_eq!(world.committed(&other), None);
}

#[test]
fn a_range_that_is_damaged_is_noted_once_however_often_it_is_found() {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new(1));
    let found = start::read_back_by(&disk, &LaneOptions::default(), |replayer, from| {
        let range = DamagedRange {
            partition: 1,
            base: 5,
            last: 9,
            at: Position::ZERO,
        };
        // As a checkpoint has it, and the log that is replayed behind it.
        for _ in 0..2 {
            let words = [1_u64, 5, 9, Position::ZERO.0];
            let content: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            replayer.load(&CheckpointObject {
                kind: 6,
                object: 0,
                good_for: Position::ZERO,
                content: Bytes::from(content),
            })?;
            Replay::damaged(replayer, range);
        }
        recovery::recover(&disk, replayer, from)
    });
    assert_eq!(found.unwrap().replayer.damaged().len(), 1);
}

/// A batch of one record, the one with this number that an idempotent producer writes.
fn append_sequence(sequence: i32) -> Request {
    let builder = BatchBuilder::new(Codec::None, 1_000);
    let mut builder = builder.producer(ProducerId(9), ProducerEpoch(0), sequence);
    builder.push(1_000, None, Some(SEQUENCED), &[]);
    let batch = builder.finish();
    Request::Append(Append {
        partitions: vec![AppendPartition {
            partition: PARTITION,
            batch,
            facts: Facts::without_any(1).encode().into(),
        }],
    })
}

const SEQUENCED: &[u8] = b"a record of an idempotent producer";

#[test]
fn a_producer_whose_last_batch_is_damaged_goes_on_behind_it() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Fsync);
    for sequence in 0..2 {
        world.answer(append_sequence(sequence));
    }
    world.mark();
    let files = world.disk.files();
    let mut found = files.iter().flat_map(|(name, bytes)| {
        let at = bytes.windows(SEQUENCED.len());
        let at = at.enumerate().filter(|(_, bytes)| *bytes == SEQUENCED);
        at.map(move |(at, _)| (name, at as u64))
    });
    let (name, at) = found.nth(1).unwrap();
    assert!(world.disk.flip(name, at, 0));
    let mut world = World::start(world.disk, &[]);
    assert_eq!(world.lane.machine(PARTITION).unwrap().next, Offset(2));
    let taken = world.ask(vec![append_sequence(2)]);
    world.settle();
    let taken = world.appended(taken).unwrap().as_ref().unwrap();
    assert_eq!(taken.base, Offset(2));
    // Once is enough.
    let refused = world.ask(vec![append_sequence(4)]);
    world.settle();
    assert!(world.appended(refused).unwrap().is_err());
}

/// What a pass has left: of each of the first five partitions ten offsets in this chunk.
fn pass_into(chunk: u32, bytes: u64, removed: &[ChunkId]) -> Regrouped {
    let chunk = ChunkId(chunk);
    let added = (1..=5).map(|partition| {
        let extent = Extent {
            chunk,
            slot: 0,
            first: 0,
            last: 9,
            bytes,
            max_timestamp: -1,
        };
        (partition, extent)
    });
    let kind = ChunkKind::Sorted;
    Regrouped {
        chunks: vec![ChunkInfo { chunk, kind, bytes }],
        added: added.collect(),
        removed: removed.to_vec(),
        ..Regrouped::default()
    }
}

fn take_over(lane: &mut Lane, pass: &Regrouped) {
    let mut from = Some(PartitionId(0));
    while let Some(id) = from {
        from = lane.regrouped(pass, id, 2);
    }
    lane.regrouped_all(pass);
}

#[test]
fn what_a_pass_has_written_is_taken_over_some_partitions_at_a_time() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.answer(create(TOPIC, 5, TopicSettings::default()));
    let bytes = |world: &World| {
        let bytes = (1..=5).map(|id| world.lane.partition_figures(PartitionId(id)).unwrap().bytes);
        bytes.collect::<Vec<_>>()
    };
    for id in 1..=5 {
        world.answer(append_to(PartitionId(id), 1, 5));
    }
    let own = bytes(&world)[0];
    take_over(&mut world.lane, &pass_into(50, 1_000, &[]));
    assert_eq!(bytes(&world), [own + 1_000; 5]);
    let slice = world.lane.pass_slice(&[ChunkId(50)], PartitionId(1), 2);
    assert_eq!(
        (slice.starts, slice.next),
        (vec![(1, 0), (2, 0)], Some(PartitionId(3)))
    );
    let pass = pass_into(51, 400, &[ChunkId(50)]);
    assert_eq!(
        world.lane.regrouped(&pass, PartitionId(0), 2),
        Some(PartitionId(3))
    );
    let taken = [400, 400, 1_000, 1_000, 1_000].map(|bytes| own + bytes);
    assert_eq!(bytes(&world), taken);
    assert_eq!(world.lane.regrouped(&pass, PartitionId(3), 3), None);
    assert_eq!(bytes(&world), [own + 400; 5]);
    world.mark();
    assert_eq!(world.lane.deletable(), [], "the chunk still counts");
    world.visit(|lane, _| lane.regrouped_all(&pass));
    world.settle();
    world.mark();
    assert_eq!(world.lane.deletable(), [ChunkId(50)]);
}

#[test]
fn damage_is_forgotten_with_what_it_lay_in() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Fsync);
    let range = DamagedRange {
        partition: PARTITION.0,
        base: 5,
        last: 9,
        at: Position::ZERO,
    };
    let mut pass = pass_into(50, 1_000, &[]);
    pass.damaged.push(range);
    take_over(&mut world.lane, &pass);
    world.lane.retain(PartitionId(0), 100, NOW);
    assert_eq!(world.lane.figures().damaged_ranges, 1);
    world.answer(Request::DeleteTopics(vec![TopicRef::Id(TOPIC)]));
    world.lane.retain(PartitionId(0), 100, NOW);
    assert_eq!(world.lane.figures().damaged_ranges, 0);
}

#[test]
fn records_without_a_timestamp_are_never_late_for_compaction() {
    let mut world = World::start(MemDisk::new(1), &[]);
    let mut settings = TopicSettings::default();
    settings.cleanup.compact = true;
    settings.max_compaction_lag_ms = 1_000;
    world.answer(create(TOPIC, 1, settings));
    let later = Now {
        wall: WallTime(NOW.wall.0 + 10_000),
        ..NOW
    };
    let without = |timestamp| {
        let mut builder = BatchBuilder::new(Codec::None, timestamp);
        builder.push(timestamp, Some(b"key"), Some(b"value"), &[]);
        Request::Append(Append {
            partitions: vec![AppendPartition {
                partition: PARTITION,
                batch: builder.finish(),
                facts: Facts::without_any(1).encode().into(),
            }],
        })
    };
    world.answer(without(-1));
    assert!(!world.lane.keyed(PartitionId(0), 10, later).hurry);
}
