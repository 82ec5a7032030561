//! Changes of metadata, of groups and of subscriptions, and the checkpoints of groups, partitions
//! and subscriptions.

use bytes::Bytes;
use mulgil_core::group::wire as group_wire;
use mulgil_core::group::{
    Change as GroupChange, Committed, Durable, Generation, Group, GroupSettings, InstanceId,
    Member, MemberId, Offered, OffsetKey, Settled, Settlement,
};
use mulgil_core::machine::{Elapsed, Machine, WallTime};
use mulgil_core::partition::wire as partition_wire;
use mulgil_core::partition::{Partition, Producer, Remembered};
use mulgil_core::queue::wire as queue_wire;
use mulgil_core::queue::{
    Append, Change as QueueChange, ConsumerId, Durable as QueueDurable, LockEpoch, Reason,
    Settings, Span, Subscription,
};
use mulgil_meta::schema::{Topic, TopicName, TopicSettings};
use mulgil_meta::state::Change;
use mulgil_record::facts::{Columns, Facts};
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicId};

use super::Seed;

pub(crate) fn meta_change() -> Vec<Seed> {
    let id = TopicId(77);
    let settings = TopicSettings::default();
    let partitions = vec![PartitionId(1), PartitionId(2)];
    let topic = Topic {
        id,
        name: TopicName::in_default("물길"),
        partitions: partitions.clone(),
        settings: settings.clone(),
        created_ms: 5,
    };
    let changes = [
        ("created", Change::TopicCreated(topic)),
        ("deleted", Change::TopicDeleted { id }),
        ("altered", Change::TopicAltered { id, settings }),
        ("added", Change::PartitionsAdded { id, partitions }),
        (
            "ids",
            Change::IdsTaken {
                next_partition: 9,
                revision: 3,
            },
        ),
    ];
    changes
        .map(|(name, change)| (name.to_owned(), change.encode()))
        .to_vec()
}

fn member(id: &str) -> Member {
    Member {
        id: MemberId(id.into()),
        instance: Some(InstanceId("instance".into())),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        offered: vec![Offered {
            name: "range".into(),
            metadata: Bytes::from_static(b"topics"),
        }],
    }
}

fn group_changes() -> Vec<(&'static str, Durable)> {
    let key = OffsetKey {
        topic: TopicId(77),
        partition: 2,
    };
    let committed = Committed {
        offset: Offset(9),
        leader_epoch: Some(LeaderEpoch(3)),
        metadata: "note".into(),
        at: WallTime(10),
        until: Some(WallTime(20)),
    };
    let settled = Settled {
        member: member("m").into(),
        assignment: Bytes::from_static(b"share"),
    };
    let settlement = Settlement {
        generation: Generation(1),
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        leader: Some(MemberId("m".into())),
        members: [(MemberId("m".into()), settled)].into(),
        at: WallTime(10),
    };
    let replaced = Durable::Replaced {
        old: MemberId("m".into()),
        member: member("n").into(),
    };
    vec![
        ("created", Durable::Created { at: WallTime(5) }),
        (
            "begun",
            Durable::Begun {
                generation: Generation(1),
            },
        ),
        ("settled", Durable::Settled(settlement.into())),
        ("replaced", replaced),
        ("offsets", Durable::OffsetsCommitted(vec![(key, committed)])),
        ("offsets-deleted", Durable::OffsetsDeleted(vec![key])),
        ("forgotten", Durable::TopicForgotten(TopicId(77))),
        ("deleted", Durable::Deleted),
    ]
}

pub(crate) fn group_change() -> Vec<Seed> {
    let encode = |(name, change): (&str, Durable)| {
        let mut out = Vec::new();
        group_wire::encode(&change, &mut out);
        (name.to_owned(), out)
    };
    group_changes().into_iter().map(encode).collect()
}

pub(crate) fn group_checkpoint() -> Vec<Seed> {
    let mut group = Group::new(GroupSettings::default());
    let mut seeds = Vec::new();
    for (name, change) in group_changes() {
        group.apply(&GroupChange::Durable(change));
        let mut out = Vec::new();
        group_wire::encode_checkpoint(&group, &mut out);
        seeds.push((name.to_owned(), out));
    }
    seeds
}

pub(crate) fn partition_state() -> Vec<Seed> {
    let mut partition = Partition::new(LeaderEpoch(3));
    let encode = |partition: &Partition| {
        let mut out = Vec::new();
        partition_wire::encode(partition, &mut out);
        out
    };
    let new = encode(&partition);
    partition.epochs = vec![(LeaderEpoch(1), Offset(0)), (LeaderEpoch(3), Offset(50))];
    let batch = Remembered {
        first: 7,
        last: 9,
        base: Offset(50),
    };
    let producer = Producer {
        epoch: ProducerEpoch(2),
        batches: [batch; 5].into(),
        last_write: Elapsed(99),
        may_skip: true,
    };
    partition.producers.insert(ProducerId(4), producer);
    vec![
        ("new".to_owned(), new),
        ("used".to_owned(), encode(&partition)),
    ]
}

