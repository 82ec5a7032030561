//! `SyncGroup`: fetching the share of a generation; the leader brings all shares (KIP-345, KIP-559).

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::group::{Claim, Command, Effect, Generation, MemberId, Sync};
use mulgil_broker::request::Reply;

use super::groups::{self, NO_WAITER};
use super::{Step, Turn, Waiting};
use crate::from_wire::{group_name, instance_id};
use crate::to_wire::text;
use crate::wire_errors::NoGroup;

/// The first version in which a member must say kind and protocol of the group (KIP-559).
const SINCE_PROTOCOL_TYPE: i16 = 5;

pub(crate) fn start(request: SyncGroupRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    if request.group_id.is_empty() {
        return refused(ResponseError::InvalidGroupId, turn);
    }
    // `KafkaApis.handleSyncGroupRequest`.
    let says_both = request.protocol_type.is_some() && request.protocol_name.is_some();
    if turn.since(SINCE_PROTOCOL_TYPE) && !says_both {
        return refused(ResponseError::InconsistentGroupProtocol, turn);
    }
    let shares = request.assignments.into_iter();
    let sync = Sync {
        waiter: NO_WAITER,
        claim: Claim {
            member: MemberId::from(request.member_id.as_str()),
            instance: instance_id(request.group_instance_id.as_ref()),
            generation: Generation(request.generation_id),
        },
        protocol_type: request.protocol_type.map(|name| Arc::from(name.as_str())),
        protocol: request.protocol_name.map(|name| Arc::from(name.as_str())),
        assignments: shares
            .map(|share| (MemberId::from(share.member_id.as_str()), share.assignment))
            .collect(),
    };
    let ask = groups::ask(group_name(&request.group_id), Command::Sync(Box::new(sync)));
    Ok(Step::Ask(vec![ask], Box::new(Waits)))
}

#[derive(Debug)]
struct Waits;

impl Waiting for Waits {
    fn answered(self: Box<Self>, replies: Vec<Reply>, turn: &mut Turn<'_>) -> Result<Step, Hangup> {
        match groups::outcome(groups::only(replies)?, NoGroup::UnknownMember)? {
            Ok(Effect::Synced {
                protocol_type,
                protocol,
                assignment,
                ..
            }) => {
                let response = SyncGroupResponse::default().with_assignment(assignment);
                turn.answer(&if turn.since(SINCE_PROTOCOL_TYPE) {
                    response
                        .with_protocol_type(protocol_type.as_deref().map(text))
                        .with_protocol_name(protocol.as_deref().map(text))
                } else {
                    response
                })
            }
            Ok(other) => Err(groups::unfitting(&other)),
            Err(error) => refused(error, turn),
        }
    }
}

fn refused(error: ResponseError, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let response = SyncGroupResponse::default().with_error_code(error.code());
    turn.answer(&response.with_assignment(Bytes::new()))
}
