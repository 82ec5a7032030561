//! Changes of metadata as bytes: the payload of a `Metadata` entry and of the checkpoint's pages.
//!
//! ```text
//! tag u8, then by tag; all numbers little-endian; a string is u16 length + UTF-8
//!   1 created  : id u128, vhost str, name str, created ms u64, settings, u32 n, n partition ids u64
//!   2 deleted  : id u128
//!   3 altered  : id u128, settings
//!   4 added    : id u128, u32 n, n partition ids u64
//!   5 ids taken: next partition u64, revision u64
//!   6 created  : as 1, with the long settings
//!   7 altered  : as 3, with the long settings
//! settings: durability u8, timestamp type u8, reclaim u8, 0 u8, message bytes max u32, then
//!           retention ms, retention bytes, before max ms, after max ms: u64 each, all ones = none
//! long    : settings, cleanup u8 (1 delete, 2 compact), codec u8 (255 = the producer's), 0 u16, dirty
//!           ratio u32, min and max compaction lag ms, delete retention ms: u64 each, u16 n, n pairs
//!           of str: what somebody has stated
//! ```
//!
//! Tags 1 and 3 are read and no longer written: what lies in them has the other settings' defaults.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use mulgil_record::compression::Codec;
use mulgil_record::ids::{PartitionId, TopicId};

use crate::schema::{Cleanup, Durability, TimestampType, Topic, TopicName, TopicSettings};
use crate::state::Change;

/// Bytes are not a change of metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a change of metadata that this version knows")]
pub struct WireError;

impl From<bytes::TryGetError> for WireError {
    fn from(_: bytes::TryGetError) -> Self {
        Self
    }
}

impl Change {
    /// The change as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        match self {
            Self::TopicCreated(topic) => {
                out.put_u8(6);
                out.put_u128_le(topic.id.0);
                put_str(&mut out, &topic.name.vhost);
                put_str(&mut out, &topic.name.name);
                out.put_u64_le(topic.created_ms);
                put_long_settings(&mut out, &topic.settings);
                put_partitions(&mut out, &topic.partitions);
            }
            Self::TopicDeleted { id } => {
                out.put_u8(2);
                out.put_u128_le(id.0);
            }
            Self::TopicAltered { id, settings } => {
                out.put_u8(7);
                out.put_u128_le(id.0);
                put_long_settings(&mut out, settings);
            }
            Self::PartitionsAdded { id, partitions } => {
                out.put_u8(4);
                out.put_u128_le(id.0);
                put_partitions(&mut out, partitions);
            }
            Self::IdsTaken {
                next_partition,
                revision,
            } => {
                out.put_u8(5);
                out.put_u64_le(*next_partition);
                out.put_u64_le(*revision);
            }
        }
        out
    }

    /// Reads a change.
    ///
    /// # Errors
    ///
    /// The bytes are none, or one of a newer version.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, WireError> {
        let from = &mut bytes;
        let change = match from.try_get_u8()? {
            1 => Self::TopicCreated(get_topic(from, get_settings)?),
            6 => Self::TopicCreated(get_topic(from, get_long_settings)?),
            2 => Self::TopicDeleted {
                id: TopicId(from.try_get_u128_le()?),
            },
            3 => Self::TopicAltered {
                id: TopicId(from.try_get_u128_le()?),
                settings: get_settings(from)?,
            },
            7 => Self::TopicAltered {
                id: TopicId(from.try_get_u128_le()?),
                settings: get_long_settings(from)?,
            },
            4 => Self::PartitionsAdded {
                id: TopicId(from.try_get_u128_le()?),
                partitions: get_partitions(from)?,
            },
            5 => Self::IdsTaken {
                next_partition: from.try_get_u64_le()?,
                revision: from.try_get_u64_le()?,
            },
            _ => return Err(WireError),
        };
        if from.is_empty() {
            Ok(change)
        } else {
            Err(WireError)
        }
    }
}

type GetSettings = fn(&mut &[u8]) -> Result<TopicSettings, WireError>;

fn get_topic(from: &mut &[u8], get_settings: GetSettings) -> Result<Topic, WireError> {
    Ok(Topic {
        id: TopicId(from.try_get_u128_le()?),
        name: TopicName {
            vhost: get_str(from)?.into(),
            name: get_str(from)?.into(),
        },
        created_ms: from.try_get_u64_le()?,
        settings: get_settings(from)?,
        partitions: get_partitions(from)?,
    })
}

fn put_str(out: &mut Vec<u8>, text: &str) {
    // Names are at most 255 bytes, see `state::NAME_BYTES_MAX`; values are as short.
    out.put_u16_le(u16::try_from(text.len()).expect("a name is short"));
    out.put_slice(text.as_bytes());
}

