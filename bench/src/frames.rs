//! Produce requests that are built once and sent again and again.
//!
//! A request is cut around its batch: all partitions share the batch, each has only the few bytes
//! before it. Correlation ids are left 0: answers come in the order of their requests.

use std::io::{self, IoSlice, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use mulgil_record::batch::BatchBuilder;
use mulgil_record::compression::Codec;

use crate::wire::{frame, topic_name};

/// Version in which produce requests are sent: the last that names its topics.
pub(crate) const PRODUCE_VERSION: i16 = 12;

/// Produce requests for some partitions of one topic.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    heads: Vec<Bytes>,
    batch: Bytes,
    tail: Bytes,
    /// Records in each request.
    pub(crate) records: u64,
}

/// What to put into the batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bytes of each record's value.
    pub(crate) record_bytes: usize,
    /// Records in each batch.
    pub(crate) batch_records: usize,
    /// What the broker waits for before it answers.
    pub(crate) acks: i16,
}

impl Frames {
    /// Requests to each of `partitions` of `topic`, a batch each.
    pub(crate) fn build(
        topic: &str,
        partitions: impl Iterator<Item = i32>,
        shape: Shape,
    ) -> Result<Self> {
        let batch = batch(shape)?;
        let mut heads = Vec::new();
        let mut tail = Bytes::new();
        for index in partitions {
            let part = PartitionProduceData::default()
                .with_index(index)
                .with_records(Some(batch.clone()));
            let to = TopicProduceData::default()
                .with_name(topic_name(topic))
                .with_partition_data(vec![part]);
            let request = ProduceRequest::default()
                .with_acks(shape.acks)
                .with_timeout_ms(30_000)
                .with_topic_data(vec![to]);
            let whole = frame(&request, PRODUCE_VERSION, 0)?;
            // Behind the batch come three empty lists of tagged fields.
            let at = whole.len() - 3 - batch.len();
            heads.push(Bytes::copy_from_slice(whole.get(..at).context("cut")?));
            tail = Bytes::copy_from_slice(whole.get(at + batch.len()..).context("cut")?);
        }
        Ok(Self {
            heads,
            batch,
            tail,
            records: u64::try_from(shape.batch_records)?,
        })
    }

    /// Sends the request for the partition of `turn`, which goes round.
    pub(crate) fn send(&self, to: &mut TcpStream, turn: usize) -> io::Result<()> {
        let head = self.heads.get(turn % self.heads.len().max(1));
        let head: &[u8] = head.map_or(&[], |head| head);
        let mut pieces = [head, &self.batch, &self.tail].map(IoSlice::new);
        let mut left = &mut pieces[..];
        while !left.is_empty() {
            let written = to.write_vectored(left)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut left, written);
        }
        Ok(())
    }

    /// Bytes of a batch.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.batch.len()
    }
}

/// A batch of that shape, of bytes that no codec makes smaller.
pub(crate) fn batch(shape: Shape) -> Result<Bytes> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let now = i64::try_from(now)?;
    let mut builder = BatchBuilder::new(Codec::None, now);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..shape.batch_records {
        let mut value = Vec::with_capacity(shape.record_bytes + 8);
        while value.len() < shape.record_bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            value.extend_from_slice(&state.to_be_bytes());
        }
        value.truncate(shape.record_bytes);
        builder.push(now, None, Some(&value), &[]);
    }
    Ok(builder.finish().bytes)
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use kafka_protocol::messages::RequestHeader;
    use kafka_protocol::protocol::{Decodable, HeaderVersion};

    use super::*;

    #[test]
    fn the_pieces_make_a_request_to_the_partition() {
        let shape = Shape {
            record_bytes: 100,
            batch_records: 20,
            acks: -1,
        };
        let frames = Frames::build("topic", 3..5, shape).unwrap();
        for (head, index) in frames.heads.iter().zip(3..5) {
            let whole = [&head[..], &frames.batch, &frames.tail].concat();
            let mut request = Bytes::from(whole);
            assert_eq!(request.get_u32() as usize, request.len());
            let version = ProduceRequest::header_version(PRODUCE_VERSION);
            RequestHeader::decode(&mut request, version).unwrap();
            let request = ProduceRequest::decode(&mut request, PRODUCE_VERSION).unwrap();
            let part = &request.topic_data[0].partition_data[0];
            assert_eq!(part.index, index);
            assert_eq!(part.records.as_ref(), Some(&frames.batch));
        }
    }
}
