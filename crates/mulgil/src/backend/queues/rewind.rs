//! Where subscriptions begin and go on, and what goes of them at once.

use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{Place, Purge, Purged, SeekSubscription, Sought, SoughtPartition};
use mulgil_admin::problem::Refusal;
use mulgil_admin::queues::Which;
use mulgil_broker::subscription::{
    BeginAt, SubscriptionRef, SubscriptionReply, SubscriptionRequest,
};
use mulgil_meta::schema::Topic;
use mulgil_record::ids::{Offset, PartitionId};

use super::LocalBackend;
use crate::backend::refusals::{subscription_refusal, unexpected};

impl LocalBackend {
    /// Where a new subscription begins.
    pub(super) async fn beginning(
        &self,
        topic: &Topic,
        from: Option<Place>,
    ) -> Result<BeginAt, Refusal> {
        // These two are told apart by the lane, so that nothing comes or goes in between.
        let place = match from {
            None | Some(Place::Earliest) => return Ok(BeginAt::Start),
            Some(Place::Latest) => return Ok(BeginAt::End),
            Some(Place::Shift(_)) => {
                let detail = "a new subscription stands nowhere that a shift could count from";
                return Err(Refusal::new(Code::Malformed, detail));
            }
            Some(place @ (Place::Offset(_) | Place::Time(_))) => place,
        };
        let mut offsets = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let at = self.place(*partition, None, place).await?;
            offsets.push((*partition, Offset(at)));
        }
        Ok(BeginAt::Offsets(offsets))
    }

    pub(super) async fn purge_one(
        &self,
        which: Which<'_>,
        purge: Purge,
    ) -> Result<Purged, Refusal> {
        let (subscription, _) = self.find_queue(which)?;
        let ask = SubscriptionRequest::Purge {
            subscription: SubscriptionRef::Id(subscription.id),
            held: purge.held,
        };
        let SubscriptionReply::Purged(purged) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        let purged = purged.map_err(|why| subscription_refusal(&why, which.name))?;
        Ok(Purged { purged })
    }

    pub(super) async fn seek_one(
        &self,
        which: Which<'_>,
        seek: SeekSubscription,
    ) -> Result<Sought, Refusal> {
        let (subscription, topic) = self.find_queue(which)?;
        let id = SubscriptionRef::Id(subscription.id);
        let ask = SubscriptionRequest::Describe(id.clone());
        let SubscriptionReply::Described(picture) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        let picture = picture.map_err(|why| subscription_refusal(&why, which.name))?;
        let (mut sought, mut to) = (Sought::default(), Vec::new());
        for (index, partition) in (0_u32..).zip(&topic.partitions) {
            if seek.partition.is_some_and(|wanted| wanted != index) {
                continue;
            }
            let stands = { picture.partitions.iter() }.find(|one| one.partition == *partition);
            let Some(stands) = stands else { continue };
            let place = self
                .place(*partition, Some(stands.start.0), seek.to)
                .await?;
            let place = place.min(stands.end.0);
            to.push((*partition, Offset(place)));
            sought.partitions.push(SoughtPartition {
                partition: index,
                from: stands.start.0,
                to: place,
                end: stands.end.0,
            });
        }
        if let (Some(index), true) = (seek.partition, to.is_empty()) {
            let detail = format!("partition {index} of topic \"{}\"", topic.name.name);
            return Err(Refusal::new(Code::PartitionUnknown, detail));
        }
        if !seek.dry_run {
            self.go_on(which, id, to).await?;
        }
        Ok(sought)
    }

    async fn go_on(
        &self,
        which: Which<'_>,
        subscription: SubscriptionRef,
        to: Vec<(PartitionId, Offset)>,
    ) -> Result<(), Refusal> {
        let ask = SubscriptionRequest::Seek { subscription, to };
        let SubscriptionReply::Sought(done) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        done.map_err(|why| subscription_refusal(&why, which.name))
    }
}
