//! Going through entries that lie side by side, checking each one.
//!
//! A payload that is damaged costs its own offsets, for its header still says how long it is. Where a
//! header is damaged, nobody knows where the next one is: then the first place is taken from which
//! whole headers of the same partition lead, one after the other, exactly to the end of the block.
//! Without one, the rest of the block is lost.

use std::ops::Range;

use crate::entry::{ENTRY_HEADER_BYTES, Entry, EntryError, EntryHeader, EntryKind};
use crate::position::{ChunkId, Position};
use crate::recovery::DamagedRange;

/// The first and last offset of an entry that has a place in its partition's order.
///
/// Payloads stored once are told apart by their ids, which are offsets here.
pub(crate) fn offsets_of(header: &EntryHeader) -> Option<(i64, i64)> {
    match header.kind {
        EntryKind::Batch | EntryKind::Reference => {
            let last = header
                .base
                .checked_add(i64::from(header.count))?
                .checked_sub(1)?;
            (last >= header.base).then_some((header.base, last))
        }
        EntryKind::Payload => Some((header.base, header.base)),
        EntryKind::Subscription
        | EntryKind::GroupOffsets
        | EntryKind::Metadata
        | EntryKind::ProducerState
        | EntryKind::ProducerEpoch
        | EntryKind::TransactionBegin
        | EntryKind::TransactionMarker
        | EntryKind::LateFacts
        | EntryKind::OffsetCeiling
        | EntryKind::ChunkSet
        | EntryKind::CheckpointPage
        | EntryKind::SyncedMark
        | EntryKind::LeaderEpoch
        | EntryKind::LogStart
        | EntryKind::Group
        | EntryKind::TrueEnd => None,
    }
}

/// Where a block lies, and what must be in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockPlace {
    pub(crate) chunk: ChunkId,
    pub(crate) partition: u64,
    /// Where its first byte lies in the chunk.
    pub(crate) at: u32,
    /// First offset in it.
    pub(crate) base: i64,
    /// First offset that is not in it any more.
    pub(crate) limit: i64,
}

/// What lies in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// A whole entry; its payload lies at this place of the block.
    Entry {
        header: EntryHeader,
        at: Position,
        base: i64,
        last: i64,
        payload: Range<usize>,
    },
    /// Offsets that are lost.
    Lost(DamagedRange),
    /// A whole entry of a kind that only a newer version knows.
    Unknown { number: u16, at: Position },
}

/// Goes through the entries of one block.
#[derive(Clone, Debug)]
pub(crate) struct Walk<'a> {
    place: BlockPlace,
    bytes: &'a [u8],
    next: usize,
    /// The offset that the next entry has at least.
    expected: i64,
}

impl<'a> Walk<'a> {
    pub(crate) const fn new(place: BlockPlace, bytes: &'a [u8]) -> Self {
        Self {
            place,
            bytes,
            next: 0,
            expected: place.base,
        }
    }

    fn place_of(&self, within: usize) -> u32 {
        // A chunk ends below 4 GiB, and the block was compared with its chunk.
        let within = u32::try_from(within).unwrap_or(u32::MAX);
        self.place.at.saturating_add(within)
    }

    fn position_of(&self, within: usize) -> Position {
        Position::new(self.place.chunk, self.place_of(within))
    }

    /// The offsets of a header that can stand here.
    fn fitting(&self, header: &EntryHeader, at_least: i64) -> Option<(i64, i64)> {
        let (base, last) = offsets_of(header)?;
        let fits =
            header.object == self.place.partition && base >= at_least && last < self.place.limit;
        fits.then_some((base, last))
    }

    fn lost(&self, base: i64, last: i64, within: usize) -> Met {
        Met::Lost(DamagedRange {
            partition: self.place.partition,
            base,
            last,
            at: self.position_of(within),
        })
    }

    fn step(&mut self) -> Met {
        let at = self.next;
        let rest = self.bytes.get(at..).unwrap_or_default();
        match Entry::read(rest, self.place_of(at)) {
            Ok(Entry { header, .. }) => {
                let Some((base, last)) = self.fitting(&header, self.expected) else {
                    return self.lose_header(at);
                };
                self.pass(&header, last);
                let from = at + ENTRY_HEADER_BYTES;
                Met::Entry {
                    header,
                    at: self.position_of(at),
                    base,
                    last,
                    payload: from..from + header.length as usize,
                }
            }
            Err(EntryError::PayloadDamaged(header)) => {
                let Some((base, last)) = self.fitting(&header, self.expected) else {
                    return self.lose_header(at);
                };
                self.pass(&header, last);
                self.lost(base, last, at)
            }
            Err(EntryError::UnknownKind(number)) => {
                self.next = self.bytes.len();
                Met::Unknown {
                    number,
                    at: self.position_of(at),
                }
            }
            Err(EntryError::HeaderDamaged | EntryError::Truncated { .. }) => self.lose_header(at),
        }
    }

    fn pass(&mut self, header: &EntryHeader, last: i64) {
        self.next += header.total_bytes();
        self.expected = last.saturating_add(1);
    }

    /// The header at `at` says nothing: goes on where entries surely begin again.
    fn lose_header(&mut self, at: usize) -> Met {
        let base = self.expected;
        let mut candidate = at + 8;
        while candidate < self.bytes.len() {
            if let Some(next) = self.leads_to_end(candidate) {
                self.next = candidate;
                self.expected = next;
                return self.lost(base, next.saturating_sub(1), at);
            }
            candidate += 8;
        }
        self.next = self.bytes.len();
        self.lost(base, self.place.limit.saturating_sub(1), at)
    }

    /// The offset of the entry at `from`, if whole headers lead from there to the end of the block.
    fn leads_to_end(&self, from: usize) -> Option<i64> {
        let mut first = None;
        let mut at = from;
        let mut at_least = self.expected;
        while at < self.bytes.len() {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let (header, _) = EntryHeader::read(rest, self.place_of(at)).ok()?;
            let (base, last) = self.fitting(&header, at_least)?;
            first = first.or(Some(base));
            at_least = last.saturating_add(1);
            at += header.total_bytes();
        }
        first.filter(|_| at == self.bytes.len())
    }
}

impl Iterator for Walk<'_> {
    type Item = Met;

    fn next(&mut self) -> Option<Met> {
        (self.next < self.bytes.len()).then(|| self.step())
    }
}
