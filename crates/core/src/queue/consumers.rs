//! Who wants records: attached consumers, their credit, and whose turn it is.
//!
//! Those with credit stand in a ring, one ring for each priority. Who was served goes to the end of
//! its ring; who has no credit leaves it, so that a turn costs by those it serves.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::arrivals::Arrivals;
use super::command::LockTerm;
use super::names::ConsumerId;
use super::table::Table;
use super::timers::Timers;
use crate::machine::Elapsed;

/// An attached consumer.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says something of its own"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Consumer {
    pub(super) id: ConsumerId,
    pub(super) priority: i32,
    pub(super) exclusive: bool,
    pub(super) lock: LockTerm,
    /// How many records it can still take.
    pub(super) credit: u32,
    /// Whether its grant ends with the first records it gets.
    pub(super) one_shot: bool,
    /// Whether it goes with its grant.
    pub(super) once: bool,
    /// Whether it may get several records of one key at once.
    pub(super) keys_together: bool,
}

/// Consumers of one priority with credit, who is next first.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    priority: i32,
    slots: VecDeque<u32>,
}

impl Ring {
    /// Whether one consumer stands in it alone.
    pub(super) fn is_one(&self) -> bool {
        self.slots.len() == 1
    }
}

/// All attached consumers.
#[derive(Clone, Debug, Default)]
pub(super) struct Consumers {
    slots: Vec<Option<Consumer>>,
    free: Vec<u32>,
    by_id: Table<u32>,
    /// Highest priority first.
    rings: Vec<Ring>,
    hungry: usize,
    exclusive: Option<ConsumerId>,
    /// Who gets records where one alone does.
    active: Option<ConsumerId>,
    arrivals: Arrivals,
    /// Until when one-shot grants wait.
    waits: Timers,
    /// Consumers that are gone while records are still locked for them, and whether those failed.
    gone: VecDeque<(ConsumerId, bool)>,
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

impl Consumers {
    pub(super) const fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether anybody has credit.
    pub(super) const fn any_hungry(&self) -> bool {
        self.hungry > 0
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let slots = self.slots.capacity() * (size_of::<Option<Consumer>>() + 24);
        let rings = self
            .rings
            .iter()
            .map(|ring| ring.slots.capacity() * 4 + size_of::<Ring>());
        let found = self.by_id.heap_bytes() + self.arrivals.heap_bytes();
        slots + self.free.capacity() * 4 + found + rings.sum::<usize>()
    }

    fn at(&self, slot: u32) -> Option<&Consumer> {
        self.slots.get(index(slot))?.as_ref()
    }

    fn at_mut(&mut self, slot: u32) -> Option<&mut Consumer> {
        self.slots.get_mut(index(slot))?.as_mut()
    }

    pub(super) fn get(&self, id: ConsumerId) -> Option<&Consumer> {
        self.at(self.by_id.get(id.0)?)
    }

    /// Anybody at all, the exclusive one if there is one.
    pub(super) fn holder(&self) -> Option<ConsumerId> {
        let any = || {
            self.slots
                .iter()
                .flatten()
                .map(|consumer| consumer.id)
                .next()
        };
        self.exclusive.or_else(any)
    }

    pub(super) const fn exclusive(&self) -> Option<ConsumerId> {
        self.exclusive
    }

    /// Who gets records where one alone does.
    pub(super) fn active(&self) -> Option<&Consumer> {
        self.get(self.active?)
    }

    pub(super) fn attach(&mut self, consumer: Consumer) {
        self.active = self.active.or(Some(consumer.id));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if consumer.exclusive {
            self.exclusive = Some(consumer.id);
        }
        self.by_id.insert(consumer.id.0, slot);
        self.arrivals.join(consumer.priority, slot);
        if let Some(place) = self.slots.get_mut(index(slot)) {
            *place = Some(consumer);
        }
    }

    /// Takes a consumer away. What it holds is not looked at.
    pub(super) fn detach(&mut self, id: ConsumerId) {
        self.end(id);
        if let Some(slot) = self.by_id.remove(id.0) {
            let place = self.slots.get_mut(index(slot));
            if let Some(gone) = place.and_then(Option::take) {
                self.arrivals.leave(gone.priority, slot);
            }
            self.free.push(slot);
        }
        if self.exclusive == Some(id) {
            self.exclusive = None;
        }
        if self.active == Some(id) {
            let next = self.arrivals.first().and_then(|slot| self.at(slot));
            self.active = next.map(|next| next.id);
        }
    }

