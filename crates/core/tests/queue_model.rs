//! A subscription beside a naive model of it, under long random runs; the law of restart at every step.
//!
//! The model keeps a row for each record in a plain vector, and looks through all of it each time.
//! `QUEUE_STEPS` makes the runs longer, `QUEUE_SEED` runs one seed alone.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "what fails here is the test"
)]

#[path = "harness/law.rs"]
mod law;
#[path = "harness/queue_rows.rs"]
mod queue_rows;
#[path = "harness/queue_world.rs"]
mod queue_world;

use std::env;

use mulgil_core::queue::{Change, Durable};
use mulgil_record::facts::Columns;
use queue_world::World;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn a_subscription_is_as_naive_as_its_model() {
    let steps = number("QUEUE_STEPS").unwrap_or(2_000);
    let seeds = match number("QUEUE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..61,
    };
    for seed in seeds {
        let mut world = World::new(seed);
        for _ in 0..steps {
            world.step();
        }
    }
}

/// What a log that loses something leads to.
fn forgetful(change: &Change) -> Change {
    match change {
        Change::Durable(Durable::Released {
            span, not_before, ..
        }) => Change::Durable(Durable::Released {
            span: *span,
            failed: false,
            not_before: *not_before,
        }),
        other => other.clone(),
    }
}

/// The same of what is tracked.
fn untracking(change: &Change) -> Change {
    match change {
        Change::Durable(Durable::Tracking(_)) => Change::Durable(Durable::Tracking(Columns(0))),
        other => other.clone(),
    }
}

fn is_found(store: fn(&Change) -> Change) -> bool {
    let run = || {
        let mut world = World::with_store(1, store);
        for _ in 0..2_000 {
            world.step();
        }
    };
    std::panic::catch_unwind(run).is_err()
}

#[test]
fn planted_faults_are_found() {
    assert!(!is_found(Change::clone), "there is no fault");
    assert!(is_found(forgetful), "failures are lost");
    assert!(is_found(untracking), "what is tracked is lost");
}
