//! How each change moves the state.

use super::State;
use super::change::{Durable, Volatile};
use super::command::Append;
use super::consumers::Consumer;
use super::locks::Lock;
use super::names::{ConsumerId, LockEpoch, Reason};
use super::span::Span;
use super::state::Condemned;
use crate::machine::{Elapsed, WallTime};

/// Records were appended.
pub(super) fn appended(state: &mut State, append: &Append) {
    let Span { first, end } = append.span;
    let known = state.kept.end;
    if end.0 <= known {
        return;
    }
    state.kept.end = end.0;
    state.describe(known, append);
    let again = state.again(append);
    state.note_ids(append);
    if first.0 > known {
        // Offsets that were left out hold nothing.
        state.finish(known, first.0);
    }
    state.touch(known, end.0);
    state.kept.marks.append(first.0.max(known), append.at);
    state.rank(first.0.max(known), end.0);
    let Some(facts) = &append.facts else {
        return;
    };
    let ms = |time: i64| u64::try_from(time).unwrap_or(0);
    for (index, offset) in append.span.offsets().enumerate() {
        if let Some(due) = facts.due(index).map(ms).filter(|due| *due > append.at.0) {
            state.schedule(offset.0, WallTime(due));
        }
        if let Some(expiry) = facts.expiry(index) {
            state.expires(offset.0, ms(expiry));
        }
    }
    for (selected, first, end) in append.stretches(&again) {
        if !selected {
            state.finish(first, end);
        }
    }
}

/// What the log keeps.
pub(super) fn durable(state: &mut State, change: &Durable) {
    match change {
        Durable::Acquired(span) => {
            let (first, end) = state.clip(span.first.0, span.end.0);
            state.tried(first, end);
        }
        Durable::Locked {
            span,
            consumer,
            epoch,
            until,
        } => {
            let (first, end) = state.clip(span.first.0, span.end.0);
            state.tried(first, end);
            lock(
                state,
                Span::of(first, end),
                *consumer,
                *epoch,
                Some(*until),
                true,
            );
        }
        Durable::Renewed { span, until } => {
            renew(state, *span, *until);
            state.touch(span.first.0, span.end.0);
        }
        Durable::Accepted(span) => {
            state.kept.tally.accepted += state.finish(span.first.0, span.end.0);
        }
        Durable::Released {
            span,
            failed,
            not_before,
        } => {
            released(state, *span, *failed, *not_before);
        }
        Durable::Condemned {
            span,
            reason,
            at,
            failed,
            words,
        } => {
            let condemned = Condemned {
                reason: *reason,
                at: *at,
                words: words.clone(),
            };
            given_up(state, *span, *failed, &condemned);
        }
        Durable::Archived {
            span,
            reason,
            moved,
        } => archived(state, *span, *reason, *moved),
        Durable::Fired { until, most } => fired(state, *until, *most),
        Durable::Scheduled { span, due } => scheduled(state, *span, *due),
        Durable::Expired { until, most } => expired(state, *until, *most),
        Durable::Aged { to } => {
            state.expire(state.kept.start, to.0);
            state.kept.aged = state.kept.aged.max(to.0);
        }
        Durable::Trimmed { to } => trimmed(state, to.0),
        Durable::Purged(span) => {
            state.kept.tally.purged += state.finish(span.first.0, span.end.0);
        }
        Durable::Sought { to, at } => state.seek(to.0, *at),
        Durable::Deduplicating { window_ms } => state.know_ids(*window_ms),
        Durable::Tracking(columns) => state.track(*columns),
    }
}

fn archived(state: &mut State, span: Span, reason: Reason, moved: bool) {
    let count = state.finish(span.first.0, span.end.0);
    state.kept.tally.archived(reason, moved, count);
    state.live.archiving.failures = 0;
    state.live.archiving.paused = None;
}

fn released(state: &mut State, span: Span, failed: bool, not_before: Option<WallTime>) {
    let (first, end) = state.clip(span.first.0, span.end.0);
    for offset in first..end {
        state.live.locks.remove(offset);
        if failed {
            state.failed(offset);
        }
        match not_before {
            // What is overdue waits for nothing any more.
            Some(due) if !state.kept.overdue.contains(offset) => state.schedule(offset, due),
            _ => state.free(offset),
        }
    }
    state.touch(first, end);
}

fn given_up(state: &mut State, span: Span, failed: bool, condemned: &Condemned) {
    let (first, end) = state.clip(span.first.0, span.end.0);
    for offset in first..end {
        state.live.locks.remove(offset);
        if failed {
            state.failed(offset);
        }
        state.condemn(offset, condemned.clone());
    }
    state.touch(first, end);
}

