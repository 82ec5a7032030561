//! Groups in the lane: what all of them hold has bounds, and is counted exactly, whatever happens.

use mulgil_broker::core::group::{GROUP_BYTES, OFFSET_BYTES};
use mulgil_broker::group::{DeleteOffsets, Leaving};
use mulgil_broker::lane::GroupFigures;
use proptest::collection::vec;
use proptest::prelude::*;

use super::groups::{WEEK_MS, gather, join};
use super::*;

fn bounded(groups: usize, bytes: usize) -> LaneOptions {
    let mut options = LaneOptions::default();
    options.groups.groups_max = groups;
    options.groups.held_bytes_max = bytes;
    options
}

fn key(partition: i32) -> OffsetKey {
    OffsetKey {
        topic: TOPIC,
        partition,
    }
}

/// Commits offsets of these partitions, each with so long a note, from outside the group.
fn commit(of: &[(i32, usize)]) -> Command {
    let entry = |(partition, note): &(i32, usize)| OffsetEntry {
        key: key(*partition),
        offset: Offset(1),
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

fn delete_offset(partition: i32) -> Command {
    Command::DeleteOffsets(DeleteOffsets {
        keys: vec![key(partition)],
        subscribed: None,
    })
}

/// What became of each offset of a commit: taken, or refused because there is no room.
fn taken(reply: GroupReply) -> Vec<bool> {
    let GroupReply::Done(Effect::Committed(results)) = reply else {
        panic!("{reply:?}");
    };
    let one = |result: Result<(), GroupRefusal>| match result {
        Ok(()) => true,
        Err(GroupRefusal::TooMuchHeld { .. }) => false,
        Err(other) => panic!("{other:?}"),
    };
    results.into_iter().map(one).collect()
}

/// Counts anew what the groups hold.
fn recount(lane: &Lane) -> (usize, usize) {
    let of = lane.group_machines().map(|(name, machine)| {
        let notes = machine
            .offsets()
            .map(|(_, c)| OFFSET_BYTES + c.metadata.len());
        GROUP_BYTES + name.len() + notes.sum::<usize>()
    });
    let of: Vec<usize> = of.collect();
    (of.len(), of.iter().sum())
}

fn held(lane: &Lane) -> (usize, usize) {
    let GroupFigures { groups, bytes, .. } = lane.group_figures();
    (groups, bytes)
}

#[test]
fn there_are_so_many_groups_and_no_more() {
    let options = bounded(2, usize::MAX);
    let mut world = World::start_with(MemDisk::new(1), &[], &options);
    let [one, two, three] = ["one", "two", "three"].map(GroupName::from);
    assert_eq!(taken(world.command(&one, commit(&[(0, 0)]))), [true]);
    gather(&mut world, &two);
    assert!(!world.lane.groups_are_full(), "nothing was refused");
    let before = held(&world.lane);
    for command in [commit(&[(0, 0)]), join()] {
        let reply = world.command(&three, command);
        let GroupReply::Refused(GroupRefusal::TooManyGroups { max: 2 }) = reply else {
            panic!("{reply:?}");
        };
    }
    assert!(
        world.lane.group_machine("three").is_none(),
        "a trace is left"
    );
    assert_eq!(held(&world.lane), before);
    assert!(world.lane.groups_are_full());
    // Whoever is there goes on, and room that is made is used.
    assert_eq!(taken(world.command(&one, commit(&[(1, 9)]))), [true]);
    let gone = world.command(&one, Command::Delete);
    assert!(matches!(gone, GroupReply::Done(Effect::Deleted)));
    // Told once more, so that whoever looks now and then does not miss what was short.
    assert!(world.lane.groups_are_full());
    assert!(!world.lane.groups_are_full());
    assert_eq!(taken(world.command(&three, commit(&[(0, 0)]))), [true]);
    // The bound counts what the log has after a start, too.
    world.mark();
    let now = world.now;
    let mut world = World::start_as(world.disk, &[], &options, now);
    let refused = world.command(&one, join());
    assert!(matches!(
        refused,
        GroupReply::Refused(GroupRefusal::TooManyGroups { .. })
    ));
}

#[test]
fn names_and_offsets_of_all_groups_take_so_much_and_no_more() {
    let most = 2 * (GROUP_BYTES + 3) + 3 * OFFSET_BYTES + 100;
    let mut world = World::start_with(MemDisk::new(1), &[], &bounded(100, most));
    let [one, two, long] = ["one", "two", "much longer"].map(GroupName::from);
    assert_eq!(
        taken(world.command(&one, commit(&[(0, 50), (1, 0)]))),
        [true, true]
    );
    // A group that would begin with less than was asked for does not begin.
    let refused = world.command(&two, commit(&[(0, 0), (1, 51)]));
    assert!(matches!(
        refused,
        GroupReply::Refused(GroupRefusal::TooMuchHeld { .. })
    ));
    assert!(world.lane.group_machine("two").is_none(), "a trace is left");
    assert_eq!(taken(world.command(&two, commit(&[(0, 40)]))), [true]);
    let refused = world.command(&long, join());
    assert!(matches!(
        refused,
        GroupReply::Refused(GroupRefusal::TooMuchHeld { .. })
    ));
    // What is new or longer is refused; what is there is committed anew beside it.
    let of = [(0, 40), (5, 0), (1, 21), (1, 0), (0, 50)];
    assert_eq!(
        taken(world.command(&one, commit(&of))),
        [true, false, false, true, true]
    );
    assert_eq!(held(&world.lane).1, most - 10);
    assert!(world.lane.groups_are_full());
    let done = world.command(&one, delete_offset(0));
    assert!(matches!(done, GroupReply::Done(Effect::OffsetsDeleted(_))));
    assert_eq!(
        taken(world.command(&two, commit(&[(7, 60), (7, 60)]))),
        [true, true]
    );
    assert_eq!(held(&world.lane), recount(&world.lane));
}

#[test]
fn under_a_lowered_bound_groups_go_on_and_shrink() {
    let mut world = World::start(MemDisk::new(1), &[]);
    let group = GroupName::from("g");
    let three = [(0, 10), (1, 10), (2, 10)];
    assert_eq!(taken(world.command(&group, commit(&three))), [true; 3]);
    world.mark();
    let mut world = World::start_with(world.disk, &[], &bounded(0, 0));
    assert_eq!(held(&world.lane), recount(&world.lane));
    let of = [(0, 10), (1, 9), (2, 11), (3, 0)];
    assert_eq!(
        taken(world.command(&group, commit(&of))),
        [true, true, false, false]
    );
    gather(&mut world, &group);
    let leaving = Leaving {
        member: Some(MemberId::from("m")),
        instance: None,
    };
    world.command(&group, Command::Leave(vec![leaving]));
    world.command(&group, delete_offset(0));
    world.pass(WEEK_MS);
    world.pass(WEEK_MS);
    assert_eq!(held(&world.lane), (0, 0), "what expires, expires");
}

#[derive(Clone, Debug)]
enum Step {
    Commit { group: usize, of: Vec<(i32, usize)> },
    Join { group: usize },
    Leave { group: usize },
    DeleteOffset { group: usize, partition: i32 },
    Delete { group: usize },
    DeleteTopic,
    Pass { ms: u64 },
    Restart { from_checkpoint: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let group = 0..6usize;
    let of = vec((0..4, 0..60usize), 1..5);
    prop_oneof![
        8 => (group.clone(), of).prop_map(|(group, of)| Step::Commit { group, of }),
        3 => group.clone().prop_map(|group| Step::Join { group }),
        2 => group.clone().prop_map(|group| Step::Leave { group }),
        3 => (group.clone(), 0..4)
            .prop_map(|(group, partition)| Step::DeleteOffset { group, partition }),
        2 => group.prop_map(|group| Step::Delete { group }),
        1 => Just(Step::DeleteTopic),
        3 => prop_oneof![Just(3_000), Just(700_000), Just(WEEK_MS)]
            .prop_map(|ms| Step::Pass { ms }),
        2 => any::<bool>().prop_map(|from_checkpoint| Step::Restart { from_checkpoint }),
    ]
}

const MOST: usize = 4 * (GROUP_BYTES + 8 + OFFSET_BYTES);

fn carry_out(mut world: World, step: &Step, options: &LaneOptions) -> World {
    let named = |group: usize| GroupName::from("g".repeat(group + 1));
    let command = |world: &mut World, group: usize, command| {
        let _any = world.command(&named(group), command);
    };
    match step {
        Step::Commit { group, of } => command(&mut world, *group, commit(of)),
        Step::Join { group } => {
            // Its answer may come much later, or never.
            let ask = GroupRequest::Command {
                group: named(*group),
                command: join(),
            };
            world.ask(vec![Request::Group(ask)]);
            world.settle();
        }
        Step::Leave { group } => {
            let leaving = Leaving {
                member: Some(MemberId::from("m")),
                instance: None,
            };
            command(&mut world, *group, Command::Leave(vec![leaving]));
        }
        Step::DeleteOffset { group, partition } => {
            command(&mut world, *group, delete_offset(*partition));
        }
        Step::Delete { group } => command(&mut world, *group, Command::Delete),
        Step::DeleteTopic => {
            world.answer(Request::DeleteTopics(vec![TopicRef::Id(TOPIC)]));
        }
        Step::Pass { ms } => world.pass(*ms),
        Step::Restart { from_checkpoint } => {
            let now = world.now;
            let objects = world.checkpoint();
            let objects = if *from_checkpoint {
                objects
            } else {
                Vec::new()
            };
            return World::start_as(world.disk, &objects, options, now);
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sums_equal_a_recount_after_random_steps(steps in vec(step(), 1..60)) {
        let options = bounded(4, MOST);
        let mut world = World::start_with(MemDisk::new(1), &[], &options);
        world.create(Durability::Fsync);
        for step in steps {
            world = carry_out(world, &step, &options);
            prop_assert_eq!(held(&world.lane), recount(&world.lane), "{:?}", step);
            let (groups, bytes) = held(&world.lane);
            prop_assert!(groups <= 4 && bytes <= MOST, "{} groups, {} bytes", groups, bytes);
        }
    }
}
