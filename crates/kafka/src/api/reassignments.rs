//! `AlterPartitionReassignments` and `ListPartitionReassignments` (KIP-455), for one broker: a partition
//! can only be where it is, which is granted at once, so that nothing is ever on its way.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use mulgil_broker::connection::Hangup;

use super::{Step, Turn};
use crate::from_wire::TopicKey;
use crate::to_wire::message;

/// The first version that says whether the number of replicas may change.
const SINCE_FACTOR: i16 = 1;

pub(crate) fn alter(
    request: AlterPartitionReassignmentsRequest,
    turn: &Turn<'_>,
) -> Result<Step, Hangup> {
    let catalog = turn.catalog();
    let this = turn.shared.options.node_id;
    let rows = request.topics.into_iter().map(|topic| {
        let key = TopicKey::Name(topic.name.0.clone());
        let rows = topic.partitions.iter().map(|wish| {
            let refused = match key.partition(&catalog, wish.partition_index) {
                Some(_) => check(wish, this),
                None => Some((
                    ResponseError::UnknownTopicOrPartition,
                    "there is no such partition".to_owned(),
                )),
            };
            let row =
                ReassignablePartitionResponse::default().with_partition_index(wish.partition_index);
            match refused {
                None => row.with_error_message(None),
                Some((error, why)) => row
                    .with_error_code(error.code())
                    .with_error_message(message(&why)),
            }
        });
        ReassignableTopicResponse::default()
            .with_partitions(rows.collect())
            .with_name(topic.name)
    });
    let answer = AlterPartitionReassignmentsResponse::default()
        .with_error_message(None)
        .with_responses(rows.collect());
    if turn.since(SINCE_FACTOR) {
        let allowed = request.allow_replication_factor_change;
        return turn.answer(&answer.with_allow_replication_factor_change(allowed));
    }
    turn.answer(&answer)
}

/// Why a partition cannot be where it is wanted (`ReplicationControlManager.alterPartitionReassignment`).
fn check(wish: &ReassignablePartition, this: i32) -> Option<(ResponseError, String)> {
    let invalid = |why: String| Some((ResponseError::InvalidReplicaAssignment, why));
    match wish.replicas.as_deref() {
        None => Some((
            ResponseError::NoReassignmentInProgress,
            "no partition is on its way".to_owned(),
        )),
        Some([only]) if *only == this => None,
        Some([]) => invalid("an empty replica list".to_owned()),
        Some(replicas) => {
            let stranger = replicas.iter().find(|id| **id != this);
            invalid(stranger.map_or_else(
                || format!("broker {this} is named more than once"),
                |id| format!("there is no broker {}", id.0),
            ))
        }
    }
}

pub(crate) fn list(
    _request: &ListPartitionReassignmentsRequest,
    turn: &Turn<'_>,
) -> Result<Step, Hangup> {
    turn.answer(&ListPartitionReassignmentsResponse::default().with_error_message(None))
}
