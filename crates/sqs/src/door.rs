//! The door: what holds for all actions, and which there are.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use mulgil_broker::courier::Courier;
use mulgil_broker::meta::catalog::Catalog;
use mulgil_broker::meta::schema::Topic;
use mulgil_broker::publish::Publisher;
use mulgil_broker::request::{Reply, Request};
use mulgil_broker::shell::Broker;
use mulgil_broker::subscription::{
    Subscription, SubscriptionRefusal, SubscriptionReply, SubscriptionRequest,
};
use mulgil_record::ids::TopicId;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::attempts::{Attempts, Seen};
use crate::attributes::{is_fifo, name_of};
use crate::fault::{Fault, Kind};
use crate::figures::SqsFigures;
use crate::input::{Parameters, required, text};
use crate::names::{self, Owner};
use crate::params::Asked;
use crate::sign::Keys;

/// How long nothing is created under the name of a queue that was deleted, and how long after a purge no other is
/// possible, ms (API reference, `DeleteQueue` and `PurgeQueue`).
pub(crate) const REST_MS: u64 = 60_000;
/// Most names of which it is known that they rest.
const RESTING_MAX: usize = 10_000;
/// Batches that are unpacked at one time, apart from small ones.
const UNPACKING_MAX: usize = 2;

/// Whether limits hold that only AWS needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limits {
    /// As AWS has them.
    #[default]
    Aws,
    /// As far as the broker goes.
    Open,
}

/// What a door is told.
#[derive(Clone, Debug)]
pub struct DoorOptions {
    /// Whose queues these are.
    pub owner: Owner,
    /// Whether limits hold that only AWS needs.
    pub limits: Limits,
    /// By which requests must be signed; without any, everybody may ask.
    pub keys: Keys,
}

/// A task that moves messages out of a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveTask {
    /// Its number.
    pub id: u64,
    /// Out of which subscription.
    pub subscription: String,
    /// To which topic, if not to where each came from.
    pub to: Option<String>,
    /// Messages a second at the most.
    pub rate: Option<u32>,
    /// How it stands.
    pub state: MoveState,
    /// Messages that went.
    pub moved: u64,
    /// Messages that were there when it began.
    pub total: u64,
    /// When it began, ms since 1970.
    pub started_ms: u64,
    /// Why it failed.
    pub error: Option<String>,
}

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveState {
    /// It goes on.
    Running,
    /// It is done.
    Completed,
    /// Somebody ended it.
    Cancelled,
    /// Something ended it.
    Failed,
}

/// Why a task does not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefusal {
    /// One of the queue runs, or too many of all.
    #[error("{0}")]
    Runs(String),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// A future that tasks are begun by.
pub type Beginning<'a> = Pin<Box<dyn Future<Output = Result<u64, MoveRefusal>> + Send + 'a>>;

/// What moves messages back.
pub trait MoveTasks: Send + Sync {
    /// Begins one: out of this subscription, to this topic or to where each message came from.
    fn begin<'a>(
        &'a self,
        subscription: &'a str,
        to: Option<&'a str>,
        rate: Option<u32>,
    ) -> Beginning<'a>;

    /// Ends one; how it stands, if there is one.
    fn cancel(&self, id: u64) -> Option<MoveTask>;

    /// All that are known, the oldest first.
    fn list(&self) -> Vec<MoveTask>;
}

/// Who asks, and how the door was reached.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// What queue URLs begin with: `http://localhost:9324`.
    pub base: String,
    /// The path that was asked for: in the older protocol it may name the queue.
    pub path: String,
}

/// A queue that is there.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// What SQS calls it.
    pub(crate) name: String,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) topic: Arc<Topic>,
    pub(crate) fifo: bool,
}

impl Queue {
    /// Whether its topic is its own, and not one that others write and read under a name of its own.
    pub(crate) fn owns_topic(&self) -> bool {
        self.topic.name == self.subscription.name && self.topic.settings.reclaim_on_ack
    }
}

/// When something was done to a name, ms of running time.
type Resting = Mutex<BTreeMap<String, u64>>;

