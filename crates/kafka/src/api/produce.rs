//! `Produce`: one batch for each of some partitions (KIP-98, KIP-467, KIP-951).
//!
//! Everything that can be said of a batch by itself is checked here, before the broker is asked; what
//! passes goes on with the bytes it came in. Transactions are not served, so what belongs to one is
//! refused.

mod check;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::meta::catalog::Catalog;
use mulgil_broker::meta::quota::Limit;
use mulgil_broker::meta::schema::{TimestampType, Topic};
use mulgil_broker::request::{Append, AppendPartition, AppendRefusal, Appended, Reply, Request};

use super::{Step, Turn, Waiting, only_reply};
use crate::figures::Messages;
use crate::from_wire::{TopicKey, partition};
use crate::to_wire::message;
use crate::wire_errors;
use check::{Unfit, Unpacking};

/// The first version that names topics by id alone (KIP-516).
const SINCE_IDS: i16 = 13;
/// The first version with messages and errors of single records (KIP-467).
const SINCE_RECORD_ERRORS: i16 = 8;

/// The producer does not wait for an answer, and gets none.
const ACKS_NONE: i16 = 0;

pub(crate) fn start(request: ProduceRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let catalog = turn.catalog();
    let refusal = refusal_of_all(&request);
    let mut waits = Waits {
        response: ProduceResponse::default(),
        asked: Vec::new(),
        bytes: 0,
        answer: request.acks != ACKS_NONE,
    };
    let mut partitions = Vec::new();
    let mut unpacking = Unpacking::default();
    for topic in request.topic_data {
        let key = TopicKey::of(topic.name.0.clone(), topic.topic_id, turn.since(SINCE_IDS));
        let at = waits.response.responses.len();
        let mut rows = Vec::with_capacity(topic.partition_data.len());
        for produced in topic.partition_data {
            let index = produced.index;
            waits.bytes += produced.records.as_ref().map_or(0, bytes::Bytes::len);
            let checked = match refusal {
                Some((error, why)) => Err(Unfit::new(error, why)),
                None => prepare(&key, produced, &catalog, (turn, &mut unpacking)),
            };
            rows.push(match checked {
                Err(unfit) => unfit_row(index, unfit, turn),
                Ok((append, append_time)) => {
                    let mut messages = Messages::default();
                    messages.add_batch(&append.batch.bytes);
                    partitions.push(append);
                    waits.asked.push(Place {
                        topic: at,
                        partition: rows.len(),
                        append_time,
                        messages,
                    });
                    no_offset(index)
                }
            });
        }
        let row = TopicProduceResponse::default().with_partition_responses(rows);
        waits.response.responses.push(match key {
            TopicKey::Id(id) => row.with_topic_id(id),
            TopicKey::Name(_) => row.with_name(topic.name),
        });
    }
    if partitions.is_empty() {
        return waits.finish(turn);
    }
    Ok(Step::Ask(
        vec![Request::Append(Append { partitions })],
        Box::new(waits),
    ))
}

/// Why nothing of a request can be taken, if that is so.
fn refusal_of_all(request: &ProduceRequest) -> Option<(ResponseError, &'static str)> {
    // `ReplicaManager.appendRecords`.
    if !matches!(request.acks, -1..=1) {
        return Some((
            ResponseError::InvalidRequiredAcks,
            "acks must be -1, 0 or 1",
        ));
    }
    request.transactional_id.as_ref().map(|_| {
        (
            ResponseError::InvalidTxnState,
            "transactions are not supported by this broker",
        )
    })
}

