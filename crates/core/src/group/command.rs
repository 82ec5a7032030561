//! What is asked of a group.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use mulgil_record::ids::TopicId;

use super::member::Offered;
use super::names::{Generation, InstanceId, MemberId, Waiter};
use super::offsets::{OffsetEntry, OffsetKey};

/// What is asked of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Become or stay a member, and wait for the next generation.
    Join(Box<Join>),
    /// Fetch the assignment; the leader brings all of them.
    Sync(Box<Sync>),
    /// Stay a member.
    Heartbeat(Claim),
    /// Members leave, or are removed by an operator.
    Leave(Vec<Leaving>),
    /// Keep offsets.
    CommitOffsets(Box<CommitOffsets>),
    /// Give offsets up.
    DeleteOffsets(DeleteOffsets),
    /// Give up the offsets of a topic that is deleted.
    ForgetTopic(TopicId),
    /// Give up offsets of topics that the members of a stable group have not read for the retention, one
    /// turn's worth of them.
    ExpireUnread(Subscribed),
    /// Do what is due.
    Tick,
    /// Delete the group, if it has no members.
    Delete,
}

/// Become or stay a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Where the answer goes.
    pub waiter: Waiter,
    /// The member's name; `None` for one that has none yet.
    pub member: Option<MemberId>,
    /// The name to give a member that has none: never used before, chosen by the shell.
    pub new_member: MemberId,
    /// Its name over restarts, if it is static.
    pub instance: Option<InstanceId>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// Where its client is.
    pub client_host: Arc<str>,
    /// What kind of group it takes this for.
    pub protocol_type: Arc<str>,
    /// What it can do, dearest first.
    pub offered: Vec<Offered>,
    /// How long it may be silent.
    pub session_timeout_ms: u32,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: u32,
    /// Whether a member without a name is sent back with one before it counts (KIP-394).
    pub require_known_member: bool,
    /// Whether a leader can be told to keep the assignment that stands (KIP-814).
    pub can_skip_assignment: bool,
}

/// Who speaks, and of which generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The member.
    pub member: MemberId,
    /// Its name over restarts, if it says.
    pub instance: Option<InstanceId>,
    /// The generation it believes in.
    pub generation: Generation,
}

/// Fetch the assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Where the answer goes.
    pub waiter: Waiter,
    /// Who asks.
    pub claim: Claim,
    /// The kind of group it takes this for, if it says.
    pub protocol_type: Option<Arc<str>>,
    /// The way of assigning it believes in, if it says.
    pub protocol: Option<Arc<str>>,
    /// From the leader: what each member gets. Members left out get nothing.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// One that leaves: named by itself, or by an operator through its instance alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// The member; `None` if only the instance is known.
    pub member: Option<MemberId>,
    /// Its name over restarts, if it is static.
    pub instance: Option<InstanceId>,
}

/// Keep offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffsets {
    /// Who commits; `None` for a consumer that takes no part in the group.
    pub member: Option<MemberId>,
    /// Its name over restarts, if it says.
    pub instance: Option<InstanceId>,
    /// The generation it believes in; negative for a consumer that takes no part in the group.
    pub generation: Generation,
    /// What to keep.
    pub entries: Vec<OffsetEntry>,
}

/// Give offsets up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsets {
    /// Which.
    pub keys: Vec<OffsetKey>,
    /// What the members read, which must stay; `None` if the asker cannot tell.
    pub subscribed: Option<Subscribed>,
}

/// What the members of a group read, as someone found out who understands their metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Of which generation this holds.
    pub generation: Generation,
    /// The topics.
    pub topics: Vec<TopicId>,
}
