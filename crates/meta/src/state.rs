//! The machine that changes metadata. It is the sum of its changes, as every machine.

use std::sync::Arc;

use imbl::OrdMap;
use mulgil_record::ids::{LeaderEpoch, PartitionId, TopicId};

use crate::catalog::Catalog;
use crate::quota::{ENTITIES_MAX, Limits, QuotaEntity, Quotas};
use crate::schema::{Topic, TopicName, TopicSettings};
use crate::settings::{self, BrokerStated, Edit, Scope, SettingRefusal, Stated};
use crate::subscription::Needed;

mod subscriptions;

pub use subscriptions::{NewSubscription, SubscriptionChange, SubscriptionRefusal, Subscriptions};

/// Most partitions that one topic may have: a request for more is taken for a slip.
pub const PARTITIONS_MAX: u32 = 100_000;
/// Longest name, bytes: what the longest of the protocols allows (AMQP: 255).
pub const NAME_BYTES_MAX: usize = 255;

/// One change of metadata, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A topic was created.
    TopicCreated(Topic),
    /// A topic was deleted.
    TopicDeleted {
        /// Which.
        id: TopicId,
    },
    /// A topic's settings were replaced.
    TopicAltered {
        /// Which.
        id: TopicId,
        /// What holds from now on.
        settings: TopicSettings,
    },
    /// A topic has more partitions.
    PartitionsAdded {
        /// Which.
        id: TopicId,
        /// The new ones, behind those there are.
        partitions: Vec<PartitionId>,
    },
    /// The ids below are taken: part of a checkpoint, since deleted topics' ids are never reused.
    IdsTaken {
        /// The next partition id to give.
        next_partition: u64,
        /// The revision reached.
        revision: u64,
    },
    /// What is stated of the broker was replaced; topics that state nothing themselves follow.
    BrokerAltered {
        /// For whom.
        scope: Scope,
        /// All that is stated from now on.
        stated: Stated,
    },
    /// The limits of an entity were replaced.
    QuotaAltered {
        /// Whose.
        entity: QuotaEntity,
        /// All that it has from now on; none takes it away.
        limits: Limits,
    },
    /// Something of subscriptions changed.
    Subscription(SubscriptionChange),
}

impl Change {
    /// The topic that it deletes, if it deletes one.
    #[must_use]
    pub const fn deletes(&self) -> Option<TopicId> {
        if let Self::TopicDeleted { id } = self {
            Some(*id)
        } else {
            None
        }
    }
}

/// Why metadata was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name is taken.
    #[error("topic \"{0}\" exists already")]
    Exists(TopicName),
    /// There is no such topic.
    #[error("there is no such topic")]
    Unknown,
    /// No partitions, or too many.
    #[error("{asked} partitions were asked for, 1 to {most} are possible")]
    PartitionCount {
        /// What was asked.
        asked: u32,
        /// The limit.
        most: u32,
    },
    /// Fewer partitions than there are, or too many.
    #[error("{asked} partitions were asked for, {least} to {most} are possible")]
    FewerPartitions {
        /// What was asked.
        asked: u32,
        /// How many there are.
        least: u32,
        /// The limit.
        most: u32,
    },
    /// Empty or too long.
    #[error("a name has 1 to {most} bytes, this one {bytes}")]
    NameLength {
        /// What came.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// A subscription goes by key, or by priority over one partition.
    #[error(
        "subscription \"{0}\" goes by key or by priority, which more partitions would break: let it go by \
         place first, or delete it"
    )]
    Ordered(TopicName),
    /// A setting is not possible.
    #[error(transparent)]
    Setting(#[from] SettingRefusal),
    /// Too many entities have limits.
    #[error("{0} users and clients have quotas, more are not possible")]
    QuotaCount(usize),
}

/// A topic that is asked for.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// A random id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// How many partitions.
    pub partitions: u32,
    /// What holds for it.
    pub settings: TopicSettings,
    /// When, milliseconds since 1970.
    pub created_ms: u64,
}

/// All metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    revision: u64,
    next_partition: u64,
    topics: OrdMap<TopicName, Arc<Topic>>,
    by_id: OrdMap<TopicId, Arc<Topic>>,
    broker: Arc<BrokerStated>,
    quotas: Arc<Quotas>,
    subscriptions: Arc<Subscriptions>,
}

impl Default for Metadata {
    fn default() -> Self {
        // Partition 0 stays free, so that an object id of 0 in the log never means a partition.
        let (topics, by_id) = (OrdMap::new(), OrdMap::new());
        Self {
            revision: 0,
            next_partition: 1,
            topics,
            by_id,
            broker: Arc::default(),
            quotas: Arc::default(),
            subscriptions: Arc::default(),
        }
    }
}

