//! What happens by itself: sessions that end, waits that are over, offsets that have had their time.
//!
//! One tick does a bounded part and asks for another turn.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Bound;

use mulgil_record::ids::TopicId;

use super::change::{Durable, Volatile};
use super::command::Subscribed;
use super::draft::Draft;
use super::effect::Effect;
use super::live::{Live, Phase};
use super::names::MemberId;
use super::offsets::{OffsetKey, Offsets};
use super::rebalance::{complete_if_all_joined, look_later, prepare, time_is_up};
use super::refusal::GroupRefusal;
use super::sync::remove;
use crate::machine::{Elapsed, WallTime};

/// Most sessions that one tick ends.
const SESSIONS_A_TURN: usize = 1_024;

/// Most offsets that one tick looks at.
const OFFSETS_A_TURN: usize = 4_096;

pub(super) fn tick(draft: &mut Draft<'_>, offsets: &Offsets) {
    if draft.before.live.rebase_due {
        let at = draft.now.elapsed;
        draft.volatile(Volatile::Rebased { at });
    }
    end_sessions(draft);
    end_waits(draft);
    look_over_offsets(draft, offsets);
}

fn end_sessions(draft: &mut Draft<'_>) {
    let now = draft.now.elapsed;
    let live = &draft.before.live;
    let ended = live.sessions.iter().take_while(|(until, _)| *until <= now);
    let due: Vec<MemberId> = ended
        .map(|(_, id)| id.clone())
        .take(SESSIONS_A_TURN)
        .collect();
    if due.is_empty() {
        return;
    }
    if due.len() == SESSIONS_A_TURN {
        draft.again();
    }
    let mut lost = false;
    for member in due {
        match live.seats.get(&member) {
            Some(seat) => {
                lost = true;
                remove(draft, member, seat.join, seat.sync);
            }
            None => draft.volatile(Volatile::PendingDropped { member }),
        }
    }
    match live.phase {
        Phase::Stable | Phase::Completing if lost => prepare(draft),
        Phase::Stable | Phase::Completing | Phase::Empty => {}
        Phase::Preparing { .. } => complete_if_all_joined(draft),
    }
}

fn end_waits(draft: &mut Draft<'_>) {
    let now = draft.now.elapsed;
    match draft.after().phase {
        Phase::Preparing { until, .. } if until <= now => time_is_up(draft),
        Phase::Completing | Phase::Stable => drop_unsynced(draft, now),
        Phase::Preparing { .. } | Phase::Empty => {}
    }
}

/// Members that never fetched their share are taken for dead.
fn drop_unsynced(draft: &mut Draft<'_>, now: Elapsed) {
    let live = draft.after();
    if live.sync_by > now || live.unsynced.is_empty() {
        return;
    }
    let unsynced: Vec<MemberId> = live.unsynced.iter().cloned().collect();
    for member in unsynced {
        draft.volatile(Volatile::Left { member });
    }
    prepare(draft);
}

/// When the group next wants a tick for its members.
pub(super) fn deadline(live: &Live) -> Option<Elapsed> {
    if live.rebase_due {
        return Some(Elapsed(0));
    }
    let wait = match live.phase {
        Phase::Preparing { until, .. } => Some(until),
        Phase::Completing | Phase::Stable if !live.unsynced.is_empty() => Some(live.sync_by),
        Phase::Completing | Phase::Stable | Phase::Empty => None,
    };
    let session = live.sessions.first().map(|(until, _)| *until);
    [wait, session].into_iter().flatten().min()
}

/// Gives up the offsets of an empty group once their time is over, and then the group (KIP-211).
///
/// A group that never had members ages by each commit. One that lost its members ages from then on;
/// unlike in Kafka, an offset that an operator commits later still has its full time.
fn look_over_offsets(draft: &mut Draft<'_>, offsets: &Offsets) {
    let now = draft.now.wall;
    let Some(since) = draft.before.empty_since() else {
        return;
    };
    // A change in this decision may have brought members.
    if offsets.next_check > now || draft.after().phase != Phase::Empty {
        return;
    }
    let simple = draft.before.live.protocol_type.is_none();
    let base = if simple { WallTime(0) } else { since };
    let last = sweep(draft, offsets, base, None);
    if let Some(from) = last {
        let (next, from) = (offsets.next_check, Some(from));
        draft.volatile(Volatile::Swept { next, from });
        return draft.again();
    }
    look_later(draft);
    let waited = since.plus_ms(draft.settings.expiry_check_ms) <= now;
    if offsets.kept.is_empty() && draft.after().pending.is_empty() && waited {
        draft.waited(Durable::Deleted);
        draft.effect(Effect::Deleted);
    }
}

/// Gives up what has expired in one turn's worth of offsets. Returns where to go on, if that was not all.
fn sweep(
    draft: &mut Draft<'_>,
    offsets: &Offsets,
    since: WallTime,
    keep: Option<&BTreeSet<TopicId>>,
) -> Option<OffsetKey> {
    let (now, retention_ms) = (draft.now.wall, draft.settings.offsets_retention_ms);
    let start = offsets.from.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = offsets.kept.range((start, Bound::Unbounded));
    let mut expired = Vec::new();
    let mut last = None;
    for (key, committed) in rest.by_ref().take(OFFSETS_A_TURN) {
        last = Some(*key);
        let read = keep.is_some_and(|topics| topics.contains(&key.topic));
        if !read && committed.is_expired(since, retention_ms, now) {
            expired.push(*key);
        }
    }
    let more = rest.next().is_some();
    if !expired.is_empty() {
        draft.riding(Durable::OffsetsDeleted(expired));
    }
    last.filter(|_| more)
}

/// Gives up old offsets of topics that a stable group does not read (KIP-211, second rule), one turn's
/// worth of them: who knows what the members read asks again while there are more.
pub(super) fn expire_unread(
    draft: &mut Draft<'_>,
    offsets: &Offsets,
    subscribed: Subscribed,
) -> Result<(), GroupRefusal> {
    let live = &draft.before.live;
    let (got, current) = (subscribed.generation, live.generation);
    if got != current {
        return Err(GroupRefusal::IllegalGeneration { got, current });
    }
    if live.phase != Phase::Stable {
        return Err(GroupRefusal::RebalanceInProgress);
    }
    let keep = subscribed.topics.into_iter().collect();
    let from = sweep(draft, offsets, WallTime(0), Some(&keep));
    let next = offsets.next_check;
    draft.volatile(Volatile::Swept { next, from });
    let more = from.is_some();
    draft.effect(Effect::UnreadExpired { more });
    Ok(())
}
