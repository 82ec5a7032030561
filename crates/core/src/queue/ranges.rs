//! What is said of everything at once: purging a subscription, and going to another place of the log.

use alloc::vec::Vec;

use mulgil_record::ids::Offset;

use super::State;
use super::change::Durable;
use super::draft::Draft;
use super::effect::Effect;
use super::refusal::QueueRefusal;
use super::span::Span;
use super::time_index::TimeIndex;
use crate::machine::WallTime;

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

/// Everything from an offset on is to be handed out once more, and nothing below.
pub(super) fn seek(state: &State, draft: &mut Draft<'_>, to: Offset) -> Result<(), QueueRefusal> {
    let end = Offset(state.kept.end);
    if to > end {
        return Err(QueueRefusal::BeyondEnd { to, end });
    }
    let back = to.0 < state.kept.start || state.kept.done.next_in(to.0).is_some();
    if back && state.tracked().0 != 0 {
        return Err(QueueRefusal::FactsUnknown);
    }
    let at = draft.now.wall;
    draft.waited(Durable::Sought { to, at });
    draft.answer(Effect::Settled {
        span: Span { first: to, end },
    });
    Ok(())
}

impl State {
    /// Hands out once more what is settled from `to` on, and nothing below. Ages begin anew.
    pub(super) fn seek(&mut self, to: i64, at: WallTime) {
        let back = to < self.kept.start || self.kept.done.next_in(to).is_some();
        if to > self.kept.end || (back && self.kept.facets.is_some()) {
            return;
        }
        self.kept.tally.purged += self.finish(self.kept.start, to);
        let (start, end) = (self.kept.start, self.kept.end);
        self.forget_dates(to);
        while let Some((first, past)) = self.kept.done.next_run(to) {
            self.kept.done.remove(first, past);
            self.live.taken.remove(first, past);
            self.live.cursor = self.live.cursor.min(first);
        }
        if to < start {
            self.kept.start = to;
            self.live.cursor = to;
        }
        self.kept.aged = to;
        self.kept.marks.begin(to, at);
        self.touch(to, end);
        self.advance();
    }
    /// Entries of settled records from `to` on mean nothing, and go before those records wait for anything again.
    fn forget_dates(&mut self, to: i64) {
        let Self { kept, live: _ } = self;
        let (start, done) = (kept.start, &kept.done);
        let keep = |offset: i64| offset < to || (offset >= start && !done.contains(offset));
        let times = kept.schedule.index.retain(keep);
        let expiries = kept.expiry.retain(keep);
        for bucket in times {
            self.touch_time(TimeIndex::time_of(bucket));
        }
        for bucket in expiries {
            self.touch_expiry(TimeIndex::time_of(bucket));
        }
    }
}
