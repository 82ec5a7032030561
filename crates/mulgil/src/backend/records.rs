//! Records read, a page of one partition at a time.
//!
//! A batch of a few kilobytes may unpack to a hundred megabytes. So unpacking has threads of its own,
//! of which few do it at one time, and ends where the page is full.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use mulgil_admin::backend::{Begin, Read, ReadPart};
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{Header, Payload, Record};
use mulgil_admin::problem::Refusal;
use mulgil_admin::time::Timestamp;
use mulgil_broker::request::{FindOffset, Isolation, ReadOut, ReadPartition, Reply, Request, Seek};
use mulgil_record::batch::{Batch, BatchError, DecodeLimits, DecodedRecords};
use mulgil_record::compression::CompressionError;
use mulgil_record::ids::{Offset, PartitionId};

use super::LocalBackend;
use super::refusals::{read_refusal, stopping, unexpected};

impl LocalBackend {
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
        let page = Page::new(topic, read, from, &out);
        let permit = Arc::clone(&self.unpacking).acquire_owned().await;
        let permit = permit.map_err(|_closed| stopping())?;
        // Not on this thread, which serves all of HTTP.
        let unpacked = tokio::task::spawn_blocking(move || {
            let filled = page.fill(&out.batches);
            drop(permit);
            filled
        });
        let page = unpacked.await.map_err(|_panicked| unexpected())??;
        let own = &self.own;
        own.delivered
            .fetch_add(page.part.records.len() as u64, Ordering::Relaxed);
        own.delivered_bytes
            .fetch_add(page.packed_bytes as u64, Ordering::Relaxed);
        Ok(page.part)
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

/// What is read is put into a page, until that is full.
pub(super) struct Page {
    topic: String,
    read: Read,
    from: Offset,
    /// How many more bytes of keys, values and headers there is room for.
    left: usize,
    /// Bytes of the batches of which there are records, as they are stored.
    packed_bytes: usize,
    pub(super) part: ReadPart,
}

impl Page {
    pub(super) fn new(topic: &str, read: Read, from: Offset, out: &ReadOut) -> Self {
        Self {
            topic: topic.to_owned(),
            read,
            from,
            left: read.bytes_max as usize,
            packed_bytes: 0,
            part: ReadPart {
                records: Vec::new(),
                next: from.0,
                start: out.log_start.0,
                end: out.high_watermark.0,
            },
        }
    }

    /// One record there is in any case.
    fn is_full(&self) -> bool {
        let records = self.part.records.len();
        records > 0 && (self.left == 0 || records >= self.read.records_max as usize)
    }

    /// Puts in the records from the wanted offset on.
    pub(super) fn fill(mut self, batches: &[Bytes]) -> Result<Self, Refusal> {
        for bytes in batches {
            if self.is_full() {
                break;
            }
            let damaged = |error: BatchError| {
                Refusal::new(Code::Damaged, format!("topic \"{}\": {error}", self.topic))
            };
            let batch = Batch::check(bytes.clone()).map_err(damaged)?;
            let Some(records) = self.unpack(&batch).map_err(damaged)? else {
                break;
            };
            let before = self.part.records.len();
            let all = self.put(&records);
            if self.part.records.len() > before {
                self.packed_bytes += bytes.len();
            }
            if !all {
                break;
            }
            // Offsets at the end of a batch may have no record: compaction took it away.
            let behind = records.offset(batch.header.last_offset_delta).0 + 1;
            self.part.next = self.part.next.max(behind);
        }
        // A read gives something if anything is there: compaction took away all up to the end.
        if batches.is_empty() {
            self.part.next = self.part.next.max(self.part.end);
        }
        Ok(self)
    }

    /// Unpacks a batch; none if it is for the next page. The first with records has the room that it
    /// needs, those behind it what is left.
    fn unpack(&self, batch: &Batch) -> Result<Option<DecodedRecords>, BatchError> {
        if self.part.records.is_empty() {
            return batch.records(DecodeLimits::default()).map(Some);
        }
        let limits = DecodeLimits {
            bytes_max: self.left,
            ..DecodeLimits::default()
        };
        match batch.records(limits) {
            Err(BatchError::Compression(CompressionError::TooLarge { .. })) => Ok(None),
            records => records.map(Some),
        }
    }

    /// Puts in the records of a batch; says whether these were all.
    fn put(&mut self, records: &DecodedRecords) -> bool {
        // A record that stays would keep all that was unpacked with it.
        let large = records.memory_bytes() > self.read.bytes_max as usize;
        for record in records.iter() {
            let offset = records.offset(record.offset_delta).0;
            if offset < self.from.0 {
                continue;
            }
            if self.is_full() {
                return false;
            }
            let bytes = record.bytes();
            self.left = self.left.saturating_sub(bytes);
            let apart = large && bytes < records.memory_bytes() / 2;
            let own = |bytes: Bytes| {
                if apart {
                    Bytes::copy_from_slice(&bytes)
                } else {
                    bytes
                }
            };
            self.part.next = offset + 1;
            self.part.records.push(Record {
                topic: self.topic.clone(),
                partition: self.read.partition,
                offset,
                timestamp: Some(Timestamp(records.timestamp(record.timestamp_delta))),
                key: record.key.map(own).map(Payload),
                headers: record
                    .headers
                    .into_iter()
                    .map(|(name, value)| header((name, value.map(own))))
                    .collect(),
                value: record.value.map(own).map(Payload),
            });
        }
        true
    }
}

fn header((name, value): (Bytes, Option<Bytes>)) -> Header {
    let name = String::from_utf8_lossy(&name).into_owned();
    Header {
        name,
        value: value.map(Payload),
    }
}
