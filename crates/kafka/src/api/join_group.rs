//! `JoinGroup`: becoming or staying a member, and waiting for the next generation (KIP-345, KIP-394,
//! KIP-559, KIP-814).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use mulgil_broker::connection::Hangup;
use mulgil_broker::group::{Command, Effect, Join, Joined, JoinedMember, MemberId, Offered};
use mulgil_broker::request::Reply;
use uuid::Uuid;

use super::groups::{self, NO_WAITER};
use super::{Step, Turn, Waiting};
use crate::from_wire::{group_name, instance_id, member_id, natural};
use crate::to_wire::text;
use crate::wire_errors::NoGroup;

/// The first version in which a new member is told its name before it counts (KIP-394).
const SINCE_KNOWN_MEMBERS: i16 = 4;
/// The first version that says what kind of group it is, and may say no protocol (KIP-559).
const SINCE_PROTOCOL_TYPE: i16 = 7;
/// What a member's name takes over of its client's or instance's name, at most.
const STEM_BYTES_MAX: usize = 249;

/// The first version in which a leader can be told not to assign (KIP-814).
const SINCE_SKIP: i16 = 9;

pub(crate) fn start(request: JoinGroupRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let waits = Waits {
        member: request.member_id.clone(),
    };
    if request.group_id.is_empty() {
        return waits.refused(ResponseError::InvalidGroupId, turn);
    }
    let group = group_name(&request.group_id);
    let ask = groups::ask(group, Command::Join(Box::new(join(request, turn))));
    Ok(Step::Ask(vec![ask], Box::new(waits)))
}

fn join(request: JoinGroupRequest, turn: &Turn<'_>) -> Join {
    let instance = instance_id(request.group_instance_id.as_ref());
    let offered = request.protocols.into_iter().map(|protocol| Offered {
        name: Arc::from(protocol.name.as_str()),
        metadata: protocol.metadata,
    });
    let session_timeout_ms = natural(request.session_timeout_ms);
    // Version 0 has one timeout for both (`JoinGroupRequest.maybeOverrideRebalanceTimeout`).
    let rebalance_timeout_ms = if turn.since(1) {
        natural(request.rebalance_timeout_ms)
    } else {
        session_timeout_ms
    };
    let unique = Uuid::from_u128(turn.shared.ids.member_id());
    let stem = instance
        .as_ref()
        .map_or_else(|| turn.head.client_id(), |instance| &instance.0);
    // The answer has room for a string of 32,767 bytes, and a stem may be as long as that.
    let stem = stem
        .get(..stem.floor_char_boundary(STEM_BYTES_MAX))
        .unwrap_or(stem);
    Join {
        waiter: NO_WAITER,
        member: member_id(&request.member_id),
        // As `ClassicGroup.generateMemberId`.
        new_member: MemberId(Arc::from(format!("{stem}-{unique}"))),
        require_known_member: turn.since(SINCE_KNOWN_MEMBERS) && instance.is_none(),
        instance,
        client_id: Arc::from(turn.head.client_id()),
        client_host: Arc::clone(turn.peer),
        protocol_type: Arc::from(request.protocol_type.as_str()),
        offered: offered.collect(),
        session_timeout_ms,
        rebalance_timeout_ms,
        can_skip_assignment: turn.since(SINCE_SKIP),
    }
}

#[derive(Debug)]
struct Waits {
    /// As the client called itself.
    member: StrBytes,
}

impl Waiting for Waits {
    fn answered(self: Box<Self>, replies: Vec<Reply>, turn: &mut Turn<'_>) -> Result<Step, Hangup> {
        match groups::outcome(groups::only(replies)?, NoGroup::UnknownMember)? {
            Ok(Effect::Joined(joined)) => turn.answer(&joined_response(*joined, turn)),
            Ok(Effect::Named { member, .. }) => {
                let named = Self {
                    member: text(&member.0),
                };
                named.refused(ResponseError::MemberIdRequired, turn)
            }
            Ok(other) => Err(groups::unfitting(&other)),
            Err(error) => self.refused(error, turn),
        }
    }
}

impl Waits {
    fn refused(&self, error: ResponseError, turn: &Turn<'_>) -> Result<Step, Hangup> {
        turn.answer(
            &JoinGroupResponse::default()
                .with_error_code(error.code())
                .with_generation_id(-1)
                .with_member_id(self.member.clone())
                .with_protocol_name(protocol_name(None, turn)),
        )
    }
}

fn joined_response(joined: Joined, turn: &Turn<'_>) -> JoinGroupResponse {
    let response = JoinGroupResponse::default()
        .with_generation_id(joined.generation.0)
        .with_protocol_name(protocol_name(joined.protocol.as_deref(), turn))
        .with_leader(
            joined
                .leader
                .map_or_else(StrBytes::default, |leader| text(&leader.0)),
        )
        .with_member_id(text(&joined.member.0))
        .with_members(joined.members.into_iter().map(member).collect())
        .with_skip_assignment(joined.skip_assignment);
    if turn.since(SINCE_PROTOCOL_TYPE) {
        response.with_protocol_type(joined.protocol_type.as_deref().map(text))
    } else {
        response
    }
}

fn member(member: JoinedMember) -> JoinGroupResponseMember {
    JoinGroupResponseMember::default()
        .with_member_id(text(&member.member.0))
        .with_group_instance_id(member.instance.map(|instance| text(&instance.0)))
        .with_metadata(member.metadata)
}

/// Before version 7 there is always one, if only an empty one.
fn protocol_name(name: Option<&str>, turn: &Turn<'_>) -> Option<StrBytes> {
    let none = (!turn.since(SINCE_PROTOCOL_TYPE)).then(StrBytes::default);
    name.map(text).or(none)
}
