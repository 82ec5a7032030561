//! What is said of everything at once: purging a subscription.

use alloc::vec::Vec;

use super::State;
use super::change::Durable;
use super::draft::Draft;
use super::effect::Effect;
use super::span::Span;

/// Everything that waits is to go: one change for each stretch between what stays.
pub(super) fn purge(state: &State, draft: &mut Draft<'_>, held: bool) {
    let (first, end) = (state.kept.start, state.kept.end);
    let condemned = state.kept.condemned.range(first..end);
    let mut stays: Vec<i64> = condemned.map(|(offset, _)| *offset).collect();
    if !held {
        stays.extend(state.live.locks.within(first, end));
        stays.sort_unstable();
    }
    let mut from = first;
    for stays in stays.into_iter().chain([end]) {
        if from < stays {
            draft.waited(Durable::Purged(Span::of(from, stays)));
        }
        from = stays + 1;
    }
    let span = Span::of(first, end);
    draft.answer(Effect::Settled { span });
}
