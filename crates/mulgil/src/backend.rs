//! What the admin API asks for, over the broker in this process.
//!
//! Everything goes through the broker's one interface, as from any door.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use mulgil_admin::backend::{
    Answer, Backend, Begin, Counters, ProtocolCounters, Publish, Read, ReadPart,
};
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{
    Alarm, AlterTopic, Broker as BrokerModel, Check, CreateTopic, Disk, GroupDetail, GroupList,
    Header, OffsetsReset, PartitionDetail, Payload, Position, Record, ResetOffsets, TopicDetail,
    TopicPage, TopicSummary, TrimTopic,
};
use mulgil_admin::problem::Refusal;
use mulgil_admin::time::Timestamp;
use mulgil_broker::door::DoorFigures;
use mulgil_broker::request::{
    AlterRefusal, Append, AppendPartition, AppendRefusal, CreateRefusal, FindOffset, Isolation,
    ReadOut, ReadPartition, ReadRefusal, Reply, Request, Seek, TopicRef,
};
use mulgil_broker::shell::Broker;
use mulgil_meta::schema::{DEFAULT_VHOST, Topic, TopicName};
use mulgil_meta::settings::{SettingRefusal, edit};
use mulgil_record::batch::{Batch, BatchBuilder, DecodeLimits};
use mulgil_record::compression::Codec;
use mulgil_record::ids::{Offset, PartitionId, TopicId};
use mulgil_record::partition_for_key;

use crate::node::Node;

mod groups;

/// The broker in this process.
pub(crate) struct LocalBackend {
    broker: Arc<Broker>,
    figures: Arc<DoorFigures>,
    /// How many pieces of the log recovery put into quarantine.
    quarantined: usize,
    /// Where the next record without a key goes.
    spread: AtomicU32,
}

impl LocalBackend {
    pub(crate) fn new(node: &Node) -> Self {
        Self {
            broker: Arc::clone(&node.broker),
            figures: Arc::clone(&node.figures),
            quarantined: node.recovered.quarantined.len(),
            spread: AtomicU32::new(0),
        }
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, Refusal> {
        let catalog = self.broker.catalog();
        let topic = catalog.topic(&TopicName::in_default(name)).cloned();
        topic.ok_or_else(|| Refusal::new(Code::TopicUnknown, format!("topic \"{name}\"")))
    }

    async fn ask(&self, request: Request) -> Result<Reply, Refusal> {
        let reply = self.broker.ask(request).await;
        reply.ok_or_else(|| Refusal::new(Code::Stopping, "the broker is stopping"))
    }

    fn partition_detail(&self, index: usize, id: PartitionId, epoch: i32) -> PartitionDetail {
        let figures = self.broker.partition_figures(id).unwrap_or_default();
        PartitionDetail {
            partition: u32::try_from(index).unwrap_or(u32::MAX),
            start: figures.start.0,
            end: figures.high_watermark.0,
            bytes: figures.bytes,
            leader_epoch: epoch,
        }
    }

    fn detail(&self, topic: &Topic) -> TopicDetail {
        let epoch = self.broker.catalog().leader_epoch.0;
        let ids = topic.partitions.iter().enumerate();
        let partitions: Vec<_> = ids
            .map(|(index, id)| self.partition_detail(index, *id, epoch))
            .collect();
        TopicDetail {
            summary: summary(topic, &partitions),
            partition_details: partitions,
        }
    }

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

    async fn publish_all(
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
            asked.push(*partition);
            append.partitions.push(AppendPartition {
                partition: *id,
                batch,
                facts: Bytes::new(),
            });
        }
        let Reply::Append(outcomes) = self.ask(Request::Append(append)).await? else {
            return Err(unexpected());
        };
        for (partition, outcome) in asked.into_iter().zip(outcomes) {
            let outcome = outcome.map(|appended| appended.base.0);
            found.insert(
                partition,
                outcome.map_err(|refusal| append_refusal(&refusal)),
            );
        }
        Ok(found)
    }

