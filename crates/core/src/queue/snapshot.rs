//! A subscription as a checkpoint has it: a head, and pages for what changed.
//!
//! ```text
//! head        version u8, start i64, end i64,
//!             tally: accepted u64, moved 6 x u64, dropped 6 x u64, lost u64, purged u64,
//!             aged i64, grain u64, marks u16, each: first i64, not after u64,
//!             tracked columns u16, as facts have them,
//!             ids u8 (0, 1), window u64 and number of the oldest u64 if 1
//! page        kind u8, then by kind:
//!   1 offsets     block i64 (65,536 offsets each)
//!                 settled set, scheduled set, overdue set
//!                 tried u32, each: low u16, acquired u16, failed u16
//!                 locked u32, each: low u16, consumer u64, leader i32, number u64, until u64
//!                 condemned u32, each: low u16, reason u8, at u64, words u8 (0, 1), words text if 1
//!                 moved u32, each: low u16, stale u32, due u8 (0, 1), due u64 if 1
//!   2 times, 3 expiries
//!                bucket u64 (65,536 ms each), count u32,
//!                 each: u64 = millisecond within the bucket << 48 | offset
//!   4 facts      block i64, columns of priorities (u8), sizes (u32), folded ordering keys (u32)
//!   5 ids         number of the first u64, count u16 <= 1,024, each: until u64, id u128, offset i64
//! column      u16 n, then n chunks of 256 offsets: its place in the block u8,
//!             0 and one value for all, or 1 and 256 values
//! set         u16 n <= 2,048, then n runs: first u16, last u16;
//!             or u16 = 65,535, then 8,192 bytes, the lowest bit of the first is the first offset
//! ```
//!
//! Numbers are little-endian, `low` is an offset's place in its block. Pages without anything in them
//! are not written; a page that was written before and has nothing any more is to be removed. All pages
//! of one checkpoint, old and new, are as the subscription was at one moment: those that were not
//! written again had not changed.

mod facts;
mod ids;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::BufMut;

use super::Subscription;
use super::ids::Came;
use super::locks::{Lock, key_of};
use super::marks::MARKS_MAX;
use super::names::{ConsumerId, Reason, Tries};
use super::offset_set::OffsetSet;
use super::schedule::Moved;
use super::settings::Settings;
use super::state::{Condemned, State};
use super::tally::Tally;
use super::time_index::TimeIndex;
use super::wire::{Input, WireError, put_epoch, put_text};
use crate::machine::WallTime;

/// Version of the layout.
///
/// Version 1 had no facts; nothing was ever stored in it. Version 2 did not count what was purged, version 3 had
/// no ids; both are still read.
pub const VERSION: u8 = 4;

/// The version that does not count what was purged.
const UNCOUNTED: u8 = 2;
/// The first version with ids.
const WITH_IDS: u8 = 4;

const RUNS_MAX: usize = 2_048;
const BITS: u16 = u16::MAX;
const BITS_BYTES: usize = 8_192;

/// Which part of a subscription a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageId {
    /// A block of 65,536 offsets.
    Offsets(i64),
    /// What is due within 65,536 ms.
    Times(u64),
    /// What expires within 65,536 ms.
    Expiries(u64),
    /// What is kept of the facts of a block of 65,536 offsets.
    Facts(i64),
    /// Ids of 1,024 records that came lately.
    Ids(u64),
}

fn block(number: i64) -> (i64, i64) {
    (number << 16, (number + 1) << 16)
}

fn low(offset: i64) -> u16 {
    u16::try_from(offset & 0xffff).unwrap_or(0)
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.put_u32_le(u32::try_from(count).expect("a page has far fewer than 2^32 of anything"));
}

