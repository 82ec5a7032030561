//! What a subscription knows, and the few ways in which a record goes from one place to another.
//!
//! [`Kept`] is the sum of the durable changes. [`Live`] is what a restart forgets, and what can be
//! worked out anew. A record is *taken* as long as anything keeps it from being handed out: being
//! settled, held, scheduled, or on its way to the dead-letter target; so what is available is what lies
//! between the two ends and is not taken, and costs nothing.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use mulgil_record::ids::LeaderEpoch;

use super::consumers::Consumers;
use super::facets::Facets;
use super::ids::Ids;
use super::keys::Keys;
use super::locks::{Locks, key_of};
use super::marks::Marks;
use super::names::{Reason, RecordState, Tries};
use super::offset_set::OffsetSet;
use super::ready::Ready;
use super::schedule::Schedule;
use super::table::Table;
use super::tally::Tally;
use super::time_index::TimeIndex;
use crate::machine::{Elapsed, WallTime};

/// A record that is given up, and on its way to the dead-letter target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condemned {
    pub(super) reason: Reason,
    pub(super) at: WallTime,
    pub(super) words: Option<Arc<str>>,
}

/// The sum of the durable changes, but for locks that outlive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// All below is settled.
    pub(super) start: i64,
    /// The first offset that is not known yet.
    pub(super) end: i64,
    /// What is settled between the two.
    pub(super) done: OffsetSet,
    pub(super) schedule: Schedule,
    /// When records expire that do so by themselves. Entries of settled ones stay until they come.
    pub(super) expiry: TimeIndex,
    /// Expired or too old, and not settled.
    pub(super) overdue: OffsetSet,
    /// All below were given up for their age, or never will be.
    pub(super) aged: i64,
    pub(super) marks: Marks,
    /// Of records that were tried and are not settled.
    pub(super) tries: Table<Tries>,
    pub(super) condemned: BTreeMap<i64, Condemned>,
    pub(super) tally: Tally,
    /// What is kept of facts, once it was told to track any.
    pub(super) facets: Option<Box<Facets>>,
    /// Ids of records that came lately, if those are known.
    pub(super) ids: Option<Box<Ids>>,
}

/// What the shell was asked to bring to the dead-letter target.
#[derive(Clone, Debug, Default)]
pub(super) struct Archiving {
    /// Condemned, and not asked for.
    pub(super) unasked: OffsetSet,
    /// Condemned, and asked for.
    pub(super) asked: OffsetSet,
    /// The target was full: nothing is asked before.
    pub(super) paused: Option<Elapsed>,
    /// How often in a row it was full.
    pub(super) failures: u32,
}

/// What a restart forgets, and what follows from [`Kept`].
#[derive(Clone, Debug)]
pub(super) struct Live {
    /// Settled, held, scheduled or condemned, parked or with a priority, between start and end.
    pub(super) taken: OffsetSet,
    /// Available with a priority.
    pub(super) ready: Ready,
    /// Which keys wait, where records go by key.
    pub(super) keys: Option<Box<Keys>>,
    /// Of what is available.
    pub(super) free_bytes: u64,
    /// Of what is scheduled.
    pub(super) later_bytes: u64,
    /// Overdue, and nobody holds it.
    pub(super) ripe: OffsetSet,
    /// Nothing below is available.
    pub(super) cursor: i64,
    /// Nothing from here on was ever tried.
    pub(super) untried: i64,
    pub(super) locks: Locks,
    pub(super) consumers: Consumers,
    pub(super) archiving: Archiving,
    pub(super) leader: LeaderEpoch,
    /// Number of the next acquisition.
    pub(super) next_number: u64,
    /// Blocks that changed since they were last written to a checkpoint.
    pub(super) dirty: OffsetSet,
    /// The same of buckets of the schedule.
    pub(super) dirty_times: OffsetSet,
    /// And of expiries.
    pub(super) dirty_expiries: OffsetSet,
    /// Blocks of which what is kept of facts changed.
    pub(super) dirty_facts: OffsetSet,
    /// Pages of ids that did.
    pub(super) dirty_ids: OffsetSet,
}

impl Kept {
    pub(super) fn new(from: i64) -> Self {
        Self {
            start: from,
            end: from,
            done: OffsetSet::default(),
            schedule: Schedule::default(),
            expiry: TimeIndex::default(),
            overdue: OffsetSet::default(),
            aged: from,
            marks: Marks::default(),
            tries: Table::default(),
            condemned: BTreeMap::new(),
            tally: Tally::default(),
            facets: None,
            ids: None,
        }
    }
}

impl Live {
    pub(super) fn new(from: i64) -> Self {
        Self {
            taken: OffsetSet::default(),
            ready: Ready::default(),
            keys: None,
            free_bytes: 0,
            later_bytes: 0,
            ripe: OffsetSet::default(),
            cursor: from,
            untried: from,
            locks: Locks::default(),
            consumers: Consumers::default(),
            archiving: Archiving::default(),
            leader: LeaderEpoch(0),
            next_number: 0,
            dirty: OffsetSet::default(),
            dirty_times: OffsetSet::default(),
            dirty_expiries: OffsetSet::default(),
            dirty_facts: OffsetSet::default(),
            dirty_ids: OffsetSet::default(),
        }
    }
}

