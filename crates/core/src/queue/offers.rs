//! Which records anybody may have, in which order, and how many bytes they are.

use alloc::boxed::Box;

use mulgil_record::facts::Columns;

use super::State;
use super::column::{begin_of, chunk_of};
use super::command::Append;
use super::facets::Facets;
use super::offset_set::OffsetSet;
use super::ready::Ready;

/// How far a turn of handing out has come: by priority, and within one by offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// None where priorities are over.
    level: Option<u8>,
    pub(super) from: i64,
}

impl State {
    /// How many records nobody holds, and none keeps but others of their key.
    pub(super) fn available(&self) -> u64 {
        self.offered() + self.parked()
    }

    /// How many records anybody may have, as far as is known.
    pub(super) fn offered(&self) -> u64 {
        let known = u64::try_from(self.kept.end - self.kept.start).unwrap_or(0);
        known.saturating_sub(self.live.taken.len()) + self.live.ready.len()
    }

    /// Bytes of records that are available or scheduled.
    pub(super) const fn waiting_bytes(&self) -> u64 {
        self.live.free_bytes + self.live.later_bytes
    }

    pub(super) fn tracked(&self) -> Columns {
        let facets = self.kept.facets.as_ref();
        facets.map_or(Columns(0), |facets| facets.tracked)
    }

    /// The first stretch from `from` on that is available and has no priority.
    pub(super) fn next_plain(&self, from: i64) -> Option<(i64, i64)> {
        let first = self.live.taken.next_out(from.max(self.live.cursor));
        if first >= self.kept.end {
            return None;
        }
        let end = self.live.taken.next_in(first).unwrap_or(self.kept.end);
        Some((first, end))
    }

    /// Where handing out begins.
    pub(super) fn first_place(&self) -> Place {
        let level = self.live.ready.highest(256);
        let from = level.map_or(self.live.cursor, |_| self.kept.start);
        Place { level, from }
    }

    /// The next stretch that may be handed out. `place` moves to its priority.
    pub(super) fn next_offer(&self, place: &mut Place) -> Option<(i64, i64)> {
        while let Some(level) = place.level {
            if let Some(run) = self.live.ready.next_run(level, place.from) {
                return Some(run);
            }
            place.level = self.live.ready.highest(u16::from(level));
            let plain = self.live.cursor;
            place.from = place.level.map_or(plain, |_| self.kept.start);
        }
        self.next_plain(place.from)
    }

    /// What is available, those of the lowest priority first, and of one priority the oldest.
    pub(super) fn oldest(&self) -> impl Iterator<Item = (i64, i64)> {
        let mut from = self.kept.start;
        let plain = core::iter::from_fn(move || {
            let run = self.next_unheld(from)?;
            from = run.1;
            Some(run)
        });
        plain.chain(self.live.ready.runs())
    }

    /// The first stretch from `from` on that is available without a priority, or parked.
    fn next_unheld(&self, from: i64) -> Option<(i64, i64)> {
        let plain = self.next_plain(from);
        let keys = self.live.keys.as_ref();
        let parked = keys.and_then(|keys| keys.parked().next_run(from));
        match (plain, parked) {
            (Some(plain), Some(parked)) if plain.0 < parked.0 => {
                Some((plain.0, plain.1.min(parked.0)))
            }
            (_, Some(parked)) => Some(parked),
            (plain, None) => plain,
        }
    }

    fn level(&self, offset: i64) -> u8 {
        let facets = self.kept.facets.as_ref();
        facets.map_or(0, |facets| facets.levels.get(offset))
    }

    /// Bytes of a record, if that is known.
    pub(super) fn size(&self, offset: i64) -> u64 {
        let facets = self.kept.facets.as_ref();
        facets.map_or(0, |facets| u64::from(facets.sizes.get(offset)))
    }

    fn weighs(&self) -> Option<&Facets> {
        let facets = self.kept.facets.as_deref();
        facets.filter(|facets| !facets.sizes.is_empty())
    }

    /// Bytes of those of a set from `first` up to `end`.
    pub(super) fn bytes_of(&self, set: &OffsetSet, first: i64, end: i64) -> u64 {
        let Some(facets) = self.weighs().filter(|_| !set.is_empty()) else {
            return 0;
        };
        let (mut from, mut bytes) = (first, 0);
        while let Some((run, past)) = set.next_run(from).filter(|run| run.0 < end) {
            bytes += facets.bytes(run, past.min(end));
            from = past;
        }
        bytes
    }

    /// Bytes of what is available from `first` up to `end`.
    fn free_within(&self, first: i64, end: i64) -> u64 {
        let Some(facets) = self.weighs() else {
            return 0;
        };
        let (mut from, mut bytes) = (first, 0);
        loop {
            let run = self.live.taken.next_out(from);
            if run >= end {
                break;
            }
            from = self.live.taken.next_in(run).map_or(end, |in_| in_.min(end));
            bytes += facets.bytes(run, from);
        }
        if let Some(keys) = &self.live.keys {
            bytes += self.bytes_of(keys.parked(), first, end);
        }
        let ready = self.live.ready.within(first, end);
        bytes + ready.map(|(from, to)| facets.bytes(from, to)).sum::<u64>()
    }

