//! Subscriptions and queues come, change, go, and are looked at.

use std::sync::Arc;

use mulgil_core::machine::{Now, WallTime};
use mulgil_core::queue::{Counts, RecordState, Tally};
use mulgil_meta::state::{
    Change, NewSubscription, SubscriptionChange, SubscriptionRefusal as MetaRefusal,
};
use mulgil_meta::subscription::{Beginning, Subscription, SubscriptionSettings};
use mulgil_record::ids::{Offset, PartitionId, SubscriptionId, TopicId};

use super::super::{Due, Lane, Turn};
use crate::request::{CreateTopics, CreatedTopic, DeleteRefusal, Reply, TopicRef};
use crate::subscription::{
    BROWSE_MAX, BeginAt, Browse, Browsed, BrowsedRecord, CreateQueue, CreateSubscription,
    LINES_MAX, List, PartitionPicture, SubscriptionLine, SubscriptionPicture, SubscriptionRef,
    SubscriptionRefusal, SubscriptionReply,
};

impl Lane {
    /// The subscription that is meant, and what saying that there is none waits for.
    pub(in crate::lane) fn find_subscription(
        &self,
        which: &SubscriptionRef,
    ) -> Result<&Arc<Subscription>, SubscriptionRefusal> {
        let all = self.metadata.subscriptions();
        let found = match which {
            SubscriptionRef::Name(name) => all.named(name),
            SubscriptionRef::Id(id) => all.get(*id),
        };
        found.ok_or(SubscriptionRefusal::Unknown)
    }

    fn can_change(&self) -> Result<(), SubscriptionRefusal> {
        if self.stopping {
            return Err(SubscriptionRefusal::Stopping);
        }
        if self.full {
            return Err(SubscriptionRefusal::DiskFull);
        }
        Ok(())
    }

    pub(super) fn create_subscription(
        &mut self,
        ask: CreateSubscription,
        now: Now,
    ) -> (Due, SubscriptionReply) {
        let created = self.can_change().and_then(|()| {
            let topic = self.find_topic(&ask.topic);
            let topic = topic.ok_or(SubscriptionRefusal::UnknownTopic)?.id;
            self.subscribe(topic, ask, now)
        });
        let due = Due::synced(self.metadata_due);
        (due, SubscriptionReply::Created(created))
    }

    fn subscribe(
        &mut self,
        topic: TopicId,
        ask: CreateSubscription,
        now: Now,
    ) -> Result<Arc<Subscription>, SubscriptionRefusal> {
        let CreateSubscription {
            name,
            topic: _,
            begin,
            filter,
            settings,
        } = ask;
        self.check_target(&settings)?;
        let known = self.metadata.topic_by_id(topic);
        let partitions = known.map_or(&[][..], |known| &known.partitions);
        let beginnings = partitions.iter().filter_map(|partition| {
            let machine = &self.partitions.get(partition)?.machine;
            let first = match &begin {
                BeginAt::Start => machine.start,
                BeginAt::End => machine.next,
                BeginAt::Offsets(offsets) => {
                    let at = offsets.iter().find(|(of, _)| of == partition);
                    let at = at.map_or(machine.start, |(_, at)| *at);
                    at.clamp(machine.start, machine.next)
                }
            };
            Some(Beginning {
                partition: *partition,
                first,
                end: machine.next,
            })
        });
        let change = self.metadata.subscribe(NewSubscription {
            name,
            topic,
            settings,
            filter,
            beginnings: beginnings.collect(),
            created_ms: self.log.frame_time(now).wall.0,
        })?;
        self.change_metadata(&change);
        let Change::Subscription(SubscriptionChange::Created(created)) = change else {
            unreachable!("a creation only creates")
        };
        self.lead_subscription(created.id);
        self.track(created.id, now);
        Ok(Arc::new(created))
    }

    pub(super) fn create_queue(&mut self, ask: CreateQueue, now: Now) -> (Due, SubscriptionReply) {
        let created = self.create_queue_in(ask, now);
        let due = Due::synced(self.metadata_due);
        (due, SubscriptionReply::QueueCreated(created))
    }

    fn create_queue_in(
        &mut self,
        ask: CreateQueue,
        now: Now,
    ) -> Result<Arc<Subscription>, SubscriptionRefusal> {
        self.can_change()?;
        let CreateQueue {
            mut topic,
            settings,
        } = ask;
        let (name, id) = (topic.name.clone(), topic.id);
        // All that may refuse the second half comes before the first.
        self.check_target(&settings)?;
        self.metadata.check_subscription(&name)?;
        self.metadata.check_settings(id, &settings)?;
        topic.partitions = Some(1);
        topic.settings.make_queue();
        mulgil_meta::settings::check_together(&topic.settings)?;
        let create = CreateTopics {
            topics: vec![topic],
            validate_only: false,
        };
        let (_, Reply::CreateTopics(outcomes)) = self.create_topics(create, now) else {
            unreachable!("a creation is answered as one")
        };
        for outcome in outcomes {
            let _created: CreatedTopic = outcome?;
        }
        let ask = CreateSubscription {
            name,
            topic: TopicRef::Id(id),
            begin: BeginAt::Start,
            filter: None,
            settings,
        };
        self.subscribe(id, ask, now)
    }

