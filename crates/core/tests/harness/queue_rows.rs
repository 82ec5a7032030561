//! The naive subscription: a row for each record.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use mulgil_core::machine::{Elapsed, Now, WallTime};
use mulgil_core::queue::{
    Append, Claim, ConsumerId, LockEpoch, LockTerm, Overflow, Reason, RecordState, Retry, Settings,
    Tries,
};

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Available,
    Held(Held),
    Scheduled(u64),
    Condemned { reason: Reason, asked: bool },
    Settled,
}

/// Who holds a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) consumer: ConsumerId,
    pub(crate) epoch: LockEpoch,
    pub(crate) until: Option<Elapsed>,
    pub(crate) outlives: bool,
}

/// A record.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) place: Place,
    pub(crate) tries: Tries,
    pub(crate) appended: u64,
    pub(crate) expiry: Option<u64>,
    /// Expired while it was held.
    pub(crate) overdue: bool,
    /// Priority, key and size, where those are tracked.
    pub(crate) level: u8,
    pub(crate) key: Option<u64>,
    pub(crate) size: u64,
}

impl Row {
    fn new(place: Place) -> Self {
        Self {
            place,
            tries: Tries::default(),
            appended: 0,
            expiry: None,
            overdue: false,
            level: 0,
            key: None,
            size: 0,
        }
    }

    fn waits(&self) -> bool {
        matches!(self.place, Place::Available | Place::Scheduled(_)) && !self.overdue
    }
}

/// A consumer.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) id: ConsumerId,
    pub(crate) priority: i32,
    pub(crate) exclusive: bool,
    pub(crate) lock: LockTerm,
    pub(crate) credit: u32,
    pub(crate) once_until: Option<Elapsed>,
    pub(crate) once: bool,
    /// Whether several records of one key go to it.
    pub(crate) keys_together: bool,
}

/// All records, and all consumers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) settings: Settings,
    /// By offset.
    pub(crate) rows: Vec<Row>,
    pub(crate) readers: Vec<Reader>,
    /// Gone, and whether what they held failed.
    pub(crate) gone: Vec<(ConsumerId, bool)>,
    pub(crate) paused: Option<Elapsed>,
    /// For how long ids that come are known, and which are until when.
    pub(crate) window_ms: Option<u64>,
    pub(crate) ids: Vec<(u128, u64, usize)>,
    /// Who gets records where one alone does.
    pub(crate) active: Option<ConsumerId>,
}

impl Rows {
    pub(crate) fn append(&mut self, gap: usize, records: usize) {
        let rows = &mut self.rows;
        rows.extend((0..gap).map(|_| Row::new(Place::Settled)));
        rows.extend((0..records).map(|_| Row::new(Place::Available)));
    }

    pub(crate) fn settle(&mut self, at: usize) {
        self.rows[at] = Row::new(Place::Settled);
    }

    pub(crate) fn held(&self, at: usize) -> Option<&Held> {
        match &self.rows.get(at)?.place {
            Place::Held(held) => Some(held),
            _ => None,
        }
    }

    /// Whether somebody may settle the record.
    pub(crate) fn allows(&self, at: usize, claim: Claim, accept: bool, now: Now) -> bool {
        if let (Claim::OldReceipt(_), true) = (claim, accept) {
            let row = self.rows.get(at);
            return row.is_some_and(|row| row.place != Place::Settled);
        }
        let Some(held) = self.held(at) else {
            return false;
        };
        let by_right = match claim {
            Claim::Holder(consumer) => held.consumer == consumer,
            Claim::Receipt(epoch) | Claim::OldReceipt(epoch) => held.epoch == epoch,
        };
        by_right && held.until.is_none_or(|until| until > now.elapsed)
    }

    pub(crate) fn is_exhausted(&self, tries: Tries) -> bool {
        let Settings {
            failed_max,
            acquired_max,
            ..
        } = self.settings;
        failed_max.is_some_and(|max| tries.failed >= max)
            || acquired_max.is_some_and(|max| tries.acquired >= max)
    }

    pub(crate) fn give_up(&mut self, at: usize, reason: Reason) {
        if self.settings.dead_letter {
            let asked = false;
            self.rows[at].place = Place::Condemned { reason, asked };
        } else {
            self.settle(at);
        }
    }

