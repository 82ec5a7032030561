//! What must be true of a subscription beside its model, after whatever was done to both.

use mulgil_core::queue::snapshot::Loader;
use mulgil_core::queue::{Reason, RecordState};

use super::{World, at, row};
use crate::queue_rows::{Place, Reader, Row};

impl World {
    /// Who could take more looked for more, and may have met records tried too often.
    pub(super) fn give_up_on_the_way(&mut self) {
        for index in 0..self.rows.rows.len() {
            let there = &self.rows.rows[index];
            let met = there.place == Place::Available && self.rows.is_exhausted(there.tries);
            if met && self.twin.live.record(at(index)) != RecordState::Available {
                self.rows.give_up(index, Reason::DeliveryLimit);
            }
        }
    }

    /// Nothing is left that should have happened.
    pub(super) fn at_rest(&mut self) {
        let place = format!("seed {} step {}", self.seed, self.steps);
        assert!(
            !self.rows.hungry() || self.rows.next().is_none(),
            "{place}: kept back"
        );
        let now = self.now.elapsed;
        let late = |r: &Reader| r.once_until.is_some_and(|until| until <= now);
        assert!(
            !self.rows.readers.iter().any(late),
            "{place}: waits too long"
        );
        let paused = self.rows.paused.is_some_and(|until| until > now);
        let unasked = |p: &Place| matches!(p, Place::Condemned { asked: false, .. });
        let any = self.rows.rows.iter().any(|row| unasked(&row.place));
        // What is given up while handing out is asked for in the turn after.
        let asked = |p: &Place| matches!(p, Place::Condemned { asked: true, .. });
        let asked = self
            .rows
            .rows
            .iter()
            .filter(|row| asked(&row.place))
            .count();
        assert!(
            paused || !any || asked == 64,
            "{place}: nobody is asked to archive"
        );
    }

    /// Writes what changed since the last time; all of it together is what a restart would find.
    pub(super) fn checkpoint(&mut self) {
        let live = &mut self.twin.live;
        for id in live.changed_pages() {
            let mut page = Vec::new();
            if live.write_page(id, &mut page) {
                self.pages.insert(id, page);
            } else {
                assert!(page.is_empty(), "{id:?}: something of nothing");
                self.pages.remove(&id);
            }
        }
        live.all_written();
        let mut head = Vec::new();
        live.write_head(&mut head);
        let mut loader = Loader::new(self.rows.settings, &head).expect("a head");
        for page in self.pages.values() {
            loader.page(page).expect("a page");
        }
        let loaded = loader.finish();
        assert!(
            self.twin.replays_to(&loaded),
            "seed {} step {}: {loaded:?}",
            self.seed,
            self.steps
        );
    }

    pub(super) fn compare(&self) {
        let live = &self.twin.live;
        let place = || format!("seed {} step {}", self.seed, self.steps);
        for index in 0..self.rows.rows.len() + 2 {
            assert_eq!(
                live.record(at(index)),
                self.rows.state(index),
                "{}: {index}",
                place()
            );
            if let Some(row) = self.rows.rows.get(index) {
                assert_eq!(live.tries(at(index)), row.tries, "{}: {index}", place());
            }
        }
        let seen = live.browse(at(0));
        let seen: Vec<_> = seen.map(|one| (row(one.offset), one.state)).collect();
        let there = (0..self.rows.rows.len()).map(|index| (index, self.rows.state(index)));
        let there = there.filter(|(_, state)| *state != RecordState::Settled);
        assert_eq!(seen, there.collect::<Vec<_>>(), "{}: browsed", place());
        assert_eq!(live.active_consumer(), self.rows.active, "{}", place());
        let rows = self.rows.rows.iter();
        let free = |row: &&Row| row.place == Place::Available && !row.overdue;
        let available = rows.filter(free).count();
        let available = u64::try_from(available).expect("few");
        assert_eq!(live.counts().available, available, "{}", place());
        let bytes = live.counts().waiting_bytes;
        assert_eq!(bytes, self.rows.waiting_bytes(), "{}", place());
    }
}
