//! Reading past a damaged footer: the entries themselves say where they lie.
//!
//! ```text
//! log chunk     [frame header][entry][entry] [frame header][entry] ...   every header has a checksum
//! sorted chunk  [entry][entry][entry] ...                                and says its own place
//! ```
//!
//! Headers lead from one to the next, so no payload is ever taken for one. Behind a damaged header of a
//! log chunk the next whole frame header is looked for; in a sorted chunk the next header of the same
//! partition with a higher offset. What lay between is a *hole*: offsets that nothing else explains are
//! reported as damaged there, since they may have been in it.

use bytes::Bytes;

use super::{ReadError, Source};
use crate::access::{ReadAt, corrupt, read_exactly};
use crate::chunk::{CHUNK_HEADER_BYTES, ChunkKind};
use crate::entry::{ENTRY_HEADER_BYTES, EntryError, EntryHeader, entry_bytes};
use crate::fault::Fault;
use crate::footer::{Block, Footer};
use crate::frame::{FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader};
use crate::index::ColdRead;
use crate::position::Position;
use crate::walk::offsets_of;
use mulgil_record::crc::crc32c;

#[cfg(test)]
mod tests;

/// Bytes that are read at once while entries are looked for.
const WINDOW_BYTES: u64 = 1 << 20;
/// Entries of a sorted chunk are put together up to so many bytes, as its footer does.
const BLOCK_BYTES: u32 = 32 << 10;
/// Most blocks that are kept of one partition in one chunk: 256 MiB of the smallest batches have fewer.
const BLOCKS_MAX: usize = 3 << 20;

/// A run of entries of the partition, or a hole that some may have been in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: Block,
    pub(super) lost: bool,
}

/// Where the batches of one partition lie in a chunk, found without its footer.
#[derive(Debug)]
pub struct Unlisted {
    places: Vec<Place>,
}

impl Unlisted {
    /// Goes through the entries of a chunk of this kind.
    ///
    /// `footer` narrows down where to look, if its trailer is whole. `max_timestamp` says the largest
    /// timestamp of a payload.
    ///
    /// # Errors
    ///
    /// Corrupt if an entry is of a kind that only a newer version knows, or there are more batches than
    /// a chunk can hold; otherwise what the system says.
    pub fn find(
        file: &dyn ReadAt,
        kind: ChunkKind,
        footer: Option<&Footer>,
        request: &ColdRead,
        max_timestamp: &dyn Fn(&[u8]) -> i64,
    ) -> Result<Self, Fault> {
        let (from, end) = match footer {
            Some(footer) if kind.is_sorted() => bounds(file, footer, request.slot)?,
            Some(footer) => (u64::from(CHUNK_HEADER_BYTES), footer.at),
            None => (u64::from(CHUNK_HEADER_BYTES), file.bytes()?),
        };
        Self::find_between(file, kind, (from, end), request.partition, max_timestamp)
    }

    /// Goes through the entries of a chunk between two of its bytes.
    pub(crate) fn find_between(
        file: &dyn ReadAt,
        kind: ChunkKind,
        (from, end): (u64, u64),
        partition: u64,
        max_timestamp: &dyn Fn(&[u8]) -> i64,
    ) -> Result<Self, Fault> {
        let mut search = Search {
            window: Window::new(file, end),
            frames: kind == ChunkKind::Log,
            partition,
            at: from,
            end,
            places: Vec::new(),
            next: i64::MIN,
            hole: None,
        };
        while search.at < search.end {
            search.step(max_timestamp)?;
        }
        search.end_hole(i64::MAX);
        Ok(Self {
            places: search.places,
        })
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place>()
    }

    /// As [`super::read_cold`].
    ///
    /// # Errors
    ///
    /// As there; what lay in damaged bytes is damaged.
    pub fn read(
        &self,
        file: &dyn ReadAt,
        request: &ColdRead,
    ) -> Result<Vec<super::FoundBatch>, ReadError> {
        super::read_from(file, Source::Found(self), request)
    }

    /// As [`super::find_by_time`].
    ///
    /// # Errors
    ///
    /// As [`Unlisted::read`].
    pub fn find_by_time(
        &self,
        file: &dyn ReadAt,
        request: &ColdRead,
        timestamp: i64,
    ) -> Result<Vec<super::FoundBatch>, ReadError> {
        super::first_from(file, Source::Found(self), request, timestamp)
    }