/// The door.
pub struct Door {
    pub(crate) broker: Arc<Broker>,
    pub(crate) courier: Courier,
    pub(crate) publisher: Publisher,
    pub(crate) options: DoorOptions,
    /// What receipt handles are checked by.
    pub(crate) secret: Vec<u8>,
    moves: OnceLock<Arc<dyn MoveTasks>>,
    /// Makes ids for topics.
    pub(crate) topic_id: fn() -> TopicId,
    pub(crate) deleted: Resting,
    pub(crate) purged: Resting,
    /// Who holds this may change what holds for queues: of two changes that overlap, one sees the other.
    pub(crate) altering: tokio::sync::Mutex<()>,
    pub(crate) figures: Arc<SqsFigures>,
    pub(crate) attempts: Attempts,
    pub(crate) seen: Seen,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl Door {
    /// A door to a broker; `secret` is the same over restarts.
    #[must_use]
    pub fn new(
        broker: Arc<Broker>,
        options: DoorOptions,
        secret: Vec<u8>,
        topic_id: fn() -> TopicId,
        figures: Arc<SqsFigures>,
    ) -> Self {
        let unpacking = Arc::new(Semaphore::new(UNPACKING_MAX));
        Self {
            courier: Courier::new(Arc::clone(&broker), unpacking, None),
            publisher: Publisher::new(Arc::clone(&broker)),
            broker,
            options,
            secret,
            moves: OnceLock::new(),
            topic_id,
            deleted: Resting::default(),
            purged: Resting::default(),
            altering: tokio::sync::Mutex::default(),
            figures,
            attempts: Attempts::default(),
            seen: Seen::default(),
        }
    }

    /// Tells what moves messages back; the first time counts.
    pub fn set_moves(&self, moves: Arc<dyn MoveTasks>) {
        let _first = self.moves.set(moves);
    }

    pub(crate) fn moves(&self) -> Result<&Arc<dyn MoveTasks>, Fault> {
        let early = || Fault::new(Kind::ServiceUnavailable, "The broker is starting.");
        self.moves.get().ok_or_else(early)
    }

    /// What it counts.
    #[must_use]
    pub const fn figures(&self) -> &Arc<SqsFigures> {
        &self.figures
    }

    /// What must be true of those who sign.
    pub(crate) const fn keys(&self) -> &Keys {
        &self.options.keys
    }

    pub(crate) const fn owner(&self) -> &Owner {
        &self.options.owner
    }

    pub(crate) fn is_open(&self) -> bool {
        self.options.limits == Limits::Open
    }

    /// Does what is asked; the answer as the JSON protocol has it.
    ///
    /// # Errors
    ///
    /// What is refused, in the words of the service.
    pub async fn answer(&self, asked: &Asked, caller: &Caller) -> Result<Value, Fault> {
        let with = &asked.parameters;
        match asked.action.as_str() {
            "AddPermission" => self.add_permission(with, caller).await,
            "CancelMessageMoveTask" => self.cancel_move(with),
            "ChangeMessageVisibility" => self.change_visibility(with, caller).await,
            "ChangeMessageVisibilityBatch" => self.change_visibilities(with, caller).await,
            "CreateQueue" => self.create_queue(with, caller).await,
            "DeleteMessage" => self.delete_message(with, caller).await,
            "DeleteMessageBatch" => self.delete_messages(with, caller).await,
            "DeleteQueue" => self.delete_queue(with, caller).await,
            "GetQueueAttributes" => self.get_attributes(with, caller).await,
            "GetQueueUrl" => self.get_url(with, caller),
            "ListDeadLetterSourceQueues" => self.list_sources(with, caller),
            "ListMessageMoveTasks" => self.list_moves(with),
            "ListQueueTags" => self.list_tags(with, caller),
            "ListQueues" => self.list_queues(with, caller),
            "PurgeQueue" => self.purge_queue(with, caller).await,
            "ReceiveMessage" => self.receive_messages(with, caller).await,
            "RemovePermission" => self.remove_permission(with, caller).await,
            "SendMessage" => self.send_message(with, caller).await,
            "SendMessageBatch" => self.send_messages(with, caller).await,
            "SetQueueAttributes" => self.set_attributes(with, caller).await,
            "StartMessageMoveTask" => self.start_move(with).await,
            "TagQueue" => self.tag_queue(with, caller).await,
            "UntagQueue" => self.untag_queue(with, caller).await,
            other => Err(Fault::new(
                Kind::InvalidAction,
                format!("The action {other} is not valid for this endpoint."),
            )),
        }
    }

    /// The queue that a request is for.
    pub(crate) fn queue(&self, with: &Parameters, caller: &Caller) -> Result<Queue, Fault> {
        let url = match text(with, "QueueUrl")? {
            Some(url) => url,
            // A request of the older protocol may be sent to the queue's own address.
            None if caller.path.len() > 1 => &caller.path,
            None => required(with, "QueueUrl")?,
        };
        let name = self.owner().queue_at(url)?;
        self.named(&self.broker.catalog(), name)
            .ok_or_else(Fault::no_queue)
    }

    /// The queue that SQS calls so.
    pub(crate) fn named(&self, catalog: &Catalog, name: &str) -> Option<Queue> {
        let own = names::to_subscription(name)?;
        let subscription = catalog.subscriptions.named(&name_of(&own))?;
        self.of(catalog, subscription)
    }

    /// A subscription as a queue, if SQS can name it.
    pub(crate) fn of(&self, catalog: &Catalog, subscription: &Arc<Subscription>) -> Option<Queue> {
        Some(Queue {
            name: names::of_subscription(&subscription.name.name)?,
            fifo: is_fifo(subscription),
            topic: Arc::clone(catalog.topic_by_id(subscription.topic)?),
            subscription: Arc::clone(subscription),
        })
    }

    pub(crate) fn url(&self, name: &str, caller: &Caller) -> String {
        format!("{}/{}/{name}", caller.base, self.owner().account)
    }

    pub(crate) async fn ask(&self, request: Request) -> Result<Reply, Fault> {
        self.broker.ask(request).await.ok_or_else(stopping)
    }

    pub(crate) async fn ask_queue(
        &self,
        ask: SubscriptionRequest,
    ) -> Result<SubscriptionReply, Fault> {
        let Reply::Subscription(reply) = self.ask(Request::Subscription(ask)).await? else {
            return Err(unexpected());
        };
        Ok(reply)
    }

    /// Milliseconds since 1970.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.broker.now().wall.0
    }

