//! Subscriptions within metadata: which there are, and what changes of them are possible.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use mulgil_core::selector::Selector;
use mulgil_record::facts::Columns;
use mulgil_record::ids::{SubscriptionId, TopicId};

use super::{Change, Metadata, NAME_BYTES_MAX};
use crate::schema::Topic;
use crate::subscription::{
    Beginning, FILTERS_MAX, Filter, Needed, Order, OutOfBounds, SUBSCRIPTIONS_MAX, Subscription,
    SubscriptionName, SubscriptionSettings,
};

/// Why subscriptions were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionRefusal {
    /// The name is taken.
    #[error("subscription \"{0}\" exists already")]
    Exists(SubscriptionName),
    /// There is no such subscription.
    #[error("there is no such subscription")]
    Unknown,
    /// What it is to read is not there.
    #[error("there is no such topic")]
    UnknownTopic,
    /// The topic for what is given up is not there.
    #[error("there is no dead-letter topic {:032x}", .0.0)]
    UnknownDeadLetter(TopicId),
    /// What is given up would come back.
    #[error("a subscription can't send what it gives up to the topic that it reads")]
    DeadLetterToItself,
    /// Empty or too long.
    #[error("a name has 1 to {most} bytes, this one {bytes}")]
    NameLength {
        /// What came.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// A setting is not possible.
    #[error(transparent)]
    Setting(#[from] OutOfBounds),
    /// Strict priority only makes sense over all of a queue.
    #[error("order by priority needs a topic of one partition, this one has {0}")]
    Priority(usize),
    /// Too many with a filter.
    #[error("{0} subscriptions of the topic have a filter, more are not possible")]
    TooManyFilters(usize),
    /// Too many.
    #[error("there are {0} subscriptions, more are not possible")]
    TooMany(usize),
}

/// A subscription that is asked for.
#[derive(Clone, Debug)]
pub struct NewSubscription {
    /// Its name.
    pub name: SubscriptionName,
    /// What it reads.
    pub topic: TopicId,
    /// What holds for it.
    pub settings: SubscriptionSettings,
    /// Which records it wants; all of them without one.
    pub filter: Option<Selector>,
    /// Where it begins, by partition.
    pub beginnings: Vec<Beginning>,
    /// When, milliseconds since 1970.
    pub created_ms: u64,
}

/// All subscriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    /// Ids up to and with this one are taken.
    newest: u64,
    by_id: OrdMap<SubscriptionId, Arc<Subscription>>,
    by_name: OrdMap<SubscriptionName, SubscriptionId>,
    by_topic: OrdSet<(TopicId, SubscriptionId)>,
    /// Those that need more of records than their places.
    by_facts: OrdSet<(TopicId, Columns, SubscriptionId)>,
    /// Those that have a filter, by the place of its verdicts.
    by_filter: OrdMap<(TopicId, u16), SubscriptionId>,
    /// The same by id: the newest is asked for with each batch that comes.
    with_filter: OrdSet<(TopicId, SubscriptionId)>,
}

impl Subscriptions {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The one with this id.
    #[must_use]
    pub fn get(&self, id: SubscriptionId) -> Option<&Arc<Subscription>> {
        self.by_id.get(&id)
    }

    /// The one with this name.
    #[must_use]
    pub fn named(&self, name: &SubscriptionName) -> Option<&Arc<Subscription>> {
        self.by_id.get(self.by_name.get(name)?)
    }

    /// Those behind a name, by name; all without one.
    pub fn after(
        &self,
        name: Option<&SubscriptionName>,
    ) -> impl Iterator<Item = &Arc<Subscription>> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self
            .by_name
            .range::<_, SubscriptionName>((from, Bound::Unbounded));
        ids.filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Those that read a topic, by id.
    pub fn of_topic(&self, topic: TopicId) -> impl Iterator<Item = &Arc<Subscription>> {
        let all = (topic, SubscriptionId(0))..=(topic, SubscriptionId(u64::MAX));
        let ids = self.by_topic.range(all);
        ids.filter_map(|(_, id)| self.by_id.get(id))
    }

