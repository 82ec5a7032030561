//! A worker: takes records of a subscription under locks, and accepts, releases or renews them.

use mulgil_broker::request::{Reply, Request, Ticket, TopicRef};
use mulgil_broker::subscription::{
    BeginAt, CreateSubscription, Outcome, Receipt, Receive, Settle, Settlement, SubscriptionName,
    SubscriptionRef, SubscriptionRefusal, SubscriptionReply, SubscriptionRequest,
    SubscriptionSettings,
};
use mulgil_meta::schema::{Durability, TopicName};

use super::{Scene, odd};
use crate::ledger::is_compacted;
use crate::violation::Kept;

/// What was asked and not answered.
#[derive(Debug)]
enum Open {
    Create,
    Describe,
    Receive,
    Settle(Vec<(Receipt, bool)>),
}

/// A worker; all workers of a world share one subscription.
#[derive(Debug)]
pub struct Worker {
    number: usize,
    name: SubscriptionName,
    held: Vec<Receipt>,
    open: Option<(Ticket, Open)>,
    /// There is one by that name, and it is not known what it reads.
    unseen: bool,
}

impl Worker {
    /// Client number `number`.
    #[must_use]
    pub fn new(number: usize) -> Self {
        Self {
            number,
            name: TopicName::in_default("work"),
            held: Vec::new(),
            open: None,
            unseen: false,
        }
    }

    pub(super) fn act(&mut self, ticket: Ticket, scene: &mut Scene<'_>) -> Option<Request> {
        if self.open.is_some() {
            return None;
        }
        let (open, ask) = if !scene.ledger.queues.is_known(&self.name) {
            self.held.clear();
            self.begin(scene)?
        } else if self.held.is_empty() || scene.below(4) == 0 {
            self.receive(scene)
        } else {
            self.settle(scene)
        };
        let number = self.number;
        scene.trace.line(|| format!("worker {number} asks {ask:?}"));
        self.open = Some((ticket, open));
        Some(Request::Subscription(ask))
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Option<(Open, SubscriptionRequest)> {
        if self.unseen {
            let name = SubscriptionRef::Name(self.name.clone());
            return Some((Open::Describe, SubscriptionRequest::Describe(name)));
        }
        let topics = scene.catalog.by_id.values();
        let fit = topics.filter(|topic| {
            topic.settings.durability == Durability::Fsync && !is_compacted(topic.id)
        });
        let fit: Vec<_> = fit.map(|topic| topic.id).collect();
        let topic = *scene.one_of(&fit)?;
        let create = CreateSubscription {
            name: self.name.clone(),
            topic: TopicRef::Id(topic),
            begin: if scene.below(4) == 0 {
                BeginAt::End
            } else {
                BeginAt::Start
            },
            filter: None,
            settings: SubscriptionSettings {
                failed_max: None,
                ..SubscriptionSettings::default()
            },
        };
        Some((Open::Create, SubscriptionRequest::Create(Box::new(create))))
    }

    fn receive(&self, scene: &mut Scene<'_>) -> (Open, SubscriptionRequest) {
        let receive = Receive {
            subscription: SubscriptionRef::Name(self.name.clone()),
            records_max: 1 + u32::try_from(scene.below(20)).unwrap_or(0),
            lock_ms: Some(20 + u32::try_from(scene.below(400)).unwrap_or(0)),
            wait_ms: if scene.below(2) == 0 { 0 } else { 300 },
        };
        (Open::Receive, SubscriptionRequest::Receive(receive))
    }

    fn settle(&mut self, scene: &mut Scene<'_>) -> (Open, SubscriptionRequest) {
        let count = 1 + scene.below(self.held.len());
        let mut items = Vec::with_capacity(count);
        let mut asked = Vec::with_capacity(count);
        for receipt in self.held.split_off(self.held.len() - count) {
            let outcome = match scene.below(10) {
                0..=6 => Outcome::Accept,
                7 => Outcome::Release {
                    failed: true,
                    not_before: None,
                },
                8 => Outcome::Release {
                    failed: false,
                    not_before: None,
                },
                _ => Outcome::Renew { lock_ms: 200 },
            };
            let accepted = outcome == Outcome::Accept;
            if accepted {
                let at = (receipt.partition, receipt.offset);
                scene.ledger.queues.accepts(&self.name, at);
            } else if matches!(outcome, Outcome::Renew { .. }) {
                self.held.push(receipt);
            }
            asked.push((receipt, accepted));
            items.push(Settlement::of(receipt, outcome));
        }
        let settle = Settle {
            subscription: SubscriptionRef::Name(self.name.clone()),
            items,
        };
        (Open::Settle(asked), SubscriptionRequest::Settle(settle))
    }

    pub(super) fn answered(&mut self, ticket: Ticket, reply: Reply, scene: &mut Scene<'_>) -> Kept {
        let Reply::Subscription(reply) = reply else {
            return Err(odd(&reply));
        };
        let number = self.number;
        scene
            .trace
            .line(|| format!("worker {number} is told {reply:?}"));
        let Some((_, open)) = self.open.take().filter(|(asked, _)| *asked == ticket) else {
            return Err(odd(&Reply::Subscription(reply)));
        };
        let ledger = &mut scene.ledger;
        match (open, reply) {
            (Open::Create, SubscriptionReply::Created(created)) => match created {
                Ok(subscription) => ledger.queues.created(&subscription),
                // It was created by one who was not told.
                Err(SubscriptionRefusal::Exists(_)) => self.unseen = true,
                Err(_) => {}
            },
            (Open::Describe, SubscriptionReply::Described(described)) => {
                self.unseen = false;
                if let Ok(picture) = described {
                    ledger.queues.created(&picture.subscription);
                }
            }
            (Open::Receive, SubscriptionReply::Acquired(Ok(acquired))) => {
                for one in acquired {
                    for offset in one.span.offsets() {
                        ledger.queue_gave(&self.name, (one.partition, offset))?;
                        self.held.push(one.receipt(offset));
                    }
                }
            }
            (Open::Settle(asked), SubscriptionReply::Settled(Ok(settled))) => {
                for ((receipt, accepted), settled) in asked.into_iter().zip(settled) {
                    if accepted && settled.is_ok() {
                        ledger.queue_accepted(&self.name, (receipt.partition, receipt.offset));
                    }
                }
            }
            (
                Open::Receive | Open::Settle(_),
                SubscriptionReply::Acquired(Err(
                    SubscriptionRefusal::Unknown | SubscriptionRefusal::Deleted,
                ))
                | SubscriptionReply::Settled(Err(SubscriptionRefusal::Unknown)),
            ) => ledger.queue_missing(&self.name)?,
            (Open::Receive, SubscriptionReply::Acquired(Err(_)))
            | (Open::Settle(_), SubscriptionReply::Settled(Err(_))) => {}
            (_, reply) => return Err(odd(&Reply::Subscription(reply))),
        }
        Ok(())
    }

    /// What it holds is locked for it still: receipts outlive connections.
    pub(super) fn disconnected(&mut self) {
        self.open = None;
    }

    pub(super) fn waits(&self) -> usize {
        usize::from(self.open.is_some())
    }
}
