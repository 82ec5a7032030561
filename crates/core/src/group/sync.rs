//! After joining: fetching the assignment, giving signs of life, leaving.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::change::{Durable, Volatile};
use super::command::{Claim, Leaving, Sync};
use super::draft::Draft;
use super::effect::Effect;
use super::live::{Live, Phase, Seat};
use super::member::{Settled, Settlement};
use super::names::{MemberId, Waiter};
use super::rebalance::{complete_if_all_joined, prepare};
use super::refusal::GroupRefusal;

/// Checks who speaks and of which generation.
fn check_claim<'a>(live: &'a Live, claim: &Claim) -> Result<&'a Seat, GroupRefusal> {
    let seat = live.check_member(&claim.member, claim.instance.as_ref())?;
    let (got, current) = (claim.generation, live.generation);
    if got != current {
        return Err(GroupRefusal::IllegalGeneration { got, current });
    }
    Ok(seat)
}

pub(super) fn sync(draft: &mut Draft<'_>, sync: Sync) -> Result<(), GroupRefusal> {
    let live = &draft.before.live;
    let seat = check_claim(live, &sync.claim)?;
    let differs =
        |said: &Option<Arc<str>>, holds: &Option<Arc<str>>| said.is_some() && said != holds;
    if differs(&sync.protocol_type, &live.protocol_type) || differs(&sync.protocol, &live.protocol)
    {
        return Err(GroupRefusal::InconsistentProtocol);
    }
    let member = sync.claim.member.clone();
    match live.phase {
        Phase::Empty => return Err(GroupRefusal::UnknownMember),
        Phase::Preparing { .. } => return Err(GroupRefusal::RebalanceInProgress),
        Phase::Completing => {
            let leads = live.leader.as_ref() == Some(&member);
            let bytes = sync.assignments.iter().map(|(_, share)| share.len());
            let (bytes, max) = (bytes.sum(), draft.settings.group_bytes_max);
            if leads && bytes > max {
                return Err(GroupRefusal::TooLarge { bytes, max });
            }
            if let Some(waiter) = seat.sync {
                let member = member.clone();
                draft.refuse(waiter, GroupRefusal::Superseded { member });
            }
            if leads {
                settle(draft, sync);
            } else {
                let waiter = sync.waiter;
                draft.volatile(Volatile::SyncParked { member, waiter });
            }
        }
        Phase::Stable => {
            if live.unsynced.contains(&member) {
                draft.volatile(Volatile::SyncSeen { member });
            }
            answer(draft, live, sync.waiter, seat.assignment.clone());
        }
    }
    Ok(())
}

fn answer(draft: &mut Draft<'_>, live: &Live, waiter: Waiter, assignment: Bytes) {
    draft.effect(Effect::Synced {
        waiter,
        protocol_type: live.protocol_type.clone(),
        protocol: live.protocol.clone(),
        assignment,
    });
}

/// The leader has assigned: the rebalance is finished, for the log too.
fn settle(draft: &mut Draft<'_>, sync: Sync) {
    let live = &draft.before.live;
    let mut shares: BTreeMap<MemberId, Bytes> = sync.assignments.into_iter().collect();
    let leader = sync.claim.member;
    let mut members = BTreeMap::new();
    for (id, seat) in &live.seats {
        let share = shares.remove(id).unwrap_or_default();
        // Copied, so that no large read buffer stays alive for it.
        let assignment = Bytes::copy_from_slice(&share);
        let waiter = if *id == leader {
            Some(sync.waiter)
        } else {
            seat.sync
        };
        if let Some(waiter) = waiter {
            answer(draft, live, waiter, assignment.clone());
        }
        let member = seat.member.clone();
        members.insert(id.clone(), Settled { member, assignment });
    }
    let settlement = Settlement {
        generation: live.generation,
        protocol_type: live.protocol_type.clone(),
        protocol: live.protocol.clone(),
        leader: Some(leader.clone()),
        members,
        at: draft.now.wall,
    };
    draft.volatile(Volatile::SyncSeen { member: leader });
    draft.waited(Durable::Settled(Arc::new(settlement)));
    let at = draft.now.elapsed;
    draft.volatile(Volatile::Rebased { at });
}

pub(super) fn heartbeat(draft: &mut Draft<'_>, claim: Claim) -> Result<(), GroupRefusal> {
    let live = &draft.before.live;
    let seat = check_claim(live, &claim)?;
    if live.phase == Phase::Empty {
        return Err(GroupRefusal::UnknownMember);
    }
    beat(draft, claim.member, seat);
    let rebalancing = matches!(live.phase, Phase::Preparing { .. });
    draft.effect(Effect::Alive { rebalancing });
    Ok(())
}

/// Begins a member's session anew, unless it waits: then it needs none.
pub(super) fn beat(draft: &mut Draft<'_>, member: MemberId, seat: &Seat) {
    if seat.join.is_none() && seat.sync.is_none() {
        let timeout_ms = seat.member.session_timeout_ms;
        let until = draft.now.elapsed.plus_ms(timeout_ms);
        draft.volatile(Volatile::Beaten { member, until });
    }
}

pub(super) fn leave(draft: &mut Draft<'_>, leaving: Vec<Leaving>) {
    let mut results = Vec::with_capacity(leaving.len());
    let (mut seats, mut joined, mut pending) = (0, 0, 0);
    for one in leaving {
        let live = draft.after();
        let result = match find_leaving(live, &one) {
            Ok(Found::Seat(id, join, sync)) => {
                seats += 1;
                joined += usize::from(join.is_some());
                remove(draft, id, join, sync);
                Ok(())
            }
            Ok(Found::Pending(member)) => {
                pending += 1;
                draft.volatile(Volatile::PendingDropped { member });
                Ok(())
            }
            Err(why) => Err(why),
        };
        results.push(result);
    }
    draft.effect(Effect::Left(results));
    let live = &draft.before.live;
    match live.phase {
        Phase::Stable | Phase::Completing if seats > 0 => prepare(draft),
        // Told from what was before, so that members who leave one by one copy no roster each.
        Phase::Preparing { .. }
            if live.joining - joined == live.seats.len() - seats
                && live.pending.len() == pending =>
        {
            complete_if_all_joined(draft);
        }
        Phase::Empty | Phase::Preparing { .. } | Phase::Stable | Phase::Completing => {}
    }
}

enum Found {
    Seat(MemberId, Option<Waiter>, Option<Waiter>),
    Pending(MemberId),
}

/// An operator names a static member by its instance alone (KIP-345).
fn find_leaving(live: &Live, leaving: &Leaving) -> Result<Found, GroupRefusal> {
    let instance = leaving.instance.as_ref();
    let id = match &leaving.member {
        Some(member) => member,
        None => instance
            .and_then(|i| live.instances.get(i))
            .ok_or(GroupRefusal::UnknownMember)?,
    };
    if live.pending.contains_key(id) {
        return Ok(Found::Pending(id.clone()));
    }
    let seat = live.check_member(id, instance)?;
    Ok(Found::Seat(id.clone(), seat.join, seat.sync))
}

/// Takes a member out; whatever it waits for, it is told that it is unknown, so that it joins anew
/// if it still lives.
pub(super) fn remove(
    draft: &mut Draft<'_>,
    member: MemberId,
    join: Option<Waiter>,
    sync: Option<Waiter>,
) {
    for waiter in [join, sync].into_iter().flatten() {
        draft.refuse(waiter, GroupRefusal::UnknownMember);
    }
    draft.volatile(Volatile::Left { member });
}
