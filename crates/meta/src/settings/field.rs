//! From the name of an honoured setting to its field, and back.

use mulgil_record::compression::Codec;

use super::value::list;
use crate::schema::{Cleanup, Durability, TimestampType, TopicSettings};

/// Without limit, where -1 says so.
const NO_LIMIT: &str = "-1";
/// The name that stands for batches without a codec.
const UNCOMPRESSED: &str = "uncompressed";
/// The name that stands for batches as they came.
const AS_PRODUCED: &str = "producer";

/// The value of an honoured setting; none for other names.
pub(crate) fn get(settings: &TopicSettings, name: &str) -> Option<String> {
    let limit = |value: Option<u64>| value.map_or_else(|| NO_LIMIT.to_owned(), |v| v.to_string());
    // A distance without bound is the largest number, as an age is at most that.
    let distance = |value: Option<u64>| value.unwrap_or(i64::MAX.unsigned_abs()).to_string();
    Some(match name {
        "cleanup.policy" => cleanup(settings.cleanup),
        "compression.type" => match settings.compression {
            None => AS_PRODUCED.to_owned(),
            Some(Codec::None) => UNCOMPRESSED.to_owned(),
            Some(codec) => codec.name().to_owned(),
        },
        "delete.retention.ms" => settings.delete_retention_ms.to_string(),
        "max.compaction.lag.ms" => settings.max_compaction_lag_ms.to_string(),
        "max.message.bytes" => settings.message_bytes_max.to_string(),
        "message.timestamp.after.max.ms" => distance(settings.timestamp_after_max_ms),
        "message.timestamp.before.max.ms" => distance(settings.timestamp_before_max_ms),
        "message.timestamp.type" => match settings.timestamp_type {
            TimestampType::CreateTime => "CreateTime".to_owned(),
            TimestampType::LogAppendTime => "LogAppendTime".to_owned(),
        },
        "min.cleanable.dirty.ratio" => {
            (f64::from(settings.min_cleanable_dirty_ratio_permille) / 1000.0).to_string()
        }
        "min.compaction.lag.ms" => settings.min_compaction_lag_ms.to_string(),
        "mulgil.durability" => match settings.durability {
            Durability::Fsync => "fsync".to_owned(),
            Durability::Os => "os".to_owned(),
            Durability::Memory => "memory".to_owned(),
        },
        "mulgil.keep.at.least.ms" => settings.keep_at_least_ms.to_string(),
        "mulgil.read.headers" => settings.read_headers.to_string(),
        "mulgil.reclaim.on.ack" => settings.reclaim_on_ack.to_string(),
        "retention.bytes" => limit(settings.retention_bytes),
        "retention.ms" => limit(settings.retention_ms),
        _ => return None,
    })
}

/// Sets an honoured setting; none if `value` was not checked, or the name is another.
pub(crate) fn put(settings: &mut TopicSettings, name: &str, value: &str) -> Option<()> {
    // A number below 0 stands for no limit.
    let limit = |value: &str| value.parse::<i64>().ok().map(|v| u64::try_from(v).ok());
    let natural = |value: &str| value.parse::<u64>().ok();
    let distance =
        |value| Some(natural(value)?).map(|v| (v < i64::MAX.unsigned_abs()).then_some(v));
    match name {
        "cleanup.policy" => {
            let words = list(value);
            settings.cleanup = Cleanup {
                delete: words.contains(&"delete"),
                compact: words.contains(&"compact"),
            };
        }
        "compression.type" => {
            settings.compression = match value {
                AS_PRODUCED => None,
                UNCOMPRESSED => Some(Codec::None),
                name => Some(Codec::ALL.into_iter().find(|codec| codec.name() == name)?),
            }
        }
        "delete.retention.ms" => settings.delete_retention_ms = natural(value)?,
        "max.compaction.lag.ms" => settings.max_compaction_lag_ms = natural(value)?,
        "max.message.bytes" => settings.message_bytes_max = value.parse().ok()?,
        "message.timestamp.after.max.ms" => settings.timestamp_after_max_ms = distance(value)?,
        "message.timestamp.before.max.ms" => settings.timestamp_before_max_ms = distance(value)?,
        "message.timestamp.type" => {
            settings.timestamp_type = match value {
                "CreateTime" => TimestampType::CreateTime,
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => return None,
            }
        }
        "min.cleanable.dirty.ratio" => {
            settings.min_cleanable_dirty_ratio_permille = permille(value)?;
        }
        "min.compaction.lag.ms" => settings.min_compaction_lag_ms = natural(value)?,
        "mulgil.durability" => {
            settings.durability = match value {
                "fsync" => Durability::Fsync,
                "os" => Durability::Os,
                "memory" => Durability::Memory,
                _ => return None,
            }
        }
        "mulgil.keep.at.least.ms" => settings.keep_at_least_ms = natural(value)?,
        "mulgil.read.headers" => settings.read_headers = value.parse().ok()?,
        "mulgil.reclaim.on.ack" => settings.reclaim_on_ack = value.parse().ok()?,
        "retention.bytes" => settings.retention_bytes = limit(value)?,
        "retention.ms" => settings.retention_ms = limit(value)?,
        _ => return None,
    }
    Some(())
}

fn cleanup(cleanup: Cleanup) -> String {
    let words = [("compact", cleanup.compact), ("delete", cleanup.delete)];
    let words = words
        .into_iter()
        .filter(|(_, on)| *on)
        .map(|(word, _)| word);
    words.collect::<Vec<_>>().join(",")
}

/// Thousandths, rounded.
fn permille(fraction: &str) -> Option<u32> {
    let fraction: f64 = fraction.parse().ok()?;
    // A hundred thousandths of a partition decide nothing.
    (0..=1000_u32).min_by(|a, b| {
        let far = |permille: &u32| (f64::from(*permille) / 1000.0 - fraction).abs();
        far(a).total_cmp(&far(b))
    })
}