    /// A held record comes back.
    pub(crate) fn come_back(&mut self, at: usize, failed: bool, later: Option<WallTime>, now: Now) {
        let row = &mut self.rows[at];
        row.tries.failed += u16::from(failed);
        let tries = row.tries;
        if self.is_exhausted(tries) {
            self.give_up(at, Reason::DeliveryLimit);
            return;
        }
        let age = self.settings.age_ms_max.unwrap_or(u64::MAX);
        if failed && self.rows[at].appended.saturating_add(age) <= now.wall.0 {
            self.give_up(at, Reason::TooOld);
            return;
        }
        let delay = match self.settings.retry {
            Retry::Fixed { ms } => ms,
            Retry::Linear { ms, ms_max } => (ms * u64::from(tries.failed)).min(ms_max),
            Retry::AtOnce | Retry::Exponential { .. } => 0,
        };
        let delay = if failed { delay } else { 0 };
        let later = later.map_or(0, |at| at.0);
        let due = if later > now.wall.0 {
            later
        } else {
            now.wall.0 + delay
        };
        self.rows[at].place = if due > now.wall.0 {
            Place::Scheduled(due)
        } else {
            Place::Available
        };
    }

    /// What happens by itself before anything is handed out.
    pub(crate) fn tick(&mut self, now: Now) {
        for at in 0..self.rows.len() {
            let Some(held) = self.held(at) else {
                continue;
            };
            if held.until.is_some_and(|until| until <= now.elapsed) {
                self.come_back(at, true, None, now);
                continue;
            }
            let gone = self.gone.iter().find(|(id, _)| *id == held.consumer);
            if let Some((_, failed)) = gone.filter(|_| !held.outlives) {
                self.come_back(at, *failed, None, now);
            }
        }
        self.gone.clear();
        for row in &mut self.rows {
            if matches!(row.place, Place::Scheduled(due) if due <= now.wall.0) {
                row.place = Place::Available;
            }
        }
        for at in 0..self.rows.len() {
            self.expire(at, now.wall.0);
        }
        if !self.settings.dead_letter {
            let condemned = |row: &Row| matches!(row.place, Place::Condemned { asked: false, .. });
            let all: Vec<usize> = (0..self.rows.len())
                .filter(|at| condemned(&self.rows[*at]))
                .collect();
            all.into_iter().for_each(|at| self.settle(at));
        }
    }

