//! Random commands for a subscription, each compared with what the naive model expects.

#[path = "queue_checks.rs"]
mod checks;
#[path = "queue_facts.rs"]
mod made;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mulgil_core::machine::{Decision, Elapsed, Machine as _, Now, WallTime};
use mulgil_core::queue::snapshot::PageId;
use mulgil_core::queue::{
    Append, Attach, Change, Claim, Command, ConsumerId, Effect, Grant, LockEpoch, LockTerm,
    NotArchived, Outcome, Overflow, Pull, Reason, RecordState, Retry, Settings, Settle, Span,
    Subscription, wire,
};
use mulgil_record::facts::Columns;
use mulgil_record::ids::{LeaderEpoch, Offset};

use crate::law::Twin;
use crate::queue_rows::{Held, Place, Reader, Row, Rows};

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let count = u64::try_from(from.len()).expect("few");
        let at = (count > 0).then(|| self.below(count))?;
        from.get(usize::try_from(at).expect("few")).cloned()
    }
}

/// A subscription, its model, and the world around both.
pub(crate) struct World {
    twin: Twin<Subscription>,
    store: fn(&Change) -> Change,
    rows: Rows,
    dice: Dice,
    seed: u64,
    now: Now,
    leader: i32,
    next_consumer: u64,
    epochs: BTreeSet<LockEpoch>,
    pages: BTreeMap<PageId, Vec<u8>>,
    tracked: Columns,
    steps: u64,
}

fn at(row: usize) -> Offset {
    Offset(i64::try_from(row).expect("few"))
}

fn row(offset: Offset) -> usize {
    usize::try_from(offset.0).expect("no offset is negative")
}

/// What is durable is replayed as its bytes say.
fn through_the_log(change: &Change) -> Change {
    match change {
        Change::Durable(durable) => {
            let mut bytes = Vec::new();
            wire::encode(durable, &mut bytes);
            Change::Durable(wire::decode(wire::VERSION, &bytes).expect("what was just written"))
        }
        Change::Appended(_) | Change::Volatile(_) => change.clone(),
    }
}