    /// One that reads a topic by key or by priority, if there is one.
    pub(super) fn in_order(&self, topic: TopicId) -> Option<&Arc<Subscription>> {
        let ordered = Columns::ORDERING_KEY.with(Columns::PRIORITY);
        if self.facts_of(topic).0 & ordered.0 == 0 {
            return None;
        }
        { self.of_topic(topic) }.find(|one| one.settings.order != Order::Fifo)
    }

    /// What must be known of each record of a topic for those that read it.
    #[must_use]
    pub fn facts_of(&self, topic: TopicId) -> Columns {
        if self.by_facts.is_empty() {
            return Columns(0);
        }
        let mut needed = Columns(0);
        // From one set of columns to the next, however many need the same.
        let mut from = Bound::Included((topic, Columns(0), SubscriptionId(0)));
        let end = Bound::Included((topic, Columns::ALL, SubscriptionId(u64::MAX)));
        while let Some((_, columns, _)) = self.by_facts.range((from, end)).next() {
            needed = needed.with(*columns);
            from = Bound::Excluded((topic, *columns, SubscriptionId(u64::MAX)));
        }
        needed
    }

    /// The filters of those that read a topic, by the place of their verdicts.
    pub fn filters_of(&self, topic: TopicId) -> impl Iterator<Item = (SubscriptionId, &Filter)> {
        let all = (topic, 0)..=(topic, u16::MAX);
        let all = self.by_filter.range(all);
        all.filter_map(|(_, id)| Some((*id, self.by_id.get(id)?.filter.as_ref()?)))
    }

    /// Facts of batches are good for the filters of a topic if theirs is as large. It is the newest filter's
    /// id: filters never change, and ids only rise.
    #[must_use]
    pub fn filter_generation(&self, topic: TopicId) -> u32 {
        let all = (topic, SubscriptionId(0))..=(topic, SubscriptionId(u64::MAX));
        let newest = self.with_filter.range(all).next_back();
        newest.map_or(0, |(_, id)| u32::try_from(id.0).unwrap_or(u32::MAX))
    }

    /// What must be known of each record of a topic for those that read it, and by which filters to judge it.
    #[must_use]
    pub fn needed(&self, topic: &Topic) -> Needed {
        let columns = topic.settings.facts().with(self.facts_of(topic.id));
        if !columns.has(Columns::VERDICTS) {
            return Needed {
                columns,
                ..Needed::default()
            };
        }
        Needed {
            columns,
            generation: self.filter_generation(topic.id),
            filters: { self.filters_of(topic.id) }
                .map(|(_, filter)| filter.clone())
                .collect(),
        }
    }

    /// The first place that no filter of a topic has.
    fn free_slot(&self, topic: TopicId) -> Result<u16, SubscriptionRefusal> {
        let all = (topic, 0)..=(topic, u16::MAX);
        let taken = self.by_filter.range(all).map(|((_, slot), _)| *slot);
        let all = (0_u16..).zip(taken);
        let free = all.take_while(|(place, taken)| place == taken).count();
        let slot = u16::try_from(free).ok().filter(|_| free < FILTERS_MAX);
        slot.ok_or(SubscriptionRefusal::TooManyFilters(free))
    }

    fn put(&mut self, subscription: Subscription) {
        let id = subscription.id;
        self.remove(id);
        self.newest = self.newest.max(id.0);
        let facts = subscription.facts();
        if let Some(filter) = &subscription.filter {
            self.by_filter
                .insert((subscription.topic, filter.slot()), id);
            self.with_filter.insert((subscription.topic, id));
        }
        if facts != Columns(0) {
            self.by_facts.insert((subscription.topic, facts, id));
        }
        self.by_name.insert(subscription.name.clone(), id);
        self.by_topic.insert((subscription.topic, id));
        self.by_id.insert(id, Arc::new(subscription));
    }

    fn remove(&mut self, id: SubscriptionId) {
        if let Some(gone) = self.by_id.remove(&id) {
            self.by_name.remove(&gone.name);
            self.by_topic.remove(&(gone.topic, id));
            self.by_facts.remove(&(gone.topic, gone.facts(), id));
            if let Some(filter) = &gone.filter {
                self.by_filter.remove(&(gone.topic, filter.slot()));
                self.with_filter.remove(&(gone.topic, id));
            }
        }
    }

