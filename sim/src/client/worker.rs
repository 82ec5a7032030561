//! A worker: takes records of a subscription under locks, and accepts, releases, rejects or renews them.

use mulgil_broker::request::{Reply, Request, Ticket};
use mulgil_broker::subscription::{
    Acquired, Attach, ConsumerId, Grant, LockTerm, Outcome, Receipt, Receive, Settle, Settlement,
    SubscriptionName, SubscriptionRef, SubscriptionRefusal, SubscriptionReply, SubscriptionRequest,
    Tries,
};
use mulgil_core::machine::{Elapsed, Now, WallTime};
use mulgil_meta::schema::TopicName;
use mulgil_record::ids::TopicId;

use super::{Scene, odd};
use crate::ledger::Given;
use crate::violation::Kept;

mod begin;

/// Before anything was asked.
const NEVER: Now = Now {
    elapsed: Elapsed(0),
    wall: WallTime(0),
};

/// What was asked and not answered.
#[derive(Debug)]
enum Open {
    Topic(TopicId),
    Create,
    Describe,
    Attach(Option<u32>),
    Grant,
    Detach,
    Next,
    Receive(u32),
    Settle(Vec<(Held, Outcome)>),
}

/// What a worker reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A subscription of any topic that syncs, of which nothing is given up.
    Plain,
    /// The subscription of the queue, with limits and a dead-letter topic.
    Queue,
    /// Another subscription of the queue's topic.
    Second,
}

/// A record that the worker was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    receipt: Receipt,
    tries: Tries,
}

/// A worker; all of one kind share one subscription.
#[derive(Debug)]
pub struct Worker {
    number: usize,
    kind: Kind,
    name: SubscriptionName,
    held: Vec<Held>,
    open: Option<(Ticket, Open)>,
    /// When it was asked, by both clocks, and in the order of the ledger.
    asked: (u64, Now),
    /// As what it is attached, and for how long it locks then, if for some time.
    consumer: Option<(ConsumerId, Option<u32>)>,
    /// There is one by that name, and it is not known what it reads.
    unseen: bool,
}

impl Worker {
    /// Client number `number`, of a kind that `kind` decides.
    #[must_use]
    pub fn new(number: usize, kind: u64) -> Self {
        let (kind, name) = match kind {
            0 | 1 => (Kind::Plain, "work"),
            2 | 3 => (Kind::Queue, begin::QUEUE_NAME),
            _ => (Kind::Second, "second"),
        };
        Self {
            number,
            kind,
            name: TopicName::in_default(name),
            held: Vec::new(),
            open: None,
            asked: (0, NEVER),
            consumer: None,
            unseen: false,
        }
    }

    fn subscription(&self) -> SubscriptionRef {
        SubscriptionRef::Name(self.name.clone())
    }

    pub(super) fn act(&mut self, ticket: Ticket, scene: &mut Scene<'_>) -> Option<Request> {
        if self.open.is_some() {
            return None;
        }
        let (open, request) = if !scene.ledger.queues.is_known(&self.name) {
            self.held.clear();
            self.consumer = None;
            self.begin(scene)?
        } else {
            let (open, ask) = if self.held.is_empty() || scene.below(4) == 0 {
                self.take(scene)
            } else {
                self.settle(scene)
            };
            (open, Request::Subscription(ask))
        };
        let number = self.number;
        scene
            .trace
            .line(|| format!("worker {number} asks {request:?}"));
        self.asked = (scene.ledger.queue_stamp(), scene.now);
        self.open = Some((ticket, open));
        Some(request)
    }

    /// Asks for records, as one that is attached or as one that comes and goes.
    fn take(&mut self, scene: &mut Scene<'_>) -> (Open, SubscriptionRequest) {
        let Some((consumer, _)) = self.consumer else {
            return if scene.below(6) == 0 {
                self.attach(scene)
            } else {
                self.receive(scene)
            };
        };
        match scene.below(8) {
            0 => {
                scene.ledger.queue_left(self.number);
                self.consumer = None;
                let failed = scene.below(2) == 0;
                let detach = SubscriptionRequest::Detach { consumer, failed };
                (Open::Detach, detach)
            }
            1..=3 => {
                let credit = 1 + u32::try_from(scene.below(10)).unwrap_or(0);
                let grant = Grant { consumer, credit };
                (Open::Grant, SubscriptionRequest::Grant(grant))
            }
            _ => {
                let wait_ms = if scene.below(2) == 0 { 0 } else { 300 };
                let next = SubscriptionRequest::Next { consumer, wait_ms };
                (Open::Next, next)
            }
        }
    }

    fn attach(&self, scene: &mut Scene<'_>) -> (Open, SubscriptionRequest) {
        let ms = 20 + u32::try_from(scene.below(400)).unwrap_or(0);
        let (lock, lock_ms) = if scene.below(2) == 0 {
            (LockTerm::Attached, None)
        } else {
            (LockTerm::Outliving(ms), Some(ms))
        };
        let attach = Attach {
            subscription: self.subscription(),
            priority: i32::try_from(scene.below(2)).unwrap_or(0),
            exclusive: false,
            lock,
        };
        (Open::Attach(lock_ms), SubscriptionRequest::Attach(attach))
    }

    fn receive(&self, scene: &mut Scene<'_>) -> (Open, SubscriptionRequest) {
        let lock_ms = 20 + u32::try_from(scene.below(400)).unwrap_or(0);
        let receive = Receive {
            subscription: self.subscription(),
            records_max: 1 + u32::try_from(scene.below(20)).unwrap_or(0),
            lock_ms: Some(lock_ms),
            wait_ms: if scene.below(2) == 0 { 0 } else { 300 },
            locked_max: None,
            keys_together: false,
        };
        (
            Open::Receive(lock_ms),
            SubscriptionRequest::Receive(receive),
        )
    }

