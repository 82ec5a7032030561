//! The members twice over: as the log has them, and as they are at this moment.
//!
//! ```text
//! durable changes --> kept  --restart-->  live <-- volatile changes
//! ```
//!
//! A durable change moves both, so that what is live never knows less than the log. Committed
//! offsets lie elsewhere: a decision may have to copy the roster to look ahead, and must not copy
//! those.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::change::{Durable, Volatile};
use super::live::{Live, Phase};
use super::member::{Member, Settled, Settlement};
use super::names::{Generation, InstanceId, MemberId};
use crate::machine::{Elapsed, WallTime};

/// What the log has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// When the group was created, if it exists.
    pub(super) created: Option<WallTime>,
    /// The newest generation whose number was given out.
    pub(super) begun: Generation,
    pub(super) settlement: Arc<Settlement>,
}

/// The members as the log has them and as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roster {
    pub(super) kept: Kept,
    pub(super) live: Live,
}

impl Roster {
    pub(super) const fn exists(&self) -> bool {
        self.kept.created.is_some()
    }

    /// Since when the group is empty, if it is.
    pub(super) fn empty_since(&self) -> Option<WallTime> {
        let created = self.kept.created?;
        (self.live.phase == Phase::Empty).then(|| created.max(self.kept.settlement.at))
    }

    pub(super) fn forget_volatile(&mut self) {
        self.live = Live::from_settlement(&self.kept.settlement);
    }

    /// Static members whom the log has under another name than they go by.
    pub(super) fn renamed(&self) -> Vec<(MemberId, Arc<Member>)> {
        let name_of = |instance: &InstanceId| self.live.instances.get(instance);
        let kept = self.kept.settlement.members.values().map(|s| &s.member);
        let statics = kept.filter_map(|m| Some((&m.id, name_of(m.instance.as_ref()?)?)));
        let moved = statics.filter(|(old, new)| old != new);
        let seats = &self.live.seats;
        moved
            .filter_map(|(old, new)| Some((old.clone(), seats.get(new)?.member.clone())))
            .collect()
    }

    pub(super) fn apply_durable(&mut self, change: &Durable) {
        match change {
            Durable::Created { at } => self.kept.created = Some(*at),
            Durable::Begun { generation } => {
                self.kept.begun = self.kept.begun.max(*generation);
            }
            Durable::Settled(settlement) => {
                self.kept.begun = self.kept.begun.max(settlement.generation);
                self.kept.settlement = settlement.clone();
                self.live.settle(settlement);
            }
            Durable::Replaced { old, member } => {
                self.kept.replace(old, member);
                self.swap(old, member);
            }
            Durable::Deleted => *self = Self::default(),
            Durable::OffsetsCommitted(_)
            | Durable::OffsetsDeleted(_)
            | Durable::TopicForgotten(_) => {}
        }
    }

    pub(super) fn apply_volatile(&mut self, change: &Volatile) {
        match change {
            Volatile::Pended { member, until } => {
                self.live.pending.insert(member.clone(), *until);
                self.live.sessions.insert((*until, member.clone()));
            }
            Volatile::PendingDropped { member } => self.drop_pending(member),
            Volatile::Parked { .. } => self.park(change),
            Volatile::Left { member } => self.leave(member),
            Volatile::Swapped { old, member } => self.swap(old, member),
            Volatile::Beaten { member, until } => self.live.expire_at(member, Some(*until)),
            Volatile::Prepared { until, initial, at } => {
                self.live.cancel_syncs(*at);
                let (until, initial) = (*until, *initial);
                self.live.phase = Phase::Preparing { until, initial };
            }
            Volatile::Extended { until, left_ms } => self.live.extend(*until, *left_ms),
            Volatile::Gathered { .. } => self.gather(change),
            Volatile::SyncParked { member, waiter } => {
                self.live.unsynced.remove(member);
                if let Some(seat) = self.live.seats.get_mut(member) {
                    seat.sync = Some(*waiter);
                    self.live.expire_at(member, None);
                }
            }
            Volatile::SyncSeen { member } => {
                self.live.unsynced.remove(member);
            }
            Volatile::Rebased { at } => self.live.rebase(*at),
            Volatile::Swept { .. } => {}
        }
    }

