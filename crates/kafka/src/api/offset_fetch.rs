//! `OffsetFetch`: how far groups have come (KIP-211, KIP-447, KIP-709).
//!
//! What was never committed has offset -1 and no error, be it for want of a partition, a topic or the
//! whole group: clients take an error of the group for more than it is.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use mulgil_broker::connection::Hangup;
use mulgil_broker::group::{Committed, GroupReply, GroupRequest, OffsetKey};
use mulgil_broker::meta::catalog::Catalog;
use mulgil_broker::request::{Reply, Request};
use mulgil_record::ids::TopicId;

use super::{Step, Turn, Waiting, groups};
use crate::from_wire::{TopicKey, group_name};
use crate::to_wire::{text, topic_name};
use crate::wire_errors::{self, NONE, NoGroup};

/// The first version that asks for several groups (KIP-709).
const SINCE_GROUPS: i16 = 8;
/// The first version with leader epochs.
const SINCE_EPOCHS: i16 = 5;
/// The first version with an error for the whole group.
const SINCE_GROUP_ERROR: i16 = 2;

/// Most bytes of notes in one answer: those that consumers leave with their offsets are a few bytes
/// long. An answer that tells few of them many times would be large beyond what was asked and stored.
const NOTES_BYTES_MAX: usize = 64 << 20;

/// What is wanted of one group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    group: GroupId,
    /// `None`: all that is committed.
    topics: Option<Vec<WantedTopic>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct WantedTopic {
    name: TopicName,
    /// If there is such a topic.
    id: Option<TopicId>,
    partitions: Vec<i32>,
}

pub(crate) fn start(request: OffsetFetchRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let catalog = turn.catalog();
    let wanted = if turn.since(SINCE_GROUPS) {
        let group =
            |group: kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup| {
                let topics = group.topics.map(|topics| {
                    let topics = topics.into_iter();
                    topics
                        .map(|t| wanted_topic(t.name, t.partition_indexes, &catalog))
                        .collect()
                });
                Wanted {
                    group: group.group_id,
                    topics,
                }
            };
        request.groups.into_iter().map(group).collect()
    } else {
        let topics = request.topics.map(|topics| {
            let topics = topics.into_iter();
            topics
                .map(|t| wanted_topic(t.name, t.partition_indexes, &catalog))
                .collect()
        });
        vec![Wanted {
            group: request.group_id,
            topics,
        }]
    };
    let wanted = each_once(wanted);
    if wanted.is_empty() {
        return turn.answer(&OffsetFetchResponse::default());
    }
    let asks = wanted.iter().map(|wanted| {
        Request::Group(GroupRequest::Offsets {
            group: group_name(&wanted.group),
            keys: keys(wanted),
        })
    });
    Ok(Step::Ask(asks.collect(), Box::new(Waits { wanted })))
}

/// Equal wishes once: an answer tells nothing twice.
fn each_once(wanted: Vec<Wanted>) -> Vec<Wanted> {
    if wanted.len() < 2 {
        return wanted;
    }
    let mut seen = BTreeSet::new();
    let once = wanted.into_iter();
    once.filter(|wanted| seen.insert(wanted.clone())).collect()
}

fn wanted_topic(name: TopicName, mut partitions: Vec<i32>, catalog: &Catalog) -> WantedTopic {
    let mut seen = BTreeSet::new();
    partitions.retain(|partition| seen.insert(*partition));
    let id = TopicKey::Name(name.0.clone())
        .find(catalog)
        .map(|topic| topic.id);
    WantedTopic {
        name,
        id,
        partitions,
    }
}

fn keys(wanted: &Wanted) -> Option<Vec<OffsetKey>> {
    let topics = wanted.topics.as_ref()?.iter();
    let keys = topics.flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.filter_map(|p| {
            topic.id.map(|topic| OffsetKey {
                topic,
                partition: *p,
            })
        })
    });
    Some(keys.collect())
}

#[derive(Debug)]
struct Waits {
    wanted: Vec<Wanted>,
}

impl Waiting for Waits {
    fn answered(self: Box<Self>, replies: Vec<Reply>, turn: &mut Turn<'_>) -> Result<Step, Hangup> {
        let catalog = turn.catalog();
        let mut groups = Vec::with_capacity(self.wanted.len());
        let mut notes = 0_usize;
        for (wanted, reply) in self.wanted.into_iter().zip(groups::all(replies)?) {
            let row = group_row(wanted, reply, &catalog, turn)?;
            let rows = row.topics.iter().flat_map(|topic| &topic.partitions);
            notes += rows
                .filter_map(|row| Some(row.metadata.as_ref()?.len()))
                .sum::<usize>();
            if notes > NOTES_BYTES_MAX {
                let why = format!("an answer with more than {NOTES_BYTES_MAX} bytes of notes");
                return Err(Hangup { why });
            }
            groups.push(row);
        }
        if turn.since(SINCE_GROUPS) {
            return turn.answer(&OffsetFetchResponse::default().with_groups(groups));
        }
        let Some(group) = groups.pop() else {
            return Err(turn.malformed("no group"));
        };
        let mut response = OffsetFetchResponse::default();
        if turn.since(SINCE_GROUP_ERROR) {
            response.error_code = group.error_code;
        }
        response.topics = group
            .topics
            .into_iter()
            .map(|topic| old_topic(topic, turn))
            .collect();
        turn.answer(&response)
    }
}

