//! Counting what passed and what failed, whoever ran it, and the closing line.

use std::process::ExitCode;

/// How many checks passed and which failed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) skipped: u64,
    /// A line for each failure: what, and why.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    pub(crate) fn passed() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self {
            failures: vec![why.into()],
            ..Self::default()
        }
    }

    pub(crate) fn skipped() -> Self {
        Self {
            skipped: 1,
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
    }

    pub(crate) fn good(&self) -> bool {
        self.failures.is_empty()
    }

    /// `N passed, N failed`, and what was left out, if anything was.
    pub(crate) fn line(&self) -> String {
        let skipped = match self.skipped {
            0 => String::new(),
            n => format!(", {n} skipped"),
        };
        format!(
            "{} passed, {} failed{skipped}",
            self.passed,
            self.failures.len()
        )
    }

    /// Names the failures, prints the closing line and gives the exit code.
    pub(crate) fn close(&self) -> ExitCode {
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
        println!("{}", self.line());
        if self.good() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// What the output of `cargo test` adds up to.
    pub(crate) fn of_libtest(output: &str) -> Self {
        let mut tally = Self::default();
        for line in output.lines() {
            if let Some(result) = line.trim_start().strip_prefix("test result: ") {
                tally.passed += count(result, "passed");
                tally.skipped += count(result, "ignored");
            }
            if let Some(name) = line
                .strip_prefix("test ")
                .and_then(|l| l.strip_suffix(" ... FAILED"))
            {
                tally.failures.push(format!("cargo test: {name}"));
            }
        }
        tally
    }

    /// What a client suite's lines `ok NAME` and `FAIL NAME: why` add up to.
    pub(crate) fn of_checks(suite: &str, output: &str) -> Self {
        let mut tally = Self::default();
        for line in output.lines() {
            if line.starts_with("ok ") {
                tally.passed += 1;
            }
            if let Some(failure) = line.strip_prefix("FAIL ") {
                tally.failures.push(format!("{suite}: {failure}"));
            }
        }
        tally
    }
}

/// The number that stands before `word` in a line such as `ok. 3 passed; 1 failed; 0 ignored`.
fn count(line: &str, word: &str) -> u64 {
    let mut before = "";
    for part in line.split([' ', ';']).filter(|part| !part.is_empty()) {
        if part == word {
            return before.parse().unwrap_or(0);
        }
        before = part;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_results_add_up() {
        let output = "\
running 2 tests
test a::works ... ok
test b::breaks ... FAILED
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: ok. 40 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s
";
        let tally = Tally::of_libtest(output);
        assert_eq!(tally.passed, 41);
        assert_eq!(tally.skipped, 2);
        assert_eq!(tally.failures, ["cargo test: b::breaks"]);
        assert_eq!(tally.line(), "41 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn suite_lines_add_up() {
        let tally = Tally::of_checks("java", "ok one\nnoise\nFAIL two: it broke\nokay\n");
        assert_eq!(tally.passed, 1);
        assert_eq!(tally.failures, ["java: two: it broke"]);
        assert!(!tally.good());
    }
}
