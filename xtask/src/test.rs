//! `cargo xtask test`: the quick whole, which is what CI runs.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::brokers::Kind;
use crate::tally::Tally;
use crate::{check, crash, groups, interop, liar, repo, run};

const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);
const TEST_LIMIT: Duration = Duration::from_secs(20 * 60);
const QUICK_ROUNDS: u32 = 10;

type Step = (&'static str, fn() -> Result<Tally>);

/// Every step, even after a failed one, so that one run tells all. The simulation's fixed seeds are
/// among the workspace's tests.
pub(crate) fn quick() -> Tally {
    let steps: [Step; 5] = [
        ("check", || Ok(check::all())),
        ("cargo test", cargo_tests),
        ("interop", || interop_with_mulgil(&[])),
        ("crash", || crash_with_mulgil(QUICK_ROUNDS)),
        ("liar", || liar::run(&liar::Options::images(QUICK_ROUNDS))),
    ];
    let mut tally = Tally::default();
    for (name, step) in steps {
        println!("== {name}");
        let started = Instant::now();
        let result = step().unwrap_or_else(|error| Tally::failed(format!("{name}: {error:#}")));
        println!(
            "== {name}: {} ({} s)",
            result.line(),
            started.elapsed().as_secs()
        );
        tally.add(result);
    }
    tally
}

/// `cargo test` over the workspace.
pub(crate) fn cargo_tests() -> Result<Tally> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["test", "--workspace", "--no-fail-fast"])
        .current_dir(repo::root());
    let finished = run::watched("cargo test", &mut cargo, TEST_LIMIT)?;
    let mut tally = Tally::of_libtest(&finished.output);
    if !finished.good {
        run::show("cargo test", &finished.output);
        if tally.good() {
            tally.add(Tally::failed(format!("cargo test: {}", finished.end)));
        }
    }
    Ok(tally)
}

/// Builds the broker as the workspace's tests do, so that nothing is compiled twice.
pub(crate) fn build() -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--workspace", "--bins"])
        .current_dir(repo::root());
    run::must("cargo build", &mut cargo, BUILD_LIMIT).map(drop)
}

/// Every client, and every check of it or those that are named.
pub(crate) fn interop_with_mulgil(checks: &[String]) -> Result<Tally> {
    build()?;
    interop::run(None, &Kind::Mulgil, checks)
}

/// Crash rounds with a seed from the clock.
pub(crate) fn crash_with_mulgil(rounds: u32) -> Result<Tally> {
    build()?;
    crash::run(rounds, &Kind::Mulgil, None)
}

/// Rounds of groups with a seed from the clock.
pub(crate) fn groups_with_mulgil(rounds: u32) -> Result<Tally> {
    build()?;
    groups::run(rounds, &Kind::Mulgil, None)
}
