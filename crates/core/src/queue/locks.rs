//! Who holds which record, under which acquisition, until when.
//!
//! A slot for each held record, found by offset, and hung on a list of what its consumer holds. Slots
//! are used again, so that acquiring and settling allocate nothing.

use alloc::vec::Vec;

use super::names::{ConsumerId, LockEpoch};
use super::table::Table;
use super::timers::Timers;
use crate::machine::Elapsed;

const NONE: u32 = u32::MAX;

/// A held record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lock {
    pub(super) offset: i64,
    pub(super) consumer: ConsumerId,
    pub(super) epoch: LockEpoch,
    /// Whether it outlives its consumer, and a restart.
    pub(super) outlives: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    lock: Option<Lock>,
    /// Of the list of its consumer, or of free slots.
    before: u32,
    behind: u32,
}

/// All held records.
#[derive(Clone, Debug)]
pub(super) struct Locks {
    slots: Vec<Slot>,
    free: u32,
    by_offset: Table<u32>,
    /// The newest that each consumer holds; those that outlive it are not among them.
    by_consumer: Table<u32>,
    timers: Timers,
    outliving: usize,
}

impl Default for Locks {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            by_offset: Table::default(),
            by_consumer: Table::default(),
            timers: Timers::default(),
            outliving: 0,
        }
    }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

/// An offset as the key of a table.
pub(super) fn key_of(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

impl Locks {
    pub(super) const fn len(&self) -> usize {
        self.by_offset.len()
    }

    /// How many outlive a restart.
    pub(super) const fn outliving(&self) -> usize {
        self.outliving
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let tables = self.by_offset.heap_bytes() + self.by_consumer.heap_bytes();
        // A slot, and its place among the timers.
        self.slots.capacity() * (size_of::<Slot>() + 24) + tables
    }

    /// Gives back what is kept for later, if nothing is held.
    pub(super) fn shrink(&mut self) {
        if self.len() == 0 {
            *self = Self::default();
        }
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(index(slot))
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(index(slot))
    }

    /// Who holds `offset`.
    pub(super) fn get(&self, offset: i64) -> Option<&Lock> {
        let slot = self.by_offset.get(key_of(offset))?;
        self.slot(slot)?.lock.as_ref()
    }

    /// Until when `offset` is held, if that has an end.
    pub(super) fn until(&self, offset: i64) -> Option<Elapsed> {
        let slot = self.by_offset.get(key_of(offset))?;
        self.timers.get(slot)
    }

    /// Holds a record that nobody holds.
    pub(super) fn add(&mut self, lock: Lock, until: Option<Elapsed>) {
        self.remove(lock.offset);
        let slot = self.unused();
        let mut behind = NONE;
        if lock.outlives {
            self.outliving += 1;
        } else {
            let newest = self.by_consumer.get(lock.consumer.0);
            behind = newest.unwrap_or(NONE);
            self.by_consumer.insert(lock.consumer.0, slot);
        }
        if let Some(behind) = self.slot_mut(behind) {
            behind.before = slot;
        }
        if let Some(place) = self.slot_mut(slot) {
            *place = Slot {
                lock: Some(lock),
                before: NONE,
                behind,
            };
        }
        self.by_offset.insert(key_of(lock.offset), slot);
        if let Some(until) = until {
            self.timers.set(slot, until);
        }
    }

    fn unused(&mut self) -> u32 {
        let slot = self.free;
        if let Some(place) = self.slot(slot) {
            self.free = place.behind;
            return slot;
        }
        self.slots.push(Slot {
            lock: None,
            before: NONE,
            behind: NONE,
        });
        u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
    }

    /// Holds a record no more.
    pub(super) fn remove(&mut self, offset: i64) -> Option<Lock> {
        let slot = self.by_offset.remove(key_of(offset))?;
        let Slot {
            lock,
            before,
            behind,
        } = *self.slot(slot)?;
        let lock = lock?;
        if lock.outlives {
            self.outliving -= 1;
        } else if before == NONE && behind == NONE {
            self.by_consumer.remove(lock.consumer.0);
        } else if before == NONE {
            self.by_consumer.insert(lock.consumer.0, behind);
        }
        if let Some(place) = self.slot_mut(before) {
            place.behind = behind;
        }
        if let Some(place) = self.slot_mut(behind) {
            place.before = before;
        }
        let free = core::mem::replace(&mut self.free, slot);
        if let Some(place) = self.slot_mut(slot) {
            *place = Slot {
                lock: None,
                before: NONE,
                behind: free,
            };
        }
        self.timers.cancel(slot);
        Some(lock)
    }

    /// Gives a held record another end.
    pub(super) fn renew(&mut self, offset: i64, until: Elapsed) {
        if let Some(slot) = self.by_offset.get(key_of(offset)) {
            self.timers.set(slot, until);
        }
    }

    /// When the first lock runs out.
    pub(super) fn deadline(&self) -> Option<Elapsed> {
        self.timers.first()
    }

    /// Locks that have run out.
    pub(super) fn due(&self, now: Elapsed) -> impl Iterator<Item = &Lock> {
        let slots = self.timers.due(now);
        slots.filter_map(|slot| self.slot(slot)?.lock.as_ref())
    }

    /// What `consumer` holds under locks bound to it, newest first.
    pub(super) fn of(&self, consumer: ConsumerId) -> impl Iterator<Item = &Lock> {
        let mut next = self.by_consumer.get(consumer.0).unwrap_or(NONE);
        core::iter::from_fn(move || {
            let slot = self.slot(next)?;
            next = slot.behind;
            slot.lock.as_ref()
        })
    }

    /// Whether `consumer` holds anything under a lock bound to it.
    pub(super) fn has_any(&self, consumer: ConsumerId) -> bool {
        self.by_consumer.get(consumer.0).is_some()
    }

    /// Held offsets from `first` up to `end`, in order.
    pub(super) fn within(&self, first: i64, end: i64) -> Vec<i64> {
        let span = u64::try_from(end.saturating_sub(first)).unwrap_or(0);
        let mut held: Vec<i64> = if span <= u64::try_from(self.len()).unwrap_or(u64::MAX) {
            (first..end)
                .filter(|offset| self.get(*offset).is_some())
                .collect()
        } else {
            let all = self.all().map(|(lock, _)| lock.offset);
            all.filter(|offset| (first..end).contains(offset)).collect()
        };
        held.sort_unstable();
        held
    }

    /// All locks with their ends, in no order that means anything.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Lock, Option<Elapsed>)> {
        let slots = (0u32..).zip(&self.slots);
        slots.filter_map(|(slot, place)| Some((place.lock.as_ref()?, self.timers.get(slot))))
    }

    /// Those that a restart finds again, by offset.
    pub(super) fn kept(&self) -> Vec<(Lock, Option<Elapsed>)> {
        let kept = self.all().filter(|(lock, _)| lock.outlives);
        let mut kept: Vec<_> = kept.map(|(lock, until)| (*lock, until)).collect();
        kept.sort_unstable_by_key(|(lock, _)| lock.offset);
        kept
    }
}
