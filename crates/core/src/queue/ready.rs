//! Records with a priority that anybody may have, by level.
//!
//! A record of priority 0 is available by being in no set. Of the others each level has a set; they count
//! as taken, so that who goes by offset never meets them, and a subscription without priorities pays
//! for none of this.

use alloc::collections::BTreeMap;

use super::offset_set::OffsetSet;

/// Available records with a priority, by level.
#[derive(Clone, Debug, Default)]
pub(super) struct Ready {
    levels: BTreeMap<u8, OffsetSet>,
    len: u64,
}

impl Ready {
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let own = size_of::<(u8, OffsetSet)>() * 3 / 2;
        self.levels.values().map(|set| own + set.heap_bytes()).sum()
    }

    pub(super) fn insert(&mut self, level: u8, offset: i64) -> bool {
        let set = self.levels.entry(level).or_default();
        let added = set.insert(offset, offset + 1);
        self.len += added;
        added > 0
    }

    pub(super) fn insert_run(&mut self, level: u8, first: i64, end: i64) {
        let set = self.levels.entry(level).or_default();
        self.len += set.insert(first, end);
    }

    /// Takes one record of a level out.
    pub(super) fn remove(&mut self, level: u8, offset: i64) {
        if let Some(set) = self.levels.get_mut(&level) {
            self.len -= set.remove(offset, offset + 1);
        }
    }

    /// Takes out all from `first` up to `end`.
    pub(super) fn remove_within(&mut self, first: i64, end: i64) {
        for set in self.levels.values_mut() {
            self.len -= set.remove(first, end);
        }
    }

    /// The highest level below `below` that has any.
    pub(super) fn highest(&self, below: u16) -> Option<u8> {
        let mut levels = self.levels.iter().rev();
        let fits = |(level, set): &(&u8, &OffsetSet)| u16::from(**level) < below && !set.is_empty();
        levels.find(fits).map(|(level, _)| *level)
    }

    /// The first run of a level from `from` on.
    pub(super) fn next_run(&self, level: u8, from: i64) -> Option<(i64, i64)> {
        self.levels.get(&level)?.next_run(from)
    }

    /// All runs, lowest level first.
    pub(super) fn runs(&self) -> impl Iterator<Item = (i64, i64)> {
        self.levels.values().flat_map(OffsetSet::runs)
    }

    /// Runs between two offsets, in no order that means anything.
    pub(super) fn within(&self, first: i64, end: i64) -> impl Iterator<Item = (i64, i64)> {
        let within = move |set: &'_ OffsetSet, from: i64| {
            let run = set.next_run(from).filter(|run| run.0 < end)?;
            Some((run.0, run.1.min(end)))
        };
        self.levels.values().flat_map(move |set| {
            let mut from = first;
            core::iter::from_fn(move || {
                let run = within(set, from)?;
                from = run.1;
                Some(run)
            })
        })
    }

    pub(super) fn shrink(&mut self) {
        self.levels.retain(|_, set| !set.is_empty());
        self.levels.values_mut().for_each(OffsetSet::shrink);
    }
}
