//! Why a group turns something down.

use super::names::{Generation, InstanceId, MemberId};

/// Why a command was turned down, or a waiting one in the end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefusal {
    /// There is no such group: never created, or deleted.
    #[error("the group does not exist")]
    NoSuchGroup,
    /// The name is too long.
    #[error("the group's name has {bytes} bytes, {max} are possible")]
    NameTooLong {
        /// How long it is.
        bytes: usize,
        /// The longest.
        max: usize,
    },
    /// No member of that name: it must join anew without one.
    #[error("the member is unknown")]
    UnknownMember,
    /// Another process has the same instance name and joined later.
    #[error("instance \"{instance}\" is held by another member")]
    FencedInstance {
        /// The name that both use.
        instance: InstanceId,
    },
    /// The member believes in another generation.
    #[error("generation is {current}, not {got}")]
    IllegalGeneration {
        /// What it believes in.
        got: Generation,
        /// The one that holds.
        current: Generation,
    },
    /// The members are to join again.
    #[error("a rebalance is in progress")]
    RebalanceInProgress,
    /// The kind of group differs, or there is no way of assigning that all members can do.
    #[error("what the member offers does not fit the group")]
    InconsistentProtocol,
    /// The session timeout is out of bounds.
    #[error("session timeout of {asked_ms} ms lies outside {min_ms} to {max_ms} ms")]
    SessionTimeout {
        /// What was asked.
        asked_ms: u32,
        /// The shortest.
        min_ms: u32,
        /// The longest.
        max_ms: u32,
    },
    /// The group has as many members as it may.
    #[error("the group has its {max} members")]
    Full {
        /// The most.
        max: usize,
    },
    /// The members say more of themselves, or the leader assigns more, than a group may keep.
    #[error("{bytes} bytes are over the limit of {max}")]
    TooLarge {
        /// How many came, with what is kept already.
        bytes: usize,
        /// The most.
        max: usize,
    },
    /// There are as many groups as there may be, and this would be one more.
    #[error("there are {max} consumer groups, which is as many as there may be")]
    TooManyGroups {
        /// The most.
        max: usize,
    },
    /// All groups together hold as much as they may, and this would be more.
    #[error(
        "names and offsets of all consumer groups may take {max} bytes, and this would be more"
    )]
    TooMuchHeld {
        /// The most, bytes.
        max: usize,
    },
    /// The same member asked again: this is the answer to its earlier request.
    #[error("a later request of member \"{member}\" took this one's place")]
    Superseded {
        /// The member.
        member: MemberId,
    },
    /// The note beside an offset is too long.
    #[error("metadata of {got} characters is over the limit of {max}")]
    MetadataTooLarge {
        /// What came.
        got: usize,
        /// The most.
        max: usize,
    },
    /// The group has members, so it cannot be deleted, nor its offsets if nobody knows what it reads.
    #[error("the group has {members} members")]
    NotEmpty {
        /// How many.
        members: usize,
    },
    /// The members read the topic, so its offsets stay.
    #[error("the group reads the topic")]
    TopicInUse,
}

impl GroupRefusal {
    /// Whether it is for what all groups hold together, and not for anything about this one.
    #[must_use]
    pub const fn is_for_want_of_room(&self) -> bool {
        matches!(self, Self::TooManyGroups { .. } | Self::TooMuchHeld { .. })
    }
}
