//! What becomes of held records: accepted, released, rejected, or held for longer.

use mulgil_record::ids::Offset;

use super::State;
use super::change::{Durable, Volatile};
use super::command::{Claim, Outcome, Settle};
use super::draft::Draft;
use super::effect::Effect;
use super::names::Reason;
use super::refusal::QueueRefusal;
use super::retry;
use super::settings::Settings;
use super::span::Span;
use crate::machine::Keep;

/// Settles all that was named, or refuses.
pub(super) fn settle(
    state: &State,
    settings: &Settings,
    draft: &mut Draft<'_>,
    settle: Settle,
) -> Result<(), QueueRefusal> {
    let Settle {
        claim,
        span,
        outcome,
    } = settle;
    check(state, draft, claim, span, &outcome)?;
    match outcome {
        Outcome::Accept => draft.waited(Durable::Accepted(span)),
        Outcome::Release { failed, not_before } => {
            for offset in span.offsets() {
                let wall = draft.now.wall;
                let fate = retry::fate(settings, state, offset.0, failed, not_before, wall);
                let logged = outlives(state, offset);
                draft.come_back(offset, fate, logged, Keep::Waited);
            }
            draft.flush(Keep::Waited);
        }
        Outcome::Reject { words } => {
            let reason = Reason::Rejected;
            draft.waited(if settings.dead_letter {
                Durable::Condemned {
                    span,
                    reason,
                    at: draft.now.wall,
                    failed: true,
                    words,
                }
            } else {
                Durable::Archived {
                    span,
                    reason,
                    moved: false,
                }
            });
        }
        Outcome::Renew { lock_ms } => renew(state, draft, span, lock_ms),
    }
    draft.answer(Effect::Settled { span });
    Ok(())
}

fn outlives(state: &State, offset: Offset) -> bool {
    let lock = state.live.locks.get(offset.0);
    lock.is_some_and(|lock| lock.outlives)
}

fn check(
    state: &State,
    draft: &Draft<'_>,
    claim: Claim,
    span: Span,
    outcome: &Outcome,
) -> Result<(), QueueRefusal> {
    if span.is_empty() {
        return Err(QueueRefusal::Nothing);
    }
    let old = match (claim, outcome) {
        (Claim::OldReceipt(_), Outcome::Accept) => span.count() == 1,
        (Claim::OldReceipt(_) | Claim::Receipt(_) | Claim::Holder(_), _) => false,
    };
    // Whatever the span, this looks at no more than one beyond what is held.
    let not_held = |at: &Offset| !holds(state, draft, claim, *at, old);
    match span.offsets().find(not_held) {
        Some(offset) => Err(QueueRefusal::NotHeld { offset }),
        None => Ok(()),
    }
}

/// Whether `claim` is to the record at `offset`. A lock that ends exactly now has ended: of two
/// consumers, the later one is believed.
fn holds(state: &State, draft: &Draft<'_>, claim: Claim, offset: Offset, old: bool) -> bool {
    if old {
        let known = state.kept.start <= offset.0 && offset.0 < state.kept.end;
        return known && !state.kept.done.contains(offset.0);
    }
    let Some(lock) = state.live.locks.get(offset.0) else {
        return false;
    };
    let ended = state.live.locks.until(offset.0);
    if ended.is_some_and(|until| until <= draft.now.elapsed) {
        return false;
    }
    match claim {
        Claim::Holder(consumer) => lock.consumer == consumer,
        Claim::Receipt(epoch) | Claim::OldReceipt(epoch) => lock.epoch == epoch,
    }
}

fn renew(state: &State, draft: &mut Draft<'_>, span: Span, lock_ms: u32) {
    let until = draft.now.elapsed.plus_ms(lock_ms);
    let mut from = span.first;
    while from < span.end {
        let logged = outlives(state, from);
        let mut end = from.plus(1);
        while end < span.end && outlives(state, end) == logged {
            end = end.plus(1);
        }
        let span = Span { first: from, end };
        if logged {
            draft.riding(Durable::Renewed { span, until });
        } else {
            draft.volatile(Volatile::Renewed { span, until });
        }
        from = end;
    }
}
