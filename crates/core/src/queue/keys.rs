//! Order by key: which keys wait because a record of theirs is held or waits to be tried again, and
//! which records wait behind them.
//!
//! Nothing is known of a key before one of its records is handed out, nor once none is left that keeps it.
//! Who goes over the available records and meets one whose key has to wait *parks* it: it counts as taken,
//! and hangs on the chain of its key, so that nobody meets it again before its turn. When the key is free,
//! the first of its chain is *woken*. So however many records wait behind however many keys, each is met a
//! bounded number of times.
//!
//! A chain goes by offset and costs 4 bytes a record. A record that comes out of order (its delay was
//! longer than that of a later one) lies in a tree beside. What is settled while it is parked stays in its
//! chain until it would be woken. Millions may be settled at once, so only a few such links are passed over when
//! a key is free; if there are more, the key goes on waiting and is *searched* a part at a time.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};

use super::offset_set::OffsetSet;
use super::table::Table;

/// No record.
const NONE: i64 = i64::MIN;
const LINKS: usize = 256;
/// The last of a chain. Other links are how far the next one is, and 1.
const LAST: u32 = 1;
/// So many links of what is settled are passed over at once when a key is free; so few that tests go further.
const DEAD_AT_ONCE: u32 = 1;
/// So many are in one turn of searching: some tens of microseconds.
pub(super) const DEAD_A_TURN: u32 = 1_024;

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
struct Key {
    /// Records that keep others of it from being handed out.
    blocking: u32,
    /// It is free, and its chain may have somebody to wake.
    searched: bool,
    /// The parked record that has been made available again.
    woken: i64,
    head: i64,
    tail: i64,
}

impl Default for Key {
    fn default() -> Self {
        Self {
            blocking: 0,
            searched: false,
            woken: NONE,
            head: NONE,
            tail: NONE,
        }
    }
}

#[derive(Clone, Debug)]
struct Links {
    each: [u32; LINKS],
    used: u32,
}

/// Keys that wait, and who waits behind them.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    by_key: Table<Key>,
    blocking: OffsetSet,
    parked: OffsetSet,
    woken: OffsetSet,
    links: BTreeMap<i64, Box<Links>>,
    odd: BTreeSet<(u32, i64)>,
    /// Keys whose chains are searched.
    searched: BTreeSet<u32>,
}

/// What came of looking for the first parked record of a key.
enum Popped {
    Record(i64),
    Nothing,
    /// More links of what is settled than may be passed over.
    NotYet,
}

/// What is parked of a key behind a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    Record(i64),
    Nothing,
    /// More links of what is settled than may be passed over.
    Unknown,
}

fn place(offset: i64) -> usize {
    usize::try_from(offset & 0xff).unwrap_or(0)
}

/// How far `next` is behind `offset`, as a link.
fn link_to(offset: i64, next: i64) -> Option<u32> {
    let far = next.checked_sub(offset).filter(|far| *far > 0)?;
    u32::try_from(far + 1).ok()
}

impl Keys {
    pub(super) const fn parked(&self) -> &OffsetSet {
        &self.parked
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let sets = [&self.blocking, &self.parked, &self.woken];
        let sets: usize = sets.iter().map(|set| set.heap_bytes()).sum();
        let links = self.links.len() * (size_of::<Links>() + 24);
        self.by_key.heap_bytes()
            + sets
            + links
            + (self.odd.len() + self.searched.len()) * 32
            + size_of::<Self>()
    }

    pub(super) fn shrink(&mut self) {
        self.by_key.shrink();
        let sets = [&mut self.blocking, &mut self.parked, &mut self.woken];
        sets.into_iter().for_each(OffsetSet::shrink);
    }

    /// Whether an available record of a key may be handed out. Where one is woken and others of its key are
    /// available, who goes by offset meets the first of them first.
    pub(super) fn may_go(&self, key: u32) -> bool {
        let known = self.by_key.get(key.into());
        known.is_none_or(|key| key.blocking == 0 && !key.searched)
    }

