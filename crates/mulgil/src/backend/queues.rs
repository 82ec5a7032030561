//! Queues and subscriptions for the admin API: created, listed, described, altered, deleted.

use std::sync::Arc;
use std::time::Duration;

use mulgil_admin::backend::{Answer, QueueCounters};
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{
    AlterSubscription, BrowsedPage, CreateQueue, CreateSubscription, GivenUp, Order, Overflow,
    Purge, Purged, Receive, Received, Redrive, RedriveList, RedriveTask, Redriven, Retry,
    SeekSubscription, Settlement, Sought, SubscriptionChange, SubscriptionCounts,
    SubscriptionDetail, SubscriptionPage, SubscriptionPartition,
    SubscriptionSettings as SettingsModel, SubscriptionSummary, SubscriptionTotals,
};
use mulgil_admin::problem::Refusal;
use mulgil_admin::queues::{Browse, Kind, List, Queues, Which};
use mulgil_broker::request::{CreateTopic, Reply, Request, TopicRef};
use mulgil_broker::subscription::{
    self as broker, Counts, OverflowPolicy, Reason, RetryPolicy, Subscription, SubscriptionLine,
    SubscriptionPicture, SubscriptionRef, SubscriptionRefusal, SubscriptionReply,
    SubscriptionRequest, SubscriptionSettings, Tally,
};
use mulgil_core::machine::WallTime;
use mulgil_meta::catalog::Catalog;
use mulgil_meta::schema::{Topic, TopicName};
use mulgil_meta::settings::edit;
use mulgil_record::ids::TopicId;

use super::refusals::{setting_refusal, subscription_refusal, unexpected};
use super::{LocalBackend, timestamp};

mod deliver;
mod redrive;
mod rewind;
mod settle;
#[cfg(test)]
mod tests;

pub(super) use redrive::Redrives;

/// So many are added up in one visit to the lane, which others wait for.
const LEVELS_AT_ONCE: u32 = 500;
/// Whoever looks at figures waits no longer for these: they wait for the disk, and the others do not.
const LEVELS_WAIT: Duration = Duration::from_secs(2);

impl LocalBackend {
    /// Asks about subscriptions, and gives what is answered.
    async fn ask_queue(&self, ask: SubscriptionRequest) -> Result<SubscriptionReply, Refusal> {
        let Reply::Subscription(reply) = self.ask(Request::Subscription(ask)).await? else {
            return Err(unexpected());
        };
        Ok(reply)
    }

    /// The subscription that is meant, as far as it is durable, and its topic.
    fn find_queue(&self, which: Which<'_>) -> Result<(Arc<Subscription>, Arc<Topic>), Refusal> {
        let catalog = self.broker.catalog();
        let name = TopicName::in_default(which.name);
        let found = catalog.subscriptions.named(&name);
        let found = found.ok_or_else(|| unknown(which.name))?;
        let topic = catalog.topic_by_id(found.topic);
        let topic = topic.ok_or_else(|| unknown(which.name))?;
        if which.kind == Kind::Queue && !is_queue(found, topic) {
            let detail = format!("\"{}\" reads topic \"{}\"", which.name, topic.name.name);
            return Err(Refusal::new(Code::NotAQueue, detail));
        }
        Ok((Arc::clone(found), Arc::clone(topic)))
    }

    /// What all of them hold; none if that cannot be told soon, because the log does not answer.
    pub(super) async fn queue_levels(&self) -> Option<QueueCounters> {
        let sum = async {
            let mut sum = QueueCounters::default();
            let mut after: Option<String> = None;
            loop {
                let list = List {
                    kind: Kind::Subscription,
                    topic: None,
                    after: after.as_deref(),
                    limit: LEVELS_AT_ONCE,
                };
                let page = self.list_page(list).await.ok()?;
                for one in page.subscriptions {
                    sum.subscriptions += 1;
                    sum.available += one.counts.available;
                    sum.acquired += one.counts.acquired;
                    sum.scheduled += one.counts.scheduled;
                    sum.archiving += one.counts.archiving;
                    let age = one.oldest_age_seconds.unwrap_or(0);
                    sum.oldest_age_seconds = sum.oldest_age_seconds.max(age);
                }
                after = page.next;
                if after.is_none() {
                    return Some(sum);
                }
            }
        };
        tokio::time::timeout(LEVELS_WAIT, sum).await.ok().flatten()
    }

