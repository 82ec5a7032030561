//! The record batch of Kafka, version 2 (magic 2): the one format that is stored and sent.
//!
//! ```text
//!  0 base offset      i64  -- not covered by the CRC: the broker stamps them
//!  8 length           i32     (bytes after this field)
//! 12 leader epoch     i32  --
//! 16 magic            i8
//! 17 crc              u32     CRC-32C of everything below
//! 21 attributes       i16
//! 23 last offset delta i32
//! 27 base timestamp   i64     ms since 1970
//! 35 max timestamp    i64     ms since 1970
//! 43 producer id      i64
//! 51 producer epoch   i16
//! 53 base sequence    i32
//! 57 record count     i32
//! 61 records, compressed as a whole if the attributes say so
//! ```
//!
//! A [`Batch`] is one whole batch whose length and checksum were checked. It is never taken apart
//! unless somebody asks for its records.

mod builder;
mod error;
mod header;
mod record;
mod repack;
mod retain;

use bytes::Bytes;

use crate::compression::{self, Codec};
use crate::crc::crc32c;
use crate::ids::{LeaderEpoch, Offset, ProducerId};

pub use builder::BatchBuilder;
pub use error::{BatchError, RecordError};
pub use header::{Attributes, BatchHeader};
pub use record::{DecodeLimits, DecodedRecords, Headers, Record, RecordView, TimestampAt};
pub use retain::Retained;

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
/// Bytes before those that the length field counts: base offset and the length itself.
pub const PREFIX_BYTES: usize = 12;
/// The timestamp of a record that has none.
pub const NO_TIMESTAMP: i64 = -1;
/// The base sequence of a batch whose producer is not idempotent.
pub const NO_SEQUENCE: i32 = -1;

/// The only format that is taken and written.
const MAGIC: i8 = 2;
/// First byte that the CRC covers.
const CRC_FROM: usize = 21;
/// Smallest length field of any message format: a message of magic 0 without key and value.
const SMALLEST_LENGTH: i32 = 14;

/// One whole batch, with consistent length and right checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What its first 61 bytes say.
    pub header: BatchHeader,
    /// All its bytes, header included.
    pub bytes: Bytes,
}

impl Batch {
    /// Checks one batch: magic, exact length, CRC-32C, and that counts are not negative.
    ///
    /// Costs one pass over the bytes; the records are not looked at.
    ///
    /// # Errors
    ///
    /// [`BatchError`] that names what is wrong.
    pub fn check(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::read(&bytes)?;
        let (needed, got) = (header.total_bytes(), bytes.len());
        if got < needed {
            return Err(BatchError::Truncated { needed, got });
        }
        if got > needed {
            return Err(BatchError::BytesAfterBatch {
                bytes: got - needed,
            });
        }
        let computed = crc32c(&[covered(&bytes)]);
        if computed != header.crc {
            return Err(BatchError::Crc {
                stored: header.crc,
                computed,
            });
        }
        let (count, last_offset_delta) = (header.record_count, header.last_offset_delta);
        if count < 0 || last_offset_delta < 0 {
            return Err(BatchError::Counts {
                count,
                last_offset_delta,
            });
        }
        Ok(Self { header, bytes })
    }

    /// Checks what a producer's batch must hold beyond [`Batch::check`], from the header alone.
    ///
    /// The rules are those of Kafka's `LogValidator`; beyond them, attributes that Kafka does not
    /// define and a delete horizon are refused. Base offset and leader epoch do not matter.
    ///
    /// # Errors
    ///
    /// [`BatchError`] that names the rule.
    pub fn check_produced(&self) -> Result<(), BatchError> {
        let header = &self.header;
        let (count, last_offset_delta) = (header.record_count, header.last_offset_delta);
        if count <= 0 || last_offset_delta != count - 1 {
            return Err(BatchError::Counts {
                count,
                last_offset_delta,
            });
        }
        let attributes = header.attributes;
        attributes.codec()?;
        if attributes.is_control() {
            return Err(BatchError::ControlFromProducer);
        }
        if attributes.is_log_append_time() {
            return Err(BatchError::LogAppendTimeFromProducer);
        }
        if attributes.has_unknown() || attributes.has_delete_horizon() {
            return Err(BatchError::Attributes(attributes.0));
        }
        let (id, epoch) = (header.producer_id.0, header.producer_epoch.0);
        let sequence = header.base_sequence;
        let idempotent = id >= 0 && epoch >= 0 && sequence >= 0;
        // Some clients leave epoch and sequence at 0 without a producer id, so those are not judged.
        let plain = id == ProducerId::NONE.0 && !attributes.is_transactional();
        if !(idempotent || plain) {
            return Err(BatchError::Producer {
                id,
                epoch,
                sequence,
            });
        }
        Ok(())
    }

