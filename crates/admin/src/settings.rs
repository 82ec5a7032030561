//! The settings of a topic: their names, how they are written, and how they are changed.
//!
//! One row of [`SETTINGS`] is one setting. Kafka's name for it is taken as well, so that what people
//! know works. Sizes are written `1048576` or `1MiB`, durations in milliseconds or `7d`, and what has
//! no limit is `none` (Kafka's `-1` means the same).

use serde::{Deserialize, Deserializer, Serialize};

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
    /// Largest record batch, bytes.
    pub message_bytes_max: u32,
    /// Which timestamp a record carries.
    pub timestamp_type: TimestampType,
    /// How far a producer's timestamp may lie in the past, milliseconds.
    pub timestamp_before_max_ms: Option<u64>,
    /// How far a producer's timestamp may lie in the future, milliseconds.
    pub timestamp_after_max_ms: Option<u64>,
}

/// Settings to change. What is absent stays; null takes a limit away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettingsChange {
    /// What an acknowledgement means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// How long a record is kept, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub retention_ms: Option<Option<u64>>,
    /// How much of each partition is kept, bytes.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub retention_bytes: Option<Option<u64>>,
    /// Whether what every subscription has settled is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaim_on_ack: Option<bool>,
    /// Largest record batch, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_bytes_max: Option<u32>,
    /// Which timestamp a record carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_type: Option<TimestampType>,
    /// How far a producer's timestamp may lie in the past, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub timestamp_before_max_ms: Option<Option<u64>>,
    /// How far a producer's timestamp may lie in the future, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub timestamp_after_max_ms: Option<Option<u64>>,
}

/// Tells a null that stands there from a field that is absent.
#[expect(
    clippy::option_option,
    reason = "absent, null and a number are three different wishes"
)]
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// One setting as users write it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Kafka's name for it, if Kafka has it.
    pub kafka: Option<&'static str>,
    /// What it takes, for help and errors.
    pub takes: &'static str,
    set: fn(&mut SettingsChange, &str) -> Option<()>,
}

/// All settings of a topic.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "durability",
        kafka: None,
        takes: "fsync, os or memory",
        set: |change, text| word(text).map(|value| change.durability = Some(value)),
    },
    Setting {
        name: "retention_ms",
        kafka: Some("retention.ms"),
        takes: "a duration (7d, 12h, 60000) or none",
        set: |change, text| limit(text, duration).map(|value| change.retention_ms = Some(value)),
    },
    Setting {
        name: "retention_bytes",
        kafka: Some("retention.bytes"),
        takes: "a size (10GiB, 1048576) or none",
        set: |change, text| limit(text, size).map(|value| change.retention_bytes = Some(value)),
    },
    Setting {
        name: "reclaim_on_ack",
        kafka: None,
        takes: "true or false",
        set: |change, text| {
            text.parse()
                .ok()
                .map(|value| change.reclaim_on_ack = Some(value))
        },
    },
    Setting {
        name: "message_bytes_max",
        kafka: Some("max.message.bytes"),
        takes: "a size (1MiB, 1048588)",
        set: |change, text| {
            let value = u32::try_from(size(text)?).ok()?;
            change.message_bytes_max = Some(value);
            Some(())
        },
    },
    Setting {
        name: "timestamp_type",
        kafka: Some("message.timestamp.type"),
        takes: "create_time or log_append_time",
        set: |change, text| {
            let text = match text {
                "CreateTime" => "create_time",
                "LogAppendTime" => "log_append_time",
                other => other,
            };
            word(text).map(|value| change.timestamp_type = Some(value))
        },
    },
    Setting {
        name: "timestamp_before_max_ms",
        kafka: Some("message.timestamp.before.max.ms"),
        takes: "a duration (7d, 60000) or none",
        set: |change, text| {
            limit(text, duration).map(|value| change.timestamp_before_max_ms = Some(value))
        },
    },
    Setting {
        name: "timestamp_after_max_ms",
        kafka: Some("message.timestamp.after.max.ms"),
        takes: "a duration (1h, 60000) or none",
        set: |change, text| {
            limit(text, duration).map(|value| change.timestamp_after_max_ms = Some(value))
        },
    },
];

