//! `OffsetCommit`: how far a group has come (KIP-211, KIP-320, KIP-345).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::group::{
    Command, CommitOffsets, Effect, Generation, GroupRefusal, OffsetEntry, OffsetKey,
};
use mulgil_broker::request::Reply;
use mulgil_record::ids::{Offset, TopicId};

use super::{Step, Turn, Waiting, groups};
use crate::from_wire::{TopicKey, group_name, instance_id, leader_epoch, member_id, partition};
use crate::wire_errors::{self, NONE, NoGroup};

/// The first version in which a committer is told that there is no group.
const SINCE_NOT_FOUND: i16 = 9;

pub(crate) fn start(request: OffsetCommitRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let catalog = turn.catalog();
    let mut waits = Waits {
        response: OffsetCommitResponse::default(),
        asked: Vec::new(),
    };
    let mut entries = Vec::new();
    for topic in request.topics {
        let at = waits.response.topics.len();
        let found = TopicKey::Name(topic.name.0.clone()).find(&catalog).cloned();
        let mut rows = Vec::with_capacity(topic.partitions.len());
        for commit in &topic.partitions {
            let index = commit.partition_index;
            let known = found
                .as_ref()
                .filter(|topic| partition(topic, index).is_some());
            let code = match known {
                None => ResponseError::UnknownTopicOrPartition.code(),
                Some(topic) => {
                    entries.push(entry(topic.id, commit, request.retention_time_ms));
                    waits.asked.push((at, rows.len()));
                    NONE
                }
            };
            let row = OffsetCommitResponsePartition::default().with_partition_index(index);
            rows.push(row.with_error_code(code));
        }
        let topic = OffsetCommitResponseTopic::default().with_name(topic.name);
        waits.response.topics.push(topic.with_partitions(rows));
    }
    if entries.is_empty() {
        return turn.answer(&waits.response);
    }
    let commit = CommitOffsets {
        member: member_id(&request.member_id),
        instance: instance_id(request.group_instance_id.as_ref()),
        generation: Generation(request.generation_id_or_member_epoch),
        entries,
    };
    let command = Command::CommitOffsets(Box::new(commit));
    Ok(Step::Ask(
        vec![groups::ask(group_name(&request.group_id), command)],
        Box::new(waits),
    ))
}

fn entry(topic: TopicId, commit: &OffsetCommitRequestPartition, retention_ms: i64) -> OffsetEntry {
    OffsetEntry {
        key: OffsetKey {
            topic,
            partition: commit.partition_index,
        },
        offset: Offset(commit.committed_offset),
        leader_epoch: leader_epoch(commit.committed_leader_epoch),
        metadata: commit
            .committed_metadata
            .as_deref()
            .unwrap_or_default()
            .into(),
        retention_ms: u64::try_from(retention_ms).ok(),
    }
}

#[derive(Debug)]
struct Waits {
    response: OffsetCommitResponse,
    asked: Vec<(usize, usize)>,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let missing = if turn.since(SINCE_NOT_FOUND) {
            NoGroup::NotFound
        } else {
            NoGroup::IllegalGeneration
        };
        let code = |refusal: GroupRefusal| wire_errors::group(&refusal, missing).code();
        let codes: Vec<i16> = match groups::outcome(groups::only(replies)?, missing)? {
            Ok(Effect::Committed(results)) => results
                .into_iter()
                .map(|result| result.map_or_else(code, |()| NONE))
                .collect(),
            Ok(other) => return Err(groups::unfitting(&other)),
            Err(error) => vec![error.code(); self.asked.len()],
        };
        for (&(topic, partition), code) in self.asked.iter().zip(codes) {
            let topic = self.response.topics.get_mut(topic);
            if let Some(row) = topic.and_then(|t| t.partitions.get_mut(partition)) {
                row.error_code = code;
            }
        }
        turn.answer(&self.response)
    }
}
