//! Records: published and read, one partition at a time.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use mulgil_admin::backend::{Begin, Publish, Read, ReadPart};
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{Header, Payload, Position, Record};
use mulgil_admin::problem::Refusal;
use mulgil_admin::time::Timestamp;
use mulgil_broker::request::{
    Append, AppendPartition, FindOffset, Isolation, ReadOut, ReadPartition, Reply, Request, Seek,
};
use mulgil_meta::schema::Topic;
use mulgil_record::batch::{Batch, BatchBuilder, DecodeLimits};
use mulgil_record::compression::Codec;
use mulgil_record::ids::{Offset, PartitionId};
use mulgil_record::partition_for_key;

use super::LocalBackend;
use super::refusals::{append_refusal, read_refusal, unexpected};

impl LocalBackend {
    fn partition_of(&self, topic: &Topic, record: &Publish) -> Result<u32, Refusal> {
        let count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        match (record.partition, &record.key) {
            (Some(partition), _) if partition < count => Ok(partition),
            (Some(partition), _) => {
                let detail = format!("partition {partition} of topic \"{}\"", topic.name);
                Err(Refusal::new(Code::PartitionUnknown, detail))
            }
            (None, Some(key)) => {
                let partitions = i32::try_from(count).unwrap_or(i32::MAX);
                Ok(partition_for_key(key, partitions).cast_unsigned())
            }
            (None, None) => Ok(self.spread.fetch_add(1, Ordering::Relaxed) % count.max(1)),
        }
    }

    pub(super) async fn publish_all(
        &self,
        topic: &str,
        records: Vec<Publish>,
    ) -> Result<Vec<Result<Position, Refusal>>, Refusal> {
        let topic = self.topic(topic)?;
        let now = i64::try_from(self.broker.now().wall.0).unwrap_or(i64::MAX);
        let mut builders = BTreeMap::new();
        let mut places = Vec::with_capacity(records.len());
        let codec = topic.settings.compression.unwrap_or(Codec::None);
        for record in &records {
            if topic.settings.cleanup.compact && record.key.is_none() {
                let detail = "a compacted topic takes no record without a key";
                places.push(Err(Refusal::new(Code::RecordRefused, detail)));
                continue;
            }
            let place = self.partition_of(&topic, record).map(|partition| {
                let builder: &mut BatchBuilder = builders
                    .entry(partition)
                    .or_insert_with(|| BatchBuilder::new(codec, now));
                push(builder, record, now);
                (partition, builder.len() - 1)
            });
            places.push(place);
        }
        let partitions: Vec<_> = builders.keys().copied().collect();
        let batches: Vec<_> = builders.into_values().map(BatchBuilder::finish).collect();
        let bases = self.append(&topic, &partitions, batches).await?;
        let results = places.into_iter().map(|place| {
            let (partition, at) = place?;
            let offset = bases
                .get(&partition)
                .cloned()
                .unwrap_or_else(|| Err(unexpected()))?;
            Ok(Position {
                partition,
                offset: offset + i64::try_from(at).unwrap_or(0),
            })
        });
        Ok(results.collect())
    }

