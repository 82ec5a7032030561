//! `DescribeLogDirs` (KIP-113, KIP-827): how much partitions take. All lie in one store, which is told
//! as one directory.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use mulgil_broker::configure::Sizes;
use mulgil_broker::connection::Hangup;
use mulgil_broker::meta::schema::{DEFAULT_VHOST, Topic};
use mulgil_broker::request::{Reply, Request};
use mulgil_record::ids::PartitionId;

use super::{Step, Turn, Waiting, groups, in_pieces};
use crate::from_wire::{partition, topic_name as name_of};
use crate::to_wire::{int32, text, topic_name};

/// What the store is called: paths are the operator's business.
const STORE: &str = "/mulgil";
/// The first version that tells of the file system.
const SINCE_SPACE: i16 = 4;

pub(crate) fn start(request: DescribeLogDirsRequest, turn: &Turn<'_>) -> Step {
    let catalog = turn.catalog();
    let mut waits = Waits::default();
    let mut add = |topic: &Topic, indexes: Vec<i32>| {
        let name = &topic.name.name;
        // Each partition once, as often as it is asked for.
        for index in indexes.into_iter().collect::<BTreeSet<_>>() {
            if let Some(partition) = partition(topic, index) {
                let place = (name.to_string(), index);
                waits.places.insert(partition, place);
            }
        }
    };
    match request.topics {
        None => {
            let own = |topic: &&std::sync::Arc<Topic>| &*topic.name.vhost == DEFAULT_VHOST;
            for topic in catalog.topics.values().filter(own) {
                add(topic, (0..int32(topic.partitions.len())).collect());
            }
        }
        Some(topics) => {
            for asked in topics {
                if let Some(topic) = catalog.topic(&name_of(&asked.topic)) {
                    add(topic, asked.partitions);
                }
            }
        }
    }
    let partitions: Vec<_> = waits.places.keys().copied().collect();
    let asks = if partitions.is_empty() {
        // The file system is told of all the same.
        vec![Request::Sizes(partitions)]
    } else {
        in_pieces(partitions, Request::Sizes)
    };
    Step::Ask(asks, Box::new(waits))
}

#[derive(Debug, Default)]
struct Waits {
    /// Topic and index of each partition.
    places: BTreeMap<PartitionId, (String, i32)>,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let sizes = joined(replies)?;
        let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
        for size in sizes.partitions {
            if let Some((topic, index)) = self.places.remove(&size.partition) {
                let bytes = i64::try_from(size.bytes).unwrap_or(i64::MAX);
                let row = DescribeLogDirsPartition::default()
                    .with_partition_index(index)
                    .with_partition_size(bytes);
                topics.entry(topic).or_default().push(row);
            }
        }
        let topics = topics.into_iter().map(|(name, mut partitions)| {
            partitions.sort_by_key(|row| row.partition_index);
            DescribeLogDirsTopic::default()
                .with_name(topic_name(&name))
                .with_partitions(partitions)
        });
        let store = DescribeLogDirsResult::default()
            .with_log_dir(text(STORE))
            .with_topics(topics.collect());
        let store = match sizes.space {
            Some((total, free)) if turn.since(SINCE_SPACE) => store
                .with_total_bytes(i64::try_from(total).unwrap_or(i64::MAX))
                .with_usable_bytes(i64::try_from(free).unwrap_or(i64::MAX)),
            Some(_) | None => store,
        };
        turn.answer(&DescribeLogDirsResponse::default().with_results(vec![store]))
    }
}

/// All partitions of the replies, and the file system as the last of them saw it.
fn joined(replies: Vec<Reply>) -> Result<Sizes, Hangup> {
    let mut joined = Sizes::default();
    for reply in replies {
        let Reply::Sizes(piece) = reply else {
            return Err(groups::unfitting(&reply));
        };
        joined.partitions.extend(piece.partitions);
        joined.space = piece.space;
    }
    Ok(joined)
}
