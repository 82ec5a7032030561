//! `Fetch`: reading partitions, with a session and a wait (KIP-74, KIP-227, KIP-320, KIP-516).

mod encode;

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use mulgil_broker::connection::Hangup;
use mulgil_broker::meta::catalog::Catalog;
use mulgil_broker::meta::quota::Limit;
use mulgil_broker::request::{
    Isolation, Read, ReadOut, ReadPartition, ReadRefusal, Reply, Request,
};
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId};

use super::{Step, Turn, Waiting, only_reply};
use crate::conn::fetch_sessions::{NO_SESSION, News, Opened, Opening, SessionError, Wish};
use crate::figures::{KafkaFigures, Messages};
use crate::from_wire::{TopicKey, isolation, leader_epoch, natural, partition};
use crate::wire_errors;

/// The first version with sessions; before, every fetch is a full one without.
const SINCE_SESSIONS: i16 = 7;
/// What an answer holds unless its client waits for more, bytes; clients allow for 50 MiB and more.
///
/// What is read lies in the processor's caches still when it is sent, memory does not grow with the
/// number of readers, and who reads much gets a third more a second: reading and sending of one
/// client take turns.
const ANSWER_BYTES: u32 = 8 << 20;
/// The first version that names topics by id alone.
const SINCE_IDS: i16 = 13;

/// What is told of one partition.
#[derive(Debug)]
struct Row {
    topic: TopicKey,
    index: i32,
    result: Result<ReadOut, RowError>,
}

/// An error of one partition.
#[derive(Clone, Copy, Debug)]
struct RowError {
    error: ResponseError,
    /// The leadership that holds, if the client believes in an older one (KIP-951).
    leader_epoch: Option<LeaderEpoch>,
}

impl From<ResponseError> for RowError {
    fn from(error: ResponseError) -> Self {
        Self {
            error,
            leader_epoch: None,
        }
    }
}

pub(crate) fn start(request: FetchRequest, turn: &mut Turn<'_>) -> Result<Step, Hangup> {
    let isolation = isolation(request.isolation_level)
        .ok_or_else(|| turn.malformed("unknown isolation level"))?;
    // A server's limit holds above the client's. A minimum beyond what fits would never be reached.
    let bytes_max = natural(request.max_bytes).min(turn.shared.options.fetch_bytes_max);
    // No more than the client's quota lets pass, or it would wait for very long (KIP-219).
    let burst = turn.burst(Limit::ConsumeBytes);
    let bytes_max = burst.map_or(bytes_max, |burst| {
        bytes_max.min(u32::try_from(burst).unwrap_or(u32::MAX))
    });
    let bytes_min = natural(request.min_bytes).min(bytes_max);
    let bytes_max = bytes_max.min(bytes_min.max(ANSWER_BYTES));
    let wait_ms = natural(request.max_wait_ms);

    let opening = opening(request, turn);
    // Kafka's ids are positive too.
    let fresh_id = i32::try_from(turn.shared.ids.fetch_session_id() & 0x7fff_ffff).unwrap_or(1);
    let opened = match turn.sessions.open(opening, fresh_id.max(1)) {
        Ok(opened) => opened,
        Err(error) => {
            let error = session_error(error);
            turn.shared.figures.told(error.code());
            return Ok(Step::Done(encode::session_error(error, turn)?));
        }
    };
    let Opened {
        id,
        incremental,
        wishes,
    } = opened;
    let catalog = turn.catalog();
    let mut waits = Waits {
        session: id,
        incremental,
        isolation,
        rows: Vec::new(),
        asked: Vec::new(),
    };
    let mut partitions = Vec::with_capacity(wishes.len());
    for wish in wishes {
        let result = match find(&wish, &catalog) {
            Err(error) => Err(error.into()),
            Ok(partition) => {
                waits.asked.push(waits.rows.len());
                partitions.push(read_partition(&wish, partition));
                Ok(ReadOut::default())
            }
        };
        waits.rows.push(Row {
            topic: wish.topic,
            index: wish.index,
            result,
        });
    }
    if partitions.is_empty() {
        return Ok(Step::Done(waits.finish(turn)?));
    }
    if id == NO_SESSION {
        // A session gives each its turn. Without one, those that are always named last would starve
        // behind others that fill the answer.
        let first = turn.sessions.turn_of(partitions.len());
        partitions.rotate_left(first);
        waits.asked.rotate_left(first);
    }
    let read = Read {
        partitions,
        bytes_min,
        wait_ms,
        bytes_max,
        isolation,
    };
    Ok(Step::Ask(vec![Request::Read(read)], Box::new(waits)))
}

