//! Batches that were refused for want of room, and what their producers have under way behind them.

use super::*;

/// Longer than a refused batch is remembered.
const LONG_MS: u64 = 11 * 60_000;

/// Ten records of a producer, from a sequence number on.
fn ten(producer: i64, first: i32) -> Request {
    let mut builder = BatchBuilder::new(Codec::None, 1_000);
    for _ in 0..10 {
        builder.push(1_000, None, Some(b"v"), &[]);
    }
    let builder = builder.producer(ProducerId(producer), ProducerEpoch(0), first);
    Request::Append(Append {
        partitions: vec![AppendPartition {
            partition: PARTITION,
            batch: builder.finish(),
            facts: Facts::without_any(1).encode().into(),
        }],
    })
}

/// Appends and says what became of it.
fn append_ten(world: &mut World, producer: i64, first: i32) -> Result<Offset, AppendRefusal> {
    let Reply::Append(mut outcomes) = world.answer(ten(producer, first)) else {
        panic!("no answer to an append");
    };
    outcomes.remove(0).map(|appended| appended.base)
}

fn full(world: &mut World, full: bool) {
    world.lane.set_full(full);
}

#[test]
fn a_refused_batch_that_nobody_could_remember_is_not_overtaken() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Fsync);
    assert_eq!(append_ten(&mut world, 1, 0), Ok(Offset(0)));
    full(&mut world, true);
    for stranger in 1_000..101_000 {
        assert!(append_ten(&mut world, stranger, 0).is_err());
    }
    assert_eq!(append_ten(&mut world, 2, 0), Err(AppendRefusal::DiskFull));
    full(&mut world, false);
    assert_eq!(
        append_ten(&mut world, 2, 10),
        Err(AppendRefusal::Overloaded)
    );
    // Who is known is judged by what is known, and nothing comes before a beginning.
    assert_eq!(append_ten(&mut world, 1, 10), Ok(Offset(10)));
    assert_eq!(append_ten(&mut world, 3, 0), Ok(Offset(20)));
    assert_eq!(append_ten(&mut world, 2, 0), Ok(Offset(30)));
    assert_eq!(append_ten(&mut world, 2, 10), Ok(Offset(40)));
}

#[test]
fn what_could_not_be_judged_is_taken_in_order_once_the_refused_are_forgotten() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Fsync);
    full(&mut world, true);
    for stranger in 1_000..101_000 {
        assert!(append_ten(&mut world, stranger, 0).is_err());
    }
    world.pass(LONG_MS / 2);
    assert!(
        append_ten(&mut world, 2, 500).is_err(),
        "and not remembered"
    );
    full(&mut world, false);
    world.pass(LONG_MS / 2);
    // There is room to remember again, but not for long enough.
    assert!(append_ten(&mut world, 2, 510).is_err());
    assert!(append_ten(&mut world, 2, 500).is_err());
    world.pass(LONG_MS / 2);
    assert!(append_ten(&mut world, 2, 510).is_err(), "it overtakes");
    assert_eq!(append_ten(&mut world, 2, 500), Ok(Offset(0)));
    assert_eq!(append_ten(&mut world, 2, 510), Ok(Offset(10)));
}

#[test]
fn a_disk_that_fills_up_anew_makes_nobody_forget_a_refused_batch() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Fsync);
    full(&mut world, true);
    assert!(append_ten(&mut world, 2, 0).is_err());
    full(&mut world, false);
    full(&mut world, true);
    full(&mut world, false);
    assert_eq!(
        append_ten(&mut world, 2, 10),
        Err(AppendRefusal::Overloaded)
    );
    assert_eq!(append_ten(&mut world, 2, 0), Ok(Offset(0)));
    assert_eq!(append_ten(&mut world, 2, 10), Ok(Offset(10)));
}

#[test]
fn a_refused_batch_that_never_comes_again_is_forgotten_in_the_end() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Fsync);
    full(&mut world, true);
    assert!(append_ten(&mut world, 2, 0).is_err());
    full(&mut world, false);
    assert!(append_ten(&mut world, 2, 10).is_err());
    world.pass(LONG_MS);
    assert_eq!(append_ten(&mut world, 2, 10), Ok(Offset(0)));
}

#[test]
fn an_older_incarnation_takes_no_refused_batch_of_a_newer_one_away() {
    let mut world = World::start(MemDisk::new(1), &[]);
    world.create(Durability::Fsync);
    let newer = |first| {
        let Request::Append(mut append) = ten(2, first) else {
            panic!("an append");
        };
        append.partitions[0].batch.header.producer_epoch = ProducerEpoch(1);
        Request::Append(append)
    };
    full(&mut world, true);
    world.answer(newer(0));
    assert!(append_ten(&mut world, 2, 70).is_err());
    full(&mut world, false);
    let Reply::Append(outcomes) = world.answer(newer(10)) else {
        panic!("no answer to an append");
    };
    assert_eq!(outcomes[0], Err(AppendRefusal::Overloaded));
}
