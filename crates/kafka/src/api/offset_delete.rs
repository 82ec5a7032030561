//! `OffsetDelete`: committed offsets go, of topics that no member reads (KIP-496).
//!
//! What members read stands in their metadata, which the group cannot read. So the group is looked at
//! first, and then asked to delete as it was seen; if its members changed in between, it is looked at
//! again.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::group::{
    Command, DeleteOffsets, Effect, GroupName, GroupPicture, GroupRefusal, GroupReply,
    GroupRequest, OffsetKey, Subscribed,
};
use mulgil_broker::request::{Reply, Request};

use super::{Step, Turn, Waiting, groups};
use crate::from_wire::{TopicKey, group_name};
use crate::unread;
use crate::wire_errors::{self, NONE, NoGroup};

/// How often a group is looked at that changes all the time; then the client tries again.
const LOOKS: usize = 3;

pub(crate) fn start(request: OffsetDeleteRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    if request.group_id.is_empty() {
        return refused(ResponseError::InvalidGroupId, turn);
    }
    let catalog = turn.catalog();
    let mut response = OffsetDeleteResponse::default();
    let (mut asked, mut keys) = (Vec::new(), Vec::new());
    for topic in request.topics {
        let at = response.topics.len();
        let found = TopicKey::Name(topic.name.0.clone()).find(&catalog).cloned();
        let mut rows = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let partition = partition.partition_index;
            // A partition that the topic does not have has no offset to delete, which is no error.
            let code = found.as_ref().map_or_else(
                || ResponseError::UnknownTopicOrPartition.code(),
                |topic| {
                    asked.push((at, rows.len()));
                    let topic = topic.id;
                    keys.push(OffsetKey { topic, partition });
                    NONE
                },
            );
            let row = OffsetDeleteResponsePartition::default().with_partition_index(partition);
            rows.push(row.with_error_code(code));
        }
        let topic = OffsetDeleteResponseTopic::default().with_name(topic.name);
        response.topics.push(topic.with_partitions(rows));
    }
    let waits = Waits {
        group: group_name(&request.group_id),
        response,
        asked,
        keys,
        looks: 0,
    };
    Ok(waits.look())
}

fn refused(error: ResponseError, turn: &Turn<'_>) -> Result<Step, Hangup> {
    turn.answer(&OffsetDeleteResponse::default().with_error_code(error.code()))
}

#[derive(Debug)]
struct Waits {
    group: GroupName,
    response: OffsetDeleteResponse,
    /// Topic and row of each key.
    asked: Vec<(usize, usize)>,
    keys: Vec<OffsetKey>,
    looks: usize,
}

impl Waits {
    fn look(mut self) -> Step {
        self.looks += 1;
        let group = GroupName::clone(&self.group);
        let ask = Request::Group(GroupRequest::Describe { group });
        Step::Ask(vec![ask], Box::new(self))
    }

    /// Asks a group that looks like this to delete.
    fn delete(self, picture: &GroupPicture, turn: &Turn<'_>) -> Result<Step, Hangup> {
        if !picture.members.is_empty() && !unread::says_what_it_reads(picture) {
            return refused(ResponseError::NonEmptyGroup, turn);
        }
        // If nobody knows what the members read, it may be any of these.
        let topics = unread::topics_read(picture, &turn.catalog())
            .unwrap_or_else(|| self.keys.iter().map(|key| key.topic).collect());
        let subscribed = (!picture.members.is_empty()).then_some(Subscribed {
            generation: picture.generation,
            topics: topics.into_iter().collect(),
        });
        let keys = self.keys.clone();
        let command = Command::DeleteOffsets(DeleteOffsets { keys, subscribed });
        let ask = groups::ask(GroupName::clone(&self.group), command);
        Ok(Step::Ask(vec![ask], Box::new(self)))
    }

    fn deleted(
        mut self,
        results: Vec<Result<(), GroupRefusal>>,
        turn: &Turn<'_>,
    ) -> Result<Step, Hangup> {
        for (&(topic, row), result) in self.asked.iter().zip(results) {
            let topic = self.response.topics.get_mut(topic);
            let row = topic.and_then(|topic| topic.partitions.get_mut(row));
            if let (Some(row), Err(why)) = (row, result) {
                row.error_code = wire_errors::group(&why, NoGroup::NotFound).code();
            }
        }
        turn.answer(&self.response)
    }
}

impl Waiting for Waits {
    fn answered(self: Box<Self>, replies: Vec<Reply>, turn: &mut Turn<'_>) -> Result<Step, Hangup> {
        let reply = groups::only(replies)?;
        if let GroupReply::Described(picture) = reply {
            return match picture {
                Some(picture) => self.delete(&picture, turn),
                None => refused(ResponseError::GroupIdNotFound, turn),
            };
        }
        if let GroupReply::Refused(
            GroupRefusal::IllegalGeneration { .. } | GroupRefusal::NotEmpty { .. },
        ) = reply
        {
            // Its members are others than those that were seen.
            return if self.looks < LOOKS {
                Ok(self.look())
            } else {
                refused(ResponseError::CoordinatorLoadInProgress, turn)
            };
        }
        match groups::outcome(reply, NoGroup::NotFound)? {
            Ok(Effect::OffsetsDeleted(results)) => self.deleted(results, turn),
            Ok(other) => Err(groups::unfitting(&other)),
            Err(error) => refused(error, turn),
        }
    }
}
