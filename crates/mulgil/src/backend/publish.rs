//! Records published: put into batches, which are appended, all of one request at once.
//!
//! What a topic asks of its records holds here as for every client. Each record is taken or refused by
//! itself, but for those that share a batch.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use mulgil_admin::backend::Publish;
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::Position;
use mulgil_admin::problem::Refusal;
use mulgil_admin::time::Timestamp;
use mulgil_broker::facts::work_out;
use mulgil_broker::request::{Append, AppendPartition, Appended, Reply, Request};
use mulgil_meta::schema::{TimestampType, Topic, TopicSettings};
use mulgil_meta::subscription::Needed;
use mulgil_record::batch::{Batch, BatchBuilder, DecodeLimits, NO_TIMESTAMP};
use mulgil_record::compression::Codec;
use mulgil_record::{asked, partition_for_key};

use super::LocalBackend;
use super::refusals::{append_refusal, unexpected};

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
        let needed = self.broker.catalog().needed(&topic);
        let mut batches = Batches::new(&topic.settings, now);
        let mut places = Vec::with_capacity(records.len());
        for record in &records {
            let taken = check(&topic.settings, record, now);
            let taken = taken.and_then(|()| check_asked(record, &needed, now));
            let partition = taken.and_then(|()| self.partition_of(&topic, record));
            places.push(partition.map(|partition| batches.push(partition, record)));
        }
        let batches = batches.finish();
        let partitions: Vec<_> = batches.iter().map(|(partition, _)| *partition).collect();
        let bases = self.append(&topic, batches, (&needed, now)).await?;
        let results = places.into_iter().map(|place| {
            let Place { batch, index } = place?;
            let appended = bases.get(batch).cloned();
            let appended = appended.unwrap_or_else(|| Err(unexpected()))?;
            let own = appended.base.plus(i64::try_from(index).unwrap_or(0));
            // Of those with one id the first is what everybody is told of.
            let mut again = appended.again.iter();
            let first = again.find(|(place, _)| *place == index);
            let offset = first.map_or(own, |(_, first)| *first);
            Ok(Position {
                partition: *partitions.get(batch).ok_or_else(unexpected)?,
                offset: offset.0,
            })
        });
        Ok(results.collect())
    }

    /// Appends each of the batches to its partition; where they went, or why not.
    async fn append(
        &self,
        topic: &Topic,
        batches: Vec<(u32, Batch)>,
        (needed, now): (&Needed, i64),
    ) -> Result<Vec<Result<Appended, Refusal>>, Refusal> {
        let most = topic.settings.message_bytes_max as usize;
        let mut found = Vec::with_capacity(batches.len());
        let mut append = Append {
            partitions: Vec::new(),
        };
        let mut asked = Vec::new();
        for (partition, batch) in batches {
            let Some(id) = topic.partitions.get(partition as usize) else {
                found.push(Err(unexpected()));
                continue;
            };
            if batch.bytes.len() > most {
                let detail = format!("{} bytes, at most {most} are taken", batch.bytes.len());
                found.push(Err(Refusal::new(Code::RecordTooLarge, detail)));
                continue;
            }
            let facts = match facts(&batch, needed, now) {
                Ok(facts) => facts,
                Err(refusal) => {
                    found.push(Err(refusal));
                    continue;
                }
            };
            let records = i64::from(batch.header.last_offset_delta) + 1;
            let records = u64::try_from(records).unwrap_or(0);
            asked.push((found.len(), records, batch.bytes.len() as u64));
            // Until the lane says otherwise.
            found.push(Err(unexpected()));
            append.partitions.push(AppendPartition {
                partition: *id,
                batch,
                facts,
            });
        }
        let Reply::Append(outcomes) = self.ask(Request::Append(append)).await? else {
            return Err(unexpected());
        };
        for ((at, records, bytes), outcome) in asked.into_iter().zip(outcomes) {
            if outcome.is_ok() {
                let own = &self.own;
                own.published.fetch_add(records, Ordering::Relaxed);
                own.published_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            if let Some(found) = found.get_mut(at) {
                *found = outcome.map_err(|refusal| append_refusal(&refusal));
            }
        }
        Ok(found)
    }
}

