//! Who reads from subscriptions: attached consumers, and receivers that come for what there is.

use std::collections::{BTreeMap, BTreeSet};

use mulgil_core::machine::Elapsed;
use mulgil_core::queue::ConsumerId;
use mulgil_record::ids::{PartitionId, SubscriptionId};

use super::super::{Due, Origin, ReplyTo};
use crate::subscription::Acquired;

/// One that reads.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) subscription: SubscriptionId,
    pub(super) origin: Origin,
    /// Whether it came for what there is, and goes with its answer.
    pub(super) once: bool,
    /// Where it is attached.
    pub(super) partitions: Vec<PartitionId>,
    /// For so many records it has credit.
    pub(super) credit: u32,
    /// Handed out, and not told yet.
    pub(super) got: Vec<Acquired>,
    /// What telling it waits for.
    pub(super) due: Due,
    /// Who is told, and until when they wait; those who receive have no time here, since the machines
    /// have it.
    pub(super) waiting: Option<(ReplyTo, Option<Elapsed>)>,
}

/// All that read.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    all: BTreeMap<ConsumerId, Consumer>,
    of_origin: BTreeSet<(Origin, ConsumerId)>,
    of_subscription: BTreeSet<(SubscriptionId, ConsumerId)>,
    waits: BTreeSet<(Elapsed, ConsumerId)>,
    /// Their connection is gone: they are detached with the next tick.
    pub(super) leaving: Vec<ConsumerId>,
    /// Their subscription is gone: they are told with the next tick.
    pub(super) orphans: Vec<Consumer>,
    newest: u64,
}

impl Consumers {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many read from a subscription.
    pub(super) fn count(&self, of: SubscriptionId) -> usize {
        let all = (of, ConsumerId(0))..=(of, ConsumerId(u64::MAX));
        self.of_subscription.range(all).count()
    }

    /// A name that nobody had since the start. Locks that outlive a start have no consumer.
    pub(super) fn name(&mut self) -> ConsumerId {
        self.newest += 1;
        ConsumerId(self.newest)
    }

    pub(super) fn insert(&mut self, id: ConsumerId, consumer: Consumer) {
        self.of_origin.insert((consumer.origin, id));
        self.of_subscription.insert((consumer.subscription, id));
        self.all.insert(id, consumer);
    }

    pub(super) fn get(&self, id: ConsumerId) -> Option<&Consumer> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        self.all.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let consumer = self.all.remove(&id)?;
        self.of_origin.remove(&(consumer.origin, id));
        self.of_subscription.remove(&(consumer.subscription, id));
        if let Some((_, Some(until))) = consumer.waiting {
            self.waits.remove(&(until, id));
        }
        Some(consumer)
    }

    pub(super) fn wait(&mut self, id: ConsumerId, to: ReplyTo, until: Elapsed) {
        if let Some(consumer) = self.all.get_mut(&id) {
            consumer.waiting = Some((to, Some(until)));
            self.waits.insert((until, id));
        }
    }

    /// Who is to be told now, if anybody waits.
    pub(super) fn take_waiting(&mut self, id: ConsumerId) -> Option<ReplyTo> {
        let (to, until) = self.all.get_mut(&id)?.waiting.take()?;
        if let Some(until) = until {
            self.waits.remove(&(until, id));
        }
        Some(to)
    }

    /// One whose wait is over.
    pub(super) fn waited(&self, now: Elapsed) -> Option<ConsumerId> {
        let (until, id) = self.waits.first()?;
        (*until <= now).then_some(*id)
    }

    pub(super) fn deadline(&self) -> Option<Elapsed> {
        if !self.leaving.is_empty() || !self.orphans.is_empty() {
            return Some(Elapsed(0));
        }
        self.waits.first().map(|(until, _)| *until)
    }

    /// A connection is gone: nobody is told any more, and its consumers leave.
    pub(super) fn forget(&mut self, origin: Origin) {
        let all = (origin, ConsumerId(0))..=(origin, ConsumerId(u64::MAX));
        let gone: Vec<_> = self.of_origin.range(all).map(|(_, id)| *id).collect();
        for id in gone {
            self.take_waiting(id);
            self.leaving.push(id);
        }
    }

    /// A subscription is gone.
    pub(super) fn drop_subscription(&mut self, of: SubscriptionId) {
        let all = (of, ConsumerId(0))..=(of, ConsumerId(u64::MAX));
        let gone: Vec<_> = self.of_subscription.range(all).map(|(_, id)| *id).collect();
        for id in gone {
            let orphan = self.remove(id);
            self.orphans.extend(orphan);
        }
    }
}
