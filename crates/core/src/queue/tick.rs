//! What happens by itself: locks run out, consumers' leavings come back, schedules come due, the
//! dead-letter target is asked, and records are handed out.
//!
//! A turn does one of these, and a bounded part of it; then it asks for another.

use super::State;
use super::acquire;
use super::change::{Durable, Volatile};
use super::draft::Draft;
use super::effect::{Death, Effect};
use super::names::{ConsumerId, Reason};
use super::retry;
use super::settings::Settings;
use super::span::Span;
use crate::machine::{Elapsed, Keep, WallTime};
use mulgil_record::ids::Offset;

/// Most records that one turn gives back, fires or condemns.
const RECORDS_A_TURN: usize = 1_024;
/// Most records that the shell reads for the dead-letter target at one time: with bodies of a MiB, as
/// much as it can hold.
const ASKED_MAX: u64 = 64;
/// So many records may wait for the dead-letter target before others that have expired do: some MiB.
const CONDEMNED_MAX: usize = 16_384;
/// Most grants that end in one turn for want of records.
const GRANTS_A_TURN: usize = 256;

/// Does what is due.
pub(super) fn tick(state: &State, settings: &Settings, draft: &mut Draft<'_>) {
    let busy = lapse(state, settings, draft)
        || leavings(state, settings, draft)
        || fire(state, draft)
        || expire(state, settings, draft)
        || reap(state, settings, draft)
        || archive(state, settings, draft)
        || search(state, draft);
    if busy {
        draft.again();
        return;
    }
    if acquire::dispatch(state, settings, draft) {
        end_waits(state, draft);
    }
}

/// Keys that are free, and behind whose settled records somebody may wait.
fn search(state: &State, draft: &mut Draft<'_>) -> bool {
    let any = state.searches_keys();
    if any {
        draft.volatile(Volatile::Searched);
    }
    any
}

/// When there is something to do by running time.
pub(super) fn deadline(state: &State, settings: &Settings) -> Option<Elapsed> {
    let live = &state.live;
    let hungry = if settings.paused {
        false
    } else if settings.single_active {
        let active = live.consumers.active();
        active.is_some_and(|active| active.credit > 0)
    } else {
        live.consumers.any_hungry()
    };
    let wanted = hungry && state.offered() > 0;
    let busy = wanted || may_reap(state, settings) || state.searches_keys();
    if busy || live.consumers.first_gone().is_some() {
        return Some(Elapsed(0));
    }
    let archiving = &live.archiving;
    let at_once = Elapsed(0);
    let paused = archiving.paused.filter(|_| settings.dead_letter);
    let archive = may_ask(state, settings).then(|| paused.unwrap_or(at_once));
    let waits = [live.locks.deadline(), live.consumers.deadline(), archive];
    waits.into_iter().flatten().min()
}

fn give_back(
    state: &State,
    settings: &Settings,
    draft: &mut Draft<'_>,
    offsets: &mut [i64],
    failed: bool,
) {
    offsets.sort_unstable();
    for &mut offset in offsets {
        let Some(lock) = state.live.locks.get(offset) else {
            continue;
        };
        let fate = retry::fate(settings, state, offset, failed, None, draft.now.wall);
        draft.come_back(Offset(offset), fate, lock.outlives, Keep::Riding);
    }
    draft.flush(Keep::Riding);
}

/// Locks that ran out.
fn lapse(state: &State, settings: &Settings, draft: &mut Draft<'_>) -> bool {
    let due = state.live.locks.due(draft.now.elapsed);
    let mut due: alloc::vec::Vec<i64> = due.take(RECORDS_A_TURN).map(|lock| lock.offset).collect();
    give_back(state, settings, draft, &mut due, true);
    !due.is_empty()
}

/// What consumers held that are gone.
fn leavings(state: &State, settings: &Settings, draft: &mut Draft<'_>) -> bool {
    let Some((consumer, failed)) = state.live.consumers.first_gone() else {
        return false;
    };
    let held = state.live.locks.of(consumer);
    let held = held.take(RECORDS_A_TURN + 1).map(|lock| lock.offset);
    let mut held: alloc::vec::Vec<i64> = held.collect();
    let all = held.len() <= RECORDS_A_TURN;
    held.truncate(RECORDS_A_TURN);
    give_back(state, settings, draft, &mut held, failed);
    if all {
        draft.volatile(Volatile::Forgotten { consumer });
    }
    true
}

/// Scheduled records that have come due.
fn fire(state: &State, draft: &mut Draft<'_>) -> bool {
    let until = draft.now.wall;
    let due = state
        .kept
        .schedule
        .first()
        .is_some_and(|first| first <= until);
    if due {
        let most = u32::try_from(RECORDS_A_TURN).unwrap_or(u32::MAX);
        draft.riding(Durable::Fired { until, most });
    }
    due
}

/// When there is something to do by the wall clock.
pub(super) fn date(state: &State, settings: &Settings) -> Option<WallTime> {
    let kept = &state.kept;
    let expiry = kept.expiry.first().map(|(ms, _)| WallTime(ms));
    let dates = [kept.schedule.first(), expiry, too_old(state, settings)];
    dates.into_iter().flatten().min()
}

