//! What the door counts: requests with their durations, messages, refusals, connections.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use mulgil_broker::figures::{Counted, Durations};

use crate::fault::{Fault, Kind};

/// All actions, by name.
pub const ACTIONS: [&str; 23] = [
    "AddPermission",
    "CancelMessageMoveTask",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "CreateQueue",
    "DeleteMessage",
    "DeleteMessageBatch",
    "DeleteQueue",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "ListMessageMoveTasks",
    "ListQueueTags",
    "ListQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "RemovePermission",
    "SendMessage",
    "SendMessageBatch",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
];

/// Counters since the start.
pub struct SqsFigures {
    /// A clock in microseconds, for durations alone.
    micros: Box<dyn Fn() -> u64 + Send + Sync>,
    /// By place in [`ACTIONS`].
    requests: Vec<Durations>,
    errors: Mutex<BTreeMap<&'static str, u64>>,
    /// Messages taken.
    pub sent: AtomicU64,
    /// Bytes of their batches.
    pub sent_bytes: AtomicU64,
    /// Messages handed out.
    pub received: AtomicU64,
    /// Bytes of their bodies.
    pub received_bytes: AtomicU64,
    /// Connections that are open.
    pub open: AtomicU64,
    /// Connections that were ever opened.
    pub opened: AtomicU64,
    /// Connections that were one too many.
    pub refused: AtomicU64,
}

impl fmt::Debug for SqsFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsFigures").finish_non_exhaustive()
    }
}

impl SqsFigures {
    /// Nothing is counted yet; durations are measured by `micros`, a clock in microseconds.
    pub fn new(micros: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            micros: Box::new(micros),
            requests: ACTIONS.iter().map(|_| Durations::default()).collect(),
            errors: Mutex::default(),
            sent: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            received: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            open: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// From a request to its answer, by action, for those that there were. Waits of long polls count.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, Counted)> {
        let counted = self.requests.iter().map(Durations::counted);
        let named = ACTIONS.into_iter().zip(counted);
        named.filter(|(_, counted)| counted.count > 0)
    }

    /// What was refused, by the name in the JSON protocol.
    #[must_use]
    pub fn errors(&self) -> Vec<(&'static str, u64)> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.iter().map(|(name, count)| (*name, *count)).collect()
    }

    pub(crate) fn now_us(&self) -> u64 {
        (self.micros)()
    }

    pub(crate) fn answered(&self, action: &str, began_us: u64) {
        let place = ACTIONS.binary_search(&action).ok();
        if let Some(durations) = place.and_then(|place| self.requests.get(place)) {
            durations.count(self.now_us().saturating_sub(began_us));
        }
    }

    pub(crate) fn refused(&self, fault: &Fault) {
        let name = Kind::name(fault.kind);
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry(name).or_default() += 1;
    }

    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_found_by_name() {
        assert!(ACTIONS.is_sorted());
        let figures = SqsFigures::new(|| 7);
        figures.answered("SendMessage", 5);
        figures.answered("Nothing", 5);
        figures.refused(&Fault::no_queue());
        let told: Vec<_> = figures.requests().collect();
        assert_eq!(
            (told.len(), told[0].0, told[0].1.sum),
            (1, "SendMessage", 2)
        );
        assert_eq!(figures.errors(), [("QueueDoesNotExist", 1)]);
    }
}
