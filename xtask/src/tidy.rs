//! Rules that no compiler knows, checked over every file that git has or would take.
//!
//! Each rule is a function from text to problems in [`rules`], so that a test can show it failing.

mod rules;

use std::path::Path;

use anyhow::{Context, Result};

use crate::{planted, repo};

/// A file of the repository: its path from the root, with `/`, and its text.
#[derive(Debug)]
struct SourceFile {
    path: String,
    text: String,
}

/// All that is untidy.
pub(crate) fn problems() -> Result<Vec<String>> {
    let listed = repo::git(&["ls-files", "--cached", "--others", "--exclude-standard"])?;
    let paths: Vec<&str> = listed
        .lines()
        .filter(|path| repo::root().join(path).is_file())
        .collect();
    let mut problems: Vec<String> = paths
        .iter()
        .filter_map(|path| rules::leftover(path))
        .collect();
    let ratchet = rules::parse_ratchet(&read("xtask/ratchet.toml")?)?;
    let mut rust = Vec::new();
    for path in &paths {
        match Path::new(path)
            .extension()
            .and_then(|extension| extension.to_str())
        {
            Some("rs") => rust.push(SourceFile {
                path: (*path).to_owned(),
                text: read(path)?,
            }),
            Some("md") if is_document(path) => {
                problems.extend(rules::dead_paths(path, &read(path)?, |named| {
                    repo::root().join(named).exists()
                }));
            }
            _ => {}
        }
    }
    for file in &rust {
        problems.extend(rules::all_for_rust(file));
    }
    problems.extend(rules::ratchet(&rust, &ratchet));
    problems.extend(planted::problems()?);
    Ok(problems)
}

/// The pages whose named paths must exist: those at the root and those for users and developers.
/// Decisions are left out: they are history.
fn is_document(path: &str) -> bool {
    !path.contains('/') || (path.starts_with("docs/") && !path.starts_with("docs/decisions/"))
}

fn read(path: &str) -> Result<String> {
    let bytes =
        std::fs::read(repo::root().join(path)).with_context(|| format!("cannot read {path}"))?;
    String::from_utf8(bytes).with_context(|| format!("{path} is not UTF-8"))
}
