//! `ListOffsets`: offsets by time, and the ends of partitions (KIP-79, KIP-734, KIP-405, KIP-1005).

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, TopicName};
use mulgil_broker::connection::Hangup;
use mulgil_broker::request::{FindOffset, FoundOffset, ReadRefusal, Reply, Request, Seek};

use super::{Step, Turn, Waiting, in_pieces, joined_replies};
use crate::from_wire::{TopicKey, isolation, leader_epoch};
use crate::wire_errors;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// What a timestamp of a request means.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Found(Seek),
    /// There is none, and that is no error.
    Nothing,
    /// Not in this version of the request.
    Unsupported,
}

/// What `timestamp` asks for; each special one since the version that `ReplicaManager.fetchOffset`
/// takes it in. There is no tiered storage: all records are local, and none is tiered.
fn wanted(timestamp: i64, turn: &Turn<'_>) -> Wanted {
    match timestamp {
        LATEST => Wanted::Found(Seek::Latest),
        EARLIEST => Wanted::Found(Seek::Earliest),
        MAX_TIMESTAMP if turn.since(7) => Wanted::Found(Seek::MaxTimestamp),
        EARLIEST_LOCAL if turn.since(8) => Wanted::Found(Seek::Earliest),
        LATEST_TIERED if turn.since(9) => Wanted::Nothing,
        time if time >= 0 => Wanted::Found(Seek::Time(time)),
        _ => Wanted::Unsupported,
    }
}

pub(crate) fn start(request: ListOffsetsRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let catalog = turn.catalog();
    let isolation = isolation(request.isolation_level)
        .ok_or_else(|| turn.malformed("unknown isolation level"))?;
    let mut waits = Waits {
        response: ListOffsetsResponse::default(),
        asked: Vec::new(),
    };
    let duplicates = duplicates(&request);
    let mut asks = Vec::new();
    for topic in request.topics {
        let key = TopicKey::Name(topic.name.0.clone());
        let at = waits.response.topics.len();
        let mut rows = Vec::with_capacity(topic.partitions.len());
        for wish in &topic.partitions {
            let row = nothing(wish.partition_index);
            let partition = key.partition(&catalog, wish.partition_index);
            let row = match (wanted(wish.timestamp, turn), partition) {
                _ if duplicates.contains(&(topic.name.clone(), wish.partition_index)) => {
                    refused(row, ResponseError::InvalidRequest)
                }
                (_, None) => refused(row, ResponseError::UnknownTopicOrPartition),
                (Wanted::Unsupported, _) => refused(row, ResponseError::UnsupportedVersion),
                (Wanted::Nothing, _) => row,
                (Wanted::Found(seek), Some(partition)) => {
                    let leader_epoch = leader_epoch(wish.current_leader_epoch);
                    asks.push(FindOffset {
                        partition,
                        seek,
                        isolation,
                        leader_epoch,
                    });
                    waits.asked.push((at, rows.len(), is_end(wish)));
                    row
                }
            };
            rows.push(row);
        }
        let topic = ListOffsetsTopicResponse::default()
            .with_name(topic.name)
            .with_partitions(rows);
        waits.response.topics.push(topic);
    }
    if asks.is_empty() {
        return turn.answer(&waits.response);
    }
    Ok(Step::Ask(
        in_pieces(asks, Request::FindOffsets),
        Box::new(waits),
    ))
}

/// Partitions that are named more than once; as Kafka, which answers none of them.
fn duplicates(request: &ListOffsetsRequest) -> BTreeSet<(TopicName, i32)> {
    let mut seen = BTreeSet::new();
    let named = request.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|wish| (topic.name.clone(), wish.partition_index))
    });
    named.filter(|named| !seen.insert(named.clone())).collect()
}

/// Whether an end of the partition is wanted: then the timestamp of the answer is -1.
const fn is_end(wish: &ListOffsetsPartition) -> bool {
    matches!(wish.timestamp, LATEST | EARLIEST | EARLIEST_LOCAL)
}

#[derive(Debug)]
struct Waits {
    response: ListOffsetsResponse,
    /// Topic and partition of the response for each that was asked, and whether it was an end.
    asked: Vec<(usize, usize, bool)>,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let found = joined_replies!(replies, FindOffsets);
        for (&(topic, partition, is_end), found) in self.asked.iter().zip(found) {
            let topic = self.response.topics.get_mut(topic);
            if let Some(row) = topic.and_then(|t| t.partitions.get_mut(partition)) {
                *row = filled(nothing(row.partition_index), &found, is_end, turn);
            }
        }
        turn.answer(&self.response)
    }
}

fn filled(
    row: ListOffsetsPartitionResponse,
    found: &Result<FoundOffset, ReadRefusal>,
    is_end: bool,
    turn: &Turn<'_>,
) -> ListOffsetsPartitionResponse {
    let found = match found {
        Err(refusal) => return refused(row, wire_errors::read(refusal)),
        Ok(found) => found,
    };
    let Some(offset) = found.offset else {
        return row;
    };
    let timestamp = if is_end { None } else { found.timestamp };
    let row = row
        .with_offset(offset.0)
        .with_timestamp(timestamp.unwrap_or(-1));
    if turn.since(4) {
        row.with_leader_epoch(found.leader_epoch.0)
    } else {
        row
    }
}

fn nothing(partition: i32) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default()
        .with_partition_index(partition)
        .with_offset(-1)
        .with_timestamp(-1)
        .with_leader_epoch(-1)
}

fn refused(
    row: ListOffsetsPartitionResponse,
    error: ResponseError,
) -> ListOffsetsPartitionResponse {
    row.with_error_code(error.code())
}
