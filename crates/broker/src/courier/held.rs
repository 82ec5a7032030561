//! Records that were handed out and have not reached anybody yet.
//!
//! Between the lane and the answer lie waits: for the disk, for reading, for the caller itself. Whoever goes
//! meanwhile drops what is here, and that gives the records back at once, so that they do not wait for their
//! lock to run out. Nothing else holds them.

use std::sync::Arc;

use crate::request::Request;
use crate::shell::Broker;
use crate::subscription::{
    Acquired, Claim, Outcome, Settle, Settlement, SubscriptionRef, SubscriptionRequest,
};
use mulgil_record::ids::SubscriptionId;

/// Records that are given back when this is dropped.
pub(super) struct Held {
    broker: Arc<Broker>,
    subscription: SubscriptionId,
    records: Vec<Acquired>,
}

impl Held {
    pub(super) fn new(
        broker: Arc<Broker>,
        subscription: SubscriptionId,
        records: Vec<Acquired>,
    ) -> Self {
        Self {
            broker,
            subscription,
            records,
        }
    }

    pub(super) fn records(&self) -> &[Acquired] {
        &self.records
    }

    /// The caller has them from here on, but for `back`, which are given back now.
    pub(super) fn hand_over(mut self, back: Vec<Acquired>) {
        self.records = back;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.records.is_empty() {
            return;
        }
        let items = self.records.drain(..).map(|one| Settlement {
            partition: one.partition,
            span: one.span,
            claim: Claim::Receipt(one.epoch),
            outcome: Outcome::Release {
                failed: false,
                not_before: None,
            },
        });
        let settle = Settle {
            subscription: SubscriptionRef::Id(self.subscription),
            items: items.collect(),
        };
        let broker = Arc::clone(&self.broker);
        let give_back = async move {
            let ask = SubscriptionRequest::Settle(settle);
            // What is not held any more need not be given back; a broker that stops has locks that run out.
            drop(broker.ask(Request::Subscription(ask)).await);
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(give_back);
        }
    }
}