    async fn read_part(&self, topic: &str, read: Read) -> Result<ReadPart, Refusal> {
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
        unpack(topic, &read, from, &out)
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

    async fn find(&self, partition: PartitionId, seek: Seek) -> Result<Option<Offset>, Refusal> {
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

    async fn create(&self, topic: CreateTopic) -> Result<TopicDetail, Refusal> {
        let broker = &self.broker.catalog().broker;
        let settings = edit::stated_topic(broker, &topic.settings.edits()?);
        let settings = settings.map_err(|why| setting_refusal(&why))?;
        let name = TopicName::in_default(&topic.name);
        let create = mulgil_broker::request::CreateTopics {
            topics: vec![mulgil_broker::request::CreateTopic {
                name: name.clone(),
                partitions: topic.partitions,
                settings,
                id: TopicId(uuid::Uuid::new_v4().as_u128()),
            }],
            validate_only: topic.validate_only,
        };
        let Reply::CreateTopics(mut outcomes) = self.ask(Request::CreateTopics(create)).await?
        else {
            return Err(unexpected());
        };
        let outcome = outcomes.pop().ok_or_else(unexpected)?;
        let created = outcome.map_err(|refusal| create_refusal(&refusal))?;
        if !topic.validate_only {
            return Ok(self.detail(&*self.topic(&topic.name)?));
        }
        let count = usize::try_from(created.partitions).unwrap_or(usize::MAX);
        Ok(self.detail(&Topic {
            id: created.id,
            name,
            // Ids are given when it is created; nothing is known of partition 0.
            partitions: vec![PartitionId(0); count],
            settings: created.settings,
            created_ms: self.broker.now().wall.0,
        }))
    }

    async fn alter(&self, name: &str, change: AlterTopic) -> Result<TopicDetail, Refusal> {
        let topic = self.topic(name)?;
        let edits = change.settings.edits()?;
        let settings = edit::edit_topic(&topic.settings, &self.broker.catalog().broker, &edits);
        let settings = settings.map_err(|why| setting_refusal(&why))?;
        let settings = (!edits.is_empty()).then_some(settings);
        let alter = mulgil_broker::request::AlterTopic {
            topic: TopicRef::Id(topic.id),
            settings,
            partitions: change.partitions,
        };
        let Reply::AlterTopic(outcome) = self.ask(Request::AlterTopic(alter)).await? else {
            return Err(unexpected());
        };
        outcome.map_err(|refusal| alter_refusal(&refusal, name))?;
        Ok(self.detail(&*self.topic(name)?))
    }

    async fn delete(&self, name: &str) -> Result<(), Refusal> {
        let topic = self.topic(name)?;
        let request = Request::DeleteTopics(vec![TopicRef::Id(topic.id)]);
        let Reply::DeleteTopics(mut outcomes) = self.ask(request).await? else {
            return Err(unexpected());
        };
        match outcomes.pop().ok_or_else(unexpected)? {
            Ok(_) => Ok(()),
            Err(mulgil_broker::request::DeleteRefusal::Stopping) => Err(stopping()),
            Err(mulgil_broker::request::DeleteRefusal::Unknown) => Err(Refusal::new(
                Code::TopicUnknown,
                format!("topic \"{name}\""),
            )),
        }
    }

    fn model(&self) -> BrokerModel {
        let catalog = self.broker.catalog();
        let mut model = BrokerModel::default();
        for topic in catalog.topics.values() {
            let summary = self.detail(topic).summary;
            model.topics += 1;
            model.partitions += u64::from(summary.partitions);
            model.records += summary.records;
            model.bytes += summary.bytes;
        }
        model.connections = self.figures.open.load(Ordering::Relaxed) as u64;
        model.disk = self.broker.space().ok().map(|space| Disk {
            total_bytes: space.total,
            free_bytes: space.free,
        });
        let alarms = self.broker.alarms();
        let now = timestamp(self.broker.now().wall.0);
        let mut raise = |name: &str, reason: &str, hint: &str| {
            let (name, reason, hint) = (name.to_owned(), reason.to_owned(), hint.to_owned());
            model.alarms.push(Alarm {
                name,
                since: now,
                reason,
                hint,
            });
        };
        if alarms.disk_full.load(Ordering::Relaxed) {
            raise(
                "disk_full",
                "appends are refused",
                "make room, or lower retention",
            );
        }
        if self.quarantined > 0 {
            let reason = format!("{} pieces of the log are in quarantine", self.quarantined);
            raise(
                "quarantine",
                &reason,
                "see quarantine/ in the data directory, and the log",
            );
        }
        if alarms.clock_stepped.load(Ordering::Relaxed) {
            raise(
                "clock_stepped",
                "retention waits",
                "set the clock right, or restart the broker",
            );
        }
        model
    }

    fn checks(&self) -> Vec<Check> {
        let stopping = self.broker.is_stopping();
        let full = self.broker.alarms().disk_full.load(Ordering::Relaxed);
        let check = |name: &str, ok: bool, reason: &str| Check {
            name: name.to_owned(),
            ok,
            reason: (!ok).then(|| reason.to_owned()),
        };
        vec![
            check("storage", !full, "the disk is full"),
            check("running", !stopping, "the broker is stopping"),
        ]
    }
}

impl Backend for LocalBackend {
    fn list_topics<'a>(&'a self, after: Option<&'a str>, limit: u32) -> Answer<'a, TopicPage> {
        Box::pin(async move {
            let catalog = self.broker.catalog();
            let own = catalog
                .topics
                .values()
                .filter(|t| &*t.name.vhost == DEFAULT_VHOST);
            let mut rest = own.skip_while(|t| after.is_some_and(|after| &*t.name.name <= after));
            let limit = limit as usize;
            let topics: Vec<_> = rest
                .by_ref()
                .take(limit)
                .map(|topic| self.detail(topic).summary)
                .collect();
            let more = rest.next().is_some();
            let next = topics.last().filter(|_| more).map(|last| last.name.clone());
            Ok(TopicPage { topics, next })
        })
    }

    fn describe_topic<'a>(&'a self, name: &'a str) -> Answer<'a, TopicDetail> {
        Box::pin(async move { Ok(self.detail(&*self.topic(name)?)) })
    }

    fn create_topic(&self, topic: CreateTopic) -> Answer<'_, TopicDetail> {
        Box::pin(self.create(topic))
    }

    fn alter_topic<'a>(&'a self, name: &'a str, change: AlterTopic) -> Answer<'a, TopicDetail> {
        Box::pin(self.alter(name, change))
    }

    fn delete_topic<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(self.delete(name))
    }

