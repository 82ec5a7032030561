//! What a subscription calls those it deals with, and what it hands out.

use core::fmt;

use mulgil_record::ids::{LeaderEpoch, Offset};

/// Names one consumer: an attached reader with credit. The shell gives it, and gives none twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one acquisition. With the offset it is the receipt of a record: it outlives the connection,
/// and a restart if the lock does. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockEpoch {
    /// Under which leadership.
    pub leader: LeaderEpoch,
    /// Which acquisition of it.
    pub number: u64,
}

/// How often a record was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// How often it was acquired; stays at 65,535.
    pub acquired: u16,
    /// How often that ended without anybody saying that it was not the record's fault.
    pub failed: u16,
}

/// Why a record is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Its consumer said so.
    Rejected = 0,
    /// It was tried too often.
    DeliveryLimit = 1,
    /// It expired.
    Expired = 2,
    /// The queue was full.
    Overflow = 3,
    /// It is too old to be tried again.
    TooOld = 4,
    /// It was cancelled before it was due.
    Cancelled = 5,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Rejected,
        Self::DeliveryLimit,
        Self::Expired,
        Self::Overflow,
        Self::TooOld,
        Self::Cancelled,
    ];

    /// The number that stands for it in what is written down.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What `code` stands for.
    #[must_use]
    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rejected => "rejected",
            Self::DeliveryLimit => "delivery limit",
            Self::Expired => "expired",
            Self::Overflow => "overflow",
            Self::TooOld => "too old",
            Self::Cancelled => "cancelled",
        })
    }
}

/// A record that is not settled, as who browses sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Browsed {
    /// Where it lies.
    pub offset: Offset,
    /// Where it stands.
    pub state: RecordState,
    /// How often it was tried.
    pub tries: Tries,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// Anybody with credit may have it.
    Available,
    /// Somebody holds it.
    Acquired,
    /// It waits for its time.
    Scheduled,
    /// It is given up, and on its way to the dead-letter target.
    Archiving,
    /// Acknowledged, archived, or never meant for this subscription.
    Settled,
    /// Not here: not appended yet.
    Unknown,
}
