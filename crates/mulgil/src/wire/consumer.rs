//! Reads partitions from given offsets on, without a group.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest};
use mulgil_record::batch::{Batch, BatchError, DecodeLimits, NO_TIMESTAMP, PREFIX_BYTES, Record};

use super::Message;
use super::cluster::Cluster;
use super::fault::Fault;
use crate::failure::{Failure, Outcome};
use mulgil_admin::catalogue::Code;

/// Of one answer.
const ANSWER_BYTES: i32 = 8 * 1024 * 1024;
/// Of one partition in it.
const PARTITION_BYTES: i32 = 1024 * 1024;
/// Of one batch, unpacked. Generous: the broker is ours, and the batch was asked for.
const UNPACKED_BYTES: usize = 1 << 30;
/// Above, topics are only named by their ids.
const FETCH_NEWEST: i16 = 12;
const LIST_OFFSETS_NEWEST: i16 = 7;
/// What a request for offsets calls the first and the next offset.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
    Offset(i64),
    /// The first record with this timestamp or a later one.
    Time(i64),
}

/// Reads one topic.
#[derive(Debug)]
pub(crate) struct Consumer {
    cluster: Cluster,
    topic: Arc<str>,
    /// The next offset of each partition.
    positions: BTreeMap<i32, i64>,
    /// Where to stop, if there is an end.
    ends: Option<BTreeMap<i32, i64>>,
}

impl Consumer {
    /// Reads `partitions` of the cluster's topic, all if none is named. With `to_end` only what is
    /// there now.
    pub(crate) fn new(
        mut cluster: Cluster,
        partitions: &[i32],
        start: Start,
        to_end: bool,
    ) -> Outcome<Self> {
        let all: Vec<i32> = cluster.partitions().collect();
        if let Some(missing) = partitions.iter().find(|wanted| !all.contains(wanted)) {
            let detail = format!("partition {missing} of topic \"{}\"", cluster.topic());
            return Err(Failure::new(Code::PartitionUnknown, detail));
        }
        let wanted = if partitions.is_empty() {
            all
        } else {
            partitions.to_vec()
        };
        let mut positions = BTreeMap::new();
        let mut ends = BTreeMap::new();
        for partition in wanted {
            let mut find = |at| cluster.insist(|cluster| find(cluster, partition, at));
            let position = match start {
                Start::Earliest => find(EARLIEST)?,
                Start::Latest => find(LATEST)?,
                Start::Offset(offset) => Some(offset),
                Start::Time(ms) => match find(ms)? {
                    None => find(LATEST)?,
                    found => found,
                },
            };
            positions.insert(partition, position.unwrap_or(0));
            if to_end {
                ends.insert(partition, find(LATEST)?.unwrap_or(0));
            }
        }
        let topic = Arc::from(cluster.topic());
        Ok(Self {
            cluster,
            topic,
            positions,
            ends: to_end.then_some(ends),
        })
    }

    /// Whether there is nothing left to read before the end.
    pub(crate) fn is_done(&self) -> bool {
        self.ends.is_some() && self.open().next().is_none()
    }

    /// Partitions that have not come to their end, with their next offset.
    fn open(&self) -> impl Iterator<Item = (i32, i64)> + '_ {
        let ended = |partition: &i32, offset: &i64| {
            let end = self.ends.as_ref().and_then(|ends| ends.get(partition));
            end.is_some_and(|end| offset >= end)
        };
        let open = self
            .positions
            .iter()
            .filter(move |(partition, at)| !ended(partition, at));
        open.map(|(partition, offset)| (*partition, *offset))
    }

    /// Waits up to `wait_ms` for records, and gives those that there are.
    pub(crate) fn poll(&mut self, wait_ms: i32) -> Outcome<Vec<Message>> {
        let mut by_leader: BTreeMap<i32, Vec<(i32, i64)>> = BTreeMap::new();
        for (partition, offset) in self.open() {
            let leader = self.cluster.leader(partition).unwrap_or(-1);
            by_leader
                .entry(leader)
                .or_default()
                .push((partition, offset));
        }
        // Brokers are asked one after the other, so they share the wait.
        let wait_ms = wait_ms / i32::try_from(by_leader.len().max(1)).unwrap_or(1);
        let mut messages = Vec::new();
        for partitions in by_leader.into_values() {
            let fetched = self
                .cluster
                .insist(|cluster| fetch(cluster, &partitions, wait_ms))?;
            for data in fetched {
                self.take(data, &mut messages)?;
            }
        }
        Ok(messages)
    }

    /// Takes the records of one partition, and moves its position behind them.
    fn take(&mut self, data: PartitionData, messages: &mut Vec<Message>) -> Outcome<()> {
        let partition = data.partition_index;
        let end = self
            .ends
            .as_ref()
            .and_then(|ends| ends.get(&partition))
            .copied();
        let Some(position) = self.positions.get_mut(&partition) else {
            return Ok(());
        };
        for bytes in whole_batches(data.records.unwrap_or_default()) {
            let at = *position;
            let damaged = |error| {
                let place = format!(
                    "topic \"{}\", partition {partition}, offset {at}",
                    self.topic
                );
                Failure::new(Code::Damaged, format!("{place}: {error}"))
            };
            let batch = Batch::check(bytes).map_err(damaged)?;
            let next = batch.header.base_offset.0 + i64::from(batch.header.last_offset_delta) + 1;
            if next > at && !batch.header.attributes.is_control() {
                let records = unpack(&self.topic, partition, &batch).map_err(damaged)?;
                // The first batch can begin before the wanted offset, the last end after the end.
                let wanted = at..end.unwrap_or(i64::MAX);
                messages.extend(records.into_iter().filter(|m| wanted.contains(&m.offset)));
            }
            *position = at.max(next);
        }
        Ok(())
    }
}