    /// As [`super::find_by_max_time`].
    ///
    /// # Errors
    ///
    /// As [`Unlisted::read`].
    pub fn find_by_max_time(
        &self,
        file: &dyn ReadAt,
        request: &ColdRead,
    ) -> Result<super::Newest, ReadError> {
        super::newest_from(file, Source::Found(self), request)
    }

    /// The blocks, if there is no hole between them. Whether some are missing behind the last of them,
    /// only who knows how many there must be can tell.
    pub(crate) fn whole(&self) -> Option<Vec<Block>> {
        let (last, before) = self.places.split_last()?;
        let holes = before.iter().any(|place| place.lost);
        let blocks = before.iter().chain((!last.lost).then_some(last));
        (!holes).then(|| blocks.map(|place| place.block).collect())
    }

    pub(super) fn place(&self, number: u32) -> Option<Place> {
        self.places.get(number as usize).copied()
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn limit(&self, number: u32) -> i64 {
        let next = self.place(number.saturating_add(1));
        next.map_or(i64::MAX, |next| next.block.base)
    }

    pub(super) fn holding(&self, offset: i64) -> u32 {
        let beyond = self.places.partition_point(|p| p.block.base <= offset);
        u32::try_from(beyond.saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

/// Between which bytes a slot of a sorted chunk lies, as far as whole records of the directory say.
fn bounds(file: &dyn ReadAt, footer: &Footer, slot: u32) -> Result<(u64, u64), Fault> {
    use crate::fault::FaultKind;
    let known = |slot| match footer.slot(file, slot) {
        Ok(record) => Ok(Some(record)),
        Err(fault) if fault.kind == FaultKind::Corrupt => Ok(None),
        Err(fault) => Err(fault),
    };
    let mut from = u64::from(CHUNK_HEADER_BYTES);
    let mut end = footer.at;
    for before in (0..=slot).rev() {
        if let Some(record) = known(before)? {
            let own = before == slot;
            let behind = if own { 0 } else { record.data_bytes };
            from = u64::from(record.data_at) + u64::from(behind);
            if own {
                end = from + u64::from(record.data_bytes);
            }
            break;
        }
    }
    for after in slot..footer.slots {
        if let Some(record) = known(after)? {
            if after != slot {
                end = u64::from(record.data_at);
            }
            break;
        }
    }
    Ok((from, end))
}

/// Part of a chunk in memory.
struct Window<'a> {
    file: &'a dyn ReadAt,
    end: u64,
    at: u64,
    bytes: Bytes,
}

impl<'a> Window<'a> {
    const fn new(file: &'a dyn ReadAt, end: u64) -> Self {
        Self {
            file,
            end,
            at: 0,
            bytes: Bytes::new(),
        }
    }

    /// The `length` bytes at `at`; fewer only at the end.
    fn get(&mut self, at: u64, length: usize) -> Result<&[u8], Fault> {
        let stop = self.end.min(at.saturating_add(length as u64));
        let held = at >= self.at && stop <= self.at + self.bytes.len() as u64;
        if !held {
            let wanted = (self.end.saturating_sub(at)).min(WINDOW_BYTES.max(length as u64));
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            self.bytes = read_exactly(self.file, at, wanted)?;
            self.at = at;
        }
        let from = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        let to = usize::try_from(stop.saturating_sub(self.at)).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }
}

struct Search<'a> {
    window: Window<'a>,
    /// Entries lie in frames.
    frames: bool,
    partition: u64,
    at: u64,
    end: u64,
    places: Vec<Place>,
    /// The offset that the next batch has at least.
    next: i64,
    /// A hole that no batch was found behind yet.
    hole: Option<(u64, u64)>,
}

impl Search<'_> {
    fn step(&mut self, max_timestamp: &dyn Fn(&[u8]) -> i64) -> Result<(), Fault> {
        if self.frames && self.frame_at(self.at)? {
            self.at += FRAME_HEADER_BYTES as u64;
            return Ok(());
        }
        if let Some((header, payload_crc)) = self.entry_at(self.at)? {
            let (at, bytes) = (self.at, header.total_bytes() as u64);
            self.at += bytes;
            if object_of(&header) == self.partition
                && let Some((base, last)) = offsets_of(&header)
            {
                let length = header.length as usize;
                let payload = self.window.get(at + ENTRY_HEADER_BYTES as u64, length)?;
                let whole = crc32c(&[payload]) == payload_crc;
                // What can't be read may have any time.
                let newest = if whole {
                    max_timestamp(payload)
                } else {
                    i64::MAX
                };
                return self.add((base, last), at, bytes, newest);
            }
            return Ok(());
        }
        let behind = self.behind_hole()?;
        let from = self.hole.map_or(self.at, |(from, _)| from);
        self.hole = Some((from, behind));
        self.at = behind;
        Ok(())
    }

    fn frame_at(&mut self, at: u64) -> Result<bool, Fault> {
        let position = Position::new(self.window.file.chunk(), place(at));
        let salt = self.window.file.salt();
        let bytes = self.window.get(at, FRAME_HEADER_BYTES)?;
        Ok(FrameHeader::read(bytes, position, salt).is_ok())
    }

    /// The entry whose header lies here, if it is whole and ends where it may.
    fn entry_at(&mut self, at: u64) -> Result<Option<(EntryHeader, u32)>, Fault> {
        let bytes = self.window.get(at, ENTRY_HEADER_BYTES)?;
        match EntryHeader::read(bytes, place(at)) {
            Ok((header, crc)) => {
                let fits = at + entry_bytes(header.length as usize) as u64 <= self.end;
                Ok(fits.then_some((header, crc)))
            }
            Err(EntryError::UnknownKind(number)) => {
                let what = format!("entry kind {number} at {at} is unknown to this version");
                Err(corrupt(self.window.file.chunk(), what))
            }
            Err(_) => Ok(None),
        }
    }

    /// Where entries surely begin again behind bytes that are none.
    fn behind_hole(&mut self) -> Result<u64, Fault> {
        if self.frames {
            // The header of a frame, perhaps: then its entries follow.
            let body = self.at + FRAME_HEADER_BYTES as u64;
            let starts = self.window.get(self.at, 4)?.starts_with(&FRAME_MAGIC);
            if (starts || self.places.is_empty()) && self.entry_at(body)?.is_some() {
                return Ok(body);
            }
        }
        let mut at = self.at + 8;
        while at < self.end {
            let found = if self.frames {
                self.window.get(at, 4)?.starts_with(&FRAME_MAGIC) && self.frame_at(at)?
            } else {
                let header = self.entry_at(at)?.map(|(header, _)| header);
                header.is_some_and(|header| {
                    let offsets = offsets_of(&header);
                    object_of(&header) == self.partition
                        && offsets.is_some_and(|(base, _)| base >= self.next)
                })
            };
            if found {
                return Ok(at);
            }
            at += 8;
        }
        Ok(self.end)
    }

    fn add(
        &mut self,
        (base, last): (i64, i64),
        at: u64,
        bytes: u64,
        max_timestamp: i64,
    ) -> Result<(), Fault> {
        if base < self.next {
            // Offsets only rise. A copy of what was given up never lies behind what counts.
            let what = format!("offset {base} of partition {} goes back", self.partition);
            return Err(corrupt(self.window.file.chunk(), what));
        }
        self.end_hole(base);
        self.next = last.saturating_add(1);
        let block = Block {
            base,
            max_timestamp,
            at: place(at),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        };
        match self.places.last_mut() {
            Some(open) if !self.frames && joins(open, &block) => {
                open.block.bytes += block.bytes;
                open.block.max_timestamp = open.block.max_timestamp.max(max_timestamp);
            }
            _ => self.places.push(Place { block, lost: false }),
        }
        if self.places.len() > BLOCKS_MAX {
            let what = "more batches than can be kept track of without its footer";
            return Err(corrupt(self.window.file.chunk(), what));
        }
        Ok(())
    }

    /// A batch at offset `base` follows: what lies between it and the one before was in the hole.
    fn end_hole(&mut self, base: i64) {
        if let Some((from, end)) = self.hole.take()
            && base > self.next
        {
            let block = Block {
                base: self.next,
                max_timestamp: i64::MAX,
                at: place(from),
                bytes: u32::try_from(end - from).unwrap_or(u32::MAX),
            };
            self.places.push(Place { block, lost: true });
        }
    }
}

/// Whether an entry of a sorted chunk goes to the block before it.
const fn joins(open: &Place, next: &Block) -> bool {
    !open.lost
        && open.block.end() == next.at as u64
        && open.block.bytes < BLOCK_BYTES
        && next.bytes < BLOCK_BYTES
}

/// Which partition an entry belongs to; payloads stored once are those of partition 0.
fn object_of(header: &EntryHeader) -> u64 {
    use crate::entry::EntryKind;
    if header.kind == EntryKind::Payload {
        crate::index::PAYLOADS
    } else {
        header.object
    }
}

fn place(at: u64) -> u32 {
    // A chunk ends below 4 GiB.
    u32::try_from(at).unwrap_or(u32::MAX)
}
