//! Builds a batch from records, for what does not come as a batch: other protocols, and tests.

use bytes::Bytes;

use super::{
    Attributes, Batch, BatchHeader, HEADER_BYTES, MAGIC, NO_SEQUENCE, NO_TIMESTAMP, PREFIX_BYTES,
    seal,
};
use crate::compression::{self, Codec};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use crate::varint;

/// Collects records and makes one batch of them.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    attributes: Attributes,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    count: i32,
    /// Room for the header, then the records.
    bytes: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch; the records' timestamps are stored counted from `base_timestamp`, ms since
    /// 1970, and are shortest when near to it.
    #[must_use]
    pub fn new(codec: Codec, base_timestamp: i64) -> Self {
        Self {
            codec,
            attributes: Attributes::from(codec),
            base_timestamp,
            max_timestamp: NO_TIMESTAMP,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: NO_SEQUENCE,
            count: 0,
            bytes: vec![0; HEADER_BYTES],
        }
    }

    /// Names an idempotent producer and the sequence number of the first record.
    #[must_use]
    pub const fn producer(
        mut self,
        id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: i32,
    ) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    /// Makes the records part of a transaction of the producer.
    #[must_use]
    pub const fn transactional(mut self) -> Self {
        self.attributes = self.attributes.with_transactional();
        self
    }

    /// Adds a record.
    ///
    /// # Panics
    ///
    /// If a header key is not UTF-8, or the record is 2 GiB or longer, or a timestamp lies more
    /// than an `i64` from the base.
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        let delta = timestamp_ms
            .checked_sub(self.base_timestamp)
            .expect("a timestamp near base");
        let fields = headers.iter().map(|(key, value)| {
            assert!(core::str::from_utf8(key).is_ok(), "header keys are UTF-8");
            field_bytes(Some(key)) + field_bytes(*value)
        });
        let body = 1
            + varint::len(delta)
            + varint::len(i64::from(self.count))
            + field_bytes(key)
            + field_bytes(value)
            + varint::len(i64::from(length(headers.len())))
            + fields.sum::<usize>();
        let out = &mut self.bytes;
        out.reserve(varint::I32_BYTES_MAX + body);
        varint::write_i32(out, length(body));
        out.push(0);
        varint::write_i64(out, delta);
        varint::write_i32(out, self.count);
        write_field(out, key);
        write_field(out, value);
        varint::write_i32(out, length(headers.len()));
        for (key, value) in headers {
            write_field(out, Some(key));
            write_field(out, *value);
        }
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
    }

    /// Bytes of the batch so far, header included, before compression.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many records there are so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count.unsigned_abs() as usize
    }

    /// Whether there is no record yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch, with base offset 0 and no leader epoch: the broker stamps them.
    ///
    /// # Panics
    ///
    /// If there is no record, or if the batch is 2 GiB or longer.
    #[must_use]
    pub fn finish(self) -> Batch {
        assert!(self.count > 0, "a batch has records");
        let mut bytes = self.bytes;
        if self.codec != Codec::None {
            let records = bytes.get(HEADER_BYTES..).expect("room for the header");
            let packed = compression::compress(self.codec, records).expect("memory is there");
            bytes.truncate(HEADER_BYTES);
            bytes.extend_from_slice(&packed);
        }
        let mut header = BatchHeader {
            base_offset: Offset::ZERO,
            length: length(bytes.len() - PREFIX_BYTES),
            leader_epoch: LeaderEpoch::NONE,
            magic: MAGIC,
            crc: 0,
            attributes: self.attributes,
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.count,
        };
        header.write(bytes.first_chunk_mut().expect("room for the header"));
        header.crc = seal(&mut bytes);
        Batch {
            header,
            bytes: Bytes::from(bytes),
        }
    }
}

fn field_bytes(field: Option<&[u8]>) -> usize {
    let bytes = field.map_or(0, <[u8]>::len);
    bytes + varint::len(field.map_or(-1, |_| i64::from(length(bytes))))
}

fn write_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        Some(bytes) => {
            varint::write_i32(out, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
        None => varint::write_i32(out, -1),
    }
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a record is below 2 GiB")
}
