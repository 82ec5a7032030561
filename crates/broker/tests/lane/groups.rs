//! Groups in the lane: what one visit does of their work, and what is refused without room.

use mulgil_broker::group::{Claim, Subscribed, Sync};

use super::*;

const MINUTE_MS: u64 = 60_000;
/// Longer than the offsets of an empty group are kept.
pub(crate) const WEEK_MS: u64 = 8 * 24 * 60 * MINUTE_MS;

/// Commits so many offsets of a topic from outside the group, each with so long a note.
fn commit_many(world: &mut World, group: &GroupName, topic: TopicId, offsets: i32, note: usize) {
    let entry = |partition| OffsetEntry {
        key: OffsetKey { topic, partition },
        offset: Offset(1),
        leader_epoch: None,
        metadata: "n".repeat(note).into(),
        retention_ms: None,
    };
    let commit = CommitOffsets {
        member: None,
        instance: None,
        generation: Generation::NONE,
        entries: (0..offsets).map(entry).collect(),
    };
    let done = world.command(group, Command::CommitOffsets(Box::new(commit)));
    assert!(matches!(done, GroupReply::Done(_)));
}

fn offsets_of(world: &World, group: &str) -> usize {
    let machine = world.lane.group_machine(group);
    machine.map_or(0, |machine| machine.offsets().count())
}

pub(crate) fn join() -> Command {
    Command::Join(Box::new(Join {
        waiter: Waiter(0),
        member: None,
        new_member: MemberId::from("m"),
        require_known_member: false,
        instance: None,
        client_id: "client".into(),
        client_host: "host".into(),
        protocol_type: "consumer".into(),
        offered: vec![Offered {
            name: "range".into(),
            metadata: Bytes::from_static(b"topics"),
        }],
        session_timeout_ms: 1_800_000,
        rebalance_timeout_ms: 1_800_000,
        can_skip_assignment: true,
    }))
}

fn claim() -> Claim {
    Claim {
        member: MemberId::from("m"),
        instance: None,
        generation: Generation(1),
    }
}

fn sync() -> Command {
    Command::Sync(Box::new(Sync {
        waiter: Waiter(0),
        claim: claim(),
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    }))
}

/// A member joins, and the wait for more of them is over.
pub(crate) fn gather(world: &mut World, group: &GroupName) {
    let ask = GroupRequest::Command {
        group: Arc::clone(group),
        command: join(),
    };
    let ticket = world.ask(vec![Request::Group(ask)]);
    world.settle();
    for _ in 0..2 {
        world.pass(3_000);
    }
    assert!(world.has_answer(ticket));
}

#[test]
fn one_tick_gives_up_a_bounded_number_of_offsets() {
    let mut world = World::start(MemDisk::new(1), &[]);
    let group = GroupName::from("g");
    commit_many(&mut world, &group, TOPIC, 20_000, 0);
    let mut left = offsets_of(&world, "g");
    let (mut wait_ms, mut ticks) = (WEEK_MS, 0);
    while left > 0 {
        world.pass(std::mem::replace(&mut wait_ms, 1));
        ticks += 1;
        let now = offsets_of(&world, "g");
        assert!(left - now <= 4_096, "{} at once", left - now);
        left = now;
        let due = world.lane.deadline().map(|due| due.0);
        let soon = world.now.elapsed.0 + 1;
        assert!(left == 0 || due.is_some_and(|due| due <= soon), "{due:?}");
    }
    assert_eq!(ticks, 5);
}

#[test]
fn one_tick_looks_over_a_bounded_number_of_groups() {
    let mut world = World::start(MemDisk::new(1), &[]);
    for number in 0..1_000 {
        let group = GroupName::from(format!("g{number}"));
        commit_many(&mut world, &group, TOPIC, 1, 0);
    }
    let offsets = |world: &World| {
        let machines = world.lane.group_machines();
        machines.map(|(_, machine)| machine.offsets().count()).sum()
    };
    let mut left: usize = offsets(&world);
    let mut wait_ms = WEEK_MS;
    while left > 0 {
        world.pass(std::mem::replace(&mut wait_ms, 1));
        let now = offsets(&world);
        assert!(left - now <= 64, "{} at once", left - now);
        left = now;
    }
}