    /// A topic is deleted, and its subscriptions with it.
    pub(super) fn forget_topic(&mut self, topic: TopicId) {
        let gone: Vec<_> = self.of_topic(topic).map(|gone| gone.id).collect();
        for id in gone {
            self.remove(id);
        }
    }

    pub(super) fn apply(&mut self, change: &SubscriptionChange) {
        match change {
            SubscriptionChange::Created(subscription) => self.put(subscription.clone()),
            SubscriptionChange::Deleted { id } => self.remove(*id),
            SubscriptionChange::Altered { id, settings } => {
                if let Some(known) = self.by_id.get(id) {
                    let known = Subscription::clone(known);
                    let settings = *settings;
                    self.put(Subscription { settings, ..known });
                }
            }
            SubscriptionChange::IdsTaken { newest } => self.newest = self.newest.max(*newest),
        }
    }

    /// The changes that lead from nothing to this state; the topics are there before.
    pub(super) fn checkpoint(&self) -> impl Iterator<Item = Change> {
        let newest = self.newest;
        let ids = (newest > 0).then_some(SubscriptionChange::IdsTaken { newest });
        let all = self.by_id.values();
        let all = all.map(|one| SubscriptionChange::Created(Subscription::clone(one)));
        all.chain(ids).map(Change::Subscription)
    }
}

/// One change of a subscription in metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// One was created.
    Created(Subscription),
    /// One was deleted. Those of a topic go with it and have no change of their own.
    Deleted {
        /// Which.
        id: SubscriptionId,
    },
    /// Its settings were replaced.
    Altered {
        /// Which.
        id: SubscriptionId,
        /// What holds from now on.
        settings: SubscriptionSettings,
    },
    /// Ids up to and with this one are taken: part of a checkpoint, since no id is ever reused.
    IdsTaken {
        /// The newest.
        newest: u64,
    },
}

impl Metadata {
    /// All subscriptions.
    #[must_use]
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Whether a subscription could have this name.
    ///
    /// # Errors
    ///
    /// It is empty, too long, or taken, or there are too many subscriptions.
    pub fn check_subscription(&self, name: &SubscriptionName) -> Result<(), SubscriptionRefusal> {
        let bytes = name.name.len();
        if bytes == 0 || bytes > NAME_BYTES_MAX {
            let most = NAME_BYTES_MAX;
            return Err(SubscriptionRefusal::NameLength { bytes, most });
        }
        if self.subscriptions.by_name.contains_key(name) {
            return Err(SubscriptionRefusal::Exists(name.clone()));
        }
        let there = self.subscriptions.len();
        if there >= SUBSCRIPTIONS_MAX {
            return Err(SubscriptionRefusal::TooMany(there));
        }
        Ok(())
    }

    /// Works out the creation of a subscription.
    ///
    /// # Errors
    ///
    /// The name is taken or not possible, a topic is not there, or a setting is out of its bounds.
    pub fn subscribe(&self, new: NewSubscription) -> Result<Change, SubscriptionRefusal> {
        self.check_subscription(&new.name)?;
        if self.topic_by_id(new.topic).is_none() {
            return Err(SubscriptionRefusal::UnknownTopic);
        }
        self.check_settings(new.topic, &new.settings)?;
        let filter = new.filter.filter(|filter| !filter.is_always_true());
        let slot = |filter| {
            self.subscriptions
                .free_slot(new.topic)
                .map(|slot| Filter::new(filter, slot))
        };
        let filter = filter.map(slot).transpose()?;
        Ok(Change::Subscription(SubscriptionChange::Created(
            Subscription {
                id: SubscriptionId(self.subscriptions.newest + 1),
                name: new.name,
                topic: new.topic,
                settings: new.settings,
                created_ms: new.created_ms,
                filter,
                beginnings: new.beginnings,
            },
        )))
    }

