//! The footer of a chunk that will not change any more: what lies in it, and where.
//!
//! ```text
//! entries ... | index pages, 4 KiB each | directory | damage | zeroes | trailer
//!             ^ multiple of 4096        `- 64 bytes a slot   `- 40    `- 64 bytes, the very last
//! ```
//!
//! The directory is sorted by partition and offset; the number of a record in it, its *slot*, is all
//! that memory keeps, so one small read leads from an extent to its record. A record names a range
//! of index records, each a *block*: one batch in a log chunk, where entries of others lie between;
//! some 32 KiB of whole entries in a sorted chunk, where a partition's entries follow each other.
//!
//! Every part has its own checksum, which also covers the chunk's id and the part's number: neither
//! a flipped bit nor a page of another file is taken for what it is not. Nothing is allocated before
//! its length was compared with the length of the file. The same bytes close a whole object. The
//! layout is described byte by byte in `docs/internals/chunks.md`.

use std::collections::VecDeque;

use crate::access::{ReadAt, corrupt, read_exactly};
use crate::chunk::ChunkKind;
use crate::fault::{Fault, FaultKind};
use crate::fields::{i64_at, u16_at, u32_at, u64_at};
use crate::index::Extent;
use crate::position::{ChunkId, Position};
use crate::recovery::DamagedRange;
use mulgil_record::crc::crc32c;

mod blocks;
mod build;
mod rebuild;
#[cfg(test)]
mod tests;

pub use blocks::Blocks;
pub(crate) use blocks::is_first_page;
pub use build::{FooterBuilder, Sealed};

/// Bytes of an index page, and what the whole footer is aligned to.
pub const PAGE_BYTES: usize = 4096;
/// Bytes of a directory record.
pub const SLOT_BYTES: usize = 64;
/// Bytes of a damage record.
pub const DAMAGE_BYTES: usize = 40;
/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 64;
/// First four bytes of the trailer.
pub const FOOTER_MAGIC: [u8; 4] = *b"MGFT";
/// Version of the footer's layout.
pub const FOOTER_VERSION: u8 = 1;

const PAGE_HEADER_BYTES: usize = 16;
const BLOCK_BYTES: usize = 24;
const BLOCKS_A_PAGE: u32 = 170;
/// Bytes of the directory that are read at once.
const DIRECTORY_WINDOW: usize = 64 << 10;

/// The part of a footer that a checksum belongs to.
#[derive(Clone, Copy)]
enum Part {
    IndexPage = 1,
    Slot = 2,
    Damage = 3,
    Trailer = 4,
}

/// CRC-32C of which part it is, of which chunk, and of its bytes.
fn checksum(part: Part, chunk: ChunkId, number: u32, parts: [&[u8]; 2]) -> u32 {
    let mut place = [0; 12];
    place[..4].copy_from_slice(&(part as u32).to_le_bytes());
    place[4..8].copy_from_slice(&chunk.0.to_le_bytes());
    place[8..].copy_from_slice(&number.to_le_bytes());
    crc32c(&[&place, parts[0], parts[1]])
}

/// Whether the last four bytes of `bytes` are the checksum of those before.
fn is_whole(part: Part, chunk: ChunkId, number: u32, bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<4>().is_some_and(|(covered, crc)| {
        checksum(part, chunk, number, [covered, &[]]) == u32::from_le_bytes(*crc)
    })
}

/// Entries that lie side by side in a chunk, all of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// First offset of the first.
    pub base: i64,
    /// The largest timestamp in them.
    pub max_timestamp: i64,
    /// Where in the chunk the first entry's header lies.
    pub at: u32,
    /// Bytes of all of them, headers and padding included.
    pub bytes: u32,
}

impl Block {
    /// The byte after it.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.at as u64 + self.bytes as u64
    }
}

/// Instead of the first block of a record: only its entries say where its blocks are.
const UNLISTED: u32 = u32::MAX;

