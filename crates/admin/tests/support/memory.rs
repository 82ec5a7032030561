//! A backend in memory, for tests alone: topics are lists of records.

#![expect(clippy::cast_possible_truncation, reason = "small numbers of a test")]
#![expect(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "small numbers of a test"
)]

use std::collections::BTreeMap;
use std::sync::Mutex;

use mulgil_admin::backend::{
    Answer, Backend, Begin, BrokerCounters, ConnectionCounters, Counters, Histogram,
    ProcessCounters, ProtocolCounters, Publish, QueueCounters, Read, ReadPart, Refusal,
};
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{
    Alarm, AlterTopic, Broker, Check, CreateTopic, Disk, Header, PartitionDetail, Payload,
    Position, Record, TopicDetail, TopicPage, TopicSummary,
};
use mulgil_admin::time::Timestamp;
use mulgil_broker::meta::schema::TopicSettings;
use mulgil_broker::meta::settings::BrokerStated;
use mulgil_broker::meta::settings::edit::{edit_topic, stated_topic};

/// 2026-11-22T10:00:00Z, the time at which everything in these tests happens.
pub(crate) const NOON: Timestamp = Timestamp(1_795_341_600_000);

pub(crate) struct Topic {
    settings: TopicSettings,
    partitions: Vec<Vec<Record>>,
}

/// The backend.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) topics: Mutex<BTreeMap<String, Topic>>,
    /// What [`Backend::ready`] finds.
    pub(crate) unready: Option<&'static str>,
    /// What [`Backend::live`] finds.
    pub(crate) dead: Option<&'static str>,
}

fn bytes_of(records: &[Record]) -> u64 {
    let length = |payload: &Option<Payload>| payload.as_ref().map_or(0, |p| p.0.len() as u64);
    records
        .iter()
        .map(|record| length(&record.key) + length(&record.value))
        .sum()
}

impl Topic {
    fn detail(&self, name: &str) -> TopicDetail {
        let detail = |(index, records): (usize, &Vec<Record>)| PartitionDetail {
            partition: index as u32,
            start: 0,
            end: records.len() as i64,
            bytes: bytes_of(records),
            leader_epoch: 1,
        };
        let partition_details: Vec<_> = self.partitions.iter().enumerate().map(detail).collect();
        let summary = TopicSummary {
            name: name.to_owned(),
            id: "018f4e1c-0000-7000-8000-000000000001".to_owned(),
            partitions: partition_details.len() as u32,
            records: partition_details
                .iter()
                .map(|p| (p.end - p.start) as u64)
                .sum(),
            bytes: partition_details.iter().map(|p| p.bytes).sum(),
            created: NOON,
            settings: (&self.settings).into(),
        };
        TopicDetail {
            summary,
            partition_details,
        }
    }

    fn publish(&mut self, name: &str, record: Publish) -> Result<Position, Refusal> {
        let partition = record.partition.unwrap_or(0);
        let unknown = || Refusal::new(Code::PartitionUnknown, format!("{name}/{partition}"));
        let records = self
            .partitions
            .get_mut(partition as usize)
            .ok_or_else(unknown)?;
        let offset = records.len() as i64;
        let header = |(name, value): (String, Option<bytes::Bytes>)| Header {
            name,
            value: value.map(Payload),
        };
        records.push(Record {
            topic: name.to_owned(),
            partition,
            offset,
            timestamp: Some(record.timestamp_ms.map_or(NOON, Timestamp)),
            key: record.key.map(Payload),
            headers: record.headers.into_iter().map(header).collect(),
            value: record.value.map(Payload),
        });
        Ok(Position { partition, offset })
    }
}

impl Memory {
    fn with<T>(
        &self,
        name: &str,
        work: impl FnOnce(&mut Topic) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut topics = self.topics.lock().unwrap();
        let unknown = || Refusal::new(Code::TopicUnknown, format!("topic \"{name}\""));
        work(topics.get_mut(name).ok_or_else(unknown)?)
    }
}

fn now<'a, T: Send + 'a>(result: Result<T, Refusal>) -> Answer<'a, T> {
    Box::pin(std::future::ready(result))
}

