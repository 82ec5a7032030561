//! A broker that keeps everything in memory and answers at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mulgil_broker::configure::{
    ActiveProducer, Configure, ConfigureRefusal, Configured, GrowTopics, PartitionSize,
    ProducersRefusal, Sizes,
};
use mulgil_broker::core::partition::Refusal as PartitionRefusal;
use mulgil_broker::meta::catalog::{Catalog, CatalogReader};
use mulgil_broker::meta::schema::{TopicName, TopicSettings};
use mulgil_broker::meta::state::{Change, Metadata, NewTopic, Refusal};
use mulgil_broker::request::*;
use mulgil_kafka::IdSource;

use mulgil_record::batch::restamp;
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicId};

use crate::groups::FakeGroups;

pub(crate) const EPOCH: LeaderEpoch = LeaderEpoch(3);
pub(crate) const PARTITIONS_MAX: u32 = 1000;

#[derive(Default)]
struct Log {
    start: i64,
    next: i64,
    batches: Vec<(i64, Bytes)>,
}

#[derive(Default)]
struct State {
    metadata: Metadata,
    logs: BTreeMap<PartitionId, Log>,
    last_producer: i64,
    last_id: u64,
    groups: FakeGroups,
}

/// All that there is, behind one lock.
#[derive(Default)]
pub(crate) struct FakeBroker {
    state: Mutex<State>,
}

impl CatalogReader for FakeBroker {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::new(self.state.lock().unwrap().metadata.catalog(EPOCH))
    }
}

impl IdSource for FakeBroker {
    fn topic_id(&self) -> TopicId {
        let mut state = self.state.lock().unwrap();
        state.last_id += 1;
        TopicId(u128::from(state.last_id) << 64 | 0xabcd)
    }

    fn fetch_session_id(&self) -> u32 {
        let mut state = self.state.lock().unwrap();
        state.last_id += 1;
        u32::try_from(state.last_id).unwrap() + 7000
    }
}

impl FakeBroker {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A topic that is there from the start.
    pub(crate) fn with_topic(
        &self,
        name: &str,
        partitions: u32,
        settings: TopicSettings,
    ) -> TopicId {
        let id = self.topic_id();
        let name = TopicName::in_default(name);
        let topic = CreateTopic {
            name,
            partitions: Some(partitions),
            settings,
            id,
        };
        self.state.lock().unwrap().create(&topic, false).unwrap();
        id
    }

    pub(crate) fn answer(&self, request: Request) -> Reply {
        let state = &mut *self.state.lock().unwrap();
        match request {
            Request::Append(append) => {
                Reply::Append(append.partitions.iter().map(|p| state.append(p)).collect())
            }
            Request::Read(read) => {
                let mut left = read.bytes_max;
                Reply::Read(
                    read.partitions
                        .iter()
                        .map(|p| state.read(p, &mut left))
                        .collect(),
                )
            }
            Request::FindOffsets(list) => {
                Reply::FindOffsets(list.iter().map(|find| state.find(find)).collect())
            }
            Request::FindEpochEnds(list) => {
                Reply::FindEpochEnds(list.iter().map(|find| state.epoch_end(find)).collect())
            }
            Request::CreateTopics(create) => {
                let one = |topic| state.create(topic, create.validate_only);
                Reply::CreateTopics(create.topics.iter().map(one).collect())
            }
            Request::DeleteTopics(list) => {
                Reply::DeleteTopics(list.iter().map(|topic| state.delete(topic)).collect())
            }
            Request::Configure(ask) => Reply::Configure(state.configure(&ask)),
            Request::SetQuotas(ask) => {
                let mut outcomes = Vec::new();
                for (entity, edits) in &ask.entities {
                    let change = state.metadata.edit_quota(entity, edits);
                    let change = change.map_err(|why| ConfigureRefusal::Quota(why.to_string()));
                    outcomes.push(change.map(|change| {
                        if !ask.validate_only {
                            state.metadata.apply(&change);
                        }
                    }));
                }
                Reply::SetQuotas(outcomes)
            }
            Request::GrowTopics(ask) => Reply::GrowTopics(state.grow(&ask)),
            Request::DescribeProducers(of) => {
                let one = |id: &PartitionId| state.producers(*id);
                Reply::DescribeProducers(of.partitions.iter().map(one).collect())
            }
            Request::Sizes(of) => {
                let partitions = of.iter().filter_map(|id| state.size(*id)).collect();
                let space = Some((1 << 40, 1 << 30));
                Reply::Sizes(Sizes { partitions, space })
            }
            Request::Trim(list) => Reply::Trim(list.iter().map(|trim| state.trim(trim)).collect()),
            Request::NewProducer(_) => {
                state.last_producer += 1;
                let id = ProducerId(state.last_producer + 999);
                Reply::NewProducer(Ok((id, ProducerEpoch(0))))
            }
            Request::AlterTopic(_) => panic!("topics are not altered"),
            Request::Group(request) => Reply::Group(state.groups.answer(request)),
            Request::Subscription(_) | Request::Atomic(_) => panic!("this door asks for no queue"),
        }
    }
}

