//! What a subscription keeps of the facts of each record that waits, because it was told to track them.
//!
//! | tracked | bytes a record |
//! | --- | --- |
//! | priority | 1, or next to none where it seldom changes |
//! | size | 4, or next to none where it seldom changes |
//! | ordering key | 4, or next to none where it seldom changes |
//!
//! Beside that lie indexes, which follow from it: see `super::ready` and `super::keys`.

use mulgil_record::facts::{Columns, Facts};

use super::column::{Column, begin_of, chunk_of};
use super::offset_set::OffsetSet;
use super::order::fold;

/// What can be tracked.
pub(super) const TRACKABLE: Columns = Columns::PRIORITY
    .with(Columns::SIZE)
    .with(Columns::ORDERING_KEY);

/// Whether these can be tracked together. Records go by key or by priority.
pub(super) const fn are_trackable(columns: Columns) -> bool {
    let both = Columns::PRIORITY.with(Columns::ORDERING_KEY);
    TRACKABLE.has(columns) && !columns.has(both)
}

/// What is kept of the facts of each record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facets {
    pub(super) tracked: Columns,
    pub(super) levels: Column<u8>,
    pub(super) sizes: Column<u32>,
    /// Hashes, folded; 0 for none.
    pub(super) keys: Column<u32>,
}

/// Fills a column for new records with what `value` says of each.
fn fill<T: Copy + Default + Eq>(
    column: &mut Column<T>,
    (first, end): (i64, i64),
    start: i64,
    value: impl Fn(usize) -> T,
) {
    let mut from = first;
    let mut index = 0;
    while from < end {
        let (alike, begin) = (value(index), from);
        while from < end && value(index) == alike {
            (from, index) = (from + 1, index + 1);
        }
        column.fill(begin, from, alike, start);
    }
}

impl Facets {
    pub(super) fn heap_bytes(&self) -> usize {
        self.levels.heap_bytes() + self.sizes.heap_bytes() + self.keys.heap_bytes()
    }

    /// Records from `first` up to `end` are new; nothing below `start` means anything any more. Whether
    /// a chunk came, changed or went.
    pub(super) fn append(&mut self, facts: Option<&Facts>, span: (i64, i64), start: i64) -> bool {
        let was_empty = self.is_empty();
        if self.tracked.has(Columns::PRIORITY) {
            let level = |index| facts.and_then(|facts| facts.priority(index));
            fill(&mut self.levels, span, start, |index| {
                level(index).unwrap_or(0)
            });
        }
        if self.tracked.has(Columns::SIZE) {
            let size = |index| facts.and_then(|facts| facts.size(index));
            fill(&mut self.sizes, span, start, |index| {
                size(index).unwrap_or(0)
            });
        }
        if self.tracked.has(Columns::ORDERING_KEY) {
            let key = |index| facts.and_then(|facts| facts.ordering_key(index));
            fill(&mut self.keys, span, start, |index| {
                key(index).map_or(0, fold)
            });
        }
        !(was_empty && self.is_empty())
    }

    /// Bytes of the records from `first` up to `end`.
    pub(super) fn bytes(&self, first: i64, end: i64) -> u64 {
        let each = self.sizes.stretches(first, end).map(|(from, to, size)| {
            let count = u64::try_from(to - from).unwrap_or(0);
            count * u64::from(size)
        });
        each.sum()
    }

    /// Whether nothing is kept of any record.
    pub(super) fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.sizes.is_empty() && self.keys.is_empty()
    }

    /// Records from `first` up to `end` are settled: chunks in which nothing is left to ask for go.
    /// Whether any did.
    pub(super) fn settled(
        &mut self,
        (first, end): (i64, i64),
        (start, known): (i64, i64),
        done: &OffsetSet,
    ) -> bool {
        if self.is_empty() || first >= end {
            return false;
        }
        let is_over = |chunk: i64| {
            let past = begin_of(chunk + 1);
            past <= known && done.next_out(begin_of(chunk).max(start)) >= past.max(start)
        };
        let (mut from, mut to) = (chunk_of(first), chunk_of(end - 1) + 1);
        // All between the two ends is settled; of the ends themselves the rest may not be.
        if !is_over(from) {
            from += 1;
        }
        if from < to && !is_over(to - 1) {
            to -= 1;
        }
        self.drop_chunks(from, to)
    }

    /// Takes out the chunks from `first` up to `end`; whether there were any.
    pub(super) fn drop_chunks(&mut self, first: i64, end: i64) -> bool {
        let dropped = [
            self.levels.drop_chunks(first, end),
            self.sizes.drop_chunks(first, end),
            self.keys.drop_chunks(first, end),
        ];
        dropped.contains(&true)
    }

    /// Numbers of all chunks that any column has.
    pub(super) fn chunks(&self) -> impl Iterator<Item = i64> {
        let sizes = self.sizes.numbers().chain(self.keys.numbers());
        self.levels.numbers().chain(sizes)
    }

    /// Keeps these from here on, and nothing of others.
    pub(super) fn track(&mut self, columns: Columns) {
        self.tracked = columns;
        if !columns.has(Columns::PRIORITY) {
            self.levels = Column::default();
        }
        if !columns.has(Columns::SIZE) {
            self.sizes = Column::default();
        }
        if !columns.has(Columns::ORDERING_KEY) {
            self.keys = Column::default();
        }
    }
}