    fn outcome(&self, scene: &mut Scene<'_>) -> Outcome {
        let release = |failed, later: Option<u64>| Outcome::Release {
            failed,
            not_before: later.map(|ms| WallTime(scene.now.wall.0 + ms)),
        };
        match scene.dice.below(14) {
            0..=6 => Outcome::Accept,
            7 | 8 => release(true, None),
            9 => release(false, None),
            10 => release(true, Some(150)),
            11 => release(false, Some(250)),
            12 if self.kind != Kind::Plain => Outcome::Reject {
                words: Some("no use".into()),
            },
            _ => Outcome::Renew { lock_ms: 200 },
        }
    }

    fn settle(&mut self, scene: &mut Scene<'_>) -> (Open, SubscriptionRequest) {
        let count = 1 + scene.below(self.held.len());
        let mut items = Vec::with_capacity(count);
        let mut asked = Vec::with_capacity(count);
        for held in self.held.split_off(self.held.len() - count) {
            let outcome = self.outcome(scene);
            let (ledger, receipt) = (&mut scene.ledger, held.receipt);
            ledger.queue_settles(&self.name, receipt, &outcome, scene.now);
            if matches!(outcome, Outcome::Renew { .. }) {
                self.held.push(held);
            }
            asked.push((held, outcome.clone()));
            items.push(Settlement::of(receipt, outcome));
        }
        let settle = Settle {
            subscription: self.subscription(),
            items,
        };
        (Open::Settle(asked), SubscriptionRequest::Settle(settle))
    }

    pub(super) fn answered(&mut self, ticket: Ticket, reply: Reply, scene: &mut Scene<'_>) -> Kept {
        let number = self.number;
        scene
            .trace
            .line(|| format!("worker {number} is told {reply:?}"));
        let Some((_, open)) = self.open.take().filter(|(asked, _)| *asked == ticket) else {
            return Err(odd(&reply));
        };
        if let Open::Topic(id) = open {
            return begin::topic_told(id, reply, scene);
        }
        let Reply::Subscription(reply) = reply else {
            return Err(odd(&reply));
        };
        match (open, reply) {
            (
                Open::Create,
                SubscriptionReply::Created(created) | SubscriptionReply::QueueCreated(created),
            ) => match created {
                Ok(subscription) => scene.ledger.queues.created(&subscription),
                // It was created by one who was not told.
                Err(SubscriptionRefusal::Exists(_)) => self.unseen = true,
                Err(_) => {}
            },
            (Open::Describe, SubscriptionReply::Described(described)) => {
                self.unseen = false;
                if let Ok(picture) = described {
                    scene.ledger.queues.created(&picture.subscription);
                }
            }
            (Open::Attach(lock_ms), SubscriptionReply::Attached(attached)) => {
                self.consumer = attached.ok().map(|consumer| (consumer, lock_ms));
            }
            (Open::Grant | Open::Detach, SubscriptionReply::Done(done)) => {
                if done.is_err() {
                    self.consumer = None;
                }
            }
            (Open::Receive(lock_ms), SubscriptionReply::Acquired(Ok(acquired))) => {
                let asked = self.asked.1.elapsed.0;
                self.given(&acquired, (Some(lock_ms), asked), scene)?;
            }
            (Open::Next, SubscriptionReply::Acquired(Ok(acquired))) => {
                let lock_ms = self.consumer.and_then(|(_, lock_ms)| lock_ms);
                // What was there before it asked was handed out before.
                self.given(&acquired, (lock_ms, 0), scene)?;
            }
            (Open::Settle(asked), SubscriptionReply::Settled(Ok(settled))) => {
                for ((held, outcome), settled) in asked.into_iter().zip(settled) {
                    if settled.is_ok() {
                        let which = (held.receipt, held.tries);
                        let ledger = &mut scene.ledger;
                        ledger.queue_settled(&self.name, which, &outcome, self.asked);
                    }
                }
            }
            (
                Open::Receive(_) | Open::Settle(_) | Open::Next,
                SubscriptionReply::Acquired(Err(
                    SubscriptionRefusal::Unknown | SubscriptionRefusal::Deleted,
                ))
                | SubscriptionReply::Settled(Err(SubscriptionRefusal::Unknown)),
            ) => scene.ledger.queue_missing(&self.name)?,
            (Open::Next, SubscriptionReply::Acquired(Err(_))) => self.consumer = None,
            (Open::Receive(_), SubscriptionReply::Acquired(Err(_)))
            | (Open::Settle(_), SubscriptionReply::Settled(Err(_))) => {}
            (_, reply) => return Err(odd(&Reply::Subscription(reply))),
        }
        Ok(())
    }

    fn given(
        &mut self,
        acquired: &[Acquired],
        (lock_ms, asked): (Option<u32>, u64),
        scene: &mut Scene<'_>,
    ) -> Kept {
        let given = Given {
            client: self.number,
            lock_ms,
            asked,
        };
        for one in acquired {
            scene.ledger.queue_gave(&self.name, one, given, scene.now)?;
            let (tries, offsets) = (one.tries, one.span.offsets());
            self.held.extend(offsets.map(|offset| Held {
                receipt: one.receipt(offset),
                tries,
            }));
        }
        Ok(())
    }

    /// What it holds is locked for it still, but for what was bound to its being there: receipts outlive
    /// connections.
    pub(super) fn disconnected(&mut self) {
        self.open = None;
        self.consumer = None;
    }

    pub(super) fn waits(&self) -> usize {
        usize::from(self.open.is_some())
    }
}
