//! A broken promise: which invariant, and what was seen.

use core::fmt;

/// An invariant of the broker. The text of each is in `docs/internals/simulation.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// What was acknowledged, or read by anybody, is there as long as its level promises.
    KeptRecords,
    /// What is read is what was produced for this partition, byte for byte.
    AsProduced,
    /// A producer's records lie in the order in which it sent them, without holes.
    Order,
    /// A batch of an idempotent producer is there once.
    NoDuplicate,
    /// An offset never stands for two batches.
    OffsetOnce,
    /// An answer about a partition never goes back behind an earlier one.
    NeverBack,
    /// A read gives what is there from the wanted offset on, and skips nothing.
    ReadsAll,
    /// An idempotent producer that does nothing wrong is never refused.
    Sequence,
    /// Every start has a leader epoch above all that anybody saw.
    EpochRises,
    /// A producer id is given once.
    ProducerIdOnce,
    /// Topics are as acknowledged, or as a change under way makes them.
    Topics,
    /// Of a key of a compacted topic, only the newest record is left in the end.
    Compacted,
    /// Records are given up only when somebody asked for it.
    OnlyTrimmed,
    /// What one request writes is there wholly or not at all.
    OneFrame,
    /// Replaying the log gives the machines that ran.
    LawOfRestart,
    /// Every request is answered, and a read that has enough is answered at once.
    Answered,
    /// A start works unless the disk was damaged.
    Starts,
    /// A damaged disk is reported; only what is reported is lost, and nothing wrong is served.
    Damage,
    /// A broker that was taken over tells nothing that its successor does not have, and commits nothing.
    ZombieSilent,
    /// A committed offset that was told is there, and gives way only to a later change of it.
    Committed,
    /// The number of a generation is told to one set of members only.
    GenerationOnce,
    /// A share is given to one member, as one leader assigned it.
    OneOwner,
    /// The commit of a member that is fenced is not taken.
    Fenced,
    /// What was accepted from a subscription is not handed out again.
    SettledOnce,
    /// A record waits in its subscriptions until somebody accepts it, and a subscription is there as long
    /// as its topic.
    QueueKept,
    /// A lock that was told holds until its end, over connections and restarts: nobody else gets the record.
    LockHolds,
    /// How often a record was tried, and failed, is never counted less than what was surely written.
    TriesKept,
    /// What waits for its time is not handed out before, by running time.
    NotEarly,
    /// Records of a partition are handed out for the first time in their order.
    FirstInOrder,
    /// A record that was given up is in its source or in the dead-letter topic, and tells there why.
    OneGrave,
    /// A queue gives back only what all of its subscriptions have settled.
    Reclaimed,
    /// When room has been made on a full disk, it is found, and appends are taken again.
    RoomAgain,
    /// The code does not panic.
    NoPanic,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant is broken.
    pub rule: Rule,
    /// What shows it.
    pub what: String,
}

impl Violation {
    /// A violation of `rule`.
    #[must_use]
    pub fn new(rule: Rule, what: impl Into<String>) -> Self {
        Self {
            rule,
            what: what.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Whether a step kept all promises.
pub type Kept = Result<(), Violation>;
