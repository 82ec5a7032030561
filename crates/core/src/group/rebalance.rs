//! How a rebalance begins and how its first half, the gathering of members, completes.
//!
//! ```text
//! empty --first member--> preparing --delay over----------------> completing --leader's sync--> stable
//!   ^                        |   ^                                    |                           |
//!   `------nobody left-------'   `--member came, left, changed or fell silent---------------------'
//! ```
//!
//! The rules are those of Kafka's `GroupMetadataManager` for classic groups, with its names for states.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::change::{Durable, Initial, Volatile};
use super::draft::Draft;
use super::live::{Live, Phase};
use super::member::Settlement;
use super::names::{MemberId, Waiter};
use super::refusal::GroupRefusal;

/// Asks all members to join again.
pub(super) fn prepare(draft: &mut Draft<'_>) {
    let at = draft.now.elapsed;
    let delay_ms = draft.settings.initial_delay_ms;
    let live = draft.after();
    let from_empty = live.phase == Phase::Empty;
    let longest_ms = live.rebalance_timeout_ms();
    let waiting: Vec<Waiter> = live.seats.values().filter_map(|s| s.sync).collect();
    for waiter in waiting {
        draft.refuse(waiter, GroupRefusal::RebalanceInProgress);
    }
    let wait_ms = if from_empty { delay_ms } else { longest_ms };
    let left_ms = longest_ms.saturating_sub(delay_ms);
    let more = false;
    draft.volatile(Volatile::Prepared {
        until: at.plus_ms(wait_ms),
        initial: from_empty.then_some(Initial { left_ms, more }),
        at,
    });
    if from_empty && delay_ms == 0 {
        complete(draft);
    } else {
        complete_if_all_joined(draft);
    }
}

/// Completes the gathering if all members have joined, and nobody else is expected.
pub(super) fn complete_if_all_joined(draft: &mut Draft<'_>) {
    let live = draft.after();
    let gathering = matches!(live.phase, Phase::Preparing { initial: None, .. });
    if gathering && live.all_joined() {
        complete(draft);
    }
}

/// Begins a rebalance, or lets the one under way see whether it can complete.
pub(super) fn prepare_or_complete(draft: &mut Draft<'_>) {
    match draft.after().phase {
        Phase::Preparing { .. } => complete_if_all_joined(draft),
        Phase::Empty | Phase::Completing | Phase::Stable => prepare(draft),
    }
}

/// The time to join is over.
pub(super) fn time_is_up(draft: &mut Draft<'_>) {
    let delay_ms = draft.settings.initial_delay_ms;
    let Phase::Preparing { initial, .. } = draft.after().phase else {
        return;
    };
    match initial {
        Some(Initial { left_ms, more }) if more && left_ms > 0 => {
            let wait_ms = delay_ms.min(left_ms);
            draft.volatile(Volatile::Extended {
                until: draft.now.elapsed.plus_ms(wait_ms),
                left_ms: left_ms - wait_ms,
            });
        }
        Some(_) | None => complete(draft),
    }
}

/// Begins the next generation with those who have joined.
///
/// Dynamic members who have not are dropped. Static ones keep their place, since they may come back
/// within their session (KIP-345); if nobody at all has joined, the wait goes on.
fn complete(draft: &mut Draft<'_>) {
    for member in absent_dynamic_members(draft.after()) {
        draft.volatile(Volatile::Left { member });
    }
    let at = draft.now.elapsed;
    let live = draft.after();
    if live.seats.is_empty() {
        return become_empty(draft);
    }
    let wait = at.plus_ms(live.rebalance_timeout_ms());
    let (Some(leader), Some(protocol)) = (live.joined_leader(), live.choose_protocol()) else {
        let left_ms = 0;
        return draft.volatile(Volatile::Extended {
            until: wait,
            left_ms,
        });
    };
    let joined: Vec<(MemberId, Waiter)> = live
        .seats
        .iter()
        .filter_map(|(id, seat)| Some((id.clone(), seat.join?)))
        .collect();
    let roster = draft.roster();
    let generation = roster.kept.begun.next();
    // The new name of a static member goes out with the answers below; a restart that knew only the
    // old one would fence the member.
    for (old, member) in roster.renamed() {
        draft.waited(Durable::Replaced { old, member });
    }
    draft.waited(Durable::Begun { generation });
    draft.volatile(Volatile::Gathered {
        generation,
        protocol,
        leader,
        sync_by: wait,
        at,
    });
    for (member, waiter) in joined {
        draft.answer_join(waiter, &member);
    }
}

fn absent_dynamic_members(live: &Live) -> Vec<MemberId> {
    let seats = live.seats.iter();
    let absent = seats.filter(|(_, s)| s.join.is_none() && s.member.instance.is_none());
    absent.map(|(id, _)| id.clone()).collect()
}

/// The last member is gone: offsets begin to age.
fn become_empty(draft: &mut Draft<'_>) {
    let wall = draft.now.wall;
    let roster = draft.roster();
    let settlement = Settlement {
        generation: roster.kept.begun.next(),
        protocol_type: roster.live.protocol_type.clone(),
        at: wall,
        ..Settlement::default()
    };
    draft.waited(Durable::Settled(Arc::new(settlement)));
    look_later(draft);
}

/// Puts the next look for expired offsets one interval off.
pub(super) fn look_later(draft: &mut Draft<'_>) {
    let next = draft.now.wall.plus_ms(draft.settings.expiry_check_ms);
    let from = None;
    draft.volatile(Volatile::Swept { next, from });
}