    fn expire(&mut self, at: usize, now: u64) {
        let ttl = self.settings.ttl_ms.unwrap_or(u64::MAX);
        let row = &mut self.rows[at];
        if matches!(row.place, Place::Settled | Place::Condemned { .. }) {
            return;
        }
        let old = row.appended.saturating_add(ttl) <= now;
        row.overdue |= old || row.expiry.is_some_and(|expiry| expiry <= now);
        if row.overdue && !matches!(row.place, Place::Held(_)) {
            self.give_up(at, Reason::Expired);
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.rows.iter().filter(|row| row.waits()).count()
    }

    pub(crate) fn waiting_bytes(&self) -> u64 {
        let waiting = self.rows.iter().filter(|row| row.waits());
        waiting.map(|row| row.size).sum()
    }

    /// The oldest make room for what came from `new` on: records and bytes.
    pub(crate) fn overflow(&mut self, new: usize, mut excess: usize, mut bytes: u64) {
        let dead_letter = self.settings.dead_letter;
        self.settings.dead_letter &= self.settings.overflow == Overflow::DeadLetterOldest;
        let free = |row: &Row| row.place == Place::Available && !row.overdue;
        let mut old: Vec<usize> = (0..new).filter(|at| free(&self.rows[*at])).collect();
        old.sort_by_key(|at| self.rows[*at].level);
        for at in old.into_iter().chain(new..self.rows.len()) {
            let is_there = self.rows[at].place != Place::Settled;
            if is_there && (excess > 0 || bytes > 0) {
                excess = excess.saturating_sub(1);
                bytes = bytes.saturating_sub(self.rows[at].size);
                self.give_up(at, Reason::Overflow);
            }
        }
        self.settings.dead_letter = dead_letter;
    }

    pub(crate) fn may_schedule(&self, at: usize) -> bool {
        self.rows.get(at).is_some_and(Row::waits)
    }

    /// The record that must be handed out next; those tried too often are given up on the way.
    pub(crate) fn next(&mut self) -> Option<usize> {
        self.next_for(None)
    }

    /// As [`next`](Self::next), for somebody to whom keys that they hold are free.
    pub(crate) fn next_for(&mut self, own: Option<ConsumerId>) -> Option<usize> {
        loop {
            let waits = self.waiting_keys(own);
            let free = |at: &usize| {
                let row = &self.rows[*at];
                row.place == Place::Available && row.key.is_none_or(|key| !waits.contains(&key))
            };
            let all = (0..self.rows.len()).filter(free);
            let at = all.min_by_key(|at| (Reverse(self.rows[*at].level), *at))?;
            if !self.is_exhausted(self.rows[at].tries) {
                return Some(at);
            }
            self.give_up(at, Reason::DeliveryLimit);
        }
    }

    /// Keys of which a record is held, or waits to be tried again.
    fn waiting_keys(&self, own: Option<ConsumerId>) -> BTreeSet<u64> {
        let again = |row: &&Row| match &row.place {
            Place::Held(held) => own != Some(held.consumer),
            Place::Scheduled(_) => row.tries.acquired > 0,
            _ => false,
        };
        let rows = self.rows.iter().filter(again);
        rows.filter_map(|row| row.key).collect()
    }

    pub(crate) fn hungry(&self) -> bool {
        if self.settings.paused {
            return false;
        }
        let alone = self.settings.single_active;
        let gets = |reader: &Reader| !alone || self.active == Some(reader.id);
        let mut readers = self.readers.iter();
        readers.any(|reader| reader.credit > 0 && gets(reader))
    }

    /// The first record with an id.
    pub(crate) fn first_with(&self, id: u128, now: u64) -> Option<usize> {
        let known = |came: &&(u128, u64, usize)| came.0 == id && came.1 > now;
        self.ids.iter().find(known).map(|came| came.2)
    }

    /// Records came that begin at a row, and perhaps ids with them.
    pub(crate) fn know(&mut self, append: &Append, new: usize) {
        let ids = append.facts.iter().flat_map(|facts| &facts.deduplication);
        for (index, id) in ids.enumerate().filter(|(_, id)| **id != 0) {
            if self.first_with(*id, append.at.0).is_some() {
                continue;
            }
            let until = self.window_ms.map(|window_ms| append.at.0 + window_ms);
            self.ids
                .extend(until.map(|until| (*id, until, new + index)));
        }
    }

    /// Somebody came or went.
    pub(crate) fn promote(&mut self) {
        let there = |id| self.readers.iter().any(|reader| reader.id == id);
        if !self.active.is_some_and(there) {
            let best = self
                .readers
                .iter()
                .min_by_key(|reader| Reverse(reader.priority));
            self.active = best.map(|reader| reader.id);
        }
    }

    /// All that waits goes.
    pub(crate) fn purge(&mut self, held: bool) {
        for at in 0..self.rows.len() {
            match self.rows[at].place {
                Place::Available | Place::Scheduled(_) => self.settle(at),
                Place::Held(_) if held => self.settle(at),
                _ => {}
            }
        }
    }

    /// What is settled from `to` on is available again, and nothing below.
    pub(crate) fn seek(&mut self, to: usize, now: u64) {
        for at in 0..self.rows.len() {
            if at < to {
                self.settle(at);
                continue;
            }
            if self.rows[at].place == Place::Settled {
                self.rows[at] = Row::new(Place::Available);
            }
            self.rows[at].appended = now;
        }
    }

    /// Stops and starts.
    pub(crate) fn restart(&mut self) {
        self.readers.clear();
        self.gone.clear();
        self.active = None;
        self.paused = None;
        for row in &mut self.rows {
            if matches!(&row.place, Place::Held(held) if !held.outlives) {
                row.place = Place::Available;
            }
            if let Place::Condemned { asked, .. } = &mut row.place {
                *asked = false;
            }
        }
    }

    pub(crate) fn state(&self, at: usize) -> RecordState {
        match self.rows.get(at).map(|row| &row.place) {
            None => RecordState::Unknown,
            Some(Place::Available | Place::Scheduled(_)) if self.rows[at].overdue => {
                RecordState::Archiving
            }
            Some(Place::Available) => RecordState::Available,
            Some(Place::Held(_)) => RecordState::Acquired,
            Some(Place::Scheduled(_)) => RecordState::Scheduled,
            Some(Place::Condemned { .. }) => RecordState::Archiving,
            Some(Place::Settled) => RecordState::Settled,
        }
    }
}
