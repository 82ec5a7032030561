//! A broker that keeps nothing and answers anything that fits the question.
//!
//! What it answers depends on the ticket of the question alone, so that the same stream gets the same
//! answers however it was cut. Topics that it was told to create are there afterwards.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mulgil_broker::configure::{
    ActiveProducer, ConfigureRefusal, PartitionSize, ProducersRefusal, Sizes,
};
use mulgil_broker::core::partition::Refusal;
use mulgil_broker::group::{GroupRefusal, GroupReply, GroupRequest};
use mulgil_broker::meta::catalog::{Catalog, CatalogReader};
use mulgil_broker::meta::schema::{Topic, TopicName, TopicSettings};
use mulgil_broker::meta::settings::SettingRefusal;
use mulgil_broker::request::{
    AlterRefusal, AppendRefusal, Appended, CreateRefusal, CreateTopic, CreatedTopic, DeleteRefusal,
    FoundOffset, ReadOut, ReadRefusal, Reply, Request, Ticket, TopicRef, TrimRefusal,
};
use mulgil_kafka::IdSource;
use mulgil_log::disk::cut::Dice;
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicId};

/// The topic that is there from the start.
pub(crate) const TOPIC: &str = "t";
/// Its id.
pub(crate) const TOPIC_ID: TopicId = TopicId(0xabcd);
/// Most partitions that a topic gets.
const PARTITIONS_MAX: u32 = 8;

#[derive(Debug, Default)]
struct State {
    catalog: Arc<Catalog>,
    ids: u32,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct FakeBroker {
    seed: u64,
    state: Mutex<State>,
}

impl CatalogReader for FakeBroker {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.state().catalog)
    }
}

impl IdSource for FakeBroker {
    fn topic_id(&self) -> TopicId {
        TopicId(u128::from(self.fetch_session_id()))
    }

    fn fetch_session_id(&self) -> u32 {
        let mut state = self.state();
        state.ids += 1;
        state.ids
    }
}

impl FakeBroker {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let broker = Self {
            seed,
            state: Mutex::default(),
        };
        let name = TopicName::in_default(TOPIC);
        let _new = broker.create(&CreateTopic {
            name,
            partitions: Some(3),
            settings: TopicSettings::default(),
            id: TOPIC_ID,
        });
        Arc::new(broker)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn answer(&self, ticket: Ticket, request: Request) -> Reply {
        let dice = &mut Dice::new(self.seed << 32 ^ ticket.0);
        match request {
            Request::Append(append) => {
                let one = |_| appended(dice);
                Reply::Append(append.partitions.iter().map(one).collect())
            }
            Request::Read(read) => {
                let one = |_| read_out(dice);
                Reply::Read(read.partitions.iter().map(one).collect())
            }
            Request::FindOffsets(list) => {
                Reply::FindOffsets(list.iter().map(|_| found(dice)).collect())
            }
            Request::FindEpochEnds(list) => {
                let one = |_| match dice.below(3) {
                    0 => Err(refused(dice)),
                    1 => Ok(None),
                    _ => Ok(Some((LeaderEpoch(2), Offset(9)))),
                };
                Reply::FindEpochEnds(list.iter().map(one).collect())
            }
            Request::CreateTopics(create) => {
                let one = |topic| match create.validate_only {
                    true => Ok(created(topic)),
                    false => self.create(topic),
                };
                Reply::CreateTopics(create.topics.iter().map(one).collect())
            }
            Request::DeleteTopics(list) => {
                Reply::DeleteTopics(list.iter().map(|topic| self.delete(topic)).collect())
            }
            Request::AlterTopic(_) => Reply::AlterTopic(Err(AlterRefusal::Unknown)),
            Request::Configure(_)
            | Request::SetQuotas(_)
            | Request::GrowTopics(_)
            | Request::DescribeProducers(_)
            | Request::Sizes(_) => operate(&request, dice),
            Request::Trim(list) => {
                let one = |_| match dice.below(2) {
                    0 => Err(TrimRefusal::UnknownPartition(PartitionId(1))),
                    _ => Ok(Offset(4)),
                };
                Reply::Trim(list.iter().map(one).collect())
            }
            Request::NewProducer(_) => Reply::NewProducer(Ok((ProducerId(1000), ProducerEpoch(0)))),
            Request::Group(request) => Reply::Group(group(&request, dice)),
            Request::Subscription(_) | Request::Atomic(_) => {
                unreachable!("this door asks for no queue")
            }
        }
    }