/// What the directory says of a partition, or of a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryRecord {
    /// Which partition.
    pub partition: u64,
    /// First offset.
    pub first: i64,
    /// Last offset.
    pub last: i64,
    /// The largest timestamp.
    pub max_timestamp: i64,
    /// Bytes of its entries, headers and padding included.
    pub bytes: u64,
    /// Its first block, counted over the whole footer.
    pub index_start: u32,
    /// Its blocks.
    pub index_count: u32,
    /// Where in the chunk its first entry lies.
    pub data_at: u32,
    /// Bytes from there to the end of its last entry: in a sorted chunk all its own.
    pub data_bytes: u32,
    /// Entries.
    pub batches: u32,
}

impl DirectoryRecord {
    /// A record of nothing.
    pub(crate) const EMPTY: Self = Self {
        partition: 0,
        first: 0,
        last: 0,
        max_timestamp: 0,
        bytes: 0,
        index_start: 0,
        index_count: 0,
        data_at: 0,
        data_bytes: 0,
        batches: 0,
    };

    fn encode(&self, chunk: ChunkId, slot: u32) -> [u8; SLOT_BYTES] {
        let mut out = [0; SLOT_BYTES];
        out[..8].copy_from_slice(&self.partition.to_le_bytes());
        out[8..16].copy_from_slice(&self.first.to_le_bytes());
        out[16..24].copy_from_slice(&self.last.to_le_bytes());
        out[24..32].copy_from_slice(&self.max_timestamp.to_le_bytes());
        out[32..40].copy_from_slice(&self.bytes.to_le_bytes());
        out[40..44].copy_from_slice(&self.index_start.to_le_bytes());
        out[44..48].copy_from_slice(&self.index_count.to_le_bytes());
        out[48..52].copy_from_slice(&self.data_at.to_le_bytes());
        out[52..56].copy_from_slice(&self.data_bytes.to_le_bytes());
        out[56..60].copy_from_slice(&self.batches.to_le_bytes());
        let crc = checksum(Part::Slot, chunk, slot, [&out[..60], &[]]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], chunk: ChunkId, slot: u32) -> Option<Self> {
        let record = Self {
            partition: u64_at(bytes, 0),
            first: i64_at(bytes, 8),
            last: i64_at(bytes, 16),
            max_timestamp: i64_at(bytes, 24),
            bytes: u64_at(bytes, 32),
            index_start: u32_at(bytes, 40),
            index_count: u32_at(bytes, 44),
            data_at: u32_at(bytes, 48),
            data_bytes: u32_at(bytes, 52),
            batches: u32_at(bytes, 56),
        };
        let whole = is_whole(Part::Slot, chunk, slot, bytes);
        (whole && record.first <= record.last).then_some(record)
    }

    /// What memory keeps of it.
    #[must_use]
    pub const fn extent(&self, chunk: ChunkId, slot: u32) -> Extent {
        Extent {
            chunk,
            slot,
            first: self.first,
            last: self.last,
            bytes: self.bytes,
            max_timestamp: self.max_timestamp,
        }
    }
}

/// The trailer of a chunk: where the parts of its footer lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Which chunk.
    pub chunk: ChunkId,
    /// What it holds.
    pub kind: ChunkKind,
    /// Directory records.
    pub slots: u32,
    /// Damage records.
    pub damaged: u32,
    /// Index pages.
    pub index_pages: u32,
    /// Where the index pages begin, and entries have ended.
    pub at: u64,
    /// Bytes of the whole chunk.
    pub bytes: u64,
    /// Nobody can tell how many records of the directory there were at its end.
    open_ended: bool,
}