    pub(super) fn alter_subscription(
        &mut self,
        which: &SubscriptionRef,
        settings: SubscriptionSettings,
        now: Now,
        turn: &mut Turn,
    ) -> (Due, SubscriptionReply) {
        let altered = self.can_change().and_then(|()| {
            self.check_target(&settings)?;
            let id = self.find_subscription(which)?.id;
            let change = self.metadata.alter_subscription(id, settings)?;
            self.change_metadata(&change);
            self.track(id, now);
            // Who waits may be served now, and what waits may be given up.
            for partition in self.partitions_read(id) {
                self.turn_queue((id, partition), now, turn);
            }
            Ok(())
        });
        let due = Due::synced(self.metadata_due);
        (due, SubscriptionReply::Altered(altered))
    }

    /// Whether a topic can take what is given up. One that is not there is refused elsewhere.
    fn check_target(&self, settings: &SubscriptionSettings) -> Result<(), SubscriptionRefusal> {
        let target = settings.dead_letter;
        let target = target.and_then(|id| self.metadata.topic_by_id(id));
        match target {
            Some(target) if target.settings.cleanup.compact => Err(SubscriptionRefusal::DeadLetter),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn delete_subscription(
        &mut self,
        which: &SubscriptionRef,
    ) -> (Due, SubscriptionReply) {
        let deleted = self.find_subscription(which).map(|found| found.id);
        let deleted = deleted.and_then(|id| {
            if self.stopping {
                return Err(SubscriptionRefusal::Stopping);
            }
            let change = self.metadata.unsubscribe(id)?;
            self.change_metadata(&change);
            Ok(())
        });
        let due = Due::synced(self.metadata_due);
        (due, SubscriptionReply::Deleted(deleted))
    }

    pub(super) fn delete_queue(
        &mut self,
        which: &SubscriptionRef,
        now: Now,
        turn: &mut Turn,
    ) -> (Due, SubscriptionReply) {
        let topic = self.find_subscription(which).and_then(|found| {
            let topic = self.metadata.topic_by_id(found.topic);
            let topic = topic.ok_or(SubscriptionRefusal::NotAQueue)?;
            let is_queue = topic.name == found.name && topic.settings.reclaim_on_ack;
            is_queue
                .then_some(topic.id)
                .ok_or(SubscriptionRefusal::NotAQueue)
        });
        let deleted = topic.and_then(|id| {
            let gone = self.delete_topics(&[TopicRef::Id(id)], now, turn);
            let (_, Reply::DeleteTopics(outcomes)) = gone else {
                unreachable!("a deletion is answered as one")
            };
            let refused = outcomes.into_iter().find_map(Result::err);
            refused.map_or(Ok(()), |refused: DeleteRefusal| Err(refused.into()))
        });
        let due = Due::synced(self.metadata_due);
        (due, SubscriptionReply::Deleted(deleted))
    }

    pub(super) fn list_subscriptions(&self, list: &List) -> (Due, SubscriptionReply) {
        let most = usize::try_from(list.most.min(LINES_MAX)).unwrap_or(usize::MAX);
        let mut due = Due::synced(self.metadata_due);
        let topic = list.topic.as_ref().map(|topic| self.find_topic(topic));
        let lines = match topic {
            // A topic that is not there is read by none.
            Some(None) => Vec::new(),
            Some(Some(topic)) => {
                let mut all: Vec<_> = self.metadata.subscriptions().of_topic(topic.id).collect();
                all.sort_by(|a, b| a.name.cmp(&b.name));
                let behind = |one: &&Arc<Subscription>| list.after.as_ref() < Some(&one.name);
                all.into_iter().filter(behind).take(most).collect()
            }
            None => {
                let all = self.metadata.subscriptions().after(list.after.as_ref());
                all.take(most).collect()
            }
        };
        let lines = lines.into_iter().map(|subscription: &Arc<Subscription>| {
            due = due.and(self.subscription_due(subscription.id));
            SubscriptionLine {
                subscription: Arc::clone(subscription),
                counts: self.counts(subscription.id),
                tally: self.tally(subscription.id),
                oldest: self.oldest(subscription.id),
                consumers: self.subscriptions.consumers.count(subscription.id),
            }
        });
        let lines = lines.collect();
        (due, SubscriptionReply::Listed(lines))
    }

    pub(super) fn describe_subscription(
        &self,
        which: &SubscriptionRef,
    ) -> (Due, SubscriptionReply) {
        let mut due = Due::synced(self.metadata_due);
        let described = self.find_subscription(which).map(|subscription| {
            let id = subscription.id;
            due = due.and(self.subscription_due(id));
            let hosted = self.subscriptions.of_subscription(id);
            let partitions = hosted.map(|(partition, hosted)| {
                let machine = &hosted.machine;
                PartitionPicture {
                    partition,
                    start: machine.start(),
                    end: machine.end(),
                    counts: machine.counts(),
                    tally: *machine.tally(),
                    memory_bytes: machine.memory_bytes(),
                    oldest: machine.oldest(),
                }
            });
            Box::new(SubscriptionPicture {
                subscription: Arc::clone(subscription),
                partitions: partitions.collect(),
                consumers: self.subscriptions.consumers.count(id),
            })
        });
        (due, SubscriptionReply::Described(described))
    }

    /// What an answer about all of a subscription waits for.
    pub(super) fn subscription_due(&self, id: SubscriptionId) -> Due {
        let hosted = self.subscriptions.of_subscription(id);
        let dues = hosted.map(|(partition, _)| self.queue_due((id, partition)));
        dues.fold(Due::NOW, Due::and)
    }

    fn counts(&self, id: SubscriptionId) -> Counts {
        let hosted = self.subscriptions.of_subscription(id);
        hosted.fold(Counts::default(), |mut sum, (_, hosted)| {
            let counts = hosted.machine.counts();
            sum.available += counts.available;
            sum.acquired += counts.acquired;
            sum.scheduled += counts.scheduled;
            sum.archiving += counts.archiving;
            sum
        })
    }

    fn tally(&self, id: SubscriptionId) -> Tally {
        let hosted = self.subscriptions.of_subscription(id);
        hosted.fold(Tally::default(), |mut sum, (_, hosted)| {
            sum.add(hosted.machine.tally());
            sum
        })
    }

    /// Since when the oldest record of all partitions waits or is held.
    fn oldest(&self, id: SubscriptionId) -> Option<WallTime> {
        let hosted = self.subscriptions.of_subscription(id);
        { hosted }
            .filter_map(|(_, hosted)| hosted.machine.oldest())
            .min()
    }

    pub(super) fn browse(&self, browse: &Browse) -> (Due, SubscriptionReply) {
        let mut due = Due::synced(self.metadata_due);
        let browsed = self.find_subscription(&browse.subscription);
        let browsed = browsed.and_then(|subscription| {
            let id = subscription.id;
            let topic = self.metadata.topic_by_id(subscription.topic);
            let first = topic.and_then(|topic| topic.partitions.first().copied());
            let partition = browse.partition.or(first);
            let partition = partition.ok_or(SubscriptionRefusal::UnknownTopic)?;
            due = due.and(self.queue_due((id, partition)));
            self.browse_one(id, partition, browse)
        });
        (due, SubscriptionReply::Browsed(browsed))
    }

    fn browse_one(
        &self,
        id: SubscriptionId,
        partition: PartitionId,
        browse: &Browse,
    ) -> Result<Browsed, SubscriptionRefusal> {
        let hosted = self.subscriptions.hosted.get(&(id, partition));
        let machine = &hosted
            .ok_or(SubscriptionRefusal::UnknownPartition(partition))?
            .machine;
        let most = usize::try_from(browse.most.min(BROWSE_MAX)).unwrap_or(usize::MAX);
        let mut at = browse.from.clamp(machine.start(), machine.end());
        let stop = machine.end().min(at.plus(i64::from(BROWSE_MAX)));
        let mut records = Vec::new();
        while at < stop && records.len() < most {
            let state = machine.record(at);
            if !matches!(state, RecordState::Settled | RecordState::Unknown) {
                let (offset, tries) = (at, machine.tries(at));
                records.push(BrowsedRecord {
                    offset,
                    state,
                    tries,
                });
            }
            at = at.plus(1);
        }
        let next: Option<Offset> = (at < machine.end()).then_some(at);
        Ok(Browsed {
            partition,
            records,
            next,
        })
    }
}

impl From<MetaRefusal> for SubscriptionRefusal {
    fn from(refusal: MetaRefusal) -> Self {
        match refusal {
            MetaRefusal::Exists(name) => Self::Exists(name),
            MetaRefusal::Unknown => Self::Unknown,
            MetaRefusal::UnknownTopic => Self::UnknownTopic,
            MetaRefusal::UnknownDeadLetter(topic) => Self::UnknownDeadLetter(topic),
            MetaRefusal::DeadLetterToItself => Self::DeadLetterToItself,
            MetaRefusal::NameLength { .. } => Self::Name(refusal.to_string()),
            MetaRefusal::Setting(setting) => Self::Setting(setting),
            MetaRefusal::Priority(partitions) => Self::Priority(partitions),
            MetaRefusal::TooManyFilters(count) => Self::TooManyFilters(count),
            MetaRefusal::TooMany(count) => Self::TooMany(count),
        }
    }
}
