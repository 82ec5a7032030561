//! Rows and columns: for people, and as CSV for programs.

use comfy_table::{CellAlignment, ContentArrangement, presets};
use serde_json::Value;

use super::Style;
use crate::cli::Format;
use crate::failure::{Failure, Outcome};
use mulgil_admin::catalogue::Code;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    /// Only shown with `-o wide` and in CSV, or when asked for.
    pub(crate) wide: bool,
}

impl Column {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, wide: false }
    }

    pub(crate) const fn wide(name: &'static str) -> Self {
        Self { name, wide: true }
    }
}

/// A value, raw and as people read it.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    raw: Value,
    text: String,
}

impl Cell {
    pub(crate) fn new(raw: impl Into<Value>, text: impl Into<String>) -> Self {
        Self {
            raw: raw.into(),
            text: text.into(),
        }
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            raw: text.clone().into(),
            text,
        }
    }

    pub(crate) fn number(number: impl Into<Value>) -> Self {
        let raw = number.into();
        let text = raw.to_string();
        Self { raw, text }
    }

    fn is_number(&self) -> bool {
        self.raw.is_number()
    }

    /// As CSV has it: raw, null as nothing.
    fn csv(&self) -> String {
        let raw = match &self.raw {
            Value::Null => return String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        csv_field(&raw)
    }
}

/// Quotes a field of CSV if it needs it (RFC 4180).
fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    fn place_of(&self, name: &str) -> Outcome<usize> {
        self.columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = self.columns.iter().map(|column| column.name).collect();
                let detail = format!("there is no column \"{name}\", but {}", names.join(", "));
                Failure::new(Code::Usage, detail)
            })
    }

    /// The rows and columns that the style asks for.
    pub(super) fn chosen(&self, style: &Style) -> Outcome<Self> {
        let all = style.format != Format::Table;
        let places = if style.columns.is_empty() {
            let shown = |(_, column): &(usize, &Column)| all || !column.wide;
            self.columns
                .iter()
                .enumerate()
                .filter(shown)
                .map(|(place, _)| place)
                .collect()
        } else {
            style
                .columns
                .iter()
                .map(|name| self.place_of(name))
                .collect::<Outcome<Vec<_>>>()?
        };
        let mut rows: Vec<&Vec<Cell>> = self.rows.iter().collect();
        if let Some(sort) = &style.sort {
            let (name, falling) = sort
                .strip_prefix('-')
                .map_or((sort.as_str(), false), |name| (name, true));
            let place = self.place_of(name)?;
            rows.sort_by(|a, b| compare(a.get(place), b.get(place)));
            if falling {
                rows.reverse();
            }
        }
        let pick = |row: &Vec<Cell>| places.iter().filter_map(|p| row.get(*p).cloned()).collect();
        Ok(Self {
            columns: places
                .iter()
                .filter_map(|p| self.columns.get(*p).copied())
                .collect(),
            rows: rows.into_iter().map(pick).collect(),
        })
    }

    pub(super) fn csv(&self, headers: bool) -> String {
        let mut lines = Vec::new();
        if headers {
            lines.push(
                self.columns
                    .iter()
                    .map(|c| csv_field(c.name))
                    .collect::<Vec<_>>(),
            );
        }
        lines.extend(
            self.rows
                .iter()
                .map(|row| row.iter().map(Cell::csv).collect()),
        );
        lines.iter().map(|line| line.join(",") + "\n").collect()
    }

    pub(super) fn text(&self, headers: bool) -> String {
        if self.columns.is_empty() || (self.rows.is_empty() && !headers) {
            return String::new();
        }
        let mut table = plain();
        if headers {
            table.set_header(
                self.columns
                    .iter()
                    .map(|c| c.name.to_uppercase().replace('_', " ")),
            );
        }
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| visible(&cell.text)));
        }
        let numbers = |place: usize| {
            !self.rows.is_empty()
                && self
                    .rows
                    .iter()
                    .all(|row| row.get(place).is_some_and(Cell::is_number))
        };
        for (place, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if numbers(place) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        trimmed(&table)
    }
}

fn compare(left: Option<&Cell>, right: Option<&Cell>) -> std::cmp::Ordering {
    let number = |cell: Option<&Cell>| cell.and_then(|cell| cell.raw.as_f64());
    match (number(left), number(right)) {
        (Some(left), Some(right)) => left.total_cmp(&right),
        _ => left
            .map(|cell| &cell.text)
            .cmp(&right.map(|cell| &cell.text)),
    }
}

/// Facts, a name and a value each.
pub(super) fn facts(facts: &[(String, String)]) -> String {
    let mut table = plain();
    for (name, value) in facts {
        table.add_row([format!("{name}:"), visible(value)]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if facts.is_empty() {
        String::new()
    } else {
        trimmed(&table)
    }
}

/// Control characters must not reach a terminal from a name, a key or a value.
fn visible(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(shown).collect()
}

fn plain() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn trimmed(table: &comfy_table::Table) -> String {
    table
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}
