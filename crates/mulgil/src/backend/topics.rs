//! Topics: created, described, altered, deleted.

use std::sync::Arc;

use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{AlterTopic, CreateTopic, PartitionDetail, TopicDetail, TopicSummary};
use mulgil_admin::problem::Refusal;
use mulgil_broker::request::{Reply, Request, TopicRef};
use mulgil_meta::schema::{Topic, TopicName};
use mulgil_meta::settings::edit;
use mulgil_record::ids::{PartitionId, TopicId};

use super::refusals::{alter_refusal, create_refusal, setting_refusal, stopping, unexpected};
use super::{LocalBackend, timestamp};

impl LocalBackend {
    /// The topic of this name, as far as it is durable.
    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>, Refusal> {
        let catalog = self.broker.catalog();
        let topic = catalog.topic(&TopicName::in_default(name)).cloned();
        topic.ok_or_else(|| Refusal::new(Code::TopicUnknown, format!("topic \"{name}\"")))
    }

    fn partition_detail(&self, index: usize, id: PartitionId, epoch: i32) -> PartitionDetail {
        let figures = self.broker.partition_figures(id).unwrap_or_default();
        PartitionDetail {
            partition: u32::try_from(index).unwrap_or(u32::MAX),
            start: figures.start.0,
            end: figures.high_watermark.0,
            bytes: figures.bytes,
            leader_epoch: epoch,
        }
    }

    pub(super) fn detail(&self, topic: &Topic) -> TopicDetail {
        let epoch = self.broker.catalog().leader_epoch.0;
        let ids = topic.partitions.iter().enumerate();
        let partitions: Vec<_> = ids
            .map(|(index, id)| self.partition_detail(index, *id, epoch))
            .collect();
        TopicDetail {
            summary: summary(topic, &partitions),
            partition_details: partitions,
        }
    }

    pub(super) async fn create(&self, topic: CreateTopic) -> Result<TopicDetail, Refusal> {
        let broker = &self.broker.catalog().broker;
        let settings = edit::stated_topic(broker, &topic.settings.edits()?);
        let settings = settings.map_err(|why| setting_refusal(&why))?;
        let name = TopicName::in_default(&topic.name);
        let create = mulgil_broker::request::CreateTopics {
            topics: vec![mulgil_broker::request::CreateTopic {
                name: name.clone(),
                partitions: topic.partitions,
                settings,
                id: TopicId(uuid::Uuid::new_v4().as_u128()),
            }],
            validate_only: topic.validate_only,
        };
        let Reply::CreateTopics(mut outcomes) = self.ask(Request::CreateTopics(create)).await?
        else {
            return Err(unexpected());
        };
        let outcome = outcomes.pop().ok_or_else(unexpected)?;
        let created = outcome.map_err(|refusal| create_refusal(&refusal))?;
        if !topic.validate_only {
            return Ok(self.detail(&*self.topic(&topic.name)?));
        }
        let count = usize::try_from(created.partitions).unwrap_or(usize::MAX);
        Ok(self.detail(&Topic {
            id: created.id,
            name,
            // Ids are given when it is created; nothing is known of partition 0.
            partitions: vec![PartitionId(0); count],
            settings: created.settings,
            created_ms: self.broker.now().wall.0,
        }))
    }

    pub(super) async fn alter(
        &self,
        name: &str,
        change: AlterTopic,
    ) -> Result<TopicDetail, Refusal> {
        let topic = self.topic(name)?.id;
        let edits = change.settings.edits()?;
        let alter = mulgil_broker::request::AlterTopic {
            topic: TopicRef::Id(topic),
            settings: (!edits.is_empty()).then_some(edits),
            partitions: change.partitions,
        };
        let Reply::AlterTopic(outcome) = self.ask(Request::AlterTopic(alter)).await? else {
            return Err(unexpected());
        };
        outcome.map_err(|refusal| alter_refusal(&refusal, name))?;
        Ok(self.detail(&*self.topic(name)?))
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), Refusal> {
        let topic = self.topic(name)?;
        let request = Request::DeleteTopics(vec![TopicRef::Id(topic.id)]);
        let Reply::DeleteTopics(mut outcomes) = self.ask(request).await? else {
            return Err(unexpected());
        };
        match outcomes.pop().ok_or_else(unexpected)? {
            Ok(_) => Ok(()),
            Err(mulgil_broker::request::DeleteRefusal::Stopping) => Err(stopping()),
            Err(mulgil_broker::request::DeleteRefusal::Unknown) => Err(Refusal::new(
                Code::TopicUnknown,
                format!("topic \"{name}\""),
            )),
        }
    }
}

fn summary(topic: &Topic, partitions: &[PartitionDetail]) -> TopicSummary {
    let records = partitions
        .iter()
        .map(|p| u64::try_from(p.end - p.start).unwrap_or(0));
    TopicSummary {
        name: topic.name.name.to_string(),
        id: uuid::Uuid::from_u128(topic.id.0).to_string(),
        partitions: u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX),
        records: records.sum(),
        bytes: partitions.iter().map(|p| p.bytes).sum(),
        created: timestamp(topic.created_ms),
        settings: (&topic.settings).into(),
    }
}
