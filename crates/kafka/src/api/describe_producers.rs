//! `DescribeProducers` (KIP-664): which idempotent producers partitions remember. There are no
//! transactions, so none is open.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};
use mulgil_broker::configure::ActiveProducer;
use mulgil_broker::connection::Hangup;
use mulgil_broker::request::{Reply, Request};

use super::{Step, Turn, Waiting, only_reply};
use crate::from_wire::TopicKey;
use crate::to_wire::message;
use crate::wire_errors;

/// No transaction, or nothing known.
const NONE: i32 = -1;

pub(crate) fn start(request: DescribeProducersRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let catalog = turn.catalog();
    let mut waits = Waits::default();
    let mut partitions = Vec::new();
    for topic in request.topics {
        let key = TopicKey::Name(topic.name.0.clone());
        let at = waits.topics.len();
        let mut rows = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let row = PartitionResponse::default()
                .with_partition_index(index)
                .with_error_message(None);
            rows.push(match key.partition(&catalog, index) {
                Some(partition) => {
                    waits.asked.push((at, rows.len()));
                    partitions.push(partition);
                    row
                }
                None => row
                    .with_error_code(ResponseError::UnknownTopicOrPartition.code())
                    .with_error_message(message("there is no such partition")),
            });
        }
        let row = TopicResponse::default().with_name(topic.name);
        waits.topics.push(row.with_partitions(rows));
    }
    if partitions.is_empty() {
        return waits.finish(turn);
    }
    Ok(Step::Ask(
        vec![Request::DescribeProducers(partitions)],
        Box::new(waits),
    ))
}

#[derive(Debug, Default)]
struct Waits {
    topics: Vec<TopicResponse>,
    /// Topic and partition of each row that was asked.
    asked: Vec<(usize, usize)>,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        mut replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let told = only_reply!(replies, DescribeProducers);
        for ((topic, partition), result) in self.asked.iter().zip(told) {
            let topic = self.topics.get_mut(*topic);
            let row = topic.and_then(|topic| topic.partitions.get_mut(*partition));
            let Some(row) = row else { continue };
            match result {
                Ok(producers) => row.active_producers = producers.iter().map(state).collect(),
                Err(refusal) => {
                    row.error_code = wire_errors::read(&refusal).code();
                    row.error_message = message(&refusal);
                }
            }
        }
        self.finish(turn)
    }
}

impl Waits {
    fn finish(self, turn: &Turn<'_>) -> Result<Step, Hangup> {
        turn.answer(&DescribeProducersResponse::default().with_topics(self.topics))
    }
}

fn state(active: &ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(active.producer.0))
        .with_producer_epoch(i32::from(active.epoch.0))
        .with_last_sequence(active.last_sequence.unwrap_or(NONE))
        .with_last_timestamp(i64::try_from(active.last_write_ms).unwrap_or(i64::MAX))
        .with_coordinator_epoch(NONE)
        .with_current_txn_start_offset(i64::from(NONE))
}
