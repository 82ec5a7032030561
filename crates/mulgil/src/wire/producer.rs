//! Publishes: gathers records to batches, sends each until it is acknowledged by all replicas.
//!
//! The producer is idempotent where the broker can hand out a producer id: a batch that was stored
//! before its answer got lost is then not stored twice. Without an id a batch whose fate is unknown
//! is not sent again.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, ProduceRequest};
use mulgil_record::batch::{Batch, BatchBuilder};
use mulgil_record::compression::Codec;
use mulgil_record::ids::{ProducerEpoch, ProducerId};
use mulgil_record::partition_for_key;

use super::cluster::Cluster;
use super::fault::Fault;
use crate::failure::{Failure, Outcome};
use mulgil_admin::catalogue::Code;

/// A batch is sent at this size; Kafka's usual limit is 1 MiB.
const BATCH_BYTES: usize = 512 * 1024;
/// How long the broker may wait for its disk and its replicas.
const TIMEOUT_MS: i32 = 30_000;
/// Above, topics are only named by their ids.
const PRODUCE_NEWEST: i16 = 12;
const PRODUCER_ID_NEWEST: i16 = 4;

/// A record to publish.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [(String, Vec<u8>)],
}

/// What went to one partition. An offset is not known if the answer that named it got lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) first: Option<i64>,
    pub(crate) last: Option<i64>,
    pub(crate) records: u64,
}

/// Publishes to one topic.
#[derive(Debug)]
pub(crate) struct Producer {
    cluster: Cluster,
    codec: Codec,
    /// Everything goes to this partition.
    only: Option<i32>,
    /// Where records without a key go until the batch is full.
    turn: usize,
    id: Option<(ProducerId, ProducerEpoch)>,
    partitions: BTreeMap<i32, Lane>,
    numbers: Vec<i32>,
}

/// One partition.
#[derive(Debug, Default)]
struct Lane {
    pending: Option<BatchBuilder>,
    sequence: i32,
    placed: Option<Placed>,
}

impl Producer {
    /// A producer for the topic of `cluster`, all to partition `only` if one is given.
    pub(crate) fn new(mut cluster: Cluster, codec: Codec, only: Option<i32>) -> Outcome<Self> {
        let numbers: Vec<i32> = cluster.partitions().collect();
        if let Some(missing) = only.filter(|only| !numbers.contains(only)) {
            let detail = format!("partition {missing} of topic \"{}\"", cluster.topic());
            return Err(Failure::new(Code::PartitionUnknown, detail));
        }
        let id = cluster.insist(producer_id)?;
        let partitions = numbers
            .iter()
            .map(|number| (*number, Lane::default()))
            .collect();
        Ok(Self {
            cluster,
            codec,
            only,
            turn: 0,
            id,
            partitions,
            numbers,
        })
    }

