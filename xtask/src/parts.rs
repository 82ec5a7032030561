//! `cargo xtask test --all`: everything, in parts of under half an hour that can run alone.
//!
//! What a part came to is remembered for the commit, so that a run which was cut short goes on where
//! it stopped; a part that failed runs again. Once all parts are remembered, `interop/RESULTS.md` gets
//! the date, the commit and the counts. Nothing is remembered of a work tree with changes.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::brokers::Kind;
use crate::tally::Tally;
use crate::{check, crash, file_test, interop, liar, planted, repo, test};

type Part = (&'static str, fn() -> Result<Tally>);

/// The parts. 200 crash rounds and 200 of groups are cut in two, so that each stays below
/// half an hour on two cores.
const PARTS: [Part; 25] = [
    ("check", || Ok(check::all())),
    ("cargo-test", test::cargo_tests),
    ("interop", || test::interop_with_mulgil(&[])),
    ("interop-kafka", || interop::run(None, &Kind::Kafka, &[])),
    ("kafka-tools", || long("kafka-tools", &Kind::Mulgil)),
    ("kafka-tools-kafka", || long("kafka-tools", &Kind::Kafka)),
    ("connect", || long("connect", &Kind::Mulgil)),
    ("connect-kafka", || long("connect", &Kind::Kafka)),
    ("registry", || long("registry", &Kind::Mulgil)),
    ("registry-kafka", || long("registry", &Kind::Kafka)),
    ("sarama", || long("sarama", &Kind::Mulgil)),
    ("sarama-kafka", || long("sarama", &Kind::Kafka)),
    ("rust", || long("rust", &Kind::Mulgil)),
    ("rust-kafka", || long("rust", &Kind::Kafka)),
    ("confluent-node", || long("confluent-node", &Kind::Mulgil)),
    ("confluent-node-kafka", || {
        long("confluent-node", &Kind::Kafka)
    }),
    ("file-test", || file(false)),
    ("file-test-kill", || file(true)),
    ("crash-1", || crash_rounds(100)),
    ("crash-2", || crash_rounds(100)),
    ("groups-1", || test::groups_with_mulgil(100)),
    ("groups-2", || test::groups_with_mulgil(100)),
    ("liar", || liar::run(&liar::Options::images(200))),
    ("liar-planted", || liar::run(&liar::Options::planted())),
    ("planted", || planted::run(None)),
];

/// A suite that takes too long for every run.
fn long(suite: &str, kind: &Kind) -> Result<Tally> {
    test::build()?;
    interop::run(Some(suite), kind, &[])
}

fn file(kill: bool) -> Result<Tally> {
    test::build()?;
    file_test::run(kill, &Kind::Mulgil, 100)
}

fn crash_rounds(rounds: u32) -> Result<Tally> {
    test::build()?;
    crash::run(rounds, &Kind::Mulgil, None)
}

/// Runs what this commit has not passed yet, or the one part that is named.
pub(crate) fn run(only: Option<&str>) -> Result<Tally> {
    let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
    if let Some(name) = only
        && !names.contains(&name)
    {
        bail!("there is no part {name}, only {}", names.join(", "));
    }
    let (commit, changed) = repo::commit()?;
    if changed {
        println!("the work tree holds changes, so nothing is remembered");
    }
    let memory = Memory {
        folder: repo::scratch(&format!("parts/{commit}"))?,
        off: changed,
    };
    let mut tally = Tally::default();
    for (name, part) in PARTS
        .into_iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
    {
        if only.is_none()
            && let Some(before) = memory.passed(name)
        {
            println!("== {name}: {} (remembered)", before.line());
            tally.add(before);
            continue;
        }
        println!("== {name}");
        let started = Instant::now();
        let result = part().unwrap_or_else(|error| Tally::failed(format!("{name}: {error:#}")));
        let seconds = started.elapsed().as_secs();
        println!("== {name}: {} ({seconds} s)", result.line());
        memory.keep(name, &result, seconds)?;
        tally.add(result);
    }
    memory.write_results(&commit, &names)?;
    Ok(tally)
}

/// What is known of one commit.
struct Memory {
    folder: PathBuf,
    off: bool,
}

impl Memory {
    fn keep(&self, part: &str, tally: &Tally, seconds: u64) -> Result<()> {
        if self.off {
            return Ok(());
        }
        let entry = json!({
            "passed": tally.passed,
            "failures": tally.failures,
            "skipped": tally.skipped,
            "seconds": seconds,
        });
        std::fs::write(self.folder.join(part), entry.to_string())
            .context("cannot remember the part")
    }

    fn read(&self, part: &str) -> Option<Value> {
        let text = std::fs::read(self.folder.join(part)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The counts of a part that passed.
    fn passed(&self, part: &str) -> Option<Tally> {
        let entry = self.read(part).filter(|_| !self.off)?;
        let failures = entry.get("failures")?.as_array()?;
        let tally = Tally {
            passed: entry.get("passed")?.as_u64()?,
            skipped: entry.get("skipped")?.as_u64()?,
            failures: Vec::new(),
        };
        failures.is_empty().then_some(tally)
    }

    /// Writes the run down once every part of this commit is known.
    fn write_results(&self, commit: &str, parts: &[&str]) -> Result<()> {
        let known: Vec<(&str, Value)> = parts
            .iter()
            .filter_map(|part| Some((*part, self.read(part)?)))
            .collect();
        if self.off || known.len() < parts.len() {
            return Ok(());
        }
        let date = repo::git(&["log", "-1", "--format=%cs", "HEAD"])?
            .trim()
            .to_owned();
        let date = today().unwrap_or(date);
        let path = repo::root().join("interop/RESULTS.md");
        let page = std::fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
        std::fs::write(path, with_run(&page, &date, commit, &known))?;
        println!("interop/RESULTS.md has this run");
        Ok(())
    }
}

const HEAD: &str = "\
# Results of `cargo xtask test --all`

The newest run is the first. Each was made on two cores, from a clean work tree of the commit.
";

fn today() -> Option<String> {
    let output = std::process::Command::new("date")
        .arg("+%F")
        .output()
        .ok()?;
    let date = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (date.len() == 10).then_some(date)
}

/// `page` with this run put before all others; an older run of the same commit goes.
fn with_run(page: &str, date: &str, commit: &str, parts: &[(&str, Value)]) -> String {
    let mut sections = page.split("\n## ");
    let head = sections.next().unwrap_or_default().trim_end();
    let mut run =
        format!("{date}, commit {commit}\n\n| part | passed | failed | skipped | seconds |\n");
    run.push_str("| --- | --- | --- | --- | --- |\n");
    for (part, entry) in parts {
        let failed = entry
            .get("failures")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        let count = |name: &str| entry.get(name).and_then(Value::as_u64).unwrap_or_default();
        let (passed, skipped, seconds) = (count("passed"), count("skipped"), count("seconds"));
        writeln!(
            run,
            "| {part} | {passed} | {failed} | {skipped} | {seconds} |"
        )
        .ok();
    }
    let same = format!("commit {commit}");
    let older =
        sections.filter(|section| !section.lines().next().unwrap_or_default().ends_with(&same));
    let all: Vec<&str> = std::iter::once(run.trim_end())
        .chain(older.map(str::trim_end))
        .collect();
    format!("{head}\n\n## {}\n", all.join("\n\n## "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(passed: u64, failures: &[&str]) -> Value {
        json!({"passed": passed, "failures": failures, "skipped": 0, "seconds": 3})
    }

    #[test]
    fn the_newest_run_comes_first_and_replaces_its_own() {
        let page = with_run(HEAD, "2026-01-01", "aaa", &[("check", entry(4, &[]))]);
        let page = with_run(&page, "2026-01-02", "bbb", &[("check", entry(3, &["x"]))]);
        let page = with_run(&page, "2026-01-03", "aaa", &[("check", entry(5, &[]))]);
        let heads: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("## "))
            .collect();
        assert_eq!(
            heads,
            ["## 2026-01-03, commit aaa", "## 2026-01-02, commit bbb"]
        );
        assert!(page.contains("| check | 3 | 1 | 0 | 3 |"), "{page}");
        assert!(page.starts_with("# Results"), "{page}");
    }

    #[test]
    fn only_what_passed_is_remembered() {
        let memory = Memory {
            folder: repo::fresh("test-memory").unwrap(),
            off: false,
        };
        assert_eq!(memory.passed("a"), None);
        memory.keep("a", &Tally::passed(), 1).unwrap();
        assert_eq!(memory.passed("a"), Some(Tally::passed()));
        memory.keep("a", &Tally::failed("x"), 1).unwrap();
        assert_eq!(memory.passed("a"), None);
    }

    #[test]
    fn names_differ() {
        let mut names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PARTS.len());
    }
}
