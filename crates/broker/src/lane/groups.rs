//! Consumer groups in the lane: names, deadlines, and whose answer is whose.
//!
//! In the log a group is a number. An entry of its own ties the number to the name, before the first
//! change of the group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mulgil_core::group::{
    Change, Command, Durable, Effect, Group, GroupRefusal, GroupSettings, OffsetKey, wire,
};
use mulgil_core::machine::{After, Decision, Elapsed, Machine, Now};
use mulgil_log::entry::{EntryHeader, EntryKind};
use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::position::Position;
use mulgil_record::ids::GroupId;

use self::holding::{Held, Holding};
use self::waiters::Waiters;
use super::{Due, Lane, ReplyTo, Turn};
use crate::group::{GroupLine, GroupName, GroupPicture, GroupReply, GroupRequest};
use crate::request::Reply;

pub(super) mod holding;
mod upkeep;
mod waiters;

/// Flag of a group entry whose payload is the group's name.
const FLAG_NAME: u8 = 1;

/// Longest name of a group, bytes: as long as a string of Kafka's protocol can be.
const NAME_BYTES_MAX: usize = i16::MAX as usize;

/// A group that lives here.
#[derive(Debug)]
struct HostedGroup {
    name: GroupName,
    machine: Group,
    /// The newest change that an answer about it waits for.
    newest: Position,
    /// When it wants its next tick, as it stands in the list of deadlines.
    armed: Option<Elapsed>,
}

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    settings: GroupSettings,
    hosted: BTreeMap<GroupId, HostedGroup>,
    names: BTreeMap<GroupName, GroupId>,
    next: u64,
    deadlines: BTreeSet<(Elapsed, GroupId)>,
    waiters: Waiters,
    holding: Holding,
    /// The newest deletion: who is told that a group is not there is told that.
    gone: Position,
}

impl Groups {
    pub(super) fn with_settings(settings: GroupSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    fn drop_group(&mut self, id: GroupId) {
        if let Some(hosted) = self.hosted.remove(&id) {
            self.holding.changed(hosted.held(), Held::default());
            if self.names.get(&hosted.name) == Some(&id) {
                self.names.remove(&hosted.name);
            }
            if let Some(due) = hosted.armed {
                self.deadlines.remove(&(due, id));
            }
        }
    }

    fn host(&mut self, id: GroupId, name: GroupName, machine: Group) {
        self.next = self.next.max(id.0);
        // Replay may bring back a group for a moment that was deleted before the checkpoint, in which
        // its successor of the same name is: the name is that of the younger one.
        let named = self.names.entry(Arc::clone(&name)).or_insert(id);
        *named = id.max(*named);
        let hosted = HostedGroup {
            name,
            machine,
            newest: Position::ZERO,
            armed: None,
        };
        self.holding.changed(Held::default(), hosted.held());
        if let Some(replaced) = self.hosted.insert(id, hosted) {
            self.holding.changed(replaced.held(), Held::default());
        }
    }

    /// Groups from `from` on as pages of a checkpoint: u16 length of the name, the name, the state.
    pub(super) fn pages(&self, from: GroupId) -> impl Iterator<Item = (u64, Vec<u8>)> {
        self.hosted.range(from..).map(|(id, hosted)| {
            let mut page = Vec::new();
            let name = hosted.name.as_bytes();
            let length = u16::try_from(name.len()).expect("a group's name is short");
            page.extend_from_slice(&length.to_le_bytes());
            page.extend_from_slice(name);
            wire::encode_checkpoint(&hosted.machine, &mut page);
            (id.0, page)
        })
    }

    /// Takes a group from a page of a checkpoint.
    pub(super) fn load(&mut self, id: GroupId, page: &[u8]) -> Option<()> {
        let (length, rest) = page.split_first_chunk()?;
        let (name, state) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let name = GroupName::from(std::str::from_utf8(name).ok()?);
        let machine = wire::decode_checkpoint(self.settings, wire::VERSION, state).ok()?;
        self.host(id, name, machine);
        Some(())
    }
}

impl Lane {
    pub(super) fn group(&mut self, to: ReplyTo, ask: GroupRequest, now: Now, turn: &mut Turn) {
        match ask {
            GroupRequest::Command { group, command } => {
                self.group_command(to, &group, command, now, turn);
            }
            GroupRequest::Offsets { group, keys } => {
                let (due, reply) = self.group_offsets(&group, keys);
                self.answer(to, due, Reply::Group(reply), turn);
            }
            GroupRequest::Describe { group } => {
                let hosted = self.hosted_group(&group);
                let due = self.group_due(hosted);
                let picture = hosted.map(|hosted| Box::new(picture(&hosted.machine)));
                self.answer(to, due, Reply::Group(GroupReply::Described(picture)), turn);
            }
            GroupRequest::List => {
                let hosted = self.groups.hosted.values();
                let newest = hosted.clone().map(|h| h.newest).max();
                let due = Due::synced(newest.unwrap_or(Position::ZERO).max(self.groups.gone));
                let mut lines: Vec<_> = hosted.map(line).collect();
                lines.sort_by(|a, b| a.group.cmp(&b.group));
                self.answer(to, due, Reply::Group(GroupReply::Listed(lines)), turn);
            }
        }
    }

