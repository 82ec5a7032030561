//! All that a registry tells, in one value, so that two of them can be compared.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::Registry;

/// Subjects with their versions, each version whole, what compatibility is asked for, and ids.
pub(super) fn state(registry: &Registry) -> Result<Value> {
    let mut subjects = Map::new();
    let mut ids = Map::new();
    for subject in list(&registry.get("/subjects")?)? {
        let subject = subject.as_str().context("a subject is a name")?;
        let path = format!("/subjects/{subject}/versions");
        let mut versions = Map::new();
        for version in list(&registry.get(&path)?)? {
            let whole = registry.get(&format!("{path}/{version}"))?;
            let id = whole.get("id").context("a version has an id")?.to_string();
            let by_id = registry.get(&format!("/schemas/ids/{id}"))?;
            ids.insert(id, by_id);
            versions.insert(version.to_string(), whole);
        }
        let path = format!("/config/{subject}?defaultToGlobal=true");
        let config = registry.get(&path)?;
        let told = json!({"versions": versions, "config": config});
        subjects.insert(subject.to_owned(), told);
    }
    Ok(json!({"subjects": subjects, "ids": ids}))
}

fn list(value: &Value) -> Result<Vec<Value>> {
    let list = value.as_array().cloned();
    list.with_context(|| format!("no list: {value}"))
}
