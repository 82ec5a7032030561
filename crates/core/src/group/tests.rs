//! What scripts are too small to show: many members at once.

use std::format;

use super::*;
use alloc::boxed::Box;

use crate::machine::{After, Keep};

fn step(group: &mut Group, command: Command, ms: u64) -> Decision<Change, Effect> {
    let now = Now {
        elapsed: Elapsed(ms),
        wall: WallTime(ms),
    };
    let mut decision = Decision::default();
    group.decide(command, now, &mut decision).expect("taken");
    for (_, change) in &decision.changes {
        group.apply(change);
    }
    decision
}

fn join(number: u64, member: Option<MemberId>) -> Command {
    Command::Join(Box::new(Join {
        waiter: Waiter(number),
        member,
        new_member: MemberId::from(&*format!("m{number}")),
        instance: None,
        client_id: "c".into(),
        client_host: "h".into(),
        protocol_type: "consumer".into(),
        offered: Vec::from([Offered {
            name: "range".into(),
            metadata: Bytes::from_static(b"topics"),
        }]),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        require_known_member: false,
        can_skip_assignment: true,
    }))
}

fn claim(number: u64, generation: Generation) -> Claim {
    Claim {
        member: MemberId::from(&*format!("m{number}")),
        instance: None,
        generation,
    }
}

const MEMBERS: u64 = 5_000;

fn gathered() -> Group {
    let mut group = Group::new(GroupSettings::default());
    for number in 0..MEMBERS {
        step(&mut group, join(number, None), 0);
    }
    let decision = step(&mut group, Command::Tick, 3_000);
    assert!(decision.effects.is_empty(), "the delay is prolonged");
    let decision = step(&mut group, Command::Tick, 6_000);
    assert_eq!(decision.effects.len(), 5_000);
    group
}

#[test]
fn thousands_of_members_join_sync_and_rebalance() {
    let mut group = gathered();
    for number in (0..MEMBERS).rev() {
        let sync = Sync {
            waiter: Waiter(number),
            claim: claim(number, Generation(1)),
            protocol_type: None,
            protocol: None,
            assignments: Vec::new(),
        };
        step(&mut group, Command::Sync(Box::new(sync)), 6_000);
    }
    assert_eq!(group.state(), State::Stable);
    // The leader asks for a rebalance; the last one to come completes it.
    for number in 0..MEMBERS {
        let member = claim(number, Generation(1)).member;
        let decision = step(&mut group, join(number, Some(member)), 7_000);
        assert_eq!(decision.effects.is_empty(), number + 1 < MEMBERS);
    }
    assert_eq!(group.state(), State::CompletingRebalance);
    assert_eq!(group.generation(), Generation(2));
}

#[test]
fn thousands_of_sessions_end_a_part_at_a_time() {
    let mut group = gathered();
    let mut turns = 0;
    loop {
        turns += 1;
        if !step(&mut group, Command::Tick, 100_000).again {
            break;
        }
    }
    assert_eq!(turns, 5);
    assert_eq!(group.member_count(), 0);
}

#[test]
fn answers_wait_for_the_frame_only_if_it_holds_something() {
    let mut group = Group::new(GroupSettings::default());
    let decision = step(&mut group, join(0, None), 0);
    assert!(
        decision
            .changes
            .iter()
            .any(|(keep, _)| *keep == Keep::Waited)
    );
    let decision = step(&mut group, Command::Tick, 3_000);
    assert!(
        decision
            .effects
            .iter()
            .all(|(after, _)| *after == After::OwnFrame)
    );
    let heartbeat = Command::Heartbeat(claim(0, Generation(1)));
    let decision = step(&mut group, heartbeat, 3_000);
    assert!(
        decision
            .effects
            .iter()
            .all(|(after, _)| *after == After::WhatItRead)
    );
    assert!(
        decision
            .changes
            .iter()
            .all(|(keep, _)| *keep == Keep::Volatile)
    );
}

#[test]
fn many_who_say_little_are_bounded_together() {
    let settings = GroupSettings {
        group_bytes_max: 20_000,
        ..GroupSettings::default()
    };
    let mut group = Group::new(settings);
    let large = |number: u64, member: Option<MemberId>, bytes: usize| {
        let Command::Join(mut join) = join(number, member) else {
            unreachable!("it joins");
        };
        join.offered[0].metadata = Bytes::from(alloc::vec![0; bytes]);
        Command::Join(join)
    };
    let now = Now {
        elapsed: Elapsed(0),
        wall: WallTime(0),
    };
    let refused = |group: &Group, command| {
        let refused = group.decide(command, now, &mut Decision::default());
        matches!(refused, Err(GroupRefusal::TooLarge { .. }))
    };
    for number in 0..18 {
        step(&mut group, large(number, None, 1_000), 0);
    }
    assert!(refused(&group, large(18, None, 1_000)));
    // Who joins again takes its own place, and who leaves makes room.
    let same = MemberId::from("m3");
    step(&mut group, large(30, Some(same.clone()), 1_000), 0);
    assert!(refused(&group, large(31, Some(same.clone()), 3_000)));
    let leaving = Leaving {
        member: Some(same),
        instance: None,
    };
    step(&mut group, Command::Leave(Vec::from([leaving])), 0);
    step(&mut group, large(18, None, 1_000), 0);
}