impl SettingsChange {
    /// Sets what a user wrote as `name=value`.
    ///
    /// # Errors
    ///
    /// [`Code::UnknownSetting`] with the nearest name, or [`Code::SettingValue`] with what it takes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let known = |setting: &&Setting| setting.name == name || setting.kafka == Some(name);
        let Some(setting) = SETTINGS.iter().find(known) else {
            return Err(Refusal::new(Code::UnknownSetting, unknown(name)));
        };
        (setting.set)(self, value).ok_or_else(|| {
            let detail = format!("{name} takes {}, not \"{value}\"", setting.takes);
            Refusal::new(Code::SettingValue, detail)
        })
    }

    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `settings` with the changes made.
    #[must_use]
    pub fn applied_to(&self, settings: TopicSettings) -> TopicSettings {
        let old = settings;
        TopicSettings {
            durability: self.durability.unwrap_or(old.durability),
            retention_ms: self.retention_ms.unwrap_or(old.retention_ms),
            retention_bytes: self.retention_bytes.unwrap_or(old.retention_bytes),
            reclaim_on_ack: self.reclaim_on_ack.unwrap_or(old.reclaim_on_ack),
            message_bytes_max: self.message_bytes_max.unwrap_or(old.message_bytes_max),
            timestamp_type: self.timestamp_type.unwrap_or(old.timestamp_type),
            timestamp_before_max_ms: self
                .timestamp_before_max_ms
                .unwrap_or(old.timestamp_before_max_ms),
            timestamp_after_max_ms: self
                .timestamp_after_max_ms
                .unwrap_or(old.timestamp_after_max_ms),
        }
    }
}

fn unknown(name: &str) -> String {
    let nearest = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .min_by_key(|n| distance(n, name));
    match nearest.filter(|nearest| distance(nearest, name) <= nearest.len() / 2) {
        Some(nearest) => format!("\"{name}\"; did you mean {nearest}?"),
        None => format!("\"{name}\""),
    }
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

fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    serde_json::from_value(text.into()).ok()
}

#[expect(
    clippy::option_option,
    reason = "not readable, without limit and a number are three things"
)]
fn limit(text: &str, read: fn(&str) -> Option<u64>) -> Option<Option<u64>> {
    match text {
        "none" | "unlimited" | "-1" => Some(None),
        _ => read(text).map(Some),
    }
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

    #[test]
    fn settings_are_read_by_both_names() {
        let mut change = SettingsChange::default();
        for (name, value) in [
            ("retention.ms", "-1"),
            ("retention_bytes", "10GiB"),
            ("durability", "os"),
            ("message.timestamp.type", "LogAppendTime"),
            ("timestamp_after_max_ms", "1h"),
        ] {
            change.set(name, value).unwrap();
        }
        assert_eq!(change.retention_ms, Some(None));
        assert_eq!(change.retention_bytes, Some(Some(10 << 30)));
        assert_eq!(change.durability, Some(Durability::Os));
        assert_eq!(change.timestamp_type, Some(TimestampType::LogAppendTime));
        assert_eq!(change.timestamp_after_max_ms, Some(Some(3_600_000)));
        assert_eq!(change.message_bytes_max, None);
    }

    #[test]
    fn a_misspelt_name_gets_a_suggestion() {
        let refusal = SettingsChange::default()
            .set("retenton_ms", "1")
            .unwrap_err();
        assert_eq!(
            refusal.detail,
            "\"retenton_ms\"; did you mean retention_ms?"
        );
        let refusal = SettingsChange::default()
            .set("retention_ms", "soon")
            .unwrap_err();
        assert!(refusal.detail.contains("a duration"), "{}", refusal.detail);
    }

    #[test]
    fn absent_null_and_a_number_are_three_things() {
        let read = |json| serde_json::from_str::<SettingsChange>(json).unwrap();
        assert_eq!(read("{}").retention_ms, None);
        assert_eq!(read(r#"{"retention_ms":null}"#).retention_ms, Some(None));
        assert_eq!(read(r#"{"retention_ms":5}"#).retention_ms, Some(Some(5)));
        assert!(serde_json::from_str::<SettingsChange>(r#"{"retention":5}"#).is_err());
        let json = serde_json::to_string(&read(r#"{"retention_ms":null}"#)).unwrap();
        assert_eq!(json, r#"{"retention_ms":null}"#);
    }
}