fn get_str<'a>(from: &mut &'a [u8]) -> Result<&'a str, WireError> {
    let length = usize::from(from.try_get_u16_le()?);
    let (text, rest) = from.split_at_checked(length).ok_or(WireError)?;
    *from = rest;
    std::str::from_utf8(text).map_err(|_not_utf8| WireError)
}

fn put_partitions(out: &mut Vec<u8>, partitions: &[PartitionId]) {
    out.put_u32_le(u32::try_from(partitions.len()).expect("a topic has few partitions"));
    for partition in partitions {
        out.put_u64_le(partition.0);
    }
}

fn get_partitions(from: &mut &[u8]) -> Result<Vec<PartitionId>, WireError> {
    let count = from.try_get_u32_le()? as usize;
    if from.len() < count.saturating_mul(8) {
        return Err(WireError);
    }
    let mut partitions = Vec::with_capacity(count);
    for _ in 0..count {
        partitions.push(PartitionId(from.try_get_u64_le()?));
    }
    Ok(partitions)
}

const NONE: u64 = u64::MAX;

fn put_settings(out: &mut Vec<u8>, settings: &TopicSettings) {
    out.put_u8(match settings.durability {
        Durability::Memory => 0,
        Durability::Os => 1,
        Durability::Fsync => 2,
    });
    out.put_u8(match settings.timestamp_type {
        TimestampType::CreateTime => 0,
        TimestampType::LogAppendTime => 1,
    });
    out.put_u8(u8::from(settings.reclaim_on_ack));
    out.put_u8(0);
    out.put_u32_le(settings.message_bytes_max);
    out.put_u64_le(settings.retention_ms.unwrap_or(NONE));
    out.put_u64_le(settings.retention_bytes.unwrap_or(NONE));
    out.put_u64_le(settings.timestamp_before_max_ms.unwrap_or(NONE));
    out.put_u64_le(settings.timestamp_after_max_ms.unwrap_or(NONE));
}

fn get_settings(from: &mut &[u8]) -> Result<TopicSettings, WireError> {
    let durability = match from.try_get_u8()? {
        0 => Durability::Memory,
        1 => Durability::Os,
        2 => Durability::Fsync,
        _ => return Err(WireError),
    };
    let timestamp_type = match from.try_get_u8()? {
        0 => TimestampType::CreateTime,
        1 => TimestampType::LogAppendTime,
        _ => return Err(WireError),
    };
    let reclaim_on_ack = from.try_get_u8()? != 0;
    from.try_get_u8()?;
    let limit = |value: u64| (value != NONE).then_some(value);
    Ok(TopicSettings {
        durability,
        timestamp_type,
        reclaim_on_ack,
        message_bytes_max: from.try_get_u32_le()?,
        retention_ms: limit(from.try_get_u64_le()?),
        retention_bytes: limit(from.try_get_u64_le()?),
        timestamp_before_max_ms: limit(from.try_get_u64_le()?),
        timestamp_after_max_ms: limit(from.try_get_u64_le()?),
        ..TopicSettings::default()
    })
}

const DELETE: u8 = 1;
const COMPACT: u8 = 2;
/// In place of a codec's id: as the producer has packed.
const AS_PRODUCED: u8 = u8::MAX;

fn put_long_settings(out: &mut Vec<u8>, settings: &TopicSettings) {
    put_settings(out, settings);
    let Cleanup { delete, compact } = settings.cleanup;
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    out.put_u8(bit(delete, DELETE) | bit(compact, COMPACT));
    out.put_u8(settings.compression.map_or(AS_PRODUCED, Codec::id));
    out.put_u16_le(0);
    out.put_u32_le(settings.min_cleanable_dirty_ratio_permille);
    out.put_u64_le(settings.min_compaction_lag_ms);
    out.put_u64_le(settings.max_compaction_lag_ms);
    out.put_u64_le(settings.delete_retention_ms);
    put_pairs(out, &settings.stated);
}

fn get_long_settings(from: &mut &[u8]) -> Result<TopicSettings, WireError> {
    let settings = get_settings(from)?;
    let cleanup = from.try_get_u8()?;
    if cleanup & !(DELETE | COMPACT) != 0 {
        return Err(WireError);
    }
    let compression = match from.try_get_u8()? {
        AS_PRODUCED => None,
        id => Some(Codec::from_id(id).ok_or(WireError)?),
    };
    from.try_get_u16_le()?;
    Ok(TopicSettings {
        cleanup: Cleanup {
            delete: cleanup & DELETE != 0,
            compact: cleanup & COMPACT != 0,
        },
        compression,
        min_cleanable_dirty_ratio_permille: from.try_get_u32_le()?,
        min_compaction_lag_ms: from.try_get_u64_le()?,
        max_compaction_lag_ms: from.try_get_u64_le()?,
        delete_retention_ms: from.try_get_u64_le()?,
        stated: get_pairs(from)?,
        ..settings
    })
}