impl State {
    fn create(
        &mut self,
        topic: &CreateTopic,
        validate_only: bool,
    ) -> Result<CreatedTopic, CreateRefusal> {
        let asked = topic.partitions.unwrap_or(1);
        if !(1..=PARTITIONS_MAX).contains(&asked) {
            return Err(CreateRefusal::PartitionCount {
                asked,
                most: PARTITIONS_MAX,
            });
        }
        let change = self.metadata.create(NewTopic {
            id: topic.id,
            name: topic.name.clone(),
            partitions: asked,
            settings: topic.settings.clone(),
            created_ms: 0,
        });
        let change = change.map_err(|refusal| match refusal {
            Refusal::Exists(name) => CreateRefusal::Exists(name),
            other => panic!("{other}"),
        })?;
        let Change::TopicCreated(created) = &change else {
            panic!("a creation creates")
        };
        let (id, settings) = (topic.id, created.settings.clone());
        if !validate_only {
            self.apply(&change);
        }
        Ok(CreatedTopic {
            id,
            partitions: asked,
            settings,
        })
    }

    fn apply(&mut self, change: &Change) {
        self.metadata.apply(change);
        for topic in self.metadata.topics() {
            for partition in &topic.partitions {
                self.logs.entry(*partition).or_default();
            }
        }
    }

    fn topic(&self, topic: &TopicRef) -> Option<(TopicId, TopicName)> {
        let found = match topic {
            TopicRef::Name(name) => self.metadata.topic(name),
            TopicRef::Id(id) => self.metadata.topic_by_id(*id),
        };
        found.map(|topic| (topic.id, topic.name.clone()))
    }

    fn delete(&mut self, topic: &TopicRef) -> Result<(TopicId, TopicName), DeleteRefusal> {
        let (id, name) = self.topic(topic).ok_or(DeleteRefusal::Unknown)?;
        self.metadata.apply(&Change::TopicDeleted { id });
        Ok((id, name))
    }

    fn configure(&mut self, ask: &Configure) -> Vec<Result<(), ConfigureRefusal>> {
        let mut outcomes = Vec::new();
        for (target, edits) in &ask.targets {
            let change = match target {
                Configured::Broker(scope) => self.metadata.edit_broker(*scope, edits, ask.replace),
                Configured::Topic(topic) => match self.topic(topic) {
                    Some((id, _)) => self.metadata.edit_topic(id, edits, ask.replace),
                    None => Err(Refusal::Unknown),
                },
            };
            outcomes.push(match change {
                Ok(change) => {
                    if !ask.validate_only {
                        self.apply(&change);
                    }
                    Ok(())
                }
                Err(Refusal::Setting(why)) => Err(why.into()),
                Err(_) => Err(ConfigureRefusal::UnknownTopic),
            });
        }
        outcomes
    }

    fn grow(&mut self, ask: &GrowTopics) -> Vec<Result<(), AlterRefusal>> {
        let mut outcomes = Vec::new();
        for (topic, asked) in &ask.topics {
            let Some((id, _)) = self.topic(topic) else {
                outcomes.push(Err(AlterRefusal::Unknown));
                continue;
            };
            let grown = self.metadata.add_partitions(id, *asked);
            outcomes.push(match grown {
                Ok(Some(_)) if *asked > PARTITIONS_MAX => Err(AlterRefusal::PartitionCount {
                    asked: *asked,
                    least: 2,
                    most: PARTITIONS_MAX,
                }),
                Ok(Some(change)) if !ask.validate_only => {
                    self.apply(&change);
                    Ok(())
                }
                Ok(Some(_)) => Ok(()),
                Ok(None) | Err(_) => Err(AlterRefusal::PartitionCount {
                    asked: *asked,
                    least: 2,
                    most: PARTITIONS_MAX,
                }),
            });
        }
        outcomes
    }

    fn producers(&self, id: PartitionId) -> Result<Vec<ActiveProducer>, ProducersRefusal> {
        if !self.logs.contains_key(&id) {
            return Err(ProducersRefusal::UnknownPartition(id));
        }
        Ok(vec![ActiveProducer {
            producer: ProducerId(1000),
            epoch: ProducerEpoch(2),
            last_sequence: Some(6),
            last_write_ms: 8,
        }])
    }

    fn size(&self, partition: PartitionId) -> Option<PartitionSize> {
        let batches = &self.logs.get(&partition)?.batches;
        let bytes = batches.iter().map(|(_, batch)| batch.len() as u64).sum();
        Some(PartitionSize { partition, bytes })
    }

