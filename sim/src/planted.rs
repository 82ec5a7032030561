//! Bugs that are put in on purpose, so that it is known that the simulation would find them.
//!
//! None of them is in the broker: each is a lie of the disk, a completion told too early, an entry
//! that replay is not shown, or an answer that is changed on its way.

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Planted {
    /// The lane is told that a frame is synced when it is only written.
    ReplyBeforeSync,
    /// Files are never synced.
    SyncSkipped,
    /// Another file is synced than the one that was written.
    SyncOfWrongFile,
    /// Names are never synced.
    NamesNotSynced,
    /// Recovery serves a tail without syncing it.
    TailTrusted,
    /// Recovery cuts one whole frame too many.
    FrameTooManyCut,
    /// What is known of producers is lost over a restart.
    DuplicatesForgotten,
    /// The ceilings of offsets are lost over a restart.
    CeilingsForgotten,
    /// The high watermark of a topic that syncs rises when its batch is written.
    WatermarkAtWrite,
    /// The index has the place of the batch before.
    IndexOffByOne,
    /// A batch is served although its bytes are damaged.
    DamageServed,
    /// The block of producer ids is lost over a restart.
    ProducerIdsForgotten,
    /// Log starts are lost over a restart.
    TrimsForgotten,
    /// Deletions of topics are lost over a restart.
    DeletionsForgotten,
    /// A start goes on with the leader epoch of the one before.
    EpochKept,
    /// A read that waits is not told that there is enough.
    WakeUpLost,
    /// Compaction gives up batches with the newest record of a key.
    NewestCompacted,
    /// Compaction does not keep the records that delete keys for their time.
    DeletionsHurried,
    /// Compaction leaves older records of a key.
    OlderLeft,
    /// The commit of an offset is acknowledged before it is durable.
    CommitToldEarly,
    /// Committed offsets are lost over a restart.
    CommitsForgotten,
    /// Numbers of generations that were given out are given again after a restart.
    GenerationsReused,
    /// The commit of a fenced member is taken.
    FencedCommitTaken,
    /// Deletions of groups are lost over a restart.
    GroupDeletionsForgotten,
    /// A member is told the share of another.
    SharesMixed,
    /// A join is never answered.
    JoinForgotten,
    /// What became of records of subscriptions is lost over a restart.
    SettlementsForgotten,
    /// Settlements are acknowledged before they are durable.
    SettledToldEarly,
    /// Locks that outlive their connection are lost over a restart.
    LocksForgotten,
    /// That records were released, and failed, is lost over a restart.
    FailuresForgotten,
    /// Records are locked for a moment only, whatever was asked.
    LocksCutShort,
    /// A record that is released for later is released at once.
    DelayIgnored,
    /// Of two stretches that are handed out together, each has the number of the other.
    DeliveriesMixed,
    /// That a record lies in the dead-letter topic is lost over a restart.
    BurialsForgotten,
    /// Records that are given up are dropped on their way.
    DeadLettersDropped,
    /// Records come to the dead-letter topic without a word of their death.
    DeathUntold,
    /// A queue gives back what a subscription still wants.
    ReclaimedTooFar,
    /// A full disk gets no checkpoints for the asking.
    RoomNotMade,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 38] = [
        Self::ReplyBeforeSync,
        Self::SyncSkipped,
        Self::SyncOfWrongFile,
        Self::NamesNotSynced,
        Self::TailTrusted,
        Self::FrameTooManyCut,
        Self::DuplicatesForgotten,
        Self::CeilingsForgotten,
        Self::WatermarkAtWrite,
        Self::IndexOffByOne,
        Self::DamageServed,
        Self::ProducerIdsForgotten,
        Self::TrimsForgotten,
        Self::DeletionsForgotten,
        Self::EpochKept,
        Self::WakeUpLost,
        Self::NewestCompacted,
        Self::DeletionsHurried,
        Self::OlderLeft,
        Self::CommitToldEarly,
        Self::CommitsForgotten,
        Self::GenerationsReused,
        Self::FencedCommitTaken,
        Self::GroupDeletionsForgotten,
        Self::SharesMixed,
        Self::JoinForgotten,
        Self::SettlementsForgotten,
        Self::SettledToldEarly,
        Self::LocksForgotten,
        Self::FailuresForgotten,
        Self::LocksCutShort,
        Self::DelayIgnored,
        Self::DeliveriesMixed,
        Self::BurialsForgotten,
        Self::DeadLettersDropped,
        Self::DeathUntold,
        Self::ReclaimedTooFar,
        Self::RoomNotMade,
    ];
}
