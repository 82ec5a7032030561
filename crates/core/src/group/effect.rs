//! What a group answers, and to whom.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::names::{Generation, InstanceId, MemberId, Waiter};
use super::refusal::GroupRefusal;

/// What a decision tells the shell to answer.
///
/// Those with a [`Waiter`] answer the join or sync that brought it, perhaps long ago. The others
/// answer the command that was just decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// To a join: the next generation has begun.
    Joined(Box<Joined>),
    /// To a join: come back with this name (KIP-394).
    Named {
        /// Whose answer this is.
        waiter: Waiter,
        /// The name.
        member: MemberId,
    },
    /// To a sync: the member's share.
    Synced {
        /// Whose answer this is.
        waiter: Waiter,
        /// What kind of group this is.
        protocol_type: Option<Arc<str>>,
        /// The way of assigning.
        protocol: Option<Arc<str>>,
        /// The share; empty if the leader gave none.
        assignment: Bytes,
    },
    /// To a join or sync that could not be answered as hoped.
    Refused {
        /// Whose answer this is.
        waiter: Waiter,
        /// Why.
        why: GroupRefusal,
    },
    /// To a heartbeat.
    Alive {
        /// Whether the member must join again.
        rebalancing: bool,
    },
    /// To a leave: what became of each, in order.
    Left(Vec<Result<(), GroupRefusal>>),
    /// To a commit of offsets: what became of each, in order.
    Committed(Vec<Result<(), GroupRefusal>>),
    /// To a deletion of offsets: what became of each, in order.
    OffsetsDeleted(Vec<Result<(), GroupRefusal>>),
    /// To a look for offsets that nobody reads: one turn's worth was looked at.
    UnreadExpired {
        /// Whether there is more to look at, by the same command.
        more: bool,
    },
    /// The group is gone, on demand or because nothing in it was left: drop the machine and its name.
    Deleted,
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Whose answer this is.
    pub waiter: Waiter,
    /// The member's name.
    pub member: MemberId,
    /// The generation that has begun.
    pub generation: Generation,
    /// What kind of group this is.
    pub protocol_type: Option<Arc<str>>,
    /// The way of assigning that was chosen.
    pub protocol: Option<Arc<str>>,
    /// Who assigns.
    pub leader: Option<MemberId>,
    /// For the leader: who is to be assigned to. Empty for all others.
    pub members: Vec<JoinedMember>,
    /// Whether the leader keeps the assignment that stands (KIP-814).
    pub skip_assignment: bool,
}

/// One of those whom the leader assigns to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its name.
    pub member: MemberId,
    /// Its name over restarts, if it is static.
    pub instance: Option<InstanceId>,
    /// What it wants the leader to know.
    pub metadata: Bytes,
}