impl Subscription {
    /// Writes the head to the end of `out`.
    pub fn write_head(&self, out: &mut Vec<u8>) {
        let kept = &self.state.kept;
        out.put_u8(VERSION);
        out.put_i64_le(kept.start);
        out.put_i64_le(kept.end);
        let Tally {
            accepted,
            moved,
            dropped,
            lost,
            purged,
        } = kept.tally;
        let numbers = core::iter::once(accepted).chain(moved).chain(dropped);
        for number in numbers.chain([lost, purged]) {
            out.put_u64_le(number);
        }
        out.put_i64_le(kept.aged);
        out.put_u64_le(kept.marks.grain_ms);
        let marks = &kept.marks.marks;
        out.put_u16_le(u16::try_from(marks.len()).unwrap_or(u16::MAX));
        for (first, at) in marks {
            out.put_i64_le(*first);
            out.put_u64_le(at.0);
        }
        out.put_u16_le(self.state.tracked().0);
        ids::write_head(&self.state, out);
    }

    /// Pages that changed since [`Self::all_written`], whether or not anything is left in them.
    #[must_use]
    pub fn changed_pages(&self) -> Vec<PageId> {
        let live = &self.state.live;
        let blocks = live.dirty.runs().flat_map(|(first, end)| first..end);
        let buckets = |set: &'_ OffsetSet| -> Vec<u64> {
            let all = set.runs().flat_map(|(first, end)| first..end);
            all.filter_map(|bucket| u64::try_from(bucket).ok())
                .collect()
        };
        let times = buckets(&live.dirty_times).into_iter().map(PageId::Times);
        let expiries = buckets(&live.dirty_expiries)
            .into_iter()
            .map(PageId::Expiries);
        let facts = live.dirty_facts.runs();
        let facts = facts.flat_map(|(first, end)| first..end);
        let blocks = blocks.map(PageId::Offsets);
        let ids = buckets(&live.dirty_ids).into_iter().map(PageId::Ids);
        let rest = expiries.chain(facts.map(PageId::Facts)).chain(ids);
        blocks.chain(times).chain(rest).collect()
    }

    /// Counts every page with anything in it as changed, for a checkpoint that stands on none before.
    pub fn all_changed(&mut self) {
        self.state.dirty_all_facets();
        self.state.touch_ids();
        let State { kept, live } = &mut self.state;
        let locks = live.locks.kept();
        let sets = kept.done.blocks().chain(kept.schedule.waiting.blocks());
        let sets = sets.chain(kept.overdue.blocks());
        let tried = kept.tries.unordered();
        let tried = tried.map(|(offset, _)| i64::try_from(offset >> 16).unwrap_or(0));
        let locked = locks.iter().map(|(lock, _)| lock.offset >> 16);
        let rest = kept.condemned.keys().chain(kept.schedule.moved.keys());
        let rest = rest.map(|offset| offset >> 16);
        for number in sets.chain(tried).chain(locked).chain(rest) {
            live.dirty.insert(number, number + 1);
        }
        for bucket in kept.schedule.index.buckets() {
            let bucket = i64::try_from(bucket).unwrap_or(i64::MAX - 1);
            live.dirty_times.insert(bucket, bucket + 1);
        }
        for bucket in kept.expiry.buckets() {
            let bucket = i64::try_from(bucket).unwrap_or(i64::MAX - 1);
            live.dirty_expiries.insert(bucket, bucket + 1);
        }
    }

    /// Every page that changed is in a checkpoint.
    pub fn all_written(&mut self) {
        self.state.live.dirty = OffsetSet::default();
        self.state.live.dirty_times = OffsetSet::default();
        self.state.live.dirty_expiries = OffsetSet::default();
        self.state.live.dirty_facts = OffsetSet::default();
        self.state.live.dirty_ids = OffsetSet::default();
    }

    /// Writes a page to the end of `out`; writes nothing and says no if nothing is in it.
    pub fn write_page(&self, id: PageId, out: &mut Vec<u8>) -> bool {
        match id {
            PageId::Offsets(number) => write_offsets(&self.state, number, out),
            PageId::Times(bucket) => write_times(2, &self.state.kept.schedule.index, bucket, out),
            PageId::Expiries(bucket) => write_times(3, &self.state.kept.expiry, bucket, out),
            PageId::Facts(number) => facts::write(&self.state, number, out),
            PageId::Ids(page) => ids::write(&self.state, page, out),
        }
    }
}

