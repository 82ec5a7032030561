//! `DescribeTopicPartitions` (KIP-966): topics with their partitions, page by page.
//!
//! A page ends after so many partitions; the cursor says with which the next one begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::meta::catalog::Catalog;
use mulgil_broker::meta::schema::{DEFAULT_VHOST, Topic};

use super::{Step, Turn};
use crate::from_wire::{is_topic_name, topic_name as name_of};
use crate::to_wire::{TOPIC_OPERATIONS, int32, this_broker, topic_name, uuid};

/// Most partitions of one answer, Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: i32 = 2000;

/// Topics by name; none where there is no such topic.
type Wanted = BTreeMap<String, Option<Arc<Topic>>>;

pub(crate) fn start(
    request: &DescribeTopicPartitionsRequest,
    turn: &Turn<'_>,
) -> Result<Step, Hangup> {
    let catalog = turn.catalog();
    let (from, mut first) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    if first < 0 {
        return refuse(request, turn);
    }
    let limit = request.response_partition_limit.clamp(1, PARTITIONS_MAX);
    let mut left = usize::try_from(limit).unwrap_or(1);
    let mut wanted = wanted(request, &catalog);
    let mut rows = Vec::new();
    let mut next = None;
    for (name, topic) in wanted.split_off(from) {
        if name != from {
            // The topic of the cursor is gone: the one after it is told from its start.
            first = 0;
        }
        let start = usize::try_from(first).unwrap_or(usize::MAX);
        if left == 0 {
            next = Some(cursor(&name, 0));
            break;
        }
        let Some(topic) = topic else {
            rows.push(unknown(&name));
            continue;
        };
        let count = topic.partitions.len().saturating_sub(start).min(left);
        left -= count;
        rows.push(row(&topic, start..start + count, &catalog, turn));
        if start + count < topic.partitions.len() {
            next = Some(cursor(&name, start + count));
            break;
        }
    }
    turn.answer(
        &DescribeTopicPartitionsResponse::default()
            .with_topics(rows)
            .with_next_cursor(next),
    )
}

fn wanted(request: &DescribeTopicPartitionsRequest, catalog: &Catalog) -> Wanted {
    if request.topics.is_empty() {
        let topics = catalog.topics.values();
        let own = topics.filter(|topic| &*topic.name.vhost == DEFAULT_VHOST);
        return own
            .map(|topic| (topic.name.name.to_string(), Some(Arc::clone(topic))))
            .collect();
    }
    let named = request.topics.iter().map(|asked| {
        let name = asked.name.as_str();
        (name.to_owned(), catalog.topic(&name_of(name)).cloned())
    });
    named.collect()
}

fn row(
    topic: &Topic,
    indexes: std::ops::Range<usize>,
    catalog: &Catalog,
    turn: &Turn<'_>,
) -> DescribeTopicPartitionsResponseTopic {
    let this = this_broker(&turn.shared.options);
    let rows = indexes.map(|index| {
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(int32(index))
            .with_leader_id(this)
            .with_leader_epoch(catalog.leader_epoch.0)
            .with_replica_nodes(vec![this])
            .with_isr_nodes(vec![this])
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    });
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic_name(&topic.name.name)))
        .with_topic_id(uuid(topic.id))
        .with_partitions(rows.collect())
        .with_topic_authorized_operations(TOPIC_OPERATIONS)
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let error = if is_topic_name(name) {
        ResponseError::UnknownTopicOrPartition
    } else {
        ResponseError::InvalidTopicException
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(error.code())
        .with_name(Some(topic_name(name)))
}

/// Each topic that was asked for has the error: there is none for the whole.
fn refuse(request: &DescribeTopicPartitionsRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let rows = request.topics.iter().map(|asked| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(ResponseError::InvalidRequest.code())
            .with_name(Some(asked.name.clone()))
    });
    turn.answer(&DescribeTopicPartitionsResponse::default().with_topics(rows.collect()))
}

fn cursor(name: &str, partition: usize) -> Cursor {
    Cursor::default()
        .with_topic_name(topic_name(name))
        .with_partition_index(int32(partition))
}