    /// Whether less than [`REST_MS`] have passed since this was last noted of a name.
    pub(crate) fn rests(&self, noted: &Resting, name: &str) -> bool {
        let now = self.broker.now().elapsed.0;
        let noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        !self.is_open() && { noted.get(name) }.is_some_and(|at| now < at + REST_MS)
    }

    /// Notes that something was done to a name.
    pub(crate) fn note(&self, noted: &Resting, name: &str) {
        if self.is_open() {
            return;
        }
        let now = self.broker.now().elapsed.0;
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= RESTING_MAX {
            noted.retain(|_, at| now < *at + REST_MS);
        }
        if noted.len() < RESTING_MAX {
            noted.insert(name.to_owned(), now);
        }
    }
}

pub(crate) fn stopping() -> Fault {
    Fault::new(Kind::ServiceUnavailable, "The broker is stopping.")
}

pub(crate) fn unexpected() -> Fault {
    Fault::new(Kind::InternalFailure, "The broker answered something else.")
}

/// What is said of a subscription that is not served.
pub(crate) fn refused(refusal: &SubscriptionRefusal) -> Fault {
    let kind = match refusal {
        SubscriptionRefusal::Unknown
        | SubscriptionRefusal::Deleted
        | SubscriptionRefusal::UnknownTopic => return Fault::no_queue(),
        SubscriptionRefusal::Stopping | SubscriptionRefusal::DiskFull => Kind::ServiceUnavailable,
        SubscriptionRefusal::TooManyConsumers(_)
        | SubscriptionRefusal::TooManyLocked(_)
        | SubscriptionRefusal::TooMany(_) => Kind::OverLimit,
        SubscriptionRefusal::NotAQueue => Kind::UnsupportedOperation,
        SubscriptionRefusal::Exists(_)
        | SubscriptionRefusal::UnknownDeadLetter(_)
        | SubscriptionRefusal::DeadLetterToItself
        | SubscriptionRefusal::DeadLetter
        | SubscriptionRefusal::UnknownPartition(_)
        | SubscriptionRefusal::Name(_)
        | SubscriptionRefusal::Setting(_)
        | SubscriptionRefusal::Priority(_)
        | SubscriptionRefusal::TooManyFilters(_)
        | SubscriptionRefusal::Topic(_)
        | SubscriptionRefusal::TopicSetting(_)
        | SubscriptionRefusal::TopicDeletion(_)
        | SubscriptionRefusal::UnknownConsumer(_)
        | SubscriptionRefusal::Amount { .. }
        | SubscriptionRefusal::Waits(_)
        | SubscriptionRefusal::Queue(_) => Kind::InvalidParameterValue,
    };
    Fault::new(kind, format!("{refusal}."))
}
