//! The members as they are at this moment: who waits, who is expected, whose session ends when.
//!
//! All of this is volatile. A restart makes it anew from the last [`Settlement`]: the members and
//! their shares are back, nobody waits, and every session begins again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use bytes::Bytes;

use super::change::Initial;
use super::member::{Member, Settlement};
use super::names::{Generation, InstanceId, MemberId, Waiter};
use super::refusal::GroupRefusal;
use crate::machine::Elapsed;

/// How far a rebalance is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Empty,
    Preparing {
        until: Elapsed,
        initial: Option<Initial>,
    },
    Completing,
    Stable,
}

/// A member at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) member: Arc<Member>,
    pub(super) assignment: Bytes,
    /// When its session ends. `None` while it waits, for whoever waits is alive.
    pub(super) expires: Option<Elapsed>,
    pub(super) join: Option<Waiter>,
    pub(super) sync: Option<Waiter>,
    /// It has had no answer yet, so it can give no sign of life: its session ends even though it waits.
    pub(super) fresh: bool,
}

/// The members at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) phase: Phase,
    pub(super) generation: Generation,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<MemberId>,
    pub(super) seats: BTreeMap<MemberId, Seat>,
    pub(super) instances: BTreeMap<InstanceId, MemberId>,
    /// How many members offer each way of assigning.
    pub(super) offered: BTreeMap<Arc<str>, usize>,
    /// What all members say of themselves, bytes.
    pub(super) bytes: usize,
    /// How many members wait for the next generation.
    pub(super) joining: usize,
    /// Names that were given out and not used yet, with the end of the wait for them.
    pub(super) pending: BTreeMap<MemberId, Elapsed>,
    /// Members that have not asked for their share of this generation.
    pub(super) unsynced: BTreeSet<MemberId>,
    pub(super) sync_by: Elapsed,
    /// The ends of all sessions and of all waits for names, soonest first.
    pub(super) sessions: BTreeSet<(Elapsed, MemberId)>,
    /// Whether some session has no end yet.
    pub(super) rebase_due: bool,
}

impl Live {
    /// The members as a restart finds them.
    pub(super) fn from_settlement(settlement: &Settlement) -> Self {
        let mut live = Self {
            phase: Phase::Empty,
            generation: settlement.generation,
            protocol_type: settlement.protocol_type.clone(),
            protocol: settlement.protocol.clone(),
            leader: settlement.leader.clone(),
            ..Self::default()
        };
        for settled in settlement.members.values() {
            live.seat(settled.member.clone()).assignment = settled.assignment.clone();
            live.phase = Phase::Stable;
            live.rebase_due = true;
        }
        live
    }

    /// Goes on to a finished rebalance; whoever waited for it has been answered.
    pub(super) fn settle(&mut self, settlement: &Settlement) {
        let mut old = core::mem::replace(self, Self::from_settlement(settlement));
        for (id, seat) in &mut self.seats {
            seat.expires = old.seats.get(id).and_then(|s| s.expires);
            self.sessions.extend(seat.expires.map(|e| (e, id.clone())));
        }
        self.pending = core::mem::take(&mut old.pending);
        for (id, until) in &self.pending {
            self.sessions.insert((*until, id.clone()));
        }
        old.unsynced.retain(|id| self.seats.contains_key(id));
        (self.unsynced, self.sync_by) = (old.unsynced, old.sync_by);
    }

    /// Whether all members wait for the next generation, and nobody else is expected.
    pub(super) fn all_joined(&self) -> bool {
        self.joining == self.seats.len() && self.pending.is_empty()
    }

    /// The longest that a member may take to join again.
    pub(super) fn rebalance_timeout_ms(&self) -> u32 {
        let timeouts = self.seats.values().map(|s| s.member.rebalance_timeout_ms);
        timeouts.max().unwrap_or_default()
    }

    /// Checks that the group has this member, under this instance name.
    ///
    /// # Errors
    ///
    /// The member is unknown, or another one has taken over its instance.
    pub(super) fn check_member(
        &self,
        member: &MemberId,
        instance: Option<&InstanceId>,
    ) -> Result<&Seat, GroupRefusal> {
        if let Some(instance) = instance {
            let holder = self.instances.get(instance);
            if holder.ok_or(GroupRefusal::UnknownMember)? != member {
                let instance = instance.clone();
                return Err(GroupRefusal::FencedInstance { instance });
            }
        }
        self.seats.get(member).ok_or(GroupRefusal::UnknownMember)
    }

