//! Who holds which records until when, how often they were tried, and what waits for its time.
//!
//! What is handed out rides in the log with what comes next, so a crash may take it back. It is *sure* once
//! something is acknowledged that was asked for after it was told: the log has one order.

use mulgil_broker::subscription::{
    Acquired, LockEpoch, Outcome, Receipt, RetryPolicy, SubscriptionName,
};
use mulgil_core::machine::Now;

use super::{
    At, BTreeMap, Durability, Kept, Ledger, Offset, Outage, PartitionId, PartitionView, QueueView,
    RecordState, Rule, Tries, Violation,
};

/// How something was asked for that was then handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// By which client.
    pub client: usize,
    /// For how long it is locked, whatever becomes of the client; none if for as long as that is there.
    pub lock_ms: Option<u32>,
    /// When it was asked for, by running time.
    pub asked: u64,
}

/// A lock that somebody was told of.
#[derive(Clone, Copy, Debug)]
struct Lock {
    client: usize,
    epoch: LockEpoch,
    /// None: as long as the client is there.
    until: Option<u64>,
    tries: Tries,
    stamp: u64,
    sure: bool,
    /// Somebody has asked for its end.
    over: bool,
}

impl Lock {
    /// Until when nobody else gets the record.
    fn holds_until(&self) -> u64 {
        if self.over {
            0
        } else {
            self.until.unwrap_or(u64::MAX)
        }
    }
}

/// What is known of records that were handed out.
#[derive(Debug, Default)]
pub(super) struct Held {
    locks: BTreeMap<At, Lock>,
    /// Tries that no crash takes back.
    sure: BTreeMap<At, Tries>,
    /// Not before this by running time of this life.
    due: BTreeMap<At, u64>,
    /// First deliveries, by acquisition: the offsets of each.
    first: BTreeMap<(PartitionId, LockEpoch), (i64, i64)>,
}

fn broken(rule: Rule, at: At, what: &str) -> Kept {
    Err(Violation::new(rule, format!("p{}:{} {what}", at.0, at.1)))
}

impl Held {
    pub(super) fn surely_tried(&self, at: At) -> Tries {
        self.sure.get(&at).copied().unwrap_or_default()
    }

    fn is_sure(&mut self, at: At, tries: Tries) {
        let sure = self.sure.entry(at).or_default();
        sure.acquired = sure.acquired.max(tries.acquired);
        sure.failed = sure.failed.max(tries.failed);
    }

    /// All that was told before `stamp` is in the log.
    fn acknowledged(&mut self, stamp: u64) {
        let mut sure = Vec::new();
        for (at, lock) in &mut self.locks {
            if lock.stamp < stamp {
                lock.sure = true;
                sure.push((*at, lock.tries));
            }
        }
        for (at, tries) in sure {
            self.is_sure(at, tries);
        }
    }

    fn gave(&mut self, at: At, one: &Acquired, given: Given, now: u64, stamp: u64) -> Kept {
        let until = one.until.map(|until| until.0);
        // When it was handed out, or not after.
        let decided = match (until, given.lock_ms) {
            (Some(until), Some(ms)) => until.saturating_sub(ms.into()),
            _ => now,
        };
        if decided < given.asked {
            let what = format!("is locked until {until:?} only, which was asked as {given:?}");
            return broken(Rule::LockHolds, at, &what);
        }
        let before = self.locks.get(&at).copied();
        if before.is_some_and(|before| before.epoch >= one.epoch) {
            // This answer took longer than that to a later request.
            return Ok(());
        }
        if let Some(before) = before.filter(|before| before.holds_until() > decided) {
            let what = format!("is handed out at {decided} as {one:?} in spite of {before:?}");
            return broken(Rule::LockHolds, at, &what);
        }
        let mut least = self.surely_tried(at);
        if let Some(before) = before.filter(|before| before.epoch.leader == one.epoch.leader) {
            least.acquired = least.acquired.max(before.tries.acquired);
            least.failed = least.failed.max(before.tries.failed);
        }
        if one.tries.acquired <= least.acquired || one.tries.failed < least.failed {
            let what = format!("was tried {least:?}, and then is {:?}", one.tries);
            return broken(Rule::TriesKept, at, &what);
        }
        if let Some(due) = self.due.remove(&at).filter(|due| *due > decided) {
            let what = format!("is handed out at {decided}, and was to wait until {due}");
            return broken(Rule::NotEarly, at, &what);
        }
        let lock = Lock {
            client: given.client,
            epoch: one.epoch,
            until,
            tries: one.tries,
            stamp,
            sure: false,
            over: false,
        };
        self.locks.insert(at, lock);
        Ok(())
    }

