//! `Metadata`: which topics there are, with their partitions, and who leads them.
//!
//! Asking for a topic that does not exist may create it. Kafka answers the first such request with an
//! error and lets the client try again; here the answer waits until the topic is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName as WireName};
use mulgil_broker::connection::Hangup;
use mulgil_broker::meta::catalog::Catalog;
use mulgil_broker::meta::schema::{DEFAULT_VHOST, Topic, TopicSettings};
use mulgil_broker::request::{CreateRefusal, CreateTopic, CreateTopics, Reply, Request};
use uuid::Uuid;

use super::{Step, Turn, Waiting, only_reply};
use crate::from_wire::{TopicKey, is_topic_name, topic_name};
use crate::to_wire::{
    CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED, TOPIC_OPERATIONS, operations, text, this_broker,
    topic_name as wire_name, uuid,
};
use crate::wire_errors;

/// The first version in which an empty list means no topic; before, it means all.
const SINCE_NONE: i16 = 1;
/// The first version whose request may name topics by id; ids are in answers since 10 (KIP-516).
const SINCE_REQUEST_IDS: i16 = 12;

/// What the client wants to know.
#[derive(Debug)]
struct Wanted {
    /// `None`: all topics.
    topics: Option<Vec<TopicKey>>,
    topic_operations: bool,
    cluster_operations: bool,
    /// Topics that could not be created, and why.
    refused: BTreeMap<Arc<str>, CreateRefusal>,
    /// Topics that were created for this request.
    created: BTreeSet<Arc<str>>,
}

pub(crate) fn start(request: MetadataRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let may_create = request.allow_auto_topic_creation && turn.shared.options.auto_create_topics;
    let wanted = Wanted {
        topic_operations: request.include_topic_authorized_operations,
        cluster_operations: request.include_cluster_authorized_operations,
        topics: wanted_topics(request, turn)?,
        refused: BTreeMap::new(),
        created: BTreeSet::new(),
    };
    let missing = if may_create {
        missing(&wanted, turn)
    } else {
        BTreeSet::new()
    };
    if missing.is_empty() {
        return turn.answer(&response(&wanted, turn));
    }
    let topics = missing.iter().map(|name| CreateTopic {
        name: topic_name(name),
        partitions: Some(turn.shared.options.partitions_default),
        settings: TopicSettings::default(),
        id: turn.shared.ids.topic_id(),
    });
    let ask = CreateTopics {
        topics: topics.collect(),
        validate_only: false,
    };
    let waits = Waits {
        wanted,
        names: missing.into_iter().collect(),
    };
    Ok(Step::Ask(vec![Request::CreateTopics(ask)], Box::new(waits)))
}

/// The topics that a request names, each once.
fn wanted_topics(
    request: MetadataRequest,
    turn: &Turn<'_>,
) -> Result<Option<Vec<TopicKey>>, Hangup> {
    let Some(topics) = request.topics else {
        return Ok(None);
    };
    if topics.is_empty() && !turn.since(SINCE_NONE) {
        return Ok(None);
    }
    let mut seen = BTreeSet::new();
    let mut keys = Vec::with_capacity(topics.len());
    for topic in topics {
        let key = match topic.name {
            Some(name) if topic.topic_id.is_nil() => TopicKey::Name(name.0),
            Some(_) | None if turn.since(SINCE_REQUEST_IDS) && !topic.topic_id.is_nil() => {
                TopicKey::Id(topic.topic_id)
            }
            // `KafkaApis.handleTopicMetadataRequest` throws for an id before version 12 and for
            // neither a name nor an id.
            Some(_) | None => return Err(turn.malformed("topic ids are not in this version")),
        };
        if seen.insert(key.clone()) {
            keys.push(key);
        }
    }
    Ok(Some(keys))
}

