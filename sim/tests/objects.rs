//! Fixed seeds over whole objects; others by `MULGIL_SIM_OBJECT_SEEDS=a..b`.

use core::ops::Range;

use mulgil_log::store::ObjectLie;
use mulgil_sim::object::{Options, Tally, run, story};
use mulgil_sim::violation::Rule;

/// Seeds of an ordinary test run.
const SEEDS: Range<u64> = 0..160;
/// Seeds after which a mistake must have been found.
const PLANTED_SEEDS: u64 = 120;
/// How much of the story of a failed seed is shown.
const LINES: usize = 60;

fn asked() -> Range<u64> {
    let Ok(range) = std::env::var("MULGIL_SIM_OBJECT_SEEDS") else {
        return SEEDS;
    };
    let (from, to) = range.split_once("..").expect("a range of seeds is a..b");
    let number = |text: &str| text.trim().parse().expect("a seed is a number");
    number(from)..number(to)
}

fn keeps(options: Options) -> Tally {
    let outcome = run(options);
    assert!(outcome.kept.is_ok(), "{}", story(options, LINES));
    outcome.tally
}

#[test]
fn every_seed_keeps_all_promises() {
    let mut all = Tally::default();
    for seed in asked() {
        let tally = keeps(Options::of_seed(seed));
        all.takeovers += tally.takeovers;
        all.fenced += tally.fenced;
        all.stale += tally.stale;
        all.late += tally.late;
        all.kept += tally.kept;
    }
    let happened = [all.takeovers, all.fenced, all.stale, all.late, all.kept];
    assert!(
        happened.iter().all(|count| *count > 100) || asked().count() < 100,
        "something has happened: {all:?}"
    );
}

#[test]
fn long_runs_keep_all_promises() {
    for seed in 0..4 {
        keeps(Options {
            steps: 6_000,
            ..Options::of_seed(seed)
        });
    }
}

#[test]
fn a_crash_after_any_step_leaves_what_was_promised() {
    for seed in 0..6 {
        let tally = keeps(Options {
            steps: 400,
            look_always: true,
            ..Options::of_seed(seed)
        });
        assert!(tally.looks >= 400, "{tally:?}");
    }
}

/// Seeds that once failed; `docs/internals/bugs.md` says by what.
#[test]
fn seeds_that_failed_once_keep_all_promises() {
    for seed in [0, 6, 374, 419, 2_027, 2_079] {
        keeps(Options::of_seed(seed));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 11] {
        let options = Options {
            trace: true,
            ..Options::of_seed(seed)
        };
        let (first, second) = (run(options), run(options));
        assert!(first.trace.len() > 200, "a run has a story");
        assert_eq!(first.trace, second.trace);
        assert_eq!(first.tally, second.tally);
    }
}

/// The rules that a mistake may break first.
///
/// One of the protocol may lose anything, and what is lost shows in whatever is looked at next.
const fn rules(planted: ObjectLie) -> &'static [Rule] {
    use Rule::{
        AsProduced, EpochRises, KeptRecords, LawOfRestart, NeverBack, NoDuplicate, OffsetOnce,
        OneFrame, OnlyTrimmed, Order, ProducerIdOnce, ReadsAll, Starts, Topics, ZombieSilent,
    };
    match planted {
        ObjectLie::AckBeforeCommit
        | ObjectLie::HeadBeforeBump
        | ObjectLie::IncarnationNotCompared
        | ObjectLie::RevisionNotCompared
        | ObjectLie::TimeoutTaken => &[
            EpochRises,
            KeptRecords,
            NeverBack,
            NoDuplicate,
            OffsetOnce,
            OneFrame,
            Order,
            ProducerIdOnce,
            Topics,
            ZombieSilent,
        ],
        ObjectLie::LostPutTaken
        | ObjectLie::GapCommitted
        | ObjectLie::OrphansRead
        | ObjectLie::GroupNamesShared => &[Starts, ReadsAll, KeptRecords, Topics],
        ObjectLie::ChunkNamesShared => &[
            Starts,
            ReadsAll,
            KeptRecords,
            AsProduced,
            LawOfRestart,
            // What was in the chunk that is gone gave offsets, which are given again; and partitions
            // begin where the records that are left begin.
            OffsetOnce,
            OnlyTrimmed,
            Topics,
        ],
    }
}

#[test]
fn every_planted_mistake_is_found() {
    for planted in ObjectLie::ALL {
        let found = (0..PLANTED_SEEDS).find_map(|seed| {
            let options = Options {
                planted: Some(planted),
                ..Options::of_seed(seed)
            };
            run(options).kept.err().map(|violation| (seed, violation))
        });
        let Some((seed, violation)) = found else {
            panic!("{planted:?} was not found in {PLANTED_SEEDS} seeds");
        };
        assert!(
            rules(planted).contains(&violation.rule),
            "{planted:?}, seed {seed}: {violation}"
        );
    }
}
