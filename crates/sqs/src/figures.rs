//! What the door counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start.
#[derive(Debug, Default)]
pub struct SqsFigures {
    /// Requests answered.
    pub requests: AtomicU64,
    /// Requests refused because of what was asked.
    pub refused: AtomicU64,
    /// Requests that failed here.
    pub failed: AtomicU64,
    /// Messages taken.
    pub sent: AtomicU64,
    /// Bytes of their batches.
    pub sent_bytes: AtomicU64,
    /// Messages handed out.
    pub received: AtomicU64,
    /// Bytes of their bodies and attributes.
    pub received_bytes: AtomicU64,
    /// Messages deleted.
    pub deleted: AtomicU64,
    /// Connections that are open.
    pub connections: AtomicU64,
}

impl SqsFigures {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}
