//! The fixed part of a batch: its first 61 bytes.

use super::{BatchError, HEADER_BYTES, MAGIC, NO_SEQUENCE, PREFIX_BYTES};
use crate::compression::Codec;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Everything that a batch says of itself before its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Bytes after the length field itself: Kafka's `batchLength`.
    pub length: i32,
    /// Under which leadership it was written.
    pub leader_epoch: LeaderEpoch,
    /// Message format: always 2.
    pub magic: i8,
    /// CRC-32C of the bytes from the attributes on.
    pub crc: u32,
    /// Codec and kind.
    pub attributes: Attributes,
    /// Offset of its last record, counted from the base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamps count from, ms since 1970.
    pub base_timestamp: i64,
    /// Largest timestamp of its records, ms since 1970; -1 if they have none.
    pub max_timestamp: i64,
    /// Who wrote it.
    pub producer_id: ProducerId,
    /// Which incarnation of the producer.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of its first record; -1 if the producer is not idempotent.
    pub base_sequence: i32,
    /// How many records it has.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`.
    ///
    /// Checks the magic and that the length is possible, nothing else: `bytes` may hold the header
    /// alone, and the checksum is not looked at.
    ///
    /// # Errors
    ///
    /// [`BatchError::Truncated`], [`BatchError::UnsupportedMagic`] or [`BatchError::Length`].
    pub fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        let short = BatchError::Truncated {
            needed: HEADER_BYTES,
            got: bytes.len(),
        };
        if bytes.len() > 16 {
            check_magic(bytes)?;
        }
        let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(short)?;
        let mut fields = Fields(fixed);
        let header = Self {
            base_offset: Offset(i64::from_be_bytes(fields.take())),
            length: i32::from_be_bytes(fields.take()),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(fields.take())),
            magic: i8::from_be_bytes(fields.take()),
            crc: u32::from_be_bytes(fields.take()),
            attributes: Attributes(i16::from_be_bytes(fields.take())),
            last_offset_delta: i32::from_be_bytes(fields.take()),
            base_timestamp: i64::from_be_bytes(fields.take()),
            max_timestamp: i64::from_be_bytes(fields.take()),
            producer_id: ProducerId(i64::from_be_bytes(fields.take())),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(fields.take())),
            base_sequence: i32::from_be_bytes(fields.take()),
            record_count: i32::from_be_bytes(fields.take()),
        };
        if header.total_bytes() < HEADER_BYTES {
            return Err(BatchError::Length(header.length));
        }
        Ok(header)
    }

    /// Writes the header as its bytes.
    pub(super) fn write(&self, out: &mut [u8; HEADER_BYTES]) {
        let parts: [&[u8]; 13] = [
            &self.base_offset.0.to_be_bytes(),
            &self.length.to_be_bytes(),
            &self.leader_epoch.0.to_be_bytes(),
            &self.magic.to_be_bytes(),
            &self.crc.to_be_bytes(),
            &self.attributes.0.to_be_bytes(),
            &self.last_offset_delta.to_be_bytes(),
            &self.base_timestamp.to_be_bytes(),
            &self.max_timestamp.to_be_bytes(),
            &self.producer_id.0.to_be_bytes(),
            &self.producer_epoch.0.to_be_bytes(),
            &self.base_sequence.to_be_bytes(),
            &self.record_count.to_be_bytes(),
        ];
        let mut rest = &mut out[..];
        for part in parts {
            rest.split_off_mut(..part.len())
                .expect("61 bytes in all")
                .copy_from_slice(part);
        }
    }

    /// Bytes of the whole batch, header included; what the length field says and no more.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        total_bytes(self.length)
    }

    /// Offset of its last record. Stays what it was when compaction takes records away.
    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        Offset(
            self.base_offset
                .0
                .saturating_add(self.last_offset_delta as i64),
        )
    }

    /// From when on its tombstones may go, ms since 1970, if compaction has said so (KIP-534).
    #[must_use]
    pub const fn delete_horizon(&self) -> Option<i64> {
        if self.attributes.has_delete_horizon() {
            Some(self.base_timestamp)
        } else {
            None
        }
    }

    /// Sequence number of its last record, or -1 if its producer is not idempotent.
    ///
    /// After the largest `i32` comes 0, as in Kafka's `DefaultRecordBatch.incrementSequence`.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }
}

pub(super) fn total_bytes(length: i32) -> usize {
    PREFIX_BYTES + usize::try_from(length).unwrap_or(0)
}

/// Looks at the magic, which lies at byte 16 of every message format.
pub(super) fn check_magic(bytes: &[u8]) -> Result<(), BatchError> {
    match bytes.get(16).map(|byte| byte.cast_signed()) {
        Some(MAGIC) => Ok(()),
        Some(magic) => Err(BatchError::UnsupportedMagic(magic)),
        None => Err(BatchError::Truncated {
            needed: HEADER_BYTES,
            got: bytes.len(),
        }),
    }
}

/// Hands out the fields of a header one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self
            .0
            .split_first_chunk()
            .expect("the fields are 61 bytes in all");
        self.0 = rest;
        *field
    }
}

/// Codec and kind of a batch, as bits.
///
/// Bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon; the rest is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;
    const KNOWN: i16 = 0x7f;

    /// How the records are compressed.
    ///
    /// # Errors
    ///
    /// [`BatchError::UnknownCodec`] for an id that Kafka does not define.
    pub fn codec(self) -> Result<Codec, BatchError> {
        let [_, low] = (self.0 & Self::CODEC).to_be_bytes();
        Codec::from_id(low).ok_or(BatchError::UnknownCodec(low))
    }

    /// Whether the records belong to a transaction.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the records are for the broker and readers' internals, such as transaction markers.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether all records have the batch's maximum timestamp: the time when it was appended.
    #[must_use]
    pub const fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Whether the base timestamp is the time from which tombstones may go (KIP-534).
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// Whether bits are set that Kafka does not define.
    #[must_use]
    pub const fn has_unknown(self) -> bool {
        self.0 & !Self::KNOWN != 0
    }

    /// These attributes, with the time of appending as timestamp type.
    #[must_use]
    pub const fn with_log_append_time(self) -> Self {
        Self(self.0 | Self::LOG_APPEND_TIME)
    }

    /// These attributes, of a batch whose base timestamp is its delete horizon.
    #[must_use]
    pub(super) const fn with_delete_horizon(self) -> Self {
        Self(self.0 | Self::DELETE_HORIZON)
    }

    /// These attributes, with the records packed by `codec`.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !Self::CODEC | i16::from(codec.id()))
    }

    /// These attributes, of a batch in a transaction.
    #[must_use]
    pub const fn with_transactional(self) -> Self {
        Self(self.0 | Self::TRANSACTIONAL)
    }
}

impl From<Codec> for Attributes {
    fn from(codec: Codec) -> Self {
        Self(i16::from(codec.id()))
    }
}
