//! Records are handed out and settled.

use mulgil_core::machine::Now;
use mulgil_core::queue::{
    Attach as AttachCommand, Command, ConsumerId, Effect, Grant as GrantCommand, LockTerm, Outcome,
    Pull, Settle as SettleCommand,
};
use mulgil_meta::subscription::{LOCK_MS_MAX, OutOfBounds};
use mulgil_record::ids::{PartitionId, SubscriptionId};

use super::super::{Due, Lane, ReplyTo, Turn};
use super::Key;
use super::consumers::Consumer;
use crate::subscription::{
    Acquired, Attach, CONSUMERS_ALL_MAX, CONSUMERS_MAX, CREDIT_MAX, Grant, LOCKED_MAX, RECORDS_MAX,
    Receive, SETTLEMENTS_MAX, Settle, SettleRefusal, Settlement, SubscriptionRefusal,
    SubscriptionReply, WAIT_MS_MAX, WORDS_BYTES_MAX,
};

impl Lane {
    /// Whether one more may read from a subscription.
    fn check_consumers(
        &self,
        id: SubscriptionId,
        locked_max: u64,
    ) -> Result<(), SubscriptionRefusal> {
        if self.stopping {
            return Err(SubscriptionRefusal::Stopping);
        }
        let consumers = &self.subscriptions.consumers;
        let (here, all) = (consumers.count(id), consumers.len());
        if here >= CONSUMERS_MAX {
            return Err(SubscriptionRefusal::TooManyConsumers(here));
        }
        if all >= CONSUMERS_ALL_MAX {
            return Err(SubscriptionRefusal::TooManyConsumers(all));
        }
        let hosted = self.subscriptions.of_subscription(id);
        let locked = hosted.map(|(_, hosted)| hosted.machine.counts().acquired);
        match locked.max() {
            Some(locked) if locked >= locked_max => Err(SubscriptionRefusal::TooManyLocked(locked)),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn attach(
        &mut self,
        to: ReplyTo,
        attach: &Attach,
        now: Now,
        turn: &mut Turn,
    ) -> (Due, SubscriptionReply) {
        let attached = self.attach_in(to, attach, now, turn);
        // A machine that refuses tells who else is there, which is not durable.
        let due = Due::synced(self.metadata_due);
        (due, SubscriptionReply::Attached(attached))
    }

    fn attach_in(
        &mut self,
        to: ReplyTo,
        attach: &Attach,
        now: Now,
        turn: &mut Turn,
    ) -> Result<ConsumerId, SubscriptionRefusal> {
        match attach.lock {
            LockTerm::Attached => {}
            LockTerm::AttachedFor(ms) | LockTerm::Outliving(ms) => check_lock(ms)?,
        }
        let subscription = self.find_subscription(&attach.subscription)?.id;
        self.check_consumers(subscription, LOCKED_MAX)?;
        let partitions = self.partitions_read(subscription);
        let consumer = self.subscriptions.consumers.name();
        for (at, partition) in partitions.iter().enumerate() {
            let command = Command::Attach(AttachCommand {
                consumer,
                priority: attach.priority,
                exclusive: attach.exclusive,
                lock: attach.lock,
            });
            if let Err(why) = self.decide_queue((subscription, *partition), command, now) {
                for back in partitions.iter().take(at) {
                    self.leave((subscription, *back), consumer, false, now, turn);
                }
                return Err(why.into());
            }
        }
        let reader = reader(subscription, to, partitions);
        self.subscriptions.consumers.insert(consumer, reader);
        Ok(consumer)
    }

    pub(super) fn partitions_read(&self, id: SubscriptionId) -> Vec<PartitionId> {
        let hosted = self.subscriptions.of_subscription(id);
        hosted.map(|(partition, _)| partition).collect()
    }

    /// The consumer of this connection with this name.
    fn own(&mut self, to: ReplyTo, id: ConsumerId) -> Result<&mut Consumer, SubscriptionRefusal> {
        let found = self.subscriptions.consumers.get_mut(id);
        let own = found.filter(|found| found.origin == to.origin && !found.once);
        own.ok_or(SubscriptionRefusal::UnknownConsumer(id))
    }

    pub(super) fn grant(
        &mut self,
        to: ReplyTo,
        grant: Grant,
        now: Now,
        turn: &mut Turn,
    ) -> (Due, SubscriptionReply) {
        let Grant { consumer, credit } = grant;
        let granted = self.own(to, consumer).and_then(|own| {
            let most = CREDIT_MAX - own.credit;
            if credit == 0 || credit > most {
                return Err(amount("credit", credit, most));
            }
            own.credit += credit;
            Ok((own.subscription, own.partitions.clone()))
        });
        let granted = granted.map(|(subscription, partitions)| {
            for partition in partitions {
                self.give_credit((subscription, partition), consumer, credit, now);
                self.turn_queue((subscription, partition), now, turn);
            }
        });
        (Due::NOW, SubscriptionReply::Done(granted))
    }

    fn give_credit(&mut self, key: Key, consumer: ConsumerId, credit: u32, now: Now) {
        let grant = GrantCommand {
            consumer,
            credit,
            once_until: None,
        };
        // It is attached, and credit is never 0.
        let _never = self.decide_queue(key, Command::Grant(grant), now);
        self.arm_queue(key, now);
    }

    pub(super) fn revoke(
        &mut self,
        to: ReplyTo,
        consumer: ConsumerId,
        now: Now,
        turn: &mut Turn,
    ) -> (Due, SubscriptionReply) {
        let revoked = self.own(to, consumer).map(|own| {
            own.credit = 0;
            (own.subscription, own.partitions.clone())
        });
        let revoked = revoked.map(|(subscription, partitions)| {
            for partition in partitions {
                let key = (subscription, partition);
                self.command_queue(key, Command::Revoke(consumer), now, turn);
            }
        });
        (Due::NOW, SubscriptionReply::Done(revoked))
    }

    pub(super) fn detach(
        &mut self,
        to: ReplyTo,
        consumer: ConsumerId,
        failed: bool,
        now: Now,
        turn: &mut Turn,
    ) -> (Due, SubscriptionReply) {
        let known = self.own(to, consumer).map(|own| own.subscription);
        let detached = known.map(|subscription| {
            self.let_go(consumer, failed, now, turn);
            self.subscription_due(subscription)
        });
        let due = detached.as_ref().map_or(Due::NOW, |due| *due);
        (due, SubscriptionReply::Done(detached.map(|_| ())))
    }

    /// A consumer goes, wherever it is attached; who waits for it is told that nothing came.
    pub(super) fn let_go(&mut self, id: ConsumerId, failed: bool, now: Now, turn: &mut Turn) {
        let Some(gone) = self.subscriptions.consumers.remove(id) else {
            return;
        };
        for partition in &gone.partitions {
            self.leave((gone.subscription, *partition), id, failed, now, turn);
        }
        if let Some((to, _)) = gone.waiting {
            let reply = SubscriptionReply::Acquired(Ok(gone.got));
            self.answer_subscription(to, gone.due, reply, turn);
        }
    }

    fn leave(&mut self, key: Key, consumer: ConsumerId, failed: bool, now: Now, turn: &mut Turn) {
        self.command_queue(key, Command::Detach { consumer, failed }, now, turn);
    }

    /// Says something to a machine that may not mind any more.
    pub(in crate::lane) fn command_queue(
        &mut self,
        key: Key,
        command: Command,
        now: Now,
        turn: &mut Turn,
    ) {
        if let Ok(effects) = self.decide_queue(key, command, now) {
            self.queue_effects(key, effects, now, turn);
        }
        self.arm_queue(key, now);
    }

    pub(super) fn next_records(
        &mut self,
        to: ReplyTo,
        consumer: ConsumerId,
        wait_ms: u32,
        now: Now,
        turn: &mut Turn,
    ) {
        let wait = self.own(to, consumer).and_then(|own| {
            if own.waiting.is_some() {
                return Err(SubscriptionRefusal::Waits(consumer));
            }
            let too_long = wait_ms > WAIT_MS_MAX;
            let refusal = || amount("wait_ms", wait_ms, WAIT_MS_MAX);
            if too_long { Err(refusal()) } else { Ok(()) }
        });
        if let Err(why) = wait {
            let reply = SubscriptionReply::Acquired(Err(why));
            return self.answer_subscription(to, Due::NOW, reply, turn);
        }
        let until = now.elapsed.plus_ms(wait_ms);
        self.subscriptions.consumers.wait(consumer, to, until);
        self.tell(consumer, wait_ms == 0, turn);
    }

    /// Tells a consumer that waits what it got, if that is anything; also nothing if `even_nothing`.
    pub(super) fn tell(&mut self, id: ConsumerId, even_nothing: bool, turn: &mut Turn) {
        let Some(consumer) = self.subscriptions.consumers.get_mut(id) else {
            return;
        };
        if consumer.waiting.is_none() || (consumer.got.is_empty() && !even_nothing) {
            return;
        }
        let got = std::mem::take(&mut consumer.got);
        let due = std::mem::replace(&mut consumer.due, Due::NOW);
        if let Some(to) = self.subscriptions.consumers.take_waiting(id) {
            self.answer_subscription(to, due, SubscriptionReply::Acquired(Ok(got)), turn);
        }
    }

    pub(super) fn receive(&mut self, to: ReplyTo, receive: &Receive, now: Now, turn: &mut Turn) {
        if let Err(why) = self.receive_in(to, receive, now, turn) {
            let reply = SubscriptionReply::Acquired(Err(why));
            self.answer_subscription(to, Due::synced(self.metadata_due), reply, turn);
        }
    }

    fn receive_in(
        &mut self,
        to: ReplyTo,
        receive: &Receive,
        now: Now,
        turn: &mut Turn,
    ) -> Result<(), SubscriptionRefusal> {
        let subscription = self.find_subscription(&receive.subscription)?;
        let (id, lock_ms) = (subscription.id, subscription.settings.lock_ms);
        let lock_ms = receive.lock_ms.unwrap_or(lock_ms);
        check_lock(lock_ms)?;
        if receive.records_max == 0 || receive.records_max > RECORDS_MAX {
            return Err(amount("records_max", receive.records_max, RECORDS_MAX));
        }
        if receive.wait_ms > WAIT_MS_MAX {
            return Err(amount("wait_ms", receive.wait_ms, WAIT_MS_MAX));
        }
        let locked_max = receive.locked_max.unwrap_or(LOCKED_MAX).min(LOCKED_MAX);
        self.check_consumers(id, locked_max)?;
        let consumer = self.subscriptions.consumers.name();
        let partitions = self.partitions_for(id, consumer);
        let until = now.elapsed.plus_ms(receive.wait_ms);
        let pull = Pull {
            consumer,
            credit: receive.records_max,
            lock_ms,
            until,
            keys_together: receive.keys_together,
        };
        let mut reader = reader(id, to, Vec::new());
        reader.once = true;
        reader.waiting = Some((to, None));
        self.subscriptions.consumers.insert(consumer, reader);
        let mut refused = None;
        for partition in partitions {
            match self.decide_queue((id, partition), Command::Pull(pull), now) {
                Ok(_) => {
                    let own = self.subscriptions.consumers.get_mut(consumer);
                    own.into_iter()
                        .for_each(|own| own.partitions.push(partition));
                }
                Err(why) => refused = Some(why),
            }
        }
        let own = self.subscriptions.consumers.get(consumer);
        let attached = own.map_or_else(Vec::new, |own| own.partitions.clone());
        if attached.is_empty() {
            self.subscriptions.consumers.remove(consumer);
            return Err(refused.map_or(SubscriptionRefusal::Unknown, Into::into));
        }
        for partition in attached {
            self.turn_queue((id, partition), now, turn);
        }
        Ok(())
    }

    /// Where one comes for records that takes what there is: the first partition that has any, counted
    /// from another one each time, or all, to wait.
    fn partitions_for(&self, id: SubscriptionId, consumer: ConsumerId) -> Vec<PartitionId> {
        let all = self.partitions_read(id);
        let from = usize::try_from(consumer.0).unwrap_or(0) % all.len().max(1);
        let has_any = |partition: &&PartitionId| {
            let hosted = self.subscriptions.hosted.get(&(id, **partition));
            hosted.is_some_and(|hosted| hosted.machine.counts().available > 0)
        };
        let behind = all.iter().cycle().skip(from).take(all.len());
        let found = { behind }.find(has_any).copied();
        found.map_or(all, |found| vec![found])
    }

    /// Carries out what a machine asks of the world.
    pub(super) fn queue_effects(
        &mut self,
        key: Key,
        effects: Vec<Effect>,
        now: Now,
        turn: &mut Turn,
    ) {
        let mut served = Vec::new();
        for effect in effects {
            match effect {
                Effect::Deliver {
                    consumer,
                    span,
                    epoch,
                    tries,
                    until,
                } => {
                    let (subscription, partition) = key;
                    let acquired = Acquired {
                        subscription,
                        partition,
                        span,
                        epoch,
                        tries,
                        until,
                    };
                    self.handed_out(key, consumer, acquired);
                    if served.last() != Some(&consumer) {
                        served.push(consumer);
                    }
                }
                Effect::GrantEnded { consumer, served } => {
                    self.grant_ended(key, consumer, served, now, turn);
                }
                Effect::Archive(death) => self.give_up(key, &death, now, turn),
                // The answer to who settled is on its way.
                Effect::Settled { .. } => {}
            }
        }
        for consumer in served {
            self.share_credit(key, consumer, now);
            let once = self.subscriptions.consumers.get(consumer);
            if once.is_some_and(|one| !one.once) {
                self.tell(consumer, false, turn);
            }
        }
    }

    fn handed_out(&mut self, key: Key, consumer: ConsumerId, acquired: Acquired) {
        let due = self.queue_due(key);
        if let Some(consumer) = self.subscriptions.consumers.get_mut(consumer) {
            let count = u32::try_from(acquired.span.count()).unwrap_or(u32::MAX);
            consumer.credit = consumer.credit.saturating_sub(count);
            consumer.due = consumer.due.and(due);
            consumer.got.push(acquired);
        }
    }

    /// What one partition has handed out, the others of a consumer hand out no more.
    fn share_credit(&mut self, from: Key, id: ConsumerId, now: Now) {
        let Some(consumer) = self.subscriptions.consumers.get(id) else {
            return;
        };
        if consumer.once || consumer.partitions.len() < 2 {
            return;
        }
        let (credit, partitions) = (consumer.credit, consumer.partitions.clone());
        for partition in partitions.into_iter().filter(|at| *at != from.1) {
            let key = (from.0, partition);
            let _attached = self.decide_queue(key, Command::Revoke(id), now);
            if credit > 0 {
                self.give_credit(key, id, credit, now);
            }
        }
    }

    fn grant_ended(&mut self, key: Key, id: ConsumerId, served: bool, now: Now, turn: &mut Turn) {
        let Some(consumer) = self.subscriptions.consumers.get_mut(id) else {
            return;
        };
        if !consumer.once {
            return;
        }
        consumer.partitions.retain(|partition| *partition != key.1);
        if served || consumer.partitions.is_empty() {
            let due = self.queue_due(key);
            if let Some(consumer) = self.subscriptions.consumers.get_mut(id) {
                consumer.due = consumer.due.and(due);
            }
            self.let_go(id, false, now, turn);
        }
    }

    pub(super) fn settle(
        &mut self,
        settle: Settle,
        now: Now,
        turn: &mut Turn,
    ) -> (Due, SubscriptionReply) {
        let Settle {
            subscription,
            items,
        } = settle;
        let mut due = Due::synced(self.metadata_due);
        let found = self.find_subscription(&subscription).map(|found| found.id);
        let settled = found.and_then(|id| {
            let counts = items.iter().map(|item| item.span.count().max(1));
            let count = counts.fold(0, u64::saturating_add);
            if count > SETTLEMENTS_MAX as u64 {
                return Err(SubscriptionRefusal::Amount {
                    what: "records settled at once",
                    asked: count,
                    most: SETTLEMENTS_MAX as u64,
                });
            }
            let outcomes = items.into_iter().map(|item| {
                let key = (id, item.partition);
                let outcome = self.settle_one(key, item, now, turn);
                due = due.and(self.queue_due(key));
                outcome
            });
            Ok(outcomes.collect())
        });
        (due, SubscriptionReply::Settled(settled))
    }

    fn settle_one(
        &mut self,
        key: Key,
        item: Settlement,
        now: Now,
        turn: &mut Turn,
    ) -> Result<(), SettleRefusal> {
        if !self.subscriptions.hosted.contains_key(&key) {
            return Err(SettleRefusal::UnknownPartition(key.1));
        }
        let command = settle_command(item)?;
        let effects = self.decide_queue(key, command, now)?;
        self.queue_effects(key, effects, now, turn);
        self.arm_queue(key, now);
        Ok(())
    }
}

/// What a machine is told of records, if it may be said.
pub(in crate::lane) fn settle_command(item: Settlement) -> Result<Command, SettleRefusal> {
    match &item.outcome {
        Outcome::Reject { words: Some(words) } if words.len() > WORDS_BYTES_MAX => {
            let (bytes, most) = (words.len(), WORDS_BYTES_MAX);
            return Err(SettleRefusal::Words { bytes, most });
        }
        Outcome::Renew { lock_ms } => check_lock(*lock_ms)?,
        Outcome::Accept | Outcome::Release { .. } | Outcome::Reject { .. } => {}
    }
    Ok(Command::Settle(SettleCommand {
        claim: item.claim,
        span: item.span,
        outcome: item.outcome,
    }))
}

fn reader(subscription: SubscriptionId, to: ReplyTo, partitions: Vec<PartitionId>) -> Consumer {
    Consumer {
        subscription,
        origin: to.origin,
        once: false,
        partitions,
        credit: 0,
        got: Vec::new(),
        due: Due::NOW,
        waiting: None,
    }
}

fn amount(what: &'static str, asked: u32, most: u32) -> SubscriptionRefusal {
    SubscriptionRefusal::Amount {
        what,
        asked: asked.into(),
        most: most.into(),
    }
}

/// Whether a lock may be so long.
fn check_lock(ms: u32) -> Result<(), OutOfBounds> {
    if ms == 0 || ms > LOCK_MS_MAX {
        return Err(OutOfBounds {
            setting: "lock_ms",
            value: ms.into(),
            least: 1,
            most: LOCK_MS_MAX.into(),
        });
    }
    Ok(())
}