fn write_times(kind: u8, index: &TimeIndex, bucket: u64, out: &mut Vec<u8>) -> bool {
    let count = index.packed(bucket).count();
    if count > 0 {
        out.put_u8(kind);
        out.put_u64_le(bucket);
        put_count(count, out);
        index
            .packed(bucket)
            .for_each(|packed| out.put_u64_le(packed));
    }
    count > 0
}

fn write_set(set: &OffsetSet, first: i64, end: i64, out: &mut Vec<u8>) -> bool {
    let mut runs = Vec::new();
    let mut from = first;
    while let Some((run, past)) = set.next_run(from).filter(|(run, _)| *run < end) {
        runs.push((run, past.min(end)));
        from = past;
    }
    if runs.len() <= RUNS_MAX {
        out.put_u16_le(u16::try_from(runs.len()).unwrap_or(0));
        for (run, past) in &runs {
            out.put_u16_le(low(*run));
            out.put_u16_le(low(past - 1));
        }
    } else {
        out.put_u16_le(BITS);
        let begin = out.len();
        out.resize(begin + BITS_BYTES, 0);
        for offset in runs.iter().flat_map(|(run, past)| *run..*past) {
            let at = usize::from(low(offset));
            if let Some(byte) = out.get_mut(begin + at / 8) {
                *byte |= 1 << (at % 8);
            }
        }
    }
    !runs.is_empty()
}

fn write_offsets(state: &State, number: i64, out: &mut Vec<u8>) -> bool {
    let begin = out.len();
    let (first, end) = block(number);
    let kept = &state.kept;
    out.put_u8(1);
    out.put_i64_le(number);
    let mut any = write_set(&kept.done, first, end, out);
    any |= write_set(&kept.schedule.waiting, first, end, out);
    any |= write_set(&kept.overdue, first, end, out);
    let mut tried = kept.tries.within(key_of(first), key_of(end));
    tried.sort_unstable_by_key(|(offset, _)| *offset);
    put_count(tried.len(), out);
    for (offset, tries) in &tried {
        out.put_u16_le(low(i64::try_from(*offset).unwrap_or(0)));
        out.put_u16_le(tries.acquired);
        out.put_u16_le(tries.failed);
    }
    let locked = write_locks(state, first, end, out);
    put_count(kept.condemned.range(first..end).count(), out);
    for (offset, condemned) in kept.condemned.range(first..end) {
        out.put_u16_le(low(*offset));
        out.put_u8(condemned.reason.code());
        out.put_u64_le(condemned.at.0);
        out.put_u8(u8::from(condemned.words.is_some()));
        if let Some(words) = &condemned.words {
            put_text(words, out);
        }
        any = true;
    }
    let moved = kept.schedule.moved.range(first..end);
    put_count(moved.clone().count(), out);
    for (offset, moved) in moved {
        out.put_u16_le(low(*offset));
        out.put_u32_le(moved.stale);
        out.put_u8(u8::from(moved.due.is_some()));
        if let Some(due) = moved.due {
            out.put_u64_le(due);
        }
        any = true;
    }
    any |= locked || !tried.is_empty();
    if !any {
        out.truncate(begin);
    }
    any
}

fn write_locks(state: &State, first: i64, end: i64, out: &mut Vec<u8>) -> bool {
    let locks = &state.live.locks;
    let held = if locks.outliving() == 0 {
        Vec::new()
    } else {
        locks.within(first, end)
    };
    let held = held.iter().filter_map(|offset| locks.get(*offset));
    let held: Vec<&Lock> = held.filter(|lock| lock.outlives).collect();
    put_count(held.len(), out);
    for lock in &held {
        out.put_u16_le(low(lock.offset));
        out.put_u64_le(lock.consumer.0);
        put_epoch(lock.epoch, out);
        let until = locks.until(lock.offset).map_or(u64::MAX, |until| until.0);
        out.put_u64_le(until);
    }
    !held.is_empty()
}

