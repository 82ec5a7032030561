//! Records published one by one: put into batches, which are appended, all of one request at once.
//!
//! For doors whose clients send records and not batches. What a topic asks of its records holds here as for
//! every client. Each record is taken or refused by itself, but for those that share a batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use mulgil_meta::schema::{TimestampType, Topic, TopicSettings};
use mulgil_meta::subscription::Needed;
use mulgil_record::asked::{AskedError, PREFIX};
use mulgil_record::batch::{Batch, BatchBuilder, BatchError, DecodeLimits, NO_TIMESTAMP};
use mulgil_record::compression::Codec;
use mulgil_record::ids::{Offset, PartitionId};
use mulgil_record::partition_for_key;

use crate::facts::work_out;
use crate::request::{Append, AppendPartition, AppendRefusal, Appended, Reply, Request};
use crate::shell::Broker;

/// How often records are sent once more, whose facts were not all that readers needed by then.
const FACTS_TRIES: u32 = 4;

/// A record to publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// The partition; `None` lets the key choose, or the broker if there is no key.
    pub partition: Option<u32>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order. A name may stand there more than once.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Milliseconds since 1970; `None` for now.
    pub timestamp_ms: Option<i64>,
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The number of the partition.
    pub partition: u32,
    /// The offset there; of records with one id that of the first.
    pub offset: Offset,
}

/// What went in one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Records.
    pub records: u64,
    /// Bytes of their batches.
    pub bytes: u64,
}

