//! `ListGroups`: which groups there are (KIP-518, KIP-848).

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;
use mulgil_broker::connection::Hangup;
use mulgil_broker::group::{GroupLine, GroupReply, GroupRequest, State};
use mulgil_broker::request::{Reply, Request};

use super::{Step, Turn, Waiting, groups};
use crate::to_wire::text;

/// The first version with states (KIP-518).
const SINCE_STATES: i16 = 4;
/// The first version with types (KIP-848).
const SINCE_TYPES: i16 = 5;

/// What all groups here are, as `GroupType` names it.
const CLASSIC: &str = "classic";

/// A state, as `ClassicGroupState` names it.
pub(super) const fn state_name(state: State) -> &'static str {
    match state {
        State::Empty => "Empty",
        State::PreparingRebalance => "PreparingRebalance",
        State::CompletingRebalance => "CompletingRebalance",
        State::Stable => "Stable",
        State::Dead => "Dead",
    }
}

pub(crate) fn start(request: &ListGroupsRequest) -> Step {
    let waits = Waits {
        states: lowered(&request.states_filter),
        types: lowered(&request.types_filter),
    };
    Step::Ask(vec![Request::Group(GroupRequest::List)], Box::new(waits))
}

fn lowered(names: &[StrBytes]) -> Vec<String> {
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

#[derive(Debug)]
struct Waits {
    /// Names of states in lower case; none means all.
    states: Vec<String>,
    /// Names of types in lower case; none means all.
    types: Vec<String>,
}

impl Waiting for Waits {
    fn answered(self: Box<Self>, replies: Vec<Reply>, turn: &mut Turn<'_>) -> Result<Step, Hangup> {
        let response = ListGroupsResponse::default();
        let lines = match groups::only(replies)? {
            GroupReply::Listed(lines) => lines,
            GroupReply::Stopping => {
                return turn.answer(&response.with_error_code(groups::STOPPING.code()));
            }
            other @ (GroupReply::Done(_)
            | GroupReply::Refused(_)
            | GroupReply::DiskFull
            | GroupReply::Offsets(_)
            | GroupReply::Described(_)) => return Err(groups::unfitting(&other)),
        };
        let rows = lines
            .iter()
            .filter(|line| self.wants(line))
            .map(|line| row(line, turn));
        turn.answer(&response.with_groups(rows.collect()))
    }
}

impl Waits {
    fn wants(&self, line: &GroupLine) -> bool {
        let is = |wanted: &[String], name: &str| {
            wanted.is_empty() || wanted.iter().any(|w| w.eq_ignore_ascii_case(name))
        };
        is(&self.types, CLASSIC) && is(&self.states, state_name(line.state))
    }
}

fn row(line: &GroupLine, turn: &Turn<'_>) -> ListedGroup {
    let mut row = ListedGroup::default()
        .with_group_id(GroupId(text(&line.group)))
        .with_protocol_type(text(line.protocol_type.as_deref().unwrap_or_default()));
    if turn.since(SINCE_STATES) {
        row.group_state = text(state_name(line.state));
    }
    if turn.since(SINCE_TYPES) {
        row.group_type = text(CLASSIC);
    }
    row
}
