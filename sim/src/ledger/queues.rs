//! What subscriptions were promised: what was accepted is not handed out again, and nothing else is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mulgil_broker::subscription::{Subscription, SubscriptionName};
use mulgil_meta::schema::Durability;
use mulgil_record::ids::{Offset, PartitionId};

use super::{Ledger, PartitionView, TopicModel, TopicState, View};
use crate::violation::{Kept, Rule, Violation};

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
}

/// How a broker has a subscription.
#[derive(Clone, Debug)]
pub struct QueueView {
    /// What metadata says of it.
    pub subscription: Arc<Subscription>,
    /// What is not settled.
    pub unsettled: BTreeSet<At>,
}

/// What subscriptions were promised.
#[derive(Debug, Default)]
pub struct Queues {
    by_name: BTreeMap<SubscriptionName, Model>,
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
            subscription: Arc::clone(subscription),
        };
        self.by_name.insert(subscription.name.clone(), model);
    }

    /// Somebody asks to accept a record.
    pub fn accepts(&mut self, name: &SubscriptionName, at: At) {
        if let Some(model) = self.by_name.get_mut(name) {
            model.asked.insert(at);
        }
    }
}

impl Ledger {
    fn syncs(&self, subscription: &Subscription) -> bool {
        let topic = self.topics.get(&subscription.topic);
        topic.map(TopicModel::level) == Some(Durability::Fsync)
    }

    /// A record was handed out.
    ///
    /// # Errors
    ///
    /// If it was accepted before.
    pub fn queue_gave(&self, name: &SubscriptionName, at: At) -> Kept {
        let model = self.queues.by_name.get(name);
        if model.is_some_and(|model| model.accepted.contains(&at)) {
            let what = format!("p{}:{} was accepted, and is handed out again", at.0, at.1);
            return Err(Violation::new(Rule::SettledOnce, what));
        }
        Ok(())
    }

    /// Somebody is told that a record is accepted.
    pub fn queue_accepted(&mut self, name: &SubscriptionName, at: At) {
        let model = self.queues.by_name.get(name);
        if model.is_some_and(|model| self.syncs(&model.subscription))
            && let Some(model) = self.queues.by_name.get_mut(name)
        {
            model.accepted.insert(at);
        }
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
            if let Some((partition, offset)) = model.accepted.intersection(&found.unsettled).next()
            {
                let what = format!("p{partition}:{offset} was accepted, and waits again");
                return Err(Violation::new(Rule::SettledOnce, what));
            }
            let topic = view.catalog.topic_by_id(model.subscription.topic);
            for id in topic.iter().flat_map(|topic| &topic.partitions) {
                if let Some(partition) = view.partitions.get(id) {
                    check_waiting(model, found, *id, partition)?;
                }
            }
        }
        Ok(())
    }

    /// What a start has is what everybody goes by.
    pub(super) fn believe_queues(&mut self, view: &View) {
        self.queues.by_name.retain(|name, model| {
            let found = view.queues.get(name);
            found.is_some_and(|found| found.subscription.id == model.subscription.id)
        });
    }
}

/// Every record that is there waits, unless somebody asked to accept it, or it was there before.
fn check_waiting(
    model: &Model,
    found: &QueueView,
    id: PartitionId,
    partition: &PartitionView,
) -> Kept {
    let beginnings = model.subscription.beginnings.iter();
    let mut beginnings = beginnings.filter(|begin| begin.partition == id);
    let begin = beginnings.next().map_or(0, |begin| begin.first.0);
    let from = begin.max(partition.start);
    for one in &partition.found {
        for (_, offset, _) in one.records() {
            let at = (id, Offset(offset));
            let there = offset >= from && offset < partition.high_watermark;
            if there && !found.unsettled.contains(&at) && !model.asked.contains(&at) {
                let what = format!("p{id}:{offset} waits no more, and nobody has accepted it");
                return Err(Violation::new(Rule::QueueKept, what));
            }
        }
    }
    Ok(())
}
