//! Why a subscription turns a command down.

use mulgil_record::facts::Columns;
use mulgil_record::ids::Offset;

use super::names::ConsumerId;

/// Why a subscription turns a command down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueRefusal {
    /// The lock ran out, the record is settled, or somebody else holds it.
    #[error("record {offset} is not held under this claim")]
    NotHeld {
        /// The first such record.
        offset: Offset,
    },
    /// The name of a consumer that is there is taken.
    #[error("consumer {consumer} is already attached")]
    AlreadyAttached {
        /// Which.
        consumer: ConsumerId,
    },
    /// No such consumer.
    #[error("consumer {consumer} is not attached")]
    NotAttached {
        /// Which.
        consumer: ConsumerId,
    },
    /// Somebody is there who wants to be the only one, or somebody is there already.
    #[error("consumer {holder} is attached, and one of the two is exclusive")]
    Exclusive {
        /// Who is there.
        holder: ConsumerId,
    },
    /// Records that were there already, or a stretch without any.
    #[error("records from {first} cannot be appended behind {end}")]
    OutOfOrder {
        /// What came.
        first: Offset,
        /// The end so far.
        end: Offset,
    },
    /// A record is not on its way to the dead-letter target.
    #[error("record {offset} is not being archived")]
    NotArchiving {
        /// The first such record.
        offset: Offset,
    },
    /// A record does not wait: it is held, settled, given up, or not there.
    #[error("record {offset} does not wait")]
    NotWaiting {
        /// Which.
        offset: Offset,
    },
    /// More records wait than may.
    #[error("{waiting} records wait, and no more than {most} may")]
    Full {
        /// How many wait.
        waiting: u64,
        /// How many may.
        most: u64,
    },
    /// More bytes wait than may.
    #[error("{waiting} bytes wait, {more} come, and no more than {most} may wait")]
    FullOfBytes {
        /// How many wait.
        waiting: u64,
        /// How many come.
        more: u64,
        /// How many may.
        most: u64,
    },
    /// Nobody knows how many bytes wait.
    #[error("the limit in bytes needs the sizes of records, and those are not tracked")]
    SizesNotTracked,
    /// A kind of facts that is not kept.
    #[error("facts of kind {} are not tracked", columns.0)]
    CannotTrack {
        /// Which, as bits.
        columns: Columns,
    },
    /// There is nothing yet at an offset.
    #[error("offset {to} is beyond the end, {end}")]
    BeyondEnd {
        /// Which.
        to: Offset,
        /// The end so far.
        end: Offset,
    },
    /// Going back needs facts that are gone.
    #[error("what is tracked of settled records is not known any more")]
    FactsUnknown,
    /// Both were to be tracked.
    #[error("records go by key or by priority, not by both")]
    KeysAndPriorities,
    /// Nothing was asked for.
    #[error("no records are asked for")]
    Nothing,
}
