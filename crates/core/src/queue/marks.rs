//! When records were appended, as nearly as anybody needs to know.
//!
//! A few marks, each for the records from its offset to the next mark's. When there are too many,
//! neighbours that are close become one, and those that come are as far apart; so whatever the load, a
//! record is taken for younger than it is by at most some hundredth of the time that all of them span,
//! and never for older.

use alloc::collections::VecDeque;

use crate::machine::WallTime;

/// 8 KiB.
pub(super) const MARKS_MAX: usize = 512;

/// When records were appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Records from the offset on, up to the next mark's, were not appended after the time.
    pub(super) marks: VecDeque<(i64, WallTime)>,
    /// A mark stands for no more milliseconds than this, unless for one time alone.
    pub(super) grain_ms: u64,
}

impl Marks {
    /// Records from `first` on are appended at `at`. A clock that goes back is not believed.
    pub(super) fn append(&mut self, first: i64, at: WallTime) {
        if self.marks.back().is_some_and(|(_, last)| *last >= at) {
            return;
        }
        if self.marks.len() < MARKS_MAX / 8 {
            self.grain_ms /= 2;
        }
        if self.marks.len() >= MARKS_MAX {
            self.thin();
        }
        let before = self
            .marks
            .len()
            .checked_sub(2)
            .and_then(|at| self.marks.get(at));
        let close = before.is_some_and(|(_, last)| at.0 - last.0 <= self.grain_ms);
        match self.marks.back_mut() {
            // One may stand where none was appended yet.
            Some(mark) if close || mark.0 >= first => mark.1 = at,
            _ => self.marks.push_back((first, at)),
        }
    }

    /// All records from `first` on count as appended at `at`, or when the youngest of them was.
    pub(super) fn begin(&mut self, first: i64, at: WallTime) {
        let last = self.marks.back().map_or(at, |(_, last)| at.max(*last));
        self.marks.clear();
        self.marks.push_back((first, last));
        self.grain_ms = 0;
    }

    /// Joins neighbours until no more than half are left.
    fn thin(&mut self) {
        let first = self.marks.front().map_or(0, |mark| mark.1.0);
        let last = self.marks.back().map_or(0, |mark| mark.1.0);
        // Two neighbours that are left are further apart than a grain.
        let quarter = u64::try_from(MARKS_MAX / 4).unwrap_or(1);
        self.grain_ms = (last - first) / quarter + 1;
        let (mut kept, mut before): (usize, Option<WallTime>) = (0, None);
        let mut open: Option<(i64, WallTime)> = None;
        for index in 0..self.marks.len() {
            let Some(mark) = self.marks.get(index).copied() else {
                break;
            };
            let close = before.is_some_and(|last| mark.1.0 - last.0 <= self.grain_ms);
            open = match open {
                Some((first, _)) if close => Some((first, mark.1)),
                Some(done) => {
                    if let Some(place) = self.marks.get_mut(kept) {
                        *place = done;
                    }
                    kept += 1;
                    before = Some(done.1);
                    Some(mark)
                }
                None => Some(mark),
            };
        }
        self.marks.truncate(kept);
        self.marks.extend(open);
    }

    /// What lies below `start` is not asked for any more.
    pub(super) fn drop_below(&mut self, start: i64) {
        while self.marks.get(1).is_some_and(|(first, _)| *first <= start) {
            self.marks.pop_front();
        }
    }

    /// A time after which the record at `offset` was not appended.
    pub(super) fn not_after(&self, offset: i64) -> Option<WallTime> {
        let behind = self.marks.partition_point(|(first, _)| *first <= offset);
        self.marks.get(behind.saturating_sub(1)).map(|mark| mark.1)
    }

    /// All records below this offset, of those below `end`, were appended at `at` or before.
    pub(super) fn older_than(&self, at: WallTime, end: i64) -> i64 {
        let younger = self.marks.partition_point(|(_, last)| *last <= at);
        self.marks.get(younger).map_or(end, |(first, _)| *first)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.marks.capacity() * size_of::<(i64, WallTime)>()
    }

    pub(super) fn shrink(&mut self) {
        self.marks.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_never_taken_for_older_and_hardly_for_younger() {
        let mut marks = Marks::default();
        let (records, each) = (100_000, 7);
        let time = |offset: i64| WallTime(u64::try_from(offset).unwrap() * each);
        (0..records).for_each(|offset| marks.append(offset, time(offset)));
        assert!(marks.marks.len() <= MARKS_MAX);
        let span = time(records).0;
        for offset in 0..records {
            let at = marks.not_after(offset).unwrap();
            let late = at.0 - time(offset).0;
            assert!(late * 50 <= span, "{offset} is {late} ms off");
            let older = marks.older_than(time(offset), records);
            assert!(older <= offset + 1, "{offset}: {older}");
        }
        assert_eq!(marks.older_than(time(records), records), records);
        marks.drop_below(records / 2);
        assert!(marks.not_after(records / 2).unwrap() >= time(records / 2));
    }

    #[test]
    fn a_clock_that_goes_back_is_not_believed() {
        let mut marks = Marks::default();
        marks.append(0, WallTime(100));
        marks.append(5, WallTime(50));
        assert_eq!(marks.not_after(7), Some(WallTime(100)));
        assert_eq!(marks.older_than(WallTime(99), 10), 0);
    }
}
