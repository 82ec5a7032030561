//! Handing records out: to whom, how many, and which.
//!
//! Records go by priority, and those of one priority by offset. Consumers with credit are served by priority, those of one priority a record each in turn, so that
//! none starves beside one with more credit. Where there is one alone, or one that pulls, it gets
//! all it can take at once, in stretches.

use alloc::collections::{BTreeMap, BTreeSet};

use mulgil_record::ids::Offset;

use super::State;
use super::change::{Change, Durable, Volatile};
use super::command::LockTerm;
use super::consumers::Consumer;
use super::draft::Draft;
use super::effect::Effect;
use super::keys::Behind;
use super::names::{ConsumerId, LockEpoch, Reason, Tries};
use super::offers::Place;
use super::retry::{Fate, is_exhausted};
use super::settings::Settings;
use super::span::Span;
use crate::machine::Keep;

/// Most stretches that one turn hands out: some tens of microseconds.
const STRETCHES_A_TURN: u32 = 256;
/// Most records that one turn hands out.
const RECORDS_A_TURN: u32 = 16_384;
/// Most records that one turn finds to wait behind others of their key.
const PARKED_A_TURN: u32 = 1_024;

/// Most links of what is settled that a consumer who gets several records of a key is taken past.
const DEAD_LINKS: u32 = 256;

/// What one consumer may get of keys that it has got records of just now.
#[derive(Debug, Default)]
struct Together {
    keys: BTreeSet<u32>,
    /// The next parked record of such keys.
    parked: BTreeMap<i64, u32>,
    /// How many links may be passed over.
    room: u32,
}

/// A turn of handing out.
struct Hand<'a, 'b> {
    state: &'a State,
    settings: &'a Settings,
    draft: &'a mut Draft<'b>,
    place: Place,
    number: u64,
    stretches: u32,
    records: u32,
    parks: u32,
    /// Keys of what this turn hands out.
    keys: BTreeSet<u32>,
    /// For whom several records of a key may go.
    together: Option<Together>,
}

/// Hands out what there is to those who want it; whether all that is available was looked at or handed out,
/// so that who got nothing will get nothing.
pub(super) fn dispatch(state: &State, settings: &Settings, draft: &mut Draft<'_>) -> bool {
    if settings.paused {
        return true;
    }
    let mut hand = Hand {
        state,
        settings,
        place: state.first_place(),
        number: state.live.next_number,
        stretches: STRETCHES_A_TURN,
        records: RECORDS_A_TURN,
        parks: PARKED_A_TURN,
        keys: BTreeSet::new(),
        together: None,
        draft,
    };
    hand.all();
    let more = hand.is_spent() && state.next_offer(&mut hand.place).is_some();
    let all = hand.parks > 0;
    if more {
        draft.again();
    }
    all || !more
}

impl Hand<'_, '_> {
    const fn is_spent(&self) -> bool {
        self.stretches == 0 || self.records == 0 || self.parks == 0
    }

    fn all(&mut self) {
        let consumers = &self.state.live.consumers;
        if self.settings.single_active {
            if let Some(active) = consumers.active() {
                self.serve(active, active.credit);
            }
            return;
        }
        for ring in consumers.rings() {
            let alone = ring.is_one();
            for pass in 0.. {
                let mut served = false;
                for consumer in consumers.seated(ring) {
                    let whole = alone || consumer.one_shot;
                    if consumer.credit <= pass || (whole && pass > 0) {
                        continue;
                    }
                    let want = if whole { consumer.credit } else { 1 };
                    if self.serve(consumer, want) == 0 {
                        return;
                    }
                    served = true;
                }
                if !served {
                    break;
                }
            }
        }
    }

    /// Hands up to `want` records to `consumer`; how many it was.
    fn serve(&mut self, consumer: &Consumer, want: u32) -> u32 {
        let mut given = 0;
        self.together = consumer.keys_together.then(|| Together {
            room: DEAD_LINKS,
            ..Together::default()
        });
        while given < want && !self.is_spent() {
            let Some((first, end, tries)) = self.next(want - given) else {
                break;
            };
            self.place.from = self.place.from.max(end);
            self.stretches -= 1;
            let span = Span::of(first, end);
            let count = u32::try_from(end - first).unwrap_or(u32::MAX);
            self.records = self.records.saturating_sub(count);
            if is_exhausted(self.settings, tries) {
                self.give_up(span);
            } else {
                self.hand_out(consumer, span, tries);
                given += count;
            }
        }
        if given > 0 && consumer.one_shot {
            self.end(consumer.id);
        }
        given
    }

    /// The next stretch of at most `most` records that were tried equally often.
    fn next(&mut self, most: u32) -> Option<(i64, i64, Tries)> {
        if self.state.live.keys.is_some() {
            return self.next_by_key(most);
        }
        let (first, end) = self.state.next_offer(&mut self.place)?;
        let end = end.min(first + i64::from(most.min(self.records)));
        let tries = self.state.tries(first);
        let untried = self.state.live.untried;
        if first >= untried {
            return Some((first, end, tries));
        }
        let mut alike = first + 1;
        while alike < end && self.state.tries(alike) == tries {
            alike += 1;
        }
        Some((first, alike, tries))
    }