/// When the oldest record that is not given up for its age will be too old.
fn too_old(state: &State, settings: &Settings) -> Option<WallTime> {
    let kept = &state.kept;
    let oldest = kept.aged.max(kept.start);
    let appended = kept.marks.not_after(oldest).filter(|_| oldest < kept.end)?;
    Some(appended.plus_ms(settings.ttl_ms?))
}

/// Records that have expired, or are too old.
fn expire(state: &State, settings: &Settings, draft: &mut Draft<'_>) -> bool {
    let until = draft.now.wall;
    let kept = &state.kept;
    if kept.expiry.first().is_some_and(|(ms, _)| ms <= until.0) {
        let most = u32::try_from(RECORDS_A_TURN).unwrap_or(u32::MAX);
        draft.riding(Durable::Expired { until, most });
        return true;
    }
    let (Some(at), Some(ttl_ms)) = (too_old(state, settings), settings.ttl_ms) else {
        return false;
    };
    let appended = WallTime(until.0.saturating_sub(ttl_ms));
    let to = kept.marks.older_than(appended, kept.end);
    let due = at <= until && to > kept.aged.max(kept.start);
    if due {
        draft.riding(Durable::Aged { to: Offset(to) });
    }
    due
}

/// Whether overdue records can be given up now: only so many wait for the dead-letter target.
fn may_reap(state: &State, settings: &Settings) -> bool {
    let room = !settings.dead_letter || state.kept.condemned.len() < CONDEMNED_MAX;
    room && !state.live.ripe.is_empty()
}

/// Gives overdue records up.
fn reap(state: &State, settings: &Settings, draft: &mut Draft<'_>) -> bool {
    if !may_reap(state, settings) {
        return false;
    }
    let mut room = RECORDS_A_TURN;
    for (first, end) in state.live.ripe.runs() {
        if room == 0 {
            break;
        }
        if settings.dead_letter {
            let end = end.min(first + i64::try_from(room).unwrap_or(i64::MAX));
            room -= usize::try_from(end - first).unwrap_or(room);
            give_up(settings, draft, Span::of(first, end), Reason::Expired);
        } else {
            // However long the stretch is, it is one change.
            room -= 1;
            give_up(settings, draft, Span::of(first, end), Reason::Expired);
        }
    }
    true
}

/// Records that nobody holds are given up.
pub(super) fn give_up(settings: &Settings, draft: &mut Draft<'_>, span: Span, reason: Reason) {
    if settings.dead_letter {
        draft.riding(Durable::Condemned {
            span,
            reason,
            at: draft.now.wall,
            failed: false,
            words: None,
        });
    } else {
        draft.riding(Durable::Archived {
            span,
            reason,
            moved: false,
        });
    }
}

fn may_ask(state: &State, settings: &Settings) -> bool {
    let archiving = &state.live.archiving;
    let room = archiving.asked.len() < ASKED_MAX || !settings.dead_letter;
    !archiving.unasked.is_empty() && room
}

/// Asks for what is condemned to be brought to the dead-letter target. Nothing is left to ask for if
/// there is none any more.
fn archive(state: &State, settings: &Settings, draft: &mut Draft<'_>) -> bool {
    let archiving = &state.live.archiving;
    let paused = archiving
        .paused
        .is_some_and(|until| draft.now.elapsed < until);
    if !may_ask(state, settings) || (paused && settings.dead_letter) {
        return false;
    }
    let mut room = ASKED_MAX.saturating_sub(archiving.asked.len());
    if !settings.dead_letter {
        room = u64::try_from(RECORDS_A_TURN).unwrap_or(u64::MAX);
    }
    let mut from = state.kept.start;
    while room > 0
        && let Some(offset) = archiving.unasked.next_in(from)
    {
        (room, from) = (room - 1, offset + 1);
        let Some(condemned) = state.kept.condemned.get(&offset) else {
            continue;
        };
        if !settings.dead_letter {
            draft.riding(Durable::Archived {
                span: Span::one(Offset(offset)),
                reason: condemned.reason,
                moved: false,
            });
            continue;
        }
        let offset = Offset(offset);
        draft.volatile(Volatile::Asked { offset });
        draft.answer(Effect::Archive(Death {
            offset,
            reason: condemned.reason,
            tries: state.tries(offset.0),
            at: condemned.at,
            words: condemned.words.clone(),
        }));
    }
    true
}

/// One-shot grants that have waited long enough, and got nothing in this turn either.
fn end_waits(state: &State, draft: &mut Draft<'_>) {
    let due = state.live.consumers.due(draft.now.elapsed);
    for consumer in due.take(GRANTS_A_TURN) {
        end_wait(draft, consumer.id);
    }
}

fn end_wait(draft: &mut Draft<'_>, consumer: ConsumerId) {
    if !acquire::serves(draft, consumer) {
        draft.volatile(Volatile::Ended { consumer });
        draft.answer(Effect::GrantEnded {
            consumer,
            served: false,
        });
    }
}
