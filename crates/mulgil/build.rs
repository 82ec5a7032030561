//! Tells a release build which commit it is made from, for `mulgil --version`.
//!
//! Development builds do not ask: the answer changes with every commit, and with it all of this crate
//! and its tests would be compiled anew. Where there is no repository, as in an unpacked archive,
//! `MULGIL_COMMIT` can say it.

use std::path::Path;
use std::process::Command;

/// What a build is made of, from this crate's folder: what changes elsewhere makes no other program.
const SOURCES: [&str; 4] = ["..", "../../Cargo.toml", "../../Cargo.lock", "../../.cargo"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MULGIL_COMMIT");
    let told = std::env::var("MULGIL_COMMIT").ok();
    let told = told.filter(|commit| !commit.is_empty());
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let build = match told {
        Some(commit) => commit,
        None if release => from_git().unwrap_or_else(|| "unknown commit".to_owned()),
        None => "development build".to_owned(),
    };
    println!("cargo::rustc-env=MULGIL_BUILD={build}");
}

/// The commit that is checked out, with `-dirty` if the sources are not quite its.
fn from_git() -> Option<String> {
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&[&["status", "--porcelain", "--"], &SOURCES[..]].concat())?;
    // Written whenever another commit is checked out or made.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    for source in SOURCES.iter().filter(|source| Path::new(source).exists()) {
        println!("cargo::rerun-if-changed={source}");
    }
    let dirty = if changed.is_empty() { "" } else { "-dirty" };
    Some(format!("{commit}{dirty}"))
}

/// What git prints, without the end of the line; nothing if there is no git or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