    /// The machine of a group, for the simulation: replaying the log must lead to the same one.
    #[must_use]
    pub fn group_machine(&self, name: &str) -> Option<&Group> {
        let id = self.groups.names.get(name)?;
        Some(&self.groups.hosted.get(id)?.machine)
    }

    /// All groups that are kept, whether or not their names lead to them, for the simulation.
    pub fn group_machines(&self) -> impl Iterator<Item = (&GroupName, &Group)> {
        let hosted = self.groups.hosted.values();
        hosted.map(|hosted| (&hosted.name, &hosted.machine))
    }

    fn hosted_group(&self, name: &GroupName) -> Option<&HostedGroup> {
        self.groups
            .names
            .get(name)
            .and_then(|id| self.groups.hosted.get(id))
    }

    fn group_offsets(&self, group: &GroupName, keys: Option<Vec<OffsetKey>>) -> (Due, GroupReply) {
        let Some(hosted) = self.hosted_group(group) else {
            return (self.group_due(None), GroupReply::Offsets(Vec::new()));
        };
        let machine = &hosted.machine;
        let found = match keys {
            Some(keys) => {
                let found = keys
                    .into_iter()
                    .filter_map(|k| Some((k, machine.committed(k)?.clone())));
                found.collect()
            }
            None => machine.offsets().map(|(k, c)| (*k, c.clone())).collect(),
        };
        (self.group_due(Some(hosted)), GroupReply::Offsets(found))
    }

    /// What an answer about a group waits for: the newest change that it tells, or, where there is no
    /// group, the newest deletion of one, which a power cut must not take back.
    fn group_due(&self, hosted: Option<&HostedGroup>) -> Due {
        let born = hosted.filter(|hosted| hosted.newest != Position::ZERO);
        Due::synced(born.map_or(self.groups.gone, |hosted| hosted.newest))
    }

    fn group_command(
        &mut self,
        to: ReplyTo,
        group: &GroupName,
        mut command: Command,
        now: Now,
        turn: &mut Turn,
    ) {
        if let Some(reply) = self.group_refusal(group, &command) {
            return self.answer(to, Due::NOW, Reply::Group(reply), turn);
        }
        let mut waiter = None;
        if let Command::Join(join) = &mut command {
            join.waiter = self.groups.waiters.wait(to);
            waiter = Some(join.waiter);
        } else if let Command::Sync(sync) = &mut command {
            sync.waiter = self.groups.waiters.wait(to);
            waiter = Some(sync.waiter);
        }
        let id = self.group_id(group);
        if let Err(why) = self.decide_group(id, Some(to), command, now, turn) {
            if let Some(waiter) = waiter {
                self.groups.waiters.take(waiter);
            }
            let due = self.group_due(self.groups.hosted.get(&id));
            self.answer(to, due, Reply::Group(GroupReply::Refused(why)), turn);
        }
        self.drop_if_unborn(id);
    }

