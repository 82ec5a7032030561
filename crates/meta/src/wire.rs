//! Changes of metadata as bytes: the payload of a `Metadata` entry and of the checkpoint's pages.
//!
//! ```text
//! tag u8, then by tag; all numbers little-endian; a string is u16 length + UTF-8
//!   1 created  : id u128, vhost str, name str, created ms u64, settings, u32 n, n partition ids u64
//!   2 deleted  : id u128
//!   3 altered  : id u128, settings
//!   4 added    : id u128, u32 n, n partition ids u64
//!   5 ids taken: next partition u64, revision u64
//! settings: durability u8, timestamp type u8, reclaim u8, 0 u8, message bytes max u32, then
//!           retention ms, retention bytes, before max ms, after max ms: u64 each, all ones = none
//! ```

use bytes::{Buf, BufMut};
use mulgil_record::ids::{PartitionId, TopicId};

use crate::schema::{Durability, TimestampType, Topic, TopicName, TopicSettings};
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
                out.put_u8(1);
                out.put_u128_le(topic.id.0);
                put_str(&mut out, &topic.name.vhost);
                put_str(&mut out, &topic.name.name);
                out.put_u64_le(topic.created_ms);
                put_settings(&mut out, &topic.settings);
                put_partitions(&mut out, &topic.partitions);
            }
            Self::TopicDeleted { id } => {
                out.put_u8(2);
                out.put_u128_le(id.0);
            }
            Self::TopicAltered { id, settings } => {
                out.put_u8(3);
                out.put_u128_le(id.0);
                put_settings(&mut out, settings);
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
            1 => Self::TopicCreated(Topic {
                id: TopicId(from.try_get_u128_le()?),
                name: TopicName {
                    vhost: get_str(from)?.into(),
                    name: get_str(from)?.into(),
                },
                created_ms: from.try_get_u64_le()?,
                settings: get_settings(from)?,
                partitions: get_partitions(from)?,
            }),
            2 => Self::TopicDeleted {
                id: TopicId(from.try_get_u128_le()?),
            },
            3 => Self::TopicAltered {
                id: TopicId(from.try_get_u128_le()?),
                settings: get_settings(from)?,
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

fn put_str(out: &mut Vec<u8>, text: &str) {
    // Names are at most 255 bytes, see `state::NAME_BYTES_MAX`.
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
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings() -> impl Strategy<Value = TopicSettings> {
        let durability = prop_oneof![
            Just(Durability::Memory),
            Just(Durability::Os),
            Just(Durability::Fsync)
        ];
        let some = || proptest::option::of(0..u64::MAX);
        (
            durability,
            any::<(bool, bool, u32)>(),
            some(),
            some(),
            some(),
            some(),
        )
            .prop_map(
                |(durability, (append, reclaim, most), a, b, c, d)| TopicSettings {
                    durability,
                    retention_ms: a,
                    retention_bytes: b,
                    message_bytes_max: most,
                    timestamp_type: if append {
                        TimestampType::LogAppendTime
                    } else {
                        TimestampType::CreateTime
                    },
                    timestamp_before_max_ms: c,
                    timestamp_after_max_ms: d,
                    reclaim_on_ack: reclaim,
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
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            drop(Change::decode(&bytes));
        }
    }
}
