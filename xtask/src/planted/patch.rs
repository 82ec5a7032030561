//! A planted mistake: a patch with a head of four lines.
//!
//! ```text
//! Mistake: the first record after a time is found, not the first at it
//! Run: interop rust --check seek-timestamp
//! Fails: rust: seek-timestamp
//! Says: offset by time
//!
//! diff --git a/...
//! ```
//!
//! `Run` is what stands behind `cargo xtask`. Among its failures must be one that begins with `Fails`
//! and holds `Says`. Git passes over the head.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::GROUPS;
use crate::interop;

/// So much of the first line of a failure is shown: a line of a file may stand in it.
const SHOWN_CHARS: usize = 160;

/// A mistake, and who has to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) name: String,
    pub(super) file: PathBuf,
    mistake: String,
    /// Arguments of `cargo xtask`.
    pub(super) run: Vec<String>,
    fails: String,
    says: String,
}

/// What a run with the mistake came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// With these words.
    Found(String),
    /// What the suite needs is not on this machine.
    LeftOut(String),
    /// It passed, or failed with other words.
    Missed(String),
}

impl Patch {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let shown = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.strip_suffix(".patch"));
        let name = name.with_context(|| format!("{shown} is not called NAME.patch"))?;
        Self::parse(name, file, &text).with_context(|| shown.to_string())
    }

    fn parse(name: &str, file: &Path, text: &str) -> Result<Self> {
        let head = text.split("\ndiff --git ").next().unwrap_or_default();
        ensure!(head.len() < text.len(), "there is no diff");
        let value = |key: &str| {
            let mut values = head.lines().filter_map(|line| line.strip_prefix(key));
            let value = values.next().map(str::trim).unwrap_or_default().to_owned();
            ensure!(!value.is_empty(), "no line begins with `{key} `");
            ensure!(values.next().is_none(), "two lines begin with `{key}`");
            let breaks = value.contains(['`', '|']);
            ensure!(!breaks, "`{key}` stands in a table: no ` and no |");
            Ok(value)
        };
        let keys = ["Mistake:", "Run:", "Fails:", "Says:"];
        let [mistake, run, fails, says] = keys.map(value);
        let run = run?;
        let strange = head
            .lines()
            .find(|line| !line.is_empty() && !keys.iter().any(|key| line.starts_with(key)));
        if let Some(line) = strange {
            bail!("`{line}` is none of {}", keys.join(" "));
        }
        let run: Vec<String> = run.split_whitespace().map(str::to_owned).collect();
        let patch = Self {
            name: name.to_owned(),
            file: file.to_owned(),
            mistake: mistake?,
            run,
            fails: fails?,
            says: says?,
        };
        let suite = patch.suite();
        let client = interop::CLIENTS.contains(&suite) || interop::LONG.contains(&suite);
        ensure!(client || suite == GROUPS, "`{suite}` is no suite");
        Ok(patch)
    }

    /// The client that has to find it, or `groups`.
    pub(super) fn suite(&self) -> &str {
        let words: Vec<&str> = self.run.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["interop", client, ..] => client,
            [GROUPS, ..] => GROUPS,
            _ => "",
        }
    }

    /// How a page tells it.
    pub(super) fn row(&self) -> String {
        let Self {
            name,
            mistake,
            fails,
            says,
            ..
        } = self;
        let run = self.run.join(" ");
        format!("| `{name}` | {mistake} | `{run}` | `{fails}`: `{says}` |")
    }

    /// Looks for the words among what a run has printed.
    pub(super) fn verdict(&self, good: bool, output: &str) -> Verdict {
        if good {
            let left_out = output
                .lines()
                .find_map(|line| line.strip_prefix("skipped "));
            return match left_out {
                Some(why) => Verdict::LeftOut(why.to_owned()),
                None => Verdict::Missed(format!("nothing failed: {}", self.mistake)),
            };
        }
        // What a failure says may be of many lines.
        let mut failures = output.split("\nFAILED ").skip(1);
        let words = failures.find_map(|failure| {
            let rest = failure.strip_prefix(self.fails.as_str())?;
            rest.contains(&self.says).then(|| failure.lines().next())?
        });
        words.map_or_else(
            || {
                let (fails, says) = (&self.fails, &self.says);
                Verdict::Missed(format!("no failure of `{fails}` holds `{says}`"))
            },
            |words| Verdict::Found(words.chars().take(SHOWN_CHARS).collect()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: [&str; 4] = [
        "Mistake: the first record after a time is found",
        "Run: interop rust --check seek-timestamp",
        "Fails: rust: seek-timestamp",
        "Says: offset by time",
    ];
    const DIFF: &str = "\n\ndiff --git a/x b/x\n--- a/x\n";

    fn parse(head: &[&str]) -> Result<Patch> {
        Patch::parse(
            "by-time",
            Path::new("by-time.patch"),
            &(head.join("\n") + DIFF),
        )
    }

    #[test]
    fn a_head_says_what_is_run_and_how_it_fails() {
        let patch = parse(&HEAD).unwrap();
        assert_eq!(patch.suite(), "rust");
        assert_eq!(patch.run, ["interop", "rust", "--check", "seek-timestamp"]);
        assert_eq!(
            patch.row(),
            "| `by-time` | the first record after a time is found | \
             `interop rust --check seek-timestamp` | `rust: seek-timestamp`: `offset by time` |"
        );
        let groups = parse(&[HEAD[0], "Run: groups --rounds 3", HEAD[2], HEAD[3]]);
        assert_eq!(groups.unwrap().suite(), "groups");
    }

    #[test]
    fn a_head_that_lacks_something_is_refused() {
        for gone in HEAD {
            let head: Vec<&str> = HEAD.into_iter().filter(|line| *line != gone).collect();
            assert!(parse(&head).is_err(), "without {gone}");
        }
        let more = |line| parse(&[&HEAD[..], &[line]].concat());
        assert!(more("Seed: 7").is_err());
        assert!(more(HEAD[3]).is_err());
        let last = |line| parse(&[HEAD[0], HEAD[1], HEAD[2], line]);
        assert!(last("Says: `offset` by time").is_err());
        let other = |run| parse(&[HEAD[0], run, HEAD[2], HEAD[3]]);
        assert!(other("Run: interop cobol").is_err());
        assert!(other("Run: crash").is_err());
        let bare = HEAD.join("\n");
        assert!(Patch::parse("x", Path::new("x.patch"), &bare).is_err());
    }

    #[test]
    fn only_the_words_that_were_told_count() {
        let patch = parse(&HEAD).unwrap();
        let found =
            "  FAIL\nFAILED rust: seek-timestamp: offset by time: wanted 1\n0 passed, 1 failed\n";
        let words = "rust: seek-timestamp: offset by time: wanted 1".to_owned();
        assert_eq!(patch.verdict(false, found), Verdict::Found(words));
        let lines = "x\nFAILED rust: seek-timestamp: it\nsaid offset by time\n0 passed\n";
        let words = "rust: seek-timestamp: it".to_owned();
        assert_eq!(patch.verdict(false, lines), Verdict::Found(words));
        for other in [
            "x\nFAILED rust: seek: offset by time\n",
            "x\nFAILED rust: seek-timestamp: no end\nFAILED rust: seek: offset by time\n",
            "x\nFAILED rust: rdkafka does not build\n",
        ] {
            let verdict = patch.verdict(false, other);
            assert!(matches!(verdict, Verdict::Missed(_)), "{verdict:?}");
        }
        let verdict = patch.verdict(true, "1 passed, 0 failed\n");
        assert!(matches!(verdict, Verdict::Missed(_)), "{verdict:?}");
        let verdict = patch.verdict(true, "skipped rust: cc is not installed\n");
        assert_eq!(
            verdict,
            Verdict::LeftOut("rust: cc is not installed".to_owned())
        );
    }
}
