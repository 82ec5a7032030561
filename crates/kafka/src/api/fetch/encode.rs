//! The answer to a fetch, written by hand so that record batches go out as they are stored.
//!
//! `kafka-protocol` copies byte strings into its buffer. Here only what lies around the batches is
//! written; each batch is a piece of its own, and the socket sends all pieces in one vectored write.
//! The fields are those of Kafka's `FetchResponse.json`.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use mulgil_broker::connection::Hangup;
use mulgil_broker::request::{Isolation, ReadOut};
use mulgil_record::ids::{LeaderEpoch, Offset};

use super::{Row, RowError};
use crate::api::Turn;
use crate::codec::answer::Pieces;
use crate::conn::fetch_sessions::NO_SESSION;
use crate::from_wire::TopicKey;
use crate::shared::KafkaOptions;
use crate::to_wire::int32;
use crate::wire_errors;

/// The first version with error code and session id for the whole answer.
const SINCE_SESSIONS: i16 = 7;
/// The first version with log start offsets.
const SINCE_LOG_START: i16 = 5;
/// The first version with a preferred read replica (KIP-392).
const SINCE_READ_REPLICA: i16 = 11;
/// The first version with compact lengths and tagged fields.
const SINCE_FLEXIBLE: i16 = 12;
/// The first version with the address of the current leader (KIP-951).
const SINCE_ENDPOINTS: i16 = 16;

const TAG_DIVERGING_EPOCH: u32 = 0;
const TAG_CURRENT_LEADER: u32 = 1;
const TAG_NODE_ENDPOINTS: u32 = 0;

/// What is told of the offsets of a partition with an error.
const UNKNOWN: Offset = Offset(-1);

/// The answer to a fetch whose session cannot go on.
pub(super) fn session_error(error: ResponseError, turn: &Turn<'_>) -> Result<Vec<Bytes>, Hangup> {
    let mut writer = Writer::new(turn);
    writer.top(0, error.code(), NO_SESSION, 0);
    writer.end(None)
}

/// The answer to a fetch that read `rows`.
pub(super) fn response(
    (session, wait_ms): (i32, i32),
    isolation: Isolation,
    rows: Vec<Row>,
    turn: &Turn<'_>,
) -> Result<Vec<Bytes>, Hangup> {
    let mut writer = Writer::new(turn);
    let topics = rows.chunk_by(|a, b| a.topic == b.topic);
    let count = topics.clone().count();
    writer.top(wait_ms, wire_errors::NONE, session, count);
    let sizes: Vec<usize> = topics.map(<[Row]>::len).collect();
    let mut redirected = false;
    let mut rows = rows.into_iter();
    for size in sizes {
        let mut topic = rows.by_ref().take(size).peekable();
        if let Some(first) = topic.peek() {
            writer.topic(&first.topic, size);
        }
        for row in topic {
            redirected |= matches!(
                row.result,
                Err(RowError {
                    leader_epoch: Some(_),
                    ..
                })
            );
            writer.partition(row, isolation)?;
        }
        writer.no_tags();
    }
    writer.end(redirected.then_some(&turn.shared.options))
}

struct Writer {
    pieces: Pieces,
    version: i16,
    node_id: i32,
}

impl Writer {
    fn new(turn: &Turn<'_>) -> Self {
        debug_assert_eq!(
            turn.head.key,
            ApiKey::Fetch,
            "only fetches are answered here"
        );
        Self {
            pieces: Pieces::new(turn.head),
            version: turn.head.version,
            node_id: turn.shared.options.node_id,
        }
    }

    const fn out(&mut self) -> &mut BytesMut {
        self.pieces.buffer()
    }

    const fn flexible(&self) -> bool {
        self.version >= SINCE_FLEXIBLE
    }

    fn top(&mut self, wait_ms: i32, error: i16, session: i32, topics: usize) {
        self.out().put_i32(wait_ms);
        if self.version >= SINCE_SESSIONS {
            self.out().put_i16(error);
            self.out().put_i32(session);
        }
        self.length(topics);
    }

    fn topic(&mut self, key: &TopicKey, partitions: usize) {
        match key {
            TopicKey::Id(id) => self.out().put_slice(id.as_bytes()),
            TopicKey::Name(name) if self.flexible() => {
                self.length(name.len());
                self.out().put_slice(name.as_bytes());
            }
            TopicKey::Name(name) => {
                // Came with a length of 16 bits, so it goes with one.
                self.out()
                    .put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
                self.out().put_slice(name.as_bytes());
            }
        }
        self.length(partitions);
    }