/// Both, so that a transition sees all it moves.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) kept: Kept,
    pub(super) live: Live,
}

impl State {
    pub(super) fn new(from: i64) -> Self {
        Self {
            kept: Kept::new(from),
            live: Live::new(from),
        }
    }

    /// Where a record stands.
    pub(super) fn place(&self, at: i64) -> RecordState {
        let Self { kept, live } = self;
        if at >= kept.end {
            RecordState::Unknown
        } else if at < kept.start || kept.done.contains(at) {
            RecordState::Settled
        } else if live.locks.get(at).is_some() {
            RecordState::Acquired
        } else if kept.condemned.contains_key(&at) || kept.overdue.contains(at) {
            RecordState::Archiving
        } else if kept.schedule.waiting.contains(at) {
            RecordState::Scheduled
        } else {
            RecordState::Available
        }
    }

    pub(super) fn tries(&self, offset: i64) -> Tries {
        if offset >= self.live.untried {
            return Tries::default();
        }
        self.kept.tries.get(key_of(offset)).unwrap_or_default()
    }

    /// A stretch, clipped to what is known and not settled as a whole.
    pub(super) fn clip(&self, first: i64, end: i64) -> (i64, i64) {
        (first.max(self.kept.start), end.min(self.kept.end))
    }

    pub(super) fn touch(&mut self, first: i64, end: i64) {
        if first < end {
            self.live.dirty.insert(first >> 16, ((end - 1) >> 16) + 1);
        }
    }

    pub(super) fn touch_time(&mut self, ms: u64) {
        let bucket = i64::try_from(TimeIndex::bucket_of(ms)).unwrap_or(i64::MAX - 1);
        self.live.dirty_times.insert(bucket, bucket + 1);
    }

    /// A record expires at a time.
    pub(super) fn expires(&mut self, offset: i64, ms: u64) {
        self.kept.expiry.push(ms, offset);
        self.touch_expiry(ms);
    }

    pub(super) fn touch_expiry(&mut self, ms: u64) {
        let bucket = i64::try_from(TimeIndex::bucket_of(ms)).unwrap_or(i64::MAX - 1);
        self.live.dirty_expiries.insert(bucket, bucket + 1);
    }

    /// Records that are settled wait for no time.
    fn unschedule(&mut self, first: i64, end: i64) {
        self.live.later_bytes -= self.bytes_of(&self.kept.schedule.waiting, first, end);
        let schedule = &mut self.kept.schedule;
        if schedule.remove(first, end) > 0 && schedule.waiting.is_empty() {
            // The last one has gone, and takes with it what the index still had.
            let schedule = core::mem::take(schedule);
            for bucket in schedule.index.buckets() {
                self.touch_time(TimeIndex::time_of(bucket));
            }
        }
    }

    /// Whether a record that nobody holds is overdue. Finding it so makes sure that it is seen.
    pub(super) fn is_ripe(&mut self, offset: i64) -> bool {
        let ripe = self.kept.overdue.contains(offset);
        if ripe {
            self.live.ripe.insert(offset, offset + 1);
        }
        ripe
    }

    /// Records have expired; those that are held come back first.
    pub(super) fn expire(&mut self, first: i64, end: i64) {
        let (first, end) = self.clip(first, end);
        let mut from = first;
        while from < end {
            let run = self.kept.done.next_out(from);
            let past = self
                .kept
                .done
                .next_in(run)
                .map_or(end, |past| past.min(end));
            if run < past {
                self.kept.overdue.insert(run, past);
                self.live.ripe.insert(run, past);
            }
            from = past.max(run + 1);
        }
        if first >= end {
            return;
        }
        for (&offset, _) in self.kept.condemned.range(first..end) {
            self.kept.overdue.remove(offset, offset + 1);
            self.live.ripe.remove(offset, offset + 1);
        }
        if end - first == 1 {
            if self.live.locks.get(first).is_some() {
                self.live.ripe.remove(first, end);
            }
        } else {
            for offset in self.live.locks.within(first, end) {
                self.live.ripe.remove(offset, offset + 1);
            }
        }
        self.unschedule(first, end);
        self.take(first, end);
        self.touch(first, end);
    }

    /// A record is not handed out before its time.
    pub(super) fn schedule(&mut self, offset: i64, due: WallTime) {
        if !self.kept.schedule.waiting.contains(offset) {
            self.live.later_bytes += self.size(offset);
        }
        self.kept.schedule.set(offset, due);
        self.touch_time(due.0);
        self.take(offset, offset + 1);
        self.rekey(offset);
    }

    /// A record was handed out once more.
    pub(super) fn tried(&mut self, first: i64, end: i64) {
        for offset in first..end {
            let tries = self.kept.tries.entry(key_of(offset));
            tries.acquired = tries.acquired.saturating_add(1);
        }
        self.live.untried = self.live.untried.max(end);
        self.touch(first, end);
    }

