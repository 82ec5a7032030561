//! `Heartbeat`: a member's sign of life, answered with the news that it must join again.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::group::{Claim, Command, Effect, Generation, MemberId};
use mulgil_broker::request::Reply;

use super::{Step, Turn, Waiting, groups};
use crate::from_wire::{group_name, instance_id};
use crate::wire_errors::{NONE, NoGroup};

pub(crate) fn start(request: &HeartbeatRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    if request.group_id.is_empty() {
        return answer(ResponseError::InvalidGroupId.code(), turn);
    }
    let claim = Claim {
        member: MemberId::from(request.member_id.as_str()),
        instance: instance_id(request.group_instance_id.as_ref()),
        generation: Generation(request.generation_id),
    };
    let ask = groups::ask(group_name(&request.group_id), Command::Heartbeat(claim));
    Ok(Step::Ask(vec![ask], Box::new(Waits)))
}

#[derive(Debug)]
struct Waits;

impl Waiting for Waits {
    fn answered(self: Box<Self>, replies: Vec<Reply>, turn: &mut Turn<'_>) -> Result<Step, Hangup> {
        match groups::outcome(groups::only(replies)?, NoGroup::UnknownMember)? {
            Ok(Effect::Alive { rebalancing: false }) => answer(NONE, turn),
            Ok(Effect::Alive { rebalancing: true }) => {
                answer(ResponseError::RebalanceInProgress.code(), turn)
            }
            Ok(other) => Err(groups::unfitting(&other)),
            Err(error) => answer(error.code(), turn),
        }
    }
}

fn answer(code: i16, turn: &Turn<'_>) -> Result<Step, Hangup> {
    turn.answer(&HeartbeatResponse::default().with_error_code(code))
}