    /// Unpacks the records and checks each of them once.
    ///
    /// # Errors
    ///
    /// [`BatchError::Record`] names the first bad record by its place; see [`BatchError`] for what
    /// concerns the whole.
    pub fn records(&self, limits: DecodeLimits) -> Result<DecodedRecords, BatchError> {
        DecodedRecords::decode(self, limits)
    }

    /// This batch with the time of appending, as [`set_log_append_time`].
    #[must_use]
    pub fn with_log_append_time(&self, now_ms: i64) -> Self {
        let mut header = self.header;
        header.attributes = header.attributes.with_log_append_time();
        header.max_timestamp = now_ms;
        let mut bytes = self.bytes.to_vec();
        header.crc = stamp_append_time(&mut bytes, header.attributes, now_ms);
        Self {
            header,
            bytes: bytes.into(),
        }
    }

    /// The records as they are stored: compressed, if the attributes say so.
    #[must_use]
    pub fn stored_records(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    fn payload(&self, limit_bytes: usize) -> Result<Bytes, BatchError> {
        let codec = self.header.attributes.codec()?;
        let stored = self.stored_records();
        if codec == Codec::None && stored.len() <= limit_bytes {
            return Ok(stored);
        }
        Ok(compression::decompress(codec, &stored, limit_bytes)?.into())
    }
}

/// Cuts a record set, several batches back to back, into its batches without copying.
///
/// Only lengths and magic are looked at; [`Batch::check`] does the rest. An empty set has no batch.
///
/// # Errors
///
/// [`BatchError::Truncated`] and [`BatchError::Length`] if the lengths do not add up,
/// [`BatchError::UnsupportedMagic`] for the message formats before version 2.
pub fn split(mut bytes: Bytes) -> Result<Vec<Bytes>, BatchError> {
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        let total = first_batch_bytes(&bytes)?;
        batches.push(bytes.split_to(total));
    }
    Ok(batches)
}

/// Bytes of the batch at the front, all of them there.
fn first_batch_bytes(bytes: &[u8]) -> Result<usize, BatchError> {
    let got = bytes.len();
    // Both the old messages and the batches have their length here and their magic at byte 16.
    let Some([_, _, _, _, _, _, _, _, length @ ..]) = bytes.first_chunk::<PREFIX_BYTES>() else {
        return Err(BatchError::Truncated {
            needed: HEADER_BYTES,
            got,
        });
    };
    let length = i32::from_be_bytes(*length);
    if length < SMALLEST_LENGTH {
        return Err(BatchError::Length(length));
    }
    let needed = header::total_bytes(length);
    if got < needed {
        return Err(BatchError::Truncated { needed, got });
    }
    header::check_magic(bytes)?;
    if needed < HEADER_BYTES {
        return Err(BatchError::Length(length));
    }
    Ok(needed)
}

/// Writes base offset and leader epoch into a batch. Its CRC does not cover them.
///
/// # Panics
///
/// If `batch` is shorter than a header: only checked batches are stamped.
pub fn restamp(batch: &mut [u8], base: Offset, epoch: LeaderEpoch) {
    put(batch, 0, base.0.to_be_bytes());
    put(batch, 12, epoch.0.to_be_bytes());
}

/// A copy of a batch whose records all have the timestamp `now_ms`: the time of appending.
///
/// Sets the timestamp type and the maximum timestamp and computes the CRC anew; records are not
/// touched, because readers take the batch's maximum for all of them (Kafka's
/// `message.timestamp.type=LogAppendTime`).
///
/// # Panics
///
/// If `batch` is shorter than a header: only checked batches are changed.
#[must_use]
pub fn set_log_append_time(batch: &[u8], now_ms: i64) -> Vec<u8> {
    let mut batch = batch.to_vec();
    let header = BatchHeader::read(&batch).expect("only checked batches are changed");
    stamp_append_time(&mut batch, header.attributes.with_log_append_time(), now_ms);
    batch
}

/// Writes the attributes and the time of appending, and gives the new CRC.
fn stamp_append_time(batch: &mut [u8], attributes: Attributes, now_ms: i64) -> u32 {
    put(batch, 21, attributes.0.to_be_bytes());
    put(batch, 35, now_ms.to_be_bytes());
    seal(batch)
}

/// Computes the CRC of a batch and writes it in.
fn seal(batch: &mut [u8]) -> u32 {
    let crc = crc32c(&[covered(batch)]);
    put(batch, 17, crc.to_be_bytes());
    crc
}

fn covered(batch: &[u8]) -> &[u8] {
    batch.get(CRC_FROM..).expect("a batch has a header")
}

fn put<const N: usize>(batch: &mut [u8], at: usize, field: [u8; N]) {
    batch
        .get_mut(at..at + N)
        .expect("a batch has a header")
        .copy_from_slice(&field);
}

#[cfg(test)]
mod tests;