    fn trim_topic<'a>(&'a self, name: &'a str, trim: TrimTopic) -> Answer<'a, TopicDetail> {
        Box::pin(self.trim(name, trim))
    }

    fn list_groups(&self) -> Answer<'_, GroupList> {
        Box::pin(self.groups())
    }

    fn describe_group<'a>(&'a self, name: &'a str) -> Answer<'a, GroupDetail> {
        Box::pin(self.group(name))
    }

    fn reset_group<'a>(&'a self, name: &'a str, reset: ResetOffsets) -> Answer<'a, OffsetsReset> {
        Box::pin(self.reset(name, reset))
    }

    fn delete_group<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(self.drop_group(name))
    }

    fn publish<'a>(
        &'a self,
        topic: &'a str,
        records: Vec<Publish>,
    ) -> Answer<'a, Vec<Result<Position, Refusal>>> {
        Box::pin(self.publish_all(topic, records))
    }

    fn read<'a>(&'a self, topic: &'a str, read: Read) -> Answer<'a, ReadPart> {
        Box::pin(self.read_part(topic, read))
    }

    fn status(&self) -> Answer<'_, BrokerModel> {
        Box::pin(async move { Ok(self.model()) })
    }

    fn live(&self) -> Vec<Check> {
        // The lane's lock can be had: its loops turn.
        let figures = self.broker.figures();
        let reason = format!("{} answers wait for the disk", figures.held_answers);
        vec![Check {
            name: "lane".to_owned(),
            ok: true,
            reason: Some(reason),
        }]
    }

    fn ready(&self) -> Answer<'_, Vec<Check>> {
        Box::pin(async move { Ok(self.checks()) })
    }

    fn counters(&self) -> Counters {
        let model = self.model();
        let figures = &self.figures;
        let (open, opened) = (
            figures.open.load(Ordering::Relaxed),
            figures.opened.load(Ordering::Relaxed),
        );
        let raised = |name: &str| model.alarms.iter().any(|alarm| alarm.name == name);
        Counters {
            protocols: vec![ProtocolCounters {
                protocol: "kafka",
                connections: open as u64,
                connections_opened: opened as u64,
                ..ProtocolCounters::default()
            }],
            topics: model.topics,
            partitions: model.partitions,
            stored_bytes: model.bytes,
            alarms: vec![
                ("disk_full", raised("disk_full")),
                ("clock_stepped", raised("clock_stepped")),
            ],
            ..Counters::default()
        }
    }
}