impl Footer {
    /// Reads the trailer at the end of a chunk.
    ///
    /// # Errors
    ///
    /// Corrupt if there is none, or a damaged one, or one that doesn't fit the file; otherwise what
    /// the system says. A log chunk whose footer was being written when power failed looks the same:
    /// its index is built again from its frames.
    pub fn open(file: &dyn ReadAt) -> Result<Self, Fault> {
        let chunk = file.chunk();
        let bytes = file.bytes()?;
        let Some(at) = bytes.checked_sub(TRAILER_BYTES as u64) else {
            return Err(corrupt(chunk, "too short for a footer"));
        };
        let trailer = read_exactly(file, at, TRAILER_BYTES)?;
        if trailer.get(..4) != Some(&FOOTER_MAGIC[..]) {
            return Err(corrupt(chunk, "no footer at its end"));
        }
        if !is_whole(Part::Trailer, chunk, 0, &trailer) {
            return Err(corrupt(chunk, "the trailer of its footer is damaged"));
        }
        let version = trailer.get(4).copied().unwrap_or_default();
        if version != FOOTER_VERSION {
            let what = format!("footer version {version} is unknown to this version");
            return Err(corrupt(chunk, what));
        }
        Self::decode(&trailer, chunk)
            .filter(|footer| footer.fits(bytes))
            .ok_or_else(|| corrupt(chunk, "its footer doesn't fit its length"))
    }

    fn decode(trailer: &[u8], chunk: ChunkId) -> Option<Self> {
        Some(Self {
            chunk,
            kind: ChunkKind::from_number(trailer.get(5).copied()?)?,
            index_pages: u32_at(trailer, 12),
            at: u64_at(trailer, 16),
            bytes: u64_at(trailer, 24),
            slots: u32_at(trailer, 32),
            damaged: u32_at(trailer, 36),
            open_ended: false,
        })
        .filter(|_| {
            u32_at(trailer, 8) == chunk.0 && usize::from(u16_at(trailer, 6)) == TRAILER_BYTES
        })
    }

    fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = [0; TRAILER_BYTES];
        out[..4].copy_from_slice(&FOOTER_MAGIC);
        out[4] = FOOTER_VERSION;
        out[5] = self.kind as u8;
        out[6..8].copy_from_slice(&64_u16.to_le_bytes());
        out[8..12].copy_from_slice(&self.chunk.0.to_le_bytes());
        out[12..16].copy_from_slice(&self.index_pages.to_le_bytes());
        out[16..24].copy_from_slice(&self.at.to_le_bytes());
        out[24..32].copy_from_slice(&self.bytes.to_le_bytes());
        out[32..36].copy_from_slice(&self.slots.to_le_bytes());
        out[36..40].copy_from_slice(&self.damaged.to_le_bytes());
        let crc = checksum(Part::Trailer, self.chunk, 0, [&out[..60], &[]]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Whether its parts end before the trailer of a chunk of this length.
    fn fits(&self, bytes: u64) -> bool {
        let parts = u128::from(self.damage_at()) + u128::from(self.damage_bytes());
        self.bytes == bytes
            && self.at <= bytes
            && parts + TRAILER_BYTES as u128 <= u128::from(bytes)
    }

    fn directory_at(&self) -> u64 {
        self.at
            .saturating_add(u64::from(self.index_pages) * PAGE_BYTES as u64)
    }

    fn damage_at(&self) -> u64 {
        self.directory_at()
            .saturating_add(u64::from(self.slots) * SLOT_BYTES as u64)
    }

    const fn damage_bytes(&self) -> u64 {
        self.damaged as u64 * DAMAGE_BYTES as u64
    }

    /// Reads one record of the directory.
    ///
    /// # Errors
    ///
    /// Corrupt if there is no such slot or it is damaged; otherwise what the system says.
    pub fn slot(&self, file: &dyn ReadAt, slot: u32) -> Result<DirectoryRecord, Fault> {
        if slot >= self.slots {
            let what = format!("slot {slot} of a footer with {} slots", self.slots);
            return Err(corrupt(self.chunk, what));
        }
        let at = self.directory_at() + u64::from(slot) * SLOT_BYTES as u64;
        let bytes = read_exactly(file, at, SLOT_BYTES)?;
        self.record(&bytes, slot)
    }

    fn record(&self, bytes: &[u8], slot: u32) -> Result<DirectoryRecord, Fault> {
        let record = DirectoryRecord::decode(bytes, self.chunk, slot);
        let blocks = u64::from(self.index_pages) * u64::from(BLOCKS_A_PAGE);
        let fits = |record: &DirectoryRecord| {
            let index_end = u64::from(record.index_start) + u64::from(record.index_count);
            let data_end = u64::from(record.data_at) + u64::from(record.data_bytes);
            index_end <= blocks && data_end <= self.at && record.bytes <= self.at
        };
        record
            .filter(fits)
            .ok_or_else(|| corrupt(self.chunk, format!("slot {slot} of its footer is damaged")))
    }

    /// All records of the directory, in order, read in large pieces. Of a chunk without frames, those
    /// that are damaged are found again by what lies beside them, or by the entries alone: then
    /// several may have the slot of the first that is damaged, and their times are not known.
    #[must_use]
    pub fn directory<'a>(&self, file: &'a dyn ReadAt) -> Directory<'a> {
        self.timed_directory(file, &|_| i64::MAX)
    }

    /// As [`Footer::directory`]. `max_timestamp` says the largest timestamp of a payload.
    fn timed_directory<'a>(
        &self,
        file: &'a dyn ReadAt,
        max_timestamp: &'a dyn Fn(&[u8]) -> i64,
    ) -> Directory<'a> {
        Directory {
            footer: *self,
            file,
            max_timestamp,
            next: 0,
            window: bytes::Bytes::new(),
            newest: None,
            told: VecDeque::new(),
        }
    }

    /// What memory keeps of the chunk, by partition.
    ///
    /// # Errors
    ///
    /// Corrupt, and what the system says.
    pub fn extents(&self, file: &dyn ReadAt) -> Result<Vec<(u64, Extent)>, Fault> {
        self.extents_timed(file, &|_| i64::MAX)
    }

    /// As [`Footer::extents`]. `max_timestamp` says the largest timestamp of a payload: times of what
    /// only the entries tell are not known otherwise.
    ///
    /// # Errors
    ///
    /// As [`Footer::extents`].
    pub fn extents_timed(
        &self,
        file: &dyn ReadAt,
        max_timestamp: &dyn Fn(&[u8]) -> i64,
    ) -> Result<Vec<(u64, Extent)>, Fault> {
        self.timed_directory(file, max_timestamp)
            .map(|slot| {
                slot.map(|(slot, record)| (record.partition, record.extent(self.chunk, slot)))
            })
            .collect()
    }

    /// The blocks of a directory record.
    #[must_use]
    pub const fn blocks<'a>(&self, file: &'a dyn ReadAt, record: &DirectoryRecord) -> Blocks<'a> {
        Blocks::new(*self, file, *record)
    }

    /// Offsets that were damaged when the chunk was written, from wherever its batches came.
    ///
    /// # Errors
    ///
    /// Corrupt, and what the system says.
    pub fn damaged_ranges(&self, file: &dyn ReadAt) -> Result<Vec<DamagedRange>, Fault> {
        self.each_damaged(file)?.into_iter().collect()
    }

    /// As [`Footer::damaged_ranges`], one by one: an error is a record that is damaged itself.
    ///
    /// # Errors
    ///
    /// Corrupt if the chunk ends before them, and what the system says.
    pub fn each_damaged(
        &self,
        file: &dyn ReadAt,
    ) -> Result<Vec<Result<DamagedRange, Fault>>, Fault> {
        // The length was compared with that of the file when the footer was opened.
        let length = usize::try_from(self.damage_bytes()).unwrap_or(usize::MAX);
        let bytes = read_exactly(file, self.damage_at(), length)?;
        let records = (0..).zip(bytes.chunks_exact(DAMAGE_BYTES));
        let ranges = records.map(|(number, record)| {
            let whole = is_whole(Part::Damage, self.chunk, number, record);
            let what = || corrupt(self.chunk, format!("damage record {number} is damaged"));
            let range = DamagedRange {
                partition: u64_at(record, 0),
                base: i64_at(record, 8),
                last: i64_at(record, 16),
                at: Position(u64_at(record, 24)),
            };
            whole.then_some(range).ok_or_else(what)
        });
        Ok(ranges.collect())
    }
}

