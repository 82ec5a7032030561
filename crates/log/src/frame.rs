//! A frame: entries that become durable together, or not at all.
//!
//! ```text
//! byte  0  magic           "MGFR"
//!       4  version         u8     1
//!       5  flags           u8     1: last frame of its group; 2: a synced mark; 4: a clean stop
//!       6  header bytes    u16    64
//!       8  length          u32    of the body, a multiple of 8
//!      12  entries         u32
//!      16  lsn             u64    number of the frame
//!      24  position        u64    where it lies: tells it from a stale copy
//!      32  synced          u64    all below this position was synced when it was sealed
//!      40  running time    u64    milliseconds
//!      48  wall time       u64    milliseconds since 1970
//!      56  incarnation     u32    which start of the broker wrote it
//!      60  header crc      u32    CRC-32C of bytes 0 to 60, exclusive-or the chunk's salt
//!      64  entries
//! ```
//!
//! The lane fills an [`OpenFrame`] under its lock and only copies; checksums are worked out when the
//! store seals it, off the lane.

use bytes::{BufMut, Bytes};
use mulgil_record::crc::crc32c;

use crate::entry::{ENTRY_HEADER_BYTES, EntryError, EntryHeader, EntryKind, entry_bytes};
use crate::position::{ChunkId, Lsn, Position};

/// Bytes before the first entry.
pub const FRAME_HEADER_BYTES: usize = 64;
/// First four bytes of every frame.
pub const FRAME_MAGIC: [u8; 4] = *b"MGFR";
/// Version of the frame's layout.
pub const FRAME_VERSION: u8 = 1;

/// This frame is the last of its group, which was written and synced at once.
pub const FLAG_GROUP_END: u8 = 1;
/// This frame only says that all before it is synced.
pub const FLAG_MARK: u8 = 2;
/// The broker stopped cleanly after this frame; nothing was left to write.
pub const FLAG_CLEAN: u8 = 4;

/// A random number of each log chunk, which its header keeps, mixed into the checksums of its frame headers.
///
/// Clients may guess where their record will lie and put what looks like a frame header into it. Without
/// the salt, which nobody is told, it is none: a torn tail never looks like damage because of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Salt(pub u32);

impl Salt {
    /// That of chunks of version 1, and of those that hold no frames.
    pub const NONE: Self = Self(0);

    /// The salt of `chunk`, for whoever drew `secret` at random. Never [`Salt::NONE`].
    #[must_use]
    pub const fn derive(secret: u64, chunk: ChunkId) -> Self {
        // The finaliser of SplitMix64: each bit of what goes in turns half of those that come out.
        let mut mixed = secret.wrapping_add((chunk.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let [a, b, c, d, ..] = mixed.to_le_bytes();
        let salt = u32::from_le_bytes([a, b, c, d]);
        Self(if salt == 0 { 1 } else { salt })
    }
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// [`FLAG_GROUP_END`], [`FLAG_MARK`] and [`FLAG_CLEAN`].
    pub flags: u8,
    /// Bytes of body.
    pub length: u32,
    /// Entries in the body.
    pub entries: u32,
    /// Its number.
    pub lsn: Lsn,
    /// Where it lies.
    pub position: Position,
    /// All below was synced when this frame was sealed.
    pub synced: Position,
    /// Running time, milliseconds.
    pub elapsed_ms: u64,
    /// Wall time, milliseconds since 1970.
    pub wall_ms: u64,
    /// Which start of the broker wrote it.
    pub incarnation: u32,
    /// That of its chunk; not stored, but in the checksum.
    pub salt: Salt,
}

/// Why bytes are not a frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too few bytes.
    #[error("frame is cut short")]
    Truncated,
    /// No frame begins here, or its header is damaged.
    #[error("no whole frame header")]
    HeaderDamaged,
    /// Written by a newer version.
    #[error("frame version {0} is unknown to this version")]
    UnknownVersion(u8),
}

fn u32_at(bytes: &[u8; FRAME_HEADER_BYTES], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8; FRAME_HEADER_BYTES], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

impl FrameHeader {
    /// The header as bytes, checksum included.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0; FRAME_HEADER_BYTES];
        let mut w = &mut out[..];
        w.put_slice(&FRAME_MAGIC);
        w.put_u8(FRAME_VERSION);
        w.put_u8(self.flags);
        w.put_u16_le(64);
        w.put_u32_le(self.length);
        w.put_u32_le(self.entries);
        w.put_u64_le(self.lsn.0);
        w.put_u64_le(self.position.0);
        w.put_u64_le(self.synced.0);
        w.put_u64_le(self.elapsed_ms);
        w.put_u64_le(self.wall_ms);
        w.put_u32_le(self.incarnation);
        let crc = crc32c(&[&out[..60]]) ^ self.salt.0;
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header of the frame that lies at `position` of a chunk with this salt.
    ///
    /// # Errors
    ///
    /// Too few bytes, a wrong magic, checksum or position, or a newer version.
    pub fn read(bytes: &[u8], position: Position, salt: Salt) -> Result<Self, FrameError> {
        let header: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk().ok_or(FrameError::Truncated)?;
        let found = Salt(crc32c(&[&header[..60]]) ^ u32_at(header, 60));
        if header[..4] != FRAME_MAGIC || found != salt {
            return Err(FrameError::HeaderDamaged);
        }
        if header[4] != FRAME_VERSION {
            return Err(FrameError::UnknownVersion(header[4]));
        }
        Self::fields(header, position, salt).ok_or(FrameError::HeaderDamaged)
    }