    /// Parked records from `first` up to `end` are taken by something else: they are not to be woken.
    pub(super) fn leave(&mut self, first: i64, end: i64) {
        self.parked.remove(first, end);
        if self.parked.is_empty() && !self.links.is_empty() {
            // Chains of nothing: whoever hangs to one begins it anew.
            self.links = BTreeMap::new();
            self.odd = BTreeSet::new();
        }
    }

    /// The first record from `from` on on which its key hangs.
    pub(super) fn next_known(&self, from: i64) -> Option<i64> {
        let sets = [&self.blocking, &self.woken];
        sets.iter().filter_map(|set| set.next_in(from)).min()
    }

    /// A record of a key was taken or is about to be freed, and keeps others of its key waiting or
    /// not. Returns what is woken by that.
    pub(super) fn moved(&mut self, key: u32, offset: i64, blocks: bool) -> Option<i64> {
        self.parked.remove(offset, offset + 1);
        let Some(mut known) = self.by_key.get(key.into()) else {
            if blocks {
                self.blocking.insert(offset, offset + 1);
                let known = Key {
                    blocking: 1,
                    ..Key::default()
                };
                self.by_key.insert(key.into(), known);
            }
            return None;
        };
        if blocks && self.blocking.insert(offset, offset + 1) > 0 {
            known.blocking += 1;
        }
        if !blocks && self.blocking.remove(offset, offset + 1) > 0 {
            known.blocking -= 1;
        }
        if known.woken == offset || known.blocking > 0 {
            self.forget_woken(&mut known);
        }
        if known.blocking == 0 && known.woken == NONE {
            let mut room = DEAD_AT_ONCE;
            return self.wake(key, known, &mut room);
        }
        if known.searched {
            known.searched = false;
            self.searched.remove(&key);
        }
        self.by_key.insert(key.into(), known);
        None
    }

    /// Whether a chain is searched.
    pub(super) fn any_searched(&self) -> bool {
        !self.searched.is_empty()
    }

    /// Searches on, up to the first that is woken or as far as `room` goes. Returns what is woken.
    pub(super) fn search(&mut self, room: &mut u32) -> Option<i64> {
        while *room > 0
            && let Some(key) = self.searched.first().copied()
        {
            let Some(known) = self.by_key.get(key.into()) else {
                self.searched.remove(&key);
                continue;
            };
            *room -= 1;
            if let Some(woken) = self.wake(key, known, room) {
                return Some(woken);
            }
        }
        None
    }

    /// A key is free: looks for the first parked record of it.
    fn wake(&mut self, key: u32, mut known: Key, room: &mut u32) -> Option<i64> {
        let popped = self.pop(key, &mut known, room);
        let search = matches!(popped, Popped::NotYet);
        if search {
            self.searched.insert(key);
        } else if known.searched {
            self.searched.remove(&key);
        }
        known.searched = search;
        match popped {
            Popped::Record(woken) => {
                known.woken = woken;
                self.woken.insert(woken, woken + 1);
                self.by_key.insert(key.into(), known);
                Some(woken)
            }
            Popped::NotYet => {
                self.by_key.insert(key.into(), known);
                None
            }
            Popped::Nothing => {
                self.by_key.remove(key.into());
                None
            }
        }
    }

    fn forget_woken(&mut self, known: &mut Key) {
        let woken = core::mem::replace(&mut known.woken, NONE);
        if woken != NONE {
            self.woken.remove(woken, woken + 1);
        }
    }

    /// Parks an available record of a key, if that has to wait.
    pub(super) fn park(&mut self, key: u32, offset: i64) -> bool {
        if self.may_go(key) {
            return false;
        }
        let Some(mut known) = self.by_key.get(key.into()) else {
            return false;
        };
        self.parked.insert(offset, offset + 1);
        if self.link(offset) == 0 {
            self.hang(key, &mut known, offset);
            self.by_key.insert(key.into(), known);
        }
        true
    }