    fn group_refusal(&self, group: &GroupName, command: &Command) -> Option<GroupReply> {
        if self.stopping {
            return Some(GroupReply::Stopping);
        }
        if group.len() > NAME_BYTES_MAX {
            let (bytes, max) = (group.len(), NAME_BYTES_MAX);
            let too_long = GroupRefusal::NameTooLong { bytes, max };
            return Some(GroupReply::Refused(too_long));
        }
        // What is left then is for what frees more, and for what says little.
        let hosted = self.hosted_group(group);
        let writes = match hosted {
            Some(hosted) => hosted.machine.is_large(command),
            None => matches!(command, Command::Join(_) | Command::CommitOffsets(_)),
        };
        if self.exhausted && writes {
            return Some(GroupReply::DiskFull);
        }
        // Those who work the disk free join their groups and commit, from the reserve; a join that
        // would make a new group is not taken.
        let creates = matches!(command, Command::Join(_));
        (self.full && creates && hosted.is_none()).then_some(GroupReply::DiskFull)
    }

    /// The number of a group; a new one if nobody knows the name.
    fn group_id(&mut self, name: &GroupName) -> GroupId {
        if let Some(id) = self.groups.names.get(name) {
            return *id;
        }
        let id = GroupId(self.groups.next + 1);
        let machine = Group::new(self.groups.settings);
        self.groups.host(id, Arc::clone(name), machine);
        id
    }

    /// Forgets a group that the command did not create after all.
    fn drop_if_unborn(&mut self, id: GroupId) {
        let unborn = |hosted: &HostedGroup| {
            hosted.newest == Position::ZERO
                && hosted.machine.state() == mulgil_core::group::State::Dead
        };
        if self.groups.hosted.get(&id).is_some_and(unborn) {
            self.groups.drop_group(id);
        }
    }

    /// Decides a command, writes and applies what follows, and answers whoever is to be answered.
    fn decide_group(
        &mut self,
        id: GroupId,
        to: Option<ReplyTo>,
        command: Command,
        now: Now,
        turn: &mut Turn,
    ) -> Result<(), GroupRefusal> {
        let mut decision = Decision::default();
        let Some(hosted) = self.groups.hosted.get(&id) else {
            return Ok(());
        };
        let believed = self.log.dates.believed(now);
        let gives_up_by_date = matches!(command, Command::Tick | Command::ExpireUnread(_));
        let date = if gives_up_by_date {
            believed
        } else {
            self.log.dates.stamp(now)
        };
        let together = self.groups.holding.as_asked(hosted.name.len());
        let decided = hosted
            .machine
            .decide_among(command, date, together, &mut decision);
        self.groups.holding.saw(&decided, &decision.effects);
        decided?;
        self.apply_group(id, &mut decision);
        let newest = self
            .groups
            .hosted
            .get(&id)
            .map_or(Position::ZERO, |h| h.newest);
        for (after, effect) in decision.effects.drain(..) {
            let due = match after {
                After::OwnFrame | After::WhatItRead => Due::synced(newest),
            };
            self.group_effect(id, to, due, effect, turn);
        }
        // A tick that has done a part of its work finds the rest due.
        self.groups.arm(id, believed);
        Ok(())
    }

    fn apply_group(&mut self, id: GroupId, decision: &mut Decision<Change, Effect>) {
        let Some(hosted) = self.groups.hosted.get_mut(&id) else {
            return;
        };
        let before = hosted.held();
        let mut payload = Vec::new();
        for (_, change) in decision.changes.drain(..) {
            if let Change::Durable(durable) = &change {
                if matches!(durable, Durable::Created { .. }) {
                    let header = group_entry(EntryKind::Group, FLAG_NAME, id);
                    self.log.push(header, &[hosted.name.as_bytes()]);
                }
                payload.clear();
                wire::encode(durable, &mut payload);
                let kind = kind_of(durable);
                let at = self.log.push(group_entry(kind, 0, id), &[&payload]);
                // Nobody waits for what only rides along, but whoever asks behind it is told it.
                hosted.newest = at;
            }
            hosted.machine.apply(&change);
        }
        self.groups.holding.changed(before, hosted.held());
    }

