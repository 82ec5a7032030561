//! Ids of records that came lately, so that a record sent twice is found.
//!
//! They lie in the order they came, numbered through, and go when the window is over; whether a record is settled
//! makes no difference. By reckoning 70 to 100 bytes an id.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use mulgil_record::ids::Offset;

use super::State;
use super::command::{Again, Append};
use crate::machine::WallTime;

/// How many ids a page of a checkpoint has, as a shift.
pub(super) const PAGE: u32 = 10;

/// So many ids go with an append, beside two for each of its records.
const PRUNED_MORE: usize = 16;

/// A record that came lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Came {
    /// Until when it is known.
    pub(super) until: WallTime,
    pub(super) id: u128,
    pub(super) offset: i64,
}

/// Ids of records that came lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    /// For how long ids that come are known.
    pub(super) window_ms: u64,
    /// The number of the oldest.
    pub(super) first: u64,
    came: VecDeque<Came>,
    by_id: BTreeMap<u128, i64>,
}

/// The page that a number is on.
pub(super) const fn page_of(number: u64) -> u64 {
    number >> PAGE
}

impl Ids {
    pub(super) fn heap_bytes(&self) -> usize {
        self.came.capacity() * size_of::<Came>() + self.by_id.len() * 36 + size_of::<Self>()
    }

    pub(super) fn shrink(&mut self) {
        self.came.shrink_to_fit();
    }

    /// Numbers of those that are known.
    pub(super) fn numbers(&self) -> core::ops::Range<u64> {
        self.first..self.first + u64::try_from(self.came.len()).unwrap_or(0)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Came> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.came.get(at)
    }

    /// The first record with an id, if its window is not over at a time.
    pub(super) fn first_with(&self, id: u128, at: WallTime) -> Option<i64> {
        let offset = *self.by_id.get(&id)?;
        let place = self.came.binary_search_by_key(&offset, |came| came.offset);
        let came = self.came.get(place.ok()?)?;
        (came.until > at).then_some(offset)
    }

    /// Lets go of ids whose window is over at a time, at most so many.
    fn prune(&mut self, at: WallTime, most: usize) {
        for _ in 0..most {
            let oldest = self.came.front().copied();
            let Some(oldest) = oldest.filter(|oldest| oldest.until <= at) else {
                return;
            };
            self.came.pop_front();
            self.first += 1;
            if self.by_id.get(&oldest.id) == Some(&oldest.offset) {
                self.by_id.remove(&oldest.id);
            }
        }
    }

    /// A record with an id came, and is the one that counts.
    pub(super) fn push(&mut self, came: Came) {
        self.by_id.insert(came.id, came.offset);
        self.came.push_back(came);
    }
}

impl State {
    /// The first record with an id, if ids are known for so long.
    pub(super) fn first_with(&self, id: u128, at: WallTime) -> Option<i64> {
        self.kept.ids.as_ref()?.first_with(id, at)
    }

    /// Those of an append whose id came before, or comes before within it, by their places.
    pub(super) fn again(&self, append: &Append) -> Vec<Again> {
        let mut again = Vec::new();
        let (Some(ids), Some(facts)) = (&self.kept.ids, &append.facts) else {
            return again;
        };
        let mut here: BTreeMap<u128, Offset> = BTreeMap::new();
        if facts.deduplication.is_empty() {
            return again;
        }
        for (index, offset) in append.span.offsets().enumerate() {
            let Some(id) = facts.deduplication_id(index) else {
                continue;
            };
            let before = ids.first_with(id, append.at).map(Offset);
            match before.or_else(|| here.get(&id).copied()) {
                Some(first) => again.push(Again { index, first }),
                None => {
                    here.insert(id, offset);
                }
            }
        }
        again
    }

    /// Begins to know ids, knows them for another time, or forgets all.
    pub(super) fn know_ids(&mut self, window_ms: Option<u64>) {
        self.touch_ids();
        match window_ms {
            Some(window_ms) => self.kept.ids.get_or_insert_default().window_ms = window_ms,
            None => self.kept.ids = None,
        }
    }

    /// Every page of ids is to be written.
    pub(super) fn touch_ids(&mut self) {
        let numbers = self.kept.ids.as_ref().map_or(0..0, |ids| ids.numbers());
        self.touch_numbers(numbers);
    }

    fn touch_numbers(&mut self, numbers: core::ops::Range<u64>) {
        if !numbers.is_empty() {
            let page = |number| i64::try_from(page_of(number)).unwrap_or(i64::MAX - 1);
            let (first, last) = (page(numbers.start), page(numbers.end - 1));
            self.live.dirty_ids.insert(first, last + 1);
        }
    }

    /// Records came, and with them ids; others are known no more.
    pub(super) fn note_ids(&mut self, append: &Append) {
        let Some(ids) = &mut self.kept.ids else {
            return;
        };
        let before = ids.numbers();
        // More go than come, so that none stay behind, and never so many that it takes long.
        ids.prune(append.at, append.span.offsets().count() * 2 + PRUNED_MORE);
        for (index, offset) in append.span.offsets().enumerate() {
            let facts = append.facts.as_ref();
            if let Some(id) = facts.and_then(|facts| facts.deduplication_id(index)) {
                let until = append.at.plus_ms(ids.window_ms);
                let offset = offset.0;
                if ids.first_with(id, append.at).is_none() {
                    ids.push(Came { until, id, offset });
                }
            }
        }
        let after = ids.numbers();
        self.touch_numbers(before.start..after.start);
        self.touch_numbers(before.end.max(after.start)..after.end);
    }
}