/// Why a record was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishRefusal {
    /// No such partition.
    #[error("partition {partition} of topic \"{topic}\"")]
    NoPartition {
        /// Which.
        partition: u32,
        /// Of which topic.
        topic: String,
    },
    /// The topic keeps the newest of each key.
    #[error("a compacted topic takes no record without a key")]
    NoKey,
    /// The topic does not take such an old or new timestamp, ms since 1970.
    #[error("timestamp {timestamp} is {than} than {limit}, the limit")]
    Timestamp {
        /// The record's.
        timestamp: i64,
        /// `older` or `newer`.
        than: &'static str,
        /// The limit.
        limit: i64,
    },
    /// It asks for something that is not possible.
    #[error("header {}: {}", .0.header, .0.why)]
    Asked(AskedError),
    /// It is larger than the topic takes.
    #[error("{bytes} bytes, at most {most} are taken")]
    TooLarge {
        /// How large.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// What was packed does not unpack.
    #[error(transparent)]
    Batch(BatchError),
    /// The batch was not appended.
    #[error(transparent)]
    Append(#[from] AppendRefusal),
    /// The broker is stopping, or answered something else.
    #[error("the broker is stopping")]
    Stopping,
}

/// Publishes records.
#[derive(Debug)]
pub struct Publisher {
    broker: Arc<Broker>,
    /// Where the next record without a key goes.
    spread: AtomicU32,
}

impl Publisher {
    /// One that publishes here.
    #[must_use]
    pub const fn new(broker: Arc<Broker>) -> Self {
        Self {
            broker,
            spread: AtomicU32::new(0),
        }
    }

    /// Where a record without a key goes, of so many partitions: to each in turn.
    pub fn next_of(&self, count: u32) -> u32 {
        self.spread.fetch_add(1, Ordering::Relaxed) % count.max(1)
    }

    fn partition_of(&self, topic: &Topic, record: &NewRecord) -> Result<u32, PublishRefusal> {
        let count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        match (record.partition, &record.key) {
            (Some(partition), _) if partition < count => Ok(partition),
            (Some(partition), _) => Err(PublishRefusal::NoPartition {
                partition,
                topic: topic.name.to_string(),
            }),
            (None, Some(key)) => {
                let partitions = i32::try_from(count).unwrap_or(i32::MAX);
                Ok(partition_for_key(key, partitions).cast_unsigned())
            }
            (None, None) => Ok(self.next_of(count)),
        }
    }

    /// Publishes records, all at once; where each went, or why not, and how much it was.
    ///
    /// # Errors
    ///
    /// The broker is stopping.
    pub async fn publish(
        &self,
        topic: &Topic,
        records: &[NewRecord],
    ) -> Result<(Vec<Result<Published, PublishRefusal>>, Volume), PublishRefusal> {
        let now = i64::try_from(self.broker.now().wall.0).unwrap_or(i64::MAX);
        let needed = self.broker.catalog().needed(topic);
        let (mut places, mut batches) = self.pack(topic, records, (&needed, now), false);
        let asks_wrongly = |packed: &Packed| matches!(packed.2, Err(PublishRefusal::Asked(_)));
        if batches.iter().any(asks_wrongly) {
            // One that asks for what is not possible is refused by itself, and not with its batch.
            (places, batches) = self.pack(topic, records, (&needed, now), true);
        }
        let partitions: Vec<_> = batches.iter().map(|(partition, ..)| *partition).collect();
        let (bases, volume) = self.append(topic, batches, now).await?;
        let results = places.into_iter().map(|place| {
            let Place { batch, index } = place?;
            let appended = bases.get(batch).cloned();
            let appended = appended.unwrap_or(Err(PublishRefusal::Stopping))?;
            let own = appended.base.plus(i64::try_from(index).unwrap_or(0));
            // Of those with one id the first is what everybody is told of.
            let mut again = appended.again.iter();
            let first = again.find(|(place, _)| *place == index);
            Ok(Published {
                partition: partitions.get(batch).copied().unwrap_or_default(),
                offset: first.map_or(own, |(_, first)| *first),
            })
        });
        Ok((results.collect(), volume))
    }

    /// Puts records into batches, with what is needed of them; each is looked at by itself before, if that is
    /// asked for.
    fn pack(
        &self,
        topic: &Topic,
        records: &[NewRecord],
        (needed, now): (&Needed, i64),
        each_alone: bool,
    ) -> (Vec<Result<Place, PublishRefusal>>, Vec<Packed>) {
        let mut batches = Batches::new(&topic.settings, now);
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let mut taken = check(&topic.settings, record, now);
            if each_alone {
                taken = taken.and_then(|()| check_asked(record, needed, now));
            }
            let partition = taken.and_then(|()| self.partition_of(topic, record));
            places.push(partition.map(|partition| batches.push(partition, record)));
        }
        let with_facts = |(partition, batch): (u32, Batch)| {
            let facts = facts(&batch, needed, now);
            (partition, batch, facts)
        };
        let packed = batches.finish().into_iter().map(with_facts).collect();
        (places, packed)
    }

    /// Appends each of the batches to its partition; where they went, or why not.
    async fn append(
        &self,
        topic: &Topic,
        batches: Vec<Packed>,
        now: i64,
    ) -> Result<(Vec<Result<Appended, PublishRefusal>>, Volume), PublishRefusal> {
        let mut volume = Volume::default();
        // Until the lane says otherwise.
        let mut found: Vec<Result<Appended, PublishRefusal>> =
            vec![Err(PublishRefusal::Stopping); batches.len()];
        let mut left: Vec<_> = batches.into_iter().enumerate().collect();
        for attempt in 1..=FACTS_TRIES {
            let mut asked = Vec::with_capacity(left.len());
            let mut append = Append {
                partitions: Vec::with_capacity(left.len()),
            };
            for (at, (index, batch, facts)) in left {
                let ready = appendable(topic, index, &batch).and_then(|id| Ok((id, facts?)));
                match ready {
                    Ok((partition, facts)) => {
                        asked.push((at, (index, batch.clone())));
                        append.partitions.push(AppendPartition {
                            partition,
                            batch,
                            facts,
                        });
                    }
                    Err(refusal) => put(&mut found, at, Err(refusal)),
                }
            }
            let reply = self.broker.ask(Request::Append(append)).await;
            let Some(Reply::Append(outcomes)) = reply else {
                return Err(PublishRefusal::Stopping);
            };
            let mut owed = Vec::new();
            for ((at, (index, batch)), outcome) in asked.into_iter().zip(outcomes) {
                if outcome.is_ok() {
                    let records = i64::from(batch.header.last_offset_delta) + 1;
                    volume.records += u64::try_from(records).unwrap_or(0);
                    volume.bytes += batch.bytes.len() as u64;
                }
                if outcome == Err(AppendRefusal::FactsOwed) && attempt < FACTS_TRIES {
                    owed.push((at, (index, batch)));
                } else {
                    put(&mut found, at, outcome.map_err(Into::into));
                }
            }
            if owed.is_empty() {
                break;
            }
            // A reader came meanwhile that needs more of each record.
            let needed = self.broker.catalog().needed(topic);
            let again = owed.into_iter().map(|(at, (index, batch))| {
                let facts = facts(&batch, &needed, now);
                (at, (index, batch, facts))
            });
            left = again.collect();
        }
        Ok((found, volume))
    }
}

