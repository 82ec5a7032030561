//! How the state of a subscription moves: what the log keeps, and what a restart forgets.

use alloc::sync::Arc;

use mulgil_record::facts::Columns;
use mulgil_record::ids::{LeaderEpoch, Offset};

use super::command::{Append, LockTerm};
use super::names::{ConsumerId, LockEpoch, Reason};
use super::span::Span;
use crate::machine::{Elapsed, WallTime};

/// How the state of a subscription moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Kept in the log as the batch's own entry.
    Appended(Append),
    /// Kept in the log.
    Durable(Durable),
    /// Forgotten by a restart.
    Volatile(Volatile),
}

/// What the log keeps. [`super::wire`] has its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durable {
    /// Records were handed out once more.
    Acquired(Span),
    /// That, under a lock that outlives its connection.
    Locked {
        /// Which.
        span: Span,
        /// By whom.
        consumer: ConsumerId,
        /// The acquisition.
        epoch: LockEpoch,
        /// Until when, by running time.
        until: Elapsed,
    },
    /// A lock that outlives its connection has another end.
    Renewed {
        /// Of which.
        span: Span,
        /// Until when, by running time.
        until: Elapsed,
    },
    /// Records are done.
    Accepted(Span),
    /// Records that were held are not any more.
    Released {
        /// Which.
        span: Span,
        /// Whether it counts as a failed try.
        failed: bool,
        /// Not handed out before.
        not_before: Option<WallTime>,
    },
    /// Records are given up, and on their way to the dead-letter target.
    Condemned {
        /// Which.
        span: Span,
        /// Why.
        reason: Reason,
        /// Since when.
        at: WallTime,
        /// Whether it counts as a failed try.
        failed: bool,
        /// What the consumer said.
        words: Option<Arc<str>>,
    },
    /// Records are given up and gone.
    Archived {
        /// Which.
        span: Span,
        /// Why.
        reason: Reason,
        /// Whether the dead-letter target has them.
        moved: bool,
    },
    /// Scheduled records whose time has come, oldest first.
    Fired {
        /// The time.
        until: WallTime,
        /// No more than so many.
        most: u32,
    },
    /// Records that waited wait for another time.
    Scheduled {
        /// Which.
        span: Span,
        /// The time.
        due: WallTime,
    },
    /// Records that have expired by themselves, oldest first. Those that are held are given up when they
    /// come back.
    Expired {
        /// The time.
        until: WallTime,
        /// No more than so many.
        most: u32,
    },
    /// All records below an offset are too old for the queue.
    Aged {
        /// The first that is not.
        to: Offset,
    },
    /// The log gave up all below.
    Trimmed {
        /// The first that is still there.
        to: Offset,
    },
    /// Records are gone by somebody's word.
    Purged(Span),
    /// What is settled from an offset on is available again, and nothing below.
    Sought {
        /// The offset.
        to: Offset,
        /// When: ages begin anew.
        at: WallTime,
    },
    /// From here on ids of records are known for so long, or no more.
    Deduplicating {
        /// How long, milliseconds; never 0.
        window_ms: Option<u64>,
    },
    /// From here on these facts of records are kept, and no others.
    Tracking(Columns),
}

/// What a restart forgets: who is there, and what is locked for as long as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volatile {
    /// A leadership began.
    Led(LeaderEpoch),
    /// A consumer is there.
    Attached {
        /// Which.
        consumer: ConsumerId,
        /// Its place in the order of serving.
        priority: i32,
        /// Whether it is the only one.
        exclusive: bool,
        /// How it locks what it gets.
        lock: LockTerm,
        /// Whether it goes with its grant.
        once: bool,
        /// Whether it may get several records of one key at once.
        keys_together: bool,
    },
    /// A consumer can take more.
    Granted {
        /// Which.
        consumer: ConsumerId,
        /// How many.
        credit: u32,
        /// How long it waits for the first, if that is all it takes.
        once_until: Option<Elapsed>,
    },
    /// A consumer has no credit any more, and is gone if it came for this grant alone.
    Ended {
        /// Which.
        consumer: ConsumerId,
    },
    /// A consumer is gone.
    Detached {
        /// Which.
        consumer: ConsumerId,
        /// Whether what it held failed by that.
        failed: bool,
    },
    /// All that a gone consumer held has come back.
    Forgotten {
        /// Which.
        consumer: ConsumerId,
    },
    /// Records are held by an attached consumer.
    Locked {
        /// Which.
        span: Span,
        /// By whom.
        consumer: ConsumerId,
        /// The acquisition.
        epoch: LockEpoch,
        /// Until when at most.
        until: Option<Elapsed>,
    },
    /// Records that were held are not any more, and nothing else came of it.
    Unlocked {
        /// Which.
        span: Span,
    },
    /// A record waits behind another one of its key.
    Parked {
        /// Which.
        offset: Offset,
    },
    /// Keys that are free were searched for the first record that waits, a bounded part of it.
    Searched,
    /// Records are held until another time.
    Renewed {
        /// Which.
        span: Span,
        /// Until when.
        until: Elapsed,
    },
    /// The shell was asked to bring a record to the dead-letter target.
    Asked {
        /// Which.
        offset: Offset,
    },
    /// It could not, and is asked again later.
    Delayed {
        /// Which.
        offset: Offset,
        /// When.
        until: Elapsed,
    },
}