fn commit(of: &[(i32, usize)]) -> Command {
    let entry = |(partition, note): &(i32, usize)| OffsetEntry {
        key: OffsetKey {
            topic: TopicId(1),
            partition: *partition,
        },
        offset: mulgil_record::ids::Offset(1),
        leader_epoch: None,
        metadata: "n".repeat(*note).into(),
        retention_ms: None,
    };
    Command::CommitOffsets(Box::new(CommitOffsets {
        member: None,
        instance: None,
        generation: Generation::NONE,
        entries: of.iter().map(entry).collect(),
    }))
}

/// What `command` leads to among groups that hold so much; the group's name has four bytes.
fn among(
    group: &mut Group,
    command: Command,
    groups: usize,
    bytes: usize,
) -> Result<Vec<Effect>, GroupRefusal> {
    let now = Now {
        elapsed: Elapsed(0),
        wall: WallTime(0),
    };
    let together = Together {
        groups,
        bytes,
        name_bytes: 4,
    };
    let mut decision = Decision::default();
    let decided = group.decide_among(command, now, together, &mut decision);
    assert!(decided.is_ok() || decision.changes.is_empty() && decision.effects.is_empty());
    decided?;
    for (_, change) in &decision.changes {
        group.apply(change);
    }
    Ok(decision.effects.into_iter().map(|(_, e)| e).collect())
}

#[test]
fn a_group_begins_only_where_there_is_room_for_one_more() {
    let settings = GroupSettings {
        groups_max: 3,
        held_bytes_max: 10_000,
        ..GroupSettings::default()
    };
    let mut group = Group::new(settings);
    let last = 10_000 - GROUP_BYTES - 4;
    for command in [join(0, None), commit(&[(0, 0)])] {
        let refused = among(&mut group, command.clone(), 3, 0);
        assert_eq!(refused, Err(GroupRefusal::TooManyGroups { max: 3 }));
        let refused = among(&mut group, command, 2, last + 1);
        assert_eq!(refused, Err(GroupRefusal::TooMuchHeld { max: 10_000 }));
    }
    // The group would fit, but its offset would not.
    let refused = among(&mut group, commit(&[(0, 0)]), 2, last);
    assert_eq!(refused, Err(GroupRefusal::TooMuchHeld { max: 10_000 }));
    assert_eq!(group.held_bytes(4), 0);
    among(&mut group, join(0, None), 2, last).expect("the last that fits");
    assert_eq!(group.held_bytes(4), GROUP_BYTES + 4);
    // To one that is there, others come, whatever all hold.
    among(&mut group, join(1, None), 9, 99_999).expect("a member of a group that exists");
}

#[test]
fn offsets_are_committed_anew_whatever_all_hold() {
    let settings = GroupSettings {
        held_bytes_max: 10_000,
        ..GroupSettings::default()
    };
    let mut group = Group::new(settings);
    among(&mut group, commit(&[(0, 30), (1, 30)]), 0, 0).expect("there is room");
    let held = group.held_bytes(4);
    assert_eq!(held, GROUP_BYTES + 4 + 2 * (OFFSET_BYTES + 30));
    let no_room = || Err(GroupRefusal::TooMuchHeld { max: 10_000 });
    let of = [(0, 30), (1, 31), (2, 0), (1, 29)];
    for bytes in [10_000, 99_999] {
        let effects = among(&mut group, commit(&of), 1, bytes).expect("some are taken");
        let expected = [Ok(()), no_room(), no_room(), Ok(())];
        assert_eq!(effects, [Effect::Committed(expected.to_vec())]);
    }
    assert_eq!(group.held_bytes(4), held - 1);
    // One commit fills the same room once, however often it names a key.
    let room = 10_000 - OFFSET_BYTES - 5;
    let of = [(7, 5), (7, 5), (7, 6), (8, 0)];
    let effects = among(&mut group, commit(&of), 1, room).expect("some are taken");
    let expected = [Ok(()), Ok(()), no_room(), no_room()];
    assert_eq!(effects, [Effect::Committed(expected.to_vec())]);
    assert_eq!(group.held_bytes(4), held - 1 + OFFSET_BYTES + 5);
}

#[test]
fn the_name_of_a_kind_of_group_is_short() {
    let Command::Join(mut join) = join(0, None) else {
        unreachable!("it joins");
    };
    join.protocol_type = "k".repeat(PROTOCOL_TYPE_BYTES_MAX + 1).into();
    let mut group = Group::new(GroupSettings::default());
    let refused = among(&mut group, Command::Join(join), 0, 0);
    assert!(matches!(refused, Err(GroupRefusal::TooLarge { .. })));
}
