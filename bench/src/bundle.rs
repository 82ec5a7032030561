//! Produce requests with batches for many partitions, built once and sent again and again.
//!
//! All partitions share one batch; a request is kept as the bytes between its batches, so that a
//! hundred requests of a hundred batches take the memory of one.

use std::io::{self, IoSlice, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};

use crate::frames::{PRODUCE_VERSION, Shape, batch};
use crate::wire::{Input, frame, topic_name};

/// Batches in a request at most: with the bytes between them they are one system call's pieces.
pub(crate) const PARTITIONS_MAX: usize = 500;

/// Requests that together have a batch for each partition.
#[derive(Clone, Debug)]
pub(crate) struct Bundles {
    /// For each request, the bytes before each batch and those after the last.
    gaps: Vec<Vec<Bytes>>,
    batch: Bytes,
}

impl Bundles {
    /// A batch for each of `partitions`, so many in a request.
    pub(crate) fn build(
        topic: &str,
        partitions: &[i32],
        in_request: usize,
        shape: Shape,
    ) -> Result<Self> {
        ensure!(
            (1..=PARTITIONS_MAX).contains(&in_request),
            "a request takes 1 to {PARTITIONS_MAX} partitions"
        );
        let batch = batch(shape)?;
        let mut gaps = Vec::new();
        for some in partitions.chunks(in_request) {
            let parts = some.iter().map(|index| {
                PartitionProduceData::default()
                    .with_index(*index)
                    .with_records(Some(batch.clone()))
            });
            let to = TopicProduceData::default()
                .with_name(topic_name(topic))
                .with_partition_data(parts.collect());
            let request = ProduceRequest::default()
                .with_acks(shape.acks)
                .with_timeout_ms(30_000)
                .with_topic_data(vec![to]);
            gaps.push(cut(
                &frame(&request, PRODUCE_VERSION, 0)?,
                &batch,
                some.len(),
            )?);
        }
        Ok(Self { gaps, batch })
    }

    /// How many requests make a round over all partitions.
    pub(crate) const fn round(&self) -> usize {
        self.gaps.len()
    }

    /// Sends the request of `turn`, which goes round; the bytes of its batches.
    pub(crate) fn send(&self, to: &mut TcpStream, turn: usize) -> io::Result<u64> {
        let gaps = self.gaps.get(turn % self.gaps.len().max(1));
        let gaps = gaps.map_or(&[][..], |gaps| gaps);
        let mut pieces = Vec::with_capacity(gaps.len() * 2);
        for gap in gaps {
            if !pieces.is_empty() {
                pieces.push(IoSlice::new(&self.batch));
            }
            pieces.push(IoSlice::new(gap));
        }
        let mut left = &mut pieces[..];
        while !left.is_empty() {
            let written = to.write_vectored(left)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut left, written);
        }
        let batches = gaps.len().saturating_sub(1);
        Ok(batches as u64 * self.batch.len() as u64)
    }
}

/// The bytes of `whole` around its `count` batches.
fn cut(whole: &Bytes, batch: &[u8], count: usize) -> Result<Vec<Bytes>> {
    let mut gaps = Vec::with_capacity(count + 1);
    let (mut from, mut at) = (0, 0);
    while gaps.len() < count {
        let rest = whole.get(at..).context("a batch for each partition")?;
        if rest.starts_with(batch) {
            // A copy, or the whole request would stay in memory.
            gaps.push(Bytes::copy_from_slice(whole.get(from..at).context("cut")?));
            at += batch.len();
            from = at;
        } else {
            at += 1;
        }
    }
    gaps.push(Bytes::copy_from_slice(whole.get(from..).context("cut")?));
    Ok(gaps)
}

/// Reads an answer and sees that all batches were taken.
pub(crate) fn accepted(input: &mut Input) -> Result<()> {
    let (_, answer) = input.answer_to::<ProduceRequest>(PRODUCE_VERSION)?;
    let topics = answer.responses.into_iter();
    for part in topics.flat_map(|topic| topic.partition_responses) {
        let (index, code) = (part.index, part.error_code);
        ensure!(
            code == 0,
            "partition {index}: error {code} {:?}",
            part.error_message
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use kafka_protocol::messages::RequestHeader;
    use kafka_protocol::protocol::{Decodable, HeaderVersion};

    use super::*;

    #[test]
    fn the_pieces_make_requests_for_all_partitions() {
        let shape = Shape {
            record_bytes: 100,
            batch_records: 3,
            acks: -1,
        };
        let partitions: Vec<i32> = (10..17).collect();
        let bundles = Bundles::build("topic", &partitions, 3, shape).unwrap();
        assert_eq!(bundles.round(), 3);
        let mut seen = Vec::new();
        for gaps in &bundles.gaps {
            let mut request = Bytes::from(gaps.join(&bundles.batch[..]));
            assert_eq!(request.get_u32() as usize, request.len());
            let version = ProduceRequest::header_version(PRODUCE_VERSION);
            RequestHeader::decode(&mut request, version).unwrap();
            let request = ProduceRequest::decode(&mut request, PRODUCE_VERSION).unwrap();
            for part in &request.topic_data[0].partition_data {
                assert_eq!(part.records.as_ref(), Some(&bundles.batch));
                seen.push(part.index);
            }
        }
        assert_eq!(seen, partitions);
    }

    #[test]
    fn more_partitions_than_a_system_call_takes_are_refused() {
        let shape = Shape {
            record_bytes: 1,
            batch_records: 1,
            acks: -1,
        };
        assert!(Bundles::build("topic", &[0], 0, shape).is_err());
        assert!(Bundles::build("topic", &[0], PARTITIONS_MAX + 1, shape).is_err());
    }
}
