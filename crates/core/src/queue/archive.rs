//! Records that come, and records that go to the dead-letter target.

use mulgil_record::ids::Offset;

use super::State;
use super::change::{Durable, Volatile};
use super::command::{Append, NotArchived};
use super::draft::Draft;
use super::refusal::QueueRefusal;
use super::span::Span;

/// How long a full target is left alone, at first and at most.
const PAUSE_MS: u32 = 1_000;
const PAUSE_MS_MAX: u32 = 60_000;

/// Takes records that were appended to the log.
pub(super) fn append(
    state: &State,
    draft: &mut Draft<'_>,
    append: Append,
) -> Result<(), QueueRefusal> {
    let (first, end) = (append.span.first, Offset(state.kept.end));
    if first < end || append.span.is_empty() {
        return Err(QueueRefusal::OutOfOrder { first, end });
    }
    draft.append(append);
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
