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
//!   8 broker   : scope u8 (0 this, 1 all), pairs: what is stated of the broker
//!   9 quota    : user part, client part, u8 n, n of (limit u8, most u64)
//!  10 subscription: see `wire/subscriptions.rs`
//! settings: durability u8, timestamp type u8, reclaim u8, 0 u8, message bytes max u32, then
//!           retention ms, retention bytes, before max ms, after max ms: u64 each, all ones = none
//! long    : settings, cleanup u8 (1 delete, 2 compact), codec u8 (255 = the producer's), 0 u16, dirty
//!           ratio u32, min and max compaction lag ms, delete retention ms: u64 each, pairs:
//!           what somebody has stated
//!           stated; settings that came later have no bytes but these: nothing else can set them
//! pairs   : u16 n, n of (str, str)
//! part    : u8 (0 absent, 1 default, 2 named), then str if named
//! ```
//!
//! Tags 1 and 3 are read and no longer written: what lies in them has the other settings' defaults.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use mulgil_record::compression::Codec;
use mulgil_record::ids::{PartitionId, TopicId};

use crate::quota::{Limit, Limits, Part, QuotaEntity};
use crate::schema::{Cleanup, Durability, TimestampType, Topic, TopicName, TopicSettings};
use crate::settings::{KEEP_AT_LEAST, READ_HEADERS, Scope, field, state_differences};
use crate::state::Change;

mod subscriptions;

/// Settings that have no bytes of their own.
const ONLY_STATED: &[&str] = &[KEEP_AT_LEAST, READ_HEADERS];

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
            Self::BrokerAltered { scope, stated } => {
                out.put_u8(8);
                out.put_u8(match scope {
                    Scope::This => 0,
                    Scope::All => 1,
                });
                put_pairs(&mut out, stated);
            }
            Self::QuotaAltered { entity, limits } => {
                out.put_u8(9);
                put_part(&mut out, &entity.user);
                put_part(&mut out, &entity.client);
                let count = u8::try_from(limits.len()).unwrap_or(u8::MAX);
                out.put_u8(count);
                for (limit, most) in limits {
                    out.put_u8(limit.id());
                    out.put_u64_le(*most);
                }
            }
            Self::Subscription(change) => {
                out.put_u8(10);
                subscriptions::put(&mut out, change);
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
            1 => Self::TopicCreated(get_topic(from, get_early_settings)?),
            6 => Self::TopicCreated(get_topic(from, get_long_settings)?),
            2 => Self::TopicDeleted {
                id: TopicId(from.try_get_u128_le()?),
            },
            3 => Self::TopicAltered {
                id: TopicId(from.try_get_u128_le()?),
                settings: get_early_settings(from)?,
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
            8 => Self::BrokerAltered {
                scope: match from.try_get_u8()? {
                    0 => Scope::This,
                    1 => Scope::All,
                    _ => return Err(WireError),
                },
                stated: get_pairs(from)?,
            },
            9 => Self::QuotaAltered {
                entity: QuotaEntity {
                    user: get_part(from)?,
                    client: get_part(from)?,
                },
                limits: get_limits(from)?,
            },
            10 => Self::Subscription(subscriptions::get(from)?),
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
    // Names are at most 255 bytes, see `state::NAME_BYTES_MAX`; values 32 KiB, see `DOCUMENT_BYTES_MAX`.
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

/// Settings from before there was a list of what is stated: whatever is no default was.
fn get_early_settings(from: &mut &[u8]) -> Result<TopicSettings, WireError> {
    let mut settings = get_settings(from)?;
    state_differences(&mut settings);
    Ok(settings)
}

fn put_part(out: &mut Vec<u8>, part: &Part) {
    match part {
        Part::Absent => out.put_u8(0),
        Part::Default => out.put_u8(1),
        Part::Named(name) => {
            out.put_u8(2);
            put_str(out, name);
        }
    }
}

fn get_part(from: &mut &[u8]) -> Result<Part, WireError> {
    match from.try_get_u8()? {
        0 => Ok(Part::Absent),
        1 => Ok(Part::Default),
        2 => Ok(Part::Named(get_str(from)?.into())),
        _ => Err(WireError),
    }
}

fn get_limits(from: &mut &[u8]) -> Result<Limits, WireError> {
    let mut limits = Limits::new();
    for _ in 0..from.try_get_u8()? {
        let id = from.try_get_u8()?;
        let limit = Limit::ALL.into_iter().find(|limit| limit.id() == id);
        limits.insert(limit.ok_or(WireError)?, from.try_get_u64_le()?);
    }
    Ok(limits)
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
    let mut settings = TopicSettings {
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
    };
    for name in ONLY_STATED {
        if let Some(value) = settings.stated.get(*name).cloned() {
            field::put(&mut settings, name, &value).ok_or(WireError)?;
        }
    }
    Ok(settings)
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
mod tests;