    /// Takes a record. It is stored when [`Producer::finish`] says so, or earlier.
    pub(crate) fn push(&mut self, record: &Outgoing<'_>) -> Outcome<()> {
        let partition = self.choose(record.key);
        let size = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers = record
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 8);
        let size = size(record.key) + size(record.value) + headers.sum::<usize>() + 32;
        let codec = self.codec;
        let lane = self.partitions.entry(partition).or_default();
        let full = |batch: &BatchBuilder| batch.len_bytes() + size > BATCH_BYTES;
        if lane.pending.as_ref().is_some_and(full) {
            self.send(partition)?;
            self.turn = self.turn.wrapping_add(1);
            return self.push(record);
        }
        let new = || BatchBuilder::new(codec, record.timestamp_ms);
        let batch = lane.pending.get_or_insert_with(new);
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), Some(value.as_slice())))
            .collect();
        batch.push(record.timestamp_ms, record.key, record.value, &headers);
        Ok(())
    }

    fn choose(&self, key: Option<&[u8]>) -> i32 {
        let count = self.numbers.len();
        let place = match (self.only, key) {
            (Some(only), _) => return only,
            (None, Some(key)) => {
                let count = i32::try_from(count).unwrap_or(i32::MAX);
                usize::try_from(partition_for_key(key, count)).unwrap_or(0)
            }
            (None, None) => self.turn % count,
        };
        self.numbers.get(place).copied().unwrap_or(0)
    }

    /// Sends what is left, and says where everything went, by partition.
    pub(crate) fn finish(&mut self) -> Outcome<BTreeMap<i32, Placed>> {
        for partition in self.numbers.clone() {
            self.send(partition)?;
        }
        Ok(self.placed())
    }

    /// Records without a key go to the next partition from here on.
    pub(crate) const fn move_on(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// What is stored so far, by partition.
    pub(crate) fn placed(&self) -> BTreeMap<i32, Placed> {
        let stored = |(number, lane): (&i32, &Lane)| lane.placed.map(|placed| (*number, placed));
        self.partitions.iter().filter_map(stored).collect()
    }

    fn send(&mut self, partition: i32) -> Outcome<()> {
        let lane = self.partitions.entry(partition).or_default();
        let Some(mut builder) = lane.pending.take() else {
            return Ok(());
        };
        if let Some((id, epoch)) = self.id {
            builder = builder.producer(id, epoch, lane.sequence);
        }
        let batch = builder.finish();
        let count = batch.header.record_count;
        let again = self.id.is_some();
        let sent = self
            .cluster
            .insist(|cluster| match produce(cluster, partition, &batch) {
                // Stored already, when the answer to an earlier try got lost.
                Err(fault) if fault.is(ResponseError::DuplicateSequenceNumber) => Ok(Ok(None)),
                Err(fault @ (Fault::Lost(_) | Fault::Late(_))) if !again => Ok(Err(fault)),
                answer => answer.map(|base| Ok(Some(base))),
            });
        let base = sent??;
        lane.sequence = next_sequence(lane.sequence, count);
        let records = u64::try_from(count).unwrap_or(0);
        let before = lane.placed;
        lane.placed = Some(Placed {
            first: before.map_or(base, |before| before.first),
            last: base.map(|base| base + i64::from(count) - 1),
            records: before.map_or(0, |before| before.records) + records,
        });
        Ok(())
    }
}

/// Sequence numbers go round after `i32::MAX`.
const fn next_sequence(sequence: i32, count: i32) -> i32 {
    sequence.wrapping_add(count) & i32::MAX
}

/// A producer id, or none if the broker has none to give.
fn producer_id(cluster: &mut Cluster) -> Result<Option<(ProducerId, ProducerEpoch)>, Fault> {
    let first = cluster
        .partitions()
        .next()
        .and_then(|partition| cluster.leader(partition));
    let Some(broker) = first else { return Ok(None) };
    if !cluster.offers(broker, ApiKey::InitProducerId)? {
        return Ok(None);
    }
    // An empty transactional id, the default, is not the same as none.
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1)
        .with_transaction_timeout_ms(60_000);
    let answer = cluster.ask(broker, &request, PRODUCER_ID_NEWEST)?;
    Fault::check(answer.error_code, || "a producer id".to_owned())?;
    Ok(Some((
        ProducerId(answer.producer_id.0),
        ProducerEpoch(answer.producer_epoch),
    )))
}

/// Sends a batch to the leader of its partition, and gives the offset of its first record.
fn produce(cluster: &mut Cluster, partition: i32, batch: &Batch) -> Result<i64, Fault> {
    let what = format!("topic \"{}\", partition {partition}", cluster.topic());
    let leader = cluster.leader(partition).filter(|leader| *leader >= 0);
    let Some(leader) = leader else {
        return Err(Fault::Refused {
            error: ResponseError::LeaderNotAvailable,
            what,
        });
    };
    let records = Some(Bytes::clone(&batch.bytes));
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(records);
    let topic = TopicProduceData::default()
        .with_name(cluster.topic_name())
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(-1)
        .with_timeout_ms(TIMEOUT_MS)
        .with_topic_data(vec![topic]);
    let answer = cluster.ask(leader, &request, PRODUCE_NEWEST)?;
    let topic = answer.responses.into_iter().next();
    let answer = topic.and_then(|topic| topic.partition_responses.into_iter().next());
    let answer = answer.ok_or_else(|| Fault::garbled(&what, "an answer without a partition"))?;
    let reason = answer
        .record_errors
        .iter()
        .find_map(|e| e.batch_index_error_message.as_ref());
    let reason = reason.or(answer.error_message.as_ref());
    Fault::check(answer.error_code, || match reason {
        Some(reason) => format!("{what}: {reason:?}"),
        None => what,
    })?;
    Ok(answer.base_offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_go_round() {
        assert_eq!(next_sequence(0, 5), 5);
        assert_eq!(next_sequence(i32::MAX - 1, 1), i32::MAX);
        assert_eq!(next_sequence(i32::MAX, 1), 0);
        assert_eq!(next_sequence(i32::MAX, 3), 2);
    }
}