    async fn list_page(&self, list: List<'_>) -> Result<SubscriptionPage, Refusal> {
        let topic = match list.topic {
            Some(name) => Some(TopicRef::Id(self.topic(name)?.id)),
            None => None,
        };
        let ask = SubscriptionRequest::List(broker::List {
            topic,
            after: list.after.map(TopicName::in_default),
            most: list.limit,
        });
        let SubscriptionReply::Listed(lines) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        let full = lines.len() >= list.limit as usize;
        let last = lines.last().filter(|_| full);
        let next = last.map(|line| line.subscription.name.name.to_string());
        let (catalog, now) = (self.broker.catalog(), self.broker.now().wall);
        let wanted = |one: &SubscriptionSummary| one.queue || list.kind == Kind::Subscription;
        let subscriptions = { lines.iter() }.map(|line| line_summary(&catalog, line, now));
        Ok(SubscriptionPage {
            subscriptions: subscriptions.filter(wanted).collect(),
            next,
        })
    }

    async fn described(&self, which: Which<'_>) -> Result<SubscriptionDetail, Refusal> {
        let (subscription, topic) = self.find_queue(which)?;
        let ask = SubscriptionRequest::Describe(SubscriptionRef::Id(subscription.id));
        let SubscriptionReply::Described(described) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        let picture = described.map_err(|why| subscription_refusal(&why, which.name))?;
        let (catalog, now) = (self.broker.catalog(), self.broker.now().wall);
        Ok(detail(&catalog, &topic, &picture, now))
    }

    /// The settings in the words of the broker.
    fn settings(
        &self,
        change: &SubscriptionChange,
        before: &SettingsModel,
    ) -> Result<SubscriptionSettings, Refusal> {
        let wanted = change.over(before)?;
        let dead_letter = match &wanted.dead_letter {
            None => None,
            Some(name) => {
                let target = self.topic(name);
                let missing = |why: Refusal| Refusal::new(Code::DeadLetterTarget, why.detail);
                Some(target.map_err(missing)?.id)
            }
        };
        Ok(SubscriptionSettings {
            lock_ms: wanted.lock_ms,
            failed_max: wanted.failed_max,
            acquired_max: wanted.acquired_max,
            retry: match wanted.retry {
                Retry::AtOnce {} => RetryPolicy::AtOnce,
                Retry::Fixed { ms } => RetryPolicy::Fixed { ms },
                Retry::Linear { ms, ms_max } => RetryPolicy::Linear { ms, ms_max },
                Retry::Exponential {
                    ms,
                    ms_max,
                    jitter_percent,
                } => RetryPolicy::Exponential {
                    ms,
                    ms_max,
                    jitter_percent,
                },
            },
            age_ms_max: wanted.age_ms_max,
            ttl_ms: wanted.ttl_ms,
            length_max: wanted.length_max,
            bytes_max: wanted.bytes_max,
            deduplicate_ms: wanted.deduplicate_ms,
            single_active: wanted.single_active,
            paused: wanted.paused,
            overflow: match wanted.overflow {
                Overflow::DropOldest => OverflowPolicy::DropOldest,
                Overflow::DeadLetterOldest => OverflowPolicy::DeadLetterOldest,
                Overflow::Refuse => OverflowPolicy::Refuse,
            },
            order: match wanted.order {
                Order::Fifo => broker::Order::Fifo,
                Order::Key => broker::Order::Key,
                Order::Priority => broker::Order::Priority,
            },
            dead_letter,
        })
    }