impl Metadata {
    /// How many changes led here.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The topic with this name.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic with this id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// What must be known of each record of a topic for those that read it as a queue.
    #[must_use]
    pub fn needed(&self, topic: &Topic) -> Needed {
        self.subscriptions.needed(topic)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// The picture that everybody may look at.
    #[must_use]
    pub fn catalog(&self, leader_epoch: LeaderEpoch) -> Catalog {
        Catalog {
            revision: self.revision,
            leader_epoch,
            topics: self.topics.clone(),
            by_id: self.by_id.clone(),
            broker: Arc::clone(&self.broker),
            quotas: Arc::clone(&self.quotas),
            subscriptions: Arc::clone(&self.subscriptions),
        }
    }

    /// What is stated of the broker.
    #[must_use]
    pub fn broker(&self) -> &BrokerStated {
        &self.broker
    }

    /// Who may ask for how much.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Works out the creation of a topic.
    ///
    /// # Errors
    ///
    /// The name is taken, too long or empty, or the number of partitions is not possible.
    pub fn create(&self, new: NewTopic) -> Result<Change, Refusal> {
        let bytes = new.name.name.len();
        if bytes == 0 || bytes > NAME_BYTES_MAX {
            return Err(Refusal::NameLength {
                bytes,
                most: NAME_BYTES_MAX,
            });
        }
        if new.partitions == 0 || new.partitions > PARTITIONS_MAX {
            let (asked, most) = (new.partitions, PARTITIONS_MAX);
            return Err(Refusal::PartitionCount { asked, most });
        }
        if self.topics.contains_key(&new.name) {
            return Err(Refusal::Exists(new.name));
        }
        let first = self.next_partition;
        let ids = first..first + u64::from(new.partitions);
        let mut settings = new.settings;
        settings::follow(&mut settings, &self.broker, |setting| {
            setting
                .inherits
                .is_some_and(|name| self.broker.value(name).is_some())
        });
        Ok(Change::TopicCreated(Topic {
            id: new.id,
            name: new.name,
            partitions: ids.map(PartitionId).collect(),
            settings,
            created_ms: new.created_ms,
        }))
    }

    /// Works out the deletion of a topic.
    ///
    /// # Errors
    ///
    /// There is no such topic.
    pub fn delete(&self, id: TopicId) -> Result<Change, Refusal> {
        if self.by_id.contains_key(&id) {
            Ok(Change::TopicDeleted { id })
        } else {
            Err(Refusal::Unknown)
        }
    }

    /// Works out edits of what is stated of a topic; `replace` forgets what was stated before.
    ///
    /// # Errors
    ///
    /// There is no such topic, or an edit is not possible.
    pub fn edit_topic(
        &self,
        id: TopicId,
        edits: &[Edit],
        replace: bool,
    ) -> Result<Change, Refusal> {
        let topic = self.by_id.get(&id).ok_or(Refusal::Unknown)?;
        let mut settings = if replace {
            settings::edit::stated_topic(&self.broker, edits)?
        } else {
            settings::edit::edit_topic(&topic.settings, &self.broker, edits)?
        };
        let queue = self.subscriptions.named(&topic.name);
        let queue = queue.filter(|queue| queue.topic == id && topic.settings.reclaim_on_ack);
        if queue.is_some() && !settings.reclaim_on_ack {
            // A queue stays one. Who says all that holds need not know of it.
            if edits
                .iter()
                .any(|edit| *edit.name == *settings::RECLAIM_ON_ACK)
            {
                return Err(SettingRefusal::OfQueue.into());
            }
            settings.make_queue();
            settings::check_together(&settings)?;
        }
        Ok(Change::TopicAltered { id, settings })
    }

    /// Works out edits of what is stated of the broker; `replace` forgets what was stated before.
    ///
    /// # Errors
    ///
    /// An edit is not possible.
    pub fn edit_broker(
        &self,
        scope: Scope,
        edits: &[Edit],
        replace: bool,
    ) -> Result<Change, Refusal> {
        let stated = settings::edit::edit_broker(&self.broker, scope, edits, replace)?;
        Ok(Change::BrokerAltered { scope, stated })
    }

    /// Works out new limits of an entity: those with a number are set, those without taken away.
    ///
    /// # Errors
    ///
    /// Too many entities have limits.
    pub fn edit_quota(
        &self,
        entity: &QuotaEntity,
        edits: &[(crate::quota::Limit, Option<u64>)],
    ) -> Result<Change, Refusal> {
        for part in [&entity.user, &entity.client] {
            if let crate::quota::Part::Named(name) = part
                && name.len() > NAME_BYTES_MAX
            {
                let (bytes, most) = (name.len(), NAME_BYTES_MAX);
                return Err(Refusal::NameLength { bytes, most });
            }
        }
        let known = self.quotas.of(entity);
        let mut limits = known.cloned().unwrap_or_default();
        for (limit, most) in edits {
            match most {
                Some(most) => limits.insert(*limit, *most),
                None => limits.remove(limit),
            };
        }
        if known.is_none() && !limits.is_empty() && self.quotas.len() >= ENTITIES_MAX {
            return Err(Refusal::QuotaCount(ENTITIES_MAX));
        }
        let entity = entity.clone();
        Ok(Change::QuotaAltered { entity, limits })
    }

    /// Works out a larger number of partitions; none to do if it has as many.
    ///
    /// # Errors
    ///
    /// There is no such topic, it has more than that, that is more than a topic may have, or records of one
    /// key would lie in two partitions though somebody is to get them in order.
    pub fn add_partitions(&self, id: TopicId, asked: u32) -> Result<Option<Change>, Refusal> {
        let topic = self.by_id.get(&id).ok_or(Refusal::Unknown)?;
        let least = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        if asked < least || asked > PARTITIONS_MAX {
            return Err(Refusal::FewerPartitions {
                asked,
                least,
                most: PARTITIONS_MAX,
            });
        }
        if asked > least
            && let Some(reader) = self.subscriptions.in_order(id)
        {
            return Err(Refusal::Ordered(reader.name.clone()));
        }
        let first = self.next_partition;
        let partitions = (first..first + u64::from(asked - least))
            .map(PartitionId)
            .collect();
        Ok((asked > least).then_some(Change::PartitionsAdded { id, partitions }))
    }

    /// Moves the state by one change. Ids that no longer exist are passed over.
    pub fn apply(&mut self, change: &Change) {
        self.revision += 1;
        match change {
            Change::TopicCreated(topic) => {
                let last = topic.partitions.iter().map(|p| p.0 + 1).max().unwrap_or(0);
                self.next_partition = self.next_partition.max(last);
                self.put(topic.clone());
            }
            Change::TopicDeleted { id } => {
                if let Some(topic) = self.by_id.remove(id) {
                    self.topics.remove(&topic.name);
                    Arc::make_mut(&mut self.subscriptions).forget_topic(*id);
                }
            }
            Change::TopicAltered { id, settings } => {
                if let Some(topic) = self.by_id.get(id) {
                    let topic = Topic {
                        settings: settings.clone(),
                        ..Topic::clone(topic)
                    };
                    self.put(topic);
                }
            }
            Change::PartitionsAdded { id, partitions } => {
                let last = partitions.iter().map(|p| p.0 + 1).max().unwrap_or(0);
                self.next_partition = self.next_partition.max(last);
                if let Some(topic) = self.by_id.get(id) {
                    let mut topic = Topic::clone(topic);
                    topic.partitions.extend_from_slice(partitions);
                    self.put(topic);
                }
            }
            Change::IdsTaken {
                next_partition,
                revision,
            } => {
                self.next_partition = self.next_partition.max(*next_partition);
                self.revision = *revision;
            }
            Change::BrokerAltered { scope, stated } => self.alter_broker(*scope, stated),
            Change::QuotaAltered { entity, limits } => {
                Arc::make_mut(&mut self.quotas).replace(entity, limits);
            }
            Change::Subscription(change) => {
                Arc::make_mut(&mut self.subscriptions).apply(change);
            }
        }
    }

    fn alter_broker(&mut self, scope: Scope, stated: &Stated) {
        let before = Arc::clone(&self.broker);
        Arc::make_mut(&mut self.broker).replace(scope, stated.clone());
        let after = Arc::clone(&self.broker);
        // Once for all topics, of which there may be many thousands.
        let moved: Vec<_> = settings::TOPIC
            .iter()
            .filter(|setting| {
                let of =
                    |broker: &BrokerStated| setting.inherits.and_then(|n| broker.value(n)).cloned();
                of(&before) != of(&after)
            })
            .map(|setting| setting.name)
            .collect();
        if moved.is_empty() {
            return;
        }
        let topics: Vec<_> = self.topics.values().cloned().collect();
        for topic in topics {
            let mut settings = topic.settings.clone();
            settings::follow(&mut settings, &after, |setting| {
                moved.contains(&setting.name)
            });
            if settings != topic.settings {
                let topic = Topic::clone(&topic);
                self.put(Topic { settings, ..topic });
            }
        }
    }

    /// The changes that lead from nothing to this state: its checkpoint.
    pub fn checkpoint(&self) -> impl Iterator<Item = Change> {
        let ids = Change::IdsTaken {
            next_partition: self.next_partition,
            revision: self.revision,
        };
        let topics = self
            .topics
            .values()
            .map(|t| Change::TopicCreated(Topic::clone(t)));
        // Before the topics, which already hold what follows from it.
        let broker = [Scope::All, Scope::This].into_iter().filter_map(|scope| {
            let stated = self.broker.of(scope).clone();
            (!stated.is_empty()).then_some(Change::BrokerAltered { scope, stated })
        });
        let quotas = self.quotas.entities().map(|(entity, limits)| {
            let (entity, limits) = (entity.clone(), limits.clone());
            Change::QuotaAltered { entity, limits }
        });
        broker
            .chain(quotas)
            .chain(topics)
            .chain(self.subscriptions.checkpoint())
            .chain(core::iter::once(ids))
    }

    fn put(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        self.topics.insert(topic.name.clone(), topic.clone());
        self.by_id.insert(topic.id, topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, id: u128, partitions: u32) -> NewTopic {
        NewTopic {
            id: TopicId(id),
            name: TopicName::in_default(name),
            partitions,
            settings: TopicSettings::default(),
            created_ms: 5,
        }
    }

    #[test]
    fn partition_ids_are_never_given_twice_even_over_a_checkpoint() {
        let mut meta = Metadata::default();
        meta.apply(&meta.create(new("a", 1, 3)).unwrap());
        meta.apply(&meta.delete(TopicId(1)).unwrap());
        let mut restarted = Metadata::default();
        for change in meta.checkpoint() {
            restarted.apply(&change);
        }
        assert_eq!(restarted, meta);
        restarted.apply(&restarted.create(new("a", 2, 1)).unwrap());
        let topic = restarted.topic(&TopicName::in_default("a")).unwrap();
        assert_eq!(topic.partitions, [PartitionId(4)]);
    }

    #[test]
    fn what_is_stated_of_the_broker_moves_topics_and_outlives_a_checkpoint() {
        use crate::quota::{Limit, Part};
        use crate::settings::Operation;
        let edit = |name: &str, value: &str| Edit {
            name: name.into(),
            operation: Operation::Set(value.into()),
        };
        let mut meta = Metadata::default();
        meta.apply(&meta.create(new("before", 1, 1)).unwrap());
        let stated = [
            edit("log.retention.ms", "5"),
            edit("message.max.bytes", "7"),
        ];
        meta.apply(&meta.edit_broker(Scope::All, &stated, false).unwrap());
        meta.apply(&meta.create(new("after", 2, 1)).unwrap());
        let own = [edit("retention.ms", "9")];
        meta.apply(&meta.edit_topic(TopicId(2), &own, false).unwrap());
        let user = Part::Named("u".into());
        let entity = QuotaEntity {
            user,
            client: Part::Default,
        };
        let limits = [(Limit::ConsumeBytes, Some(3))];
        meta.apply(&meta.edit_quota(&entity, &limits).unwrap());
        let of = |meta: &Metadata, id| {
            let settings = &meta.topic_by_id(TopicId(id)).unwrap().settings;
            (settings.retention_ms, settings.message_bytes_max)
        };
        assert_eq!(of(&meta, 1), (Some(5), 7));
        assert_eq!(of(&meta, 2), (Some(9), 7));
        let mut restarted = Metadata::default();
        for change in meta.checkpoint() {
            let bytes = change.encode();
            restarted.apply(&Change::decode(&bytes).unwrap());
        }
        assert_eq!(restarted, meta);
        restarted.apply(&restarted.edit_broker(Scope::All, &[], true).unwrap());
        assert_eq!(of(&restarted, 1), (Some(604_800_000), 1_048_588));
        assert_eq!(of(&restarted, 2), (Some(9), 1_048_588));
        restarted.apply(&restarted.edit_topic(TopicId(2), &[], true).unwrap());
        assert_eq!(of(&restarted, 2).0, Some(604_800_000));
    }

    #[test]
    fn a_taken_name_and_impossible_sizes_are_refused() {
        let mut meta = Metadata::default();
        meta.apply(&meta.create(new("a", 1, 1)).unwrap());
        assert!(matches!(
            meta.create(new("a", 2, 1)),
            Err(Refusal::Exists(_))
        ));
        assert!(matches!(
            meta.create(new("b", 2, 0)),
            Err(Refusal::PartitionCount { .. })
        ));
        assert!(matches!(
            meta.create(new("", 2, 1)),
            Err(Refusal::NameLength { .. })
        ));
        assert_eq!(meta.delete(TopicId(9)), Err(Refusal::Unknown));
    }
}
