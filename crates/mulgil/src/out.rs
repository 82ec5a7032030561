//! All that a command writes: data to standard output, everything else to standard error.
//!
//! A command builds one [`View`]; how it looks follows from `-o` alone, so that every form shows the
//! same. JSON is what the API answers, with raw numbers; only tables are made for people.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "JSON will not get more kinds of values"
)]

use std::io::{self, IsTerminal as _, Write};

use serde_json::Value;

use crate::cli::Format;
use crate::failure::{Failure, Outcome};
use mulgil_admin::catalogue::Code;

pub(crate) mod human;
mod table;
mod yaml;

pub(crate) use table::{Cell, Column, Table};
pub(crate) use yaml::yaml;

/// How things are to be shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Style {
    pub(crate) format: Format,
    /// Only these columns of a table, in this order.
    pub(crate) columns: Vec<String>,
    /// Rows by this column; with `-` before it, in falling order.
    pub(crate) sort: Option<String>,
    pub(crate) no_headers: bool,
}

/// What a command has to show.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// All of it, as the API has it: an array, or one object.
    pub(crate) json: Value,
    /// Facts above the table.
    pub(crate) facts: Vec<(String, String)>,
    /// The rest. Also what CSV shows.
    pub(crate) table: Table,
    /// For `-o name`.
    pub(crate) names: Vec<String>,
}

/// Where output goes.
pub(crate) struct Out<'a> {
    to: &'a mut dyn Write,
    style: Style,
}

impl std::fmt::Debug for Out<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Out")
            .field("style", &self.style)
            .finish_non_exhaustive()
    }
}

impl<'a> Out<'a> {
    pub(crate) fn new(to: &'a mut dyn Write, style: Style) -> Self {
        Self { to, style }
    }

    /// Shows a view.
    pub(crate) fn show(&mut self, view: &View) -> Outcome<()> {
        let text = render(view, &self.style)?;
        self.write(text.as_bytes())?;
        self.flush()
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.to.write_all(bytes).map_err(|error| broken(&error))
    }

    pub(crate) fn flush(&mut self) -> Outcome<()> {
        self.to.flush().map_err(|error| broken(&error))
    }
}

/// Nobody reads any more (`mulgil topic ls | head`): that is an end, not an error.
fn broken(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    Failure::new(Code::FileUnusable, format!("standard output: {error}"))
}

fn render(view: &View, style: &Style) -> Outcome<String> {
    let line = |value: &Value| format!("{value}\n");
    let all = match &view.json {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    Ok(match style.format {
        Format::Json => format!("{:#}\n", view.json),
        Format::Jsonl => all.iter().map(line).collect(),
        Format::Yaml => yaml(&view.json),
        Format::Name => view.names.iter().map(|name| format!("{name}\n")).collect(),
        Format::Csv => view.table.chosen(style)?.csv(!style.no_headers),
        Format::Table | Format::Wide => {
            let facts = table::facts(&view.facts);
            let table = view.table.chosen(style)?.text(!style.no_headers);
            let between = if facts.is_empty() || table.is_empty() {
                ""
            } else {
                "\n"
            };
            format!("{facts}{between}{table}")
        }
    })
}

/// Says something to the user beside the data: a hint, a banner.
pub(crate) fn say(text: &str) {
    // When nobody can be told, nobody can be told that either.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Shows why a command failed.
pub(crate) fn complain(failure: &Failure) {
    let label = format!("error[{}]", failure.code);
    let label = if colours() {
        format!("\x1b[1;31m{label}\x1b[0m")
    } else {
        label
    };
    say(&format!("{label}: {failure}"));
}

/// Whether standard error may be coloured.
fn colours() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if set("NO_COLOR") {
        return false;
    }
    (set("CLICOLOR_FORCE") && std::env::var("CLICOLOR_FORCE").as_deref() != Ok("0"))
        || io::stderr().is_terminal()
}

#[cfg(test)]
mod tests;
