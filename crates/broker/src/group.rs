//! Consumer groups, as doors ask for them: by name, in the group machine's own words.
//!
//! A door fills in a [`Command`] as its client meant it. What the machine calls a waiter is the
//! broker's business: whatever stands there is replaced, and the answer comes to the request.

use std::sync::Arc;

use bytes::Bytes;
pub use mulgil_core::group::{
    Claim, Command, CommitOffsets, Committed, DeleteOffsets, Effect, Generation, GroupRefusal,
    InstanceId, Join, Joined, JoinedMember, Leaving, Member, MemberId, Offered, OffsetEntry,
    OffsetKey, State, Subscribed, Sync, Waiter,
};

/// A group's name.
pub type GroupName = Arc<str>;

/// What a door asks.
#[derive(Debug)]
pub enum GroupRequest {
    /// Do something in a group. A join or a commit creates it.
    Command {
        /// Which group.
        group: GroupName,
        /// What to do.
        command: Command,
    },
    /// Give the offsets that a group has committed.
    Offsets {
        /// Which group.
        group: GroupName,
        /// Of what; `None` for all there are.
        keys: Option<Vec<OffsetKey>>,
    },
    /// Describe a group.
    Describe {
        /// Which group.
        group: GroupName,
    },
    /// Name all groups.
    List,
}

/// What a door is answered.
#[derive(Debug)]
pub enum GroupReply {
    /// To a command that was taken: [`Effect::Joined`] or [`Effect::Named`] to a join,
    /// [`Effect::Synced`] to a sync, and so on. Never [`Effect::Refused`].
    Done(Effect),
    /// To a command that was turned down.
    Refused(GroupRefusal),
    /// The broker is stopping: ask another, or later.
    Stopping,
    /// To a commit that the full disk has no room for.
    DiskFull,
    /// To [`GroupRequest::Offsets`]: those that are committed, by topic and partition. A group that does
    /// not exist has none.
    Offsets(Vec<(OffsetKey, Committed)>),
    /// To [`GroupRequest::Describe`]; `None` if there is no such group.
    Described(Option<Box<GroupPicture>>),
    /// To [`GroupRequest::List`], by name.
    Listed(Vec<GroupLine>),
}

/// A group, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPicture {
    /// Where it stands.
    pub state: State,
    /// The generation of its members.
    pub generation: Generation,
    /// What kind of group it is.
    pub protocol_type: Option<Arc<str>>,
    /// The way of assigning that was chosen.
    pub protocol: Option<Arc<str>>,
    /// Its members, each with its share.
    pub members: Vec<(Member, Bytes)>,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLine {
    /// Its name.
    pub group: GroupName,
    /// Where it stands.
    pub state: State,
    /// What kind of group it is.
    pub protocol_type: Option<Arc<str>>,
}