#[test]
fn a_start_looks_over_no_offsets_before_it_serves() {
    let mut world = World::start(MemDisk::new(1), &[]);
    commit_many(&mut world, &GroupName::from("g"), TOPIC, 5_000, 0);
    world.mark();
    let disk = world.disk.clone();
    let week = Now {
        elapsed: Elapsed(NOW.elapsed.0 + WEEK_MS),
        wall: WallTime(NOW.wall.0 + WEEK_MS),
    };
    let mut world = World::start_at(disk, week);
    assert_eq!(offsets_of(&world, "g"), 5_000);
    world.pass(1);
    assert_eq!(offsets_of(&world, "g"), 5_000 - 4_096);
    world.pass(1);
    assert_eq!(offsets_of(&world, "g"), 0);
}

#[test]
fn an_assignment_is_refused_when_the_reserve_is_used_up() {
    let mut world = World::start(MemDisk::new(1), &[]);
    let group = GroupName::from("g");
    gather(&mut world, &group);
    world.lane.set_full(true);
    world.lane.set_exhausted(true);
    let refused = world.command(&group, sync());
    assert!(matches!(refused, GroupReply::DiskFull), "{refused:?}");
    let alive = world.command(&group, Command::Heartbeat(claim()));
    assert!(matches!(alive, GroupReply::Done(Effect::Alive { .. })));
    world.lane.set_exhausted(false);
    let synced = world.command(&group, sync());
    assert!(matches!(synced, GroupReply::Done(Effect::Synced { .. })));
    // What is written down already is told without room, too.
    world.lane.set_exhausted(true);
    let told = world.command(&group, sync());
    assert!(matches!(told, GroupReply::Done(Effect::Synced { .. })));
}

#[test]
fn a_slice_of_a_checkpoint_of_groups_is_bounded_by_bytes() {
    let mut world = World::start(MemDisk::new(1), &[]);
    for number in 0..20 {
        let group = GroupName::from(format!("g{number}"));
        commit_many(&mut world, &group, TOPIC, 80, 4_096);
    }
    world.mark();
    let mut from = Some(0);
    let mut found = Vec::new();
    while let Some(at) = from {
        let slice = world.lane.checkpoint_groups(at, 512);
        let bytes: usize = slice.objects.iter().map(|(_, _, page)| page.len()).sum();
        assert!(bytes < 2 << 20, "{bytes} bytes at once");
        found.extend(slice.objects.iter().map(|(_, id, _)| *id));
        from = slice.next;
    }
    assert_eq!(found, (1..=20).collect::<Vec<_>>());
}

#[test]
fn offsets_that_a_living_group_does_not_read_expire_some_at_a_time() {
    let mut world = World::start(MemDisk::new(1), &[]);
    let group = GroupName::from("g");
    let read = TopicId(8);
    commit_many(&mut world, &group, TOPIC, 5_000, 0);
    commit_many(&mut world, &group, read, 10, 0);
    gather(&mut world, &group);
    let synced = world.command(&group, sync());
    assert!(matches!(synced, GroupReply::Done(_)));
    let expire = || {
        Command::ExpireUnread(Subscribed {
            generation: Generation(1),
            topics: vec![read],
        })
    };
    let mut left = 5_010;
    for day in 0..9 {
        if day > 0 {
            // A member lives as long as it says so.
            for _ in 0..48 {
                let _alive = world.command(&group, Command::Heartbeat(claim()));
                world.pass(30 * MINUTE_MS - 1);
            }
        }
        let mut more = true;
        while more {
            let reply = world.command(&group, expire());
            let GroupReply::Done(Effect::UnreadExpired { more: rest }) = reply else {
                panic!("{reply:?}");
            };
            more = rest;
            let now = offsets_of(&world, "g");
            assert!(left - now <= 4_096, "{} at once", left - now);
            left = now;
        }
        assert_eq!(left, if day < 7 { 5_010 } else { 10 }, "day {day}");
    }
}