fn scheduled(state: &mut State, span: Span, due: WallTime) {
    let (first, end) = state.clip(span.first.0, span.end.0);
    for offset in first..end {
        state.schedule(offset, due);
    }
    state.touch(first, end);
}

fn expired(state: &mut State, until: WallTime, most: u32) {
    for _ in 0..most {
        let Some((ms, offset)) = state.kept.expiry.pop(until.0) else {
            break;
        };
        state.touch_expiry(ms);
        state.expire(offset, offset + 1);
    }
}

fn fired(state: &mut State, until: WallTime, most: u32) {
    for _ in 0..most {
        let Some((ms, offset)) = state.kept.schedule.pop(until) else {
            break;
        };
        state.touch_time(ms);
        if let Some(offset) = offset {
            state.live.later_bytes -= state.size(offset);
            state.free(offset);
            state.touch(offset, offset + 1);
        }
    }
}

fn trimmed(state: &mut State, to: i64) {
    let lost = state.finish(state.kept.start, to.min(state.kept.end));
    state.kept.tally.lost += lost;
    if to > state.kept.end {
        let start = state.kept.start;
        (state.kept.start, state.kept.end) = (to, to);
        state.live.cursor = to;
        state.touch(start, to);
        state.drop_facets_below(to);
    }
}

fn lock(
    state: &mut State,
    span: Span,
    consumer: ConsumerId,
    epoch: LockEpoch,
    until: Option<Elapsed>,
    outlives: bool,
) {
    for offset in span.offsets() {
        let lock = Lock {
            offset: offset.0,
            consumer,
            epoch,
            outlives,
        };
        state.live.locks.add(lock, until);
    }
    state.take(span.first.0, span.end.0);
    if state.live.keys.is_some() {
        span.offsets().for_each(|offset| state.rekey(offset.0));
    }
    state.live.consumers.served(consumer, span.count());
    if epoch.leader == state.live.leader {
        state.live.next_number = state.live.next_number.max(epoch.number + 1);
    }
}

fn renew(state: &mut State, span: Span, until: Elapsed) {
    for offset in span.offsets() {
        state.live.locks.renew(offset.0, until);
    }
}

/// What a restart forgets.
pub(super) fn volatile(state: &mut State, change: &Volatile) {
    let live = &mut state.live;
    match *change {
        Volatile::Led(leader) => (live.leader, live.next_number) = (leader, 0),
        Volatile::Attached {
            consumer,
            priority,
            exclusive,
            lock,
            once,
            keys_together,
        } => live.consumers.attach(Consumer {
            id: consumer,
            priority,
            exclusive,
            lock,
            credit: 0,
            one_shot: false,
            once,
            keys_together,
        }),
        Volatile::Granted {
            consumer,
            credit,
            once_until,
        } => live.consumers.grant(consumer, credit, once_until),
        Volatile::Ended { consumer } => {
            live.consumers.end(consumer);
            let once = live.consumers.get(consumer);
            if once.is_some_and(|consumer| consumer.once) {
                live.consumers.detach(consumer);
            }
        }
        Volatile::Detached { consumer, failed } => {
            live.consumers.detach(consumer);
            if live.locks.has_any(consumer) {
                live.consumers.mourn(consumer, failed);
            }
        }
        Volatile::Forgotten { consumer } => live.consumers.forget_gone(consumer),
        Volatile::Locked {
            span,
            consumer,
            epoch,
            until,
        } => lock(state, span, consumer, epoch, until, false),
        Volatile::Unlocked { span } => {
            for offset in span.offsets() {
                state.live.locks.remove(offset.0);
                state.free(offset.0);
            }
        }
        Volatile::Parked { offset } => state.park(offset.0),
        Volatile::Searched => state.search_keys(),
        Volatile::Renewed { span, until } => renew(state, span, until),
        Volatile::Asked { offset } => {
            live.archiving.unasked.remove(offset.0, offset.0 + 1);
            live.archiving.asked.insert(offset.0, offset.0 + 1);
        }
        Volatile::Delayed { offset, until } => {
            live.archiving.asked.remove(offset.0, offset.0 + 1);
            if state.kept.condemned.contains_key(&offset.0) {
                live.archiving.unasked.insert(offset.0, offset.0 + 1);
            }
            if live.archiving.paused.is_none_or(|paused| paused < until) {
                live.archiving.paused = Some(until);
                live.archiving.failures = live.archiving.failures.saturating_add(1);
            }
        }
    }
}
