//! Whoever looks after groups from outside: commits for groups without members, gives offsets and
//! groups up, removes static members, and asks how things stand.

use std::collections::BTreeMap;

use mulgil_broker::group::{
    Command, CommitOffsets, DeleteOffsets, Effect, Generation, GroupName, GroupRefusal, GroupReply,
    GroupRequest, InstanceId, Leaving, OffsetKey, Subscribed,
};
use mulgil_broker::request::{Reply, Request, Ticket};

use super::member::{group_name, roll_entries};
use super::{Scene, odd};
use crate::ledger::Commit;
use crate::violation::Kept;

#[derive(Debug)]
enum Open {
    Commit(Commit, Vec<OffsetKey>),
    DeleteOffsets(Commit, Vec<OffsetKey>),
    Delete(u64),
    Leave,
    Fetch(u64),
    Describe,
    List,
}

/// An operator of groups.
#[derive(Debug, Default)]
pub struct Overseer {
    open: Option<(Ticket, GroupName, Open)>,
    /// The generation in which a group was seen last.
    seen: BTreeMap<GroupName, Generation>,
}

impl Overseer {
    pub(super) fn act(&mut self, ticket: Ticket, scene: &mut Scene<'_>) -> Option<Request> {
        if self.open.is_some() {
            return None;
        }
        let group = group_name(if scene.below(3) == 0 { 1 } else { 0 });
        let group = if scene.below(6) == 0 {
            group_name(2)
        } else {
            group
        };
        let (open, command) = match scene.below(16) {
            0..=4 => commit(&group, scene)?,
            5 | 6 => self.delete_offsets(&group, scene)?,
            7 | 8 => {
                let asked = scene.ledger.groups.gives_up(&group, None);
                (Open::Delete(asked), Command::Delete)
            }
            9 => leave(scene),
            10..=13 => {
                let open = Open::Fetch(scene.ledger.groups.next());
                return Some(self.ask(ticket, open, GroupRequest::Offsets { group, keys: None }));
            }
            14 => return Some(self.ask(ticket, Open::Describe, GroupRequest::Describe { group })),
            _ => {
                self.open = Some((ticket, group, Open::List));
                return Some(Request::Group(GroupRequest::List));
            }
        };
        scene
            .trace
            .line(|| format!("overseer asks {group}: {command:?}"));
        Some(self.ask(ticket, open, GroupRequest::Command { group, command }))
    }

    fn ask(&mut self, ticket: Ticket, open: Open, request: GroupRequest) -> Request {
        if let GroupRequest::Command { group, .. }
        | GroupRequest::Offsets { group, .. }
        | GroupRequest::Describe { group } = &request
        {
            self.open = Some((ticket, group.clone(), open));
        }
        Request::Group(request)
    }

    pub(super) fn answered(&mut self, ticket: Ticket, reply: Reply, scene: &mut Scene<'_>) -> Kept {
        let Reply::Group(reply) = reply else {
            return Err(odd(&reply));
        };
        scene.trace.line(|| format!("overseer is told {reply:?}"));
        let Some((_, group, open)) = self.open.take().filter(|(asked, ..)| *asked == ticket) else {
            return Err(odd(&Reply::Group(reply)));
        };
        let groups = &mut scene.ledger.groups;
        match (open, reply) {
            (Open::Commit(asked, keys), GroupReply::Done(Effect::Committed(results))) => {
                for (key, result) in keys.iter().zip(results) {
                    groups.committed(&group, asked, &[*key], result.is_ok())?;
                }
            }
            (Open::Commit(asked, keys), _) => groups.committed(&group, asked, &keys, false)?,
            (
                Open::DeleteOffsets(asked, keys),
                GroupReply::Done(Effect::OffsetsDeleted(results)),
            ) => {
                for (key, result) in keys.iter().zip(results) {
                    groups.committed(&group, asked, &[*key], result.is_ok())?;
                }
            }
            (Open::DeleteOffsets(asked, keys), _) => {
                groups.committed(&group, asked, &keys, false)?;
            }
            (Open::Describe, GroupReply::Described(picture)) => {
                self.seen
                    .extend(picture.map(|picture| (group, picture.generation)));
            }
            (Open::Delete(asked), GroupReply::Done(Effect::Deleted)) => {
                groups.deleted(&group, asked, true);
            }
            (Open::Delete(asked), GroupReply::Refused(GroupRefusal::NoSuchGroup)) => {
                // As good as deleted: nothing of it may be there.
                groups.deleted(&group, asked, true);
            }
            (Open::Delete(asked), _) => groups.deleted(&group, asked, false),
            (Open::Fetch(asked), GroupReply::Offsets(found)) => {
                groups.told_offsets(&group, asked, None, &found)?;
            }
            (Open::Leave, _) | (Open::List, GroupReply::Listed(_)) => {}
            (Open::Fetch(_) | Open::Describe | Open::List, reply) => {
                return Err(odd(&Reply::Group(reply)));
            }
        }
        Ok(())
    }

    /// Gives up offsets of a group without members, or of one that reads some of the topics, as it was
    /// seen last.
    fn delete_offsets(&self, group: &GroupName, scene: &mut Scene<'_>) -> Option<(Open, Command)> {
        let keys: Vec<_> = roll_entries(scene)?.into_iter().map(|e| e.key).collect();
        let number = scene.ledger.groups.gives_up(group, Some(&keys));
        let seen = self.seen.get(group).filter(|_| scene.below(3) > 0);
        let subscribed = seen.map(|generation| Subscribed {
            generation: *generation,
            topics: keys.iter().take(1).map(|key| key.topic).collect(),
        });
        let asked = Commit {
            number,
            fenced: false,
        };
        let delete = DeleteOffsets {
            keys: keys.clone(),
            subscribed,
        };
        let open = Open::DeleteOffsets(asked, keys);
        Some((open, Command::DeleteOffsets(delete)))
    }

    pub(super) fn disconnected(&mut self) {
        self.open = None;
    }

    pub(super) fn waits(&self) -> usize {
        usize::from(self.open.is_some())
    }
}

fn commit(group: &GroupName, scene: &mut Scene<'_>) -> Option<(Open, Command)> {
    let entries = roll_entries(scene)?;
    let values: Vec<_> = entries.iter().map(|e| (e.key, e.offset.0)).collect();
    let asked = scene.ledger.groups.commits(group, None, &values);
    let keys = entries.iter().map(|e| e.key).collect();
    let commit = CommitOffsets {
        member: None,
        instance: None,
        generation: Generation::NONE,
        entries,
    };
    let command = Command::CommitOffsets(Box::new(commit));
    Some((Open::Commit(asked, keys), command))
}

fn leave(scene: &mut Scene<'_>) -> (Open, Command) {
    let instance = InstanceId::from(format!("i{}", 1 + scene.below(2)).as_str());
    let leaving = Leaving {
        member: None,
        instance: Some(instance),
    };
    (Open::Leave, Command::Leave(vec![leaving]))
}