    /// Whether a member of this kind that can do this fits the group (`ClassicGroup.supportsProtocols`).
    pub(super) fn supports<'a>(
        &self,
        protocol_type: &str,
        mut offered: impl Iterator<Item = &'a str>,
    ) -> bool {
        if self.phase == Phase::Empty {
            return !protocol_type.is_empty() && offered.next().is_some();
        }
        let all = self.seats.len();
        let of_all = |name: &str| self.offered.get(name).copied().unwrap_or_default() == all;
        self.protocol_type.as_deref() == Some(protocol_type) && offered.any(of_all)
    }

    /// The way of assigning that all can do and most like best; of equals, the first by name.
    pub(super) fn choose_protocol(&self) -> Option<Arc<str>> {
        let all = self.seats.len();
        let is_candidate = |name: &str| self.offered.get(name).copied() == Some(all);
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for seat in self.seats.values() {
            let mut names = seat.member.offered.iter().map(|o| &o.name);
            if let Some(name) = names.find(|name| is_candidate(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let chosen = votes.into_iter().find(|(_, count)| *count == most);
        chosen.map(|(name, _)| name.clone())
    }

    /// Who leads the next generation: the leader if it has joined again, or the first who has.
    pub(super) fn joined_leader(&self) -> Option<MemberId> {
        let has_joined = |id: &&MemberId| self.seats.get(*id).is_some_and(|s| s.join.is_some());
        let same = self.leader.as_ref().filter(has_joined);
        same.or_else(|| self.seats.keys().find(has_joined)).cloned()
    }

    /// Gives a member a seat, with nothing in it.
    pub(super) fn seat(&mut self, member: Arc<Member>) -> &mut Seat {
        let id = member.id.clone();
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.count_offers(&member, 1);
        self.bytes += member.bytes();
        let seat = Seat {
            member,
            assignment: Bytes::new(),
            expires: None,
            join: None,
            sync: None,
            fresh: false,
        };
        self.seats.entry(id).insert_entry(seat).into_mut()
    }

    /// Takes a member's seat away.
    pub(super) fn unseat(&mut self, id: &MemberId) -> Option<Seat> {
        let seat = self.seats.remove(id)?;
        self.count_offers(&seat.member, -1);
        self.bytes -= seat.member.bytes();
        if let Some(instance) = &seat.member.instance
            && self.instances.get(instance) == Some(id)
        {
            self.instances.remove(instance);
        }
        if let Some(expires) = seat.expires {
            self.sessions.remove(&(expires, id.clone()));
        }
        self.joining -= usize::from(seat.join.is_some());
        Some(seat)
    }

    /// Sets when a member's session ends; `None` while it waits.
    pub(super) fn expire_at(&mut self, id: &MemberId, expires: Option<Elapsed>) {
        let Some(seat) = self.seats.get_mut(id) else {
            return;
        };
        if let Some(old) = core::mem::replace(&mut seat.expires, expires) {
            self.sessions.remove(&(old, id.clone()));
        }
        if let Some(new) = expires {
            self.sessions.insert((new, id.clone()));
        }
    }

    /// Begins the sessions of all who do not wait and have none.
    pub(super) fn rebase(&mut self, at: Elapsed) {
        self.rebase_due = false;
        for (id, seat) in &mut self.seats {
            if seat.expires.is_none() && seat.join.is_none() && seat.sync.is_none() {
                let expires = at.plus_ms(seat.member.session_timeout_ms);
                seat.expires = Some(expires);
                self.sessions.insert((expires, id.clone()));
            }
        }
    }

    pub(super) fn count_offers(&mut self, member: &Member, by: isize) {
        for offer in &member.offered {
            let count = self.offered.entry(offer.name.clone()).or_default();
            *count = count.saturating_add_signed(by);
            if *count == 0 {
                self.offered.remove(&offer.name);
            }
        }
    }
}
