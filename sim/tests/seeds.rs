//! Fixed seeds, which must keep every promise; others by `MULGIL_SIM_SEED=n` or `MULGIL_SIM_SEEDS=a..b`.

use core::ops::Range;

use mulgil_sim::run::{run, story};
use mulgil_sim::world::Options;

/// Seeds of an ordinary test run.
const SEEDS: Range<u64> = 0..400;
/// How much of the story of a failed seed is shown.
const LINES: usize = 60;

fn number(text: &str) -> u64 {
    text.trim().parse().expect("a seed is a number")
}

fn asked() -> Range<u64> {
    if let Ok(seed) = std::env::var("MULGIL_SIM_SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    match std::env::var("MULGIL_SIM_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("a range of seeds is a..b");
            number(from)..number(to)
        }
        Err(_) => SEEDS,
    }
}

#[test]
fn every_seed_keeps_all_promises() {
    let mut cuts = 0;
    for seed in asked() {
        let options = Options::of_seed(seed);
        let outcome = run(options);
        cuts += outcome.tally.cuts;
        if outcome.kept.is_err() {
            panic!("{}", story(options, LINES));
        }
    }
    assert!(cuts > 0 || asked().count() < 10, "something has happened");
}

#[test]
fn long_runs_keep_all_promises() {
    for seed in 0..12 {
        let options = Options {
            steps: 6_000,
            ..Options::of_seed(seed)
        };
        if run(options).kept.is_err() {
            panic!("{}", story(options, LINES));
        }
    }
}

/// Seeds that once failed; `docs/internals/bugs.md` says by what.
#[test]
fn seeds_that_failed_once_keep_all_promises() {
    let found = [
        (4, 1_200),
        (54, 1_200),
        (112, 1_200),
        (136, 1_200),
        (325, 6_000),
        (380, 1_200),
        (384, 1_200),
        (445, 1_200),
        (544, 1_200),
        (818, 1_200),
        (4_173, 1_200),
        (21_296, 1_200),
        (22_317, 1_200),
    ];
    for (seed, steps) in found {
        let options = Options {
            steps,
            ..Options::of_seed(seed)
        };
        if run(options).kept.is_err() {
            panic!("{}", story(options, LINES));
        }
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
    }
}
