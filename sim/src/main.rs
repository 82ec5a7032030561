//! Runs seeds from the command line: `--seed N --trace`, `--seeds A..B`, `--steps N`, `--planted`.
#![expect(clippy::print_stdout, reason = "a command line tool prints")]

use std::process::ExitCode;

use mulgil_sim::planted::Planted;
use mulgil_sim::run::{run, story};
use mulgil_sim::world::Options;

struct Asked {
    seeds: core::ops::Range<u64>,
    steps: u64,
    trace: bool,
    planted: Vec<Planted>,
}

fn parse(arguments: &[String]) -> Result<Asked, String> {
    let mut asked = Asked {
        seeds: 0..100,
        steps: 1_200,
        trace: false,
        planted: Vec::new(),
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
            "--planted" => asked.planted = Planted::ALL.to_vec(),
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
fn hunt(asked: &Asked) {
    for planted in &asked.planted {
        let found = asked.seeds.clone().find_map(|seed| {
            let options = Options {
                planted: Some(*planted),
                steps: asked.steps,
                ..Options::of_seed(seed)
            };
            run(options).kept.err().map(|violation| (seed, violation))
        });
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
            println!("error: {what}; --seed N [--trace], --seeds A..B, --steps N, --planted");
            return ExitCode::FAILURE;
        }
    };
    std::panic::set_hook(Box::new(|_| ()));
    if !asked.planted.is_empty() {
        hunt(&asked);
        return ExitCode::SUCCESS;
    }
    let mut failed = 0_u64;
    let mut done = 0_u64;
    for seed in asked.seeds.clone() {
        let options = Options {
            steps: asked.steps,
            trace: asked.trace,
            ..Options::of_seed(seed)
        };
        let outcome = run(options);
        done += 1;
        if asked.trace {
            println!("{}", outcome.trace.join("\n"));
            println!("{:?}", outcome.tally);
        }
        if let Err(violation) = outcome.kept {
            failed += 1;
            println!("seed {seed}: {violation}");
            if !asked.trace && failed <= 1 {
                println!("{}", story(options, 40));
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