    fn create(&self, topic: &CreateTopic) -> Result<CreatedTopic, CreateRefusal> {
        let mut state = self.state();
        if state.catalog.topics.contains_key(&topic.name) {
            return Err(CreateRefusal::Exists(topic.name.clone()));
        }
        let asked = topic.partitions.unwrap_or(1);
        if !(1..=PARTITIONS_MAX).contains(&asked) {
            let most = PARTITIONS_MAX;
            return Err(CreateRefusal::PartitionCount { asked, most });
        }
        let mut catalog = Catalog::clone(&state.catalog);
        let first = catalog.revision * 100 + 1;
        catalog.revision += 1;
        let new = Arc::new(Topic {
            id: topic.id,
            name: topic.name.clone(),
            partitions: (first..first + u64::from(asked)).map(PartitionId).collect(),
            settings: topic.settings.clone(),
            created_ms: 0,
        });
        catalog.by_id.insert(topic.id, Arc::clone(&new));
        catalog.topics.insert(topic.name.clone(), new);
        state.catalog = Arc::new(catalog);
        Ok(created(topic))
    }

    fn delete(&self, topic: &TopicRef) -> Result<(TopicId, TopicName), DeleteRefusal> {
        let mut state = self.state();
        let found = match topic {
            TopicRef::Name(name) => state.catalog.topic(name),
            TopicRef::Id(id) => state.catalog.topic_by_id(*id),
        };
        let topic = Arc::clone(found.ok_or(DeleteRefusal::Unknown)?);
        let mut catalog = Catalog::clone(&state.catalog);
        catalog.topics.remove(&topic.name);
        catalog.by_id.remove(&topic.id);
        state.catalog = Arc::new(catalog);
        Ok((topic.id, topic.name.clone()))
    }
}

fn created(topic: &CreateTopic) -> CreatedTopic {
    CreatedTopic {
        id: topic.id,
        partitions: topic.partitions.unwrap_or(1),
        settings: topic.settings.clone(),
    }
}

fn appended(dice: &mut Dice) -> Result<Appended, AppendRefusal> {
    Err(match dice.below(8) {
        0 => AppendRefusal::UnknownPartition(PartitionId(1)),
        1 => AppendRefusal::DiskFull,
        2 => AppendRefusal::Overloaded,
        3 => AppendRefusal::Stopping,
        4 => AppendRefusal::Partition(Refusal::UnknownProducer {
            producer: ProducerId(7),
        }),
        _ => {
            return Ok(Appended {
                base: Offset(5),
                log_start: Offset(0),
                duplicate: dice.below(2) == 0,
                again: Vec::new(),
            });
        }
    })
}

fn refused(dice: &mut Dice) -> ReadRefusal {
    match dice.below(6) {
        0 => ReadRefusal::UnknownPartition(PartitionId(1)),
        1 => ReadRefusal::OutOfRange {
            offset: Offset(1),
            start: Offset(2),
            end: Offset(3),
        },
        2 => ReadRefusal::FencedEpoch {
            current: LeaderEpoch(3),
        },
        3 => ReadRefusal::UnknownEpoch {
            current: LeaderEpoch(3),
        },
        4 => ReadRefusal::Damaged {
            base: Offset(1),
            last: Offset(2),
        },
        _ => ReadRefusal::Unavailable("no disk".to_owned()),
    }
}

