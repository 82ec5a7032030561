//! Runs of seeds over whole objects, and what to say of one that failed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Options, Tally, World};
use crate::violation::{Kept, Rule, Violation};

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Whether all promises were kept.
    pub kept: Kept,
    /// What it did.
    pub tally: Tally,
    /// Its story, if it was kept.
    pub trace: Vec<String>,
}

/// Runs one seed. A panic of the broker is a violation as any other.
#[must_use]
pub fn run(options: Options) -> Outcome {
    let mut world = World::new(options);
    let kept = catch_unwind(AssertUnwindSafe(|| world.run()));
    let kept = kept.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(Violation::new(Rule::NoPanic, text.unwrap_or_default()))
    });
    Outcome {
        kept,
        tally: world.tally,
        trace: world.into_trace(),
    }
}

/// Runs a failed seed again for its story: the last lines, and what was broken.
#[must_use]
pub fn story(options: Options, lines: usize) -> String {
    let outcome = run(Options {
        trace: true,
        ..options
    });
    let from = outcome.trace.len().saturating_sub(lines);
    let tail = outcome.trace.get(from..).unwrap_or_default().join("\n");
    let verdict = outcome
        .kept
        .map_or_else(|v| v.to_string(), |()| "all kept".to_owned());
    format!("{tail}\nseed {} over objects: {verdict}", options.seed)
}
