//! An entry: one change, inside a frame, with checksums of its own.
//!
//! ```text
//! byte  0  kind            u16
//!       2  version         u8     of the payload's layout
//!       3  flags           u8     meaning depends on the kind
//!       4  length          u32    of the payload, without padding
//!       8  object          u64    partition, group, subscription ... by kind
//!      16  base            i64    first offset, or what the kind says
//!      24  count           u32    how many offsets from base on, or what the kind says
//!      28  payload crc     u32    CRC-32C of the payload
//!      32  place           u32    low 32 bits of the entry's own position: its offset in its chunk
//!      36  header crc      u32    CRC-32C of bytes 0 to 36
//!      40  payload, then zeroes up to a multiple of 8
//! ```
//!
//! The header is checked apart from the payload, so that a damaged payload still says which offsets
//! of which partition are lost. `place` tells an entry from a stale copy of one. In a sorted chunk it
//! is the offset in that chunk: whoever moves an entry stamps it anew.

use mulgil_record::crc::crc32c;

/// Bytes before the payload.
pub const ENTRY_HEADER_BYTES: usize = 40;

/// What an entry changes. The numbers are on disk and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum EntryKind {
    /// A record batch with its facts. object: partition; base, count: its offsets.
    Batch = 1,
    /// A single-record batch stored once, for references to name. object: 0; base: its id, which is
    /// the position where it was first written. It keeps the id wherever it is moved.
    Payload = 2,
    /// A record that is a reference to a payload. object: partition; base, count: its offsets.
    Reference = 3,
    /// A change of a subscription. object: subscription; base: partition.
    Subscription = 4,
    /// Offsets committed by a consumer group. object: group.
    GroupOffsets = 5,
    /// A change of metadata. object: 0; base: revision.
    Metadata = 6,
    /// A change of what is known of producers, other than by a batch. object: partition.
    ProducerState = 7,
    /// A block of producer ids was taken, or an epoch raised. base: first id; count: how many.
    ProducerEpoch = 8,
    /// A transaction begins. object: its producer id.
    TransactionBegin = 9,
    /// A transaction ends: commit or abort. object: its producer id.
    TransactionMarker = 10,
    /// Facts of batches written before, paid later. object: partition; base, count: offsets.
    LateFacts = 11,
    /// Offsets below `base` may be given without a further sync. object: partition.
    OffsetCeiling = 12,
    /// Chunks added to and removed from the set. object: 0.
    ChunkSet = 13,
    /// A page of a machine's checkpoint. object: the machine's; base: page; count: pages in all.
    CheckpointPage = 14,
    /// All before this frame is synced. object: 0. Filler, too, where a repair took something out.
    SyncedMark = 15,
    /// A new leadership of all partitions. object: 0; base: the epoch.
    LeaderEpoch = 16,
    /// A partition now starts at `base`. object: partition.
    LogStart = 17,
    /// A change of a consumer group, other than its offsets. object: group.
    Group = 18,
    /// The true end of a partition at a clean stop. object: partition; base: its next offset.
    TrueEnd = 19,
}

impl EntryKind {
    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Batch,
            2 => Self::Payload,
            3 => Self::Reference,
            4 => Self::Subscription,
            5 => Self::GroupOffsets,
            6 => Self::Metadata,
            7 => Self::ProducerState,
            8 => Self::ProducerEpoch,
            9 => Self::TransactionBegin,
            10 => Self::TransactionMarker,
            11 => Self::LateFacts,
            12 => Self::OffsetCeiling,
            13 => Self::ChunkSet,
            14 => Self::CheckpointPage,
            15 => Self::SyncedMark,
            16 => Self::LeaderEpoch,
            17 => Self::LogStart,
            18 => Self::Group,
            19 => Self::TrueEnd,
            _ => return None,
        })
    }
}

/// What an entry says of itself, before its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// What it changes.
    pub kind: EntryKind,
    /// Version of the payload's layout.
    pub version: u8,
    /// Meaning depends on the kind.
    pub flags: u8,
    /// Bytes of payload, without padding.
    pub length: u32,
    /// Which partition, group, ... by kind.
    pub object: u64,
    /// First offset, or what the kind says.
    pub base: i64,
    /// How many offsets, or what the kind says.
    pub count: u32,
}