fn setting_refusal(refusal: &SettingRefusal) -> Refusal {
    Refusal::new(Code::SettingValue, refusal.to_string())
}

fn timestamp(ms: u64) -> Timestamp {
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
}

fn summary(topic: &Topic, partitions: &[PartitionDetail]) -> TopicSummary {
    let records = partitions
        .iter()
        .map(|p| u64::try_from(p.end - p.start).unwrap_or(0));
    TopicSummary {
        name: topic.name.name.to_string(),
        id: uuid::Uuid::from_u128(topic.id.0).to_string(),
        partitions: u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX),
        records: records.sum(),
        bytes: partitions.iter().map(|p| p.bytes).sum(),
        created: timestamp(topic.created_ms),
        settings: (&topic.settings).into(),
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

fn unexpected() -> Refusal {
    Refusal::new(Code::Internal, "the broker answered something else")
}

fn stopping() -> Refusal {
    Refusal::new(Code::Stopping, "the broker is stopping")
}

fn append_refusal(refusal: &AppendRefusal) -> Refusal {
    let code = match refusal {
        AppendRefusal::UnknownPartition(_) => Code::PartitionUnknown,
        AppendRefusal::Partition(_) => Code::RecordRefused,
        AppendRefusal::DiskFull => Code::DiskFull,
        AppendRefusal::Overloaded => Code::Overloaded,
        AppendRefusal::Stopping => Code::Stopping,
    };
    Refusal::new(code, refusal.to_string())
}

fn read_refusal(refusal: &ReadRefusal) -> Refusal {
    let code = match refusal {
        ReadRefusal::UnknownPartition(_) => Code::PartitionUnknown,
        ReadRefusal::OutOfRange { .. } => Code::OffsetOutOfRange,
        ReadRefusal::Damaged { .. } => Code::Damaged,
        ReadRefusal::FencedEpoch { .. }
        | ReadRefusal::UnknownEpoch { .. }
        | ReadRefusal::Unavailable(_) => Code::Internal,
    };
    Refusal::new(code, refusal.to_string())
}

fn create_refusal(refusal: &CreateRefusal) -> Refusal {
    let code = match refusal {
        CreateRefusal::Exists(_) => Code::TopicExists,
        CreateRefusal::PartitionCount { .. } => Code::PartitionCount,
        CreateRefusal::Name(_) => Code::TopicName,
        CreateRefusal::DiskFull => Code::DiskFull,
        CreateRefusal::Stopping => Code::Stopping,
    };
    Refusal::new(code, refusal.to_string())
}

fn alter_refusal(refusal: &AlterRefusal, name: &str) -> Refusal {
    let code = match refusal {
        AlterRefusal::Unknown => Code::TopicUnknown,
        AlterRefusal::PartitionCount { .. } => Code::PartitionCount,
        AlterRefusal::DiskFull => Code::DiskFull,
        AlterRefusal::Stopping => Code::Stopping,
    };
    Refusal::new(code, format!("topic \"{name}\": {refusal}"))
}