    async fn subscribe_to(&self, ask: CreateSubscription) -> Result<SubscriptionDetail, Refusal> {
        let settings = self.settings(&ask.settings, &SettingsModel::default())?;
        let filter = ask
            .filter
            .as_deref()
            .map(broker::Selector::parse)
            .transpose();
        let filter = filter.map_err(|why| Refusal::new(Code::Filter, why.to_string()))?;
        let topic = self.topic(&ask.topic)?;
        let create = SubscriptionRequest::Create(Box::new(broker::CreateSubscription {
            name: TopicName::in_default(&ask.name),
            topic: TopicRef::Id(topic.id),
            begin: self.beginning(&topic, ask.from).await?,
            filter,
            settings,
        }));
        let SubscriptionReply::Created(created) = self.ask_queue(create).await? else {
            return Err(unexpected());
        };
        created.map_err(|why| subscription_refusal(&why, &ask.name))?;
        self.described(Which {
            kind: Kind::Subscription,
            name: &ask.name,
        })
        .await
    }

    async fn create_one(&self, ask: CreateQueue) -> Result<SubscriptionDetail, Refusal> {
        let settings = self.settings(&ask.settings, &SettingsModel::default())?;
        let stated = &self.broker.catalog().broker;
        let topic = edit::stated_topic(stated, &ask.topic_settings.edits()?);
        let create = SubscriptionRequest::CreateQueue(Box::new(broker::CreateQueue {
            topic: CreateTopic {
                name: TopicName::in_default(&ask.name),
                partitions: None,
                settings: topic.map_err(|why| setting_refusal(&why))?,
                id: TopicId(uuid::Uuid::new_v4().as_u128()),
            },
            settings,
        }));
        let SubscriptionReply::QueueCreated(created) = self.ask_queue(create).await? else {
            return Err(unexpected());
        };
        created.map_err(|why| subscription_refusal(&why, &ask.name))?;
        self.described(Which {
            kind: Kind::Queue,
            name: &ask.name,
        })
        .await
    }

    async fn alter_one(
        &self,
        which: Which<'_>,
        change: AlterSubscription,
    ) -> Result<SubscriptionDetail, Refusal> {
        // The broker takes all settings at once: of two changes that overlap, one sees the other.
        let _one_at_a_time = self.altering.lock().await;
        let (subscription, _) = self.find_queue(which)?;
        let before = settings_model(&self.broker.catalog(), &subscription.settings);
        let ask = SubscriptionRequest::Alter {
            subscription: SubscriptionRef::Id(subscription.id),
            settings: self.settings(&change.settings, &before)?,
        };
        let SubscriptionReply::Altered(altered) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        altered.map_err(|why| subscription_refusal(&why, which.name))?;
        self.described(which).await
    }

    async fn delete_one(&self, which: Which<'_>) -> Result<(), Refusal> {
        let (subscription, _) = self.find_queue(which)?;
        let one = SubscriptionRef::Id(subscription.id);
        let ask = match which.kind {
            Kind::Subscription => SubscriptionRequest::Delete(one),
            Kind::Queue => SubscriptionRequest::DeleteQueue(one),
        };
        let SubscriptionReply::Deleted(deleted) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        deleted.map_err(|why| subscription_refusal(&why, which.name))
    }
}

impl Queues for LocalBackend {
    fn list<'a>(&'a self, list: List<'a>) -> Answer<'a, SubscriptionPage> {
        Box::pin(self.list_page(list))
    }

    fn describe<'a>(&'a self, which: Which<'a>) -> Answer<'a, SubscriptionDetail> {
        Box::pin(self.described(which))
    }

