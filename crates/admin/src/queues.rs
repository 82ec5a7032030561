//! What the API needs of the broker for queues and subscriptions.
//!
//! A queue is a topic of its own with a subscription of its name, so both are asked for in the same words; a
//! [`Which`] says whether only a queue will do.

use crate::backend::Answer;
use crate::model::{
    AlterSubscription, BrowsedPage, CreateQueue, CreateSubscription, Purge, Purged, Receive,
    Received, Redrive, RedriveList, RedriveTask, Redriven, SeekSubscription, Settlement, Sought,
    SubscriptionDetail, SubscriptionPage,
};
use crate::problem::Refusal;

/// Which of both is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A subscription, be it that of a queue or not.
    Subscription,
    /// A queue, with its topic.
    Queue,
}

/// One queue or subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Which<'a> {
    /// Whether only a queue will do.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
}

/// Which queues or subscriptions to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<'a> {
    /// Whether only queues.
    pub kind: Kind,
    /// Only readers of this topic.
    pub topic: Option<&'a str>,
    /// Those behind this name.
    pub after: Option<&'a str>,
    /// At most so many.
    pub limit: u32,
}

/// Which records to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Browse {
    /// Of this partition, by the topic's index.
    pub partition: u32,
    /// From this offset on; those that are settled are passed over.
    pub from: i64,
    /// At most so many.
    pub records_max: u32,
}

/// Queues and subscriptions, as the API sees them. Answers are about durable things.
pub trait Queues: Send + Sync {
    /// By name.
    fn list<'a>(&'a self, list: List<'a>) -> Answer<'a, SubscriptionPage>;

    /// One with its partitions.
    fn describe<'a>(&'a self, which: Which<'a>) -> Answer<'a, SubscriptionDetail>;

    /// Creates a subscription of a topic that is there.
    fn subscribe(&self, subscription: CreateSubscription) -> Answer<'_, SubscriptionDetail>;

    /// Creates a queue: its topic and its subscription, both or neither.
    fn create(&self, queue: CreateQueue) -> Answer<'_, SubscriptionDetail>;

    /// Lets other settings hold.
    fn alter<'a>(
        &'a self,
        which: Which<'a>,
        change: AlterSubscription,
    ) -> Answer<'a, SubscriptionDetail>;

    /// Deletes a subscription, or a queue with its topic and all records.
    fn delete<'a>(&'a self, which: Which<'a>) -> Answer<'a, ()>;

    /// Lets all that waits go.
    fn purge<'a>(&'a self, which: Which<'a>, purge: Purge) -> Answer<'a, Purged>;

    /// Goes on elsewhere, or says what that would change.
    fn seek<'a>(&'a self, which: Which<'a>, seek: SeekSubscription) -> Answer<'a, Sought>;

    /// Begins to move what was given up back to where it was, or elsewhere, or says what that would do.
    fn redrive<'a>(&'a self, which: Which<'a>, redrive: Redrive) -> Answer<'a, Redriven>;

    /// All redrives that are known.
    fn redrives(&self) -> Answer<'_, RedriveList>;

    /// Ends a redrive; one that has ended stays as it is.
    fn cancel_redrive(&self, id: u64) -> Answer<'_, RedriveTask>;

    /// Takes records, or waits for some.
    ///
    /// Who drops the answer before it is there holds nothing: what was handed out for it is given back.
    fn receive<'a>(&'a self, which: Which<'a>, receive: Receive) -> Answer<'a, Received>;

    /// Says what came of records: an answer for each, in order. The outer error is for all of them.
    fn settle<'a>(
        &'a self,
        which: Which<'a>,
        settlements: Vec<Settlement>,
    ) -> Answer<'a, Vec<Result<(), Refusal>>>;

    /// Looks at records that are not settled, and changes nothing.
    fn browse<'a>(&'a self, which: Which<'a>, browse: Browse) -> Answer<'a, BrowsedPage>;
}