fn encode_damage(range: &DamagedRange, chunk: ChunkId, number: u32) -> [u8; DAMAGE_BYTES] {
    let mut out = [0; DAMAGE_BYTES];
    out[..8].copy_from_slice(&range.partition.to_le_bytes());
    out[8..16].copy_from_slice(&range.base.to_le_bytes());
    out[16..24].copy_from_slice(&range.last.to_le_bytes());
    out[24..32].copy_from_slice(&range.at.0.to_le_bytes());
    let crc = checksum(Part::Damage, chunk, number, [&out[..36], &[]]);
    out[36..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Goes through a directory, in order of partition and offset.
pub struct Directory<'a> {
    footer: Footer,
    file: &'a dyn ReadAt,
    next: u32,
    window: bytes::Bytes,
    newest: Option<DirectoryRecord>,
    max_timestamp: &'a dyn Fn(&[u8]) -> i64,
    /// Records of a damaged run, found again.
    told: VecDeque<(u32, DirectoryRecord)>,
}

impl core::fmt::Debug for Directory<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Directory")
            .field("footer", &self.footer)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Directory<'_> {
    fn read_next(&mut self) -> Result<Option<(u32, DirectoryRecord)>, Fault> {
        while self.told.is_empty() && self.next < self.footer.slots {
            self.read_slot()?;
        }
        let Some((slot, record)) = self.told.pop_front() else {
            return Ok(None);
        };
        let before = self.newest.replace(record);
        let key = (record.partition, record.first);
        if before.is_some_and(|before| (before.partition, before.last) >= key) {
            let what = format!("slot {slot} of its footer is out of order");
            return Err(corrupt(self.footer.chunk, what));
        }
        Ok(Some((slot, record)))
    }

    fn read_slot(&mut self) -> Result<(), Fault> {
        let slot = self.next;
        if self.window.is_empty() {
            let left = (self.footer.slots - slot) as usize * SLOT_BYTES;
            let at = self.footer.directory_at() + u64::from(slot) * SLOT_BYTES as u64;
            self.window = read_exactly(self.file, at, left.min(DIRECTORY_WINDOW))?;
        }
        let bytes = self.window.split_to(SLOT_BYTES.min(self.window.len()));
        match self.footer.record(&bytes, slot) {
            Err(fault) if fault.kind == FaultKind::Corrupt && self.footer.kind.is_sorted() => {
                self.tell_run(slot)
            }
            other => {
                self.told.push_back((slot, other?));
                self.next += 1;
                Ok(())
            }
        }
    }

    /// Finds the records of a run of damaged slots again.
    fn tell_run(&mut self, slot: u32) -> Result<(), Fault> {
        let mut after = None;
        let mut end = slot + 1;
        while end < self.footer.slots {
            match self.footer.slot(self.file, end) {
                Ok(record) => {
                    after = Some(record);
                    break;
                }
                Err(fault) if fault.kind == FaultKind::Corrupt => end += 1,
                Err(fault) => return Err(fault),
            }
        }
        let around = (self.newest.as_ref(), after.as_ref());
        let told = self
            .footer
            .tell(self.file, &(slot..end), around, self.max_timestamp)?;
        self.told.extend(told);
        self.next = end;
        self.window = bytes::Bytes::new();
        Ok(())
    }
}

impl Iterator for Directory<'_> {
    type Item = Result<(u32, DirectoryRecord), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.read_next();
        if record.is_err() {
            self.next = self.footer.slots;
            self.told.clear();
        }
        record.transpose()
    }
}