/// Puts a subscription together again.
#[derive(Debug)]
pub struct Loader {
    settings: Settings,
    state: State,
    /// By number.
    ids: BTreeMap<u64, Came>,
}

impl Loader {
    /// Begins with the head.
    ///
    /// # Errors
    ///
    /// The version is unknown, or the bytes are no head.
    pub fn new(settings: Settings, head: &[u8]) -> Result<Self, WireError> {
        let mut input = Input(head);
        let version = input.u8().ok_or(WireError::Malformed)?;
        if !(UNCOUNTED..=VERSION).contains(&version) {
            return Err(WireError::UnknownVersion(version));
        }
        let state = read_head(&mut input, version).filter(|_| input.0.is_empty());
        let state = state.ok_or(WireError::Malformed)?;
        let ids = BTreeMap::new();
        Ok(Self {
            settings,
            state,
            ids,
        })
    }

    /// Takes a page.
    ///
    /// # Errors
    ///
    /// The bytes are no page of this subscription.
    pub fn page(&mut self, page: &[u8]) -> Result<(), WireError> {
        let mut input = Input(page);
        let read = match input.u8() {
            Some(1) => read_offsets(&mut input, &mut self.state),
            Some(2) => read_times(&mut input, &mut self.state.kept.schedule.index),
            Some(3) => read_times(&mut input, &mut self.state.kept.expiry),
            Some(4) => facts::read(&mut input, &mut self.state),
            Some(5) => ids::read(&mut input, &mut self.ids),
            _ => None,
        };
        read.filter(|()| input.0.is_empty())
            .ok_or(WireError::Malformed)
    }

    /// The subscription, once all pages are in.
    #[must_use]
    pub fn finish(mut self) -> Subscription {
        ids::finish(&mut self.state, &mut self.ids);
        self.state.forget_volatile();
        Subscription {
            settings: self.settings,
            state: self.state,
        }
    }
}

fn read_head(input: &mut Input<'_>, version: u8) -> Option<State> {
    let (start, end) = (input.offset()?, input.offset()?);
    // Offsets take 48 bits where they are filed by time.
    if start > end || end >= 1 << 48 {
        return None;
    }
    let mut state = State::new(start);
    state.kept.end = end;
    let tally = &mut state.kept.tally;
    tally.accepted = input.u64()?;
    for number in tally.moved.iter_mut().chain(&mut tally.dropped) {
        *number = input.u64()?;
    }
    tally.lost = input.u64()?;
    if version != UNCOUNTED {
        tally.purged = input.u64()?;
    }
    state.kept.aged = input.offset()?;
    state.kept.marks.grain_ms = input.u64()?;
    let marks = input
        .u16()
        .filter(|count| usize::from(*count) <= MARKS_MAX)?;
    for _ in 0..marks {
        let mark = (input.offset()?, input.wall()?);
        let rises = |last: &(i64, WallTime)| last.0 < mark.0 && last.1 < mark.1;
        if !state.kept.marks.marks.back().is_none_or(rises) {
            return None;
        }
        state.kept.marks.marks.push_back(mark);
    }
    let tracked = input.columns()?;
    if tracked.0 != 0 {
        let facets = state.kept.facets.get_or_insert_default();
        facets.tracked = tracked;
    }
    if version >= WITH_IDS {
        ids::read_head(input, &mut state)?;
    }
    Some(state)
}

fn read_times(input: &mut Input<'_>, index: &mut TimeIndex) -> Option<()> {
    let bucket = input.u64().filter(|bucket| *bucket < 1 << 48)?;
    let count = usize::try_from(input.u32()?).ok()?;
    if input.0.len() / 8 < count {
        return None;
    }
    for _ in 0..count {
        index.push_packed(bucket, input.u64()?);
    }
    Some(())
}