    /// Records are not to be handed out.
    pub(super) fn take(&mut self, first: i64, end: i64) {
        self.live.free_bytes -= self.free_within(first, end);
        if self.live.ready.len() > 0 {
            if end - first == 1 {
                self.live.ready.remove(self.level(first), first);
            } else {
                self.live.ready.remove_within(first, end);
            }
        }
        self.live.taken.insert(first, end);
        if (first..end).contains(&self.live.cursor) {
            self.live.cursor = end;
        }
        self.rekey_taken(first, end);
    }

    /// A record may be handed out, unless something else keeps it.
    pub(super) fn free(&mut self, offset: i64) {
        self.rekey(offset);
        if offset < self.kept.start || offset >= self.kept.end || self.is_bound(offset) {
            return;
        }
        let level = self.level(offset);
        let freed = if level > 0 {
            self.live.ready.insert(level, offset)
        } else {
            self.live.cursor = self.live.cursor.min(offset);
            self.live.taken.remove(offset, offset + 1) > 0
        };
        if freed {
            self.live.free_bytes += self.size(offset);
        }
    }

    fn is_bound(&mut self, offset: i64) -> bool {
        self.kept.done.contains(offset)
            || self.live.locks.get(offset).is_some()
            || self.kept.schedule.waiting.contains(offset)
            || self.kept.condemned.contains_key(&offset)
            || self.is_ripe(offset)
    }

    /// Keeps of facts what is tracked. What was left out before the records is there too, and nothing.
    pub(super) fn describe(&mut self, known: i64, append: &Append) {
        let Some(facets) = &mut self.kept.facets else {
            return;
        };
        let (start, first, end) = (self.kept.start, append.span.first.0, append.span.end.0);
        let facts = append.facts.as_deref().filter(|_| first >= known);
        let mut any = first > known && facets.append(None, (known, first), start);
        any |= facets.append(facts, (first.max(known), end), start);
        self.live.free_bytes += facets.bytes(known, end);
        if any {
            let blocks = (known >> 16, ((end - 1) >> 16) + 1);
            self.live.dirty_facts.insert(blocks.0, blocks.1);
        }
    }

    /// Files new records by their priority.
    pub(super) fn rank(&mut self, first: i64, end: i64) {
        let Some(facets) = &self.kept.facets else {
            return;
        };
        for (from, to, level) in facets.levels.stretches(first, end) {
            self.live.taken.insert(from, to);
            self.live.ready.insert_run(level, from, to);
        }
    }

    /// What is kept of records that are settled goes.
    pub(super) fn drop_facets(&mut self, first: i64, end: i64) {
        let known = (self.kept.start, self.kept.end);
        let Some(facets) = &mut self.kept.facets else {
            return;
        };
        if facets.settled((first, end), known, &self.kept.done) {
            let blocks = (first >> 16, ((end - 1) >> 16) + 1);
            self.live.dirty_facts.insert(blocks.0, blocks.1);
        }
    }

    /// What is kept of records below `to` goes, and of none behind.
    pub(super) fn drop_facets_below(&mut self, to: i64) {
        self.dirty_all_facets();
        if let Some(facets) = &mut self.kept.facets {
            facets.drop_chunks(i64::MIN, chunk_of(to) + 1);
        }
    }

    /// Every page of facts is to be written.
    pub(super) fn dirty_all_facets(&mut self) {
        if let Some(facets) = &self.kept.facets {
            for chunk in facets.chunks() {
                let block = begin_of(chunk) >> 16;
                self.live.dirty_facts.insert(block, block + 1);
            }
        }
    }

    /// Keeps these facts from here on, and no others.
    pub(super) fn track(&mut self, columns: Columns) {
        self.dirty_all_facets();
        if columns.0 == 0 {
            self.kept.facets = None;
        } else {
            let facets = self.kept.facets.get_or_insert_with(Box::default);
            facets.track(columns);
        }
        self.track_keys();
        if !columns.has(Columns::PRIORITY) {
            let ready = core::mem::take(&mut self.live.ready);
            for (first, end) in ready.runs() {
                self.live.taken.remove(first, end);
                self.live.cursor = self.live.cursor.min(first);
            }
        }
        if !columns.has(Columns::SIZE) {
            (self.live.free_bytes, self.live.later_bytes) = (0, 0);
        }
    }

    /// Works out what follows from the rest, where a restart has only that.
    pub(super) fn index(&mut self) {
        self.live.ready = Ready::default();
        self.index_keys();
        let (start, end) = (self.kept.start, self.kept.end);
        if let Some(facets) = &self.kept.facets {
            for (from, to, level) in facets.levels.stretches(start, end) {
                let mut at = from;
                loop {
                    let run = self.live.taken.next_out(at);
                    if run >= to {
                        break;
                    }
                    at = self.live.taken.next_in(run).map_or(to, |in_| in_.min(to));
                    self.live.taken.insert(run, at);
                    self.live.ready.insert_run(level, run, at);
                }
            }
        }
        self.live.free_bytes = self.free_within(start, end);
        self.live.later_bytes = self.bytes_of(&self.kept.schedule.waiting, start, end);
    }
}
