//! The newest offset of each key, in bounded memory: what compaction knows of what it cleans.
//!
//! ```text
//! slot   0 ............ 1 ............ 2 ............
//!        hash u128      hash u128      hash u128        of the key, under the partition as seed
//!        offset i64     offset i64     offset i64       -1: free
//! ```
//!
//! 24 bytes a slot, open addressing, at most seven eighths full. A map that is full takes no more
//! keys and says so; what it does not know is kept by whoever asks. It holds hashes, not keys: two
//! keys of one partition with one hash would be taken for one, see [`key_hash`].

use mulgil_record::key_hash::key_hash;

/// A slot that holds nothing.
const FREE: i64 = -1;
/// Slots of the smallest map.
const SLOTS_MIN: usize = 1 << 4;
/// Bytes of a slot.
pub const SLOT_BYTES: usize = size_of::<u128>() + size_of::<i64>();

/// The newest offset of each key.
#[derive(Debug)]
pub struct KeyMap {
    hashes: Vec<u128>,
    offsets: Vec<i64>,
    used: usize,
    slots_max: usize,
}

impl KeyMap {
    /// An empty map that takes up to `bytes_max`, and a half more for a moment while it grows.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        let slots = bytes_max / SLOT_BYTES;
        let slots_max = if slots == 0 {
            0
        } else {
            1 << (usize::BITS - 1 - slots.leading_zeros())
        };
        Self {
            hashes: Vec::new(),
            offsets: Vec::new(),
            used: 0,
            slots_max,
        }
    }

    /// Remembers that a key has a record at `offset`, which is not negative. False if the map is full
    /// and does not know the key; then nothing has changed.
    #[must_use]
    pub fn insert(&mut self, partition: u64, key: &[u8], offset: i64) -> bool {
        let hash = key_hash(partition, key);
        if let Some(slot) = self.slot(hash)
            && let Some(known) = self.offsets.get_mut(slot)
            && *known != FREE
        {
            *known = offset.max(*known);
            return true;
        }
        if !self.has_room() {
            return false;
        }
        self.put(hash, offset);
        true
    }

    /// The newest offset of a key, if the map knows it.
    #[must_use]
    pub fn newest(&self, partition: u64, key: &[u8]) -> Option<i64> {
        let slot = self.slot(key_hash(partition, key))?;
        let offset = self.offsets.get(slot).copied();
        offset.filter(|offset| *offset != FREE)
    }

    /// How many keys it knows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.used
    }

    /// Whether it knows none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.hashes.capacity() * size_of::<u128>() + self.offsets.capacity() * size_of::<i64>()
    }

    /// Where a hash lies, or would. None if there is no slot at all.
    fn slot(&self, hash: u128) -> Option<usize> {
        let mask = self.hashes.len().checked_sub(1)?;
        // Any bits do: they are a hash's. There is always a free slot at which the search ends.
        let [a, b, c, d, e, f, g, h, ..] = hash.to_le_bytes();
        let first = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let mut slot = usize::try_from(first & mask as u64).unwrap_or(0);
        loop {
            let free = self.offsets.get(slot) == Some(&FREE);
            if free || self.hashes.get(slot) == Some(&hash) {
                return Some(slot);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Makes room for one more, if that is allowed.
    fn has_room(&mut self) -> bool {
        let slots = self.hashes.len();
        if (self.used + 1) * 8 <= slots * 7 {
            return true;
        }
        let wanted = (slots * 2).max(SLOTS_MIN);
        if wanted > self.slots_max {
            return false;
        }
        let hashes = std::mem::replace(&mut self.hashes, vec![0; wanted]);
        let offsets = std::mem::replace(&mut self.offsets, vec![FREE; wanted]);
        self.used = 0;
        for (hash, offset) in hashes.into_iter().zip(offsets) {
            if offset != FREE {
                self.put(hash, offset);
            }
        }
        true
    }

    fn put(&mut self, hash: u128, offset: i64) {
        let Some(slot) = self.slot(hash) else { return };
        if let (Some(at), Some(of)) = (self.hashes.get_mut(slot), self.offsets.get_mut(slot)) {
            *at = hash;
            *of = offset;
            self.used += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_map_says_so_and_still_learns_of_what_it_knows() {
        let mut map = KeyMap::new(100_000);
        let taken = (0..10_000_i64)
            .take_while(|at| map.insert(7, &at.to_le_bytes(), *at))
            .count();
        // 4096 slots of 24 bytes are the largest power of two in 100,000 bytes.
        assert_eq!((taken, map.len()), (3_584, 3_584));
        assert!(map.memory_bytes() <= 100_000);
        assert!(map.insert(7, &5_i64.to_le_bytes(), 9_999));
        assert_eq!(map.newest(7, &5_i64.to_le_bytes()), Some(9_999));
        assert_eq!(map.newest(7, &3_584_i64.to_le_bytes()), None);
        assert_eq!(map.newest(8, &5_i64.to_le_bytes()), None);
        let mut none = KeyMap::new(0);
        assert!(!none.insert(1, b"k", 1) && none.is_empty());
    }

    proptest! {
        #[test]
        fn it_is_a_map_of_the_largest_offsets(
            puts in proptest::collection::vec((0..3_u64, 0..400_u16, 0..1_000_i64), 0..3_000)
        ) {
            let mut map = KeyMap::new(1 << 20);
            let mut model = BTreeMap::new();
            for (partition, key, offset) in puts {
                prop_assert!(map.insert(partition, &key.to_le_bytes(), offset));
                let newest = model.entry((partition, key)).or_insert(offset);
                *newest = offset.max(*newest);
            }
            prop_assert_eq!(map.len(), model.len());
            for partition in 0..3 {
                for key in 0..400_u16 {
                    let known = model.get(&(partition, key)).copied();
                    prop_assert_eq!(map.newest(partition, &key.to_le_bytes()), known);
                }
            }
        }
    }
}
