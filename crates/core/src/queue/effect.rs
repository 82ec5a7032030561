//! What a subscription asks of the world.

use alloc::sync::Arc;

use mulgil_record::ids::Offset;

use super::names::{ConsumerId, LockEpoch, Reason, Tries};
use super::span::Span;
use crate::machine::{Elapsed, WallTime};

/// What a subscription asks of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Records for a consumer, read and sent in this order.
    Deliver {
        /// To whom.
        consumer: ConsumerId,
        /// Which.
        span: Span,
        /// With an offset of them, the receipt.
        epoch: LockEpoch,
        /// How often each was tried, this time included among the acquired.
        tries: Tries,
        /// When the lock ends, if it does.
        until: Option<Elapsed>,
    },
    /// A grant for one time is over: it was served, or nothing came in time.
    GrantEnded {
        /// Whose.
        consumer: ConsumerId,
        /// Whether it got anything.
        served: bool,
    },
    /// Records are settled as was said.
    Settled {
        /// Which.
        span: Span,
    },
    /// Bring a record to the dead-letter target, and say [`super::Command::Archived`] in the frame
    /// that has it there.
    Archive(Death),
}

/// Why and how a record is given up: what the dead-letter target is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Where it lies.
    pub offset: Offset,
    /// Why it is given up.
    pub reason: Reason,
    /// How often it was tried.
    pub tries: Tries,
    /// Since when it is given up.
    pub at: WallTime,
    /// What its consumer said.
    pub words: Option<Arc<str>>,
}