impl Backend for Memory {
    fn list_topics<'a>(&'a self, after: Option<&'a str>, limit: u32) -> Answer<'a, TopicPage> {
        let topics = self.topics.lock().unwrap();
        let wanted = |name: &str| after.is_none_or(|after| name > after);
        let mut all: Vec<_> = topics
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, topic)| topic.detail(name).summary)
            .collect();
        let more = all.len() > limit as usize;
        all.truncate(limit as usize);
        let next = all.last().filter(|_| more).map(|topic| topic.name.clone());
        now(Ok(TopicPage { topics: all, next }))
    }

    fn describe_topic<'a>(&'a self, name: &'a str) -> Answer<'a, TopicDetail> {
        now(self.with(name, |topic| Ok(topic.detail(name))))
    }

    fn create_topic(&self, topic: CreateTopic) -> Answer<'_, TopicDetail> {
        let mut topics = self.topics.lock().unwrap();
        let name = topic.name;
        if topics.contains_key(&name) {
            return now(Err(Refusal::new(
                Code::TopicExists,
                format!("topic \"{name}\""),
            )));
        }
        let count = topic.partitions.unwrap_or(1);
        if !(1..=100).contains(&count) {
            return now(Err(Refusal::new(
                Code::PartitionCount,
                format!("{count}, not 1 to 100"),
            )));
        }
        let settings = match topic.settings.edits() {
            Ok(edits) => stated_topic(&BrokerStated::default(), &edits).unwrap(),
            Err(refusal) => return now(Err(refusal)),
        };
        let created = Topic {
            settings,
            partitions: vec![Vec::new(); count as usize],
        };
        let detail = created.detail(&name);
        if !topic.validate_only {
            topics.insert(name, created);
        }
        now(Ok(detail))
    }

    fn alter_topic<'a>(&'a self, name: &'a str, change: AlterTopic) -> Answer<'a, TopicDetail> {
        now(self.with(name, |topic| {
            let count = change
                .partitions
                .map_or(topic.partitions.len(), |count| count as usize);
            if count < topic.partitions.len() {
                return Err(Refusal::new(
                    Code::PartitionCount,
                    "the number can only grow",
                ));
            }
            topic.partitions.resize(count, Vec::new());
            let edits = change.settings.edits()?;
            let broker = BrokerStated::default();
            topic.settings = edit_topic(&topic.settings, &broker, &edits).unwrap();
            Ok(topic.detail(name))
        }))
    }

    fn delete_topic<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        let removed = self.topics.lock().unwrap().remove(name);
        let unknown = || Refusal::new(Code::TopicUnknown, format!("topic \"{name}\""));
        now(removed.map(|_topic| ()).ok_or_else(unknown))
    }

    fn publish<'a>(
        &'a self,
        topic: &'a str,
        records: Vec<Publish>,
    ) -> Answer<'a, Vec<Result<Position, Refusal>>> {
        now(self.with(topic, |found| {
            Ok(records
                .into_iter()
                .map(|record| found.publish(topic, record))
                .collect())
        }))
    }

    fn read<'a>(&'a self, topic: &'a str, read: Read) -> Answer<'a, ReadPart> {
        now(self.with(topic, |found| {
            let unknown = || {
                Refusal::new(
                    Code::PartitionUnknown,
                    format!("{topic}/{}", read.partition),
                )
            };
            let records = found
                .partitions
                .get(read.partition as usize)
                .ok_or_else(unknown)?;
            let end = records.len() as i64;
            let from = match read.from {
                Begin::Earliest => 0,
                Begin::Latest => end,
                Begin::Offset(offset) => offset,
                Begin::Time(ms) => records
                    .iter()
                    .find(|record| record.timestamp >= Some(Timestamp(ms)))
                    .map_or(end, |record| record.offset),
            };
            if !(0..=end).contains(&from) {
                let detail = format!("offset {from} lies outside 0..{end}");
                return Err(Refusal::new(Code::OffsetOutOfRange, detail));
            }
            let wanted = records
                .iter()
                .skip(from as usize)
                .take(read.records_max as usize);
            let records: Vec<_> = wanted.cloned().collect();
            Ok(ReadPart {
                next: from + records.len() as i64,
                records,
                start: 0,
                end,
            })
        }))
    }

    fn status(&self) -> Answer<'_, Broker> {
        let topics = self.topics.lock().unwrap();
        let details: Vec<_> = topics
            .iter()
            .map(|(name, topic)| topic.detail(name))
            .collect();
        now(Ok(Broker {
            topics: details.len() as u64,
            partitions: details
                .iter()
                .map(|d| u64::from(d.summary.partitions))
                .sum(),
            records: details.iter().map(|d| d.summary.records).sum(),
            bytes: details.iter().map(|d| d.summary.bytes).sum(),
            connections: 2,
            disk: Some(Disk {
                total_bytes: 1 << 40,
                free_bytes: 1 << 30,
            }),
            alarms: vec![Alarm {
                name: "disk_low".to_owned(),
                since: NOON,
                reason: "1 GiB of 1 TiB is free".to_owned(),
                hint: "free space".to_owned(),
            }],
        }))
    }

    fn live(&self) -> Vec<Check> {
        vec![Check {
            name: "loops".to_owned(),
            ok: self.dead.is_none(),
            reason: self.dead.map(str::to_owned),
        }]
    }

    fn ready(&self) -> Answer<'_, Vec<Check>> {
        let reason = self.unready.map(str::to_owned);
        now(Ok(vec![Check {
            name: "storage".to_owned(),
            ok: reason.is_none(),
            reason,
        }]))
    }

    fn counters(&self) -> Answer<'_, Counters> {
        let histogram = Histogram {
            buckets: vec![(0.001, 1), (0.01, 2)],
            count: 3,
            sum: 1.5,
        };
        now(Ok(Counters {
            protocols: vec![
                ProtocolCounters {
                    protocol: "kafka",
                    messages_published: 3,
                    messages_delivered: 2,
                    message_bytes_published: 300,
                    message_bytes_delivered: 200,
                    connections: Some(ConnectionCounters {
                        open: 1,
                        opened: 5,
                        received_bytes: 400,
                        closed: vec![("peer", 3), ("idle", 1)],
                        backpressure_seconds: vec![("unsent", 0.25)],
                        ..ConnectionCounters::default()
                    }),
                    errors: vec![("UNKNOWN_TOPIC_ID".to_owned(), 7)],
                    request_duration: vec![("Produce".to_owned(), histogram.clone())],
                },
                ProtocolCounters {
                    protocol: "http",
                    messages_published: 1,
                    ..ProtocolCounters::default()
                },
            ],
            messages_dropped: vec![("retention", 8), ("trim", 1)],
            storage_fsync: histogram,
            broker: BrokerCounters {
                topics: 1,
                partitions: 2,
                stored_bytes: 300,
                ..BrokerCounters::default()
            },
            queues: Some(QueueCounters {
                subscriptions: 2,
                available: 5,
                ..QueueCounters::default()
            }),
            process: ProcessCounters {
                open_fds: 12,
                ..ProcessCounters::default()
            },
            alarms: vec![("disk_low", true)],
            ..Counters::default()
        }))
    }
}
