//! Records that wait for their time.
//!
//! The index by time forgets nothing early: of a record whose time was changed, the old entry stays
//! in it, and is passed over when it comes. So only records that were moved while they waited cost
//! anything beside their entry.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::offset_set::OffsetSet;
use super::time_index::TimeIndex;
use crate::machine::WallTime;

/// A record of which the index holds more than its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// The time that counts, if it waits.
    pub(super) due: Option<u64>,
    /// How many entries do not.
    pub(super) stale: u32,
}

/// Records that wait for their time.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    pub(super) waiting: OffsetSet,
    pub(super) index: TimeIndex,
    pub(super) moved: BTreeMap<i64, Moved>,
}

impl Schedule {
    /// Lets `offset` wait until `due`, whatever it did before.
    pub(super) fn set(&mut self, offset: i64, due: WallTime) {
        let waited = self.waiting.insert(offset, offset + 1) == 0;
        if waited || self.moved.contains_key(&offset) {
            let moved = self.moved.entry(offset).or_default();
            moved.stale += u32::from(waited);
            moved.due = Some(due.0);
        }
        self.index.push(due.0, offset);
    }

    /// Takes out records that are settled. Their entries stay until they come.
    pub(super) fn remove(&mut self, first: i64, end: i64) -> u64 {
        // Those never wait again, so that it makes no difference which of their entries counted.
        while let Some((&offset, _)) = self.moved.range(first..end).next() {
            self.moved.remove(&offset);
        }
        self.waiting.remove(first, end)
    }

    /// Every record that waits, and when it is due, by offset.
    fn due(&self) -> Vec<(i64, u64)> {
        let all = self.index.unordered();
        let due = all.filter(|(ms, offset)| counts(&self.waiting, &self.moved, *ms, *offset));
        let mut due: Vec<_> = due.map(|(ms, offset)| (offset, ms)).collect();
        due.sort_unstable();
        due
    }

    /// When the first entry comes. It may mean nothing any more.
    pub(super) fn first(&self) -> Option<WallTime> {
        self.index.first().map(|(ms, _)| WallTime(ms))
    }

    /// Takes the next entry that has come: its time, and the record that waits no more, if it means one.
    pub(super) fn pop(&mut self, until: WallTime) -> Option<(u64, Option<i64>)> {
        let (ms, offset) = self.index.pop(until.0)?;
        if let Some(moved) = self.moved.get_mut(&offset) {
            let counts = moved.due == Some(ms);
            if counts {
                moved.due = None;
            } else {
                moved.stale = moved.stale.saturating_sub(1);
            }
            if moved.due.is_none() && moved.stale == 0 {
                self.moved.remove(&offset);
            }
            if !counts {
                return Some((ms, None));
            }
        }
        let waited = self.waiting.remove(offset, offset + 1) > 0;
        Some((ms, waited.then_some(offset)))
    }
}

/// Whether an entry of the index means anything.
fn counts(waiting: &OffsetSet, moved: &BTreeMap<i64, Moved>, ms: u64, offset: i64) -> bool {
    let due = moved.get(&offset).and_then(|moved| moved.due);
    waiting.contains(offset) && due.is_none_or(|due| due == ms)
}

/// Entries that mean nothing make no difference.
impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.waiting == other.waiting && self.due() == other.due()
    }
}

impl Eq for Schedule {}
