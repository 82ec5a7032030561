//! Records that come, and records that go to the dead-letter target.

use mulgil_record::facts::Columns;
use mulgil_record::ids::Offset;

use super::State;
use super::change::{Durable, Volatile};
use super::command::{Again, Append, NotArchived};
use super::draft::Draft;
use super::effect::Effect;
use super::facets::{TRACKABLE, are_trackable};
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
    let again = state.again(&append);
    let excess = excess(state, settings, &append, &again)?;
    if excess.is_none() {
        draft.append(append);
    } else {
        draft.append(append.clone());
        overflow(state, settings, draft, (&append, &again), excess);
    }
    Ok(())
}

/// How much has to make room.
#[derive(Clone, Copy)]
struct Excess {
    records: u64,
    bytes: u64,
}

impl Excess {
    const fn is_none(self) -> bool {
        self.records == 0 && self.bytes == 0
    }

    /// How far records from `first` up to `end` have to go.
    fn reach(&mut self, first: i64, end: i64, size: impl Fn(i64) -> u64) -> i64 {
        let mut at = first;
        while at < end && self.bytes > 0 {
            self.bytes = self.bytes.saturating_sub(size(at));
            self.records = self.records.saturating_sub(1);
            at += 1;
        }
        let most = i64::try_from(self.records).unwrap_or(i64::MAX);
        let to = end.min(at.saturating_add(most));
        self.records -= u64::try_from(to - at).unwrap_or(0);
        to
    }
}

/// How much more would wait than may, unless that is a reason to refuse.
fn excess(
    state: &State,
    settings: &Settings,
    append: &Append,
    again: &[Again],
) -> Result<Excess, QueueRefusal> {
    let refuse = settings.overflow == Overflow::Refuse;
    let waiting = state.available() + state.kept.schedule.waiting.len();
    let most = settings.length_max.unwrap_or(u64::MAX);
    let selected = append.stretches(again).filter(|(selected, ..)| *selected);
    let new: i64 = selected.map(|(_, first, end)| end - first).sum();
    let records = waiting.saturating_add(u64::try_from(new).unwrap_or(0));
    let records = records.saturating_sub(most);
    if records > 0 && refuse {
        return Err(QueueRefusal::Full { waiting, most });
    }
    let Some(most) = settings.bytes_max else {
        return Ok(Excess { records, bytes: 0 });
    };
    if !state.tracked().has(Columns::SIZE) {
        return Err(QueueRefusal::SizesNotTracked);
    }
    let mut more = 0;
    for (selected, first, end) in append.stretches(again) {
        if selected {
            more += (first..end)
                .map(|offset| size_of(append, offset))
                .sum::<u64>();
        }
    }
    let waiting = state.waiting_bytes();
    let bytes = waiting.saturating_add(more).saturating_sub(most);
    if bytes > 0 && refuse {
        return Err(QueueRefusal::FullOfBytes {
            waiting,
            more,
            most,
        });
    }
    Ok(Excess { records, bytes })
}

/// Bytes of a record that comes; none if nobody knows.
fn size_of(append: &Append, offset: i64) -> u64 {
    let index = usize::try_from(offset - append.span.first.0).ok();
    let size = index.and_then(|index| append.facts.as_ref()?.size(index));
    size.map_or(0, u64::from)
}

/// The oldest that nobody holds make room; if those are too few, what has just come.
fn overflow(
    state: &State,
    settings: &Settings,
    draft: &mut Draft<'_>,
    (new, again): (&Append, &[Again]),
    mut excess: Excess,
) {
    let mut settings = *settings;
    settings.dead_letter &= settings.overflow == Overflow::DeadLetterOldest;
    let mut give_up = |first, end| {
        if first < end {
            tick::give_up(&settings, draft, Span::of(first, end), Reason::Overflow);
        }
    };
    for (first, end) in state.oldest() {
        give_up(first, excess.reach(first, end, |offset| state.size(offset)));
        if excess.is_none() {
            return;
        }
    }
    for (selected, first, end) in new.stretches(again) {
        if selected {
            give_up(
                first,
                excess.reach(first, end, |offset| size_of(new, offset)),
            );
        }
        if excess.is_none() {
            return;
        }
    }
}

/// Knows ids for so long.
pub(super) fn deduplicate(state: &State, draft: &mut Draft<'_>, window_ms: Option<u64>) {
    let window_ms = window_ms.filter(|window_ms| *window_ms > 0);
    if window_ms != state.kept.ids.as_ref().map(|ids| ids.window_ms) {
        draft.waited(Durable::Deduplicating { window_ms });
    }
}

/// Keeps these facts of what comes.
pub(super) fn track(
    state: &State,
    draft: &mut Draft<'_>,
    columns: Columns,
) -> Result<(), QueueRefusal> {
    if !TRACKABLE.has(columns) {
        return Err(QueueRefusal::CannotTrack { columns });
    }
    if !are_trackable(columns) {
        return Err(QueueRefusal::KeysAndPriorities);
    }
    if columns != state.tracked() {
        draft.waited(Durable::Tracking(columns));
    }
    Ok(())
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

/// The shell takes records that nobody holds: all of them, or none.
pub(super) fn take(state: &State, draft: &mut Draft<'_>, span: Span) -> Result<(), QueueRefusal> {
    if span.is_empty() {
        return Err(QueueRefusal::Nothing);
    }
    let waits = |offset: &Offset| {
        let place = state.place(offset.0);
        matches!(place, RecordState::Available | RecordState::Scheduled)
    };
    if let Some(offset) = span.offsets().find(|offset| !waits(offset)) {
        return Err(QueueRefusal::NotWaiting { offset });
    }
    draft.waited(Durable::Accepted(span));
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