/// A set's runs, each clipped to what lies between the ends.
fn read_set(
    input: &mut Input<'_>,
    first: i64,
    bounds: (i64, i64),
    set: &mut OffsetSet,
) -> Option<()> {
    let mut add = |from: u16, to: u16| {
        let (from, past) = (first + i64::from(from), first + i64::from(to) + 1);
        let inside = bounds.0 <= from && from < past && past <= bounds.1;
        inside.then(|| {
            set.insert(from, past);
        })
    };
    let count = input.u16()?;
    if count == BITS {
        let (bits, rest) = input.0.split_at_checked(BITS_BYTES)?;
        input.0 = rest;
        let has = |place: &u16| {
            let byte = bits.get(usize::from(place / 8)).copied().unwrap_or(0);
            byte & (1 << (place % 8)) != 0
        };
        for place in (0..=u16::MAX).filter(has) {
            add(place, place)?;
        }
        return Some(());
    }
    for _ in 0..count {
        let (from, to) = (input.u16()?, input.u16()?);
        add(from, to)?;
    }
    Some(())
}

fn read_offsets(input: &mut Input<'_>, state: &mut State) -> Option<()> {
    let number = input.offset()?;
    let kept = &mut state.kept;
    let bounds = (kept.start, kept.end);
    if number < bounds.0 >> 16 || number > bounds.1 >> 16 {
        return None;
    }
    let (first, _) = block(number);
    let place = |low: u16| {
        let offset = first + i64::from(low);
        (bounds.0 <= offset && offset < bounds.1).then_some(offset)
    };
    read_set(input, first, bounds, &mut kept.done)?;
    read_set(input, first, bounds, &mut kept.schedule.waiting)?;
    read_set(input, first, bounds, &mut kept.overdue)?;
    for _ in 0..input.u32()? {
        let offset = place(input.u16()?)?;
        let tries = Tries {
            acquired: input.u16()?,
            failed: input.u16()?,
        };
        kept.tries.insert(key_of(offset), tries);
    }
    for _ in 0..input.u32()? {
        let offset = place(input.u16()?)?;
        let lock = Lock {
            offset,
            consumer: ConsumerId(input.u64()?),
            epoch: input.epoch()?,
            outlives: true,
        };
        let until = input.elapsed()?;
        state.live.locks.add(lock, Some(until));
    }
    for _ in 0..input.u32()? {
        let offset = place(input.u16()?)?;
        let condemned = read_condemned(input)?;
        kept.condemned.insert(offset, condemned);
    }
    for _ in 0..input.u32()? {
        let offset = place(input.u16()?)?;
        let stale = input.u32()?;
        let there = input.yes()?;
        let due = input.maybe(there, Input::u64)?;
        kept.schedule.moved.insert(offset, Moved { due, stale });
    }
    Some(())
}

fn read_condemned(input: &mut Input<'_>) -> Option<Condemned> {
    let reason: Reason = input.reason()?;
    let at = input.wall()?;
    let there = input.yes()?;
    Some(Condemned {
        reason,
        at,
        words: input.maybe(there, Input::text)?,
    })
}

#[cfg(test)]
mod tests {
    use mulgil_record::ids::Offset;

    use super::*;

    #[test]
    fn heads_of_older_versions_are_read() {
        let queue = Subscription::new(Settings::default(), Offset(7));
        let mut head = Vec::new();
        queue.write_head(&mut head);
        assert_eq!(head[0], VERSION);
        let purged = 1 + 8 + 8 + 8 + 2 * 6 * 8 + 8;
        let _ids = head.pop();
        assert!(Loader::new(Settings::default(), &head).is_err());
        head[0] = WITH_IDS - 1;
        assert!(Loader::new(Settings::default(), &head).is_ok());
        head.drain(purged..purged + 8);
        assert!(Loader::new(Settings::default(), &head).is_err());
        head[0] = UNCOUNTED;
        let loader = Loader::new(Settings::default(), &head).expect("an older head");
        assert_eq!(loader.finish(), queue);
        head[0] = VERSION + 1;
        assert!(Loader::new(Settings::default(), &head).is_err());
    }
}
