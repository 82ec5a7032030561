//! The settings of a topic as the API shows and takes them, over the one table of settings.
//!
//! Each setting has a name of the API, and the dotted name that Kafka gives it is taken as well, so that
//! what people know works. Sizes are written `1048576` or `1MiB`, durations in milliseconds or `7d`,
//! what has no limit is `none` (Kafka's `-1` means the same), and `default` takes back what was set.

use std::collections::BTreeMap;

use mulgil_broker::meta::schema as kept;
use mulgil_broker::meta::settings::{
    BROKER, DOOR, Edit, Operation, Setting, Standing, TOPIC, Takes, topic_setting,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalogue::Code;
use crate::problem::Refusal;

/// What an acknowledgement of a publish means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Nothing: written without waiting, discarded at start.
    Memory,
    /// Handed to the operating system.
    Os,
    /// On disk.
    #[default]
    Fsync,
}

/// Which timestamp a record carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// That of the append.
    LogAppendTime,
}

/// What holds for a topic. `None` means without limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSettings {
    /// What an acknowledgement means.
    pub durability: Durability,
    /// How long a record is kept, milliseconds.
    pub retention_ms: Option<u64>,
    /// How much of each partition is kept, bytes.
    pub retention_bytes: Option<u64>,
    /// Whether what every subscription has settled is given up.
    pub reclaim_on_ack: bool,
    /// How long records stay although every subscription has settled them, milliseconds.
    pub keep_at_least_ms: u64,
    /// Whether delays and expiry that records ask for by headers count.
    pub read_headers: bool,
    /// Largest record batch, bytes.
    pub message_bytes_max: u32,
    /// Which timestamp a record carries.
    pub timestamp_type: TimestampType,
    /// How far a producer's timestamp may lie in the past, milliseconds.
    pub timestamp_before_max_ms: Option<u64>,
    /// How far a producer's timestamp may lie in the future, milliseconds.
    pub timestamp_after_max_ms: Option<u64>,
    /// What somebody has set, by Kafka's names, as text. Everything else is a default.
    #[serde(default)]
    pub stated: BTreeMap<String, String>,
}

impl From<&kept::TopicSettings> for TopicSettings {
    fn from(settings: &kept::TopicSettings) -> Self {
        let text = |(name, value): (&std::sync::Arc<str>, &std::sync::Arc<str>)| {
            (name.to_string(), value.to_string())
        };
        Self {
            durability: match settings.durability {
                kept::Durability::Memory => Durability::Memory,
                kept::Durability::Os => Durability::Os,
                kept::Durability::Fsync => Durability::Fsync,
            },
            retention_ms: settings.retention_ms,
            retention_bytes: settings.retention_bytes,
            reclaim_on_ack: settings.reclaim_on_ack,
            keep_at_least_ms: settings.keep_at_least_ms,
            read_headers: settings.read_headers,
            message_bytes_max: settings.message_bytes_max,
            timestamp_type: match settings.timestamp_type {
                kept::TimestampType::CreateTime => TimestampType::CreateTime,
                kept::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            },
            timestamp_before_max_ms: settings.timestamp_before_max_ms,
            timestamp_after_max_ms: settings.timestamp_after_max_ms,
            stated: settings.stated.iter().map(text).collect(),
        }
    }
}

/// Settings to change, by either name. What is absent stays; null takes a limit away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SettingsChange(BTreeMap<String, Value>);

/// Most settings of one request: more than there are.
const CHANGES_MAX: usize = 200;

impl SettingsChange {
    /// Sets what a user wrote as `name=value`.
    ///
    /// # Errors
    ///
    /// [`Code::UnknownSetting`] with the nearest name, or [`Code::SettingValue`] with what it takes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let value = Value::String(value.to_owned());
        edit(name, &value)?;
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The changes in the words of the table.
    ///
    /// # Errors
    ///
    /// As [`Self::set`].
    pub fn edits(&self) -> Result<Vec<Edit>, Refusal> {
        if self.0.len() > CHANGES_MAX {
            let detail = format!("{} settings, there are fewer", self.0.len());
            return Err(Refusal::new(Code::SettingValue, detail));
        }
        self.0
            .iter()
            .map(|(name, value)| edit(name, value))
            .collect()
    }
}

/// One change, by the table.
fn edit(name: &str, value: &Value) -> Result<Edit, Refusal> {
    let Some(setting) = topic_setting(name) else {
        return Err(Refusal::new(Code::UnknownSetting, unknown(name)));
    };
    let bad = || {
        let shown = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let shown: String = shown.chars().take(100).collect();
        let detail = format!("{name} takes {}, not \"{shown}\"", takes(setting));
        Refusal::new(Code::SettingValue, detail)
    };
    let text = match value {
        Value::Null => no_limit(setting).ok_or_else(bad)?,
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) if text == "default" => {
            let operation = Operation::Unset;
            let name = setting.name.into();
            return Ok(Edit { name, operation });
        }
        Value::String(text) => written(setting, text).ok_or_else(bad)?,
        Value::Array(_) | Value::Object(_) => return Err(bad()),
    };
    let checked = setting.takes.check(&text).map_err(|_not_that| bad())?;
    if setting.standing == Standing::Only && checked != setting.default {
        let (only, why) = (setting.default, setting.about);
        let detail = format!("{name} can only be {only}: {why}");
        return Err(Refusal::new(Code::Unsupported, detail));
    }
    Ok(Edit {
        name: setting.name.into(),
        operation: Operation::Set(checked.into()),
    })
}

