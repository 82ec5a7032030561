//! What is written is read back, and so is what earlier versions wrote.

use proptest::prelude::*;

use super::*;
use crate::state::SubscriptionChange;
use crate::subscription::{
    Beginning, Filter, Order, OverflowPolicy, RetryPolicy, Subscription, SubscriptionSettings,
};
use mulgil_core::selector::Selector;
use mulgil_record::ids::{Offset, SubscriptionId};

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

fn quota() -> impl Strategy<Value = (QuotaEntity, Limits)> {
    let part = || {
        prop_oneof![
            Just(Part::Absent),
            Just(Part::Default),
            "[a-z]{0,9}".prop_map(|name| Part::Named(name.into()))
        ]
    };
    let limit = (0..3_usize).prop_map(|at| Limit::ALL[at]);
    let limits = proptest::collection::btree_map(limit, any::<u64>(), 0..4);
    (part(), part(), limits)
        .prop_map(|(user, client, limits)| (QuotaEntity { user, client }, limits))
}

fn settings() -> impl Strategy<Value = TopicSettings> {
    let compression = proptest::option::of((0..5_u8).prop_map(|id| Codec::from_id(id).unwrap()));
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

fn retry() -> impl Strategy<Value = RetryPolicy> {
    any::<(u64, u64, u8)>().prop_flat_map(|(ms, ms_max, jitter_percent)| {
        prop_oneof![
            Just(RetryPolicy::AtOnce),
            Just(RetryPolicy::Fixed { ms }),
            Just(RetryPolicy::Linear { ms, ms_max }),
            Just(RetryPolicy::Exponential {
                ms,
                ms_max,
                jitter_percent
            }),
        ]
    })
}

fn subscription() -> impl Strategy<Value = Subscription> {
    let limits = [(); 5].map(|()| proptest::option::of(1..u64::MAX));
    let tries = [(); 2].map(|()| proptest::option::of(1..u16::MAX));
    let begin = any::<(u64, i64, i64)>().prop_map(|(partition, first, end)| Beginning {
        partition: PartitionId(partition),
        first: Offset(first),
        end: Offset(end),
    });
    let beginnings = proptest::collection::vec(begin, 0..4);
    let target = proptest::option::of(any::<u128>().prop_map(TopicId));
    let ids = any::<(u64, u128, u64, u32, bool)>();
    (
        retry(),
        limits,
        tries,
        beginnings,
        target,
        ids,
        "x[a-z]{1,20}",
    )
        .prop_map(
            |(retry, limits, tries, beginnings, dead_letter, ids, name)| {
                let (id, topic, created_ms, lock_ms, by_key) = ids;
                let overflow = match id % 3 {
                    0 => OverflowPolicy::DeadLetterOldest,
                    1 => OverflowPolicy::Refuse,
                    _ => OverflowPolicy::DropOldest,
                };
                let order = match (by_key, id % 2) {
                    (true, _) => Order::Key,
                    (false, 0) => Order::Priority,
                    (false, _) => Order::Fifo,
                };
                let settings = SubscriptionSettings {
                    lock_ms,
                    failed_max: tries[0],
                    acquired_max: tries[1],
                    retry,
                    age_ms_max: limits[0],
                    ttl_ms: limits[1],
                    length_max: limits[2],
                    bytes_max: limits[3],
                    deduplicate_ms: limits[4],
                    overflow,
                    order,
                    single_active: created_ms % 2 == 0,
                    paused: created_ms % 3 == 0,
                    dead_letter,
                };
                Subscription {
                    id: SubscriptionId(id),
                    name: TopicName::in_default(&name),
                    topic: TopicId(topic),
                    settings,
                    created_ms,
                    filter: by_key.then(|| {
                        let selector = Selector::parse(&format!("{name} LIKE 'a%'"));
                        Filter::new(
                            selector.unwrap(),
                            u16::from_le_bytes([1, id.to_le_bytes()[0]]),
                        )
                    }),
                    beginnings,
                }
            },
        )
}

#[test]
fn settings_that_are_only_stated_come_back_too() {
    let mut settings = TopicSettings::default();
    settings.make_queue();
    settings.keep_at_least_ms = 7;
    settings.stated.insert(KEEP_AT_LEAST.into(), "7".into());
    assert!(settings.read_headers);
    let id = TopicId(1);
    let change = Change::TopicAltered { id, settings };
    assert_eq!(Change::decode(&change.encode()), Ok(change));
}

proptest! {
    #[test]
    fn changes_of_subscriptions_are_read_back(subscription in subscription()) {
        let (id, settings) = (subscription.id, subscription.settings);
        for change in [
            SubscriptionChange::Created(subscription),
            SubscriptionChange::Deleted { id },
            SubscriptionChange::Altered { id, settings },
            SubscriptionChange::IdsTaken { newest: id.0 },
        ] {
            let change = Change::Subscription(change);
            let bytes = change.encode();
            prop_assert_eq!(Change::decode(&bytes), Ok(change));
            prop_assert_eq!(Change::decode(&bytes[..bytes.len() - 1]), Err(WireError));
        }
    }

    #[test]
    fn settings_of_version_1_are_read(subscription in subscription()) {
        let mut settings = subscription.settings;
        if settings.overflow == OverflowPolicy::Refuse {
            settings.overflow = OverflowPolicy::DropOldest;
        }
        (settings.order, settings.bytes_max) = (Order::Fifo, None);
        settings.deduplicate_ms = None;
        (settings.single_active, settings.paused) = (false, false);
        let id = subscription.id;
        let change = Change::Subscription(SubscriptionChange::Altered { id, settings });
        let mut bytes = change.encode();
        // Without those that came later.
        bytes.truncate(bytes.len() - 18);
        bytes[1] = 1;
        prop_assert_eq!(Change::decode(&bytes), Ok(change));
    }

    #[test]
    fn what_is_written_is_read_back(
        id: u128, name in "[a-z]{1,20}", created: u64, settings in settings(),
        partitions in proptest::collection::vec(any::<u64>().prop_map(PartitionId), 0..9),
        (entity, limits) in quota(), all: bool,
    ) {
        let scope = if all { Scope::All } else { Scope::This };
        let stated = settings.stated.clone();
        let name = TopicName::in_default(&name);
        let topic = Topic { id: TopicId(id), name, partitions: partitions.clone(),
            settings: settings.clone(), created_ms: created };
        for change in [
            Change::TopicCreated(topic),
            Change::TopicDeleted { id: TopicId(id) },
            Change::TopicAltered { id: TopicId(id), settings },
            Change::PartitionsAdded { id: TopicId(id), partitions },
            Change::IdsTaken { next_partition: created, revision: created },
            Change::BrokerAltered { scope, stated },
            Change::QuotaAltered { entity, limits },
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
        let short = settings.clone();
        let mut settings = settings;
        state_differences(&mut settings);
        prop_assert_eq!(settings.stated.contains_key("retention.bytes"),
            short.retention_bytes.is_some());
        let change = Change::TopicAltered { id: TopicId(id), settings: settings.clone() };
        prop_assert_eq!(Change::decode(&altered), Ok(change));
        let mut bytes = vec![1];
        bytes.put_u128_le(id);
        put_str(&mut bytes, "/");
        put_str(&mut bytes, "t");
        bytes.put_u64_le(created);
        put_settings(&mut bytes, &short);
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
