//! The rules themselves. None of them reads a file.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::SourceFile;

/// A file with more lines than this needs an entry in the ratchet.
const LINES_MAX: usize = 800;

/// Crates whose sources may not touch the file system: all files go through one layer in `log`.
const FENCED: [&str; 7] = ["record", "core", "meta", "broker", "kafka", "admin", "log"];

/// Names at the root, or anywhere, that say a file was left behind or belongs to a forge.
const LEFTOVERS: [&str; 9] = [
    ".github",
    ".gitlab-ci.yml",
    ".gitlab",
    ".circleci",
    ".travis.yml",
    "Jenkinsfile",
    "azure-pipelines.yml",
    ".DS_Store",
    "nohup.out",
];

/// All rules for one Rust file, but for the ratchet.
pub(super) fn all_for_rust(file: &SourceFile) -> Vec<String> {
    let mut problems: Vec<String> = [head(file), mod_file(file)].into_iter().flatten().collect();
    problems.extend(unfinished(file));
    problems.extend(file_system(file));
    problems
}

fn head(file: &SourceFile) -> Option<String> {
    let first = file
        .text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    (!first.starts_with("//!")).then(|| format!("{}: does not open with //!", file.path))
}

fn mod_file(file: &SourceFile) -> Option<String> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    (name == "mod.rs").then(|| {
        format!(
            "{}: call it after its module, in the folder above",
            file.path
        )
    })
}

/// Lines of code with their numbers; comments are left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn unfinished(file: &SourceFile) -> Vec<String> {
    let marks = [
        concat!("#[ig", "nore"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
    ];
    code(&file.text)
        .flat_map(|(number, line)| {
            marks
                .iter()
                .filter(move |mark| holds_word(line, mark))
                .map(move |mark| (number, mark))
        })
        .map(|(number, mark)| format!("{}:{number}: {mark} is not for main", file.path))
        .collect()
}

fn file_system(file: &SourceFile) -> Vec<String> {
    if !fenced(&file.path) {
        return Vec::new();
    }
    let why = "files are touched only by the disk module of crates/log";
    code(&file.text)
        .filter(|(_, line)| touches_files(line))
        .map(|(number, line)| format!("{}:{number}: `{}`: {why}", file.path, line.trim()))
        .collect()
}

fn fenced(path: &str) -> bool {
    let disk = path == "crates/log/src/disk.rs" || path.starts_with("crates/log/src/disk/");
    let inside = FENCED
        .iter()
        .any(|name| path.starts_with(&format!("crates/{name}/src/")));
    // The wiring hands the disk on; it may not reach around it.
    (inside && !disk) || path == "crates/mulgil/src/node.rs"
}

fn touches_files(line: &str) -> bool {
    let direct = ["std::fs", "tokio::fs", "File::", "OpenOptions"];
    if direct.iter().any(|word| holds_word(line, word)) {
        return true;
    }
    let grouped = line
        .find("std::{")
        .and_then(|at| line.get(at..))
        .unwrap_or_default();
    grouped
        .split([' ', ',', '{', '}', ';'])
        .any(|word| word == "fs" || word.starts_with("fs::"))
}

/// Whether `line` holds `word`, and not only as the end of a longer name.
fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// A file that does not belong into the repository.
pub(super) fn leftover(path: &str) -> Option<String> {
    let named = path.split('/').any(|part| LEFTOVERS.contains(&part));
    let backup = [".orig", ".rej", ".bak", ".swp", "~"]
        .iter()
        .any(|end| path.ends_with(end));
    (named || backup).then(|| format!("{path}: does not belong here"))
}

/// Reads lines of the form `"path" = 812`.
pub(super) fn parse_ratchet(text: &str) -> Result<BTreeMap<String, usize>> {
    let mut entries = BTreeMap::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (path, lines) = line
            .split_once('=')
            .with_context(|| format!("ratchet.toml: `{line}` is no entry"))?;
        let lines = lines
            .trim()
            .parse()
            .with_context(|| format!("ratchet.toml: `{line}`"))?;
        entries.insert(path.trim().trim_matches('"').to_owned(), lines);
    }
    Ok(entries)
}

/// Files that have grown past the limit or past their entry, and entries that are too high.
pub(super) fn ratchet(files: &[SourceFile], entries: &BTreeMap<String, usize>) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        let lines = file.text.lines().count();
        let path = &file.path;
        match entries.get(path) {
            None if lines > LINES_MAX => {
                problems.push(format!(
                    "{path}: {lines} lines, the limit is {LINES_MAX}: look for the seam"
                ));
            }
            Some(&entry) if lines > entry => {
                problems.push(format!(
                    "{path}: {lines} lines, it may only shrink from {entry}"
                ));
            }
            Some(_) if lines <= LINES_MAX => {
                problems.push(format!(
                    "{path}: {lines} lines, take it out of xtask/ratchet.toml"
                ));
            }
            Some(&entry) if lines < entry => {
                problems.push(format!(
                    "{path}: shrunk to {lines} lines, lower its entry {entry}"
                ));
            }
            _ => {}
        }
    }
    let gone = entries
        .keys()
        .filter(|path| files.iter().all(|file| file.path != **path));
    problems.extend(
        gone.map(|path| format!("xtask/ratchet.toml names {path}, which is no source file")),
    );
    problems
}