fn opening(request: FetchRequest, turn: &Turn<'_>) -> Opening {
    let by_id = turn.since(SINCE_IDS);
    let has_sessions = turn.since(SINCE_SESSIONS);
    let mut wishes = Vec::new();
    for topic in request.topics {
        let key = TopicKey::of(topic.topic.0, topic.topic_id, by_id);
        wishes.extend(topic.partitions.into_iter().map(|wish| Wish {
            topic: key.clone(),
            index: wish.partition,
            offset: wish.fetch_offset,
            bytes_max: wish.partition_max_bytes,
            leader_epoch: wish.current_leader_epoch,
            last_epoch: wish.last_fetched_epoch,
        }));
    }
    let wishes = each_once(wishes);
    let mut forgotten = Vec::new();
    for topic in request.forgotten_topics_data {
        let key = TopicKey::of(topic.topic.0, topic.topic_id, by_id);
        forgotten.extend(
            topic
                .partitions
                .into_iter()
                .map(|index| (key.clone(), index)),
        );
    }
    Opening {
        id: if has_sessions {
            request.session_id
        } else {
            NO_SESSION
        },
        epoch: if has_sessions {
            request.session_epoch
        } else {
            -1
        },
        by_id,
        wishes,
        forgotten,
    }
}

/// Each partition once, in the place of its first entry and with what the last one says, as in the map
/// that Kafka makes of a request.
fn each_once(wishes: Vec<Wish>) -> Vec<Wish> {
    if wishes.len() < 2 {
        return wishes;
    }
    let mut places = BTreeMap::new();
    let mut once: Vec<Wish> = Vec::with_capacity(wishes.len());
    for wish in wishes {
        let at = *places
            .entry((wish.topic.clone(), wish.index))
            .or_insert(once.len());
        match once.get_mut(at) {
            Some(earlier) => *earlier = wish,
            None => once.push(wish),
        }
    }
    once
}

fn find(wish: &Wish, catalog: &Catalog) -> Result<PartitionId, ResponseError> {
    match wish.topic.find(catalog) {
        Some(topic) => partition(topic, wish.index).ok_or(ResponseError::UnknownTopicOrPartition),
        None => Err(match wish.topic {
            // An id is never reused: INCONSISTENT_TOPIC_ID, which Kafka has for a broker whose log
            // and metadata disagree, cannot arise.
            TopicKey::Id(_) => ResponseError::UnknownTopicId,
            TopicKey::Name(_) => ResponseError::UnknownTopicOrPartition,
        }),
    }
}

fn read_partition(wish: &Wish, partition: PartitionId) -> ReadPartition {
    ReadPartition {
        partition,
        offset: Offset(wish.offset),
        bytes_max: natural(wish.bytes_max),
        leader_epoch: leader_epoch(wish.leader_epoch),
        last_epoch: leader_epoch(wish.last_epoch),
    }
}

#[derive(Debug)]
struct Waits {
    session: i32,
    incremental: bool,
    isolation: Isolation,
    rows: Vec<Row>,
    /// The row of each partition that was asked.
    asked: Vec<usize>,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        mut replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let read = only_reply!(replies, Read);
        for (at, result) in self.asked.iter().zip(read) {
            if let Some(row) = self.rows.get_mut(*at) {
                row.result = result.map_err(|refusal| row_error(&refusal));
            }
        }
        Ok(Step::Done(self.finish(turn)?))
    }
}

impl Waits {
    fn finish(mut self, turn: &mut Turn<'_>) -> Result<Vec<bytes::Bytes>, Hangup> {
        let (session, incremental) = (self.session, self.incremental);
        if session != NO_SESSION {
            self.rows.retain(|row| {
                let told = turn
                    .sessions
                    .must_tell(session, &row.topic, row.index, news(row));
                told || !incremental
            });
        }
        count(&self.rows, &turn.shared.figures);
        let read = self.rows.iter().filter_map(|row| row.result.as_ref().ok());
        let bytes = read
            .flat_map(|out| &out.batches)
            .map(bytes::Bytes::len)
            .sum();
        let wait_ms = turn.charge(Limit::ConsumeBytes, bytes);
        encode::response((session, wait_ms), self.isolation, self.rows, turn)
    }
}

/// Counts what is told: whole batches, as they are sent.
fn count(rows: &[Row], figures: &KafkaFigures) {
    let mut messages = Messages::default();
    for row in rows {
        match &row.result {
            Ok(out) => out
                .batches
                .iter()
                .for_each(|batch| messages.add_batch(batch)),
            Err(error) => figures.told(error.error.code()),
        }
    }
    figures.gave(messages);
}

fn news(row: &Row) -> News {
    match &row.result {
        Ok(out) => News {
            high_watermark: out.high_watermark.0,
            log_start: out.log_start.0,
            has_records: !out.batches.is_empty(),
            urgent: out.diverging.is_some(),
        },
        Err(_) => News {
            high_watermark: -1,
            log_start: -1,
            has_records: false,
            urgent: true,
        },
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only one refusal carries what is told"
)]
fn row_error(refusal: &ReadRefusal) -> RowError {
    let leader_epoch = match refusal {
        ReadRefusal::FencedEpoch { current } => Some(*current),
        _ => None,
    };
    RowError {
        error: wire_errors::read(refusal),
        leader_epoch,
    }
}

/// KIP-227 and, for topic ids, KIP-516.
const fn session_error(error: SessionError) -> ResponseError {
    match error {
        SessionError::NotFound => ResponseError::FetchSessionIdNotFound,
        SessionError::Epoch => ResponseError::InvalidFetchSessionEpoch,
        SessionError::TopicIds => ResponseError::FetchSessionTopicIdError,
    }
}