    fn subscribe(&self, subscription: CreateSubscription) -> Answer<'_, SubscriptionDetail> {
        Box::pin(self.subscribe_to(subscription))
    }

    fn create(&self, queue: CreateQueue) -> Answer<'_, SubscriptionDetail> {
        Box::pin(self.create_one(queue))
    }

    fn alter<'a>(
        &'a self,
        which: Which<'a>,
        change: AlterSubscription,
    ) -> Answer<'a, SubscriptionDetail> {
        Box::pin(self.alter_one(which, change))
    }

    fn delete<'a>(&'a self, which: Which<'a>) -> Answer<'a, ()> {
        Box::pin(self.delete_one(which))
    }

    fn purge<'a>(&'a self, which: Which<'a>, purge: Purge) -> Answer<'a, Purged> {
        Box::pin(self.purge_one(which, purge))
    }

    fn redrive<'a>(&'a self, which: Which<'a>, redrive: Redrive) -> Answer<'a, Redriven> {
        Box::pin(self.redrive_one(which, redrive))
    }

    fn redrives(&self) -> Answer<'_, RedriveList> {
        Box::pin(async { Ok(self.redrives.list()) })
    }

    fn cancel_redrive(&self, id: u64) -> Answer<'_, RedriveTask> {
        Box::pin(async move { self.redrives.cancel(id) })
    }

    fn seek<'a>(&'a self, which: Which<'a>, seek: SeekSubscription) -> Answer<'a, Sought> {
        Box::pin(self.seek_one(which, seek))
    }

    fn receive<'a>(&'a self, which: Which<'a>, receive: Receive) -> Answer<'a, Received> {
        Box::pin(self.receive_some(which, receive))
    }

    fn settle<'a>(
        &'a self,
        which: Which<'a>,
        settlements: Vec<Settlement>,
    ) -> Answer<'a, Vec<Result<(), Refusal>>> {
        Box::pin(self.settle_all(which, settlements))
    }

    fn browse<'a>(&'a self, which: Which<'a>, browse: Browse) -> Answer<'a, BrowsedPage> {
        Box::pin(self.browse_page(which, browse))
    }
}

fn unknown(name: &str) -> Refusal {
    subscription_refusal(&SubscriptionRefusal::Unknown, name)
}

/// Whether a subscription is that of a queue: it is called as its topic, which gives up what is settled.
fn is_queue(subscription: &Subscription, topic: &Topic) -> bool {
    topic.name == subscription.name && topic.settings.reclaim_on_ack
}

fn settings_model(catalog: &Catalog, settings: &SubscriptionSettings) -> SettingsModel {
    SettingsModel {
        lock_ms: settings.lock_ms,
        failed_max: settings.failed_max,
        acquired_max: settings.acquired_max,
        retry: match settings.retry {
            RetryPolicy::AtOnce => Retry::AtOnce {},
            RetryPolicy::Fixed { ms } => Retry::Fixed { ms },
            RetryPolicy::Linear { ms, ms_max } => Retry::Linear { ms, ms_max },
            RetryPolicy::Exponential {
                ms,
                ms_max,
                jitter_percent,
            } => Retry::Exponential {
                ms,
                ms_max,
                jitter_percent,
            },
        },
        age_ms_max: settings.age_ms_max,
        ttl_ms: settings.ttl_ms,
        length_max: settings.length_max,
        bytes_max: settings.bytes_max,
        deduplicate_ms: settings.deduplicate_ms,
        single_active: settings.single_active,
        paused: settings.paused,
        overflow: match settings.overflow {
            OverflowPolicy::DropOldest => Overflow::DropOldest,
            OverflowPolicy::DeadLetterOldest => Overflow::DeadLetterOldest,
            OverflowPolicy::Refuse => Overflow::Refuse,
        },
        order: match settings.order {
            broker::Order::Fifo => Order::Fifo,
            broker::Order::Key => Order::Key,
            broker::Order::Priority => Order::Priority,
        },
        dead_letter: settings.dead_letter.map(|id| topic_name(catalog, id)),
    }
}

