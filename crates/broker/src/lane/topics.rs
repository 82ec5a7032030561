//! Creating and deleting topics.

use std::sync::Arc;

use mulgil_core::machine::Now;
use mulgil_log::entry::EntryKind;
use mulgil_log::position::Position;
use mulgil_meta::schema::{Durability, Topic};
use mulgil_meta::state::{Change, NewTopic, Refusal};
use mulgil_record::ids::TopicId;

use super::append::entry;
use super::{Due, Hosted, Lane, Turn};
use crate::request::{
    AlterRefusal, AlterTopic, CreateRefusal, CreateTopic, CreateTopics, CreatedTopic,
    DeleteRefusal, Reply, TopicRef,
};

impl Lane {
    pub(super) fn create_topics(&mut self, create: CreateTopics, now: Now) -> (Due, Reply) {
        let default = self.options.partitions_default;
        let asked = create
            .topics
            .iter()
            .map(|topic| u64::from(topic.partitions.unwrap_or(default)));
        let asked: u64 = asked.sum();
        let most = self.creatable();
        let mut outcomes = Vec::with_capacity(create.topics.len());
        for topic in create.topics {
            outcomes.push(if asked > u64::from(most) {
                Err(CreateRefusal::TooMany { asked, most })
            } else {
                self.create_topic(topic, create.validate_only, now)
            });
        }
        (
            Due::synced(self.metadata_due),
            Reply::CreateTopics(outcomes),
        )
    }

    /// How many partitions a command may create.
    pub(super) fn creatable(&self) -> u32 {
        let there = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        let left = self.options.partitions_max.saturating_sub(there);
        left.min(self.options.created_partitions_max)
    }

    fn create_topic(
        &mut self,
        topic: CreateTopic,
        validate_only: bool,
        now: Now,
    ) -> Result<CreatedTopic, CreateRefusal> {
        if self.stopping {
            return Err(CreateRefusal::Stopping);
        }
        if self.full {
            return Err(CreateRefusal::DiskFull);
        }
        let partitions = topic.partitions.unwrap_or(self.options.partitions_default);
        let id = topic.id;
        let change = self.metadata.create(NewTopic {
            id,
            name: topic.name,
            partitions,
            settings: topic.settings,
            created_ms: now.wall.0,
        });
        let change = change.map_err(create_refusal)?;
        if !validate_only {
            self.change_metadata(&change);
        }
        let Change::TopicCreated(Topic { settings, .. }) = change else {
            unreachable!("a creation only creates")
        };
        Ok(CreatedTopic {
            id,
            partitions,
            settings,
        })
    }

    pub(super) fn delete_topics(
        &mut self,
        delete: &[TopicRef],
        now: Now,
        turn: &mut Turn,
    ) -> (Due, Reply) {
        let mut outcomes = Vec::with_capacity(delete.len());
        for topic in delete {
            outcomes.push(self.delete_topic(topic, turn));
        }
        let gone = outcomes.iter().flatten().map(|(id, _)| *id).collect();
        self.forget_topics_in_groups(&gone, now, turn);
        (
            Due::synced(self.metadata_due),
            Reply::DeleteTopics(outcomes),
        )
    }

    fn delete_topic(
        &mut self,
        topic: &TopicRef,
        turn: &mut Turn,
    ) -> Result<(TopicId, mulgil_meta::schema::TopicName), DeleteRefusal> {
        if self.stopping {
            return Err(DeleteRefusal::Stopping);
        }
        let topic = Arc::clone(self.find_topic(topic).ok_or(DeleteRefusal::Unknown)?);
        let change = self
            .metadata
            .delete(topic.id)
            .map_err(|_gone| DeleteRefusal::Unknown)?;
        self.change_metadata(&change);
        for partition in &topic.partitions {
            let Some(hosted) = self.partitions.get_mut(partition) else {
                continue;
            };
            let readers = std::mem::take(&mut hosted.readers);
            for id in readers {
                self.reads.wake(id, turn);
            }
        }
        self.unhost(&topic);
        Ok((topic.id, topic.name.clone()))
    }

    pub(super) fn alter_topic(&mut self, alter: AlterTopic) -> (Due, Reply) {
        let outcome = self.alter_one(alter);
        (Due::synced(self.metadata_due), Reply::AlterTopic(outcome))
    }

    pub(super) fn alter_one(&mut self, alter: AlterTopic) -> Result<(), AlterRefusal> {
        self.can_alter()?;
        let id = self
            .find_topic(&alter.topic)
            .ok_or(AlterRefusal::Unknown)?
            .id;
        let mut changes = Vec::new();
        let edited = alter.settings.is_some();
        if let Some(edits) = alter.settings {
            // Here and not before: another edit may be on its way to the disk, which nobody sees yet.
            let altered = self.metadata.edit_topic(id, &edits, false);
            changes.push(altered.map_err(alter_refusal)?);
        }
        if let Some(partitions) = alter.partitions {
            let least = self.partitions_of(id);
            let most = least.saturating_add(self.creatable());
            if partitions > most {
                let asked = partitions;
                return Err(AlterRefusal::PartitionCount { asked, least, most });
            }
            let added = self.metadata.add_partitions(id, partitions);
            changes.extend(added.map_err(alter_refusal)?);
        }
        if edited {
            self.keep_starts(id);
        }
        for change in &changes {
            self.change_metadata(change);
        }
        Ok(())
    }

