//! The picture of metadata that everybody may look at without asking the lane.
//!
//! A catalog shows only what is durable, so an answer made from it waits for nothing.

use std::sync::Arc;

use imbl::OrdMap;
use mulgil_record::ids::{LeaderEpoch, TopicId};

use crate::quota::Quotas;
use crate::schema::{Topic, TopicName};
use crate::settings::BrokerStated;
use crate::state::Subscriptions;
use crate::subscription::Needed;

/// All topics at one revision.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Which change of metadata it shows last.
    pub revision: u64,
    /// The leadership of all partitions.
    pub leader_epoch: LeaderEpoch,
    /// Topics by name.
    pub topics: OrdMap<TopicName, Arc<Topic>>,
    /// Topics by id.
    pub by_id: OrdMap<TopicId, Arc<Topic>>,
    /// What is stated of the broker.
    pub broker: Arc<BrokerStated>,
    /// Who may ask for how much.
    pub quotas: Arc<Quotas>,
    /// Who reads which topic as a queue.
    pub subscriptions: Arc<Subscriptions>,
}

/// Where a door sees which topics there are.
pub trait CatalogReader: Send + Sync {
    /// The newest picture.
    ///
    /// One that shows a topic must be there by the time the reply to its creation is.
    fn catalog(&self) -> Arc<Catalog>;
}

impl Catalog {
    /// The topic with this name.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// What must be known of each record of a topic for those that read it as a queue.
    #[must_use]
    pub fn needed(&self, topic: &Topic) -> Needed {
        self.subscriptions.needed(topic)
    }

    /// The topic with this id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }
}
