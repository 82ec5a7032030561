//! Joining: new members, static members that come back, members that join again.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::change::{Durable, Volatile};
use super::command::Join;
use super::draft::{Draft, all_members, joined};
use super::effect::Effect;
use super::held::PROTOCOL_TYPE_BYTES_MAX;
use super::live::{Live, Phase, Seat};
use super::member::{Member, Offered, offer_once, said_bytes};
use super::names::{InstanceId, MemberId};
use super::rebalance::{complete_if_all_joined, prepare, prepare_or_complete};
use super::refusal::GroupRefusal;

pub(super) fn join(draft: &mut Draft<'_>, mut join: Join) -> Result<(), GroupRefusal> {
    let settings = draft.settings;
    let (min_ms, max_ms) = (
        settings.session_timeout_min_ms,
        settings.session_timeout_max_ms,
    );
    let asked_ms = join.session_timeout_ms;
    if !(min_ms..=max_ms).contains(&asked_ms) {
        return Err(GroupRefusal::SessionTimeout {
            asked_ms,
            min_ms,
            max_ms,
        });
    }
    let before = draft.before;
    if !before.exists() && join.member.is_some() {
        return Err(GroupRefusal::NoSuchGroup);
    }
    if !has_room(&before.live, join.member.as_ref(), settings.members_max) {
        return turn_away(draft, &join);
    }
    check_size(draft, &join)?;
    offer_once(&mut join.offered);
    let names = join.offered.iter().map(|o| &*o.name);
    if !before.live.supports(&join.protocol_type, names) {
        return Err(GroupRefusal::InconsistentProtocol);
    }
    if !before.exists() {
        draft.create()?;
    }
    match join.member.clone() {
        Some(member) => returning(draft, member, join),
        None => newcomer(draft, join),
    }
}

/// Whether one more may join. As Kafka's `acceptJoiningMember`: while a rebalance gathers, those who
/// wait are counted, so that a group which is over a lowered limit loses its latest members.
fn has_room(live: &Live, member: Option<&MemberId>, members_max: usize) -> bool {
    let seat = member.and_then(|m| live.seats.get(m));
    if seat.is_none() && member.is_none() && live.pending.len() >= members_max {
        return false;
    }
    match live.phase {
        Phase::Empty => true,
        Phase::Preparing { .. } => {
            seat.is_some_and(|s| s.join.is_some()) || live.joining < members_max
        }
        Phase::Completing | Phase::Stable => seat.is_some() || live.seats.len() < members_max,
    }
}

/// Bounds what a member says of itself, and what all of them say.
fn check_size(draft: &Draft<'_>, join: &Join) -> Result<(), GroupRefusal> {
    let (bytes, max) = (join.protocol_type.len(), PROTOCOL_TYPE_BYTES_MAX);
    if bytes > max {
        return Err(GroupRefusal::TooLarge { bytes, max });
    }
    let live = &draft.before.live;
    let id = join.member.as_ref().unwrap_or(&join.new_member);
    let bytes = said_bytes(id, join.instance.as_ref(), &join.client_id, &join.offered);
    let max = draft.settings.member_bytes_max;
    if bytes > max {
        return Err(GroupRefusal::TooLarge { bytes, max });
    }
    // It takes its own place: as a member, or as a static one that comes back under another name.
    let instance = join.instance.as_ref().and_then(|i| live.instances.get(i));
    let place = join.member.as_ref().or(instance);
    let before = place.and_then(|id| live.seats.get(id));
    let all = live.bytes - before.map_or(0, |seat| seat.member.bytes()) + bytes;
    let max = draft.settings.group_bytes_max;
    if all > max {
        return Err(GroupRefusal::TooLarge { bytes: all, max });
    }
    Ok(())
}

/// Refuses one for whom there is no room; if it is a member, it is one no longer.
fn turn_away(draft: &mut Draft<'_>, join: &Join) -> Result<(), GroupRefusal> {
    let max = draft.settings.members_max;
    let live = &draft.before.live;
    let known = join.member.as_ref().filter(|m| live.seats.contains_key(*m));
    let Some(member) = known.cloned() else {
        return Err(GroupRefusal::Full { max });
    };
    draft.volatile(Volatile::Left { member });
    draft.refuse(join.waiter, GroupRefusal::Full { max });
    complete_if_all_joined(draft);
    Ok(())
}

fn newcomer(draft: &mut Draft<'_>, join: Join) -> Result<(), GroupRefusal> {
    let live = &draft.before.live;
    let id = join.new_member.clone();
    if let Some(instance) = &join.instance {
        return match live.instances.get(instance) {
            Some(old) => replace_static(draft, old.clone(), join),
            None => {
                add(draft, id, join);
                Ok(())
            }
        };
    }
    if join.require_known_member {
        let until = draft.now.elapsed.plus_ms(join.session_timeout_ms);
        let (waiter, member) = (join.waiter, id.clone());
        draft.volatile(Volatile::Pended { member: id, until });
        draft.effect(Effect::Named { waiter, member });
    } else {
        add(draft, id, join);
    }
    Ok(())
}

