//! Golden scripts: commands, `----`, and what came of them.
//!
//! A script is read by people as the specification of a machine. `UPDATE=1` writes what came of the
//! commands into it; the difference is then reviewed like code.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

/// One command of a script: a word, what follows it, and what is said with `=`.
pub(crate) struct Line<'a> {
    /// What to do.
    pub(crate) verb: &'a str,
    /// Words without `=`.
    pub(crate) words: Vec<&'a str>,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Self {
        let mut all = text.split_whitespace();
        let verb = all.next().expect("a line is not empty");
        let (mut words, mut fields) = (Vec::new(), Vec::new());
        for word in all {
            match word.split_once('=') {
                Some(field) => fields.push(field),
                None => words.push(word),
            }
        }
        Self {
            verb,
            words,
            fields,
        }
    }

    /// What is said of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        let mut fields = self.fields.iter();
        fields.find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    /// What is said of `name`, as a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        let parse = |text: &str| text.parse().ok();
        self.get(name).map(|t| parse(t).expect("a number"))
    }

    /// The first word after the verb.
    pub(crate) fn word(&self) -> &'a str {
        self.words.first().copied().unwrap_or_default()
    }

    /// Whether a word stands there.
    pub(crate) fn says(&self, word: &str) -> bool {
        self.words.contains(&word)
    }
}

/// Milliseconds of a time like `30s`, `5m`, `7d` or `250ms`.
pub(crate) fn millis(text: &str) -> u64 {
    let units = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let parse = |(unit, ms): &(&str, u64)| Some(text.strip_suffix(unit)?.parse::<u64>().ok()? * ms);
    units.iter().find_map(parse).expect("a time with its unit")
}

/// A time as a script says it.
pub(crate) fn time(ms: u64) -> String {
    match ms {
        0 => "0s".into(),
        _ if ms.is_multiple_of(86_400_000) => format!("{}d", ms / 86_400_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// Runs every script in `folder` whose name begins with `prefix`; each through a runner of its own.
pub(crate) fn run_all<R>(prefix: &str, make: fn() -> R, run: fn(&mut R, &Line<'_>, &mut String)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let entries = fs::read_dir(&folder).expect("the folder of scripts");
    let mut paths: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    let mut wrong = String::new();
    let mut count = 0;
    for path in paths {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if !name.starts_with(prefix) {
            continue;
        }
        count += 1;
        let script = fs::read_to_string(&path).expect("a readable script");
        let printed = replay(&script, &mut make(), run);
        if printed == script {
            continue;
        }
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, printed).expect("a writable script");
        } else {
            writeln!(wrong, "--- {name}, as it is:\n{printed}").expect("a string");
        }
    }
    assert!(count > 0, "no script begins with {prefix}");
    assert!(
        wrong.is_empty(),
        "UPDATE=1 rewrites these scripts:\n{wrong}"
    );
}

fn replay<R>(script: &str, runner: &mut R, run: fn(&mut R, &Line<'_>, &mut String)) -> String {
    let mut out = String::new();
    for block in script.split("\n\n") {
        if !out.is_empty() {
            out.push('\n');
        }
        let commands = block
            .split_once("----")
            .map_or(block, |(commands, _)| commands);
        let mut printed = String::new();
        let mut ran = false;
        for line in commands.lines() {
            writeln!(out, "{line}").expect("a string");
            if !line.is_empty() && !line.starts_with('#') {
                run(runner, &Line::parse(line), &mut printed);
                ran = true;
            }
        }
        if ran {
            writeln!(out, "----\n{printed}").expect("a string");
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
    }
    out
}
