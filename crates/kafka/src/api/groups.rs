//! What the requests to groups have in common: how they are asked, and what they are answered.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::GroupId;
use mulgil_broker::connection::Hangup;
use mulgil_broker::group::{Command, Effect, GroupName, GroupReply, GroupRequest, Waiter};
use mulgil_broker::request::{Reply, Request};

use crate::wire_errors::{self, NoGroup};

/// Stands where the broker puts its own.
pub(super) const NO_WAITER: Waiter = Waiter(0);

/// Asks `group` to do something.
pub(super) const fn ask(group: GroupName, command: Command) -> Request {
    Request::Group(GroupRequest::Command { group, command })
}

/// What became of a command.
///
/// # Errors
///
/// The broker answered something else.
pub(super) fn outcome(
    reply: GroupReply,
    missing: NoGroup,
) -> Result<Result<Effect, ResponseError>, Hangup> {
    match reply {
        GroupReply::Done(effect) => Ok(Ok(effect)),
        GroupReply::Refused(refusal) => Ok(Err(wire_errors::group(&refusal, missing))),
        GroupReply::Stopping => Ok(Err(STOPPING)),
        GroupReply::DiskFull => Ok(Err(DISK_FULL)),
        other @ (GroupReply::Offsets(_) | GroupReply::Described(_) | GroupReply::Listed(_)) => {
            Err(unfitting(&other))
        }
    }
}

/// Clients look for the coordinator anew (`CoordinatorRuntime` while it is not active).
pub(super) const STOPPING: ResponseError = ResponseError::NotCoordinator;

/// Clients try again; what Kafka answers when its offsets topic cannot be written
/// (`CoordinatorOperationExceptionHelper`).
const DISK_FULL: ResponseError = ResponseError::CoordinatorNotAvailable;

/// Each group once, in the order in which they are named first: an answer tells no group twice.
pub(super) fn each_once(groups: Vec<GroupId>) -> Vec<GroupId> {
    let mut seen = BTreeSet::new();
    let once = groups.into_iter();
    once.filter(|group| seen.insert(group.clone())).collect()
}

/// The only reply, which is from a group.
///
/// # Errors
///
/// It is not.
pub(super) fn only(replies: Vec<Reply>) -> Result<GroupReply, Hangup> {
    let [reply] = all(replies)?.try_into().map_err(|more| unfitting(&more))?;
    Ok(reply)
}

/// All replies, which are from groups.
///
/// # Errors
///
/// They are not.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all others are equally unfitting"
)]
pub(super) fn all(replies: Vec<Reply>) -> Result<Vec<GroupReply>, Hangup> {
    let one = |reply| match reply {
        Reply::Group(reply) => Ok(reply),
        other => Err(unfitting(&other)),
    };
    replies.into_iter().map(one).collect()
}

/// A reply that does not fit what was asked: a mistake of the broker.
pub(super) fn unfitting(reply: &dyn std::fmt::Debug) -> Hangup {
    Hangup {
        why: format!("the broker gave an unfitting reply: {reply:?}"),
    }
}
