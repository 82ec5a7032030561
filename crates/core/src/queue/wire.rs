//! The bytes of a subscription's durable changes.
//!
//! ```text
//! change      tag u8, then by tag:
//!   1 acquired    span
//!   2 locked      span, consumer u64, leader i32, number u64, until u64 (running time)
//!   3 renewed     span, until u64 (running time)
//!   4 accepted    span
//!   5 released    span, flags u8 (1 failed, 2 not before), not before u64 if flagged
//!   6 condemned   span, reason u8, at u64, flags u8 (1 failed, 2 words), words text if flagged
//!   7 archived    span, reason u8, moved u8
//!   8 fired       until u64, most u32
//!   9 trimmed     to i64
//!  10 scheduled   span, due u64
//!  11 expired     until u64, most u32
//!  12 aged        to i64
//!  13 tracking    columns u16, as facts have them
//!  14 purged      span
//!  15 sought      to i64, at u64
//!  16 deduplicating  window u64, 0 for none
//! span        first i64, count u64, not 0
//! text        length u32, bytes
//! ```
//!
//! Numbers are little-endian, times are milliseconds. Who stores the bytes stores [`VERSION`] beside
//! them. Appended records have no bytes here: the batch's own entry says it all.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::BufMut;
use mulgil_record::facts::Columns;
use mulgil_record::ids::{LeaderEpoch, Offset};

use super::change::Durable;
use super::facets::are_trackable;
use super::names::{ConsumerId, LockEpoch, Reason};
use super::span::Span;
use crate::machine::{Elapsed, WallTime};

/// Version of the layout.
pub const VERSION: u8 = 1;

const FAILED: u8 = 1;
const MORE: u8 = 2;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Written by a newer version.
    #[error("layout version {0} of a subscription is unknown")]
    UnknownVersion(u8),
    /// A kind of change of a newer version.
    #[error("change of kind {0} of a subscription is unknown")]
    UnknownChange(u8),
    /// The bytes end too soon, or not soon enough, or say what cannot be.
    #[error("the bytes are nothing of a subscription")]
    Malformed,
}

pub(super) fn put_span(span: Span, out: &mut Vec<u8>) {
    out.put_i64_le(span.first.0);
    out.put_u64_le(span.count());
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    let length = u32::try_from(text.len()).expect("what a consumer says is bounded by its door");
    out.put_u32_le(length);
    out.put_slice(text.as_bytes());
}

pub(super) fn put_epoch(epoch: LockEpoch, out: &mut Vec<u8>) {
    out.put_i32_le(epoch.leader.0);
    out.put_u64_le(epoch.number);
}

const fn flags(failed: bool, more: bool) -> u8 {
    (if failed { FAILED } else { 0 }) | (if more { MORE } else { 0 })
}

/// Writes a change to the end of `out`.
///
/// # Panics
///
/// Never: what a consumer says is far below 4 GiB.
pub fn encode(change: &Durable, out: &mut Vec<u8>) {
    match change {
        Durable::Acquired(span) => put(1, *span, out),
        Durable::Locked {
            span,
            consumer,
            epoch,
            until,
        } => {
            put(2, *span, out);
            out.put_u64_le(consumer.0);
            put_epoch(*epoch, out);
            out.put_u64_le(until.0);
        }
        Durable::Renewed { span, until } => put_timed(3, *span, until.0, out),
        Durable::Accepted(span) => put(4, *span, out),
        Durable::Released {
            span,
            failed,
            not_before,
        } => {
            put(5, *span, out);
            out.put_u8(flags(*failed, not_before.is_some()));
            not_before.iter().for_each(|at| out.put_u64_le(at.0));
        }
        Durable::Condemned {
            span,
            reason,
            at,
            failed,
            words,
        } => {
            put(6, *span, out);
            out.put_u8(reason.code());
            out.put_u64_le(at.0);
            out.put_u8(flags(*failed, words.is_some()));
            words.iter().for_each(|words| put_text(words, out));
        }
        Durable::Archived {
            span,
            reason,
            moved,
        } => {
            put(7, *span, out);
            out.put_u8(reason.code());
            out.put_u8(u8::from(*moved));
        }
        Durable::Fired { until, most } => put_due(8, *until, *most, out),
        Durable::Trimmed { to } => put_offset(9, *to, out),
        Durable::Scheduled { span, due } => put_timed(10, *span, due.0, out),
        Durable::Expired { until, most } => put_due(11, *until, *most, out),
        Durable::Aged { to } => put_offset(12, *to, out),
        Durable::Purged(span) => put(14, *span, out),
        Durable::Sought { to, at } => {
            put_offset(15, *to, out);
            out.put_u64_le(at.0);
        }
        Durable::Deduplicating { window_ms } => {
            out.put_u8(16);
            out.put_u64_le(window_ms.unwrap_or(0));
        }
        Durable::Tracking(columns) => {
            out.put_u8(13);
            out.put_u16_le(columns.0);
        }
    }
}

