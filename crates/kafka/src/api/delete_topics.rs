//! `DeleteTopics`, by name or, since version 6, by id (KIP-4, KIP-516).

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::meta::schema::TopicName;
use mulgil_broker::request::{Reply, Request, TopicRef};

use mulgil_record::ids::TopicId;

use super::{Step, Turn, Waiting, in_pieces, joined_replies};
use crate::from_wire::{TopicKey, topic_id, topic_name};
use crate::to_wire::{message, topic_name as wire_name, uuid};
use crate::wire_errors;

/// The first version with error messages.
const SINCE_MESSAGES: i16 = 5;

/// The first version with topic ids.
const SINCE_IDS: i16 = 6;

pub(crate) fn start(request: DeleteTopicsRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let mut wishes = request.topics;
    let names = request.topic_names.into_iter();
    wishes.extend(names.map(|name| DeleteTopicState::default().with_name(Some(name))));
    let mut counts = BTreeMap::new();
    for wish in &wishes {
        *counts
            .entry((wish.name.clone(), wish.topic_id))
            .or_insert(0_u32) += 1;
    }

    let mut waits = Waits {
        rows: Vec::with_capacity(wishes.len()),
        asked: Vec::new(),
    };
    let mut asks = Vec::new();
    for wish in wishes {
        let key = (wish.name, wish.topic_id);
        let Some(count) = counts.remove(&key) else {
            continue;
        };
        let (name, id) = key;
        let row = DeletableTopicResult::default()
            .with_name(name.clone())
            .with_topic_id(id);
        let row = match (name, id.is_nil()) {
            _ if count > 1 => refused(row, turn, ResponseError::InvalidRequest, "duplicate topic"),
            (Some(_), false) => refused(
                row,
                turn,
                ResponseError::InvalidRequest,
                "both name and id are given",
            ),
            (None, true) => refused(
                row,
                turn,
                ResponseError::InvalidRequest,
                "neither name nor id is given",
            ),
            (Some(name), true) => {
                waits
                    .asked
                    .push((waits.rows.len(), TopicKey::Name(name.0.clone())));
                asks.push(TopicRef::Name(topic_name(&name)));
                row
            }
            (None, false) => {
                waits.asked.push((waits.rows.len(), TopicKey::Id(id)));
                asks.push(TopicRef::Id(topic_id(id)));
                row
            }
        };
        waits.rows.push(row);
    }
    if asks.is_empty() {
        return turn.answer(&DeleteTopicsResponse::default().with_responses(waits.rows));
    }
    Ok(Step::Ask(
        in_pieces(asks, Request::DeleteTopics),
        Box::new(waits),
    ))
}

#[derive(Debug)]
struct Waits {
    rows: Vec<DeletableTopicResult>,
    /// The row of each topic that was asked, and how it was named.
    asked: Vec<(usize, TopicKey)>,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let deleted = joined_replies!(replies, DeleteTopics);
        for ((at, key), deleted) in self.asked.into_iter().zip(deleted) {
            let Some(row) = self.rows.get_mut(at) else {
                continue;
            };
            let by_id = matches!(key, TopicKey::Id(_));
            *row = match deleted {
                Ok((id, name)) => deleted_row(id, &name, turn),
                Err(refusal) => {
                    let error = wire_errors::delete(&refusal, by_id);
                    refused(row.clone(), turn, error, &refusal.to_string())
                }
            };
        }
        turn.answer(&DeleteTopicsResponse::default().with_responses(self.rows))
    }
}

fn deleted_row(id: TopicId, name: &TopicName, turn: &Turn<'_>) -> DeletableTopicResult {
    let row = DeletableTopicResult::default().with_name(Some(wire_name(&name.name)));
    if turn.since(SINCE_IDS) {
        row.with_topic_id(uuid(id))
    } else {
        row
    }
}

fn refused(
    row: DeletableTopicResult,
    turn: &Turn<'_>,
    error: ResponseError,
    why: &str,
) -> DeletableTopicResult {
    let row = row.with_error_code(error.code());
    if turn.since(SINCE_MESSAGES) {
        row.with_error_message(message(why))
    } else {
        row
    }
}