fn group_row(
    wanted: Wanted,
    reply: GroupReply,
    catalog: &Catalog,
    turn: &Turn<'_>,
) -> Result<OffsetFetchResponseGroup, Hangup> {
    let row = OffsetFetchResponseGroup::default().with_group_id(wanted.group);
    let committed: Result<BTreeMap<OffsetKey, Committed>, ResponseError> = match reply {
        GroupReply::Offsets(offsets) => Ok(offsets.into_iter().collect()),
        GroupReply::Refused(refusal) => Err(wire_errors::group(&refusal, NoGroup::NotFound)),
        GroupReply::Stopping => Err(groups::STOPPING),
        GroupReply::DiskFull => Err(ResponseError::CoordinatorNotAvailable),
        other @ (GroupReply::Done(_) | GroupReply::Described(_) | GroupReply::Listed(_)) => {
            return Err(groups::unfitting(&other));
        }
    };
    let committed = match committed {
        Ok(committed) => committed,
        Err(error) if turn.since(SINCE_GROUP_ERROR) => {
            return Ok(row.with_error_code(error.code()));
        }
        // Only partitions can tell of it (`OffsetFetchResponse`).
        Err(error) => {
            let topics = wanted.topics.unwrap_or_default().into_iter();
            return Ok(row.with_topics(topics.map(|topic| refused(topic, error)).collect()));
        }
    };
    let topics = match wanted.topics {
        None => all_topics(&committed, catalog),
        Some(topics) => topics
            .into_iter()
            .map(|topic| one_topic(topic, &committed))
            .collect(),
    };
    Ok(row.with_topics(topics))
}

fn refused(topic: WantedTopic, error: ResponseError) -> OffsetFetchResponseTopics {
    let rows = topic.partitions.iter();
    let rows = rows.map(|index| partition_row(*index, None).with_error_code(error.code()));
    OffsetFetchResponseTopics::default()
        .with_name(topic.name)
        .with_partitions(rows.collect())
}

fn one_topic(
    topic: WantedTopic,
    committed: &BTreeMap<OffsetKey, Committed>,
) -> OffsetFetchResponseTopics {
    let rows = topic.partitions.iter().map(|index| {
        let key = topic.id.map(|topic| OffsetKey {
            topic,
            partition: *index,
        });
        partition_row(*index, key.and_then(|key| committed.get(&key)))
    });
    OffsetFetchResponseTopics::default()
        .with_name(topic.name)
        .with_partitions(rows.collect())
}

/// All that is committed, except for topics that are gone.
fn all_topics(
    committed: &BTreeMap<OffsetKey, Committed>,
    catalog: &Catalog,
) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<(TopicId, OffsetFetchResponseTopics)> = Vec::new();
    for (key, committed) in committed {
        let Some(topic) = catalog.topic_by_id(key.topic) else {
            continue;
        };
        if topics.last().is_none_or(|(id, _)| *id != key.topic) {
            let row = OffsetFetchResponseTopics::default().with_name(topic_name(&topic.name.name));
            topics.push((key.topic, row));
        }
        if let Some((_, row)) = topics.last_mut() {
            row.partitions
                .push(partition_row(key.partition, Some(committed)));
        }
    }
    topics.into_iter().map(|(_, row)| row).collect()
}

fn partition_row(index: i32, committed: Option<&Committed>) -> OffsetFetchResponsePartitions {
    let epoch = committed.and_then(|committed| committed.leader_epoch);
    OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_committed_offset(committed.map_or(-1, |committed| committed.offset.0))
        .with_committed_leader_epoch(epoch.map_or(-1, |epoch| epoch.0))
        .with_metadata(Some(text(
            committed.map_or("", |committed| &committed.metadata),
        )))
        .with_error_code(NONE)
}

fn old_topic(topic: OffsetFetchResponseTopics, turn: &Turn<'_>) -> OffsetFetchResponseTopic {
    let rows = topic.partitions.into_iter().map(|row| {
        let old = OffsetFetchResponsePartition::default()
            .with_partition_index(row.partition_index)
            .with_committed_offset(row.committed_offset)
            .with_metadata(row.metadata)
            .with_error_code(row.error_code);
        if turn.since(SINCE_EPOCHS) {
            old.with_committed_leader_epoch(row.committed_leader_epoch)
        } else {
            old
        }
    });
    OffsetFetchResponseTopic::default()
        .with_name(topic.name)
        .with_partitions(rows.collect())
}
