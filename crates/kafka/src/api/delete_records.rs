//! `DeleteRecords`: giving up all records below an offset (KIP-107).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::request::{Reply, Request, Trim};
use mulgil_record::ids::Offset;

use super::{Step, Turn, Waiting, in_pieces, joined_replies};
use crate::from_wire::TopicKey;
use crate::wire_errors;

/// Up to the high watermark.
const TO_HIGH_WATERMARK: i64 = -1;

pub(crate) fn start(request: DeleteRecordsRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let catalog = turn.catalog();
    let mut waits = Waits {
        response: DeleteRecordsResponse::default(),
        asked: Vec::new(),
    };
    let mut asks = Vec::new();
    for topic in request.topics {
        let key = TopicKey::Name(topic.name.0.clone());
        let at = waits.response.topics.len();
        let mut rows = Vec::with_capacity(topic.partitions.len());
        for wish in &topic.partitions {
            let row = DeleteRecordsPartitionResult::default()
                .with_partition_index(wish.partition_index)
                .with_low_watermark(-1);
            let partition = key.partition(&catalog, wish.partition_index);
            let error = match partition {
                None => Some(ResponseError::UnknownTopicOrPartition),
                Some(partition) => {
                    let to = (wish.offset != TO_HIGH_WATERMARK).then_some(Offset(wish.offset));
                    asks.push(Trim { partition, to });
                    waits.asked.push((at, rows.len()));
                    None
                }
            };
            rows.push(row.with_error_code(error.map_or(wire_errors::NONE, |e| e.code())));
        }
        let topic = DeleteRecordsTopicResult::default()
            .with_name(topic.name)
            .with_partitions(rows);
        waits.response.topics.push(topic);
    }
    if asks.is_empty() {
        return turn.answer(&waits.response);
    }
    Ok(Step::Ask(in_pieces(asks, Request::Trim), Box::new(waits)))
}

#[derive(Debug)]
struct Waits {
    response: DeleteRecordsResponse,
    asked: Vec<(usize, usize)>,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let starts = joined_replies!(replies, Trim);
        for (&(topic, partition), start) in self.asked.iter().zip(starts) {
            let topic = self.response.topics.get_mut(topic);
            let Some(row) = topic.and_then(|t| t.partitions.get_mut(partition)) else {
                continue;
            };
            match start {
                Ok(offset) => row.low_watermark = offset.0,
                Err(refusal) => row.error_code = wire_errors::trim(&refusal).code(),
            }
        }
        turn.answer(&self.response)
    }
}
