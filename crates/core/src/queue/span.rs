//! A stretch of offsets: what commands and changes speak of, so that a thousand records cost what one
//! does.

use mulgil_record::ids::Offset;

/// The offsets from `first` up to, and without, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first that belongs to it.
    pub first: Offset,
    /// The first that does not.
    pub end: Offset,
}

impl Span {
    /// The `count` offsets from `first` on.
    #[must_use]
    pub fn new(first: Offset, count: u32) -> Self {
        let end = Offset(first.0.saturating_add(i64::from(count)));
        Self { first, end }
    }

    /// One offset.
    #[must_use]
    pub fn one(at: Offset) -> Self {
        Self::new(at, 1)
    }

    /// Both ends as numbers.
    pub(super) const fn of(first: i64, end: i64) -> Self {
        Self {
            first: Offset(first),
            end: Offset(end),
        }
    }

    /// How many offsets it has.
    #[must_use]
    pub fn count(self) -> u64 {
        u64::try_from(self.end.0.saturating_sub(self.first.0)).unwrap_or(0)
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.first
    }

    /// Whether `at` is one of them.
    #[must_use]
    pub fn has(self, at: Offset) -> bool {
        self.first <= at && at < self.end
    }

    /// What both have.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self {
            first: self.first.max(other.first),
            end: self.end.min(other.end),
        }
    }

    /// Every one of them.
    pub fn offsets(self) -> impl Iterator<Item = Offset> {
        (self.first.0..self.end.0).map(Offset)
    }
}
