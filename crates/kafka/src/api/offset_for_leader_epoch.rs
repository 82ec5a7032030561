//! `OffsetForLeaderEpoch`: where a leadership ended, so that a consumer finds out whether what it has
//! read is still there (KIP-101, KIP-279, KIP-320).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::request::{FindEpochEnd, Reply, Request};
use mulgil_record::ids::LeaderEpoch;

use super::{Step, Turn, Waiting, in_pieces, joined_replies};
use crate::from_wire::{TopicKey, leader_epoch};
use crate::wire_errors;

pub(crate) fn start(request: OffsetForLeaderEpochRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let catalog = turn.catalog();
    let mut waits = Waits {
        response: OffsetForLeaderEpochResponse::default(),
        asked: Vec::new(),
    };
    let mut asks = Vec::new();
    for topic in request.topics {
        let key = TopicKey::Name(topic.topic.0.clone());
        let at = waits.response.topics.len();
        let mut rows = Vec::with_capacity(topic.partitions.len());
        for wish in &topic.partitions {
            let mut row = unknown(wish.partition);
            match key.partition(&catalog, wish.partition) {
                None => row.error_code = ResponseError::UnknownTopicOrPartition.code(),
                Some(partition) => {
                    let epoch = LeaderEpoch(wish.leader_epoch);
                    let leader_epoch = leader_epoch(wish.current_leader_epoch);
                    asks.push(FindEpochEnd {
                        partition,
                        epoch,
                        leader_epoch,
                    });
                    waits.asked.push((at, rows.len()));
                }
            }
            rows.push(row);
        }
        let topic = OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic)
            .with_partitions(rows);
        waits.response.topics.push(topic);
    }
    if asks.is_empty() {
        return turn.answer(&waits.response);
    }
    Ok(Step::Ask(
        in_pieces(asks, Request::FindEpochEnds),
        Box::new(waits),
    ))
}

#[derive(Debug)]
struct Waits {
    response: OffsetForLeaderEpochResponse,
    asked: Vec<(usize, usize)>,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let ends = joined_replies!(replies, FindEpochEnds);
        for (&(topic, partition), end) in self.asked.iter().zip(ends) {
            let topic = self.response.topics.get_mut(topic);
            let Some(row) = topic.and_then(|t| t.partitions.get_mut(partition)) else {
                continue;
            };
            match end {
                Ok(Some((epoch, offset))) => {
                    row.leader_epoch = epoch.0;
                    row.end_offset = offset.0;
                }
                // Nothing that old or new is known: -1 and no error (`UNDEFINED_EPOCH`).
                Ok(None) => {}
                Err(refusal) => row.error_code = wire_errors::read(&refusal).code(),
            }
        }
        turn.answer(&self.response)
    }
}

fn unknown(partition: i32) -> EpochEndOffset {
    EpochEndOffset::default()
        .with_partition(partition)
        .with_leader_epoch(-1)
        .with_end_offset(-1)
}