/// Checks a record against what its topic asks of it.
fn check(settings: &TopicSettings, record: &Publish, now: i64) -> Result<(), Refusal> {
    let refused = |detail: String| Err(Refusal::new(Code::RecordRefused, detail));
    if settings.cleanup.compact && record.key.is_none() {
        return refused("a compacted topic takes no record without a key".to_owned());
    }
    let own = settings.timestamp_type == TimestampType::CreateTime;
    let Some(timestamp) = record.timestamp_ms.filter(|ms| own && *ms != NO_TIMESTAMP) else {
        return Ok(());
    };
    let (earliest, latest) = settings.timestamps_taken(now);
    let (limit, than) = if timestamp < earliest {
        (earliest, "older")
    } else if timestamp > latest {
        (latest, "newer")
    } else {
        return Ok(());
    };
    let (timestamp, limit) = (Timestamp(timestamp), Timestamp(limit));
    refused(format!(
        "timestamp {timestamp} is {than} than {limit}, the limit"
    ))
}

/// Checks what a record asks for by reserved headers, so that it is refused by itself and not with its batch.
fn check_asked(record: &Publish, needed: &Needed, now: i64) -> Result<(), Refusal> {
    let asks = |(name, _): &(String, Option<Bytes>)| name.starts_with(asked::PREFIX);
    if needed.is_nothing() || !record.headers.iter().any(asks) {
        return Ok(());
    }
    let mut alone = BatchBuilder::new(Codec::None, now);
    push(&mut alone, record, now);
    facts(&alone.finish(), needed, now).map(drop)
}

/// What queue-style readers must know of the records of a batch.
fn facts(batch: &Batch, needed: &Needed, now: i64) -> Result<Bytes, Refusal> {
    if needed.is_nothing() {
        return Ok(Bytes::new());
    }
    let refused = |why: String| Refusal::new(Code::RecordRefused, why);
    let records = batch.records(DecodeLimits::default());
    let records = records.map_err(|why| refused(why.to_string()))?;
    let facts = work_out(&records, needed, now);
    let facts = facts.map_err(|why| refused(format!("header {}: {}", why.header, why.why)))?;
    Ok(facts.encode().into())
}

/// Where a record lies.
pub(super) struct Place {
    /// In which batch.
    batch: usize,
    /// Its place in it.
    index: usize,
}

/// Batches that are being filled, each below the size that the topic takes.
pub(super) struct Batches<'a> {
    settings: &'a TopicSettings,
    now: i64,
    filled: Vec<(u32, BatchBuilder)>,
    /// The one that is being filled, by partition.
    open: BTreeMap<u32, usize>,
}

impl<'a> Batches<'a> {
    pub(super) const fn new(settings: &'a TopicSettings, now: i64) -> Self {
        Self {
            settings,
            now,
            filled: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    /// Puts a record behind those of its partition, into a batch of its own if it would not fit.
    pub(super) fn push(&mut self, partition: u32, record: &Publish) -> Place {
        let most = self.settings.message_bytes_max as usize;
        let bytes = bytes_at_most(record);
        let open = self.open.get(&partition).copied();
        let open = open.filter(|at| {
            let batch = self.filled.get(*at);
            batch.is_some_and(|(_, batch)| batch.len_bytes() + bytes <= most)
        });
        let at = open.unwrap_or_else(|| {
            let codec = self.settings.compression.unwrap_or(Codec::None);
            let fresh = BatchBuilder::new(codec, self.now);
            self.filled.push((partition, fresh));
            self.filled.len() - 1
        });
        self.open.insert(partition, at);
        let (_, builder) = self.filled.get_mut(at).expect("one of them is open");
        push(builder, record, self.now);
        Place {
            batch: at,
            index: builder.len() - 1,
        }
    }

    /// All batches with their partitions, those of a partition in the order of their records.
    pub(super) fn finish(self) -> Vec<(u32, Batch)> {
        let stamped = self.settings.timestamp_type == TimestampType::LogAppendTime;
        let finish = |(partition, builder): (u32, BatchBuilder)| {
            let batch = builder.finish();
            let batch = if stamped {
                batch.with_log_append_time(self.now)
            } else {
                batch
            };
            (partition, batch)
        };
        self.filled.into_iter().map(finish).collect()
    }
}

/// The longest a varint of 32 bits, and of 64, can be.
const INT: usize = 5;
const LONG: usize = 10;

/// So many bytes a record takes in a batch at the most, unpacked.
fn bytes_at_most(record: &Publish) -> usize {
    let field = |bytes: Option<usize>| INT + bytes.unwrap_or(0);
    let headers = record
        .headers
        .iter()
        .map(|(name, value)| field(Some(name.len())) + field(value.as_ref().map(Bytes::len)));
    // Around them: length, attributes, deltas of time and offset, count of headers.
    INT + 1
        + LONG
        + INT
        + field(record.key.as_ref().map(Bytes::len))
        + field(record.value.as_ref().map(Bytes::len))
        + INT
        + headers.sum::<usize>()
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
