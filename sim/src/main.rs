//! Runs seeds from the command line: `--seed N --trace`, `--seeds A..B`, `--steps N`, `--planted`,
//! `--store disk|object`.
#![expect(clippy::print_stdout, reason = "a command line tool prints")]

use std::process::ExitCode;

use mulgil_log::store::ObjectLie;
use mulgil_sim::planted::Planted;
use mulgil_sim::run::{run, story};
use mulgil_sim::violation::Kept;
use mulgil_sim::{object, world};

/// Which world.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    Disk,
    Object,
}

struct Asked {
    seeds: core::ops::Range<u64>,
    steps: u64,
    trace: bool,
    planted: bool,
    store: Store,
}

/// What came of a run over either store.
struct Done {
    kept: Kept,
    tally: String,
    trace: Vec<String>,
}

impl Asked {
    fn disk(&self, seed: u64, planted: Option<Planted>) -> world::Options {
        world::Options {
            seed,
            steps: self.steps,
            planted,
            trace: self.trace,
        }
    }

    fn object(&self, seed: u64, planted: Option<ObjectLie>) -> object::Options {
        object::Options {
            seed,
            steps: self.steps,
            planted,
            look_always: false,
            trace: self.trace,
        }
    }

    fn run(&self, seed: u64) -> Done {
        match self.store {
            Store::Disk => {
                let done = run(self.disk(seed, None));
                let tally = format!("{:?}", done.tally);
                Done {
                    kept: done.kept,
                    tally,
                    trace: done.trace,
                }
            }
            Store::Object => {
                let done = object::run(self.object(seed, None));
                let tally = format!("{:?}", done.tally);
                Done {
                    kept: done.kept,
                    tally,
                    trace: done.trace,
                }
            }
        }
    }

    fn story(&self, seed: u64, lines: usize) -> String {
        match self.store {
            Store::Disk => story(self.disk(seed, None), lines),
            Store::Object => object::story(self.object(seed, None), lines),
        }
    }
}

fn parse(arguments: &[String]) -> Result<Asked, String> {
    let mut asked = Asked {
        seeds: 0..100,
        steps: 1_200,
        trace: false,
        planted: false,
        store: Store::Disk,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = || -> Result<u64, String> {
            let text = rest
                .next()
                .ok_or_else(|| format!("{argument} wants a number"))?;
            text.parse().map_err(|_bad| format!("{text} is no number"))
        };
        match argument.as_str() {
            "--trace" => asked.trace = true,
            "--planted" => asked.planted = true,
            "--store" => {
                asked.store = match rest.next().map(String::as_str) {
                    Some("disk") => Store::Disk,
                    Some("object") => Store::Object,
                    _ => return Err("--store wants disk or object".to_owned()),
                };
            }
            "--seed" => {
                let seed = number()?;
                asked.seeds = seed..seed + 1;
            }
            "--steps" => asked.steps = number()?,
            "--seeds" => {
                let text = rest.next().ok_or("--seeds wants a range A..B")?;
                let (from, to) = text.split_once("..").ok_or("a range is A..B")?;
                let bound = |t: &str| t.parse::<u64>().map_err(|_bad| format!("{t} is no number"));
                asked.seeds = bound(from)?..bound(to)?;
            }
            other => return Err(format!("{other} is not known")),
        }
    }
    Ok(asked)
}

/// For each planted bug, how many seeds it took to find it, and as what.
fn hunt<P: Copy + core::fmt::Debug>(asked: &Asked, all: &[P], kept: impl Fn(u64, P) -> Kept) {
    for planted in all {
        let mut seeds = asked.seeds.clone();
        let found = seeds.find_map(|seed| Some((seed, kept(seed, *planted).err()?)));
        match found {
            Some((seed, violation)) => println!("{planted:?}: seed {seed}: {violation}"),
            None => println!("{planted:?}: NOT FOUND"),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = match parse(&arguments) {
        Ok(asked) => asked,
        Err(what) => {
            println!(
                "error: {what}; --seed N [--trace], --seeds A..B, --steps N, --planted, \
                 --store disk|object"
            );
            return ExitCode::FAILURE;
        }
    };
    std::panic::set_hook(Box::new(|_| ()));
    if asked.planted {
        match asked.store {
            Store::Disk => hunt(&asked, &Planted::ALL, |seed, planted| {
                run(asked.disk(seed, Some(planted))).kept
            }),
            Store::Object => hunt(&asked, &ObjectLie::ALL, |seed, planted| {
                object::run(asked.object(seed, Some(planted))).kept
            }),
        }
        return ExitCode::SUCCESS;
    }
    let mut failed = 0_u64;
    let mut done = 0_u64;
    for seed in asked.seeds.clone() {
        let outcome = asked.run(seed);
        done += 1;
        if asked.trace {
            println!("{}", outcome.trace.join("\n"));
            println!("{}", outcome.tally);
        }
        if let Err(violation) = outcome.kept {
            failed += 1;
            println!("seed {seed}: {violation}");
            if !asked.trace && failed <= 1 {
                println!("{}", asked.story(seed, 40));
            }
        }
    }
    println!("{} passed, {failed} failed", done - failed);
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
