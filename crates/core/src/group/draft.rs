//! A decision in the making: what was decided so far, and how the members would stand after it.
//!
//! Most commands change one member and can be decided by looking at the roster as it is. Only what
//! concerns all members (a rebalance that begins or completes) looks at the roster as it will be;
//! then it is copied, once.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::change::{Change, Durable, Volatile};
use super::effect::{Effect, Joined, JoinedMember};
use super::held::Together;
use super::live::Live;
use super::names::{MemberId, Waiter};
use super::rebalance::look_later;
use super::refusal::GroupRefusal;
use super::roster::Roster;
use super::settings::GroupSettings;
use crate::machine::{After, Decision, Keep, Now};

/// A decision in the making.
pub(super) struct Draft<'a> {
    /// The roster before the command.
    pub(super) before: &'a Roster,
    pub(super) settings: &'a GroupSettings,
    pub(super) now: Now,
    /// What all groups hold, this one included.
    pub(super) together: Together,
    out: &'a mut Decision<Change, Effect>,
    /// The roster after the first `applied` changes, once someone has asked.
    copy: Option<Box<Roster>>,
    applied: usize,
    first_change: usize,
    first_effect: usize,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        before: &'a Roster,
        settings: &'a GroupSettings,
        now: Now,
        together: Together,
        out: &'a mut Decision<Change, Effect>,
    ) -> Self {
        let (first_change, first_effect) = (out.changes.len(), out.effects.len());
        Self {
            before,
            settings,
            now,
            together,
            out,
            copy: None,
            applied: first_change,
            first_change,
            first_effect,
        }
    }

    /// The members as they will be after what was decided so far.
    pub(super) fn after(&mut self) -> &Live {
        &self.roster().live
    }

    /// The roster as it will be after what was decided so far.
    pub(super) fn roster(&mut self) -> &Roster {
        let news = self.out.changes.get(self.applied..).unwrap_or_default();
        if news.is_empty() && self.copy.is_none() {
            return self.before;
        }
        let before = self.before;
        let copy = self.copy.get_or_insert_with(|| Box::new(before.clone()));
        for (_, change) in news {
            match change {
                Change::Durable(change) => copy.apply_durable(change),
                Change::Volatile(change) => copy.apply_volatile(change),
            }
        }
        self.applied = self.out.changes.len();
        copy
    }

    /// Lets the group begin to exist, if there may be one more.
    pub(super) fn create(&mut self) -> Result<(), GroupRefusal> {
        self.together = self.together.with_one_more(self.settings)?;
        let at = self.now.wall;
        self.waited(Durable::Created { at });
        look_later(self);
        Ok(())
    }

    /// Decides a change that answers wait for.
    pub(super) fn waited(&mut self, change: Durable) {
        self.push(Keep::Waited, Change::Durable(change));
    }

    /// Decides a change that is logged, but nobody waits for.
    pub(super) fn riding(&mut self, change: Durable) {
        self.push(Keep::Riding, Change::Durable(change));
    }

    /// Decides a change that a restart forgets.
    pub(super) fn volatile(&mut self, change: Volatile) {
        self.push(Keep::Volatile, Change::Volatile(change));
    }

    fn push(&mut self, keep: Keep, change: Change) {
        self.out.changes.push((keep, change));
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.out.effects.push((After::WhatItRead, effect));
    }

    pub(super) fn refuse(&mut self, waiter: Waiter, why: GroupRefusal) {
        self.effect(Effect::Refused { waiter, why });
    }

    /// Answers a join with the generation that stands or has just begun.
    pub(super) fn answer_join(&mut self, waiter: Waiter, member: &MemberId) {
        let live = self.after();
        let leads = live.leader.as_ref() == Some(member);
        let members = if leads { all_members(live) } else { Vec::new() };
        let joined = joined(live, waiter, member, members);
        self.effect(Effect::Joined(Box::new(joined)));
    }

    pub(super) const fn again(&mut self) {
        self.out.again = true;
    }

    /// Ends the decision: its effects wait for its frame, if anything in that is waited for.
    pub(super) fn finish(self) {
        let changes = self.out.changes.iter().skip(self.first_change);
        let mut keeps = changes.map(|(keep, _)| *keep);
        if keeps.any(|keep| keep == Keep::Waited) {
            let effects = self.out.effects.iter_mut().skip(self.first_effect);
            effects.for_each(|(after, _)| *after = After::OwnFrame);
        }
    }

    /// Takes back all that was decided: the command is refused.
    pub(super) fn abandon(self) {
        self.out.changes.truncate(self.first_change);
        self.out.effects.truncate(self.first_effect);
    }
}

/// An answer to a join from the generation that stands.
pub(super) fn joined(
    live: &Live,
    waiter: Waiter,
    member: &MemberId,
    members: Vec<JoinedMember>,
) -> Joined {
    Joined {
        waiter,
        member: member.clone(),
        generation: live.generation,
        protocol_type: live.protocol_type.clone(),
        protocol: live.protocol.clone(),
        leader: live.leader.clone(),
        members,
        skip_assignment: false,
    }
}

/// What the leader is told of all members.
pub(super) fn all_members(live: &Live) -> Vec<JoinedMember> {
    let protocol = live.protocol.as_deref().unwrap_or_default();
    let seats = live.seats.iter();
    let tell = seats.map(|(id, seat)| JoinedMember {
        member: id.clone(),
        instance: seat.member.instance.clone(),
        metadata: seat.member.metadata(protocol),
    });
    tell.collect()
}