    /// Reads what may be the header of the frame at `position`: it is one if its chunk has this salt.
    ///
    /// For chunks whose own header is lost. What was never a frame mostly says another position.
    pub(crate) fn read_unsalted(bytes: &[u8], position: Position) -> Option<Self> {
        let header: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
        let salt = Salt(crc32c(&[&header[..60]]) ^ u32_at(header, 60));
        let starts = header[..4] == FRAME_MAGIC && header[4] == FRAME_VERSION;
        let found = starts.then(|| Self::fields(header, position, salt))?;
        found.filter(|found| found.length.is_multiple_of(8))
    }

    fn fields(header: &[u8; FRAME_HEADER_BYTES], position: Position, salt: Salt) -> Option<Self> {
        let read = Self {
            flags: header[5],
            length: u32_at(header, 8),
            entries: u32_at(header, 12),
            lsn: Lsn(u64_at(header, 16)),
            position: Position(u64_at(header, 24)),
            synced: Position(u64_at(header, 32)),
            elapsed_ms: u64_at(header, 40),
            wall_ms: u64_at(header, 48),
            incarnation: u32_at(header, 56),
            salt,
        };
        // No log has so many frames: there must be a number for the one after it.
        (read.position == position && read.lsn != Lsn(u64::MAX)).then_some(read)
    }
}

/// Memory behind a sealed frame that is not worth giving back.
const SPARE_BYTES: usize = 4 << 10;

/// A frame that the lane is filling.
#[derive(Debug)]
pub struct OpenFrame {
    at: Position,
    buffer: Vec<u8>,
    entries: u32,
    flags: u8,
}

impl OpenFrame {
    /// An empty frame that will lie at `at`; `buffer` is taken over for its capacity.
    #[must_use]
    pub fn new(at: Position, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(FRAME_HEADER_BYTES, 0);
        Self {
            at,
            buffer,
            entries: 0,
            flags: 0,
        }
    }

    /// A frame that says nothing but that all before it is synced.
    ///
    /// Submit it as a group of its own with `mark` set. Recovery believes it, and never copies it.
    #[must_use]
    pub fn synced_mark(at: Position, buffer: Vec<u8>) -> Self {
        let mut frame = Self::new(at, buffer);
        let header = EntryHeader {
            kind: EntryKind::SyncedMark,
            version: 1,
            flags: 0,
            length: 0,
            object: 0,
            base: 0,
            count: 0,
        };
        frame.push(header, &[]);
        frame
    }

    /// Says that the broker stops cleanly after this frame. Meant for a last synced mark.
    pub const fn mark_clean(&mut self) {
        self.flags |= FLAG_CLEAN;
    }

    /// Where the frame will lie.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.at
    }

    /// Where the frame after it will lie, if it stays as it is.
    #[must_use]
    pub fn end(&self) -> Position {
        self.at.plus(self.buffer.len())
    }