    fn partition(&mut self, row: Row, isolation: Isolation) -> Result<(), Hangup> {
        let error = row.result.as_ref().err().copied();
        let out = row.result.unwrap_or_else(|_| ReadOut {
            high_watermark: UNKNOWN,
            last_stable: UNKNOWN,
            log_start: UNKNOWN,
            ..ReadOut::default()
        });
        self.out().put_i32(row.index);
        self.out()
            .put_i16(error.map_or(wire_errors::NONE, |e| e.error.code()));
        self.out().put_i64(out.high_watermark.0);
        self.out().put_i64(out.last_stable.0);
        if self.version >= SINCE_LOG_START {
            self.out().put_i64(out.log_start.0);
        }
        // No transaction is ever aborted. Who reads all records gets null, as from Kafka.
        match isolation {
            Isolation::Committed => self.length(0),
            Isolation::Uncommitted => self.null(),
        }
        if self.version >= SINCE_READ_REPLICA {
            self.out().put_i32(-1);
        }
        let records = out.batches.iter().map(Bytes::len).sum::<usize>();
        if i32::try_from(records).is_err() {
            return Err(Hangup {
                why: format!("{records} bytes were read of one partition"),
            });
        }
        self.length(records);
        for batch in out.batches {
            self.pieces.splice(batch);
        }
        self.partition_tags(out.diverging, error.and_then(|e| e.leader_epoch));
        Ok(())
    }

    fn partition_tags(
        &mut self,
        diverging: Option<(LeaderEpoch, Offset)>,
        leader: Option<LeaderEpoch>,
    ) {
        if !self.flexible() {
            return;
        }
        let leader = leader.filter(|_| self.version >= SINCE_ENDPOINTS);
        let node_id = self.node_id;
        let out = self.out();
        put_varint(
            out,
            u32::from(diverging.is_some()) + u32::from(leader.is_some()),
        );
        if let Some((epoch, end)) = diverging {
            put_varint(out, TAG_DIVERGING_EPOCH);
            put_varint(out, 4 + 8 + 1);
            out.put_i32(epoch.0);
            out.put_i64(end.0);
            out.put_u8(0);
        }
        if let Some(epoch) = leader {
            put_varint(out, TAG_CURRENT_LEADER);
            put_varint(out, 4 + 4 + 1);
            out.put_i32(node_id);
            out.put_i32(epoch.0);
            out.put_u8(0);
        }
    }

    fn no_tags(&mut self) {
        if self.flexible() {
            self.out().put_u8(0);
        }
    }

    /// Ends the answer, with this broker's address if a client has to be told who leads.
    fn end(mut self, endpoint: Option<&KafkaOptions>) -> Result<Vec<Bytes>, Hangup> {
        let endpoint = endpoint.filter(|_| self.version >= SINCE_ENDPOINTS);
        match endpoint {
            None => self.no_tags(),
            Some(options) => {
                let mut list = BytesMut::new();
                put_varint(&mut list, 1 + 1);
                list.put_i32(options.node_id);
                put_varint(&mut list, length_plus_one(options.advertised_host.len()));
                list.put_slice(options.advertised_host.as_bytes());
                list.put_i32(i32::from(options.advertised_port));
                put_varint(&mut list, 0);
                list.put_u8(0);
                let out = self.out();
                put_varint(out, 1);
                put_varint(out, TAG_NODE_ENDPOINTS);
                put_varint(out, length_plus_one(list.len()) - 1);
                out.put_slice(&list);
            }
        }
        self.pieces.finish()
    }

    /// The length of a list or byte string.
    fn length(&mut self, length: usize) {
        if self.flexible() {
            put_varint(self.out(), length_plus_one(length));
        } else {
            self.out().put_i32(int32(length));
        }
    }

    /// A list that is not there.
    fn null(&mut self) {
        if self.flexible() {
            self.out().put_u8(0);
        } else {
            self.out().put_i32(-1);
        }
    }
}

fn length_plus_one(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX - 1) + 1
}

fn put_varint(out: &mut BytesMut, mut value: u32) {
    while let Some(low) = u8::try_from(value & 0x7f).ok().filter(|_| value >= 0x80) {
        out.put_u8(low | 0x80);
        value >>= 7;
    }
    out.put_u8(u8::try_from(value).unwrap_or(0x7f));
}
