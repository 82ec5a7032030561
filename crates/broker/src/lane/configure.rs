//! Changing settings and quotas, and what operators are told of partitions.

use mulgil_core::machine::Now;
use mulgil_meta::state::{Change, Refusal};
use mulgil_record::ids::PartitionId;

use super::{Due, Lane};
use crate::configure::{
    self, Configure, ConfigureRefusal, Configured, DescribeProducers, GrowTopics,
    PRODUCERS_TOLD_MAX, PartitionSize, ProducersRefusal, SetQuotas, Sizes,
};
use crate::request::{AlterRefusal, AlterTopic, Reply, TopicRef};

impl Lane {
    pub(super) fn configure(&mut self, ask: Configure) -> (Due, Reply) {
        let (replace, validate_only) = (ask.replace, ask.validate_only);
        let mut outcomes = Vec::with_capacity(ask.targets.len());
        for (target, edits) in ask.targets {
            outcomes.push(self.can_configure().and_then(|()| {
                let change = match &target {
                    Configured::Broker(scope) => self.metadata.edit_broker(*scope, &edits, replace),
                    Configured::Topic(topic) => {
                        let id = self.find_topic(topic).map(|topic| topic.id);
                        let id = id.ok_or(ConfigureRefusal::UnknownTopic)?;
                        self.metadata.edit_topic(id, &edits, replace)
                    }
                };
                let change = change.map_err(refusal)?;
                if !validate_only {
                    self.make_configured(&change);
                }
                Ok(())
            }));
        }
        (Due::synced(self.metadata_due), Reply::Configure(outcomes))
    }

    pub(super) fn set_quotas(&mut self, ask: SetQuotas) -> (Due, Reply) {
        let mut outcomes = Vec::with_capacity(ask.entities.len());
        for (entity, edits) in ask.entities {
            outcomes.push(self.can_configure().and_then(|()| {
                let change = self.metadata.edit_quota(&entity, &edits);
                let change = change.map_err(refusal)?;
                if !ask.validate_only {
                    self.make_configured(&change);
                }
                Ok(())
            }));
        }
        (Due::synced(self.metadata_due), Reply::SetQuotas(outcomes))
    }

    fn can_configure(&self) -> Result<(), ConfigureRefusal> {
        if self.stopping {
            return Err(ConfigureRefusal::Stopping);
        }
        if self.full {
            return Err(ConfigureRefusal::DiskFull);
        }
        Ok(())
    }

    fn make_configured(&mut self, change: &Change) {
        if let Change::TopicAltered { id, .. } = change {
            self.keep_starts(*id);
        }
        self.change_metadata(change);
    }

    pub(super) fn grow_topics(&mut self, ask: GrowTopics) -> (Due, Reply) {
        let more = ask.topics.iter().map(|(topic, partitions)| {
            let known = self.find_topic(topic);
            let has = known.map_or(*partitions, |topic| self.partitions_of(topic.id));
            u64::from(partitions.saturating_sub(has))
        });
        let (own, left): (u64, _) = (more.sum(), self.creatable());
        let most = self.options.created_partitions_max;
        let (asked, most) = if ask.asked_in_all > u64::from(most) {
            (ask.asked_in_all, most)
        } else {
            (own, left)
        };
        let mut outcomes = Vec::with_capacity(ask.topics.len());
        for (topic, partitions) in ask.topics {
            outcomes.push(if asked > u64::from(most) {
                Err(AlterRefusal::TooMany { asked, most })
            } else {
                self.grow_topic(topic, partitions, ask.validate_only)
            });
        }
        (Due::synced(self.metadata_due), Reply::GrowTopics(outcomes))
    }

    fn grow_topic(
        &mut self,
        topic: TopicRef,
        asked: u32,
        validate_only: bool,
    ) -> Result<(), AlterRefusal> {
        self.can_alter()?;
        let known = self.find_topic(&topic).ok_or(AlterRefusal::Unknown)?;
        let has = self.partitions_of(known.id);
        let most = mulgil_meta::state::PARTITIONS_MAX;
        if asked <= has || asked > most {
            let least = has.saturating_add(1);
            return Err(AlterRefusal::PartitionCount { asked, least, most });
        }
        if validate_only {
            return Ok(());
        }
        self.alter_one(AlterTopic {
            topic,
            settings: None,
            partitions: Some(asked),
        })
    }

    pub(super) fn describe_producers(&self, ask: &DescribeProducers, now: Now) -> (Due, Reply) {
        let mut due = Due::NOW;
        let (most, mut told) = (PRODUCERS_TOLD_MAX, ask.told_before);
        let outcomes = ask.partitions.iter().map(|id| {
            let hosted = self.partitions.get(id).ok_or_else(|| {
                due = due.and(self.unknown_due());
                ProducersRefusal::UnknownPartition(*id)
            })?;
            due = due.and(hosted.newest);
            let left = most.saturating_sub(told);
            if told > 0 && hosted.machine.producers.len() > left {
                return Err(ProducersRefusal::TooMany { most });
            }
            let producers = configure::producers(&hosted.machine, left, now);
            told += producers.len();
            Ok(producers)
        });
        let outcomes = outcomes.collect();
        (due, Reply::DescribeProducers(outcomes))
    }

    pub(super) fn sizes(&self, partitions: &[PartitionId]) -> (Due, Reply) {
        let there = |id: &&PartitionId| self.partitions.contains_key(id);
        let sizes = partitions.iter().filter(there).map(|id| PartitionSize {
            partition: *id,
            bytes: self.index.bytes(id.0),
        });
        let sizes = Sizes {
            partitions: sizes.collect(),
            space: self.space,
        };
        (self.unknown_due(), Reply::Sizes(sizes))
    }
}

fn refusal(refusal: Refusal) -> ConfigureRefusal {
    match refusal {
        Refusal::Setting(refusal) => ConfigureRefusal::Setting(refusal),
        Refusal::Unknown => ConfigureRefusal::UnknownTopic,
        Refusal::QuotaCount(_)
        | Refusal::NameLength { .. }
        | Refusal::Exists(_)
        | Refusal::PartitionCount { .. }
        | Refusal::FewerPartitions { .. }
        | Refusal::Ordered(_) => ConfigureRefusal::Quota(refusal.to_string()),
    }
}