    /// Whether settings are possible for a subscription of `topic`.
    ///
    /// # Errors
    ///
    /// One is out of its bounds, or the dead-letter topic is not there or the one that is read.
    pub fn check_settings(
        &self,
        topic: TopicId,
        settings: &SubscriptionSettings,
    ) -> Result<(), SubscriptionRefusal> {
        settings.check()?;
        let partitions = self.topic_by_id(topic).map_or(1, |t| t.partitions.len());
        if settings.order == Order::Priority && partitions > 1 {
            return Err(SubscriptionRefusal::Priority(partitions));
        }
        match settings.dead_letter {
            Some(target) if target == topic => Err(SubscriptionRefusal::DeadLetterToItself),
            Some(target) if self.topic_by_id(target).is_none() => {
                Err(SubscriptionRefusal::UnknownDeadLetter(target))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Works out other settings of a subscription.
    ///
    /// # Errors
    ///
    /// There is none, or a setting is not possible.
    pub fn alter_subscription(
        &self,
        id: SubscriptionId,
        settings: SubscriptionSettings,
    ) -> Result<Change, SubscriptionRefusal> {
        let known = self.subscriptions.get(id);
        let known = known.ok_or(SubscriptionRefusal::Unknown)?;
        let (before, after) = (known.settings, settings);
        if (before.dead_letter, before.order) != (after.dead_letter, after.order) {
            self.check_settings(known.topic, &settings)?;
        } else {
            // Its topic may be gone since; that is no reason to refuse all else.
            settings.check()?;
        }
        let altered = SubscriptionChange::Altered { id, settings };
        Ok(Change::Subscription(altered))
    }

    /// Works out the deletion of a subscription.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn unsubscribe(&self, id: SubscriptionId) -> Result<Change, SubscriptionRefusal> {
        let known = self.subscriptions.get(id);
        known.ok_or(SubscriptionRefusal::Unknown)?;
        Ok(Change::Subscription(SubscriptionChange::Deleted { id }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::NewTopic;
    use super::*;
    use crate::schema::{TopicName, TopicSettings};
    use crate::settings::{Edit, Operation, RECLAIM_ON_ACK, Scope, SettingRefusal};

    fn with_topics(names: &[(&str, u128)]) -> Metadata {
        let mut meta = Metadata::default();
        for (name, id) in names {
            let topic = NewTopic {
                id: TopicId(*id),
                name: TopicName::in_default(name),
                partitions: 1,
                settings: TopicSettings::default(),
                created_ms: 5,
            };
            meta.apply(&meta.create(topic).unwrap());
        }
        meta
    }

    fn new(name: &str, topic: u128) -> NewSubscription {
        NewSubscription {
            name: TopicName::in_default(name),
            topic: TopicId(topic),
            settings: SubscriptionSettings::default(),
            filter: None,
            beginnings: Vec::new(),
            created_ms: 6,
        }
    }

    #[test]
    fn what_readers_need_of_a_topic_comes_and_goes_with_them() {
        let mut meta = with_topics(&[("t", 1), ("u", 2)]);
        let needs = |meta: &Metadata| meta.needed(meta.topic_by_id(TopicId(1)).unwrap()).columns;
        let mut by = |name: &str, order| {
            let mut new = new(name, 1);
            new.settings.order = order;
            let change = meta.subscribe(new).unwrap();
            meta.apply(&change);
            needs(&meta)
        };
        assert_eq!(by("plain", Order::Fifo), Columns(0));
        assert_eq!(by("keyed", Order::Key), Columns::ORDERING_KEY);
        assert_eq!(by("keyed too", Order::Key), Columns::ORDERING_KEY);
        let both = Columns::ORDERING_KEY.with(Columns::PRIORITY);
        assert_eq!(by("urgent", Order::Priority), both);
        let grown = meta.add_partitions(TopicId(1), 2).unwrap_err();
        let refused = crate::state::Refusal::Ordered(TopicName::in_default("keyed"));
        assert_eq!(grown, refused);
        let id = |meta: &Metadata, name: &str| {
            let name = TopicName::in_default(name);
            meta.subscriptions().named(&name).unwrap().id
        };
        let change = meta.unsubscribe(id(&meta, "urgent")).unwrap();
        meta.apply(&change);
        assert_eq!(needs(&meta), Columns::ORDERING_KEY);
        for name in ["keyed", "keyed too"] {
            let settings = SubscriptionSettings {
                bytes_max: Some(5),
                ..SubscriptionSettings::default()
            };
            let change = meta.alter_subscription(id(&meta, name), settings).unwrap();
            meta.apply(&change);
        }
        assert_eq!(needs(&meta), Columns::SIZE);
        assert!(meta.add_partitions(TopicId(1), 2).is_ok());
        let change = meta.delete(TopicId(1)).unwrap();
        meta.apply(&change);
        assert_eq!(meta.subscriptions().facts_of(TopicId(1)), Columns(0));
    }

    #[test]
    fn filters_have_places_that_are_used_again_and_generations_that_are_not() {
        let mut meta = with_topics(&[("t", 1)]);
        let add = |meta: &mut Metadata, name: &str, filter: &str| {
            let mut new = new(name, 1);
            new.filter = Some(Selector::parse(filter).unwrap());
            let change = meta.subscribe(new).unwrap();
            meta.apply(&change);
            let known = meta.subscriptions().named(&TopicName::in_default(name));
            let known = known.unwrap();
            (known.id, known.filter.clone())
        };
        assert_eq!(add(&mut meta, "all", "1 = 1").1, None);
        let slot = |filter: Option<Filter>| filter.unwrap().slot();
        let (first, filter) = add(&mut meta, "a", "a  =  'x'");
        assert_eq!(&**filter.as_ref().unwrap().text(), "a = 'x'");
        assert_eq!(slot(filter), 0);
        assert_eq!(slot(add(&mut meta, "b", "b = 'x'").1), 1);
        let change = meta.unsubscribe(first).unwrap();
        meta.apply(&change);
        let (newest, filter) = add(&mut meta, "c", "c = 'x'");
        assert_eq!(slot(filter), 0);
        let needed = meta.needed(meta.topic_by_id(TopicId(1)).unwrap());
        assert_eq!(u64::from(needed.generation), newest.0);
        let texts: Vec<_> = needed
            .filters
            .iter()
            .map(|f| f.text().to_string())
            .collect();
        assert_eq!(texts, ["c = 'x'", "b = 'x'"]);
        assert_eq!(
            (needed.columns, needed.verdict_bytes()),
            (Columns::VERDICTS, 1)
        );
        // A checkpoint has them, too.
        let mut again = Metadata::default();
        for change in meta.checkpoint() {
            again.apply(&Change::decode(&change.encode()).unwrap());
        }
        assert_eq!(again, meta);
    }

    #[test]
    fn strict_priority_is_refused_over_several_partitions() {
        let mut meta = with_topics(&[("t", 1)]);
        let change = meta.add_partitions(TopicId(1), 3).unwrap().unwrap();
        meta.apply(&change);
        let mut urgent = new("s", 1);
        urgent.settings.order = Order::Priority;
        let refused = meta.subscribe(urgent).unwrap_err();
        assert_eq!(refused, SubscriptionRefusal::Priority(3));
    }

    #[test]
    fn ids_are_never_given_twice_even_over_a_checkpoint() {
        let mut meta = with_topics(&[("t", 1), ("u", 2)]);
        for name in ["a", "b"] {
            meta.apply(&meta.subscribe(new(name, 1)).unwrap());
        }
        meta.apply(&meta.unsubscribe(SubscriptionId(2)).unwrap());
        let mut restarted = Metadata::default();
        for change in meta.checkpoint() {
            restarted.apply(&Change::decode(&change.encode()).unwrap());
        }
        assert_eq!(restarted, meta);
        restarted.apply(&restarted.subscribe(new("b", 2)).unwrap());
        let named = restarted.subscriptions().named(&TopicName::in_default("b"));
        assert_eq!(
            named.map(|b| (b.id, b.topic)),
            Some((SubscriptionId(3), TopicId(2)))
        );
    }

    #[test]
    fn the_topic_of_a_queue_reclaims_whatever_is_stated_and_others_as_they_like() {
        let set = |name: &str, value: &str| Edit {
            name: name.into(),
            operation: Operation::Set(value.into()),
        };
        let reclaims = |meta: &Metadata, id| {
            let topic = meta.topic_by_id(TopicId(id)).unwrap();
            topic.settings.reclaim_on_ack
        };
        let mut meta = with_topics(&[("t", 1)]);
        let mut settings = TopicSettings::default();
        settings.make_queue();
        let queue = NewTopic {
            id: TopicId(2),
            name: TopicName::in_default("q"),
            partitions: 1,
            settings,
            created_ms: 5,
        };
        meta.apply(&meta.create(queue).unwrap());
        meta.apply(&meta.subscribe(new("q", 2)).unwrap());
        // Another default of the broker does not make it a compacted one.
        let compact = [set("log.cleanup.policy", "compact")];
        meta.apply(&meta.edit_broker(Scope::All, &compact, false).unwrap());
        let replaced = meta.edit_topic(TopicId(2), &[set("retention.ms", "7")], true);
        meta.apply(&replaced.unwrap());
        let queue = &meta.topic_by_id(TopicId(2)).unwrap().settings;
        assert!(queue.reclaim_on_ack && queue.cleanup.delete && !queue.cleanup.compact);
        let no = [set(RECLAIM_ON_ACK, "false")];
        let refused = meta.edit_topic(TopicId(2), &no, false);
        assert_eq!(refused, Err(SettingRefusal::OfQueue.into()));
        let compact = [set("cleanup.policy", "compact")];
        let refused = meta.edit_topic(TopicId(2), &compact, false);
        assert_eq!(refused, Err(SettingRefusal::CompactedQueue.into()));
        let both = [set(RECLAIM_ON_ACK, "true"), set("cleanup.policy", "delete")];
        meta.apply(&meta.edit_topic(TopicId(1), &both, false).unwrap());
        assert!(reclaims(&meta, 1));
        meta.apply(&meta.edit_topic(TopicId(1), &no, false).unwrap());
        assert!(!reclaims(&meta, 1) && reclaims(&meta, 2));
    }

    #[test]
    fn subscriptions_go_with_their_topic_and_with_no_other() {
        let mut meta = with_topics(&[("t", 1), ("u", 2)]);
        for (name, topic) in [("a", 1), ("b", 2), ("c", 1)] {
            meta.apply(&meta.subscribe(new(name, topic)).unwrap());
        }
        meta.apply(&meta.delete(TopicId(1)).unwrap());
        let left: Vec<_> = meta
            .subscriptions()
            .after(None)
            .map(|one| one.id.0)
            .collect();
        assert_eq!(left, [2]);
        assert_eq!(meta.subscriptions().of_topic(TopicId(1)).count(), 0);
    }

    #[test]
    fn what_is_not_possible_is_refused() {
        let mut meta = with_topics(&[("t", 1)]);
        let refused = |meta: &Metadata, new| meta.subscribe(new).unwrap_err();
        assert_eq!(
            refused(&meta, new("a", 9)),
            SubscriptionRefusal::UnknownTopic
        );
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let bytes = long.len();
        let most = NAME_BYTES_MAX;
        let too_long = SubscriptionRefusal::NameLength { bytes, most };
        assert_eq!(refused(&meta, new(&long, 1)), too_long);
        let mut asked = new("a", 1);
        asked.settings.dead_letter = Some(TopicId(1));
        assert_eq!(
            refused(&meta, asked.clone()),
            SubscriptionRefusal::DeadLetterToItself
        );
        asked.settings.dead_letter = Some(TopicId(8));
        let unknown = SubscriptionRefusal::UnknownDeadLetter(TopicId(8));
        assert_eq!(refused(&meta, asked.clone()), unknown);
        asked.settings = SubscriptionSettings {
            lock_ms: 0,
            ..SubscriptionSettings::default()
        };
        assert!(matches!(
            refused(&meta, asked),
            SubscriptionRefusal::Setting(_)
        ));
        meta.apply(&meta.subscribe(new("a", 1)).unwrap());
        let taken = SubscriptionRefusal::Exists(TopicName::in_default("a"));
        assert_eq!(refused(&meta, new("a", 1)), taken);
    }
}
