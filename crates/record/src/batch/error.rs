//! What can be wrong with a batch, and with one record of it.

use crate::compression::CompressionError;
use crate::varint::VarintError;

/// Why a batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the batch says it has, or than any batch has.
    #[error("batch ends early: {got} of {needed} bytes")]
    Truncated {
        /// Bytes that the batch takes.
        needed: usize,
        /// Bytes that were there.
        got: usize,
    },
    /// More bytes than the batch says it has.
    #[error("{bytes} bytes follow the batch")]
    BytesAfterBatch {
        /// How many.
        bytes: usize,
    },
    /// The length field is shorter than a batch can be.
    #[error("batch length {0} is too small")]
    Length(i32),
    /// A message format other than version 2.
    #[error("message format {0} is not supported")]
    UnsupportedMagic(i8),
    /// The checksum does not fit the bytes.
    #[error("batch has checksum {stored:08x}, its bytes give {computed:08x}")]
    Crc {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// Record count and last offset delta are impossible, or do not fit each other.
    #[error("batch of {count} records has last offset delta {last_offset_delta}")]
    Counts {
        /// Record count of the header.
        count: i32,
        /// Last offset delta of the header.
        last_offset_delta: i32,
    },
    /// A compression codec that Kafka does not define; its id.
    #[error("compression codec {0} is not known")]
    UnknownCodec(u8),
    /// A producer may not set these attributes.
    #[error("producer may not set batch attributes {0:#06x}")]
    Attributes(i16),
    /// Only brokers write control batches.
    #[error("producer may not write control batches")]
    ControlFromProducer,
    /// Only brokers say when a batch was appended; Kafka's `INVALID_TIMESTAMP`.
    #[error("producer may not set the time of appending")]
    LogAppendTimeFromProducer,
    /// Id, epoch and sequence of the producer do not fit each other.
    #[error("producer id {id}, epoch {epoch} and sequence {sequence} do not fit each other")]
    Producer {
        /// Producer id of the header.
        id: i64,
        /// Producer epoch of the header.
        epoch: i16,
        /// Base sequence of the header.
        sequence: i32,
    },
    /// The records could not be unpacked.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// One record is bad.
    #[error("record {index}: {error}")]
    Record {
        /// Its place in the batch, from 0; Kafka's `batch_index` in a produce response.
        index: i32,
        /// What is wrong with it.
        error: RecordError,
    },
    /// More bytes than the records that the header counts.
    #[error("{bytes} bytes follow the last record")]
    BytesAfterRecords {
        /// How many.
        bytes: usize,
    },
}

/// Why one record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The batch ended before it.
    #[error("not there, the batch ends before it")]
    Missing,
    /// A number in it cannot be read.
    #[error(transparent)]
    Varint(#[from] VarintError),
    /// A length or count in it is negative or reaches beyond its end.
    #[error("length {length} with {left} bytes left")]
    Length {
        /// What it says.
        length: i32,
        /// Bytes that are left for it.
        left: usize,
    },
    /// Its fields end before its length does.
    #[error("{bytes} bytes follow its last header")]
    BytesAfter {
        /// How many.
        bytes: usize,
    },
    /// The key of a header is not UTF-8.
    #[error("key of header {header} is not UTF-8")]
    HeaderKey {
        /// Place of the header in the record, from 0.
        header: usize,
    },
    /// It has more headers than the limits allow.
    #[error("{count} headers, more than {max}")]
    TooManyHeaders {
        /// How many it says it has.
        count: i32,
        /// How many are allowed.
        max: usize,
    },
    /// Its offset does not lie between its predecessor's and the batch's last.
    #[error("offset delta {delta} is out of order")]
    OffsetDelta {
        /// Its offset, counted from the batch's base.
        delta: i32,
    },
    /// Its timestamp is beyond what a timestamp can hold.
    #[error("timestamp delta {delta} is out of range")]
    TimestampDelta {
        /// Its timestamp in ms, counted from the batch's base.
        delta: i64,
    },
}