/// The records of a batch, with absolute offsets and times.
fn unpack(topic: &Arc<str>, partition: i32, batch: &Batch) -> Result<Vec<Message>, BatchError> {
    let header = &batch.header;
    let limits = DecodeLimits {
        bytes_max: UNPACKED_BYTES,
        ..DecodeLimits::default()
    };
    let name = |name: &Bytes| String::from_utf8_lossy(name).into_owned();
    let message = |record: Record| {
        let time = if header.attributes.is_log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.saturating_add(record.timestamp_delta)
        };
        Message {
            topic: Arc::clone(topic),
            partition,
            offset: header.base_offset.0 + i64::from(record.offset_delta),
            timestamp_ms: Some(time).filter(|time| *time != NO_TIMESTAMP),
            headers: record
                .headers
                .iter()
                .map(|(n, value)| (name(n), value.clone()))
                .collect(),
            key: record.key,
            value: record.value,
        }
    };
    Ok(batch.records(limits)?.iter().map(message).collect())
}

/// Cuts a record set into its batches. A broker may cut the last one off in the middle.
fn whole_batches(mut bytes: Bytes) -> Vec<Bytes> {
    let mut batches = Vec::new();
    while let Some([_, _, _, _, _, _, _, _, length @ ..]) = bytes.first_chunk::<PREFIX_BYTES>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let total = length.saturating_add(PREFIX_BYTES);
        if total > bytes.len() {
            break;
        }
        batches.push(bytes.split_to(total));
    }
    batches
}

fn leader_of(cluster: &Cluster, partition: i32) -> Result<i32, Fault> {
    cluster
        .leader(partition)
        .filter(|leader| *leader >= 0)
        .ok_or_else(|| Fault::Refused {
            error: ResponseError::LeaderNotAvailable,
            what: format!("topic \"{}\", partition {partition}", cluster.topic()),
        })
}

fn find(cluster: &mut Cluster, partition: i32, at: i64) -> Result<Option<i64>, Fault> {
    let leader = leader_of(cluster, partition)?;
    let what = format!("topic \"{}\", partition {partition}", cluster.topic());
    let asked = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(at);
    let topic = ListOffsetsTopic::default()
        .with_name(cluster.topic_name())
        .with_partitions(vec![asked]);
    let request = ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_topics(vec![topic]);
    let answer = cluster.ask(leader, &request, LIST_OFFSETS_NEWEST)?;
    let topic = answer.topics.into_iter().next();
    let found = topic.and_then(|topic| topic.partitions.into_iter().next());
    let found = found.ok_or_else(|| Fault::garbled(&what, "an answer without a partition"))?;
    Fault::check(found.error_code, || what)?;
    Ok(Some(found.offset).filter(|offset| *offset >= 0))
}

fn fetch(
    cluster: &mut Cluster,
    partitions: &[(i32, i64)],
    wait_ms: i32,
) -> Result<Vec<PartitionData>, Fault> {
    // After a refresh they may have several leaders; then the next poll sorts them anew.
    let Some((first, _)) = partitions.first() else {
        return Ok(Vec::new());
    };
    let leader = leader_of(cluster, *first)?;
    let asked = |(partition, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(PARTITION_BYTES)
    };
    let here = partitions
        .iter()
        .filter(|(p, _)| cluster.leader(*p) == Some(leader));
    let topic = FetchTopic::default()
        .with_topic(cluster.topic_name())
        .with_partitions(here.map(asked).collect());
    let request = FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(ANSWER_BYTES)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let answer = cluster.ask(leader, &request, FETCH_NEWEST)?;
    let name = cluster.topic().to_owned();
    Fault::check(answer.error_code, || format!("topic \"{name}\""))?;
    let mut fetched = Vec::new();
    for data in answer
        .responses
        .into_iter()
        .flat_map(|topic| topic.partitions)
    {
        let at = partitions
            .iter()
            .find(|(p, _)| *p == data.partition_index)
            .map_or(0, |(_, o)| *o);
        Fault::check(data.error_code, || {
            format!(
                "topic \"{name}\", partition {}, offset {at}",
                data.partition_index
            )
        })?;
        fetched.push(data);
    }
    Ok(fetched)
}
