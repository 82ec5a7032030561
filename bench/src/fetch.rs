//! A reader of some partitions: fetch sessions as Kafka's own consumer keeps them.
//!
//! Records are counted by the headers of their batches and not opened; offsets must follow each other
//! without gaps.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use bytes::{Buf, Bytes};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest};

use crate::wire::{Wire, topic_name};

/// The last version that names its topics.
const FETCH_VERSION: i16 = 12;
/// As Kafka's consumer asks by default.
const BYTES_MAX: i32 = 50 << 20;
const PARTITION_BYTES_MAX: i32 = 1 << 20;
const WAIT_MAX_MS: i32 = 500;

/// A consumer of some partitions of one topic.
#[derive(Debug)]
pub(crate) struct Fetcher {
    wire: Wire,
    topic: String,
    next: BTreeMap<i32, i64>,
    /// Partitions whose next offset the broker has not been told.
    changed: Vec<i32>,
    session: (i32, i32),
    answer_bytes_max: i32,
}

/// What one answer brought for one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Got {
    pub(crate) partition: i32,
    /// The first offset.
    pub(crate) from: i64,
    /// The offset after the last.
    pub(crate) to: i64,
    pub(crate) bytes: u64,
}

impl Fetcher {
    /// Reads `partitions` from offset 0.
    pub(crate) fn new(wire: Wire, topic: &str, partitions: impl Iterator<Item = i32>) -> Self {
        let next: BTreeMap<i32, i64> = partitions.map(|index| (index, 0)).collect();
        let changed = next.keys().copied().collect();
        Self {
            wire,
            topic: topic.to_owned(),
            next,
            changed,
            session: (0, 0),
            answer_bytes_max: BYTES_MAX,
        }
    }

    /// Asks for at most so much at a time, instead of what Kafka's consumer asks for.
    pub(crate) const fn asking_for(mut self, answer_bytes_max: i32) -> Self {
        self.answer_bytes_max = answer_bytes_max;
        self
    }

    /// Asks once, and waits for at least a byte for half a second.
    pub(crate) fn fetch(&mut self) -> Result<Vec<Got>> {
        let (next, most) = (&self.next, self.answer_bytes_max);
        let asked = self.changed.drain(..).map(|index| {
            FetchPartition::default()
                .with_partition(index)
                .with_fetch_offset(next.get(&index).copied().unwrap_or(0))
                .with_partition_max_bytes(PARTITION_BYTES_MAX.min(most))
        });
        let topic = FetchTopic::default()
            .with_topic(topic_name(&self.topic))
            .with_partitions(asked.collect());
        let empty = topic.partitions.is_empty();
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(WAIT_MAX_MS)
            .with_min_bytes(1)
            .with_max_bytes(self.answer_bytes_max)
            .with_session_id(self.session.0)
            .with_session_epoch(self.session.1)
            .with_topics(if empty { Vec::new() } else { vec![topic] });
        let answer = self.wire.call(&request, FETCH_VERSION)?;
        ensure!(answer.error_code == 0, "fetch: error {}", answer.error_code);
        self.session = (answer.session_id, self.session.1 + 1);
        let mut got = Vec::new();
        for part in answer
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            let (index, code) = (part.partition_index, part.error_code);
            ensure!(code == 0, "partition {index}: error {code}");
            if let Some(records) = part.records.filter(|records| !records.is_empty()) {
                got.push(self.take(index, records)?);
            }
        }
        Ok(got)
    }

    fn take(&mut self, partition: i32, records: Bytes) -> Result<Got> {
        let next = self.next.get_mut(&partition).context("not asked for")?;
        let (from, bytes) = (*next, records.len() as u64);
        *next = follow(from, records).with_context(|| format!("partition {partition}"))?;
        self.changed.push(partition);
        Ok(Got {
            partition,
            from,
            to: *next,
            bytes,
        })
    }
}

/// Walks over whole batches; the offset after the last.
fn follow(mut next: i64, mut records: Bytes) -> Result<i64> {
    while records.len() >= 61 {
        let mut head = records.slice(..61);
        let base = head.get_i64();
        let length = usize::try_from(head.get_i32())?;
        head.advance(11);
        let last_delta = i64::from(head.get_i32());
        if records.len() < 12 + length {
            break;
        }
        ensure!(base == next, "batch at {base} where {next} was to follow");
        next = base + last_delta + 1;
        records.advance(12 + length);
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use mulgil_record::batch::{BatchBuilder, restamp};
    use mulgil_record::compression::Codec;
    use mulgil_record::ids::{LeaderEpoch, Offset};

    use super::*;

    fn batch(base: i64, records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None, 0);
        for _ in 0..records {
            builder.push(0, None, Some(b"value"), &[]);
        }
        let mut bytes = builder.finish().bytes.to_vec();
        restamp(&mut bytes, Offset(base), LeaderEpoch(0));
        bytes
    }

    #[test]
    fn batches_are_followed_to_the_last_whole_one() {
        let mut bytes = [batch(5, 3), batch(8, 2), batch(10, 1)].concat();
        bytes.pop();
        assert_eq!(follow(5, bytes.into()).unwrap(), 10);
    }

    #[test]
    fn a_gap_is_an_error() {
        let bytes = [batch(5, 3), batch(9, 2)].concat();
        assert!(follow(5, bytes.into()).is_err());
    }
}