/// The name of a topic; of one that is gone, its id.
fn topic_name(catalog: &Catalog, id: TopicId) -> String {
    let known = catalog.topic_by_id(id);
    known.map_or_else(
        || uuid::Uuid::from_u128(id.0).to_string(),
        |topic| topic.name.name.to_string(),
    )
}

const fn counts_model(counts: Counts) -> SubscriptionCounts {
    SubscriptionCounts {
        available: counts.available,
        acquired: counts.acquired,
        scheduled: counts.scheduled,
        archiving: counts.archiving,
    }
}

fn age_seconds(oldest: Option<WallTime>, now: WallTime) -> Option<u64> {
    oldest.map(|at| now.0.saturating_sub(at.0) / 1_000)
}

fn summary(
    catalog: &Catalog,
    subscription: &Subscription,
    counts: SubscriptionCounts,
    consumers: usize,
) -> SubscriptionSummary {
    let topic = catalog.topic_by_id(subscription.topic);
    SubscriptionSummary {
        name: subscription.name.name.to_string(),
        id: subscription.id.0,
        topic: topic_name(catalog, subscription.topic),
        queue: topic.is_some_and(|topic| is_queue(subscription, topic)),
        created: timestamp(subscription.created_ms),
        filter: { subscription.filter.as_ref() }.map(|filter| filter.text().to_string()),
        counts,
        oldest_age_seconds: None,
        consumers: consumers as u64,
        totals: SubscriptionTotals::default(),
        settings: settings_model(catalog, &subscription.settings),
    }
}

fn line_summary(catalog: &Catalog, line: &SubscriptionLine, now: WallTime) -> SubscriptionSummary {
    let counts = counts_model(line.counts);
    SubscriptionSummary {
        oldest_age_seconds: age_seconds(line.oldest, now),
        totals: totals(&line.tally),
        ..summary(catalog, &line.subscription, counts, line.consumers)
    }
}

fn detail(
    catalog: &Catalog,
    topic: &Topic,
    picture: &SubscriptionPicture,
    now: WallTime,
) -> SubscriptionDetail {
    let (mut all, mut tally) = (SubscriptionCounts::default(), Tally::default());
    let mut partition_details = Vec::with_capacity(picture.partitions.len());
    for one in &picture.partitions {
        let counts = counts_model(one.counts);
        all.available += counts.available;
        all.acquired += counts.acquired;
        all.scheduled += counts.scheduled;
        all.archiving += counts.archiving;
        tally.add(&one.tally);
        let index = topic.partitions.iter().position(|id| *id == one.partition);
        partition_details.push(SubscriptionPartition {
            partition: index.map_or(u32::MAX, |index| u32::try_from(index).unwrap_or(u32::MAX)),
            start: one.start.0,
            end: one.end.0,
            counts,
            accepted: one.tally.accepted,
            memory_bytes: one.memory_bytes as u64,
        });
    }
    let oldest = picture.partitions.iter().filter_map(|one| one.oldest).min();
    SubscriptionDetail {
        summary: SubscriptionSummary {
            oldest_age_seconds: age_seconds(oldest, now),
            totals: totals(&tally),
            ..summary(catalog, &picture.subscription, all, picture.consumers)
        },
        partition_details,
    }
}

fn totals(tally: &Tally) -> SubscriptionTotals {
    let given_up = |counted: &[u64]| -> Vec<GivenUp> {
        let by_reason = Reason::ALL.into_iter().zip(counted);
        let some = by_reason.filter(|(_, records)| **records > 0);
        some.map(|(reason, records)| GivenUp {
            reason: reason.to_string().replace(' ', "_"),
            records: *records,
        })
        .collect()
    };
    SubscriptionTotals {
        accepted: tally.accepted,
        dead_lettered: given_up(&tally.moved),
        dropped: given_up(&tally.dropped),
        lost: tally.lost,
        purged: tally.purged,
    }
}
