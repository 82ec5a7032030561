//! The settings of a topic by the names that Kafka gives them (`TopicConfig`).
//!
//! Only what is honoured is taken; every other name is refused by name, so that nobody believes in a
//! setting that does nothing.

use mulgil_broker::meta::schema::{Durability, TimestampType, TopicSettings};

/// A setting and its value, as text.
pub(crate) type Row = (&'static str, String);

/// Without limit, where -1 says so.
const NO_LIMIT: i64 = -1;

/// Kafka's default for timestamps that may be as old as they like.
const ANY_AGE: i64 = i64::MAX;

/// Sets the setting `name` to `value`; no value means the default.
///
/// # Errors
///
/// Says what is wrong, for the client.
pub(crate) fn set(
    settings: &mut TopicSettings,
    name: &str,
    value: Option<&str>,
) -> Result<(), String> {
    let default = TopicSettings::default();
    let Some(value) = value.map(str::trim) else {
        // `ConfigurationControlManager`: a null value takes a setting back to its default.
        return reset(settings, &default, name);
    };
    match name {
        "retention.ms" => settings.retention_ms = limit(name, value)?,
        "retention.bytes" => settings.retention_bytes = limit(name, value)?,
        "max.message.bytes" => settings.message_bytes_max = number(name, value, 0, i32::MAX)?,
        "message.timestamp.type" => settings.timestamp_type = timestamp_type(name, value)?,
        "message.timestamp.before.max.ms" => {
            settings.timestamp_before_max_ms = distance(name, value)?;
        }
        "message.timestamp.after.max.ms" => {
            settings.timestamp_after_max_ms = distance(name, value)?;
        }
        "cleanup.policy" if value == "delete" => {}
        "cleanup.policy" => {
            return Err(format!(
                "{name}={value} is not supported by this broker, only delete is"
            ));
        }
        "mulgil.durability" => settings.durability = durability(name, value)?,
        _ => return Err(unknown(name)),
    }
    Ok(())
}

fn reset(settings: &mut TopicSettings, default: &TopicSettings, name: &str) -> Result<(), String> {
    match name {
        "retention.ms" => settings.retention_ms = default.retention_ms,
        "retention.bytes" => settings.retention_bytes = default.retention_bytes,
        "max.message.bytes" => settings.message_bytes_max = default.message_bytes_max,
        "message.timestamp.type" => settings.timestamp_type = default.timestamp_type,
        "message.timestamp.before.max.ms" => {
            settings.timestamp_before_max_ms = default.timestamp_before_max_ms;
        }
        "message.timestamp.after.max.ms" => {
            settings.timestamp_after_max_ms = default.timestamp_after_max_ms;
        }
        "cleanup.policy" => {}
        "mulgil.durability" => settings.durability = default.durability,
        _ => return Err(unknown(name)),
    }
    Ok(())
}

/// All settings with their values, by name.
pub(crate) fn rows(settings: &TopicSettings) -> Vec<Row> {
    let limit =
        |value: Option<u64>, none: i64| value.map_or_else(|| none.to_string(), |v| v.to_string());
    vec![
        ("cleanup.policy", "delete".to_owned()),
        ("max.message.bytes", settings.message_bytes_max.to_string()),
        (
            "message.timestamp.after.max.ms",
            limit(settings.timestamp_after_max_ms, ANY_AGE),
        ),
        (
            "message.timestamp.before.max.ms",
            limit(settings.timestamp_before_max_ms, ANY_AGE),
        ),
        (
            "message.timestamp.type",
            match settings.timestamp_type {
                TimestampType::CreateTime => "CreateTime".to_owned(),
                TimestampType::LogAppendTime => "LogAppendTime".to_owned(),
            },
        ),
        (
            "mulgil.durability",
            match settings.durability {
                Durability::Fsync => "fsync".to_owned(),
                Durability::Os => "os".to_owned(),
                Durability::Memory => "memory".to_owned(),
            },
        ),
        ("retention.bytes", limit(settings.retention_bytes, NO_LIMIT)),
        ("retention.ms", limit(settings.retention_ms, NO_LIMIT)),
    ]
}

fn number<T: TryFrom<i64>>(name: &str, value: &str, least: i64, most: i32) -> Result<T, String> {
    let parsed: i64 = value.parse().map_err(|_not_a_number| bad(name, value))?;
    if !(least..=i64::from(most)).contains(&parsed) {
        return Err(bad(name, value));
    }
    T::try_from(parsed).map_err(|_out_of_range| bad(name, value))
}

/// A limit; -1 for none.
fn limit(name: &str, value: &str) -> Result<Option<u64>, String> {
    match value.parse::<i64>() {
        Ok(NO_LIMIT) => Ok(None),
        Ok(limit) => u64::try_from(limit)
            .map(Some)
            .map_err(|_negative| bad(name, value)),
        Err(_) => Err(bad(name, value)),
    }
}

/// How far a timestamp may lie from the clock; the largest number for any distance.
fn distance(name: &str, value: &str) -> Result<Option<u64>, String> {
    match value.parse::<i64>() {
        Ok(ANY_AGE) => Ok(None),
        Ok(distance) => u64::try_from(distance)
            .map(Some)
            .map_err(|_negative| bad(name, value)),
        Err(_) => Err(bad(name, value)),
    }
}

fn timestamp_type(name: &str, value: &str) -> Result<TimestampType, String> {
    match value {
        "CreateTime" => Ok(TimestampType::CreateTime),
        "LogAppendTime" => Ok(TimestampType::LogAppendTime),
        _ => Err(bad(name, value)),
    }
}

fn durability(name: &str, value: &str) -> Result<Durability, String> {
    match value {
        "fsync" => Ok(Durability::Fsync),
        "os" => Ok(Durability::Os),
        "memory" => Ok(Durability::Memory),
        _ => Err(bad(name, value)),
    }
}

fn bad(name: &str, value: &str) -> String {
    format!("invalid value {value} for configuration {name}")
}

fn unknown(name: &str) -> String {
    format!("topic configuration {name} is not supported by this broker")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_set_again() {
        let settings = TopicSettings {
            durability: Durability::Os,
            retention_ms: None,
            retention_bytes: Some(5),
            message_bytes_max: 77,
            timestamp_type: TimestampType::LogAppendTime,
            timestamp_before_max_ms: Some(1),
            timestamp_after_max_ms: None,
            ..TopicSettings::default()
        };
        let mut again = TopicSettings::default();
        for (name, value) in rows(&settings) {
            set(&mut again, name, Some(&value)).unwrap();
        }
        assert_eq!(again, settings);
        for (name, _) in rows(&settings) {
            set(&mut again, name, None).unwrap();
        }
        assert_eq!(again, TopicSettings::default());
    }

    #[test]
    fn what_is_not_honoured_is_refused_by_name() {
        let mut settings = TopicSettings::default();
        for (name, value) in [
            ("segment.ms", "1"),
            ("cleanup.policy", "compact"),
            ("retention.ms", "-2"),
            ("retention.bytes", "much"),
            ("max.message.bytes", "3000000000"),
            ("mulgil.durability", "stone"),
        ] {
            let refusal = set(&mut settings, name, Some(value)).unwrap_err();
            assert!(refusal.contains(name), "{refusal}");
        }
        assert_eq!(settings, TopicSettings::default());
    }
}