/// Why bytes are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes end before the entry does.
    #[error("entry of {needed} bytes, but only {present} are there")]
    Truncated {
        /// Bytes the entry needs.
        needed: usize,
        /// Bytes that are there.
        present: usize,
    },
    /// The header's checksum does not match, or it lies where it was not written.
    #[error("entry header is damaged")]
    HeaderDamaged,
    /// The header is whole, the payload is not.
    #[error("entry payload is damaged")]
    PayloadDamaged(EntryHeader),
    /// Written by a newer version.
    #[error("entry kind {0} is unknown to this version")]
    UnknownKind(u16),
}

/// Bytes that an entry with `payload` bytes takes in the log.
#[must_use]
pub const fn entry_bytes(payload: usize) -> usize {
    ENTRY_HEADER_BYTES + payload.next_multiple_of(8)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

impl EntryHeader {
    /// Bytes of the whole entry, padding included.
    #[must_use]
    pub const fn total_bytes(&self) -> usize {
        entry_bytes(self.length as usize)
    }

    /// The last offset, for kinds that speak of offsets.
    #[must_use]
    pub const fn last(&self) -> i64 {
        // Whoever wrote the entry may have said anything: its checksum covers lies as well.
        self.base.saturating_add(self.count as i64 - 1)
    }

    /// The header as bytes, with `place` (the entry's offset in its chunk) and checksums.
    #[must_use]
    pub fn encode(&self, place: u32, payload_crc: u32) -> [u8; ENTRY_HEADER_BYTES] {
        let mut out = [0; ENTRY_HEADER_BYTES];
        out[0..2].copy_from_slice(&(self.kind as u16).to_le_bytes());
        out[2] = self.version;
        out[3] = self.flags;
        out[4..8].copy_from_slice(&self.length.to_le_bytes());
        out[8..16].copy_from_slice(&self.object.to_le_bytes());
        out[16..24].copy_from_slice(&self.base.to_le_bytes());
        out[24..28].copy_from_slice(&self.count.to_le_bytes());
        out[28..32].copy_from_slice(&payload_crc.to_le_bytes());
        out[32..36].copy_from_slice(&place.to_le_bytes());
        let crc = crc32c(&[&out[..36]]);
        out[36..40].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header at the start of `bytes`, which lies at `place` of its chunk.
    ///
    /// # Errors
    ///
    /// Too few bytes, a wrong checksum or place, or a kind of a newer version.
    pub fn read(bytes: &[u8], place: u32) -> Result<(Self, u32), EntryError> {
        let Some(header) = bytes.get(..ENTRY_HEADER_BYTES) else {
            let needed = ENTRY_HEADER_BYTES;
            return Err(EntryError::Truncated {
                needed,
                present: bytes.len(),
            });
        };
        let crc = crc32c(&[header.get(..36).unwrap_or_default()]);
        if crc != u32_at(header, 36) || u32_at(header, 32) != place {
            return Err(EntryError::HeaderDamaged);
        }
        let number = u16_at(header, 0);
        let kind = EntryKind::from_number(number).ok_or(EntryError::UnknownKind(number))?;
        let header = Self {
            kind,
            version: header.get(2).copied().unwrap_or_default(),
            flags: header.get(3).copied().unwrap_or_default(),
            length: u32_at(header, 4),
            object: u64_at(header, 8),
            base: u64_at(header, 16).cast_signed(),
            count: u32_at(header, 24),
        };
        Ok((header, u32_at(bytes, 28)))
    }
}

/// One entry, checked, as it lies in `bytes`.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What it says of itself.
    pub header: EntryHeader,
    /// Its payload, without padding.
    pub payload: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads and checks the entry at the start of `bytes`, which lies at `place` of its chunk.
    ///
    /// # Errors
    ///
    /// As [`EntryHeader::read`], or a payload that is cut short or damaged.
    pub fn read(bytes: &'a [u8], place: u32) -> Result<Self, EntryError> {
        let (header, payload_crc) = EntryHeader::read(bytes, place)?;
        let end = ENTRY_HEADER_BYTES + header.length as usize;
        let Some(payload) = bytes.get(ENTRY_HEADER_BYTES..end) else {
            return Err(EntryError::Truncated {
                needed: end,
                present: bytes.len(),
            });
        };
        if crc32c(&[payload]) != payload_crc {
            return Err(EntryError::PayloadDamaged(header));
        }
        Ok(Self { header, payload })
    }
}