    /// Appends a batch to each of the partitions; their base offsets, or why not.
    async fn append(
        &self,
        topic: &Topic,
        partitions: &[u32],
        batches: Vec<Batch>,
    ) -> Result<BTreeMap<u32, Result<i64, Refusal>>, Refusal> {
        let most = topic.settings.message_bytes_max as usize;
        let mut found = BTreeMap::new();
        let mut append = Append {
            partitions: Vec::new(),
        };
        let mut asked = Vec::new();
        for (partition, batch) in partitions.iter().zip(batches) {
            let Some(id) = topic.partitions.get(*partition as usize) else {
                continue;
            };
            if batch.bytes.len() > most {
                let detail = format!("{} bytes, at most {most} are taken", batch.bytes.len());
                found.insert(*partition, Err(Refusal::new(Code::RecordTooLarge, detail)));
                continue;
            }
            let records = i64::from(batch.header.last_offset_delta) + 1;
            let records = u64::try_from(records).unwrap_or(0);
            asked.push((*partition, records, batch.bytes.len() as u64));
            append.partitions.push(AppendPartition {
                partition: *id,
                batch,
                facts: Bytes::new(),
            });
        }
        let Reply::Append(outcomes) = self.ask(Request::Append(append)).await? else {
            return Err(unexpected());
        };
        for ((partition, records, bytes), outcome) in asked.into_iter().zip(outcomes) {
            if outcome.is_ok() {
                let own = &self.own;
                own.published.fetch_add(records, Ordering::Relaxed);
                own.published_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            let outcome = outcome.map(|appended| appended.base.0);
            found.insert(
                partition,
                outcome.map_err(|refusal| append_refusal(&refusal)),
            );
        }
        Ok(found)
    }

    pub(super) async fn read_part(&self, topic: &str, read: Read) -> Result<ReadPart, Refusal> {
        let found = self.topic(topic)?;
        let Some(id) = found.partitions.get(read.partition as usize).copied() else {
            let detail = format!("partition {} of topic \"{topic}\"", read.partition);
            return Err(Refusal::new(Code::PartitionUnknown, detail));
        };
        let from = self.begin(id, read.from).await?;
        let request = Request::Read(mulgil_broker::request::Read {
            partitions: vec![ReadPartition {
                partition: id,
                offset: from,
                bytes_max: read.bytes_max,
                leader_epoch: None,
                last_epoch: None,
            }],
            bytes_min: 1,
            wait_ms: read.wait_ms,
            bytes_max: read.bytes_max,
            isolation: Isolation::Uncommitted,
        });
        let Reply::Read(mut outcomes) = self.ask(request).await? else {
            return Err(unexpected());
        };
        let outcome = outcomes.pop().ok_or_else(unexpected)?;
        let out = outcome.map_err(|refusal| read_refusal(&refusal))?;
        let part = unpack(topic, &read, from, &out)?;
        let bytes: usize = out.batches.iter().map(Bytes::len).sum();
        let own = &self.own;
        own.delivered
            .fetch_add(part.records.len() as u64, Ordering::Relaxed);
        own.delivered_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(part)
    }

    /// The offset at which a read begins.
    async fn begin(&self, partition: PartitionId, begin: Begin) -> Result<Offset, Refusal> {
        let seek = match begin {
            Begin::Offset(offset) => return Ok(Offset(offset)),
            Begin::Earliest => Seek::Earliest,
            Begin::Latest => Seek::Latest,
            Begin::Time(timestamp) => Seek::Time(timestamp),
        };
        match self.find(partition, seek).await? {
            Some(offset) => Ok(offset),
            // Nothing is so young: what comes next is.
            None => Ok(self
                .find(partition, Seek::Latest)
                .await?
                .unwrap_or(Offset::ZERO)),
        }
    }

    pub(super) async fn find(
        &self,
        partition: PartitionId,
        seek: Seek,
    ) -> Result<Option<Offset>, Refusal> {
        let isolation = Isolation::Uncommitted;
        let find = FindOffset {
            partition,
            seek,
            isolation,
            leader_epoch: None,
        };
        let Reply::FindOffsets(mut outcomes) = self.ask(Request::FindOffsets(vec![find])).await?
        else {
            return Err(unexpected());
        };
        let outcome = outcomes.pop().ok_or_else(unexpected)?;
        outcome
            .map(|found| found.offset)
            .map_err(|refusal| read_refusal(&refusal))
    }
}

fn push(builder: &mut BatchBuilder, record: &Publish, now: i64) {
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_deref()))
        .collect();
    let timestamp = record.timestamp_ms.unwrap_or(now);
    builder.push(
        timestamp,
        record.key.as_deref(),
        record.value.as_deref(),
        &headers,
    );
}

/// The records of what was read, from the wanted offset on.
fn unpack(topic: &str, read: &Read, from: Offset, out: &ReadOut) -> Result<ReadPart, Refusal> {
    let damaged = |error: mulgil_record::batch::BatchError| {
        Refusal::new(Code::Damaged, format!("topic \"{topic}\": {error}"))
    };
    let mut part = ReadPart {
        records: Vec::new(),
        next: from.0,
        start: out.log_start.0,
        end: out.high_watermark.0,
    };
    for bytes in &out.batches {
        let batch = Batch::check(bytes.clone()).map_err(damaged)?;
        let records = batch.records(DecodeLimits::default()).map_err(damaged)?;
        for record in records.iter() {
            let offset = records.offset(record.offset_delta).0;
            if offset < from.0 {
                continue;
            }
            if part.records.len() >= read.records_max as usize {
                return Ok(part);
            }
            part.next = offset + 1;
            part.records.push(Record {
                topic: topic.to_owned(),
                partition: read.partition,
                offset,
                timestamp: Some(Timestamp(records.timestamp(record.timestamp_delta))),
                key: record.key.map(Payload),
                headers: record.headers.into_iter().map(header).collect(),
                value: record.value.map(Payload),
            });
        }
    }
    Ok(part)
}

fn header((name, value): (Bytes, Option<Bytes>)) -> Header {
    let name = String::from_utf8_lossy(&name).into_owned();
    Header {
        name,
        value: value.map(Payload),
    }
}
