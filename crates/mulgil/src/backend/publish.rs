//! Records published.

use std::sync::atomic::Ordering;

use mulgil_admin::backend::Publish;
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::Position;
use mulgil_admin::problem::Refusal;
use mulgil_admin::time::Timestamp;
use mulgil_broker::publish::{PublishRefusal, Published};

use super::LocalBackend;
use super::refusals::{append_refusal, stopping};

impl LocalBackend {
    pub(super) async fn publish_all(
        &self,
        topic: &str,
        records: Vec<Publish>,
    ) -> Result<Vec<Result<Position, Refusal>>, Refusal> {
        self.reach().await?;
        let topic = self.topic(topic)?;
        let published = self.publisher.publish(&topic, &records).await;
        let (outcomes, volume) = published.map_err(|why| publish_refusal(&why))?;
        let own = &self.own;
        own.published.fetch_add(volume.records, Ordering::Relaxed);
        own.published_bytes
            .fetch_add(volume.bytes, Ordering::Relaxed);
        let outcomes = outcomes.into_iter().map(|outcome| {
            let Published { partition, offset } = outcome.map_err(|why| publish_refusal(&why))?;
            Ok(Position {
                partition,
                offset: offset.0,
            })
        });
        Ok(outcomes.collect())
    }
}

fn publish_refusal(refusal: &PublishRefusal) -> Refusal {
    let refused = |detail: String| Refusal::new(Code::RecordRefused, detail);
    match refusal {
        PublishRefusal::NoPartition { .. } => {
            Refusal::new(Code::PartitionUnknown, refusal.to_string())
        }
        PublishRefusal::TooLarge { .. } => Refusal::new(Code::RecordTooLarge, refusal.to_string()),
        PublishRefusal::Timestamp {
            timestamp,
            than,
            limit,
        } => {
            let (timestamp, limit) = (Timestamp(*timestamp), Timestamp(*limit));
            refused(format!(
                "timestamp {timestamp} is {than} than {limit}, the limit"
            ))
        }
        PublishRefusal::NoKey | PublishRefusal::Asked(_) | PublishRefusal::Batch(_) => {
            refused(refusal.to_string())
        }
        PublishRefusal::Append(why) => append_refusal(why),
        PublishRefusal::Stopping => stopping(),
    }
}
