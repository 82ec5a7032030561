//! What a subscription has settled, for whoever gives up what nobody needs any more.

use mulgil_record::ids::Offset;

use super::offset_set::OffsetSet;
use super::{Span, Subscription};

/// Which offsets of a stretch are settled. It costs by its holes: 8 KiB for each 65,536 offsets at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    span: Span,
    set: OffsetSet,
}

impl Settled {
    /// The stretch that it is about.
    #[must_use]
    pub const fn span(&self) -> Span {
        self.span
    }

    /// Whether nothing is settled.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// How many offsets of `span` are settled.
    #[must_use]
    pub fn count(&self, span: Span) -> u64 {
        let span = span.within(self.span);
        self.set.count(span.first.0, span.end.0)
    }

    /// Whether an offset is settled.
    #[must_use]
    pub fn has(&self, at: Offset) -> bool {
        self.set.contains(at.0)
    }

    /// Leaves what the other has settled, too. Both are about the same stretch.
    pub fn keep_common(&mut self, other: &Self) {
        self.set.keep_common(&other.set);
    }

    /// Takes an offset for one that is not settled.
    pub fn spare(&mut self, at: Offset) {
        self.set.remove(at.0, at.0.saturating_add(1));
    }

    /// Bytes of memory, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.set.heap_bytes()
    }
}

impl Subscription {
    /// Whether anything is settled behind something that is not.
    #[must_use]
    pub const fn has_gaps(&self) -> bool {
        !self.state.kept.done.is_empty()
    }

    /// What of a stretch is settled: all below [`Self::start`], and the gaps behind it.
    #[must_use]
    pub fn settled(&self, span: Span) -> Settled {
        let kept = &self.state.kept;
        let (first, end) = (span.first.0, span.end.0.min(kept.end));
        let mut set = kept.done.part(first, end);
        set.insert(first, kept.start.min(end));
        Settled { span, set }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::Settings;
    use super::*;
    use crate::machine::{Machine as _, WallTime};
    use crate::queue::{Append, Change, Durable};

    fn subscription(end: i64, settled: &[(i64, i64)]) -> Subscription {
        let mut machine = Subscription::new(Settings::default(), Offset(0));
        machine.apply(&Change::Appended(Append {
            span: Span::of(0, end),
            at: WallTime(1),
            facts: None,
            filter: None,
        }));
        for (first, end) in settled {
            let span = Span::of(*first, *end);
            machine.apply(&Change::Durable(Durable::Accepted(span)));
        }
        machine
    }

    #[test]
    fn what_lies_below_the_start_and_in_gaps_is_settled() {
        let one = subscription(200_000, &[(0, 10), (20, 30), (70_000, 140_000)]);
        assert!(one.has_gaps());
        let settled = one.settled(Span::of(5, 100_000));
        assert_eq!(settled.count(Span::of(0, 200_000)), 5 + 10 + 30_000);
        assert_eq!(settled.count(Span::of(9, 21)), 2);
        assert!(settled.has(Offset(29)) && !settled.has(Offset(30)));
        assert!(!settled.has(Offset(4)), "it lies before the stretch");
        assert_eq!(
            one.settled(Span::of(140_000, 300_000))
                .count(Span::of(0, 300_000)),
            0
        );
        assert!(!subscription(100, &[(0, 50)]).has_gaps());
    }

    #[test]
    fn what_two_have_settled_is_what_each_has() {
        let every = |step: usize| (0..200_000).step_by(step).map(|at| (at, at + 1));
        let (second, third): (Vec<_>, Vec<_>) = (every(2).collect(), every(3).collect());
        let all = Span::of(0, 200_000);
        let mut common = subscription(200_000, &second).settled(all);
        common.keep_common(&subscription(200_000, &third).settled(all));
        assert_eq!(common.count(all), 200_000_u64.div_ceil(6));
        assert!(common.has(Offset(66_000)) && !common.has(Offset(66_002)));
        let runs = subscription(200_000, &[(0, 7), (65_000, 66_001)]);
        common.keep_common(&runs.settled(all));
        assert_eq!(common.count(all), 2 + 167);
        common.spare(Offset(66_000));
        assert_eq!(common.count(all), 2 + 166);
        common.keep_common(&subscription(200_000, &[]).settled(all));
        assert!(common.is_empty());
    }
}
