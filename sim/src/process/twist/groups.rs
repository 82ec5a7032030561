//! Planted bugs about groups: commands and answers changed on their way, changes hidden from replay.

use bytes::Bytes;
use mulgil_broker::group::{
    Command, CommitOffsets, Effect, GroupName, GroupReply, GroupRequest, OffsetKey,
};
use mulgil_broker::lane::{Lane, ReplyTo};
use mulgil_broker::request::{Reply, Request};
use mulgil_core::group::{Durable, wire};
use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_record::ids::Offset;

use crate::planted::Planted;

/// Whether replay is not to see this change of a group.
pub(in crate::process) fn hides(
    planted: Option<Planted>,
    entry: &EntryHeader,
    payload: &[u8],
) -> bool {
    let named = entry.flags != 0;
    if !matches!(entry.kind, EntryKind::Group | EntryKind::GroupOffsets) || named {
        return false;
    }
    let change = wire::decode(entry.version, payload);
    match planted {
        Some(Planted::CommitsForgotten) => matches!(change, Ok(Durable::OffsetsCommitted(_))),
        Some(Planted::GenerationsReused) => matches!(change, Ok(Durable::Begun { .. })),
        Some(Planted::GroupDeletionsForgotten) => matches!(change, Ok(Durable::Deleted)),
        Some(_) | None => false,
    }
}

fn commit_of(request: &mut Request) -> Option<(&GroupName, &mut CommitOffsets)> {
    if let Request::Group(GroupRequest::Command { group, command }) = request
        && let Command::CommitOffsets(commit) = command
    {
        return Some((group, commit));
    }
    None
}

/// Lets whoever commits pass for a member of the newest generation, if that is the planted bug.
pub(in crate::process) fn request(request: &mut Request, planted: Option<Planted>, lane: &Lane) {
    if planted != Some(Planted::FencedCommitTaken) {
        return;
    }
    let Some((group, commit)) = commit_of(request) else {
        return;
    };
    let machine = lane.group_machine(group);
    let member =
        machine.and_then(|machine| Some((machine, machine.members().next()?.0.id.clone())));
    if let Some((machine, member)) = member.filter(|_| commit.member.is_some()) {
        commit.generation = machine.generation();
        commit.instance = None;
        commit.member = Some(member);
    }
}

/// A commit that is to be acknowledged at once, if it is taken.
#[derive(Debug)]
pub(in crate::process) struct Early {
    group: GroupName,
    first: (OffsetKey, Offset),
    entries: usize,
}

/// The commit to acknowledge at once, if that is the planted bug.
pub(in crate::process) fn early(request: &mut Request, planted: Option<Planted>) -> Option<Early> {
    if planted != Some(Planted::CommitToldEarly) {
        return None;
    }
    let (group, commit) = commit_of(request)?;
    let first = commit.entries.first()?;
    Some(Early {
        group: GroupName::clone(group),
        first: (first.key, first.offset),
        entries: commit.entries.len(),
    })
}

impl Early {
    /// The answer, once the lane has taken the commit.
    pub(in crate::process) fn reply(&self, lane: &Lane) -> Option<Reply> {
        let (key, offset) = self.first;
        let taken = lane.group_machine(&self.group)?.committed(key)?.offset == offset;
        let done = Effect::Committed(vec![Ok(()); self.entries]);
        taken.then_some(Reply::Group(GroupReply::Done(done)))
    }
}

/// Changes answers, or swallows them.
pub(in crate::process) fn replies(
    replies: &mut Vec<(ReplyTo, Reply)>,
    planted: Option<Planted>,
    last_share: &mut Bytes,
) {
    if planted == Some(Planted::JoinForgotten) {
        replies.retain(|(to, reply)| {
            let joined = matches!(reply, Reply::Group(GroupReply::Done(Effect::Joined(_))));
            !joined || !to.ticket.0.is_multiple_of(4)
        });
    }
    if planted != Some(Planted::SharesMixed) {
        return;
    }
    for (_, reply) in replies {
        if let Reply::Group(GroupReply::Done(Effect::Synced { assignment, .. })) = reply
            && !assignment.is_empty()
        {
            let other = std::mem::replace(last_share, assignment.clone());
            if !other.is_empty() {
                *assignment = other;
            }
        }
    }
}