/// What stands for no limit, if the setting can have none.
fn no_limit(setting: &Setting) -> Option<String> {
    match setting.takes {
        Takes::Long(-1, _) => Some("-1".to_owned()),
        Takes::Long(_, most) if setting.name.starts_with("message.timestamp.") => {
            Some(most.to_string())
        }
        Takes::Bool
        | Takes::Int(..)
        | Takes::Long(..)
        | Takes::Fraction
        | Takes::Word(_)
        | Takes::Words(_)
        | Takes::Text
        | Takes::Document
        | Takes::Texts => None,
    }
}

/// The value that a person wrote, as the table has it.
fn written(setting: &Setting, text: &str) -> Option<String> {
    if matches!(text, "none" | "unlimited" | "-1")
        && let Some(none) = no_limit(setting)
    {
        return Some(none);
    }
    if text.parse::<i64>().is_ok() {
        return Some(text.to_owned());
    }
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    match (setting.name, text) {
        ("message.timestamp.type", "create_time") => Some("CreateTime".to_owned()),
        ("message.timestamp.type", "log_append_time") => Some("LogAppendTime".to_owned()),
        (name, text) if name.ends_with(".ms") => number(duration(text)),
        (name, text) if name.ends_with(".bytes") => number(size(text)),
        (_, text) => Some(text.to_owned()),
    }
}

/// What people are told that a setting takes.
#[must_use]
pub fn takes(setting: &Setting) -> String {
    let none = no_limit(setting).map_or("", |_| " or none");
    match setting.name {
        "message.timestamp.type" => "create_time or log_append_time".to_owned(),
        name if name.ends_with(".ms") => format!("a duration (7d, 12h, 60000){none}"),
        name if name.ends_with(".bytes") => format!("a size (10GiB, 1048576){none}"),
        _ => setting.takes.to_string(),
    }
}

/// No name of a setting is longer, misspelt or not: comparing takes time by the length.
const NAME_CHARS_MAX: usize = 64;

fn unknown(name: &str) -> String {
    let shown: String = name.chars().take(NAME_CHARS_MAX + 1).collect();
    if shown.chars().count() > NAME_CHARS_MAX {
        return format!("\"{shown}...\"");
    }
    let names = TOPIC
        .iter()
        .map(|setting| setting.own.unwrap_or(setting.name));
    let nearest = names.min_by_key(|n| distance(n, name));
    match nearest.filter(|nearest| distance(nearest, name) <= nearest.len() / 2) {
        Some(nearest) => format!("\"{name}\"; did you mean {nearest}?"),
        None => format!("\"{name}\""),
    }
}

/// The page for users: `docs/settings.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = "# Settings

<!-- Written by `UPDATE=1 cargo test -p mulgil-admin --test settings_page`. -->

Every setting that topics and the broker have. *Honoured* ones do what they say. What is *taken, means
nothing here* is kept and shown, so that tools which set it work, and does nothing, for the reason that
stands beside it. Of others *only the default* can be had; another value is refused with INVALID_CONFIG.
*Fixed* ones are given at the start or are constants. Names that are not in these tables are refused.

Kafka's admin clients see the same with `DescribeConfigs`. The HTTP API and `mulgil topic create --set`
take either name, sizes like `10GiB`, durations like `7d`, `none` for no limit, and `default` to take
back what was set.

## Topics

Where a topic states nothing, the broker's setting of the last column holds, if somebody has set it.