    /// Offsets that are handed out for the first time go up with the number of the acquisition.
    fn gave_first(&mut self, one: &Acquired) -> Kept {
        if one.tries.acquired != 1 || one.span.is_empty() {
            return Ok(());
        }
        let (first, last) = (one.span.first.0, one.span.end.0 - 1);
        let key = |number| {
            let leader = one.epoch.leader;
            (one.partition, LockEpoch { leader, number })
        };
        let number = one.epoch.number;
        let earlier = self.first.range(key(0)..key(number)).next_back();
        let later = self
            .first
            .range(key(number)..)
            .find(|(at, _)| at.1.number > number);
        let later =
            later.filter(|(at, _)| at.0 == one.partition && at.1.leader == one.epoch.leader);
        let wrong = earlier.filter(|(_, (_, end))| *end >= first);
        let wrong = wrong.or_else(|| later.filter(|(_, (begin, _))| *begin <= last));
        if let Some(wrong) = wrong {
            let what = format!("is handed out by {:?}, and {wrong:?} before", one.epoch);
            return broken(Rule::FirstInOrder, (one.partition, Offset(first)), &what);
        }
        self.first.insert(key(number), (first, last));
        Ok(())
    }

    fn settles(&mut self, receipt: Receipt, outcome: &Outcome, now: Now) {
        let lock = self.locks.get_mut(&(receipt.partition, receipt.offset));
        let Some(lock) = lock.filter(|lock| lock.epoch == receipt.epoch) else {
            return;
        };
        match (outcome, lock.until) {
            (Outcome::Renew { lock_ms }, Some(until)) => {
                lock.until = Some(until.min(now.elapsed.0 + u64::from(*lock_ms)));
            }
            (Outcome::Renew { .. }, None)
            | (Outcome::Accept | Outcome::Release { .. } | Outcome::Reject { .. }, _) => {
                lock.over = true;
            }
        }
    }

    fn renewed(&mut self, receipt: Receipt, until: u64, stamp: u64) {
        let lock = self.locks.get_mut(&(receipt.partition, receipt.offset));
        if let Some(lock) = lock.filter(|lock| lock.epoch == receipt.epoch && !lock.over)
            && lock.until.is_some()
        {
            lock.until = Some(until);
            lock.stamp = stamp;
            lock.sure = false;
        }
    }

    pub(super) fn ended(&mut self, outage: Outage, syncs: bool, elapsed: u64) {
        self.due.clear();
        self.first.clear();
        // A start may go on with a running time from before the end of a lock that has ended.
        let stays = |lock: &Lock| {
            let sure = lock.sure || outage == Outage::Clean;
            sure && lock.until.is_some_and(|until| until > elapsed)
        };
        self.locks.retain(|_, lock| syncs && stays(lock));
        if !syncs {
            self.sure.clear();
        }
    }

    /// What is locked for sure is locked in a broker that has begun, and no tries are forgotten.
    pub(super) fn check_view(
        &self,
        found: &QueueView,
        (id, partition): (PartitionId, &PartitionView),
        elapsed: u64,
    ) -> Kept {
        let here = |at: &At| at.0 == id && at.1.0 >= partition.start;
        for (at, lock) in self.locks.iter().filter(|(at, _)| here(at)) {
            let holds = lock.sure && lock.until.is_some() && lock.holds_until() > elapsed;
            let standing = found.unsettled.get(at);
            // Where a topic did not sync once, offsets may hold nothing, and are not looked at.
            let mut batches = partition.found.iter();
            let there = batches.any(|batch| batch.base <= at.1.0 && at.1.0 <= batch.last);
            if holds && there && standing.is_none_or(|one| one.state != RecordState::Acquired) {
                let what = format!("is {standing:?} at {elapsed}, in spite of {lock:?}");
                return broken(Rule::LockHolds, *at, &what);
            }
        }
        for (at, sure) in self.sure.iter().filter(|(at, _)| here(at)) {
            let fewer = |is: &Tries| is.acquired < sure.acquired || is.failed < sure.failed;
            if let Some(is) = found.unsettled.get(at).filter(|one| fewer(&one.tries)) {
                let what = format!("was tried {sure:?} and is {is:?}");
                return broken(Rule::TriesKept, *at, &what);
            }
        }
        Ok(())
    }
}