/// Checks what is to be appended to one partition; gives it with the time of appending, if that is
/// what its records carry.
fn prepare(
    key: &TopicKey,
    produced: PartitionProduceData,
    catalog: &Catalog,
    (turn, unpacking): (&Turn<'_>, &mut Unpacking),
) -> Result<(AppendPartition, Option<i64>), Unfit> {
    let topic: &Topic = key.find(catalog).ok_or_else(|| match key {
        TopicKey::Id(_) => Unfit::new(ResponseError::UnknownTopicId, "there is no such topic"),
        TopicKey::Name(_) => Unfit::new(
            ResponseError::UnknownTopicOrPartition,
            "there is no such topic",
        ),
    })?;
    let partition = partition(topic, produced.index).ok_or_else(|| {
        Unfit::new(
            ResponseError::UnknownTopicOrPartition,
            "there is no such partition",
        )
    })?;
    let now_ms = i64::try_from(turn.now.wall.0).unwrap_or(i64::MAX);
    let records = produced.records.unwrap_or_default();
    let needed = catalog.needed(topic);
    let (batch, facts) = check::check(
        records,
        turn.head.version,
        (&topic.settings, &needed),
        now_ms,
        unpacking,
    )?;
    let (batch, append_time) = match topic.settings.timestamp_type {
        TimestampType::CreateTime => (batch, None),
        TimestampType::LogAppendTime => (batch.with_log_append_time(now_ms), Some(now_ms)),
    };
    Ok((
        AppendPartition {
            partition,
            batch,
            facts,
        },
        append_time,
    ))
}

#[derive(Debug)]
struct Waits {
    response: ProduceResponse,
    asked: Vec<Place>,
    /// Bytes of all batches, for the producer's quota.
    bytes: usize,
    /// Whether the producer waits for an answer.
    answer: bool,
}

/// Where in the response a partition is that was asked for.
#[derive(Clone, Copy, Debug)]
struct Place {
    topic: usize,
    partition: usize,
    /// What all its records have as timestamp, if that is the time of appending.
    append_time: Option<i64>,
    messages: Messages,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        mut replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let appended = only_reply!(replies, Append);
        for (place, result) in self.asked.iter().zip(appended) {
            if matches!(&result, Ok(appended) if !appended.duplicate) {
                turn.shared.figures.took(place.messages);
            }
            let topic = self.response.responses.get_mut(place.topic);
            let row = topic.and_then(|t| t.partition_responses.get_mut(place.partition));
            if let Some(row) = row {
                *row = filled(row.index, &result, place.append_time, turn);
            }
        }
        self.finish(turn)
    }
}

impl Waits {
    fn finish(&mut self, turn: &Turn<'_>) -> Result<Step, Hangup> {
        self.response.throttle_time_ms = turn.charge(Limit::ProduceBytes, self.bytes);
        if self.answer {
            return turn.answer(&self.response);
        }
        // Without an answer the end of the connection is the only way to tell of an error
        // (`KafkaApis.handleProduceRequest`).
        let rows = self
            .response
            .responses
            .iter()
            .flat_map(|t| &t.partition_responses);
        match rows
            .into_iter()
            .find(|row| row.error_code != wire_errors::NONE)
        {
            None => Ok(Step::Done(Vec::new())),
            Some(row) => Err(Hangup {
                why: format!(
                    "a produce request with acks=0 failed with code {}",
                    row.error_code
                ),
            }),
        }
    }
}

fn filled(
    index: i32,
    result: &Result<Appended, AppendRefusal>,
    append_time: Option<i64>,
    turn: &Turn<'_>,
) -> PartitionProduceResponse {
    match result {
        Ok(appended) => PartitionProduceResponse::default()
            .with_index(index)
            .with_base_offset(appended.base.0)
            .with_log_start_offset(appended.log_start.0)
            .with_log_append_time_ms(append_time.unwrap_or(-1)),
        Err(refusal) => {
            let error = wire_errors::append(refusal);
            unfit_row(index, Unfit::new(error, &refusal.to_string()), turn)
        }
    }
}

fn unfit_row(index: i32, unfit: Unfit, turn: &Turn<'_>) -> PartitionProduceResponse {
    let row = no_offset(index).with_error_code(unfit.error.code());
    if !turn.since(SINCE_RECORD_ERRORS) {
        return row;
    }
    let records = unfit.records.into_iter().map(|record| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(record.index)
            .with_batch_index_error_message(message(&record.why))
    });
    row.with_error_message(message(&unfit.why))
        .with_record_errors(records.collect())
}

fn no_offset(index: i32) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_base_offset(-1)
        .with_log_start_offset(-1)
        .with_log_append_time_ms(-1)
}