/// Paths that a document names in backticks and that do not exist.
pub(super) fn dead_paths(document: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(repository_path)
        .filter(|path| !exists(path))
        .map(|path| format!("{document}: names `{path}`, which does not exist"))
        .collect()
}

/// `quoted` as a path of the repository, if it looks like one.
fn repository_path(quoted: &str) -> Option<&str> {
    const FOLDERS: [&str; 10] = [
        "crates", "sim", "interop", "bench", "docs", "xtask", "fuzz", "console", ".ci", ".cargo",
    ];
    let path = quoted.split('#').next()?;
    let odd = |c: char| c.is_whitespace() || "*<>{}$()\\\"'".contains(c);
    let (first, rest) = path.split_once('/')?;
    let looks = FOLDERS.contains(&first) && !path.contains(odd) && !rest.contains("NNNN");
    looks.then(|| path.split(':').next().unwrap_or(path).trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn found(path: &str, text: &str) -> usize {
        all_for_rust(&file(path, text)).len()
    }

    #[test]
    fn a_file_without_a_head_is_found() {
        assert_eq!(found("crates/log/src/a.rs", "use x;\n//! late\n"), 1);
        assert_eq!(found("crates/log/src/a.rs", "//! What it is.\nuse x;\n"), 0);
    }

    #[test]
    fn a_mod_file_is_found() {
        assert_eq!(found("crates/log/src/a/mod.rs", "//! A.\n"), 1);
    }

    #[test]
    fn unfinished_code_is_found() {
        for mark in [
            concat!("#[ig", "nore]"),
            concat!("to", "do!()"),
            concat!("unimple", "mented!(\"x\")"),
        ] {
            assert_eq!(
                found("sim/src/a.rs", &format!("//! A.\n    {mark}\n")),
                1,
                "{mark}"
            );
            assert_eq!(
                found("sim/src/a.rs", &format!("//! A.\n// {mark}\n")),
                0,
                "{mark}"
            );
        }
        assert_eq!(
            found("sim/src/a.rs", concat!("//! A.\nmas", "to", "do!()\n")),
            0
        );
    }

    #[test]
    fn file_access_is_found_in_fenced_crates_only() {
        for line in [
            "use std::fs;",
            "let f = File::open(p)?;",
            "OpenOptions::new()",
            "use std::{fs, io};",
        ] {
            let text = format!("//! A.\n{line}\n");
            assert_eq!(found("crates/broker/src/a.rs", &text), 1, "{line}");
            assert_eq!(found("crates/log/src/recovery.rs", &text), 1, "{line}");
            assert_eq!(found("crates/mulgil/src/node.rs", &text), 1, "{line}");
            assert_eq!(found("crates/log/src/disk.rs", &text), 0, "{line}");
            assert_eq!(found("crates/log/src/disk/lying.rs", &text), 0, "{line}");
            assert_eq!(found("crates/mulgil/src/main.rs", &text), 0, "{line}");
            assert_eq!(found("crates/log/tests/crash.rs", &text), 0, "{line}");
        }
        assert_eq!(
            found(
                "crates/log/src/a.rs",
                "//! A.\nMemoryFile::new()\nuse std::{fmt, io};\n"
            ),
            0
        );
    }

    #[test]
    fn leftovers_are_found() {
        for path in [
            ".github/workflows/ci.yml",
            "crates/log/src/a.rs.orig",
            "a/.DS_Store",
            "x.bak",
        ] {
            assert!(leftover(path).is_some(), "{path}");
        }
        assert_eq!(leftover(".ci/run"), None);
    }

    #[test]
    fn long_files_need_an_entry_that_only_falls() {
        let long = file("a.rs", &"x\n".repeat(900));
        let entries = |lines| BTreeMap::from([("a.rs".to_owned(), lines)]);
        let files = [long];
        assert_eq!(ratchet(&files, &BTreeMap::new()).len(), 1);
        assert_eq!(ratchet(&files, &entries(899)).len(), 1);
        assert_eq!(ratchet(&files, &entries(901)).len(), 1);
        assert_eq!(ratchet(&files, &entries(900)).len(), 0);
        assert_eq!(ratchet(&[file("a.rs", "x\n")], &entries(900)).len(), 1);
        assert_eq!(ratchet(&[], &entries(900)).len(), 1);
    }

    #[test]
    fn the_ratchet_file_is_read() {
        let entries = parse_ratchet("# why\n\"crates/a.rs\" = 812\n").unwrap();
        assert_eq!(entries, BTreeMap::from([("crates/a.rs".to_owned(), 812)]));
        assert!(parse_ratchet("nonsense").is_err());
    }

    #[test]
    fn dead_paths_are_found() {
        let text = "see `crates/log/src/lib.rs:12`, `docs/gone.md`, `cargo run`, `a/b`, `crates/*/src`, `crates/log/`";
        let problems = dead_paths("README.md", text, |path| path.starts_with("crates/log"));
        assert_eq!(
            problems,
            ["README.md: names `docs/gone.md`, which does not exist"]
        );
    }
}