    /// Whether topics may be changed at all.
    pub(super) const fn can_alter(&self) -> Result<(), AlterRefusal> {
        if self.stopping {
            return Err(AlterRefusal::Stopping);
        }
        if self.full {
            return Err(AlterRefusal::DiskFull);
        }
        Ok(())
    }

    pub(super) fn partitions_of(&self, topic: TopicId) -> u32 {
        let topic = self.metadata.topic_by_id(topic);
        let count = topic.map_or(0, |topic| topic.partitions.len());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Writes down where the partitions of a topic start whose records are in memory only.
    ///
    /// What they lost at the last start is still in the log. If the topic keeps its records from here
    /// on, the next start must not bring it back.
    pub(super) fn keep_starts(&mut self, topic: TopicId) {
        // The topic's own partitions only: one request may change many thousands of topics.
        let Some(topic) = self.metadata.topic_by_id(topic) else {
            return;
        };
        for id in &topic.partitions {
            let hosted = self.partitions.get(id);
            let in_memory = |hosted: &&Hosted| hosted.durability == Durability::Memory;
            if let Some(hosted) = hosted.filter(in_memory) {
                let start = hosted.machine.start;
                self.log
                    .push(entry(EntryKind::LogStart, id.0, start.0), &[]);
            }
        }
    }

    /// What an answer waits for that says there is no such partition: its deletion may be on its way.
    pub(super) fn unknown_due(&self) -> Due {
        Due::synced(self.metadata_due)
    }

    pub(super) fn find_topic(&self, topic: &TopicRef) -> Option<&Arc<Topic>> {
        match topic {
            TopicRef::Name(name) => self.metadata.topic(name),
            TopicRef::Id(id) => self.metadata.topic_by_id(*id),
        }
    }

    /// Writes a change of metadata and makes it so.
    pub(super) fn change_metadata(&mut self, change: &Change) {
        let revision = i64::try_from(self.metadata.revision()).unwrap_or(i64::MAX);
        let header = entry(EntryKind::Metadata, 0, revision);
        self.metadata_due = self.log.push(header, &[&change.encode()]);
        self.unshown.push_back((self.metadata_due, change.clone()));
        self.apply_metadata(change);
    }

    /// Makes a change of metadata so, decided now or replayed.
    pub(super) fn apply_metadata(&mut self, change: &Change) {
        self.metadata.apply(change);
        match change {
            Change::TopicCreated(topic) => {
                for partition in &topic.partitions {
                    self.host(topic, *partition);
                }
            }
            Change::PartitionsAdded { id, partitions } => {
                let Some(topic) = self.metadata.topic_by_id(*id).cloned() else {
                    return;
                };
                for partition in partitions {
                    self.host(&topic, *partition);
                    self.host_queues(*id, *partition);
                }
            }
            Change::Subscription(change) => self.apply_subscription(change),
            Change::TopicAltered { id, settings } => {
                let Some(topic) = self.metadata.topic_by_id(*id).cloned() else {
                    return;
                };
                for partition in &topic.partitions {
                    if let Some(hosted) = self.partitions.get_mut(partition) {
                        hosted.durability = settings.durability;
                    }
                }
            }
            Change::TopicDeleted { .. }
            | Change::IdsTaken { .. }
            | Change::BrokerAltered { .. }
            | Change::QuotaAltered { .. } => {}
        }
    }

    /// Takes down the partitions of a deleted topic.
    pub(super) fn unhost(&mut self, topic: &Topic) {
        for partition in &topic.partitions {
            self.partitions.remove(partition);
            self.index.remove(partition.0);
            self.subscriptions.drop_partition(*partition);
        }
    }

    /// Shows everybody the changes of metadata that are synced, and none that is not.
    ///
    /// What is shown is a state of its own: newer changes may be on their way without end.
    pub(super) fn publish_catalog(&mut self, turn: &mut Turn) {
        let synced = self.progress.synced;
        let mut any = false;
        while let Some((_, change)) = self.unshown.pop_front_if(|(at, _)| *at < synced) {
            self.shown.apply(&change);
            any = true;
        }
        if any {
            if self.unshown.is_empty() {
                self.metadata_due = Position::ZERO;
            }
            self.catalog = Arc::new(self.shown.catalog(self.leader_epoch));
            turn.catalog = Some(Arc::clone(&self.catalog));
        }
    }
}

fn create_refusal(refusal: Refusal) -> CreateRefusal {
    match refusal {
        Refusal::Exists(name) => CreateRefusal::Exists(name),
        Refusal::PartitionCount { asked, most } => CreateRefusal::PartitionCount { asked, most },
        Refusal::NameLength { .. }
        | Refusal::FewerPartitions { .. }
        | Refusal::Ordered(_)
        | Refusal::Unknown
        | Refusal::Setting(_)
        | Refusal::QuotaCount(_) => CreateRefusal::Name(refusal.to_string()),
    }
}

fn alter_refusal(refusal: Refusal) -> AlterRefusal {
    match refusal {
        Refusal::FewerPartitions { asked, least, most } => {
            AlterRefusal::PartitionCount { asked, least, most }
        }
        Refusal::Setting(refusal) => AlterRefusal::Setting(refusal),
        Refusal::Ordered(subscription) => AlterRefusal::Ordered(subscription),
        Refusal::Unknown
        | Refusal::Exists(_)
        | Refusal::PartitionCount { .. }
        | Refusal::NameLength { .. }
        | Refusal::QuotaCount(_) => AlterRefusal::Unknown,
    }
}
