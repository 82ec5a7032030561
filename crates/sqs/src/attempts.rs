//! What is remembered for a while of messages that were received: which belonged to one attempt, and when each was
//! received first. All of it may be forgotten: an attempt then is a new one, and a first time is now.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mulgil_broker::subscription::{
    Claim, Outcome, Receipt, Settle, Settlement, SubscriptionRef, SubscriptionReply,
    SubscriptionRequest,
};
use mulgil_record::ids::SubscriptionId;
use serde_json::Value;

use crate::door::{Door, Queue, refused, unexpected};
use crate::fault::Fault;

/// How long an attempt is remembered, ms (API reference, `ReceiveMessage`).
const ATTEMPT_MS: u64 = 5 * 60 * 1_000;
/// Bytes of all answers that are remembered, about, and how many.
const ATTEMPTS_BYTES_MAX: usize = 32 << 20;
const ATTEMPTS_MAX: usize = 10_000;
/// Messages of which it is remembered when they were received first: about 80 bytes each.
const SEEN_MAX: usize = 100_000;

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A receive that may be tried again.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) answer: Value,
    pub(crate) bytes: usize,
    /// When, ms of running time.
    pub(crate) at: u64,
}

type AttemptKey = (SubscriptionId, String);

/// Attempts of the last minutes.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    attempts: BTreeMap<AttemptKey, Attempt>,
    oldest: VecDeque<(AttemptKey, u64)>,
    bytes: usize,
}

impl Known {
    fn remove(&mut self, key: &AttemptKey) -> Option<Attempt> {
        let gone = self.attempts.remove(key)?;
        self.bytes -= gone.bytes;
        Some(gone)
    }
}

impl Attempts {
    pub(crate) fn keep(&self, subscription: SubscriptionId, id: &str, attempt: Attempt) {
        if attempt.bytes > ATTEMPTS_BYTES_MAX / 2 {
            return;
        }
        let mut known = lock(&self.0);
        let (key, at) = ((subscription, id.to_owned()), attempt.at);
        known.remove(&key);
        known.bytes += attempt.bytes;
        known.oldest.push_back((key.clone(), at));
        known.attempts.insert(key, attempt);
        while known.bytes > ATTEMPTS_BYTES_MAX || known.oldest.len() > ATTEMPTS_MAX {
            let Some((key, at)) = known.oldest.pop_front() else {
                break;
            };
            // It may have been kept anew since.
            if known.attempts.get(&key).is_some_and(|one| one.at == at) {
                known.remove(&key);
            }
        }
    }

    fn take(&self, subscription: SubscriptionId, id: &str, now: u64) -> Option<Attempt> {
        let found = lock(&self.0).remove(&(subscription, id.to_owned()))?;
        (now < found.at + ATTEMPT_MS).then_some(found)
    }
}

/// When messages were received first, where somebody asks for that.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<SeenKnown>);

#[derive(Debug, Default)]
struct SeenKnown {
    first: BTreeMap<(SubscriptionId, u64, i64), u64>,
    oldest: VecDeque<(SubscriptionId, u64, i64)>,
}

impl Seen {
    /// When a message was received first, as far as that is known.
    pub(crate) fn first_ms(&self, receipt: Receipt, acquired: u16, now_ms: u64) -> u64 {
        let key = (receipt.subscription, receipt.partition.0, receipt.offset.0);
        let mut known = lock(&self.0);
        if acquired > 1
            && let Some(first) = known.first.get(&key)
        {
            return *first;
        }
        if known.first.insert(key, now_ms).is_none() {
            known.oldest.push_back(key);
        }
        while known.oldest.len() > SEEN_MAX {
            if let Some(oldest) = known.oldest.pop_front() {
                known.first.remove(&oldest);
            }
        }
        now_ms
    }
}

impl Door {
    /// What an attempt got, if all of it is still held; the locks begin anew.
    pub(crate) async fn same_attempt(
        &self,
        queue: &Queue,
        id: &str,
        lock_ms: u32,
    ) -> Result<Option<Value>, Fault> {
        let now = self.broker.now().elapsed.0;
        let subscription = queue.subscription.id;
        let Some(mut attempt) = self.attempts.take(subscription, id, now) else {
            return Ok(None);
        };
        let items = attempt.receipts.iter().map(|receipt| Settlement {
            claim: Claim::Receipt(receipt.epoch),
            ..Settlement::of(*receipt, Outcome::Renew { lock_ms })
        });
        let ask = SubscriptionRequest::Settle(Settle {
            subscription: SubscriptionRef::Id(subscription),
            items: items.collect(),
        });
        let SubscriptionReply::Settled(settled) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        let settled = settled.map_err(|why| refused(&why))?;
        if settled.iter().any(Result::is_err) {
            return Ok(None);
        }
        let answer = attempt.answer.clone();
        attempt.at = now;
        self.attempts.keep(subscription, id, attempt);
        Ok(Some(answer))
    }
}
