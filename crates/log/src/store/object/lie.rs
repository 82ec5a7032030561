//! Mistakes that a store of whole objects makes on purpose, so that it is known that they are found.
//!
//! Each is one that a careless protocol over an object store would make. Callers are told that all went
//! well.

/// A planted mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectLie {
    /// What is stored is told as durable before the head names it.
    AckBeforeCommit,
    /// A commit does not compare the incarnation: it writes the head as the broker knows it.
    IncarnationNotCompared,
    /// A commit does not compare the head's revision: one that arrives late puts the head back.
    RevisionNotCompared,
    /// A takeover reads the head, and bumps the incarnation only after that.
    HeadBeforeBump,
    /// A PUT that got lost is taken for done.
    LostPutTaken,
    /// A commit whose answer is lost is taken for done.
    TimeoutTaken,
    /// Objects are committed past one that is not stored yet.
    GapCommitted,
    /// A takeover takes in what lies in the bucket behind the last committed object.
    OrphansRead,
    /// Names of groups do not say the incarnation, so that two brokers use the same.
    GroupNamesShared,
    /// Names of other chunks do not say the incarnation.
    ChunkNamesShared,
}

impl ObjectLie {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::AckBeforeCommit,
        Self::IncarnationNotCompared,
        Self::RevisionNotCompared,
        Self::HeadBeforeBump,
        Self::LostPutTaken,
        Self::TimeoutTaken,
        Self::GapCommitted,
        Self::OrphansRead,
        Self::GroupNamesShared,
        Self::ChunkNamesShared,
    ];
}
