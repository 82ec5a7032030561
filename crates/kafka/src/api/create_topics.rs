//! `CreateTopics` (KIP-4, KIP-464, KIP-525): names, counts and settings are checked here, by the
//! rules of `ReplicationControlManager.createTopic` for a cluster of one broker.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::request::{CreateTopic, CreateTopics, CreatedTopic, Reply, Request};

use super::rows::{Refused, each_topic_once};
use super::{Step, Turn, Waiting, configs, only_reply};
use crate::from_wire::{TOPIC_NAME_BYTES_MAX, is_topic_name, topic_name};
use crate::to_wire::{int32, message, text, uuid};
use crate::wire_errors;

/// The first version whose answer tells counts and settings (KIP-525).
const SINCE_DETAILS: i16 = 5;
/// The first version whose answer tells the topic's id (KIP-516).
const SINCE_IDS: i16 = 7;
/// As many as the broker has set (KIP-464).
const AS_SET: i32 = -1;

pub(crate) fn start(request: CreateTopicsRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let mut waits = Waits {
        rows: Vec::with_capacity(request.topics.len()),
        asked: Vec::new(),
    };
    let mut topics = Vec::new();
    for (topic, named) in each_topic_once(request.topics, |topic| &topic.name) {
        let checked = named.and_then(|()| check(&topic, turn));
        let row = CreatableTopicResult::default()
            .with_name(topic.name)
            .with_error_message(None);
        let row = match checked {
            Err((error, why)) => refused(row, error, &why),
            Ok(create) => {
                topics.push(create);
                waits.asked.push(waits.rows.len());
                row
            }
        };
        waits.rows.push(row);
    }
    if topics.is_empty() {
        return turn.answer(&CreateTopicsResponse::default().with_topics(waits.rows));
    }
    let ask = CreateTopics {
        topics,
        validate_only: request.validate_only,
    };
    Ok(Step::Ask(vec![Request::CreateTopics(ask)], Box::new(waits)))
}

fn check(topic: &CreatableTopic, turn: &Turn<'_>) -> Result<CreateTopic, Refused> {
    if !is_topic_name(&topic.name) {
        let why = format!(
            "topic name is illegal: it must have 1 to {TOPIC_NAME_BYTES_MAX} characters out of ASCII \
             letters, digits, '.', '_' and '-', and be neither '.' nor '..'"
        );
        return Err((ResponseError::InvalidTopicException, why));
    }
    let partitions = if topic.assignments.is_empty() {
        check_counts(topic, turn)?
    } else {
        check_assignments(topic, turn)?
    };
    let stated = topic.configs.iter();
    let stated = stated.map(|config| (&*config.name, config.value.as_deref()));
    let settings = configs::created(&turn.catalog(), stated)
        .map_err(|why| (ResponseError::InvalidConfig, why.to_string()))?;
    let (name, id) = (topic_name(&topic.name), turn.shared.ids.topic_id());
    Ok(CreateTopic {
        name,
        partitions: Some(partitions),
        settings,
        id,
    })
}

fn check_counts(topic: &CreatableTopic, turn: &Turn<'_>) -> Result<u32, Refused> {
    match topic.replication_factor {
        -1 | 1 => {}
        factor @ 2.. => {
            let why = format!(
                "a replication factor of {factor} cannot be reached, there is only 1 broker"
            );
            return Err((ResponseError::InvalidReplicationFactor, why));
        }
        _ => {
            let why = "replication factor must be larger than 0, or -1 for the default".to_owned();
            return Err((ResponseError::InvalidReplicationFactor, why));
        }
    }
    match topic.num_partitions {
        AS_SET => Ok(turn.shared.options.partitions_default),
        count => match u32::try_from(count) {
            Ok(count @ 1..) => Ok(count),
            Ok(0) | Err(_) => {
                let why = "number of partitions must be larger than 0, or -1 for the default";
                Err((ResponseError::InvalidPartitions, why.to_owned()))
            }
        },
    }
}

/// Replicas that were placed by hand: each partition once, from 0 on, each on this broker alone.
fn check_assignments(topic: &CreatableTopic, turn: &Turn<'_>) -> Result<u32, Refused> {
    if topic.num_partitions != AS_SET || topic.replication_factor != -1 {
        let why =
            "with a manual assignment, number of partitions and replication factor must be -1";
        return Err((ResponseError::InvalidRequest, why.to_owned()));
    }
    let invalid = |why: String| Err((ResponseError::InvalidReplicaAssignment, why));
    let this = turn.shared.options.node_id;
    let mut by_index = BTreeMap::new();
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        match assignment.broker_ids.as_slice() {
            [only] if *only == this => {}
            [] => return invalid(format!("partition {index} has an empty replica list")),
            replicas => {
                let stranger = replicas.iter().find(|id| **id != this);
                return invalid(stranger.map_or_else(
                    || format!("partition {index} is placed on broker {this} more than once"),
                    |id| {
                        format!(
                            "partition {index} is placed on broker {}, there is none",
                            id.0
                        )
                    },
                ));
            }
        }
        if by_index.insert(index, ()).is_some() {
            return invalid(format!("partition {index} is assigned more than once"));
        }
    }
    if (0..)
        .zip(by_index.keys())
        .any(|(wanted, index)| wanted != *index)
    {
        return invalid("partitions must be numbered from 0 without gaps".to_owned());
    }
    Ok(u32::try_from(by_index.len()).unwrap_or(u32::MAX))
}

#[derive(Debug)]
struct Waits {
    rows: Vec<CreatableTopicResult>,
    /// The row of each topic that was asked.
    asked: Vec<usize>,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        mut replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let results = only_reply!(replies, CreateTopics);
        for (at, result) in self.asked.into_iter().zip(results) {
            let Some(row) = self.rows.get_mut(at) else {
                continue;
            };
            let named = CreatableTopicResult::default()
                .with_name(row.name.clone())
                .with_error_message(None);
            *row = match result {
                Ok(created) => filled(named, &created, turn),
                Err(why) => refused(named, wire_errors::create(&why), &why.to_string()),
            };
        }
        turn.answer(&CreateTopicsResponse::default().with_topics(self.rows))
    }
}

fn filled(
    row: CreatableTopicResult,
    created: &CreatedTopic,
    turn: &Turn<'_>,
) -> CreatableTopicResult {
    if !turn.since(SINCE_DETAILS) {
        return row;
    }
    let row = row
        .with_num_partitions(int32(created.partitions))
        .with_replication_factor(1)
        .with_configs(Some(told(created, turn)));
    if turn.since(SINCE_IDS) {
        row.with_topic_id(uuid(created.id))
    } else {
        row
    }
}

fn told(created: &CreatedTopic, turn: &Turn<'_>) -> Vec<CreatableTopicConfigs> {
    let (catalog, options) = (turn.catalog(), &turn.shared.options);
    let rows = configs::topic_rows(&created.settings, &catalog, options);
    rows.map(|(setting, value)| {
        CreatableTopicConfigs::default()
            .with_name(text(setting.name))
            .with_value(Some(text(&value.value)))
            .with_config_source(value.source)
    })
    .collect()
}

fn refused(row: CreatableTopicResult, error: ResponseError, why: &str) -> CreatableTopicResult {
    row.with_error_code(error.code())
        .with_error_message(message(why))
}