fn read_out(dice: &mut Dice) -> Result<ReadOut, ReadRefusal> {
    if dice.below(4) == 0 {
        return Err(refused(dice));
    }
    let batches = (0..dice.below(3)).map(|_| Bytes::from_static(&[7; 61]));
    Ok(ReadOut {
        high_watermark: Offset(9),
        last_stable: Offset(9),
        log_start: Offset(1),
        batches: batches.collect(),
        diverging: (dice.below(8) == 0).then_some((LeaderEpoch(1), Offset(3))),
    })
}

fn found(dice: &mut Dice) -> Result<FoundOffset, ReadRefusal> {
    if dice.below(4) == 0 {
        return Err(refused(dice));
    }
    let there = dice.below(2) == 0;
    Ok(FoundOffset {
        offset: there.then_some(Offset(4)),
        timestamp: there.then_some(77),
        leader_epoch: LeaderEpoch(3),
    })
}

fn group(request: &GroupRequest, dice: &mut Dice) -> GroupReply {
    match request {
        GroupRequest::Command { .. } => match dice.below(4) {
            0 => GroupReply::Refused(GroupRefusal::UnknownMember),
            1 => GroupReply::Refused(GroupRefusal::RebalanceInProgress),
            2 => GroupReply::DiskFull,
            _ => GroupReply::Stopping,
        },
        GroupRequest::Offsets { .. } => GroupReply::Offsets(Vec::new()),
        GroupRequest::Describe { .. } => GroupReply::Described(None),
        GroupRequest::List => GroupReply::Listed(Vec::new()),
    }
}

/// What operators are answered.
fn operate(request: &Request, dice: &mut Dice) -> Reply {
    match request {
        Request::Configure(ask) => {
            let one = |_| match dice.below(3) {
                0 => Err(ConfigureRefusal::UnknownTopic),
                1 => Err(SettingRefusal::Fixed("num.partitions").into()),
                _ => Ok(()),
            };
            Reply::Configure(ask.targets.iter().map(one).collect())
        }
        Request::SetQuotas(ask) => {
            let one = |_| match dice.below(2) {
                0 => Err(ConfigureRefusal::Quota("too many".to_owned())),
                _ => Ok(()),
            };
            Reply::SetQuotas(ask.entities.iter().map(one).collect())
        }
        Request::GrowTopics(ask) => {
            let one = |_| match dice.below(3) {
                0 => Err(AlterRefusal::Unknown),
                1 => Err(AlterRefusal::TooMany { asked: 2, most: 1 }),
                _ => Ok(()),
            };
            Reply::GrowTopics(ask.topics.iter().map(one).collect())
        }
        Request::DescribeProducers(ask) => {
            let producer = ActiveProducer {
                producer: ProducerId(1000),
                epoch: ProducerEpoch(0),
                last_sequence: None,
                last_write_ms: 7,
            };
            let one = |id: &PartitionId| match dice.below(3) {
                0 => Err(ProducersRefusal::UnknownPartition(*id)),
                1 => Err(ProducersRefusal::TooMany { most: 1 }),
                _ => Ok(vec![producer]),
            };
            Reply::DescribeProducers(ask.partitions.iter().map(one).collect())
        }
        Request::Sizes(list) => {
            let one = |&partition| PartitionSize {
                partition,
                bytes: 9,
            };
            let (partitions, space) = (list.iter().map(one).collect(), None);
            Reply::Sizes(Sizes { partitions, space })
        }
        Request::Append(_)
        | Request::Atomic(_)
        | Request::Read(_)
        | Request::FindOffsets(_)
        | Request::FindEpochEnds(_)
        | Request::CreateTopics(_)
        | Request::DeleteTopics(_)
        | Request::AlterTopic(_)
        | Request::Trim(_)
        | Request::NewProducer(_)
        | Request::Group(_)
        | Request::Subscription(_) => unreachable!("answered elsewhere"),
    }
}
