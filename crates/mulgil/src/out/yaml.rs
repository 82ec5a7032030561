//! JSON values as YAML 1.2. Strings are quoted unless nobody could take them for something else.

use std::fmt::Write as _;

use serde_json::Value;

/// The document, with a line feed at its end.
pub(crate) fn yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Array(items) if !items.is_empty() => sequence(&mut text, items, 0),
        Value::Object(fields) if !fields.is_empty() => mapping(&mut text, fields, 0),
        scalar => writeln!(text, "{}", flat(scalar)).expect("a string takes all"),
    }
    text
}

fn flat(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        // A JSON string is a YAML string, as are the empty list and the empty map.
        other => other.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !words.contains(&text.to_ascii_lowercase().as_str())
}

fn sequence(text: &mut String, items: &[Value], depth: usize) {
    for item in items {
        let mut inner = String::new();
        match item {
            Value::Array(items) if !items.is_empty() => sequence(&mut inner, items, depth + 1),
            Value::Object(fields) if !fields.is_empty() => mapping(&mut inner, fields, depth + 1),
            scalar => writeln!(inner, "{}", flat(scalar)).expect("a string takes all"),
        }
        // The first line of what is below stands beside the dash.
        write!(text, "{}- {}", "  ".repeat(depth), inner.trim_start()).expect("a string takes all");
    }
}

fn mapping(text: &mut String, fields: &serde_json::Map<String, Value>, depth: usize) {
    let indent = "  ".repeat(depth);
    for (name, value) in fields {
        let name = flat(&Value::from(name.as_str()));
        let written = match value {
            Value::Array(items) if !items.is_empty() => {
                let written = writeln!(text, "{indent}{name}:");
                sequence(text, items, depth + 1);
                written
            }
            Value::Object(fields) if !fields.is_empty() => {
                let written = writeln!(text, "{indent}{name}:");
                mapping(text, fields, depth + 1);
                written
            }
            scalar => writeln!(text, "{indent}{name}: {}", flat(scalar)),
        };
        written.expect("a string takes all");
    }
}
