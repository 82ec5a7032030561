//! A hash table from numbers to small values that allocates only to grow.
//!
//! Open addressing with linear probing; a removal closes the gap behind it, so that no table fills up
//! with what is gone. Nothing ever goes over a table in the order of its slots, so the order of
//! nothing that a machine does hangs on it.

use alloc::vec::Vec;
use core::fmt;

/// The key of an empty slot; no offset and no fold of a key is that.
const FREE: u64 = u64::MAX;
const SLOTS_MIN: usize = 8;

/// A table from numbers to values.
#[derive(Clone, Default)]
pub(super) struct Table<V> {
    /// A power of two of slots, or none.
    slots: Vec<(u64, V)>,
    len: usize,
}

impl<V: Copy + Default> Table<V> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives back the room that is not needed, if that is worth it.
    pub(super) fn shrink(&mut self) {
        if self.slots.len() > SLOTS_MIN && self.len * 8 < self.slots.len() {
            let old = core::mem::take(&mut self.slots);
            self.len = 0;
            for (key, value) in old.into_iter().filter(|(key, _)| *key != FREE) {
                self.insert(key, value);
            }
        }
        if self.is_empty() {
            self.slots = Vec::new();
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<(u64, V)>()
    }

    /// Where `key` would lie if nothing were in its way.
    fn home(&self, key: u64) -> usize {
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let mask = self.slots.len().wrapping_sub(1);
        usize::try_from(mixed >> 32).unwrap_or(0) & mask
    }

    /// The slot of `key`, or the free one where it would go. `None` without slots.
    fn find(&self, key: u64) -> Option<(usize, bool)> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = self.home(key);
        loop {
            match self.slots.get(at)?.0 {
                there if there == key => return Some((at, true)),
                FREE => return Some((at, false)),
                _ => at = (at + 1) & mask,
            }
        }
    }

    pub(super) fn get(&self, key: u64) -> Option<V> {
        match self.find(key) {
            Some((at, true)) => self.slots.get(at).map(|slot| slot.1),
            _ => None,
        }
    }

    /// What stands for `key`, put there first if nothing does.
    pub(super) fn entry(&mut self, key: u64) -> &mut V {
        // Three quarters full is the most.
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let (at, there) = self.find(key).expect("a table that has grown has slots");
        if !there {
            self.len += 1;
        }
        let slot = self.slots.get_mut(at).expect("a slot that was found");
        slot.0 = key;
        &mut slot.1
    }

    pub(super) fn insert(&mut self, key: u64, value: V) {
        *self.entry(key) = value;
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<V> {
        let (mut gap, there) = self.find(key)?;
        if !there {
            return None;
        }
        let mask = self.slots.len() - 1;
        let gone = self.slots.get(gap).map(|slot| slot.1)?;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let (key, value) = *self.slots.get(at)?;
            if key == FREE {
                break;
            }
            // What lies behind the gap goes into it, unless its home is in between.
            let from_home = at.wrapping_sub(self.home(key)) & mask;
            if from_home >= at.wrapping_sub(gap) & mask {
                *self.slots.get_mut(gap)? = (key, value);
                gap = at;
            }
        }
        *self.slots.get_mut(gap)? = (FREE, V::default());
        self.len -= 1;
        Some(gone)
    }

    /// What stands for the keys from `first` up to `end`, in no order that means anything.
    pub(super) fn within(&self, first: u64, end: u64) -> Vec<(u64, V)> {
        let span = usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX);
        if span <= self.len {
            let each = (first..end).map(|key| (key, self.get(key)));
            each.filter_map(|(key, value)| Some((key, value?)))
                .collect()
        } else {
            let all = self.unordered();
            all.filter(|(key, _)| (first..end).contains(key)).collect()
        }
    }

    /// Takes out every key from `first` up to `end`.
    pub(super) fn remove_within(&mut self, first: u64, end: u64) {
        let span = usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX);
        if span <= self.len.max(8) {
            for key in first..end {
                self.remove(key);
            }
        } else if !self.is_empty() {
            for (key, _) in self.within(first, end) {
                self.remove(key);
            }
        }
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(SLOTS_MIN);
        let old = core::mem::take(&mut self.slots);
        self.slots.resize(slots, (FREE, V::default()));
        self.len = 0;
        for (key, value) in old {
            if key != FREE {
                self.insert(key, value);
            }
        }
    }

    /// All that is in it, in no order that means anything: only for what is sorted afterwards.
    pub(super) fn unordered(&self) -> impl Iterator<Item = (u64, V)> {
        self.slots.iter().copied().filter(|(key, _)| *key != FREE)
    }
}

impl<V: Copy + Default + PartialEq> PartialEq for Table<V> {
    fn eq(&self, other: &Self) -> bool {
        let has = |(key, value): (u64, V)| other.get(key).is_some_and(|there| there == value);
        self.len == other.len && self.unordered().all(has)
    }
}

impl<V: Copy + Default + PartialEq> Eq for Table<V> {}

impl<V: Copy + Default + fmt::Debug> fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all: Vec<_> = self.unordered().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        f.debug_map().entries(all).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_as_naive_as_a_tree(steps in vec((0u64..60, any::<bool>(), any::<u32>()), 1..400)) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for (key, add, value) in steps {
                if add {
                    table.insert(key, value);
                    model.insert(key, value);
                } else {
                    prop_assert_eq!(table.remove(key), model.remove(&key));
                }
                prop_assert_eq!(table.len(), model.len());
                for key in 0..60 {
                    prop_assert_eq!(table.get(key), model.get(&key).copied());
                }
            }
        }
    }
}
