//! `ElectLeaders` (KIP-183, KIP-460). This broker leads everything and is preferred for it, so there is
//! never anything to elect, and every answer says so.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use mulgil_broker::connection::Hangup;

use super::{Step, Turn};
use crate::from_wire::TopicKey;
use crate::to_wire::message;

/// The first version with an error for the whole, and with unclean elections.
const SINCE_TYPES: i16 = 1;
/// Preferred and unclean (`ElectionType`).
const TYPES: [i8; 2] = [0, 1];

pub(crate) fn start(request: ElectLeadersRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let answer = ElectLeadersResponse::default();
    if turn.since(SINCE_TYPES) && !TYPES.contains(&request.election_type) {
        let error = ResponseError::InvalidRequest;
        return turn.answer(&answer.with_error_code(error.code()));
    }
    let catalog = turn.catalog();
    // Of all partitions only those are told for which there is something to elect
    // (`ReplicationControlManager.electLeaders`).
    let asked = request.topic_partitions.unwrap_or_default();
    let results = asked.into_iter().map(|topic| {
        let key = TopicKey::Name(topic.topic.0.clone());
        let rows = topic.partitions.into_iter().map(|index| {
            let (error, why) = match key.partition(&catalog, index) {
                Some(_) => (
                    ResponseError::ElectionNotNeeded,
                    "leader election not needed for this partition",
                ),
                None => (
                    ResponseError::UnknownTopicOrPartition,
                    "there is no such partition",
                ),
            };
            PartitionResult::default()
                .with_partition_id(index)
                .with_error_code(error.code())
                .with_error_message(message(why))
        });
        ReplicaElectionResult::default()
            .with_topic(topic.topic)
            .with_partition_result(rows.collect())
    });
    turn.answer(&answer.with_replica_election_results(results.collect()))
}
