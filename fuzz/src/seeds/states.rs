//! Changes of metadata, of groups, and the checkpoints of groups and partitions.

use bytes::Bytes;
use mulgil_core::group::wire as group_wire;
use mulgil_core::group::{
    Change as GroupChange, Committed, Durable, Generation, Group, GroupSettings, InstanceId,
    Member, MemberId, Offered, OffsetKey, Settled, Settlement,
};
use mulgil_core::machine::{Elapsed, Machine, WallTime};
use mulgil_core::partition::wire as partition_wire;
use mulgil_core::partition::{Partition, Producer, Remembered};
use mulgil_meta::schema::{Topic, TopicName, TopicSettings};
use mulgil_meta::state::Change;
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
