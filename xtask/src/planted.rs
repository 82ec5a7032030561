//! `cargo xtask planted`: mistakes that are put into the broker on purpose, each of which a suite of
//! clients, or the rounds of groups, has to find.
//!
//! A mistake is a patch in `interop/planted` whose head says what is wrong, what is run and how that
//! must fail. It is put into a copy of the tree, so that the tree itself is never wrong, and all patches
//! share the copy and its build: only what a patch touches is compiled again. A run that fails with other
//! words has found something else and counts as none. That every patch still fits the tree is among what
//! `cargo xtask tidy` looks at, which builds nothing.

mod copy;
mod patch;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::copy::Copy;
use self::patch::{Patch, Verdict};
use crate::tally::Tally;
use crate::{interop, repo, run};

/// Beyond this no check with a planted mistake is worth waiting for; the longest takes five minutes.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// The rounds of groups are no client, and are told on a page of their own.
const GROUPS: &str = "groups";
const GROUPS_PAGE: &str = "docs/internals/killed-groups.md";
const CLIENTS_PAGE: &str = "interop/README.md";

/// `cargo xtask planted`.
pub(crate) fn run(only: Option<&str>) -> Result<Tally> {
    let patches: Vec<Patch> = files()?
        .iter()
        .map(|file| Patch::read(file))
        .collect::<Result<_>>()?;
    if let Some(name) = only
        && !patches.iter().any(|patch| patch.name == name)
    {
        let all: Vec<&str> = patches.iter().map(|patch| patch.name.as_str()).collect();
        bail!("there is no mistake {name}, only {}", all.join(", "));
    }
    let copy = Copy::new()?;
    let mut tally = Tally::default();
    for patch in &patches {
        if only.is_none_or(|only| only == patch.name) {
            let found = plant(&copy, patch);
            tally.add(found.unwrap_or_else(|error| {
                Tally::failed(format!("planted {}: {error:#}", patch.name))
            }));
        }
    }
    Ok(tally)
}

/// Builds a broker with the mistake, and runs what has to find it.
fn plant(copy: &Copy, patch: &Patch) -> Result<Tally> {
    let name = &patch.name;
    copy.renew()?;
    copy.apply(&patch.file)?;
    let (broker, built) = copy.build()?;
    let mut suite = Command::new(std::env::current_exe()?);
    suite
        .args(&patch.run)
        .env("MULGIL_BIN", broker)
        .current_dir(repo::root());
    let finished = run::watched(&format!("planted {name}"), &mut suite, LIMIT)?;
    let took = format!(
        "built in {} s, run in {} s",
        built.as_secs(),
        finished.took.as_secs()
    );
    Ok(match patch.verdict(finished.good, &finished.output) {
        Verdict::Found(words) => {
            println!("ok planted {name} ({took}): {words}");
            Tally::passed()
        }
        Verdict::LeftOut(why) => {
            println!("skipped planted {name}: {why}");
            Tally::skipped()
        }
        Verdict::Missed(why) => {
            run::show(&patch.run.join(" "), &finished.output);
            Tally::failed(format!("planted {name} ({took}): {why}"))
        }
    })
}

/// The patches, by name.
fn files() -> Result<Vec<PathBuf>> {
    let folder = repo::root().join("interop/planted");
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    Ok(files)
}

/// What is wrong with the patches: one that cannot be read, fits the tree no more, or is not told where
/// it should be; and a suite for which there is none.
pub(crate) fn problems() -> Result<Vec<String>> {
    let page = |name: &str| {
        let path = repo::root().join(name);
        std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))
    };
    let (clients, groups) = (page(CLIENTS_PAGE)?, page(GROUPS_PAGE)?);
    let mut problems = Vec::new();
    let mut tried = Vec::new();
    for file in files()? {
        let patch = match Patch::read(&file) {
            Ok(patch) => patch,
            Err(error) => {
                problems.push(format!("{error:#}"));
                continue;
            }
        };
        problems.extend(misfit(&patch)?);
        let (page, name) = match patch.suite() {
            GROUPS => (&groups, GROUPS_PAGE),
            _ => (&clients, CLIENTS_PAGE),
        };
        if !page.lines().any(|line| line == patch.row()) {
            problems.push(format!("{name} lacks this row: {}", patch.row()));
        }
        tried.push(patch.suite().to_owned());
    }
    problems.extend(untried(&tried));
    Ok(problems)
}

/// Says that a patch does not apply to the tree as it is.
fn misfit(patch: &Patch) -> Result<Option<String>> {
    let said = apply(&patch.file, repo::root(), &["--check"])?;
    Ok(said.map(|why| format!("{} does not fit the tree: {why}", patch.file.display())))
}

/// The suites that nothing shows able to fail.
fn untried(tried: &[String]) -> Vec<String> {
    let wanted = interop::LONG.iter().chain([&GROUPS]);
    wanted
        .filter(|suite| !tried.iter().any(|tried| tried == *suite))
        .map(|suite| format!("no mistake is planted for {suite} in interop/planted"))
        .collect()
}

/// Lets git apply a patch to the files in `folder`; gives what it says if it does not fit.
fn apply(patch: &Path, folder: &Path, how: &[&str]) -> Result<Option<String>> {
    let mut git = Command::new("git");
    git.args(["apply", "--whitespace=nowarn"]).args(how);
    git.arg(patch).current_dir(folder);
    if let Some(above) = folder.parent() {
        // A folder that is no repository is not to be taken for a part of the one around it, where
        // git would look for the patch's files.
        git.env("GIT_CEILING_DIRECTORIES", above)
            .env_remove("GIT_DIR");
    }
    let output = git.output().context("cannot run git")?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((!output.status.success()).then_some(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_fits_the_tree_and_is_told() {
        assert_eq!(problems().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_patch_that_fits_no_more_is_a_problem() {
        let text = "\
Mistake: none
Run: groups --rounds 1
Fails: groups
Says: x

diff --git a/rustfmt.toml b/rustfmt.toml
--- a/rustfmt.toml
+++ b/rustfmt.toml
@@ -1 +1 @@
-never stood here
+nor this
";
        let file = repo::scratch("test-planted").unwrap().join("stale.patch");
        std::fs::write(&file, text).unwrap();
        let patch = Patch::read(&file).unwrap();
        let said = misfit(&patch).unwrap().unwrap();
        assert!(said.contains("does not fit the tree: error"), "{said}");
    }

    #[test]
    fn a_suite_without_a_mistake_is_a_problem() {
        let tried: Vec<String> = interop::LONG.map(str::to_owned).to_vec();
        let said = untried(&tried);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said.concat().contains("for groups"), "{said:?}");
    }
}
