//! Changes of subscriptions as bytes.
//!
//! ```text
//! tag 10, version u8 (2), kind u8, then by kind; all numbers little-endian
//!   1 created  : id u64, vhost str, name str, topic u128, created ms u64, settings,
//!                u32 n, n of (partition u64, first i64, end i64),
//!                since version 2: filter str (empty: none), its place u16
//!   2 deleted  : id u64
//!   3 altered  : id u64, settings
//!   4 ids taken: newest u64
//! settings: lock ms u32, failed max u16, acquired max u16, retry u8, jitter u8, overflow u8, has dead letter u8,
//!           retry ms u64, retry ms max u64, age ms max u64, ttl ms u64, length max u64, dead letter u128,
//!           since version 2: order u8, flags u8 (1 single active, 2 paused), bytes max u64, deduplicate ms u64;
//!           0 = none in all that may be absent, which no setting can be
//! ```

use bytes::{Buf, BufMut};
use mulgil_core::selector::Selector;
use mulgil_record::ids::{Offset, PartitionId, SubscriptionId, TopicId};

use super::{WireError, get_str, put_str};
use crate::schema::TopicName;
use crate::state::SubscriptionChange;
use crate::subscription::{
    Beginning, Filter, Order, OverflowPolicy, RetryPolicy, Subscription, SubscriptionSettings,
};

const VERSION: u8 = 2;

/// Writes a change behind its tag.
pub(super) fn put(out: &mut Vec<u8>, change: &SubscriptionChange) {
    out.put_u8(VERSION);
    match change {
        SubscriptionChange::Created(subscription) => {
            out.put_u8(1);
            out.put_u64_le(subscription.id.0);
            put_str(out, &subscription.name.vhost);
            put_str(out, &subscription.name.name);
            out.put_u128_le(subscription.topic.0);
            out.put_u64_le(subscription.created_ms);
            put_settings(out, &subscription.settings);
            let count = u32::try_from(subscription.beginnings.len());
            out.put_u32_le(count.expect("a topic has few partitions"));
            for begin in &subscription.beginnings {
                out.put_u64_le(begin.partition.0);
                out.put_i64_le(begin.first.0);
                out.put_i64_le(begin.end.0);
            }
            let filter = subscription.filter.as_ref();
            put_str(out, filter.map_or("", |filter| filter.text()));
            out.put_u16_le(filter.map_or(0, Filter::slot));
        }
        SubscriptionChange::Deleted { id } => {
            out.put_u8(2);
            out.put_u64_le(id.0);
        }
        SubscriptionChange::Altered { id, settings } => {
            out.put_u8(3);
            out.put_u64_le(id.0);
            put_settings(out, settings);
        }
        SubscriptionChange::IdsTaken { newest } => {
            out.put_u8(4);
            out.put_u64_le(*newest);
        }
    }
}

/// Reads a change behind its tag.
pub(super) fn get(from: &mut &[u8]) -> Result<SubscriptionChange, WireError> {
    let version = from.try_get_u8()?;
    if version == 0 || version > VERSION {
        return Err(WireError);
    }
    Ok(match from.try_get_u8()? {
        1 => SubscriptionChange::Created(Subscription {
            id: SubscriptionId(from.try_get_u64_le()?),
            name: TopicName {
                vhost: get_str(from)?.into(),
                name: get_str(from)?.into(),
            },
            topic: TopicId(from.try_get_u128_le()?),
            created_ms: from.try_get_u64_le()?,
            settings: get_settings(from, version)?,
            beginnings: get_beginnings(from)?,
            filter: get_filter(from, version)?,
        }),
        2 => SubscriptionChange::Deleted {
            id: SubscriptionId(from.try_get_u64_le()?),
        },
        3 => SubscriptionChange::Altered {
            id: SubscriptionId(from.try_get_u64_le()?),
            settings: get_settings(from, version)?,
        },
        4 => SubscriptionChange::IdsTaken {
            newest: from.try_get_u64_le()?,
        },
        _ => return Err(WireError),
    })
}

fn get_beginnings(from: &mut &[u8]) -> Result<Vec<Beginning>, WireError> {
    let count = from.try_get_u32_le()? as usize;
    if from.len() < count.saturating_mul(24) {
        return Err(WireError);
    }
    let mut beginnings = Vec::with_capacity(count);
    for _ in 0..count {
        beginnings.push(Beginning {
            partition: PartitionId(from.try_get_u64_le()?),
            first: Offset(from.try_get_i64_le()?),
            end: Offset(from.try_get_i64_le()?),
        });
    }
    Ok(beginnings)
}

fn get_filter(from: &mut &[u8], version: u8) -> Result<Option<Filter>, WireError> {
    if version < 2 {
        return Ok(None);
    }
    let text = get_str(from)?;
    let slot = from.try_get_u16_le()?;
    if text.is_empty() {
        return Ok(None);
    }
    let selector = Selector::parse(text).map_err(|_unknown| WireError)?;
    Ok(Some(Filter::new(selector, slot)))
}