fn settings(dice: &mut Dice) -> Settings {
    let retry = [
        Retry::AtOnce,
        Retry::AtOnce,
        Retry::Fixed { ms: 30 },
        Retry::Linear { ms: 10, ms_max: 25 },
    ];
    let overflows = [
        Overflow::DropOldest,
        Overflow::DeadLetterOldest,
        Overflow::Refuse,
    ];
    Settings {
        failed_max: dice.pick(&[None, Some(1), Some(3)]).expect("one"),
        acquired_max: dice.pick(&[None, None, Some(2), Some(4)]).expect("one"),
        retry: dice.pick(&retry).expect("one"),
        dead_letter: dice.one_in(2),
        age_ms_max: dice.pick(&[None, None, Some(120)]).expect("one"),
        ttl_ms: dice.pick(&[None, None, None, Some(200)]).expect("one"),
        single_active: dice.one_in(5),
        paused: dice.one_in(9),
        bytes_max: dice.pick(&[None, None, Some(2_000)]).expect("one"),
        length_max: dice.pick(&[None, None, Some(25)]).expect("one"),
        overflow: dice.pick(&overflows).expect("one"),
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_store(seed, through_the_log)
    }

    /// One whose log may be a bad one.
    pub(crate) fn with_store(seed: u64, store: fn(&Change) -> Change) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let settings = settings(&mut dice);
        let subscription = Subscription::new(settings, Offset(0));
        let rows = Rows {
            settings,
            ..Rows::default()
        };
        Self {
            twin: Twin::new(subscription, store),
            store,
            rows,
            dice,
            seed,
            now: Now {
                elapsed: Elapsed(1_000),
                wall: WallTime(1_000_000),
            },
            leader: 0,
            next_consumer: 1,
            epochs: BTreeSet::new(),
            pages: BTreeMap::new(),
            tracked: Columns(0),
            steps: 0,
        }
    }

    pub(crate) fn step(&mut self) {
        self.steps += 1;
        match self.dice.below(100) {
            0..14 => self.append(),
            14..20 => self.attach(),
            20..34 => self.grant(),
            34..36 => self.revoke(),
            36..39 => self.detach(),
            39..44 => self.pull(),
            44..72 => self.settle(),
            72..74 => self.schedule(),
            74..80 => (0..4).for_each(|_| self.answer_archive()),
            80..81 => self.trim(),
            81..90 => {
                let (ms, more) = (self.dice.below(20), self.dice.below(20));
                self.now.elapsed.0 += ms;
                self.now.wall.0 += more;
            }
            90..91 => self.restart(),
            91..92 if self.dice.one_in(2) => self.change_settings(),
            91..92 => self.track(),
            92..93 => self.all_at_once(),
            93..94 if self.dice.one_in(3) => self.deduplicate(),
            _ => self.tick(),
        }
        if !self.dice.one_in(5) {
            self.tick();
        }
        self.compare();
        if self.dice.one_in(30) {
            self.checkpoint();
        }
        if self.rows.rows.len() > 3_000 {
            self.begin_anew();
        }
    }

    /// The rows are looked through as a whole each time; that has to stay bearable.
    fn begin_anew(&mut self) {
        let fresh = Self::with_store(self.seed.wrapping_add(self.steps), self.store);
        let steps = self.steps;
        *self = Self {
            steps,
            seed: self.seed,
            ..fresh
        };
    }

    fn ask(&mut self, command: Command) -> Option<Decision<Change, Effect>> {
        self.twin.step(command, self.now).ok()
    }

    fn expect(&mut self, command: Command) -> Vec<Effect> {
        let told = format!("{command:?}");
        let decision = self.ask(command);
        let place = format!("seed {} step {}: {told}", self.seed, self.steps);
        let decision = decision.unwrap_or_else(|| panic!("{place} is refused"));
        decision
            .effects
            .into_iter()
            .map(|(_, effect)| effect)
            .collect()
    }

    /// Other facts are kept from here on. What is not any more counts for nothing.
    fn track(&mut self) {
        let dice = &mut self.dice;
        let order = [Columns::PRIORITY, Columns::ORDERING_KEY];
        let kinds = [dice.pick(&order).expect("one"), Columns::SIZE];
        let some = kinds.into_iter().filter(|_| !dice.one_in(3));
        self.tracked = some.fold(Columns(0), Columns::with);
        self.expect(Command::Track(self.tracked));
        assert_eq!(self.twin.live.tracked(), self.tracked);
        for row in &mut self.rows.rows {
            row.level = if self.tracked.has(Columns::PRIORITY) {
                row.level
            } else {
                0
            };
            row.key = row.key.filter(|_| self.tracked.has(Columns::ORDERING_KEY));
            row.size = if self.tracked.has(Columns::SIZE) {
                row.size
            } else {
                0
            };
        }
    }

    /// How many records and bytes have to make room, or none if the append is to be refused.
    fn excess(&self, records: usize, bytes: u64) -> Option<(usize, u64)> {
        let settings = self.rows.settings;
        let most = settings.length_max.unwrap_or(u64::MAX);
        let most = usize::try_from(most).expect("fits");
        let excess = (self.rows.waiting() + records).saturating_sub(most);
        let most = settings.bytes_max.unwrap_or(u64::MAX);
        let bytes = (self.rows.waiting_bytes() + bytes).saturating_sub(most);
        let refuse = settings.overflow == Overflow::Refuse && (excess > 0 || bytes > 0);
        let blind = settings.bytes_max.is_some() && !self.tracked.has(Columns::SIZE);
        (!refuse && !blind).then_some((excess, bytes))
    }

    fn append(&mut self) {
        let gap = if self.dice.one_in(12) { 2 } else { 0 };
        let records = 1 + self.dice.below(5);
        let count = u32::try_from(records).expect("few");
        let new = self.rows.rows.len() + gap;
        let wall = self.now.wall;
        let dice = &mut self.dice;
        let facts = dice.one_in(2).then(|| made::facts(dice, wall, records));
        let append = Append {
            span: Span::new(at(new), count),
            at: self.now.wall,
            facts: facts.clone().map(Arc::new),
            filter: self.dice.one_in(3).then_some(9),
        };
        let records = usize::try_from(records).expect("few");
        let mut selected = made::selected(&append, records);
        for again in self.again(&append) {
            selected[again] = false;
        }
        let sizes = facts.iter().flat_map(|facts| &facts.sizes).zip(&selected);
        let sizes = sizes.filter(|(_, selected)| **selected);
        let bytes = sizes.map(|(size, _)| u64::from(*size)).sum();
        let new_ones = selected.iter().filter(|selected| **selected).count();
        let Some((excess, bytes)) = self.excess(new_ones, bytes) else {
            assert!(
                self.ask(Command::Append(append)).is_none(),
                "beyond the limit"
            );
            return;
        };
        self.expect(Command::Append(append.clone()));
        self.rows.append(gap, records);
        self.rows.know(&append, new);
        let wall = self.now.wall.0;
        for (index, row) in self.rows.rows.iter_mut().skip(new).enumerate() {
            row.appended = wall;
            let ms = |time: Option<i64>| time.and_then(|ms| u64::try_from(ms).ok());
            let facts = facts.as_ref();
            if let Some(facts) = facts.filter(|_| self.tracked.has(Columns::PRIORITY)) {
                row.level = facts.priority(index).unwrap_or(0);
            }
            if let Some(facts) = facts.filter(|_| self.tracked.has(Columns::ORDERING_KEY)) {
                row.key = facts.ordering_key(index);
            }
            if let Some(facts) = facts.filter(|_| self.tracked.has(Columns::SIZE)) {
                row.size = facts.size(index).unwrap_or(0).into();
            }
            row.expiry = ms(facts.and_then(|facts| facts.expiry(index)));
            let due = ms(facts.and_then(|facts| facts.due(index)));
            if let Some(due) = due.filter(|due| *due > wall) {
                row.place = Place::Scheduled(due);
            }
            if !selected[index] {
                row.place = Place::Settled;
            }
        }
        self.rows.overflow(new, excess, bytes);
        assert!(
            self.ask(Command::Append(append)).is_none(),
            "appended twice"
        );
    }

    /// Places of records whose id is known, or comes twice at once. What is known is what the model knows.
    fn again(&self, append: &Append) -> Vec<usize> {
        let ids = append.facts.iter().flat_map(|facts| &facts.deduplication);
        let mut here = BTreeMap::new();
        let mut again = Vec::new();
        for (index, id) in ids.enumerate().filter(|(_, id)| **id != 0) {
            let first = self.rows.first_with(*id, append.at.0).map(at);
            let told = self.twin.live.first_with(*id, append.at);
            assert_eq!(told, first, "step {}: {id}", self.steps);
            let offset = Offset(append.span.first.0 + i64::try_from(index).expect("few"));
            match first.or_else(|| here.get(id).copied()) {
                Some(first) => again.push((index, first)),
                None => {
                    here.insert(*id, offset);
                }
            }
        }
        if self.rows.window_ms.is_none() {
            again.clear();
        }
        let told = self.twin.live.again(append);
        let told: Vec<_> = told.iter().map(|one| (one.index, one.first)).collect();
        assert_eq!(told, again, "step {}", self.steps);
        again.into_iter().map(|(index, _)| index).collect()
    }

    fn deduplicate(&mut self) {
        let windows = [None, Some(40), Some(200), Some(200)];
        let window_ms = self.dice.pick(&windows).expect("one");
        self.expect(Command::Deduplicate { window_ms });
        self.rows.window_ms = window_ms;
        if window_ms.is_none() {
            self.rows.ids.clear();
        }
    }

    fn schedule(&mut self) {
        let any = self
            .dice
            .below(u64::try_from(self.rows.rows.len()).expect("few") + 1);
        self.schedule_one(usize::try_from(any).expect("few"));
    }

    fn schedule_one(&mut self, row: usize) {
        let offset = at(row);
        let scheduled = self.rows.state(row) == RecordState::Scheduled;
        if self.dice.one_in(4) {
            let done = self.ask(Command::Take(Span::one(offset))).is_some();
            let waits = self.rows.may_schedule(row);
            assert_eq!(done, waits, "step {}: take {row}", self.steps);
            if done {
                self.rows.settle(row);
            }
            return;
        }
        if self.dice.one_in(3) {
            let done = self.ask(Command::Cancel { offset }).is_some();
            assert_eq!(done, scheduled, "step {}: cancel {row}", self.steps);
            if done {
                self.rows.settle(row);
            }
            return;
        }
        let due = WallTime(self.now.wall.0 + self.dice.below(40));
        let done = self.ask(Command::Schedule { offset, due }).is_some();
        assert_eq!(
            done,
            self.rows.may_schedule(row),
            "step {}: schedule {row}",
            self.steps
        );
        if done {
            self.rows.rows[row].place = Place::Scheduled(due.0);
        }
    }

    fn new_consumer(&mut self) -> ConsumerId {
        self.next_consumer += 1;
        ConsumerId(self.next_consumer)
    }

    fn attach(&mut self) {
        if self.rows.readers.len() > 5 {
            return;
        }
        let consumer = self.new_consumer();
        let priority = i32::try_from(self.dice.below(2)).expect("few");
        let exclusive = self.dice.one_in(20);
        let terms = [
            LockTerm::Attached,
            LockTerm::AttachedFor(40),
            LockTerm::Outliving(60),
        ];
        let lock = self.dice.pick(&terms).expect("one");
        let attach = Attach {
            consumer,
            priority,
            exclusive,
            lock,
        };
        let taken = self.rows.readers.iter().any(|reader| reader.exclusive);
        let refused = taken || (exclusive && !self.rows.readers.is_empty());
        let done = self.ask(Command::Attach(attach)).is_some();
        assert_eq!(done, !refused, "{attach:?}");
        if done {
            self.rows.readers.push(Reader {
                id: consumer,
                priority,
                exclusive,
                lock,
                credit: 0,
                once_until: None,
                once: false,
                keys_together: false,
            });
            self.rows.promote();
        }
    }

    fn reader(&mut self) -> Option<Reader> {
        let mut readers = self.rows.readers.clone();
        readers.retain(|reader| !reader.once);
        self.dice.pick(&readers)
    }

    fn reader_mut(&mut self, id: ConsumerId) -> &mut Reader {
        let mut readers = self.rows.readers.iter_mut();
        readers.find(|reader| reader.id == id).expect("a reader")
    }

    fn grant(&mut self) {
        let Some(reader) = self.reader() else {
            return;
        };
        let credit = 1 + u32::try_from(self.dice.below(5)).expect("few");
        let wait = self.dice.below(30);
        let once_until = self
            .dice
            .one_in(4)
            .then(|| Elapsed(self.now.elapsed.0 + wait));
        self.expect(Command::Grant(Grant {
            consumer: reader.id,
            credit,
            once_until,
        }));
        let reader = self.reader_mut(reader.id);
        reader.credit += credit;
        reader.once_until = once_until;
    }

    fn revoke(&mut self) {
        if let Some(reader) = self.reader() {
            self.expect(Command::Revoke(reader.id));
            let reader = self.reader_mut(reader.id);
            (reader.credit, reader.once_until) = (0, None);
        }
    }

    fn detach(&mut self) {
        if let Some(reader) = self.reader() {
            let (consumer, failed) = (reader.id, self.dice.one_in(2));
            self.expect(Command::Detach { consumer, failed });
            self.rows.readers.retain(|there| there.id != consumer);
            self.rows.promote();
            self.rows.gone.push((consumer, failed));
        }
    }

    fn pull(&mut self) {
        let consumer = self.new_consumer();
        let credit = 1 + u32::try_from(self.dice.below(6)).expect("few");
        let until = Elapsed(self.now.elapsed.0 + self.dice.below(20));
        let keys_together = self.dice.one_in(2);
        let pull = Pull {
            consumer,
            credit,
            lock_ms: 50,
            until,
            keys_together,
        };
        let taken = self.rows.readers.iter().any(|reader| reader.exclusive);
        let done = self.ask(Command::Pull(pull)).is_some();
        assert_eq!(done, !taken, "{pull:?}");
        if done {
            self.rows.readers.push(Reader {
                id: consumer,
                priority: 0,
                exclusive: false,
                lock: LockTerm::Outliving(50),
                credit,
                once_until: Some(until),
                once: true,
                keys_together,
            });
            self.rows.promote();
        }
    }

    fn outcome(&mut self) -> Outcome {
        match self.dice.below(10) {
            0..5 => Outcome::Accept,
            5..8 => {
                let later = WallTime(self.now.wall.0 + self.dice.below(40));
                Outcome::Release {
                    failed: self.dice.one_in(2),
                    not_before: self.dice.one_in(3).then_some(later),
                }
            }
            8 => Outcome::Reject {
                words: self.dice.one_in(2).then(|| "broken".into()),
            },
            _ => Outcome::Renew { lock_ms: 45 },
        }
    }

    fn settle(&mut self) {
        let held = |at: &usize| self.rows.held(*at).is_some();
        let held: Vec<usize> = (0..self.rows.rows.len()).filter(held).collect();
        let any = self
            .dice
            .below(u64::try_from(self.rows.rows.len()).expect("few") + 2);
        let any = usize::try_from(any).expect("few");
        let first = if self.dice.one_in(10) {
            any
        } else {
            self.dice.pick(&held).unwrap_or(any)
        };
        let claim = self.claim(first);
        let mut end = first + 1;
        let now = self.now;
        while self.rows.allows(end, claim, false, now) && !self.dice.one_in(3) {
            end += 1;
        }
        if self.dice.one_in(20) {
            end += 1;
        }
        let outcome = self.outcome();
        let accept = outcome == Outcome::Accept;
        let allowed = (first..end).all(|at| self.rows.allows(at, claim, accept, now));
        // An old receipt reaches beyond what is held for one record only.
        let old = matches!(claim, Claim::OldReceipt(_)) && accept;
        let end = if old { first + 1 } else { end };
        let allowed = if old {
            self.rows.allows(first, claim, true, now)
        } else {
            allowed
        };
        let span = Span {
            first: at(first),
            end: at(end),
        };
        let settle = Settle {
            claim,
            span,
            outcome: outcome.clone(),
        };
        let told = format!("seed {} step {}: {settle:?}", self.seed, self.steps);
        let decision = self.ask(Command::Settle(settle));
        assert_eq!(decision.is_some(), allowed, "{told}");
        if let Some(decision) = decision {
            assert_eq!(decision.effects.len(), 1, "{told}");
            (first..end).for_each(|at| self.settled(at, &outcome));
        }
    }

    fn claim(&mut self, first: usize) -> Claim {
        let nobody = LockEpoch {
            leader: LeaderEpoch(0),
            number: 999_999,
        };
        let held = self.rows.held(first).cloned();
        let epoch = held.as_ref().map_or(nobody, |held| held.epoch);
        let consumer = held.map_or(ConsumerId(0), |held| held.consumer);
        match self.dice.below(20) {
            0..9 => Claim::Holder(consumer),
            9..17 => Claim::Receipt(epoch),
            17 => Claim::OldReceipt(nobody),
            18 => Claim::Receipt(nobody),
            _ => Claim::Holder(ConsumerId(1)),
        }
    }

    fn settled(&mut self, at: usize, outcome: &Outcome) {
        let now = self.now;
        match outcome {
            Outcome::Accept => self.rows.settle(at),
            Outcome::Release { failed, not_before } => {
                self.rows.come_back(at, *failed, *not_before, now);
            }
            Outcome::Reject { .. } => {
                self.rows.rows[at].tries.failed += 1;
                self.rows.give_up(at, Reason::Rejected);
            }
            Outcome::Renew { lock_ms } => {
                if let Place::Held(held) = &mut self.rows.rows[at].place {
                    held.until = Some(now.elapsed.plus_ms(*lock_ms));
                }
            }
        }
    }

    fn answer_archive(&mut self) {
        let asked = |row: &usize| {
            let place = &self.rows.rows[*row].place;
            matches!(place, Place::Condemned { asked: true, .. })
        };
        let asked: Vec<usize> = (0..self.rows.rows.len()).filter(asked).collect();
        let Some(row) = self.dice.pick(&asked) else {
            return;
        };
        let offset = at(row);
        let why = match self.dice.below(4) {
            0 => NotArchived::TargetMissing,
            1 => NotArchived::TargetFull,
            _ => {
                self.expect(Command::Archived(Span::one(offset)));
                self.rows.settle(row);
                self.rows.paused = None;
                return;
            }
        };
        self.expect(Command::NotArchived { offset, why });
        if why == NotArchived::TargetFull {
            if let Place::Condemned { asked, .. } = &mut self.rows.rows[row].place {
                *asked = false;
            }
        } else {
            self.rows.settle(row);
        }
        self.rows.paused = self.twin.live.archiving_paused();
        // A pause of seconds would be most of a run.
        self.now.elapsed.0 += 2_000;
    }

    fn trim(&mut self) {
        let start = row(self.twin.live.start());
        let to = start + usize::try_from(self.dice.below(4)).expect("few");
        self.expect(Command::Trim { to: at(to) });
        let end = self.rows.rows.len();
        if to > end {
            self.rows.append(to - end, 0);
        }
        (start..to).for_each(|row| self.rows.settle(row));
    }

    /// Purges, or goes to another offset.
    fn all_at_once(&mut self) {
        match self.dice.below(6) {
            0 => self.purge(),
            1..4 => self.seek(),
            4 => {
                // Of what was to come later some is cancelled, comes back, and is to come at another time.
                let end = self.rows.rows.len();
                let last = end.saturating_sub(12)..end;
                last.clone().for_each(|row| self.schedule_one(row));
                self.seek();
                last.for_each(|row| self.schedule_one(row));
            }
            _ => {}
        }
    }

    fn purge(&mut self) {
        let held = self.dice.one_in(2);
        self.expect(Command::Purge { held });
        self.rows.purge(held);
    }

    fn seek(&mut self) {
        let end = self.rows.rows.len();
        let near = usize::try_from(self.dice.below(30)).expect("few");
        let to = (end + 2).saturating_sub(near);
        let start = row(self.twin.live.start());
        let settled = |row: &Row| row.place == Place::Settled;
        let back = to < start || self.rows.rows.iter().skip(to).any(settled);
        let refused = to > end || (back && self.tracked.0 != 0);
        let done = self.ask(Command::Seek { to: at(to) }).is_some();
        assert_eq!(done, !refused, "step {}: seek {to}", self.steps);
        if done {
            self.rows.seek(to, self.now.wall.0);
        }
    }

    fn restart(&mut self) {
        self.twin.restart();
        self.rows.restart();
        self.leader += 1;
        self.expect(Command::Lead(LeaderEpoch(self.leader)));
    }

    fn change_settings(&mut self) {
        let settings = settings(&mut self.dice);
        self.rows.settings = settings;
        self.twin.live.set_settings(settings);
        self.twin.replayed.set_settings(settings);
    }

    /// Ticks until nothing is left to do now.
    fn tick(&mut self) {
        self.rows.tick(self.now);
        for turn in 0.. {
            assert!(
                turn < 1_000,
                "seed {} step {}: it never rests",
                self.seed,
                self.steps
            );
            let decision = self.twin.step(Command::Tick, self.now);
            let decision = decision.expect("a tick is never refused");
            for (_, effect) in &decision.effects {
                self.happened(effect);
            }
            let (elapsed, wall) = self.twin.live.deadline();
            let due = elapsed.is_some_and(|at| at <= self.now.elapsed);
            if !decision.again && !due && wall.is_none_or(|at| at > self.now.wall) {
                break;
            }
        }
        self.at_rest();
    }

    fn happened(&mut self, effect: &Effect) {
        let told = format!("seed {} step {}: {effect:?}", self.seed, self.steps);
        match effect {
            Effect::Deliver {
                consumer,
                span,
                epoch,
                tries,
                until,
            } => {
                assert!(self.epochs.insert(*epoch), "{told}: the epoch comes twice");
                assert!(!self.rows.settings.paused, "{told}: paused");
                for offset in span.offsets() {
                    let reader = self.reader_mut(*consumer).clone();
                    let own = reader.keys_together.then_some(*consumer);
                    assert_eq!(self.rows.next_for(own), Some(row(offset)), "{told}");
                    let before =
                        |other: &Reader| other.priority > reader.priority && other.credit > 0;
                    if self.rows.settings.single_active {
                        assert_eq!(self.rows.active, Some(reader.id), "{told}: not active");
                    } else {
                        let readers = &self.rows.readers;
                        assert!(!readers.iter().any(before), "{told}: out of turn");
                    }
                    assert!(reader.credit > 0, "{told}: no credit");
                    self.reader_mut(*consumer).credit -= 1;
                    let outlives = matches!(reader.lock, LockTerm::Outliving(_));
                    let there = &mut self.rows.rows[row(offset)];
                    there.tries.acquired += 1;
                    assert_eq!(there.tries, *tries, "{told}");
                    there.place = Place::Held(Held {
                        consumer: *consumer,
                        epoch: *epoch,
                        until: *until,
                        outlives,
                    });
                }
            }
            Effect::GrantEnded { consumer, served } => {
                let now = self.now.elapsed;
                let reader = self.reader_mut(*consumer);
                let late = reader.once_until.expect("a grant for one time") <= now;
                assert!(*served || late, "{told}: too early");
                let looked_on = reader.credit > 0;
                (reader.credit, reader.once_until) = (0, None);
                self.rows.readers.retain(|r| !(r.id == *consumer && r.once));
                self.rows.promote();
                if looked_on {
                    self.give_up_on_the_way();
                }
            }
            Effect::Archive(death) => {
                // It may have been given up on the way to one that is handed out, or to none.
                let state = self.rows.state(row(death.offset));
                if state == RecordState::Available {
                    let _next = self.rows.next();
                }
                let there = &mut self.rows.rows[row(death.offset)];
                assert_eq!(there.tries, death.tries, "{told}");
                let Place::Condemned { reason, asked } = &mut there.place else {
                    panic!("{told}: it is not given up");
                };
                assert!(!*asked && *reason == death.reason, "{told}");
                *asked = true;
            }
            Effect::Settled { .. } => panic!("{told}: nobody settled"),
        }
    }
}