    pub(super) fn grant(&mut self, id: ConsumerId, credit: u32, once_until: Option<Elapsed>) {
        let Some(slot) = self.by_id.get(id.0) else {
            return;
        };
        let Some(consumer) = self.at_mut(slot) else {
            return;
        };
        let was = consumer.credit;
        consumer.credit = was.saturating_add(credit);
        consumer.one_shot = once_until.is_some();
        let (priority, now) = (consumer.priority, consumer.credit);
        match once_until {
            Some(until) => self.waits.set(slot, until),
            None => self.waits.cancel(slot),
        }
        if was == 0 && now > 0 {
            self.ring(priority).slots.push_back(slot);
            self.hungry += 1;
        }
    }

    fn ring(&mut self, priority: i32) -> &mut Ring {
        let at = self.rings.partition_point(|ring| ring.priority > priority);
        if self
            .rings
            .get(at)
            .is_none_or(|ring| ring.priority != priority)
        {
            let slots = VecDeque::new();
            self.rings.insert(at, Ring { priority, slots });
        }
        self.rings
            .get_mut(at)
            .expect("a ring that was just put there")
    }

    /// Takes all credit away.
    pub(super) fn end(&mut self, id: ConsumerId) {
        let Some(slot) = self.by_id.get(id.0) else {
            return;
        };
        self.waits.cancel(slot);
        if let Some(consumer) = self.at_mut(slot) {
            let was = core::mem::take(&mut consumer.credit);
            consumer.one_shot = false;
            let priority = consumer.priority;
            if was > 0 {
                self.leave(priority, slot);
            }
        }
    }

    fn leave(&mut self, priority: i32, slot: u32) {
        let ring = self.ring(priority);
        if let Some(at) = ring.slots.iter().position(|there| *there == slot) {
            ring.slots.remove(at);
            self.hungry -= 1;
        }
        // Rings of a few usual priorities stay; a client that makes up priorities leaves none behind.
        if self.rings.len() > 16 {
            self.rings.retain(|ring| !ring.slots.is_empty());
        }
    }

    /// `id` got `count` records: its credit is less, and it goes to the end of its ring.
    pub(super) fn served(&mut self, id: ConsumerId, count: u64) {
        let Some(slot) = self.by_id.get(id.0) else {
            return;
        };
        let Some(consumer) = self.at_mut(slot) else {
            return;
        };
        let was = consumer.credit;
        let spent = u32::try_from(count).unwrap_or(u32::MAX);
        consumer.credit = was.saturating_sub(spent);
        let (priority, now) = (consumer.priority, consumer.credit);
        if was == 0 {
            return;
        }
        if now == 0 {
            self.leave(priority, slot);
            return;
        }
        let ring = self.ring(priority);
        if let Some(at) = ring.slots.iter().position(|there| *there == slot) {
            ring.slots.remove(at);
            ring.slots.push_back(slot);
        }
    }

    /// Those with credit, one ring a priority, the highest first.
    pub(super) fn rings(&self) -> impl Iterator<Item = &Ring> {
        self.rings.iter().filter(|ring| !ring.slots.is_empty())
    }

    /// Who stands in a ring, who is next first.
    pub(super) fn seated<'a>(&'a self, ring: &'a Ring) -> impl Iterator<Item = &'a Consumer> {
        ring.slots.iter().filter_map(|slot| self.at(*slot))
    }

    /// When the first one-shot grant has waited long enough.
    pub(super) fn deadline(&self) -> Option<Elapsed> {
        self.waits.first()
    }

    /// Consumers whose one-shot grant has waited long enough.
    pub(super) fn due(&self, now: Elapsed) -> impl Iterator<Item = &Consumer> {
        self.waits.due(now).filter_map(|slot| self.at(slot))
    }

    pub(super) fn mourn(&mut self, id: ConsumerId, failed: bool) {
        self.gone.push_back((id, failed));
    }

    /// A consumer that is gone, and may have left locks.
    pub(super) fn first_gone(&self) -> Option<(ConsumerId, bool)> {
        self.gone.front().copied()
    }

    pub(super) fn forget_gone(&mut self, id: ConsumerId) {
        self.gone.retain(|(gone, _)| *gone != id);
    }
}
