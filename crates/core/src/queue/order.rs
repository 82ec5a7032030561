//! Order by key, as the rest of the state sees it.

use alloc::boxed::Box;

use mulgil_record::facts::Columns;

use super::State;
use super::keys::{Behind, DEAD_A_TURN};
use super::locks::key_of;

impl State {
    /// The key of a record, folded; none if it has none.
    pub(super) fn key(&self, offset: i64) -> Option<u32> {
        let facets = self.kept.facets.as_ref()?;
        Some(facets.keys.get(offset)).filter(|key| *key != 0)
    }

    /// How many records wait behind others of their key.
    pub(super) fn parked(&self) -> u64 {
        let keys = self.live.keys.as_ref();
        keys.map_or(0, |keys| keys.parked().len())
    }

    /// Whether available records of a key may be handed out.
    pub(super) fn may_go(&self, key: u32) -> bool {
        let keys = self.live.keys.as_ref();
        keys.is_none_or(|keys| keys.may_go(key))
    }

    /// The first parked record of a key behind one that is handed out of it.
    pub(super) fn parked_behind(&self, key: u32, from: i64, room: &mut u32) -> Behind {
        let keys = self.live.keys.as_ref();
        keys.map_or(Behind::Nothing, |keys| keys.parked_behind(key, from, room))
    }

    /// Whether others of its key wait for a record: it is held, or waits to be tried again.
    fn blocks(&self, offset: i64) -> bool {
        let Self { kept, live } = self;
        if offset < kept.start || kept.done.contains(offset) {
            return false;
        }
        let again = || kept.schedule.waiting.contains(offset) && self.tries(offset).acquired > 0;
        live.locks.get(offset).is_some() || again()
    }

    /// Looks anew at what a record means for its key.
    pub(super) fn rekey(&mut self, offset: i64) {
        if self.live.keys.is_none() {
            return;
        }
        let Some(key) = self.key(offset) else {
            return;
        };
        let blocks = self.blocks(offset);
        let keys = self.live.keys.as_mut();
        if let Some(woken) = keys.and_then(|keys| keys.moved(key, offset, blocks)) {
            self.live.taken.remove(woken, woken + 1);
            self.live.cursor = self.live.cursor.min(woken);
        }
    }

    /// Searches on for whom to wake of keys that are free, a bounded part of it.
    pub(super) fn search_keys(&mut self) {
        let mut room = DEAD_A_TURN;
        while let Some(keys) = &mut self.live.keys
            && let Some(woken) = keys.search(&mut room)
        {
            self.live.taken.remove(woken, woken + 1);
            self.live.cursor = self.live.cursor.min(woken);
        }
    }

    /// Whether keys that are free are searched for whom to wake.
    pub(super) fn searches_keys(&self) -> bool {
        let keys = self.live.keys.as_ref();
        keys.is_some_and(|keys| keys.any_searched())
    }

    /// A stretch is taken: looks anew at those of it on which their key hangs. None of the stretch is woken
    /// by that.
    pub(super) fn rekey_taken(&mut self, first: i64, end: i64) {
        if let Some(keys) = &mut self.live.keys {
            keys.leave(first, end);
        }
        let mut from = first;
        while let Some(keys) = &self.live.keys
            && let Some(known) = keys.next_known(from).filter(|known| *known < end)
        {
            self.rekey(known);
            from = known + 1;
        }
    }

    /// An available record waits behind another one of its key.
    pub(super) fn park(&mut self, offset: i64) {
        let known = self.kept.start <= offset && offset < self.kept.end;
        if !known || self.live.taken.contains(offset) {
            return;
        }
        let Some(key) = self.key(offset) else {
            return;
        };
        let keys = self.live.keys.as_mut();
        if keys.is_some_and(|keys| keys.park(key, offset)) {
            self.live.taken.insert(offset, offset + 1);
        }
    }

    /// Begins to go by key, or ends it: all that is parked is available again.
    pub(super) fn track_keys(&mut self) {
        let tracked = self.tracked().has(Columns::ORDERING_KEY);
        if tracked {
            self.live.keys.get_or_insert_with(Box::default);
        } else if let Some(keys) = self.live.keys.take() {
            for (first, end) in keys.parked().runs() {
                self.live.taken.remove(first, end);
                self.live.cursor = self.live.cursor.min(first);
            }
        }
    }

    /// Works out which keys wait, after a restart.
    pub(super) fn index_keys(&mut self) {
        self.live.keys = None;
        self.track_keys();
        if self.live.keys.is_none() {
            return;
        }
        for (lock, _) in self.live.locks.kept() {
            self.rekey(lock.offset);
        }
        let tried = self.kept.tries.unordered().map(|(offset, _)| offset);
        let tried: alloc::vec::Vec<u64> = tried.collect();
        let (start, end) = (key_of(self.kept.start), key_of(self.kept.end));
        for offset in tried.into_iter().filter(|at| (start..end).contains(at)) {
            self.rekey(i64::try_from(offset).unwrap_or(0));
        }
    }
}

/// The hash of a key as it is kept. Two keys of one fold wait for each other without need, which is rare:
/// one in 2^32 for each pair.
pub(super) fn fold(hash: u64) -> u32 {
    let folded = (hash ^ (hash >> 32)) & u64::from(u32::MAX);
    u32::try_from(folded).unwrap_or(1).max(1)
}