fn put<T>(found: &mut [T], at: usize, value: T) {
    if let Some(place) = found.get_mut(at) {
        *place = value;
    }
}

/// A batch for a partition, and what is needed of its records.
type Packed = (u32, Batch, Result<Bytes, PublishRefusal>);

/// The id of a batch's partition, if the batch may be appended.
fn appendable(topic: &Topic, index: u32, batch: &Batch) -> Result<PartitionId, PublishRefusal> {
    let id = topic.partitions.get(index as usize).copied();
    let id = id.ok_or_else(|| PublishRefusal::NoPartition {
        partition: index,
        topic: topic.name.to_string(),
    })?;
    let (bytes, most) = (batch.bytes.len(), topic.settings.message_bytes_max as usize);
    if bytes > most {
        return Err(PublishRefusal::TooLarge { bytes, most });
    }
    Ok(id)
}

/// Checks a record against what its topic asks of it.
fn check(settings: &TopicSettings, record: &NewRecord, now: i64) -> Result<(), PublishRefusal> {
    if settings.cleanup.compact && record.key.is_none() {
        return Err(PublishRefusal::NoKey);
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
    Err(PublishRefusal::Timestamp {
        timestamp,
        than,
        limit,
    })
}

/// Checks what a record asks for by reserved headers.
fn check_asked(record: &NewRecord, needed: &Needed, now: i64) -> Result<(), PublishRefusal> {
    let asks = |(name, _): &(String, Option<Bytes>)| name.starts_with(PREFIX);
    if needed.is_nothing() || !record.headers.iter().any(asks) {
        return Ok(());
    }
    let mut alone = BatchBuilder::new(Codec::None, now);
    push(&mut alone, record, now);
    facts(&alone.finish(), needed, now).map(drop)
}

/// What queue-style readers must know of the records of a batch.
fn facts(batch: &Batch, needed: &Needed, now: i64) -> Result<Bytes, PublishRefusal> {
    if needed.is_nothing() {
        return Ok(Bytes::new());
    }
    let records = batch.records(DecodeLimits::default());
    let records = records.map_err(PublishRefusal::Batch)?;
    let facts = work_out(&records, needed, now).map_err(PublishRefusal::Asked)?;
    Ok(facts.encode().into())
}

/// Where a record lies.
struct Place {
    /// In which batch.
    batch: usize,
    /// Its place in it.
    index: usize,
}

/// Batches that are being filled, each below the size that the topic takes.
#[derive(Debug)]
pub struct Batches<'a> {
    settings: &'a TopicSettings,
    now: i64,
    filled: Vec<(u32, BatchBuilder)>,
    /// The one that is being filled, by partition.
    open: BTreeMap<u32, usize>,
}

impl<'a> Batches<'a> {
    /// None yet, of a topic with these settings; `now` is ms since 1970.
    #[must_use]
    pub const fn new(settings: &'a TopicSettings, now: i64) -> Self {
        Self {
            settings,
            now,
            filled: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    /// Puts a record behind those of its partition.
    pub fn add(&mut self, partition: u32, record: &NewRecord) {
        self.push(partition, record);
    }

    /// Puts a record behind those of its partition, into a batch of its own if it would not fit.
    fn push(&mut self, partition: u32, record: &NewRecord) -> Place {
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
    #[must_use]
    pub fn finish(self) -> Vec<(u32, Batch)> {
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
fn bytes_at_most(record: &NewRecord) -> usize {
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

fn push(builder: &mut BatchBuilder, record: &NewRecord, now: i64) {
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
