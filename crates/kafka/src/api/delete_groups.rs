//! `DeleteGroups`: groups without members go, with their offsets (KIP-229).

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};
use mulgil_broker::connection::Hangup;
use mulgil_broker::group::Command;
use mulgil_broker::request::Reply;

use super::{Step, Turn, Waiting, groups};
use crate::from_wire::group_name;
use crate::wire_errors::{NONE, NoGroup};

pub(crate) fn start(request: DeleteGroupsRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let groups = groups::each_once(request.groups_names);
    if groups.is_empty() {
        return turn.answer(&DeleteGroupsResponse::default());
    }
    let asks = groups
        .iter()
        .map(|group| groups::ask(group_name(group), Command::Delete));
    Ok(Step::Ask(asks.collect(), Box::new(Waits { groups })))
}

#[derive(Debug)]
struct Waits {
    groups: Vec<GroupId>,
}

impl Waiting for Waits {
    fn answered(self: Box<Self>, replies: Vec<Reply>, turn: &mut Turn<'_>) -> Result<Step, Hangup> {
        let mut rows = Vec::with_capacity(self.groups.len());
        for (group, reply) in self.groups.into_iter().zip(groups::all(replies)?) {
            let code = match groups::outcome(reply, NoGroup::NotFound)? {
                Ok(_deleted) => NONE,
                Err(error) => error.code(),
            };
            rows.push(
                DeletableGroupResult::default()
                    .with_group_id(group)
                    .with_error_code(code),
            );
        }
        turn.answer(&DeleteGroupsResponse::default().with_results(rows))
    }
}