    /// Bytes so far, header included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Entries so far.
    #[must_use]
    pub const fn entries(&self) -> u32 {
        self.entries
    }

    /// Adds an entry whose payload is `parts`, one after the other, and says where it will lie.
    ///
    /// `header.length` is worked out here, whatever it says.
    ///
    /// # Panics
    ///
    /// If the payload is 4 GiB or more: limits at the doors are far below.
    pub fn push(&mut self, mut header: EntryHeader, parts: &[&[u8]]) -> Position {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        header.length = u32::try_from(length).expect("an entry is far below 4 GiB");
        let place = self.at.plus(self.buffer.len());
        let total = entry_bytes(length);
        let end = self.buffer.len() + total;
        self.buffer.reserve(total);
        self.buffer
            .extend_from_slice(&header.encode(place.offset(), 0));
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        self.buffer.resize(end, 0);
        self.entries += 1;
        place
    }

    /// Works out all checksums and hands over the frame as it goes to disk.
    ///
    /// `stamp` says what the frame header says; its length, entries and position are set here.
    ///
    /// # Panics
    ///
    /// If the frame is 4 GiB or more.
    #[must_use]
    pub fn seal(mut self, stamp: &FrameHeader) -> Bytes {
        let (head, mut rest) = self.buffer.split_at_mut(FRAME_HEADER_BYTES);
        let header = FrameHeader {
            length: u32::try_from(rest.len()).expect("a frame is far below 4 GiB"),
            entries: self.entries,
            position: self.at,
            flags: stamp.flags | self.flags,
            ..*stamp
        };
        head.copy_from_slice(&header.encode());
        while !rest.is_empty() {
            let sealed = seal_entry(rest);
            rest = rest.split_at_mut(sealed).1;
        }
        // It may be kept for long, and its length is what is counted of it.
        if self.buffer.spare_capacity_mut().len() > self.buffer.len() / 8 + SPARE_BYTES {
            self.buffer.shrink_to_fit();
        }
        Bytes::from(self.buffer)
    }
}

/// Puts the checksums into the entry at the start of `bytes`; says how long it is.
fn seal_entry(bytes: &mut [u8]) -> usize {
    let (head, payload) = bytes
        .split_first_chunk_mut::<ENTRY_HEADER_BYTES>()
        .expect("only push adds to the buffer, and it adds whole entries");
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    let crc = crc32c(&[payload.split_at(length).0]);
    head[28..32].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c(&[&head[..36]]);
    head[36..40].copy_from_slice(&crc.to_le_bytes());
    entry_bytes(length)
}

/// Makes a whole sealed frame one that lies at `to`, with new checksums for header and entries.
///
/// Numbers, times and payloads stay. `synced` is what the header says then; both chunks have this salt.
///
/// # Errors
///
/// If `bytes` is no whole frame; they may be changed in part then.
pub fn restamp(
    bytes: &mut [u8],
    to: Position,
    synced: Position,
    salt: Salt,
) -> Result<(), RestampError> {
    let (head, mut rest) = bytes
        .split_first_chunk_mut::<FRAME_HEADER_BYTES>()
        .ok_or(FrameError::Truncated)?;
    let from = Position(u64_at(head, 24));
    let header = FrameHeader::read(head, from, salt)?;
    if rest.len() != header.length as usize {
        return Err(FrameError::Truncated.into());
    }
    let mut place = from.offset() + 64;
    let mut new_place = to.offset() + 64;
    *head = FrameHeader {
        position: to,
        synced,
        ..header
    }
    .encode();
    while !rest.is_empty() {
        let (entry, payload_crc) = EntryHeader::read(rest, place)?;
        let bytes = entry.total_bytes();
        let (this, after) = rest
            .split_at_mut_checked(bytes)
            .ok_or(FrameError::Truncated)?;
        if let Some(head) = this.first_chunk_mut() {
            *head = entry.encode(new_place, payload_crc);
        }
        let bytes = u32::try_from(bytes).map_err(|_too_long| FrameError::Truncated)?;
        place += bytes;
        new_place += bytes;
        rest = after;
    }
    Ok(())
}

/// Why bytes can't be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestampError {
    /// The frame is not whole.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// One of its entries is not whole.
    #[error(transparent)]
    Entry(#[from] EntryError),
}