impl Ledger {
    /// Records were handed out.
    ///
    /// # Errors
    ///
    /// If they were accepted before, or are another's, or come early, or are counted wrong.
    pub fn queue_gave(
        &mut self,
        name: &SubscriptionName,
        one: &Acquired,
        given: Given,
        now: Now,
    ) -> Kept {
        let stamp = self.queue_stamp();
        let Some(model) = self.queues.by_name.get_mut(name) else {
            return Ok(());
        };
        if model.subscription.id != one.subscription {
            return Ok(());
        }
        for offset in one.span.offsets() {
            let at = (one.partition, offset);
            // An answer may take longer than that to a later request.
            let newest = model.held.locks.get(&at);
            let late = newest.is_some_and(|lock| lock.epoch >= one.epoch);
            if model.accepted.contains(&at) && !late {
                return broken(
                    Rule::SettledOnce,
                    at,
                    "was accepted, and is handed out again",
                );
            }
            model.held.gave(at, one, given, now.elapsed.0, stamp)?;
        }
        model.held.gave_first(one)
    }

    /// The place in the order of what is told and asked.
    pub fn queue_stamp(&mut self) -> u64 {
        self.queues.stamps += 1;
        self.queues.stamps
    }

    /// Somebody asks to settle a record.
    pub fn queue_settles(
        &mut self,
        name: &SubscriptionName,
        receipt: Receipt,
        outcome: &Outcome,
        now: Now,
    ) {
        let Some(model) = self.queues.by_name.get_mut(name) else {
            return;
        };
        let at = (receipt.partition, receipt.offset);
        match outcome {
            Outcome::Accept => {
                model.asked.insert(at);
            }
            Outcome::Reject { .. } => {
                model.rejected.insert(at);
            }
            Outcome::Release { .. } | Outcome::Renew { .. } => {}
        }
        model.held.settles(receipt, outcome, now);
    }

    /// Somebody is told that a record is settled, who asked at `asked`, by order and by time.
    pub fn queue_settled(
        &mut self,
        name: &SubscriptionName,
        (receipt, tries): (Receipt, Tries),
        outcome: &Outcome,
        asked: (u64, Now),
    ) {
        let at = (receipt.partition, receipt.offset);
        let told = self.queue_stamp();
        let stepped = self.queues.clock_stepped;
        let level = self.level(at.0);
        let Some(model) = self.queues.by_name.get_mut(name) else {
            return;
        };
        if model.subscription.id != receipt.subscription {
            return;
        }
        let (syncs, held) = (level == Durability::Fsync, &mut model.held);
        let (stamp, now) = asked;
        match outcome {
            Outcome::Accept | Outcome::Reject { .. } => {
                if syncs {
                    held.acknowledged(stamp);
                    if *outcome == Outcome::Accept {
                        model.accepted.insert(at);
                    }
                }
            }
            Outcome::Release { failed, not_before } => {
                let mut tries = tries;
                tries.failed += u16::from(*failed);
                if syncs && *failed {
                    held.is_sure(at, tries);
                }
                let policy = match model.subscription.settings.retry {
                    RetryPolicy::Fixed { ms } if *failed => Some(ms),
                    RetryPolicy::AtOnce
                    | RetryPolicy::Fixed { .. }
                    | RetryPolicy::Linear { .. }
                    | RetryPolicy::Exponential { .. } => None,
                };
                // Who names a time names it by a clock of their own.
                let named = not_before.filter(|_| !stepped);
                let named = named.map(|due| due.0.saturating_sub(now.wall.0));
                let delay = if not_before.is_some() { named } else { policy };
                let later = held.locks.get(&at);
                let newer = later.is_some_and(|lock| lock.epoch > receipt.epoch);
                if let Some(delay) = delay.filter(|_| !newer) {
                    held.due.insert(at, now.elapsed.0 + delay);
                }
            }
            Outcome::Renew { lock_ms } => {
                held.renewed(receipt, now.elapsed.0 + u64::from(*lock_ms), told);
            }
        }
    }

    /// A client is gone, or its consumer; what it held for as long as it was there comes back.
    pub fn queue_left(&mut self, client: usize) {
        for model in self.queues.by_name.values_mut() {
            let locks = model.held.locks.values_mut();
            let bound = |lock: &&mut Lock| lock.client == client && lock.until.is_none();
            locks.filter(bound).for_each(|lock| lock.over = true);
        }
    }
}