fn queue_changes() -> Vec<(&'static str, QueueDurable)> {
    let span = |first, count| Span::new(Offset(first), count);
    let locked = QueueDurable::Locked {
        span: span(5, 3),
        consumer: ConsumerId(9),
        epoch: LockEpoch {
            leader: LeaderEpoch(2),
            number: 7,
        },
        until: Elapsed(30_000),
    };
    let released = QueueDurable::Released {
        span: span(6, 1),
        failed: true,
        not_before: Some(WallTime(77_000)),
    };
    let condemned = QueueDurable::Condemned {
        span: span(7, 1),
        reason: Reason::Rejected,
        at: WallTime(5),
        failed: true,
        words: Some("물길".into()),
    };
    let archived = QueueDurable::Archived {
        span: span(8, 2),
        reason: Reason::Expired,
        moved: true,
    };
    vec![
        ("acquired", QueueDurable::Acquired(span(0, 4))),
        ("locked", locked),
        (
            "renewed",
            QueueDurable::Renewed {
                span: span(5, 2),
                until: Elapsed(60_000),
            },
        ),
        ("accepted", QueueDurable::Accepted(span(1, 2))),
        ("released", released),
        ("condemned", condemned),
        ("archived", archived),
        (
            "fired",
            QueueDurable::Fired {
                until: WallTime(9),
                most: 10,
            },
        ),
        (
            "scheduled",
            QueueDurable::Scheduled {
                span: span(12, 2),
                due: WallTime(99_000),
            },
        ),
        (
            "expired",
            QueueDurable::Expired {
                until: WallTime(9),
                most: 10,
            },
        ),
        ("aged", QueueDurable::Aged { to: Offset(3) }),
        ("trimmed", QueueDurable::Trimmed { to: Offset(1) }),
    ]
}

/// What is said of everything at once.
fn queue_changes_of_all() -> Vec<(&'static str, QueueDurable)> {
    let (to, at) = (Offset(1), WallTime(11));
    let tracked = Columns::PRIORITY.with(Columns::SIZE);
    vec![
        ("purged", QueueDurable::Purged(Span::new(Offset(2), 7))),
        ("sought", QueueDurable::Sought { to, at }),
        (
            "deduplicating",
            QueueDurable::Deduplicating {
                window_ms: Some(300_000),
            },
        ),
        ("tracking", QueueDurable::Tracking(tracked)),
    ]
}

pub(crate) fn queue_change() -> Vec<Seed> {
    let encode = |(name, change): (&str, QueueDurable)| {
        let mut out = Vec::new();
        queue_wire::encode(&change, &mut out);
        (name.to_owned(), out)
    };
    let changes = queue_changes().into_iter().chain(queue_changes_of_all());
    changes.map(encode).collect()
}

/// A head and its pages, each behind its length.
fn queue_parts(queue: &Subscription) -> Vec<u8> {
    let mut head = Vec::new();
    queue.write_head(&mut head);
    let mut parts = vec![head];
    for id in queue.changed_pages() {
        let mut page = Vec::new();
        if queue.write_page(id, &mut page) {
            parts.push(page);
        }
    }
    let with_length = |part: Vec<u8>| {
        let length = u16::try_from(part.len()).expect("a small page");
        [length.to_le_bytes().as_slice(), &part].concat()
    };
    parts.into_iter().flat_map(with_length).collect()
}

pub(crate) fn queue_checkpoint() -> Vec<Seed> {
    let mut queue = Subscription::new(Settings::default(), Offset(0));
    queue.apply(&QueueChange::Appended(Append {
        span: Span::new(Offset(0), 70_000),
        at: WallTime(1),
        facts: None,
        filter: None,
    }));
    let mut seeds = vec![("new".to_owned(), queue_parts(&queue))];
    for (name, change) in queue_changes().into_iter().chain(queue_changes_of_all()) {
        queue.apply(&QueueChange::Durable(change));
        seeds.push((name.to_owned(), queue_parts(&queue)));
    }
    let mut facts = Facts::new(1, 600);
    facts.priorities = (0..=255).cycle().take(600).collect();
    facts.sizes = vec![100; 600];
    facts.deduplication = (1..=600).collect();
    queue.apply(&QueueChange::Appended(Append {
        span: Span::new(queue.end(), 600),
        at: WallTime(2),
        facts: Some(facts.into()),
        filter: None,
    }));
    seeds.push(("facts".to_owned(), queue_parts(&queue)));
    let mut keyed = Subscription::new(Settings::default(), Offset(0));
    let columns = Columns::ORDERING_KEY.with(Columns::SIZE);
    keyed.apply(&QueueChange::Durable(QueueDurable::Tracking(columns)));
    let mut facts = Facts::new(1, 300);
    facts.ordering_keys = (0..3).cycle().take(300).collect();
    keyed.apply(&QueueChange::Appended(Append {
        span: Span::new(Offset(0), 300),
        at: WallTime(2),
        facts: Some(facts.into()),
        filter: None,
    }));
    let held = QueueDurable::Acquired(Span::new(Offset(0), 2));
    keyed.apply(&QueueChange::Durable(held));
    seeds.push(("keys".to_owned(), queue_parts(&keyed)));
    for at in (10_000..20_000).step_by(2) {
        let one = Span::one(Offset(at));
        queue.apply(&QueueChange::Durable(QueueDurable::Accepted(one)));
    }
    seeds.push(("bits".to_owned(), queue_parts(&queue)));
    seeds
}