fn put_settings(out: &mut Vec<u8>, settings: &SubscriptionSettings) {
    let (retry, ms, ms_max, jitter) = match settings.retry {
        RetryPolicy::AtOnce => (0, 0, 0, 0),
        RetryPolicy::Fixed { ms } => (1, ms, 0, 0),
        RetryPolicy::Linear { ms, ms_max } => (2, ms, ms_max, 0),
        RetryPolicy::Exponential {
            ms,
            ms_max,
            jitter_percent,
        } => (3, ms, ms_max, jitter_percent),
    };
    out.put_u32_le(settings.lock_ms);
    out.put_u16_le(settings.failed_max.unwrap_or(0));
    out.put_u16_le(settings.acquired_max.unwrap_or(0));
    out.put_u8(retry);
    out.put_u8(jitter);
    out.put_u8(match settings.overflow {
        OverflowPolicy::DropOldest => 0,
        OverflowPolicy::DeadLetterOldest => 1,
        OverflowPolicy::Refuse => 2,
    });
    out.put_u8(u8::from(settings.dead_letter.is_some()));
    out.put_u64_le(ms);
    out.put_u64_le(ms_max);
    out.put_u64_le(settings.age_ms_max.unwrap_or(0));
    out.put_u64_le(settings.ttl_ms.unwrap_or(0));
    out.put_u64_le(settings.length_max.unwrap_or(0));
    out.put_u128_le(settings.dead_letter.unwrap_or_default().0);
    out.put_u8(match settings.order {
        Order::Fifo => 0,
        Order::Key => 1,
        Order::Priority => 2,
    });
    out.put_u8(u8::from(settings.single_active) | u8::from(settings.paused) << 1);
    out.put_u64_le(settings.bytes_max.unwrap_or(0));
    out.put_u64_le(settings.deduplicate_ms.unwrap_or(0));
}

fn get_retry(
    kind: u8,
    (ms, ms_max): (u64, u64),
    jitter_percent: u8,
) -> Result<RetryPolicy, WireError> {
    Ok(match kind {
        0 => RetryPolicy::AtOnce,
        1 => RetryPolicy::Fixed { ms },
        2 => RetryPolicy::Linear { ms, ms_max },
        3 => RetryPolicy::Exponential {
            ms,
            ms_max,
            jitter_percent,
        },
        _ => return Err(WireError),
    })
}

fn get_settings(from: &mut &[u8], version: u8) -> Result<SubscriptionSettings, WireError> {
    let lock_ms = from.try_get_u32_le()?;
    let tries = |count: u16| (count > 0).then_some(count);
    let failed_max = tries(from.try_get_u16_le()?);
    let acquired_max = tries(from.try_get_u16_le()?);
    let retry = from.try_get_u8()?;
    let jitter_percent = from.try_get_u8()?;
    let overflow = match from.try_get_u8()? {
        0 => OverflowPolicy::DropOldest,
        1 => OverflowPolicy::DeadLetterOldest,
        2 => OverflowPolicy::Refuse,
        _ => return Err(WireError),
    };
    let has_target = from.try_get_u8()?;
    let ms = from.try_get_u64_le()?;
    let ms_max = from.try_get_u64_le()?;
    let limit = |value: u64| (value > 0).then_some(value);
    let age_ms_max = limit(from.try_get_u64_le()?);
    let ttl_ms = limit(from.try_get_u64_le()?);
    let length_max = limit(from.try_get_u64_le()?);
    let target = TopicId(from.try_get_u128_le()?);
    let dead_letter = match has_target {
        0 => None,
        1 => Some(target),
        _ => return Err(WireError),
    };
    let (order, flags, [bytes_max, deduplicate_ms]) = if version < 2 {
        (0, 0, [0; 2])
    } else {
        let (order, flags) = (from.try_get_u8()?, from.try_get_u8()?);
        (
            order,
            flags,
            [from.try_get_u64_le()?, from.try_get_u64_le()?],
        )
    };
    if flags & !3 != 0 {
        return Err(WireError);
    }
    let order = match order {
        0 => Order::Fifo,
        1 => Order::Key,
        2 => Order::Priority,
        _ => return Err(WireError),
    };
    let retry = get_retry(retry, (ms, ms_max), jitter_percent)?;
    Ok(SubscriptionSettings {
        lock_ms,
        failed_max,
        acquired_max,
        retry,
        age_ms_max,
        ttl_ms,
        length_max,
        bytes_max: limit(bytes_max),
        deduplicate_ms: limit(deduplicate_ms),
        overflow,
        order,
        single_active: flags & 1 != 0,
        paused: flags & 2 != 0,
        dead_letter,
    })
}