fn put_pairs(out: &mut Vec<u8>, pairs: &BTreeMap<Arc<str>, Arc<str>>) {
    // Each is the name of a setting, of which there are some dozens.
    out.put_u16_le(u16::try_from(pairs.len()).expect("settings are few"));
    for (name, value) in pairs {
        put_str(out, name);
        put_str(out, value);
    }
}

fn get_pairs(from: &mut &[u8]) -> Result<BTreeMap<Arc<str>, Arc<str>>, WireError> {
    let count = from.try_get_u16_le()?;
    let mut pairs = BTreeMap::new();
    for _ in 0..count {
        let name = get_str(from)?.into();
        pairs.insert(name, get_str(from)?.into());
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn short() -> impl Strategy<Value = TopicSettings> {
        let durability = prop_oneof![
            Just(Durability::Memory),
            Just(Durability::Os),
            Just(Durability::Fsync)
        ];
        let timestamp_type = prop_oneof![
            Just(TimestampType::CreateTime),
            Just(TimestampType::LogAppendTime)
        ];
        let limits = [(); 4].map(|()| proptest::option::of(0..u64::MAX));
        (durability, timestamp_type, any::<(bool, u32)>(), limits).prop_map(
            |(durability, timestamp_type, (reclaim_on_ack, message_bytes_max), [a, b, c, d])| {
                TopicSettings {
                    durability,
                    retention_ms: a,
                    retention_bytes: b,
                    message_bytes_max,
                    timestamp_type,
                    timestamp_before_max_ms: c,
                    timestamp_after_max_ms: d,
                    reclaim_on_ack,
                    ..TopicSettings::default()
                }
            },
        )
    }

    fn settings() -> impl Strategy<Value = TopicSettings> {
        let compression =
            proptest::option::of((0..5_u8).prop_map(|id| Codec::from_id(id).unwrap()));
        let stated = proptest::collection::btree_map("[a-z.]{1,20}", "[a-z0-9]{0,9}", 0..4);
        let compaction = any::<(bool, bool, u32, u64, u64, u64)>();
        (short(), compaction, compression, stated).prop_map(
            |(settings, (delete, compact, ratio, least, most, kept), compression, stated)| {
                let shared = |(name, value): (String, String)| (name.into(), value.into());
                TopicSettings {
                    cleanup: Cleanup { delete, compact },
                    min_cleanable_dirty_ratio_permille: ratio,
                    min_compaction_lag_ms: least,
                    max_compaction_lag_ms: most,
                    delete_retention_ms: kept,
                    compression,
                    stated: stated.into_iter().map(shared).collect(),
                    ..settings
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            id: u128, name in "[a-z]{1,20}", created: u64, settings in settings(),
            partitions in proptest::collection::vec(any::<u64>().prop_map(PartitionId), 0..9),
        ) {
            let name = TopicName::in_default(&name);
            let topic = Topic { id: TopicId(id), name, partitions: partitions.clone(),
                settings: settings.clone(), created_ms: created };
            for change in [
                Change::TopicCreated(topic),
                Change::TopicDeleted { id: TopicId(id) },
                Change::TopicAltered { id: TopicId(id), settings },
                Change::PartitionsAdded { id: TopicId(id), partitions },
                Change::IdsTaken { next_partition: created, revision: created },
            ] {
                let bytes = change.encode();
                prop_assert_eq!(Change::decode(&bytes), Ok(change));
                prop_assert_eq!(Change::decode(&bytes[..bytes.len() - 1]), Err(WireError));
            }
        }

        #[test]
        fn what_earlier_versions_wrote_is_read(
            id: u128, created: u64, settings in short(),
            partitions in proptest::collection::vec(any::<u64>().prop_map(PartitionId), 0..9),
        ) {
            let mut altered = vec![3];
            altered.put_u128_le(id);
            put_settings(&mut altered, &settings);
            let change = Change::TopicAltered { id: TopicId(id), settings: settings.clone() };
            prop_assert_eq!(Change::decode(&altered), Ok(change));
            let mut bytes = vec![1];
            bytes.put_u128_le(id);
            put_str(&mut bytes, "/");
            put_str(&mut bytes, "t");
            bytes.put_u64_le(created);
            put_settings(&mut bytes, &settings);
            put_partitions(&mut bytes, &partitions);
            let topic = Topic { id: TopicId(id), name: TopicName::in_default("t"), partitions,
                settings, created_ms: created };
            prop_assert_eq!(Change::decode(&bytes), Ok(Change::TopicCreated(topic)));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            drop(Change::decode(&bytes));
        }
    }
}
