//! `LeaveGroup`: one member leaves or, since version 3, several are removed at once (KIP-345, KIP-800).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::group::{Command, Effect, Leaving};
use mulgil_broker::request::Reply;

use super::{Step, Turn, Waiting, groups};
use crate::from_wire::{group_name, instance_id, member_id};
use crate::wire_errors::{self, NONE, NoGroup};

/// The first version with a list of members.
const SINCE_LISTS: i16 = 3;

pub(crate) fn start(request: LeaveGroupRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    if request.group_id.is_empty() {
        return answer(ResponseError::InvalidGroupId.code(), Vec::new(), turn);
    }
    let members = if turn.since(SINCE_LISTS) {
        request.members
    } else {
        vec![
            MemberIdentity::default()
                .with_member_id(request.member_id)
                .with_group_instance_id(None),
        ]
    };
    let leaving = members.iter().map(|member| Leaving {
        member: member_id(&member.member_id),
        instance: instance_id(member.group_instance_id.as_ref()),
    });
    let command = Command::Leave(leaving.collect());
    let ask = groups::ask(group_name(&request.group_id), command);
    Ok(Step::Ask(vec![ask], Box::new(Waits { members })))
}

#[derive(Debug)]
struct Waits {
    members: Vec<MemberIdentity>,
}

impl Waiting for Waits {
    fn answered(self: Box<Self>, replies: Vec<Reply>, turn: &mut Turn<'_>) -> Result<Step, Hangup> {
        let missing = NoGroup::UnknownMember;
        let codes: Vec<i16> = match groups::outcome(groups::only(replies)?, missing)? {
            Ok(Effect::Left(results)) => {
                let code = |refusal| wire_errors::group(&refusal, missing).code();
                results
                    .into_iter()
                    .map(|result| result.map_or_else(code, |()| NONE))
                    .collect()
            }
            Ok(other) => return Err(groups::unfitting(&other)),
            // Without a group nobody is a member of it (`GroupCoordinatorService.leaveGroup`).
            Err(ResponseError::UnknownMemberId) => {
                vec![ResponseError::UnknownMemberId.code(); self.members.len()]
            }
            Err(error) => return answer(error.code(), Vec::new(), turn),
        };
        if !turn.since(SINCE_LISTS) {
            return answer(codes.first().copied().unwrap_or(NONE), Vec::new(), turn);
        }
        let rows = self.members.into_iter().zip(codes).map(|(member, code)| {
            MemberResponse::default()
                .with_member_id(member.member_id)
                .with_group_instance_id(member.group_instance_id)
                .with_error_code(code)
        });
        answer(NONE, rows.collect(), turn)
    }
}

fn answer(code: i16, members: Vec<MemberResponse>, turn: &Turn<'_>) -> Result<Step, Hangup> {
    turn.answer(
        &LeaveGroupResponse::default()
            .with_error_code(code)
            .with_members(members),
    )
}
