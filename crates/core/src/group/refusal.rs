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