    fn group_effect(
        &mut self,
        id: GroupId,
        to: Option<ReplyTo>,
        due: Due,
        effect: Effect,
        turn: &mut Turn,
    ) {
        let waiter = match &effect {
            Effect::Joined(joined) => Some(joined.waiter),
            Effect::Named { waiter, .. }
            | Effect::Synced { waiter, .. }
            | Effect::Refused { waiter, .. } => Some(*waiter),
            Effect::Alive { .. }
            | Effect::Left(_)
            | Effect::Committed(_)
            | Effect::OffsetsDeleted(_)
            | Effect::UnreadExpired { .. }
            | Effect::Deleted => None,
        };
        if matches!(effect, Effect::Deleted) {
            self.groups.gone = self.groups.gone.max(due.synced);
            self.groups.drop_group(id);
        }
        // A waiter whose connection is gone gets no answer.
        let to = match waiter {
            Some(waiter) => self.groups.waiters.take(waiter),
            None => to,
        };
        let Some(to) = to else { return };
        let reply = if let Effect::Refused { why, .. } = effect {
            GroupReply::Refused(why)
        } else {
            GroupReply::Done(effect)
        };
        self.answer(to, due, Reply::Group(reply), turn);
    }

    /// Applies an entry of a group that was read back.
    pub(super) fn replay_group(
        &mut self,
        at: Position,
        header: &EntryHeader,
        payload: &[u8],
    ) -> Result<(), Fault> {
        let id = GroupId(header.object);
        if self
            .loaded
            .groups
            .get(&id)
            .is_some_and(|good_for| at < *good_for)
        {
            return Ok(());
        }
        let unknown = || {
            let what = format!(
                "change of group {} at {at} is not known to this version",
                id.0
            );
            Fault::new(FaultKind::Corrupt, what)
        };
        if header.flags & FLAG_NAME != 0 {
            let name = std::str::from_utf8(payload).map_err(|_not_utf8| unknown())?;
            let machine = Group::new(self.groups.settings);
            self.groups.host(id, GroupName::from(name), machine);
            return Ok(());
        }
        let change = wire::decode(header.version, payload).map_err(|_unknown| unknown())?;
        let Some(hosted) = self.groups.hosted.get_mut(&id) else {
            return Ok(());
        };
        let gone = matches!(change, Durable::Deleted);
        let before = hosted.held();
        hosted.machine.apply(&Change::Durable(change));
        self.groups.holding.changed(before, hosted.held());
        if gone {
            self.groups.drop_group(id);
        }
        Ok(())
    }
}

const fn group_entry(kind: EntryKind, flags: u8, id: GroupId) -> EntryHeader {
    EntryHeader {
        kind,
        version: wire::VERSION,
        flags,
        length: 0,
        object: id.0,
        base: 0,
        count: 0,
    }
}

const fn kind_of(change: &Durable) -> EntryKind {
    if change.is_about_offsets() {
        EntryKind::GroupOffsets
    } else {
        EntryKind::Group
    }
}

fn picture(machine: &Group) -> GroupPicture {
    GroupPicture {
        state: machine.state(),
        generation: machine.generation(),
        protocol_type: machine.protocol_type().map(Arc::from),
        protocol: machine.protocol().map(Arc::from),
        members: machine
            .members()
            .map(|(m, share)| (m.clone(), share.clone()))
            .collect(),
    }
}

fn line(hosted: &HostedGroup) -> GroupLine {
    GroupLine {
        group: Arc::clone(&hosted.name),
        state: hosted.machine.state(),
        protocol_type: hosted.machine.protocol_type().map(Arc::from),
    }
}