    fn append(&mut self, append: &AppendPartition) -> Result<Appended, AppendRefusal> {
        let unknown = AppendRefusal::UnknownPartition(append.partition);
        let log = self.logs.get_mut(&append.partition).ok_or(unknown)?;
        let base = log.next;
        let mut bytes = append.batch.bytes.to_vec();
        restamp(&mut bytes, Offset(base), EPOCH);
        log.batches.push((base, Bytes::from(bytes)));
        log.next += i64::from(append.batch.header.record_count);
        Ok(Appended {
            base: Offset(base),
            log_start: Offset(log.start),
            duplicate: false,
            again: Vec::new(),
        })
    }

    fn log(&self, id: PartitionId) -> Result<&Log, ReadRefusal> {
        self.logs.get(&id).ok_or(ReadRefusal::UnknownPartition(id))
    }

    fn read(&self, read: &ReadPartition, left: &mut u32) -> Result<ReadOut, ReadRefusal> {
        let log = self.log(read.partition)?;
        check_epoch(read.leader_epoch)?;
        let (offset, start, end) = (read.offset, Offset(log.start), Offset(log.next));
        let mut out = ReadOut {
            high_watermark: end,
            last_stable: end,
            log_start: start,
            ..ReadOut::default()
        };
        if read.last_epoch.is_some_and(|last| last.0 == 1) {
            out.diverging = Some((LeaderEpoch(1), start));
            return Ok(out);
        }
        if offset < start || offset > end {
            return Err(ReadRefusal::OutOfRange { offset, start, end });
        }
        let mut mine = read.bytes_max;
        let wanted = log
            .batches
            .iter()
            .rev()
            .take_while(|(base, _)| *base >= offset.0);
        for (_, batch) in log.batches.iter().skip(log.batches.len() - wanted.count()) {
            let bytes = u32::try_from(batch.len()).unwrap();
            if !out.batches.is_empty() && (bytes > mine || bytes > *left) {
                break;
            }
            (mine, *left) = (mine.saturating_sub(bytes), left.saturating_sub(bytes));
            out.batches.push(batch.clone());
        }
        Ok(out)
    }

    fn find(&self, find: &FindOffset) -> Result<FoundOffset, ReadRefusal> {
        let log = self.log(find.partition)?;
        check_epoch(find.leader_epoch)?;
        let (offset, timestamp) = match find.seek {
            Seek::Earliest => (Some(log.start), None),
            Seek::Latest => (Some(log.next), None),
            Seek::Time(time) => (Some(log.start), Some(time)).only_if(log.next > log.start),
            Seek::MaxTimestamp => (Some(log.next - 1), Some(77)).only_if(log.next > log.start),
        };
        Ok(FoundOffset {
            offset: offset.map(Offset),
            timestamp,
            leader_epoch: EPOCH,
        })
    }

    fn epoch_end(&self, find: &FindEpochEnd) -> Result<Option<(LeaderEpoch, Offset)>, ReadRefusal> {
        let log = self.log(find.partition)?;
        check_epoch(find.leader_epoch)?;
        Ok((find.epoch == EPOCH).then_some((EPOCH, Offset(log.next))))
    }

    fn keeps_newest(&self, partition: PartitionId) -> bool {
        let mut topics = self.metadata.topics();
        let topic = topics.find(|topic| topic.partitions.contains(&partition));
        topic.is_some_and(|topic| topic.settings.cleanup.keeps_newest())
    }

    fn trim(&mut self, trim: &Trim) -> Result<Offset, TrimRefusal> {
        let unknown = TrimRefusal::UnknownPartition(trim.partition);
        if self.keeps_newest(trim.partition) {
            return Err(TrimRefusal::KeepsNewest(trim.partition));
        }
        let log = self.logs.get_mut(&trim.partition).ok_or(unknown)?;
        if let Some(to) = trim.to.filter(|to| to.0 < 0) {
            let (start, end) = (Offset(log.start), Offset(log.next));
            return Err(PartitionRefusal::OutOfRange { to, start, end }.into());
        }
        log.start = trim
            .to
            .map_or(log.next, |to| to.0.min(log.next))
            .max(log.start);
        Ok(Offset(log.start))
    }
}

fn check_epoch(epoch: Option<LeaderEpoch>) -> Result<(), ReadRefusal> {
    match epoch {
        Some(epoch) if epoch < EPOCH => Err(ReadRefusal::FencedEpoch { current: EPOCH }),
        Some(epoch) if epoch > EPOCH => Err(ReadRefusal::UnknownEpoch { current: EPOCH }),
        Some(_) | None => Ok(()),
    }
}

/// Keeps a pair of findings only if there is anything to find.
trait OnlyIf {
    fn only_if(self, there: bool) -> Self;
}

impl OnlyIf for (Option<i64>, Option<i64>) {
    fn only_if(self, there: bool) -> Self {
        if there { self } else { (None, None) }
    }
}