    /// A try of a record failed.
    pub(super) fn failed(&mut self, offset: i64) {
        let tries = self.kept.tries.entry(key_of(offset));
        tries.failed = tries.failed.saturating_add(1);
        self.live.untried = self.live.untried.max(offset + 1);
    }

    /// Records are settled; how many were not before.
    pub(super) fn finish(&mut self, first: i64, end: i64) -> u64 {
        let (first, end) = self.clip(first, end);
        if first >= end {
            return 0;
        }
        let settled = self.kept.done.insert(first, end);
        self.take(first, end);
        self.kept.tries.remove_within(key_of(first), key_of(end));
        self.unlock_within(first, end);
        self.unschedule(first, end);
        self.absolve(first, end);
        self.kept.overdue.remove(first, end);
        self.live.ripe.remove(first, end);
        self.touch(first, end);
        self.advance();
        self.drop_facets(first, end);
        settled
    }

    fn unlock_within(&mut self, first: i64, end: i64) {
        if key_of(end - first) <= 64 {
            for offset in first..end {
                self.live.locks.remove(offset);
            }
        } else {
            for offset in self.live.locks.within(first, end) {
                self.live.locks.remove(offset);
            }
        }
    }

    fn absolve(&mut self, first: i64, end: i64) {
        if self.kept.condemned.is_empty() {
            return;
        }
        while let Some((&offset, _)) = self.kept.condemned.range(first..end).next() {
            self.kept.condemned.remove(&offset);
        }
        self.live.archiving.unasked.remove(first, end);
        self.live.archiving.asked.remove(first, end);
    }

    /// Moves the start over what is settled.
    pub(super) fn advance(&mut self) {
        let start = self.kept.done.next_out(self.kept.start).min(self.kept.end);
        if start > self.kept.start {
            // The blocks left behind are written once more, as nothing.
            self.touch(self.kept.start, start);
            self.kept.start = start;
            self.kept.done.drop_below(start);
            self.kept.marks.drop_below(start);
            self.live.taken.drop_below(start);
            self.live.cursor = self.live.cursor.max(start);
        }
    }

    /// A record is given up.
    pub(super) fn condemn(&mut self, offset: i64, condemned: Condemned) {
        self.unschedule(offset, offset + 1);
        self.kept.overdue.remove(offset, offset + 1);
        self.live.ripe.remove(offset, offset + 1);
        self.kept.condemned.insert(offset, condemned);
        self.live.archiving.unasked.insert(offset, offset + 1);
        self.take(offset, offset + 1);
    }

    /// Gives back memory that is kept for later.
    pub(super) fn shrink(&mut self) {
        let Self { kept, live } = self;
        let archiving = [&mut live.archiving.asked, &mut live.archiving.unasked];
        let dirty = [&mut live.dirty, &mut live.dirty_times];
        let sets = [&mut kept.done, &mut kept.schedule.waiting, &mut live.taken];
        let expiry = [&mut kept.overdue, &mut live.ripe, &mut live.dirty_expiries];
        live.dirty_facts.shrink();
        live.dirty_ids.shrink();
        kept.ids.iter_mut().for_each(|ids| ids.shrink());
        live.ready.shrink();
        if let Some(keys) = &mut live.keys {
            keys.shrink();
        }
        let sets = sets.into_iter().chain(archiving).chain(dirty).chain(expiry);
        sets.for_each(OffsetSet::shrink);
        kept.tries.shrink();
        kept.marks.shrink();
        live.locks.shrink();
    }

    /// Drops what a restart drops, and works out anew what follows from the rest.
    pub(super) fn forget_volatile(&mut self) {
        let kept = &self.kept;
        let locks = self.live.locks.kept();
        let mut live = Live::new(kept.start);
        live.taken = kept.done.clone();
        for (first, end) in kept.schedule.waiting.runs() {
            live.taken.insert(first, end);
        }
        for &offset in kept.condemned.keys() {
            live.taken.insert(offset, offset + 1);
            live.archiving.unasked.insert(offset, offset + 1);
        }
        for (first, end) in kept.overdue.runs() {
            live.taken.insert(first, end);
            live.ripe.insert(first, end);
        }
        for (lock, until) in locks {
            live.taken.insert(lock.offset, lock.offset + 1);
            live.ripe.remove(lock.offset, lock.offset + 1);
            live.locks.add(lock, until);
        }
        live.untried = kept.end;
        // Whoever starts writes all of it once; what is dirty is a matter of checkpoints.
        live.dirty = core::mem::take(&mut self.live.dirty);
        live.dirty_times = core::mem::take(&mut self.live.dirty_times);
        live.dirty_expiries = core::mem::take(&mut self.live.dirty_expiries);
        live.dirty_facts = core::mem::take(&mut self.live.dirty_facts);
        live.dirty_ids = core::mem::take(&mut self.live.dirty_ids);
        self.live = live;
        self.index();
    }
}
