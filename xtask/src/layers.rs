//! Who may import whom: compares `cargo metadata` with the tables in `ARCHITECTURE.md`.
//!
//! The product of a crate may import what its row names. Its tests may also import what those
//! import, and so on down, since a door's test needs a store under its broker; but nothing above.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::repo;

/// A row `all` or `anything`.
const EVERYTHING: &str = "*";
/// Crates that nothing imports.
const TOOLS: [&str; 4] = ["bench", "fuzz", "sim", "xtask"];

/// Row name -> names it may import.
type Table = BTreeMap<String, BTreeSet<String>>;

/// One dependency of one crate of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Import {
    importer: String,
    imported: String,
    ours: bool,
    test_only: bool,
}

/// Every import that the tables do not allow, and every crate that they do not name.
pub(crate) fn problems() -> Result<Vec<String>> {
    let page = std::fs::read_to_string(repo::root().join("ARCHITECTURE.md"))
        .context("cannot read ARCHITECTURE.md")?;
    let layers = table(&page, "| crate | may import |")?;
    let outside = table(&page, "| crate | outside crates |")?;
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .current_dir(repo::root())
        .output()?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (crates, imports) = workspace(&serde_json::from_slice(&output.stdout)?)?;
    let mut problems = unnamed(&layers, &crates);
    problems.extend(forbidden(&layers, &outside, &imports));
    Ok(problems)
}

