//! How the state of a group moves: what the log keeps, and what a restart forgets.

use alloc::sync::Arc;
use alloc::vec::Vec;

use mulgil_record::ids::TopicId;

use super::member::{Member, Settlement};
use super::names::{Generation, MemberId, Waiter};
use super::offsets::{Committed, OffsetKey};
use crate::machine::{Elapsed, WallTime};

/// How the state of a group moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Kept in the log.
    Durable(Durable),
    /// Forgotten by a restart.
    Volatile(Volatile),
}

/// What the log keeps. [`super::wire`] has its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durable {
    /// The group exists.
    Created {
        /// When.
        at: WallTime,
    },
    /// A generation's number is given out, and never again.
    ///
    /// Kafka persists the number only with the assignment, so a restart in between gives it to two
    /// different sets of members; here the members of the first are fenced.
    Begun {
        /// Which.
        generation: Generation,
    },
    /// A rebalance is finished: by the leader's assignment, or because no member is left.
    Settled(Arc<Settlement>),
    /// A static member came back under another name and keeps what it had.
    Replaced {
        /// Its name before.
        old: MemberId,
        /// What it is known as.
        member: Arc<Member>,
    },
    /// Offsets are kept.
    OffsetsCommitted(Vec<(OffsetKey, Committed)>),
    /// Offsets are given up.
    OffsetsDeleted(Vec<OffsetKey>),
    /// All offsets of a topic are given up.
    TopicForgotten(TopicId),
    /// The group is no more.
    Deleted,
}

impl Durable {
    /// Whether it is about committed offsets and nothing else; the log files these apart.
    #[must_use]
    pub const fn is_about_offsets(&self) -> bool {
        match self {
            Self::OffsetsCommitted(_) | Self::OffsetsDeleted(_) | Self::TopicForgotten(_) => true,
            Self::Created { .. }
            | Self::Begun { .. }
            | Self::Settled(_)
            | Self::Replaced { .. }
            | Self::Deleted => false,
        }
    }
}

/// What a restart forgets: parked requests, sessions, and rebalances under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volatile {
    /// A name was given out; whoever got it has yet to come back.
    Pended {
        /// The name.
        member: MemberId,
        /// Until when.
        until: Elapsed,
    },
    /// Whoever got the name did not come back, or gave it up.
    PendingDropped {
        /// The name.
        member: MemberId,
    },
    /// A member, new or known, waits for the next generation.
    Parked {
        /// The member as it now describes itself.
        member: Arc<Member>,
        /// What kind of group it takes this for; holds if it is the first.
        protocol_type: Arc<str>,
        /// Where its answer goes.
        waiter: Waiter,
        /// If it is new, how long it may wait.
        until: Elapsed,
    },
    /// A member is gone.
    Left {
        /// Which.
        member: MemberId,
    },
    /// A static member came back under another name; the log need not know yet.
    Swapped {
        /// Its name before.
        old: MemberId,
        /// What it is known as.
        member: Arc<Member>,
    },
    /// A sign of life.
    Beaten {
        /// Whose.
        member: MemberId,
        /// Until when it may be silent.
        until: Elapsed,
    },
    /// Members are to join again.
    Prepared {
        /// Until when they may.
        until: Elapsed,
        /// The first members of an empty group are given time to gather.
        initial: Option<Initial>,
        /// When it began; sessions of members that had waited start here.
        at: Elapsed,
    },
    /// More time to join.
    Extended {
        /// Until when.
        until: Elapsed,
        /// What is left of the time to gather.
        left_ms: u32,
    },
    /// All have joined, and the leader is asked.
    Gathered {
        /// The generation that begins.
        generation: Generation,
        /// The way of assigning that was chosen.
        protocol: Arc<str>,
        /// Who assigns.
        leader: MemberId,
        /// Until when members may fetch their share.
        sync_by: Elapsed,
        /// When it began; all sessions start here.
        at: Elapsed,
    },
    /// A member waits for its share.
    SyncParked {
        /// Which.
        member: MemberId,
        /// Where its answer goes.
        waiter: Waiter,
    },
    /// A member has asked for its share.
    SyncSeen {
        /// Which.
        member: MemberId,
    },
    /// Sessions that had no end, as after a restart, start here.
    Rebased {
        /// When.
        at: Elapsed,
    },
    /// Offsets were looked over for expiry.
    Swept {
        /// When to look again.
        next: WallTime,
        /// Where to go on, if the look was broken off.
        from: Option<OffsetKey>,
    },
}

/// Time to gather, for the first members of an empty group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initial {
    /// By how much it can still be prolonged.
    pub left_ms: u32,
    /// Whether someone came since it was last prolonged.
    pub more: bool,
}
