//! `CreatePartitions` (KIP-195): topics with more partitions, by the rules of
//! `ReplicationControlManager.createPartitions` for a cluster of one broker.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use mulgil_broker::configure::GrowTopics;
use mulgil_broker::connection::Hangup;
use mulgil_broker::request::{Reply, Request, TopicRef};

use super::rows::{Refused, Rows, each_topic_once};
use super::{Step, Turn, Waiting, in_pieces, joined_replies};
use crate::from_wire::topic_name;
use crate::wire_errors;

pub(crate) fn start(request: CreatePartitionsRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let mut rows = Rows::of(request.topics.len());
    let mut topics = Vec::new();
    for (topic, named) in each_topic_once(request.topics, |topic| &topic.name) {
        let checked = named.and_then(|()| check(&topic, turn));
        let asked = checked.map(|count| (TopicRef::Name(topic_name(&topic.name)), count));
        topics.extend(rows.add(topic.name, asked));
    }
    let waits = Waits { rows };
    if topics.is_empty() {
        return waits.finish(turn);
    }
    let catalog = turn.catalog();
    let more = topics.iter().map(|(topic, asked): &(TopicRef, u32)| {
        let known = match topic {
            TopicRef::Name(name) => catalog.topic(name),
            TopicRef::Id(_) => None,
        };
        let has = known.map(|topic| topic.partitions.len() as u64);
        has.map_or(0, |has| u64::from(*asked).saturating_sub(has))
    });
    let asked_in_all = more.sum();
    let asks = in_pieces(topics, |topics| {
        Request::GrowTopics(GrowTopics {
            topics,
            asked_in_all,
            validate_only: request.validate_only,
        })
    });
    Ok(Step::Ask(asks, Box::new(waits)))
}

fn check(topic: &CreatePartitionsTopic, turn: &Turn<'_>) -> Result<u32, Refused> {
    let Ok(count @ 1..) = u32::try_from(topic.count) else {
        let why = "number of partitions must be larger than 0".to_owned();
        return Err((ResponseError::InvalidPartitions, why));
    };
    let Some(assignments) = &topic.assignments else {
        return Ok(count);
    };
    let catalog = turn.catalog();
    let Some(known) = catalog.topic(&topic_name(&topic.name)) else {
        // Told by the broker, which knows better.
        return Ok(count);
    };
    let invalid = |why: String| Err((ResponseError::InvalidReplicaAssignment, why));
    let added = usize::try_from(count).unwrap_or(usize::MAX);
    let added = added.saturating_sub(known.partitions.len());
    if added > 0 && assignments.len() != added {
        let assigned = assignments.len();
        return invalid(format!(
            "{added} partitions are to be added, but {assigned} are assigned"
        ));
    }
    let this = turn.shared.options.node_id;
    for assignment in assignments {
        match assignment.broker_ids.as_slice() {
            [only] if *only == this => {}
            [] => return invalid("an empty replica list".to_owned()),
            replicas => {
                let stranger = replicas.iter().find(|id| **id != this);
                return invalid(stranger.map_or_else(
                    || format!("broker {this} is named more than once"),
                    |id| format!("there is no broker {}", id.0),
                ));
            }
        }
    }
    Ok(count)
}

#[derive(Debug)]
struct Waits {
    rows: Rows<TopicName>,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let outcomes = joined_replies!(replies, GrowTopics);
        self.rows.fill(outcomes, |_, why| {
            (wire_errors::alter(&why), why.to_string())
        });
        self.finish(turn)
    }
}

impl Waits {
    fn finish(self, turn: &Turn<'_>) -> Result<Step, Hangup> {
        let rows = self.rows.told().map(|(name, code, why)| {
            CreatePartitionsTopicResult::default()
                .with_name(name)
                .with_error_code(code)
                .with_error_message(why)
        });
        turn.answer(&CreatePartitionsResponse::default().with_results(rows.collect()))
    }
}
