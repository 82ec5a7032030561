//! A set of offsets that costs by its holes and not by its span.
//!
//! Offsets are filed in blocks of 65,536; each block takes the smallest of these forms that fits:
//!
//! ```text
//! Full             nothing beside the block's own 32 bytes; an empty block is not there
//! Runs             4 bytes a run, up to 2,048 of them
//! Bits             8 KiB
//! ```
//!
//! So ten million offsets of which every second is in the set take 1.25 MB, and a set with only the
//! oldest missing takes 32 bytes a block. What a block no longer needs is kept for the next one, so that a window that moves
//! over the offsets allocates nothing.

mod block;

use alloc::collections::BTreeMap;
use core::fmt;

use self::block::{Block, Spare};

/// A set of offsets.
#[derive(Clone, Default)]
pub(super) struct OffsetSet {
    /// By number; none is empty.
    blocks: BTreeMap<i64, Block>,
    len: u64,
    spare: Spare,
}

const fn number(offset: i64) -> i64 {
    offset >> 16
}

fn low(offset: i64) -> u16 {
    u16::try_from(offset & 0xffff).unwrap_or(0)
}

const fn start(number: i64) -> i64 {
    number << 16
}

impl OffsetSet {
    /// How many offsets it has.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes on the heap, about.
    pub(super) fn heap_bytes(&self) -> usize {
        let own = size_of::<(i64, Block)>() * 3 / 2;
        let blocks = self.blocks.values().map(|block| own + block.heap_bytes());
        blocks.sum()
    }

    /// Gives back what it keeps for later.
    pub(super) fn shrink(&mut self) {
        self.spare = Spare::default();
        if self.is_empty() {
            self.blocks = BTreeMap::new();
        }
    }

    pub(super) fn contains(&self, offset: i64) -> bool {
        let block = self.blocks.get(&number(offset));
        block.is_some_and(|block| block.contains(low(offset)))
    }

    /// Adds all from `first` up to `end`; how many of them are new.
    pub(super) fn insert(&mut self, first: i64, end: i64) -> u64 {
        if end <= first {
            return 0;
        }
        let (from, to) = (number(first), number(end - 1));
        let mut added = 0;
        for at in from..=to {
            let lo = if at == from { low(first) } else { 0 };
            let hi = if at == to { low(end - 1) } else { u16::MAX };
            let block = self.blocks.entry(at).or_insert(Block::Empty);
            added += u64::from(block.insert(lo, hi, &mut self.spare));
        }
        self.len += added;
        added
    }

    /// Takes out all from `first` up to `end`; how many of them were in it.
    pub(super) fn remove(&mut self, first: i64, end: i64) -> u64 {
        if end <= first {
            return 0;
        }
        let (from, to) = (number(first), number(end - 1));
        let mut removed = 0;
        let mut next = from;
        while let Some((&at, block)) = self.blocks.range_mut(next..).next().filter(|b| *b.0 <= to) {
            let lo = if at == from { low(first) } else { 0 };
            let hi = if at == to { low(end - 1) } else { u16::MAX };
            removed += u64::from(block.remove(lo, hi, &mut self.spare));
            if matches!(block, Block::Empty) {
                self.blocks.remove(&at);
            }
            next = at + 1;
        }
        self.len -= removed;
        removed
    }

    /// Takes out all below `offset`.
    pub(super) fn drop_below(&mut self, offset: i64) {
        let first = self.blocks.first_key_value().map(|(at, _)| start(*at));
        if let Some(first) = first.filter(|first| *first < offset) {
            self.remove(first, offset);
        }
    }

    /// The first of the set from `from` on.
    pub(super) fn next_in(&self, from: i64) -> Option<i64> {
        let first = number(from);
        let mut blocks = self.blocks.range(first..);
        blocks.find_map(|(&at, block)| {
            let within = if at == first { low(from) } else { 0 };
            let found = block.next_in(within)?;
            Some(start(at) + i64::from(found))
        })
    }

    /// The first that is not in the set, from `from` on.
    pub(super) fn next_out(&self, from: i64) -> i64 {
        let mut at = number(from);
        let mut within = low(from);
        for (&there, block) in self.blocks.range(at..) {
            if there != at {
                break;
            }
            if let Some(found) = block.next_out(within) {
                return start(at) + i64::from(found);
            }
            (at, within) = (at + 1, 0);
        }
        start(at) + i64::from(within)
    }

    /// The first run of the set from `from` on: its first offset, and the first behind it.
    pub(super) fn next_run(&self, from: i64) -> Option<(i64, i64)> {
        let first = self.next_in(from)?;
        Some((first, self.next_out(first)))
    }

    /// All its runs, in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = (i64, i64)> {
        let mut from = i64::MIN;
        core::iter::from_fn(move || {
            let run = self.next_run(from)?;
            from = run.1;
            Some(run)
        })
    }

    /// How many from `first` up to `end` are in the set.
    pub(super) fn count(&self, first: i64, end: i64) -> u64 {
        if end <= first {
            return 0;
        }
        let (from, to) = (number(first), number(end - 1));
        let counts = self.blocks.range(from..=to).map(|(&at, block)| {
            let lo = if at == from { low(first) } else { 0 };
            let hi = if at == to { low(end - 1) } else { u16::MAX };
            u64::from(block.count(lo, hi))
        });
        counts.sum()
    }

    /// What of it lies from `first` up to `end`.
    pub(super) fn part(&self, first: i64, end: i64) -> Self {
        let mut part = Self::default();
        if end <= first {
            return part;
        }
        for (&at, block) in self.blocks.range(number(first)..=number(end - 1)) {
            part.len += u64::from(block.count(0, u16::MAX));
            part.blocks.insert(at, block.clone());
        }
        part.drop_below(first);
        part.remove(end, start(number(end - 1) + 1));
        part
    }

    /// Leaves what is in `other`, too.
    pub(super) fn keep_common(&mut self, other: &Self) {
        let Self { blocks, len, spare } = self;
        blocks.retain(|at, block| {
            let common = other.blocks.get(at);
            let common = common.map_or(Block::Empty, |other| block.common(other, spare));
            *block = common;
            !matches!(block, Block::Empty)
        });
        *len = { blocks.values() }
            .map(|block| u64::from(block.count(0, u16::MAX)))
            .sum();
    }

    /// Numbers of the blocks that have anything.
    pub(super) fn blocks(&self) -> impl Iterator<Item = i64> {
        self.blocks.keys().copied()
    }
}

impl PartialEq for OffsetSet {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.runs().eq(other.runs())
    }
}

impl Eq for OffsetSet {}

impl fmt::Debug for OffsetSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.runs().take(64)).finish()
    }
}

#[cfg(test)]
mod tests;