fn put_due(tag: u8, until: WallTime, most: u32, out: &mut Vec<u8>) {
    out.put_u8(tag);
    out.put_u64_le(until.0);
    out.put_u32_le(most);
}

fn put_offset(tag: u8, to: Offset, out: &mut Vec<u8>) {
    out.put_u8(tag);
    out.put_i64_le(to.0);
}

fn put(tag: u8, span: Span, out: &mut Vec<u8>) {
    out.put_u8(tag);
    put_span(span, out);
}

fn put_timed(tag: u8, span: Span, ms: u64, out: &mut Vec<u8>) {
    put(tag, span, out);
    out.put_u64_le(ms);
}

/// Reads a change that fills all of `bytes`.
///
/// # Errors
///
/// The version or the change is unknown, or the bytes are no change.
pub fn decode(version: u8, bytes: &[u8]) -> Result<Durable, WireError> {
    if version != VERSION {
        return Err(WireError::UnknownVersion(version));
    }
    let mut input = Input(bytes);
    let tag = input.u8().ok_or(WireError::Malformed)?;
    if !(1..=16).contains(&tag) {
        return Err(WireError::UnknownChange(tag));
    }
    let change = input.change(tag).ok_or(WireError::Malformed)?;
    if input.0.is_empty() {
        Ok(change)
    } else {
        Err(WireError::Malformed)
    }
}

/// What is left to read. `None` from its methods means that it is not what was to be read.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    pub(super) fn offset(&mut self) -> Option<i64> {
        self.array()
            .map(i64::from_le_bytes)
            .filter(|offset| *offset >= 0)
    }

    pub(super) fn wall(&mut self) -> Option<WallTime> {
        self.u64().map(WallTime)
    }

    pub(super) fn elapsed(&mut self) -> Option<Elapsed> {
        self.u64().map(Elapsed)
    }

    pub(super) fn yes(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn flags(&mut self) -> Option<(bool, bool)> {
        let flags = self.u8().filter(|flags| flags & !(FAILED | MORE) == 0)?;
        Some((flags & FAILED != 0, flags & MORE != 0))
    }

    pub(super) fn reason(&mut self) -> Option<Reason> {
        Reason::of_code(self.u8()?)
    }

    pub(super) fn epoch(&mut self) -> Option<LockEpoch> {
        Some(LockEpoch {
            leader: LeaderEpoch(self.array().map(i32::from_le_bytes)?),
            number: self.u64()?,
        })
    }

    pub(super) fn text(&mut self) -> Option<Arc<str>> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        core::str::from_utf8(head).ok().map(Arc::from)
    }

    pub(super) fn maybe<T>(
        &mut self,
        there: bool,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if there {
            read(self).map(Some)
        } else {
            Some(None)
        }
    }

    pub(super) fn columns(&mut self) -> Option<Columns> {
        let columns = self.u16().map(Columns)?;
        are_trackable(columns).then_some(columns)
    }

    pub(super) fn span(&mut self) -> Option<Span> {
        let first = self.offset()?;
        let count = i64::try_from(self.u64()?).ok().filter(|count| *count > 0)?;
        Some(Span::of(first, first.checked_add(count)?))
    }

    fn change(&mut self, tag: u8) -> Option<Durable> {
        if let 8 | 11 = tag {
            let (until, most) = (self.wall()?, self.u32()?);
            return Some(match tag {
                8 => Durable::Fired { until, most },
                _ => Durable::Expired { until, most },
            });
        }
        if let 9 | 12 = tag {
            let to = Offset(self.offset()?);
            return Some(match tag {
                9 => Durable::Trimmed { to },
                _ => Durable::Aged { to },
            });
        }
        if tag == 16 {
            let window_ms = Some(self.u64()?).filter(|window_ms| *window_ms > 0);
            return Some(Durable::Deduplicating { window_ms });
        }
        if tag == 15 {
            let (to, at) = (Offset(self.offset()?), self.wall()?);
            return Some(Durable::Sought { to, at });
        }
        if tag == 13 {
            return Some(Durable::Tracking(self.columns()?));
        }
        let span = self.span()?;
        Some(match tag {
            1 => Durable::Acquired(span),
            2 => Durable::Locked {
                span,
                consumer: ConsumerId(self.u64()?),
                epoch: self.epoch()?,
                until: self.elapsed()?,
            },
            3 => Durable::Renewed {
                span,
                until: self.elapsed()?,
            },
            4 => Durable::Accepted(span),
            5 => {
                let (failed, later) = self.flags()?;
                Durable::Released {
                    span,
                    failed,
                    not_before: self.maybe(later, Self::wall)?,
                }
            }
            6 => {
                let (reason, at) = (self.reason()?, self.wall()?);
                let (failed, words) = self.flags()?;
                Durable::Condemned {
                    span,
                    reason,
                    at,
                    failed,
                    words: self.maybe(words, Self::text)?,
                }
            }
            7 => Durable::Archived {
                span,
                reason: self.reason()?,
                moved: self.yes()?,
            },
            14 => Durable::Purged(span),
            10 => Durable::Scheduled {
                span,
                due: self.wall()?,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
