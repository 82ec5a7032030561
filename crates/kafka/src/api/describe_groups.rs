//! `DescribeGroups`: groups and their members, for operators (KIP-430, KIP-1043).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use mulgil_broker::connection::Hangup;
use mulgil_broker::group::{GroupPicture, GroupReply, GroupRequest, State};
use mulgil_broker::request::{Reply, Request};

use super::list_groups::state_name;
use super::{Step, Turn, Waiting, groups};
use crate::from_wire::group_name;
use crate::to_wire::{GROUP_OPERATIONS, message, operations, text};

/// The first version with static members (KIP-345).
const SINCE_INSTANCES: i16 = 4;
/// The first version that tells an unknown group from one without members (KIP-1043).
const SINCE_NOT_FOUND: i16 = 6;

pub(crate) fn start(request: DescribeGroupsRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    if request.groups.is_empty() {
        return turn.answer(&DescribeGroupsResponse::default());
    }
    let groups = groups::each_once(request.groups);
    let asks = groups.iter();
    let asks = asks.map(|group| {
        Request::Group(GroupRequest::Describe {
            group: group_name(group),
        })
    });
    let asks = asks.collect();
    let operations = operations(request.include_authorized_operations, GROUP_OPERATIONS);
    Ok(Step::Ask(asks, Box::new(Waits { groups, operations })))
}

#[derive(Debug)]
struct Waits {
    groups: Vec<GroupId>,
    operations: i32,
}

impl Waiting for Waits {
    fn answered(self: Box<Self>, replies: Vec<Reply>, turn: &mut Turn<'_>) -> Result<Step, Hangup> {
        let mut rows = Vec::with_capacity(self.groups.len());
        for (group, reply) in self.groups.into_iter().zip(groups::all(replies)?) {
            let row = DescribedGroup::default().with_group_id(group);
            rows.push(match reply {
                GroupReply::Described(None) => unknown(row, turn),
                GroupReply::Described(Some(picture)) => {
                    described(row, *picture, turn).with_authorized_operations(self.operations)
                }
                GroupReply::Stopping => row.with_error_code(groups::STOPPING.code()),
                other @ (GroupReply::Done(_)
                | GroupReply::Refused(_)
                | GroupReply::DiskFull
                | GroupReply::Offsets(_)
                | GroupReply::Listed(_)) => return Err(groups::unfitting(&other)),
            });
        }
        turn.answer(&DescribeGroupsResponse::default().with_groups(rows))
    }
}

fn unknown(row: DescribedGroup, turn: &Turn<'_>) -> DescribedGroup {
    let row = row.with_group_state(text(state_name(State::Dead)));
    if !turn.since(SINCE_NOT_FOUND) {
        return row;
    }
    let why = format!("group {} not found", row.group_id.0);
    row.with_error_code(ResponseError::GroupIdNotFound.code())
        .with_error_message(message(&why))
}

fn described(row: DescribedGroup, picture: GroupPicture, turn: &Turn<'_>) -> DescribedGroup {
    // What members offer is told only with the protocol that was chosen (`ClassicGroup.describe`).
    let protocol = picture.protocol.filter(|_| picture.state == State::Stable);
    let members = picture.members.into_iter().map(|(member, assignment)| {
        let metadata = protocol
            .as_deref()
            .map(|protocol| member.metadata(protocol));
        let row = DescribedGroupMember::default()
            .with_member_id(text(&member.id.0))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(metadata.unwrap_or_default())
            .with_member_assignment(assignment);
        if turn.since(SINCE_INSTANCES) {
            row.with_group_instance_id(member.instance.map(|instance| text(&instance.0)))
        } else {
            row
        }
    });
    row.with_group_state(text(state_name(picture.state)))
        .with_protocol_type(text(picture.protocol_type.as_deref().unwrap_or_default()))
        .with_members(members.collect())
        .with_protocol_data(text(protocol.as_deref().unwrap_or_default()))
}
