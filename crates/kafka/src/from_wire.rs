//! What clients say, in the broker's words; shared by several requests.

use kafka_protocol::messages::GroupId;
use kafka_protocol::protocol::StrBytes;
use mulgil_broker::group::{GroupName, InstanceId, MemberId};
use mulgil_broker::meta::catalog::Catalog;
use mulgil_broker::meta::schema::{Topic, TopicName};
use mulgil_broker::request::Isolation;
use mulgil_record::ids::{LeaderEpoch, PartitionId, TopicId};
use std::sync::Arc;
use uuid::Uuid;

/// Longest topic name: 255 bytes of a file name without what Kafka appends (`Topic.MAX_NAME_LENGTH`).
pub(crate) const TOPIC_NAME_BYTES_MAX: usize = 249;

/// A topic as a request names it: by name, or by id in newer versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TopicKey {
    Name(StrBytes),
    Id(Uuid),
}

impl TopicKey {
    /// The one of both that this version of the request carries.
    pub(crate) fn of(name: StrBytes, id: Uuid, has_ids: bool) -> Self {
        if has_ids {
            Self::Id(id)
        } else {
            Self::Name(name)
        }
    }

    /// The topic, if there is one.
    pub(crate) fn find<'a>(&self, catalog: &'a Catalog) -> Option<&'a Arc<Topic>> {
        match self {
            Self::Name(name) => catalog.topic(&topic_name(name)),
            Self::Id(id) => catalog.topic_by_id(topic_id(*id)),
        }
    }

    /// The partition of that topic with this index, if there is one.
    pub(crate) fn partition(&self, catalog: &Catalog, index: i32) -> Option<PartitionId> {
        self.find(catalog).and_then(|topic| partition(topic, index))
    }
}

/// A name in the virtual host of Kafka's clients.
pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName::in_default(name)
}

/// A topic's id.
pub(crate) const fn topic_id(id: Uuid) -> TopicId {
    TopicId(id.as_u128())
}

/// The partition of `topic` with this index, if there is one.
pub(crate) fn partition(topic: &Topic, index: i32) -> Option<PartitionId> {
    topic.partitions.get(usize::try_from(index).ok()?).copied()
}

/// A leader epoch, unless the client does not know one (-1).
pub(crate) fn leader_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

/// A count of the wire, which is signed; what is negative counts as none.
pub(crate) fn natural(count: i32) -> u32 {
    u32::try_from(count).unwrap_or(0)
}

/// A group's name.
pub(crate) fn group_name(group: &GroupId) -> GroupName {
    Arc::from(group.as_str())
}

/// A member's name; who has none yet says an empty one (`UNKNOWN_MEMBER_ID`).
pub(crate) fn member_id(member: &str) -> Option<MemberId> {
    (!member.is_empty()).then(|| MemberId::from(member))
}

/// The name of a static member over its restarts, if it has one.
pub(crate) fn instance_id(instance: Option<&StrBytes>) -> Option<InstanceId> {
    instance.map(|instance| InstanceId::from(instance.as_str()))
}

/// Which records may be read: 0 all, 1 those of finished transactions.
pub(crate) const fn isolation(level: i8) -> Option<Isolation> {
    match level {
        0 => Some(Isolation::Uncommitted),
        1 => Some(Isolation::Committed),
        _ => None,
    }
}

/// Whether a topic may have this name: `[a-zA-Z0-9._-]{1,249}`, neither `.` nor `..`
/// (`Topic.validate`).
pub(crate) fn is_topic_name(name: &str) -> bool {
    let may = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=TOPIC_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(may)
        && name != "."
        && name != ".."
}
