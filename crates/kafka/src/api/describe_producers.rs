//! `DescribeProducers` (KIP-664): which idempotent producers partitions remember. There are no
//! transactions, so none is open.
//!
//! Each partition is told once, however often it is named, and all parts of an answer together have a
//! bound: so they are asked one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::vec;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};
use mulgil_broker::configure::{ActiveProducer, DescribeProducers};
use mulgil_broker::connection::Hangup;
use mulgil_broker::request::{Reply, Request, VISIT_PARTS_MAX};
use mulgil_record::ids::PartitionId;

use super::{Step, Turn, Waiting, only_reply};
use crate::from_wire::TopicKey;
use crate::to_wire::message;
use crate::wire_errors;

/// No transaction, or nothing known.
const NONE: i32 = -1;

pub(crate) fn start(request: DescribeProducersRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let catalog = turn.catalog();
    let mut topics: Vec<TopicResponse> = Vec::new();
    let (mut places, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let mut wishes = Vec::new();
    for topic in request.topics {
        let key = TopicKey::Name(topic.name.0.clone());
        let at = *places.entry(topic.name.clone()).or_insert_with(|| {
            topics.push(TopicResponse::default().with_name(topic.name));
            topics.len() - 1
        });
        let Some(told) = topics.get_mut(at) else {
            continue;
        };
        for index in topic.partition_indexes {
            if !seen.insert((at, index)) {
                continue;
            }
            let row = PartitionResponse::default()
                .with_partition_index(index)
                .with_error_message(None);
            let row = match key.partition(&catalog, index) {
                Some(partition) => {
                    wishes.push(Wish {
                        topic: at,
                        row: told.partitions.len(),
                        partition,
                    });
                    row
                }
                None => row
                    .with_error_code(ResponseError::UnknownTopicOrPartition.code())
                    .with_error_message(message("there is no such partition")),
            };
            told.partitions.push(row);
        }
    }
    let waits = Waits {
        topics,
        asked: Vec::new(),
        rest: wishes.into_iter(),
        told: 0,
    };
    Box::new(waits).go_on(turn)
}

/// A partition whose producers are wanted.
#[derive(Clone, Copy, Debug)]
struct Wish {
    /// Where in the answer it is told.
    topic: usize,
    row: usize,
    partition: PartitionId,
}

#[derive(Debug)]
struct Waits {
    topics: Vec<TopicResponse>,
    /// What the broker is asked for at the moment.
    asked: Vec<Wish>,
    /// What it will be asked for then.
    rest: vec::IntoIter<Wish>,
    /// How many producers are in `topics`.
    told: usize,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        mut replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let outcomes = only_reply!(replies, DescribeProducers);
        for (wish, outcome) in self.asked.iter().zip(outcomes) {
            let topic = self.topics.get_mut(wish.topic);
            let row = topic.and_then(|topic| topic.partitions.get_mut(wish.row));
            let Some(row) = row else { continue };
            match outcome {
                Ok(producers) => {
                    self.told += producers.len();
                    row.active_producers = producers.iter().map(state).collect();
                }
                Err(refusal) => {
                    row.error_code = wire_errors::producers(&refusal).code();
                    row.error_message = message(&refusal);
                }
            }
        }
        self.go_on(turn)
    }
}

impl Waits {
    /// Asks for the next partitions; answers once there are none.
    fn go_on(mut self: Box<Self>, turn: &Turn<'_>) -> Result<Step, Hangup> {
        self.asked = self.rest.by_ref().take(VISIT_PARTS_MAX).collect();
        if self.asked.is_empty() {
            return turn.answer(&DescribeProducersResponse::default().with_topics(self.topics));
        }
        let ask = DescribeProducers {
            partitions: self.asked.iter().map(|wish| wish.partition).collect(),
            told_before: self.told,
        };
        Ok(Step::Ask(vec![Request::DescribeProducers(ask)], self))
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
