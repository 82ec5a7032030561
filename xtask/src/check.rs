//! The checks that need no broker: formatting, lints, layers, tidiness.

use std::process::Command;
use std::time::Duration;

use crate::tally::Tally;
use crate::{repo, run};

const LIMIT: Duration = Duration::from_secs(20 * 60);

/// All of them.
pub(crate) fn all() -> Tally {
    let mut tally = tidy();
    tally.add(layers());
    tally.add(command("fmt", &["fmt", "--all", "--check"]));
    // A workspace of its own, so that nothing else here compiles what it needs.
    let apart = ["fmt", "--manifest-path", "interop/rust/Cargo.toml"];
    tally.add(command(
        "fmt of a client",
        &[&apart[..], &["--check"]].concat(),
    ));
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ];
    tally.add(command("clippy", &clippy));
    tally
}

/// `cargo xtask layers`.
pub(crate) fn layers() -> Tally {
    verdict("layers", crate::layers::problems())
}

/// `cargo xtask tidy`.
pub(crate) fn tidy() -> Tally {
    verdict("tidy", crate::tidy::problems())
}

fn verdict(name: &str, problems: anyhow::Result<Vec<String>>) -> Tally {
    let problems = problems.unwrap_or_else(|error| vec![format!("{error:#}")]);
    if problems.is_empty() {
        println!("ok {name}");
        return Tally::passed();
    }
    for problem in &problems {
        println!("{name}: {problem}");
    }
    Tally::failed(format!("{name}: {} problems", problems.len()))
}

fn command(name: &str, arguments: &[&str]) -> Tally {
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).current_dir(repo::root());
    match run::watched(name, &mut cargo, LIMIT) {
        Ok(finished) if finished.good => {
            println!("ok {name} ({} s)", finished.took.as_secs());
            Tally::passed()
        }
        Ok(finished) => {
            run::show(name, &finished.output);
            Tally::failed(format!("{name}: {}", finished.end))
        }
        Err(error) => Tally::failed(format!("{name}: {error:#}")),
    }
}