/// The names that may be created because there are no topics with them.
fn missing(wanted: &Wanted, turn: &Turn<'_>) -> BTreeSet<Arc<str>> {
    let catalog = turn.catalog();
    let names = wanted.topics.iter().flatten().filter_map(|key| match key {
        TopicKey::Name(name) if is_topic_name(name) => Some(name),
        TopicKey::Name(_) | TopicKey::Id(_) => None,
    });
    let missing = names.filter(|name| catalog.topic(&topic_name(name)).is_none());
    missing.map(|name| Arc::from(name.as_str())).collect()
}

#[derive(Debug)]
struct Waits {
    wanted: Wanted,
    /// The topics that were asked for, in that order.
    names: Vec<Arc<str>>,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        mut replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let results = only_reply!(replies, CreateTopics);
        for (name, result) in self.names.into_iter().zip(results) {
            match result {
                // Somebody else was faster: as good.
                Ok(_) | Err(CreateRefusal::Exists(_)) => {
                    self.wanted.created.insert(name);
                }
                Err(refusal) => {
                    self.wanted.refused.insert(name, refusal);
                }
            }
        }
        turn.answer(&response(&self.wanted, turn))
    }
}

fn response(wanted: &Wanted, turn: &Turn<'_>) -> MetadataResponse {
    let options = &turn.shared.options;
    let catalog = turn.catalog();
    let topics = match &wanted.topics {
        None => {
            let visible = catalog
                .topics
                .values()
                .filter(|t| &*t.name.vhost == DEFAULT_VHOST);
            visible
                .map(|topic| known(topic, wanted, &catalog, turn))
                .collect()
        }
        Some(keys) => keys
            .iter()
            .map(|key| one(key, wanted, &catalog, turn))
            .collect(),
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(this_broker(options))
        .with_host(text(&options.advertised_host))
        .with_port(i32::from(options.advertised_port));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(&options.cluster_id)))
        .with_controller_id(this_broker(options))
        .with_cluster_authorized_operations(operations(
            wanted.cluster_operations,
            CLUSTER_OPERATIONS,
        ))
        .with_topics(topics)
}

fn one(
    key: &TopicKey,
    wanted: &Wanted,
    catalog: &Catalog,
    turn: &Turn<'_>,
) -> MetadataResponseTopic {
    if let Some(topic) = key.find(catalog) {
        return known(topic, wanted, catalog, turn);
    }
    let (name, id, error) = match key {
        TopicKey::Id(id) => (None, *id, ResponseError::UnknownTopicId),
        TopicKey::Name(name) => (
            Some(WireName(name.clone())),
            Uuid::nil(),
            name_error(name, wanted),
        ),
    };
    MetadataResponseTopic::default()
        .with_error_code(error.code())
        .with_name(name)
        .with_topic_id(id)
        .with_topic_authorized_operations(OPERATIONS_NOT_ASKED)
}

/// Why there is no topic with this name.
fn name_error(name: &str, wanted: &Wanted) -> ResponseError {
    if let Some(refusal) = wanted.refused.get(name) {
        return wire_errors::create(refusal);
    }
    if wanted.created.contains(name) {
        // Deleted again meanwhile, or not visible yet: the client asks again.
        return ResponseError::LeaderNotAvailable;
    }
    if is_topic_name(name) {
        ResponseError::UnknownTopicOrPartition
    } else {
        ResponseError::InvalidTopicException
    }
}

fn known(
    topic: &Topic,
    wanted: &Wanted,
    catalog: &Catalog,
    turn: &Turn<'_>,
) -> MetadataResponseTopic {
    let this = this_broker(&turn.shared.options);
    let partition = |index: i32| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(this)
            .with_leader_epoch(catalog.leader_epoch.0)
            .with_replica_nodes(vec![this])
            .with_isr_nodes(vec![this])
    };
    MetadataResponseTopic::default()
        .with_name(Some(wire_name(&topic.name.name)))
        .with_topic_id(uuid(topic.id))
        .with_partitions(
            (0_i32..)
                .zip(&topic.partitions)
                .map(|(i, _)| partition(i))
                .collect(),
        )
        .with_topic_authorized_operations(operations(wanted.topic_operations, TOPIC_OPERATIONS))
}