    /// The same where records go by key; those whose key has to wait are parked on the way.
    fn next_by_key(&mut self, most: u32) -> Option<(i64, i64, Tries)> {
        loop {
            if self.together.as_ref().is_some_and(|own| own.room == 0) {
                return None;
            }
            let Some((mut first, mut end)) = self.state.next_offer(&mut self.place) else {
                return self.next_parked(i64::MAX);
            };
            if let Some(parked) = self.next_parked(first) {
                return Some(parked);
            }
            end = end.min(self.first_parked());
            while first < end && !self.may_go(first) {
                if self.parks == 0 {
                    return None;
                }
                let offset = Offset(first);
                self.draft.volatile(Volatile::Parked { offset });
                self.parks -= 1;
                first += 1;
            }
            self.place.from = first;
            if first == end {
                continue;
            }
            let mut end = end.min(first + i64::from(most.min(self.records)));
            let tries = self.state.tries(first);
            let mut alike = first;
            while alike < end && self.may_go(alike) && self.state.tries(alike) == tries {
                self.goes(alike);
                end = end.min(self.first_parked());
                alike += 1;
            }
            return Some((first, alike, tries));
        }
    }

    /// Where the next parked record that may go lies, or nowhere.
    fn first_parked(&self) -> i64 {
        let parked = self
            .together
            .as_ref()
            .and_then(|own| own.parked.keys().next());
        parked.copied().unwrap_or(i64::MAX)
    }

    /// The next parked record that may go with what its consumer gets, if it lies before `offer`.
    fn next_parked(&mut self, offer: i64) -> Option<(i64, i64, Tries)> {
        let first = self.first_parked();
        if first >= offer {
            return None;
        }
        self.together.as_mut()?.parked.remove(&first);
        self.goes(first);
        Some((first, first + 1, self.state.tries(first)))
    }

    /// A record goes: others of its key wait, or go with it.
    fn goes(&mut self, offset: i64) {
        let Some(key) = self.state.key(offset) else {
            return;
        };
        self.keys.insert(key);
        let Some(together) = &mut self.together else {
            return;
        };
        together.keys.insert(key);
        match self.state.parked_behind(key, offset, &mut together.room) {
            Behind::Record(next) => {
                together.parked.insert(next, key);
            }
            Behind::Nothing => {}
            Behind::Unknown => together.room = 0,
        }
    }

    fn may_go(&self, offset: i64) -> bool {
        let Some(key) = self.state.key(offset) else {
            return true;
        };
        let own = |together: &Together| together.keys.contains(&key);
        self.together.as_ref().is_some_and(own)
            || (!self.keys.contains(&key) && self.state.may_go(key))
    }

    /// Tried too often, and the restart came before that was settled.
    fn give_up(&mut self, span: Span) {
        let fate = Fate::GivenUp {
            failed: false,
            reason: Reason::DeliveryLimit,
        };
        for offset in span.offsets() {
            self.draft.come_back(offset, fate, false, Keep::Riding);
        }
        self.draft.flush(Keep::Riding);
        if self.state.live.keys.is_some() {
            // Whoever waits behind it is free only once this is applied.
            self.parks = 0;
        }
    }

    fn hand_out(&mut self, consumer: &Consumer, span: Span, mut tries: Tries) {
        let epoch = LockEpoch {
            leader: self.state.live.leader,
            number: self.number,
        };
        self.number += 1;
        let until = consumer.lock.until(self.draft.now.elapsed);
        let consumer_id = consumer.id;
        match (consumer.lock, until) {
            (LockTerm::Outliving(_), Some(until)) => self.draft.riding(Durable::Locked {
                span,
                consumer: consumer_id,
                epoch,
                until,
            }),
            (_, until) => {
                self.draft.riding(Durable::Acquired(span));
                self.draft.volatile(Volatile::Locked {
                    span,
                    consumer: consumer_id,
                    epoch,
                    until,
                });
            }
        }
        tries.acquired = tries.acquired.saturating_add(1);
        self.draft.answer(Effect::Deliver {
            consumer: consumer_id,
            span,
            epoch,
            tries,
            until,
        });
    }

    fn end(&mut self, consumer: ConsumerId) {
        self.draft.volatile(Volatile::Ended { consumer });
        self.draft.answer(Effect::GrantEnded {
            consumer,
            served: true,
        });
    }
}

/// Whether this decision already serves `consumer`.
pub(super) fn serves(draft: &Draft<'_>, consumer: ConsumerId) -> bool {
    let ends = |change: &Change| match change {
        Change::Volatile(Volatile::Ended { consumer: ended }) => *ended == consumer,
        Change::Volatile(_) | Change::Durable(_) | Change::Appended(_) => false,
    };
    draft.changes().iter().any(|(_, change)| ends(change))
}