/// Reads the table whose head is `head`.
fn table(page: &str, head: &str) -> Result<Table> {
    let mut lines = page.lines().skip_while(|line| line.trim() != head);
    ensure!(
        lines.next().is_some(),
        "ARCHITECTURE.md has no table `{head}`"
    );
    let mut table = Table::new();
    for line in lines.skip(1).take_while(|line| line.starts_with('|')) {
        let mut cells = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`'));
        let names = cells.next().unwrap_or_default();
        let imports = cells.next().unwrap_or_default();
        for name in split(names) {
            table.insert(name, split(imports));
        }
    }
    Ok(table)
}

fn split(cell: &str) -> BTreeSet<String> {
    cell.split(',')
        .map(|name| name.trim().trim_matches('`'))
        .filter(|name| !name.is_empty() && *name != "-")
        .map(|name| {
            if matches!(name, "all" | "anything") {
                EVERYTHING
            } else {
                name
            }
        })
        .map(str::to_owned)
        .collect()
}

/// The short names of the workspace's crates, and what each imports.
fn workspace(metadata: &Value) -> Result<(BTreeSet<String>, Vec<Import>)> {
    let packages = metadata["packages"]
        .as_array()
        .context("no packages in cargo metadata")?;
    let mut crates = BTreeSet::new();
    let mut imports = Vec::new();
    for package in packages {
        let importer = short(text(package, "name").context("a package without a name")?);
        crates.insert(importer.to_owned());
        for dependency in package
            .get("dependencies")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let name = text(dependency, "name").context("a dependency without a name")?;
            let ours = text(dependency, "path").is_some();
            imports.push(Import {
                importer: importer.to_owned(),
                imported: if ours { short(name) } else { name }.to_owned(),
                ours,
                test_only: text(dependency, "kind") == Some("dev"),
            });
        }
    }
    Ok((crates, imports))
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn short(package: &str) -> &str {
    package.strip_prefix("mulgil-").unwrap_or(package)
}

fn unnamed(layers: &Table, crates: &BTreeSet<String>) -> Vec<String> {
    let named: BTreeSet<String> = layers.keys().cloned().collect();
    let missing = crates
        .difference(&named)
        .map(|name| format!("{name} is in no row of the table"));
    let gone = named
        .difference(crates)
        .map(|name| format!("the table names {name}, no crate is called so"));
    missing.chain(gone).collect()
}

fn forbidden(layers: &Table, outside: &Table, imports: &[Import]) -> Vec<String> {
    imports
        .iter()
        .filter_map(|import| objection(layers, outside, import))
        .collect()
}

fn objection(layers: &Table, outside: &Table, import: &Import) -> Option<String> {
    let Import {
        importer,
        imported,
        ours,
        test_only,
    } = import;
    if !ours {
        let allowed = outside.get(importer)?;
        let fine = *test_only || allowed.contains(imported);
        return (!fine)
            .then(|| format!("{importer} uses {imported}, not on its list of outside crates"));
    }
    if TOOLS.contains(&imported.as_str()) {
        return Some(format!(
            "{importer} imports {imported}, a tool that nothing may import"
        ));
    }
    let direct = layers.get(importer).cloned().unwrap_or_default();
    let allowed = if *test_only {
        closure(layers, &direct)
    } else {
        direct
    };
    let fine = allowed.contains(imported) || allowed.contains(EVERYTHING) || imported == importer;
    (!fine).then(|| format!("{importer} imports {imported}, against the table"))
}

/// `names` and all that they may import, down to the ground.
fn closure(layers: &Table, names: &BTreeSet<String>) -> BTreeSet<String> {
    let mut all = names.clone();
    let mut open: Vec<String> = names.iter().cloned().collect();
    while let Some(name) = open.pop() {
        for below in layers.get(&name).into_iter().flatten() {
            if all.insert(below.clone()) {
                open.push(below.clone());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
text
| crate | may import |
| --- | --- |
| `record` | - |
| `core`, `log` | `record` |
| `broker` | `core`, `log` |
| `kafka` | `broker` |
| `sim` | anything |

| crate | outside crates |
| --- | --- |
| `core` | `bytes` |
";

    fn object(importer: &str, imported: &str, ours: bool, test_only: bool) -> Option<String> {
        let layers = table(PAGE, "| crate | may import |").unwrap();
        let outside = table(PAGE, "| crate | outside crates |").unwrap();
        let import = Import {
            importer: importer.into(),
            imported: imported.into(),
            ours,
            test_only,
        };
        objection(&layers, &outside, &import)
    }

    #[test]
    fn what_the_table_names_is_allowed() {
        assert_eq!(object("log", "record", true, false), None);
        assert_eq!(object("sim", "broker", true, false), None);
        assert_eq!(object("core", "bytes", false, false), None);
        assert_eq!(object("broker", "tokio", false, false), None);
    }

    #[test]
    fn upward_and_sideways_imports_are_found() {
        assert!(object("record", "log", true, false).is_some());
        assert!(object("kafka", "log", true, false).is_some());
        assert!(object("record", "broker", true, true).is_some());
    }

    #[test]
    fn tests_reach_down_through_their_imports() {
        assert_eq!(object("kafka", "log", true, true), None);
    }

    #[test]
    fn a_foreign_crate_in_core_is_found() {
        assert!(object("core", "tokio", false, false).is_some());
        assert_eq!(object("core", "proptest", false, true), None);
    }

    #[test]
    fn nothing_imports_tools() {
        assert!(object("broker", "sim", true, true).is_some());
        assert!(object("sim", "xtask", true, false).is_some());
    }

    #[test]
    fn crates_and_rows_must_match() {
        let layers = table(PAGE, "| crate | may import |").unwrap();
        let crates = ["record", "core", "log", "broker", "kafka", "meta"]
            .map(str::to_owned)
            .into();
        let problems = unnamed(&layers, &crates);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn metadata_is_read() {
        let metadata = serde_json::json!({"packages": [{"name": "mulgil-core", "dependencies": [
            {"name": "mulgil-record", "path": "/x", "kind": null},
            {"name": "proptest", "kind": "dev"},
        ]}]});
        let (crates, imports) = workspace(&metadata).unwrap();
        assert!(crates.contains("core"));
        assert_eq!(imports.len(), 2);
        assert!(imports[0].ours && !imports[0].test_only && imports[0].imported == "record");
        assert!(!imports[1].ours && imports[1].test_only);
    }
}