| name | in the API | takes | default | what becomes of it | what it does | broker's |
| --- | --- | --- | --- | --- | --- | --- |
"
    .to_owned();
    let code = |text: &str| match text {
        "" => String::new(),
        text => format!("`{text}`"),
    };
    for setting in TOPIC {
        let row = [
            code(setting.name),
            code(setting.own.unwrap_or_default()),
            setting.takes.to_string(),
            code(setting.default),
            setting.standing.word().to_owned(),
            setting.about.to_owned(),
            code(setting.inherits.unwrap_or_default()),
        ];
        page.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    page.push_str(
        "
## Topics, for the door of one protocol

| name | takes | default | what it does |
| --- | --- | --- | --- |
",
    );
    for setting in DOOR {
        let row = [
            code(setting.name),
            setting.takes.to_string(),
            code(setting.default),
            setting.about.to_owned(),
        ];
        page.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    page.push_str(
        "
## The broker

| name | takes | default | what becomes of it | what it does |
| --- | --- | --- | --- | --- |
",
    );
    for setting in BROKER {
        let row = [
            code(setting.name),
            setting.takes.to_string(),
            code(setting.default),
            setting.standing.word().to_owned(),
            setting.about.to_owned(),
        ];
        page.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    page
}

/// How many letters to change to make one of the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut next = vec![i + 1];
        for (pair, b) in row.windows(2).zip(right.chars()) {
            let [diagonal, above] = pair else { continue };
            let left = next.last().map_or(0, |left| left + 1);
            next.push((diagonal + usize::from(a != b)).min(above + 1).min(left));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, factor) = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Reads a duration in milliseconds: a bare number, or one with `ms`, `s`, `m`, `h` or `d`.
#[must_use]
pub fn duration(text: &str) -> Option<u64> {
    let units = [
        ("", 1),
        ("ms", 1),
        ("s", 1000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    scaled(text, &units)
}

/// Reads a size in bytes: a bare number, or one with `KiB`, `MiB`, `GiB`, `TiB`, `kB`, `MB`, `GB`, `TB`.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let units = [
        ("", 1),
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];
    scaled(text, &units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<Edit, Refusal> {
        edit(name, &Value::String(value.to_owned()))
    }

    #[test]
    fn settings_are_read_by_both_names() {
        for (name, value, kafka, canonical) in [
            ("retention.ms", "-1", "retention.ms", "-1"),
            ("retention_ms", "none", "retention.ms", "-1"),
            ("retention_bytes", "10GiB", "retention.bytes", "10737418240"),
            ("durability", "os", "mulgil.durability", "os"),
            (
                "message.timestamp.type",
                "LogAppendTime",
                "message.timestamp.type",
                "LogAppendTime",
            ),
            (
                "timestamp_type",
                "log_append_time",
                "message.timestamp.type",
                "LogAppendTime",
            ),
            (
                "timestamp_after_max_ms",
                "1h",
                "message.timestamp.after.max.ms",
                "3600000",
            ),
            (
                "timestamp_before_max_ms",
                "none",
                "message.timestamp.before.max.ms",
                "9223372036854775807",
            ),
            (
                "cleanup",
                "compact,delete",
                "cleanup.policy",
                "compact,delete",
            ),
            ("segment.ms", "7d", "segment.ms", "604800000"),
        ] {
            let edit = set(name, value).unwrap();
            assert_eq!(&*edit.name, kafka);
            assert_eq!(edit.operation, Operation::Set(canonical.into()));
        }
        let back = set("retention_ms", "default").unwrap();
        assert_eq!(back.operation, Operation::Unset);
    }

    #[test]
    fn a_misspelt_name_gets_a_suggestion() {
        let refusal = set("retenton_ms", "1").unwrap_err();
        assert_eq!(
            refusal.detail,
            "\"retenton_ms\"; did you mean retention_ms?"
        );
        let refusal = set("retention_ms", "soon").unwrap_err();
        assert!(refusal.detail.contains("a duration"), "{}", refusal.detail);
        let refusal = set("remote.storage.enable", "true").unwrap_err();
        assert_eq!(refusal.code, Code::Unsupported);
        assert!(set("max.message.bytes", "none").is_err());
    }

    #[test]
    fn a_name_that_is_too_long_is_compared_with_none_and_told_in_part() {
        // Compared with each letter of each name, this would take minutes.
        let long = "r".repeat(8 << 20);
        let refusal = set(&long, "1").unwrap_err();
        assert_eq!(refusal.code, Code::UnknownSetting);
        assert!(refusal.detail.len() < 100, "{} bytes", refusal.detail.len());
        let longest = TOPIC
            .iter()
            .flat_map(|setting| [Some(setting.name), setting.own]);
        let longest = longest.flatten().map(str::len).max();
        assert!(longest < Some(NAME_CHARS_MAX), "{longest:?}");
    }

    #[test]
    fn null_takes_a_limit_away_and_a_number_sets_it() {
        let read = |json| serde_json::from_str::<SettingsChange>(json).unwrap();
        assert!(read("{}").is_empty());
        let one = |json| read(json).edits().map(|edits| edits[0].operation.clone());
        assert_eq!(
            one(r#"{"retention_ms":null}"#).unwrap(),
            Operation::Set("-1".into())
        );
        assert_eq!(
            one(r#"{"retention_ms":5}"#).unwrap(),
            Operation::Set("5".into())
        );
        assert_eq!(
            one(r#"{"retention":5}"#).unwrap_err().code,
            Code::UnknownSetting
        );
        assert_eq!(
            one(r#"{"message_bytes_max":null}"#).unwrap_err().code,
            Code::SettingValue
        );
        assert_eq!(
            one(r#"{"retention_ms":[1]}"#).unwrap_err().code,
            Code::SettingValue
        );
        let json = serde_json::to_string(&read(r#"{"retention_ms":null}"#)).unwrap();
        assert_eq!(json, r#"{"retention_ms":null}"#);
    }
}
