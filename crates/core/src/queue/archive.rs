//! Records that come, and records that go to the dead-letter target.

use mulgil_record::ids::Offset;

use super::State;
use super::change::{Durable, Volatile};
use super::command::{Append, NotArchived};
use super::draft::Draft;
use super::effect::Effect;
use super::names::{Reason, RecordState};
use super::refusal::QueueRefusal;
use super::settings::{Overflow, Settings};
use super::span::Span;
use super::tick;
use crate::machine::WallTime;

/// How long a full target is left alone, at first and at most.
const PAUSE_MS: u32 = 1_000;
const PAUSE_MS_MAX: u32 = 60_000;

/// Takes records that were appended to the log.
pub(super) fn append(
    state: &State,
    settings: &Settings,
    draft: &mut Draft<'_>,
    append: Append,
) -> Result<(), QueueRefusal> {
    let (first, end) = (append.span.first, Offset(state.kept.end));
    if first < end || append.span.is_empty() {
        return Err(QueueRefusal::OutOfOrder { first, end });
    }
    let span = append.span;
    let waiting = state.available() + state.kept.schedule.waiting.len();
    let most = settings.length_max.unwrap_or(u64::MAX);
    let excess = waiting.saturating_add(span.count()).saturating_sub(most);
    if excess > 0 && settings.overflow == Overflow::Refuse {
        return Err(QueueRefusal::Full { waiting, most });
    }
    draft.append(append);
    overflow(state, settings, draft, span, excess);
    Ok(())
}

/// The oldest that nobody holds make room; if those are too few, what has just come.
fn overflow(state: &State, settings: &Settings, draft: &mut Draft<'_>, new: Span, mut excess: u64) {
    let mut settings = *settings;
    settings.dead_letter &= settings.overflow == Overflow::DeadLetterOldest;
    let mut from = state.live.cursor;
    while excess > 0 {
        let old = state.next_available(from);
        let (first, end) = old.unwrap_or((new.first.0, new.end.0));
        let most = i64::try_from(excess).unwrap_or(i64::MAX);
        let end = end.min(first.saturating_add(most));
        let span = Span::of(first, end);
        excess -= span.count();
        tick::give_up(&settings, draft, span, Reason::Overflow);
        if old.is_none() {
            return;
        }
        from = end;
    }
}

/// A record that waits is to wait for another time.
pub(super) fn schedule(
    state: &State,
    draft: &mut Draft<'_>,
    offset: Offset,
    due: WallTime,
) -> Result<(), QueueRefusal> {
    match state.place(offset.0) {
        RecordState::Available | RecordState::Scheduled => {
            let span = Span::one(offset);
            draft.waited(Durable::Scheduled { span, due });
            draft.answer(Effect::Settled { span });
            Ok(())
        }
        RecordState::Acquired
        | RecordState::Archiving
        | RecordState::Settled
        | RecordState::Unknown => Err(QueueRefusal::NotWaiting { offset }),
    }
}

/// A record that waits for its time is not to come at all.
pub(super) fn cancel(
    state: &State,
    draft: &mut Draft<'_>,
    offset: Offset,
) -> Result<(), QueueRefusal> {
    if state.place(offset.0) != RecordState::Scheduled {
        return Err(QueueRefusal::NotWaiting { offset });
    }
    let span = Span::one(offset);
    draft.waited(Durable::Archived {
        span,
        reason: Reason::Cancelled,
        moved: false,
    });
    draft.answer(Effect::Settled { span });
    Ok(())
}

/// The target has these records, in this very frame.
pub(super) fn archived(
    state: &State,
    draft: &mut Draft<'_>,
    span: Span,
) -> Result<(), QueueRefusal> {
    if span.is_empty() {
        return Err(QueueRefusal::Nothing);
    }
    let reason_of = |offset: Offset| state.kept.condemned.get(&offset.0).map(|c| c.reason);
    if let Some(offset) = span.offsets().find(|at| reason_of(*at).is_none()) {
        return Err(QueueRefusal::NotArchiving { offset });
    }
    let mut from = span.first;
    while let Some(reason) = reason_of(from).filter(|_| from < span.end) {
        let mut end = from.plus(1);
        while end < span.end && reason_of(end) == Some(reason) {
            end = end.plus(1);
        }
        draft.waited(Durable::Archived {
            span: Span { first: from, end },
            reason,
            moved: true,
        });
        from = end;
    }
    Ok(())
}

/// A record could not be brought to the target.
pub(super) fn not_archived(
    state: &State,
    draft: &mut Draft<'_>,
    offset: Offset,
    why: NotArchived,
) -> Result<(), QueueRefusal> {
    let Some(condemned) = state.kept.condemned.get(&offset.0) else {
        return Err(QueueRefusal::NotArchiving { offset });
    };
    match why {
        NotArchived::TargetMissing | NotArchived::Unreadable => draft.waited(Durable::Archived {
            span: Span::one(offset),
            reason: condemned.reason,
            moved: false,
        }),
        NotArchived::TargetFull => {
            let doublings = state.live.archiving.failures.min(16);
            let pause = PAUSE_MS.saturating_mul(1 << doublings).min(PAUSE_MS_MAX);
            let until = draft.now.elapsed.plus_ms(pause);
            draft.volatile(Volatile::Delayed { offset, until });
        }
    }
    Ok(())
}