    fn drop_pending(&mut self, id: &MemberId) {
        if let Some(until) = self.live.pending.remove(id) {
            self.live.sessions.remove(&(until, id.clone()));
        }
    }

    fn park(&mut self, change: &Volatile) {
        let Volatile::Parked {
            member,
            protocol_type,
            waiter,
            until,
        } = change
        else {
            return;
        };
        self.drop_pending(&member.id);
        let live = &mut self.live;
        if live.seats.is_empty() {
            live.protocol_type = Some(protocol_type.clone());
        }
        let old = live.unseat(&member.id);
        if old.is_none()
            && let Phase::Preparing { initial, .. } = &mut live.phase
            && let Some(initial) = initial
        {
            initial.more = true;
        }
        let fresh = old.as_ref().is_none_or(|s| s.fresh);
        let expires = match &old {
            Some(seat) if fresh => seat.expires,
            Some(_) => None,
            None => Some(*until),
        };
        live.leader.get_or_insert_with(|| member.id.clone());
        let seat = live.seat(member.clone());
        seat.join = Some(*waiter);
        seat.fresh = fresh;
        if let Some(old) = old {
            (seat.assignment, seat.sync) = (old.assignment, old.sync);
        }
        live.joining += 1;
        live.expire_at(&member.id, expires);
    }

    fn leave(&mut self, id: &MemberId) {
        let live = &mut self.live;
        live.unseat(id);
        live.unsynced.remove(id);
        if live.leader.as_ref() == Some(id) {
            live.leader = live.seats.keys().next().cloned();
        }
    }

    /// Gives a static member's seat to the name it came back under.
    fn swap(&mut self, old: &MemberId, member: &Arc<Member>) {
        let live = &mut self.live;
        let Some(seat) = live.unseat(old) else {
            return;
        };
        live.seat(member.clone()).assignment = seat.assignment;
        live.rebase_due = true;
        if live.unsynced.remove(old) {
            live.unsynced.insert(member.id.clone());
        }
        if live.leader.as_ref() == Some(old) {
            live.leader = Some(member.id.clone());
        }
    }

    fn gather(&mut self, change: &Volatile) {
        let Volatile::Gathered {
            generation,
            protocol,
            leader,
            sync_by,
            at,
        } = change
        else {
            return;
        };
        let live = &mut self.live;
        live.phase = Phase::Completing;
        live.generation = *generation;
        live.protocol = Some(protocol.clone());
        live.leader = Some(leader.clone());
        live.sync_by = *sync_by;
        live.unsynced = live.seats.keys().cloned().collect();
        live.joining = 0;
        live.restart_sessions();
        live.rebase(*at);
    }
}

impl Kept {
    fn replace(&mut self, old: &MemberId, member: &Arc<Member>) {
        let settlement = Arc::make_mut(&mut self.settlement);
        let Some(settled) = settlement.members.remove(old) else {
            return;
        };
        let assignment = settled.assignment;
        let member = member.clone();
        let id = member.id.clone();
        if settlement.leader.as_ref() == Some(old) {
            settlement.leader = Some(id.clone());
        }
        let settled = Settled { member, assignment };
        settlement.members.insert(id, settled);
    }
}

impl Live {
    /// Nobody waits for a share any more: the members must join again.
    fn cancel_syncs(&mut self, at: Elapsed) {
        let completing = self.phase == Phase::Completing;
        for seat in self.seats.values_mut() {
            seat.sync = None;
            if completing {
                seat.assignment = Bytes::new();
            }
        }
        self.unsynced.clear();
        self.rebase(at);
    }

    fn extend(&mut self, to: Elapsed, left_ms: u32) {
        if let Phase::Preparing { until, initial } = &mut self.phase {
            *until = to;
            *initial = initial.map(|_| super::change::Initial {
                left_ms,
                more: false,
            });
        }
    }

    fn restart_sessions(&mut self) {
        for (id, seat) in &mut self.seats {
            (seat.join, seat.fresh) = (None, false);
            if let Some(expires) = seat.expires.take() {
                self.sessions.remove(&(expires, id.clone()));
            }
        }
    }
}
