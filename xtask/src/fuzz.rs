//! `cargo xtask fuzz`: libFuzzer over the targets of `fuzz/`, on the stable toolchain.
//!
//! Coverage comes from LLVM's own pass, which stable `rustc` can be asked for; only sanitizers need a
//! nightly, and there is no unsafe code to watch. What is found lands in the target folder, the inputs
//! that reach something new beside it; `docs/internals/fuzzing.md` says what goes to the corpus.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::tally::Tally;
use crate::{repo, run};

const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Counters at every edge, a table of them, and comparisons shown to the engine.
const COVERAGE: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Runs one target, or all, for `seconds` each.
pub(crate) fn run(target: Option<&str>, seconds: u64) -> Result<Tally> {
    let home = repo::target().join("fuzz");
    let engine = build(&home)?;
    let seeds = home.join("seeds");
    run::must("fuzz seeds", seeder().arg(&seeds), BUILD_LIMIT)?;
    let names = targets(&seeds)?;
    let names: Vec<_> = names
        .iter()
        .filter(|name| target.is_none_or(|wanted| wanted == *name))
        .collect();
    ensure!(!names.is_empty(), "there is no such target");
    let mut tally = Tally::default();
    for name in names {
        let [found, work] = ["found", "work"].map(|kind| home.join(kind).join(name));
        std::fs::create_dir_all(&found)?;
        std::fs::create_dir_all(&work)?;
        let mut command = Command::new(&engine);
        command
            .env("FUZZ_TARGET", name)
            .args([&work, &seeds.join(name)])
            .args(corpus(name))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", found.display()))
            .args(["-max_len=16384", "-timeout=5", "-rss_limit_mb=1024"]);
        let limit = Duration::from_secs(seconds + 60);
        let finished = run::watched(&format!("fuzz {name}"), &mut command, limit)?;
        if finished.good {
            println!("ok {name}");
            tally.add(Tally::passed());
        } else {
            run::show(name, &finished.output);
            tally.add(Tally::failed(format!(
                "fuzz {name}: see {}",
                found.display()
            )));
        }
    }
    Ok(tally)
}

fn build(home: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--package", "mulgil-fuzz", "--features", "engine"])
        .args(["--bin", "fuzz-engine", "--target", TRIPLE, "--target-dir"])
        .arg(home)
        .env("RUSTFLAGS", COVERAGE)
        .current_dir(repo::root());
    run::must("fuzz build", &mut cargo, BUILD_LIMIT)?;
    Ok(home.join(TRIPLE).join("debug/fuzz-engine"))
}

/// The program that writes the seeds, built without coverage.
fn seeder() -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["run", "--quiet", "--package", "mulgil-fuzz"])
        .args(["--bin", "fuzz-seeds", "--"])
        .current_dir(repo::root());
    cargo
}

/// Every target has a folder of seeds.
fn targets(seeds: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(seeds)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn corpus(name: &str) -> Option<PathBuf> {
    let folder = repo::root().join("fuzz/corpus").join(name);
    folder.is_dir().then_some(folder)
}
