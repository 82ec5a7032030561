//! What is asked of a subscription.

use alloc::sync::Arc;

use mulgil_record::facts::{Columns, Facts};
use mulgil_record::ids::{LeaderEpoch, Offset};

use super::names::{ConsumerId, LockEpoch};
use super::span::Span;
use crate::machine::{Elapsed, WallTime};

/// What is asked of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A leadership begins: receipts are told apart by it. Once after each start.
    Lead(LeaderEpoch),
    /// Keep these facts of the records that come from here on, and no others: priorities or ordering keys,
    /// by which records are then handed out, and sizes, which limits in bytes need. A subscription begins with
    /// none.
    ///
    /// By key: while a record is held, or waits to be tried again, no other one of its key is handed out.
    Track(Columns),
    /// Of records with one id that come within so many milliseconds the first is handed out alone, whatever
    /// became of it: the others are settled as they come. A subscription begins without; a window of nothing
    /// is none. Another window holds for ids that come from then on.
    Deduplicate {
        /// How long.
        window_ms: Option<u64>,
    },
    /// Records were appended to the log.
    Append(Append),
    /// A consumer wants records. It gets none before it grants credit.
    Attach(Attach),
    /// A consumer can take more records.
    Grant(Grant),
    /// A consumer takes no more than it holds.
    Revoke(ConsumerId),
    /// A consumer is gone; what it held under locks bound to it comes back.
    Detach {
        /// Which.
        consumer: ConsumerId,
        /// Whether that counts as a failed try of what it held.
        failed: bool,
    },
    /// One consumer that comes, takes what there is or waits for a while, and goes.
    Pull(Pull),
    /// Somebody says what came of records.
    Settle(Settle),
    /// The dead-letter target has these records, in this very frame.
    Archived(Span),
    /// A record could not be brought to the dead-letter target.
    NotArchived {
        /// Which.
        offset: Offset,
        /// Why.
        why: NotArchived,
    },
    /// A record that waits is to wait for another time, or for none.
    Schedule {
        /// Which.
        offset: Offset,
        /// Not handed out before this; at once if that is past.
        due: WallTime,
    },
    /// A record that waits for its time is not to come at all.
    Cancel {
        /// Which.
        offset: Offset,
    },
    /// Records that nobody holds are taken by the shell, which in this very frame has them elsewhere. They
    /// count as accepted.
    Take(Span),
    /// Everything that waits is to go: what is available, scheduled or expired. What is on its way to the
    /// dead-letter target stays on it.
    Purge {
        /// Whether what is held is to go, too; whoever holds it can settle it no more.
        held: bool,
    },
    /// Everything from an offset on is to be handed out, what is settled once more, and nothing below. What is
    /// held, scheduled or given up from there on stays so; whoever holds something below can settle it no more.
    ///
    /// What comes back counts as appended now and as never tried, and has no delay or expiry of its own. Offsets that
    /// hold nothing come back, too: the shell finds nothing there. Going back is refused where facts are tracked, as
    /// those of settled records are not known any more.
    Seek {
        /// The offset, which the log still has.
        to: Offset,
    },
    /// The log gave up all below an offset.
    Trim {
        /// The first that is still there.
        to: Offset,
    },
    /// Do what is due, and hand records out. The shell asks whenever [`deadline`] has come, and that
    /// is at once when there are records and somebody who wants them.
    ///
    /// [`deadline`]: crate::machine::Machine::deadline
    Tick,
}

/// Records were appended to the log. The change that comes of it is not written: the batch's own
/// entry, with its facts, is what a restart replays it from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Their offsets. Offsets that were left out before them hold nothing.
    pub span: Span,
    /// When, as the batch's frame has it.
    pub at: WallTime,
    /// What is known of each, if the topic has facts.
    pub facts: Option<Arc<Facts>>,
    /// By which of the verdicts among these a filter says whether a record is for this subscription; those
    /// that it does not select are settled as they come. All are for it without one, or where there is no
    /// verdict.
    pub filter: Option<u16>,
}

