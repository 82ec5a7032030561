//! What subscriptions were promised: what was accepted is not handed out again, and nothing else is gone.
//!
//! `held` knows locks, tries, delays and order; `graves` what was given up, and what a queue gives back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mulgil_broker::subscription::{
    OverflowPolicy, RecordState, Subscription, SubscriptionName, Tries,
};
use mulgil_meta::schema::Durability;
use mulgil_record::ids::{Offset, PartitionId, TopicId};

use super::{Ledger, Outage, PartitionView, TopicModel, TopicState, View};
use crate::violation::{Kept, Rule, Violation};

mod graves;
mod held;

pub use graves::Grave;
pub use held::Given;
use held::Held;

/// One record of a topic.
pub type At = (PartitionId, Offset);

/// What is known of one subscription.
#[derive(Debug)]
struct Model {
    subscription: Arc<Subscription>,
    /// Somebody asked to accept it.
    asked: BTreeSet<At>,
    /// Who asked was told that it is done, while its topic synced.
    accepted: BTreeSet<At>,
    /// Somebody asked to reject it.
    rejected: BTreeSet<At>,
    /// Who holds what, and how often it was tried.
    held: Held,
}

impl Model {
    /// Where it begins in a partition.
    fn begin(&self, id: PartitionId) -> i64 {
        let mut beginnings = self.subscription.beginnings.iter();
        let begin = beginnings.find(|begin| begin.partition == id);
        begin.map_or(0, |begin| begin.first.0)
    }

    /// Whether its settings let records go that nobody asked to settle, without a trace.
    fn may_vanish(&self) -> bool {
        let settings = &self.subscription.settings;
        let drops = settings.length_max.is_some();
        let gives_up = settings.failed_max.is_some()
            || settings.acquired_max.is_some()
            || settings.age_ms_max.is_some()
            || settings.ttl_ms.is_some();
        let untraced = settings.dead_letter.is_none();
        let oldest = settings.overflow == OverflowPolicy::DropOldest;
        (drops && (oldest || untraced)) || (gives_up && untraced)
    }

    /// Whether a record that neither waits nor lies in the dead-letter topic may be gone.
    fn may_lack(&self, at: At) -> bool {
        let untraced = self.subscription.settings.dead_letter.is_none();
        self.asked.contains(&at) || (untraced && self.rejected.contains(&at)) || self.may_vanish()
    }
}

/// Where a record stands that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where.
    pub state: RecordState,
    /// How often it was tried.
    pub tries: Tries,
}

/// How a broker has a subscription.
#[derive(Clone, Debug)]
pub struct QueueView {
    /// What metadata says of it.
    pub subscription: Arc<Subscription>,
    /// What is not settled.
    pub unsettled: BTreeMap<At, Standing>,
}

/// What subscriptions were promised.
#[derive(Debug, Default)]
pub struct Queues {
    by_name: BTreeMap<SubscriptionName, Model>,
    /// The wall clock was set.
    pub clock_stepped: bool,
    stamps: u64,
    /// How far the running time of any broker came.
    pub elapsed: u64,
}

impl Queues {
    /// Whether somebody was told of it.
    #[must_use]
    pub fn is_known(&self, name: &SubscriptionName) -> bool {
        self.by_name.contains_key(name)
    }

    /// Those that somebody was told of.
    pub fn names(&self) -> impl Iterator<Item = &SubscriptionName> {
        self.by_name.keys()
    }

    /// Somebody is told that it is there.
    pub fn created(&mut self, subscription: &Arc<Subscription>) {
        let known = self.by_name.get(&subscription.name);
        if known.is_some_and(|known| known.subscription.id == subscription.id) {
            return;
        }
        let model = Model {
            asked: BTreeSet::new(),
            accepted: BTreeSet::new(),
            rejected: BTreeSet::new(),
            held: Held::default(),
            subscription: Arc::clone(subscription),
        };
        self.by_name.insert(subscription.name.clone(), model);
    }
}

impl Ledger {
    fn syncs(&self, subscription: &Subscription) -> bool {
        let topic = self.topics.get(&subscription.topic);
        topic.map(TopicModel::level) == Some(Durability::Fsync)
    }

    /// A broker has no such subscription.
    ///
    /// # Errors
    ///
    /// If its topic is there.
    pub fn queue_missing(&mut self, name: &SubscriptionName) -> Kept {
        self.check_missing(name)?;
        self.queues.by_name.remove(name);
        Ok(())
    }

    fn check_missing(&self, name: &SubscriptionName) -> Kept {
        let model = self.queues.by_name.get(name);
        let topic = model.and_then(|model| self.topics.get(&model.subscription.topic));
        if topic.is_some_and(|topic| topic.state == TopicState::There) {
            let what = format!("subscription {name:?} is gone, and its topic is there");
            return Err(Violation::new(Rule::QueueKept, what));
        }
        Ok(())
    }

    /// Compares the subscriptions of a broker with what they were promised.
    pub(super) fn check_queues(&self, view: &View) -> Kept {
        for (name, model) in &self.queues.by_name {
            let Some(found) = view.queues.get(name) else {
                self.check_missing(name)?;
                continue;
            };
            if found.subscription.id != model.subscription.id {
                self.check_missing(name)?;
                continue;
            }
            if !self.syncs(&model.subscription) {
                continue;
            }
            let again = model.accepted.iter();
            let mut again = again.filter(|at| found.unsettled.contains_key(at));
            if let Some((partition, offset)) = again.next() {
                let what = format!("p{partition}:{offset} was accepted, and waits again");
                return Err(Violation::new(Rule::SettledOnce, what));
            }
            let topic = view.catalog.topic_by_id(model.subscription.topic);
            for id in topic.iter().flat_map(|topic| &topic.partitions) {
                if let Some(partition) = view.partitions.get(id) {
                    check_waiting(model, found, (*id, partition), view)?;
                    let elapsed = view.elapsed.max(self.queues.elapsed);
                    model.held.check_view(found, (*id, partition), elapsed)?;
                }
            }
        }
        self.check_graves(view)?;
        self.check_reclaimed(view)
    }

    /// A life of the broker ended.
    pub(super) fn queues_ended(&mut self, outage: Outage) {
        let (topics, elapsed) = (&self.topics, self.queues.elapsed);
        for model in self.queues.by_name.values_mut() {
            let topic = topics.get(&model.subscription.topic);
            let syncs = topic.map(TopicModel::level) == Some(Durability::Fsync);
            model.held.ended(outage, syncs, elapsed);
        }
    }

    /// What a start has is what everybody goes by.
    pub(super) fn believe_queues(&mut self, view: &View) {
        self.queues.by_name.retain(|name, model| {
            let found = view.queues.get(name);
            found.is_some_and(|found| found.subscription.id == model.subscription.id)
        });
    }
}

/// Every record that is there waits, unless somebody asked to accept it, it was given up by a rule, or it
/// was there before.
fn check_waiting(
    model: &Model,
    found: &QueueView,
    (id, partition): (PartitionId, &PartitionView),
    view: &View,
) -> Kept {
    let from = model.begin(id).max(partition.start);
    for one in &partition.found {
        for (_, offset, _) in one.records() {
            let at = (id, Offset(offset));
            let there = offset >= from && offset < partition.high_watermark;
            let waits = found.unsettled.contains_key(&at);
            if there && !waits && !model.may_lack(at) && !view.is_buried(model, at) {
                let what = format!("p{id}:{offset} waits no more, and nobody has accepted it");
                return Err(Violation::new(Rule::QueueKept, what));
            }
        }
    }
    Ok(())
}