    /// The first parked record of a key behind `from`, which is one that was handed out of it; passes over
    /// no more settled ones than there is room for.
    pub(super) fn parked_behind(&self, key: u32, from: i64, room: &mut u32) -> Behind {
        let Some(known) = self.by_key.get(key.into()) else {
            return Behind::Nothing;
        };
        let odd = self.odd.range((key, from + 1)..=(key, i64::MAX));
        let odd = { odd.map(|(_, offset)| *offset) }.find(|offset| self.parked.contains(*offset));
        let mut at = match self.link(from) {
            0 => known.head,
            LAST => NONE,
            link => from + i64::from(link) - 1,
        };
        while at != NONE && (at <= from || !self.parked.contains(at)) {
            if *room == 0 {
                return Behind::Unknown;
            }
            *room -= 1;
            at = match self.link(at) {
                0 | LAST => NONE,
                link => at + i64::from(link) - 1,
            };
        }
        match (odd, at) {
            (None, NONE) => Behind::Nothing,
            (Some(odd), NONE) => Behind::Record(odd),
            (None, at) => Behind::Record(at),
            (Some(odd), at) => Behind::Record(odd.min(at)),
        }
    }

    /// Hangs a record to its place in the chain of its key.
    fn hang(&mut self, key: u32, known: &mut Key, offset: i64) {
        if known.head == NONE || self.link(known.head) == 0 {
            (known.head, known.tail) = (offset, offset);
            self.set_link(offset, LAST);
        } else if let Some(link) = link_to(known.tail, offset) {
            self.set_link(known.tail, link);
            self.set_link(offset, LAST);
            known.tail = offset;
        } else if let Some(link) = link_to(offset, known.head) {
            self.set_link(offset, link);
            known.head = offset;
        } else {
            self.odd.insert((key, offset));
        }
    }

    /// Takes the first parked record of a key, passing over no more settled ones than there is room for.
    fn pop(&mut self, key: u32, known: &mut Key, room: &mut u32) -> Popped {
        loop {
            let odd = self.odd.range((key, NONE)..=(key, i64::MAX)).next();
            let odd = odd.map_or(i64::MAX, |(_, offset)| *offset);
            let head = match known.head {
                NONE => i64::MAX,
                head => head,
            };
            let first = odd.min(head);
            if first == i64::MAX {
                return Popped::Nothing;
            }
            if *room == 0 && !self.parked.contains(first) {
                return Popped::NotYet;
            }
            if odd == first {
                self.odd.remove(&(key, odd));
            }
            if head == first {
                let link = self.link(head);
                self.set_link(head, 0);
                known.head = match link {
                    0 | LAST => NONE,
                    link => head + i64::from(link) - 1,
                };
            }
            if self.parked.remove(first, first + 1) > 0 {
                return Popped::Record(first);
            }
            *room -= 1;
        }
    }

    fn link(&self, offset: i64) -> u32 {
        let links = self.links.get(&(offset >> 8));
        let link = links.and_then(|links| links.each.get(place(offset)));
        link.copied().unwrap_or(0)
    }

    fn set_link(&mut self, offset: i64, link: u32) {
        let links = self.links.entry(offset >> 8).or_insert_with(|| {
            Box::new(Links {
                each: [0; LINKS],
                used: 0,
            })
        });
        if let Some(there) = links.each.get_mut(place(offset)) {
            links.used = links.used + u32::from(link != 0) - u32::from(*there != 0);
            *there = link;
        }
        if links.used == 0 {
            self.links.remove(&(offset >> 8));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_records_of_a_key_are_passed_over_a_part_at_a_time() {
        let (mut keys, key, last) = (Keys::default(), 7, 100_000);
        assert_eq!(keys.moved(key, 0, true), None);
        (1..=last).for_each(|offset| assert!(keys.park(key, offset)));
        keys.leave(1, last);
        assert_eq!(keys.moved(key, 0, false), None, "too many at once");
        assert!(!keys.may_go(key), "who waits longer goes first");
        assert!(keys.park(key, last + 1), "who comes meanwhile waits");
        let mut turns = 0;
        let woken = loop {
            assert!(keys.any_searched());
            let mut room = DEAD_A_TURN;
            turns += 1;
            if let Some(woken) = keys.search(&mut room) {
                break woken;
            }
        };
        assert_eq!(woken, last);
        assert!(turns * i64::from(DEAD_A_TURN) > last, "{turns} turns");
        assert!(keys.may_go(key) && !keys.any_searched());
        assert_eq!(keys.moved(key, last, true), None);
        assert_eq!(keys.moved(key, last, false), Some(last + 1));
    }
}