fn returning(draft: &mut Draft<'_>, id: MemberId, join: Join) -> Result<(), GroupRefusal> {
    let live = &draft.before.live;
    if live.pending.contains_key(&id) && join.instance.is_none() {
        add(draft, id, join);
        return Ok(());
    }
    let seat = live.check_member(&id, join.instance.as_ref())?;
    let leads = live.leader.as_ref() == Some(&id);
    let same = seat.member.offered == join.offered;
    let changes = match live.phase {
        Phase::Preparing { .. } => {
            park(draft, id, join);
            return Ok(());
        }
        // The answer may have got lost.
        Phase::Completing => !same,
        // The leader joins to ask for a rebalance, for reasons of its own.
        Phase::Stable => leads || !same,
        Phase::Empty => return Err(GroupRefusal::UnknownMember),
    };
    if changes {
        park(draft, id, join);
        prepare(draft);
    } else {
        draft.answer_join(join.waiter, &id);
    }
    Ok(())
}

/// Adds a new member, and has all join again.
fn add(draft: &mut Draft<'_>, id: MemberId, join: Join) {
    let gathering = matches!(draft.before.live.phase, Phase::Preparing { .. });
    park(draft, id, join);
    if !gathering {
        prepare(draft);
    }
}

/// Lets a member wait for the next generation, which begins if it was the last one missing.
fn park(draft: &mut Draft<'_>, id: MemberId, join: Join) {
    let live = &draft.before.live;
    let seat = live.seats.get(&id);
    let waited = seat.and_then(|s| s.join);
    // Told from what was before, so that the roster is copied once a rebalance and not once a member.
    let gathering = matches!(live.phase, Phase::Preparing { initial: None, .. });
    let joining = live.joining + usize::from(waited.is_none());
    let members = live.seats.len() + usize::from(seat.is_none());
    let expected = live.pending.len() - usize::from(live.pending.contains_key(&id));
    if let Some(waiter) = waited {
        let member = id.clone();
        draft.refuse(waiter, GroupRefusal::Superseded { member });
    }
    push_parked(draft, id, join);
    if gathering && joining == members && expected == 0 {
        complete_if_all_joined(draft);
    }
}

fn push_parked(draft: &mut Draft<'_>, id: MemberId, join: Join) {
    let until = draft
        .now
        .elapsed
        .plus_ms(draft.settings.new_member_timeout_ms);
    draft.volatile(Volatile::Parked {
        protocol_type: join.protocol_type.clone(),
        waiter: join.waiter,
        member: Arc::new(describe(id, join)),
        until,
    });
}

/// A static member came back without knowing its name: it takes the place of who it was.
fn replace_static(draft: &mut Draft<'_>, old: MemberId, join: Join) -> Result<(), GroupRefusal> {
    let live = &draft.before.live;
    let instance = join.instance.clone();
    let seat = live.check_member(&old, instance.as_ref())?;
    fence(draft, seat, instance);
    let id = join.new_member.clone();
    let member = Arc::new(describe(id.clone(), join.clone()));
    draft.volatile(Volatile::Swapped {
        old: old.clone(),
        member: member.clone(),
    });
    if live.phase != Phase::Stable || protocol_changes(draft, seat, &member) {
        push_parked(draft, id, join);
        // In the midst of completing, the leader assigns to the old name: all must join again.
        prepare_or_complete(draft);
        return Ok(());
    }
    draft.waited(Durable::Replaced { old, member });
    let at = draft.now.elapsed;
    draft.volatile(Volatile::Rebased { at });
    answer_replaced(draft, &join);
    Ok(())
}

/// Whoever waits under the old name of a static member is told that another has taken over.
fn fence(draft: &mut Draft<'_>, seat: &Seat, instance: Option<InstanceId>) {
    let Some(instance) = instance else {
        return;
    };
    for waiter in [seat.join, seat.sync].into_iter().flatten() {
        let instance = instance.clone();
        draft.refuse(waiter, GroupRefusal::FencedInstance { instance });
    }
}

/// Whether a static member that came back changes the way of assigning, and so needs a rebalance.
fn protocol_changes(draft: &mut Draft<'_>, seat: &Seat, member: &Member) -> bool {
    let names = |m: &Member| m.offered.iter().map(|o| o.name.clone()).collect::<Vec<_>>();
    if names(&seat.member) == names(member) {
        return false;
    }
    // With a seat that now offers other things.
    let live = draft.after();
    live.choose_protocol() != live.protocol
}

/// A leader that came back keeps the assignment that stands. One whose protocol cannot say so is
/// told of its old name as the leader's, so that it does not assign (KIP-814).
fn answer_replaced(draft: &mut Draft<'_>, join: &Join) {
    let old_leader = draft.before.live.leader.clone();
    let live = draft.after();
    let id = &join.new_member;
    let leads = live.leader.as_ref() == Some(id);
    let tell = leads && join.can_skip_assignment;
    let members = if tell { all_members(live) } else { Vec::new() };
    let mut answer = joined(live, join.waiter, id, members);
    answer.skip_assignment = tell;
    if !join.can_skip_assignment {
        answer.leader = old_leader;
    }
    draft.effect(Effect::Joined(Box::new(answer)));
}

/// The member as it describes itself. Its bytes are copied, for they may be a small part of a large
/// read buffer, which they would keep alive as long as the member stays.
fn describe(id: MemberId, join: Join) -> Member {
    let offers = join.offered.into_iter().map(|o| Offered {
        name: o.name,
        metadata: Bytes::copy_from_slice(&o.metadata),
    });
    Member {
        id,
        instance: join.instance,
        client_id: join.client_id,
        client_host: join.client_host,
        session_timeout_ms: join.session_timeout_ms,
        rebalance_timeout_ms: join.rebalance_timeout_ms,
        offered: offers.collect(),
    }
}