impl Append {
    /// Whether the record at place `index` is for the subscription.
    #[must_use]
    pub fn is_selected(&self, index: usize) -> bool {
        let (Some(filter), Some(facts)) = (self.filter, &self.facts) else {
            return true;
        };
        facts.verdict(index, filter.into()) != Some(false)
    }

    /// The stretches of offsets of which all are, or none is, for the subscription: records that the filter
    /// does not select are not, nor are those at the places of `again`, which rise.
    pub(super) fn stretches(&self, again: &[Again]) -> impl Iterator<Item = (bool, i64, i64)> {
        let (mut from, mut index) = (self.span.first.0, 0);
        let end = self.span.end.0;
        let judged = (self.filter.is_some() && self.facts.is_some()) || !again.is_empty();
        let is_new = |index: usize| again.binary_search_by_key(&index, |one| one.index).is_err();
        let is_wanted = move |index: usize| self.is_selected(index) && is_new(index);
        core::iter::from_fn(move || {
            if from >= end {
                return None;
            }
            let (first, selected) = (from, is_wanted(index));
            if judged {
                while from < end && is_wanted(index) == selected {
                    (from, index) = (from + 1, index + 1);
                }
            } else {
                from = end;
            }
            Some((selected, first, from))
        })
    }
}

/// A record whose id came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// Its place among those that are appended.
    pub index: usize,
    /// The first with that id.
    pub first: Offset,
}

/// For how long records are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockTerm {
    /// As long as the consumer is attached.
    Attached,
    /// That, and no longer than so many milliseconds.
    AttachedFor(u32),
    /// So many milliseconds, whatever becomes of the consumer or of the broker.
    Outliving(u32),
}

impl LockTerm {
    pub(super) fn until(self, now: Elapsed) -> Option<Elapsed> {
        match self {
            Self::Attached => None,
            Self::AttachedFor(ms) | Self::Outliving(ms) => Some(now.plus_ms(ms)),
        }
    }
}

/// A consumer wants records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Its name.
    pub consumer: ConsumerId,
    /// Those with more are served first, as long as they have credit.
    pub priority: i32,
    /// Whether it wants to be the only one.
    pub exclusive: bool,
    /// How it locks what it gets.
    pub lock: LockTerm,
}

/// A consumer can take more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which.
    pub consumer: ConsumerId,
    /// How many more than before.
    pub credit: u32,
    /// If set, what is there when something is there is all it gets, and it waits no longer than this;
    /// then all its credit is gone.
    pub once_until: Option<Elapsed>,
}

/// Take what there is, or wait for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pull {
    /// A name for this one pull.
    pub consumer: ConsumerId,
    /// How many records at most.
    pub credit: u32,
    /// How long they are locked; such a lock always outlives.
    pub lock_ms: u32,
    /// How long to wait for the first.
    pub until: Elapsed,
    /// Whether it may get several records of one key, in their order. Others wait until all are settled.
    pub keys_together: bool,
}

/// By what right somebody settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The consumer that holds the record.
    Holder(ConsumerId),
    /// The acquisition under which it is held.
    Receipt(LockEpoch),
    /// Any acquisition there ever was: the record need only be unsettled. For [`Outcome::Accept`] of
    /// one record alone; otherwise it is as [`Claim::Receipt`].
    OldReceipt(LockEpoch),
}

/// What came of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They are done.
    Accept,
    /// They are to be tried again.
    Release {
        /// Whether this was a failed try of theirs.
        failed: bool,
        /// Not before this; if not said and the try failed, the retry policy says.
        not_before: Option<WallTime>,
    },
    /// They are given up.
    Reject {
        /// What the consumer says of it.
        words: Option<Arc<str>>,
    },
    /// They need more time.
    Renew {
        /// From here on, milliseconds.
        lock_ms: u32,
    },
}

/// Somebody says what came of records. All of them, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Who says so.
    pub claim: Claim,
    /// Of which.
    pub span: Span,
    /// What came of them.
    pub outcome: Outcome,
}

/// Why a record could not be brought to the dead-letter target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotArchived {
    /// There is no such target. The record is dropped, and counted.
    TargetMissing,
    /// The target takes no more at present. The record stays, and is tried again later and later.
    TargetFull,
    /// The record itself cannot be read any more. It is dropped, and counted.
    Unreadable,
}
