//! What the admin API asks for, over the broker in this process.
//!
//! Everything goes through the broker's one interface, as from any door. All HTTP is served by one
//! thread, which must not hang with a lane that hangs: `/livez` could not tell of it any more. So
//! whatever enters the lane waits for it outside first, see [`LocalBackend::reach`].

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mulgil_admin::backend::{Answer, Backend, Counters, Publish, Read, ReadPart};
use mulgil_admin::model::{
    AlterTopic, Broker as BrokerModel, Check, CreateTopic, GroupDetail, GroupList, OffsetsReset,
    Position, ResetOffsets, TopicDetail, TopicPage, TrimTopic,
};
use mulgil_admin::problem::Refusal;
use mulgil_admin::queues::Queues;
use mulgil_admin::time::Timestamp;
use mulgil_broker::courier::Courier;
use mulgil_broker::door::DoorFigures;
use mulgil_broker::publish::Publisher;
use mulgil_broker::request::{Reply, Request};
use mulgil_broker::shell::Broker;
use mulgil_kafka::KafkaFigures;
use mulgil_meta::schema::DEFAULT_VHOST;
use mulgil_sqs::figures::SqsFigures;
use tokio::sync::{Mutex, Semaphore};

use crate::node::Node;

mod figures;
mod groups;
mod moves;
mod publish;
mod queues;
mod records;
mod refusals;
#[cfg(test)]
mod tests;
mod topics;

use queues::Redrives;

/// How long a request waits for a lane that is always taken: half of what makes it count as dead.
const REACH_MAX: Duration = Duration::from_secs(5);

/// Reads that unpack at one time. Each may take the 128 MiB that a batch may unpack to.
const UNPACKING_MAX: usize = 2;

/// The broker in this process.
pub(crate) struct LocalBackend {
    broker: Arc<Broker>,
    figures: Arc<DoorFigures>,
    kafka: Arc<KafkaFigures>,
    sqs: Option<Arc<SqsFigures>>,
    /// Messages that came and went through the API.
    own: Own,
    /// How many pieces of the log recovery put into quarantine.
    quarantined: usize,
    /// And how many bytes.
    quarantined_bytes: u64,
    /// Appends records that come one by one.
    publisher: Publisher,
    /// Who has a permit may unpack.
    unpacking: Arc<Semaphore>,
    /// Brings records to those who receive.
    courier: Courier,
    /// Who holds this may change a subscription's settings.
    altering: Mutex<()>,
    /// What is being redriven, and was.
    redrives: Redrives,
    /// For work that goes on after its request.
    me: Weak<Self>,
}

/// What the API counts itself.
#[derive(Debug, Default)]
struct Own {
    published: AtomicU64,
    published_bytes: AtomicU64,
    delivered: AtomicU64,
    delivered_bytes: AtomicU64,
}

impl LocalBackend {
    pub(crate) fn new(node: &Node) -> Arc<Self> {
        let quarantined = &node.recovered.quarantined;
        let unpacking = Arc::new(Semaphore::new(UNPACKING_MAX));
        let broker = Arc::clone(&node.broker);
        Arc::new_cyclic(|me| Self {
            courier: Courier::new(broker, Arc::clone(&unpacking), Some(REACH_MAX)),
            broker: Arc::clone(&node.broker),
            figures: Arc::clone(&node.figures),
            kafka: Arc::clone(&node.kafka_figures),
            sqs: { node.sqs.as_ref() }.map(|(_, door)| Arc::clone(door.figures())),
            own: Own::default(),
            quarantined: quarantined.len(),
            quarantined_bytes: quarantined.iter().map(|piece| piece.bytes).sum(),
            publisher: Publisher::new(Arc::clone(&node.broker)),
            unpacking,
            altering: Mutex::new(()),
            redrives: Redrives::default(),
            me: Weak::clone(me),
        })
    }

    /// Waits, without holding this thread, until the lane can be entered.
    async fn reach(&self) -> Result<(), Refusal> {
        if self.broker.reachable(REACH_MAX).await {
            return Ok(());
        }
        Err(refusals::unreachable(REACH_MAX))
    }

    async fn ask(&self, request: Request) -> Result<Reply, Refusal> {
        self.reach().await?;
        let reply = self.broker.ask(request).await;
        reply.ok_or_else(refusals::stopping)
    }
}

impl Backend for LocalBackend {
    fn list_topics<'a>(&'a self, after: Option<&'a str>, limit: u32) -> Answer<'a, TopicPage> {
        Box::pin(async move {
            self.reach().await?;
            let catalog = self.broker.catalog();
            let own = catalog
                .topics
                .values()
                .filter(|t| &*t.name.vhost == DEFAULT_VHOST);
            let mut rest = own.skip_while(|t| after.is_some_and(|after| &*t.name.name <= after));
            let limit = limit as usize;
            let topics: Vec<_> = rest
                .by_ref()
                .take(limit)
                .map(|topic| self.detail(topic).summary)
                .collect();
            let more = rest.next().is_some();
            let next = topics.last().filter(|_| more).map(|last| last.name.clone());
            Ok(TopicPage { topics, next })
        })
    }

    fn describe_topic<'a>(&'a self, name: &'a str) -> Answer<'a, TopicDetail> {
        Box::pin(async move {
            self.reach().await?;
            Ok(self.detail(&*self.topic(name)?))
        })
    }

    fn create_topic(&self, topic: CreateTopic) -> Answer<'_, TopicDetail> {
        Box::pin(self.create(topic))
    }

    fn alter_topic<'a>(&'a self, name: &'a str, change: AlterTopic) -> Answer<'a, TopicDetail> {
        Box::pin(self.alter(name, change))
    }

    fn delete_topic<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(self.delete(name))
    }

    fn trim_topic<'a>(&'a self, name: &'a str, trim: TrimTopic) -> Answer<'a, TopicDetail> {
        Box::pin(self.trim(name, trim))
    }

    fn list_groups(&self) -> Answer<'_, GroupList> {
        Box::pin(self.groups())
    }

    fn describe_group<'a>(&'a self, name: &'a str) -> Answer<'a, GroupDetail> {
        Box::pin(self.group(name))
    }

    fn reset_group<'a>(&'a self, name: &'a str, reset: ResetOffsets) -> Answer<'a, OffsetsReset> {
        Box::pin(self.reset(name, reset))
    }

    fn delete_group<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(self.drop_group(name))
    }

    fn publish<'a>(
        &'a self,
        topic: &'a str,
        records: Vec<Publish>,
    ) -> Answer<'a, Vec<Result<Position, Refusal>>> {
        Box::pin(self.publish_all(topic, records))
    }

    fn read<'a>(&'a self, topic: &'a str, read: Read) -> Answer<'a, ReadPart> {
        Box::pin(self.read_part(topic, read))
    }

    fn queues(&self) -> Result<&dyn Queues, Refusal> {
        Ok(self)
    }

    fn status(&self) -> Answer<'_, BrokerModel> {
        Box::pin(async move {
            self.reach().await?;
            Ok(self.model())
        })
    }

    fn live(&self) -> Vec<Check> {
        self.alive()
    }

    fn ready(&self) -> Answer<'_, Vec<Check>> {
        Box::pin(async move { Ok(self.checks()) })
    }

    fn counters(&self) -> Answer<'_, Counters> {
        Box::pin(async move {
            self.reach().await?;
            let queues = self.queue_levels().await;
            Ok(Counters {
                queues,
                ..self.counted()
            })
        })
    }
}

fn timestamp(ms: u64) -> Timestamp {
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
}
