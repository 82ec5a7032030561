//! What the broker says, in the types of the wire; shared by several requests.

use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;
use mulgil_record::ids::TopicId;
use uuid::Uuid;

use crate::shared::KafkaOptions;

/// Longest message beside an error code. In versions without compact lengths a string ends at 32767
/// bytes, and a message may repeat a name that the client made up.
const MESSAGE_BYTES_MAX: usize = 1000;

/// The authorised operations of a client that did not ask for them, or could not have been told
/// (KIP-430).
pub(crate) const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

/// All operations on a topic, by `AclOperation` code: read 3, write 4, create 5, delete 6, alter 7,
/// describe 8, describe configs 10, alter configs 11. Without authorisation all of them are given, as
/// Kafka answers without an authorizer (`AclEntry.supportedOperations`).
pub(crate) const TOPIC_OPERATIONS: i32 =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;

/// All operations on the cluster: create 5, alter 7, describe 8, cluster action 9, describe configs 10,
/// alter configs 11, idempotent write 12.
pub(crate) const CLUSTER_OPERATIONS: i32 =
    1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

/// All operations on a group: read 3, delete 6, describe 8, describe configs 10, alter configs 11.
pub(crate) const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// The operations to tell, if the client asked for them.
pub(crate) const fn operations(asked: bool, all: i32) -> i32 {
    if asked { all } else { OPERATIONS_NOT_ASKED }
}

/// A string of the wire.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A message beside an error code, cut to a length that every version can carry.
#[expect(
    clippy::unnecessary_wraps,
    reason = "messages are nullable on the wire"
)]
pub(crate) fn message(what: &(impl ToString + ?Sized)) -> Option<StrBytes> {
    let mut what = what.to_string();
    if what.len() > MESSAGE_BYTES_MAX {
        what.truncate(what.floor_char_boundary(MESSAGE_BYTES_MAX));
    }
    Some(StrBytes::from_string(what))
}

/// A topic's name on the wire.
pub(crate) fn topic_name(name: &str) -> kafka_protocol::messages::TopicName {
    kafka_protocol::messages::TopicName(text(name))
}

/// A topic's id on the wire.
pub(crate) const fn uuid(id: TopicId) -> Uuid {
    Uuid::from_u128(id.0)
}

/// The one broker there is.
pub(crate) const fn this_broker(options: &KafkaOptions) -> BrokerId {
    BrokerId(options.node_id)
}

/// An unsigned count, as the wire has it.
pub(crate) fn int32(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}
