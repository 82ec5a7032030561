//! The records of a batch, unpacked once and read as slices of what was unpacked.
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varlong | offset delta varint
//! key: length varint (-1 null), bytes | value: the same | header count varint
//! each header: key length varint, UTF-8 | value length varint (-1 null), bytes
//! ```
//!
//! Decoding walks all records once and checks them; it remembers only where each begins, four
//! bytes a record, so that a batch of many tiny records cannot blow up in memory. Records are then
//! made on demand.

use bytes::Bytes;

use super::{Batch, BatchError, BatchHeader, NO_TIMESTAMP, RecordError};
use crate::ids::Offset;
use crate::varint;

/// How much a batch may unpack to. What the producer sent is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of all records unpacked.
    pub bytes_max: usize,
    /// Headers of one record; each costs 64 bytes and more once it is a [`Record`]'s.
    pub headers_max: usize,
}

impl Default for DecodeLimits {
    /// 128 MiB: what a batch of 1 MiB, the usual largest, may reach with text at 128 : 1.
    fn default() -> Self {
        Self {
            bytes_max: 128 << 20,
            headers_max: 10_000,
        }
    }
}

/// One record, as slices of the unpacked batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset, counted from the batch's base offset.
    pub offset_delta: i32,
    /// Its timestamp in ms, counted from the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Not used by Kafka: 0.
    pub attributes: i8,
    /// Its key, or null.
    pub key: Option<Bytes>,
    /// Its value, or null: a tombstone.
    pub value: Option<Bytes>,
    /// Its headers in their order; the keys are UTF-8 and may repeat.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl Record {
    /// Bytes of key, value and headers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| name.len() + length(value));
        length(&self.key) + length(&self.value) + headers.sum::<usize>()
    }
}

/// One record, borrowed; costs no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its offset, counted from the batch's base offset.
    pub offset_delta: i32,
    /// Its timestamp in ms, counted from the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Not used by Kafka: 0.
    pub attributes: i8,
    /// Its key, or null.
    pub key: Option<&'a [u8]>,
    /// Its value, or null: a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers in their order.
    pub headers: Headers<'a>,
}

/// The headers of a record, read one after the other; keys may repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    count: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        Some(read_header(&mut self.rest, 0).expect("checked when the batch was decoded"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// A record's place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampAt {
    /// Its offset, counted from the batch's base offset.
    pub offset_delta: i32,
    /// Its timestamp, ms since 1970.
    pub timestamp: i64,
}

/// All records of a batch, unpacked and checked.
#[derive(Clone, Debug)]
pub struct DecodedRecords {
    header: BatchHeader,
    payload: Bytes,
    /// Where in `payload` each record begins.
    starts: Vec<u32>,
}

impl DecodedRecords {
    pub(super) fn decode(batch: &Batch, limits: DecodeLimits) -> Result<Self, BatchError> {
        let header = batch.header;
        // Places of records are kept in 32 bits.
        let payload = batch.payload(limits.bytes_max.min(u32::MAX as usize))?;
        let mut starts = Vec::new();
        let mut rest = &payload[..];
        let mut last_delta = -1;
        for index in 0..header.record_count {
            let start = payload.len() - rest.len();
            let bad = |error| BatchError::Record { index, error };
            let view = read_record(&mut rest, limits.headers_max).map_err(bad)?;
            let delta = view.offset_delta;
            if delta <= last_delta || delta > header.last_offset_delta {
                return Err(bad(RecordError::OffsetDelta { delta }));
            }
            last_delta = delta;
            let delta = view.timestamp_delta;
            if header.base_timestamp.checked_add(delta).is_none() {
                return Err(bad(RecordError::TimestampDelta { delta }));
            }
            starts.push(u32::try_from(start).expect("the payload is below 4 GiB"));
        }
        if !rest.is_empty() {
            return Err(BatchError::BytesAfterRecords { bytes: rest.len() });
        }
        Ok(Self {
            header,
            payload,
            starts,
        })
    }

    /// How many records there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether compaction left no record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Bytes of memory that this holds; for the bound of a cache.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.payload.len() + self.starts.capacity() * size_of::<u32>()
    }

    /// All records as they are stored, unpacked.
    pub(super) const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The header of the batch.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The record at place `index`, which is its offset delta unless compaction took records away.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Record> {
        self.view(index).map(|view| self.own(view))
    }

    /// As [`get`](Self::get), borrowed.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "every record was read once when decoding"
    )]
    pub fn view(&self, index: usize) -> Option<RecordView<'_>> {
        let start = usize::try_from(*self.starts.get(index)?).expect("at least 32 bits");
        let mut rest = self.payload.get(start..).expect("the record was there");
        Some(read_record(&mut rest, usize::MAX).expect("checked when the batch was decoded"))
    }

    /// The bytes of the record at place `index`, as they were unpacked.
    pub(super) fn stored(&self, index: usize) -> &[u8] {
        let place = |at: usize| self.starts.get(at).map(|start| *start as usize);
        let end = place(index + 1).unwrap_or(self.payload.len());
        let start = place(index).unwrap_or(end);
        self.payload.get(start..end).expect("the record was there")
    }

    /// The records in their order.
    pub fn iter(&self) -> impl Iterator<Item = Record> + '_ {
        self.views().map(|view| self.own(view))
    }

    /// The records in their order, borrowed.
    pub fn views(&self) -> impl Iterator<Item = RecordView<'_>> + '_ {
        (0..self.len()).filter_map(|index| self.view(index))
    }

    /// The timestamp of a record of this batch, ms since 1970, from its delta.
    ///
    /// With the time of appending as timestamp type, that of the batch.
    #[must_use]
    pub const fn timestamp(&self, timestamp_delta: i64) -> i64 {
        if self.header.attributes.is_log_append_time() {
            return self.header.max_timestamp;
        }
        self.header.base_timestamp.wrapping_add(timestamp_delta)
    }

    /// The offset of a record of this batch, from its delta.
    #[must_use]
    pub const fn offset(&self, offset_delta: i32) -> Offset {
        Offset(
            self.header
                .base_offset
                .0
                .saturating_add(offset_delta as i64),
        )
    }

    /// The first of the records with the largest timestamp; none if no record has a timestamp.
    #[must_use]
    pub fn max_timestamp_record(&self) -> Option<TimestampAt> {
        self.max_timestamp_from(i32::MIN)
    }

    /// As [`Self::max_timestamp_record`], among records whose offset delta is `from_delta` or more.
    #[must_use]
    pub fn max_timestamp_from(&self, from_delta: i32) -> Option<TimestampAt> {
        let later = |best: TimestampAt, next: TimestampAt| {
            if next.timestamp > best.timestamp {
                next
            } else {
                best
            }
        };
        self.timestamps()
            .filter(|at| at.offset_delta >= from_delta)
            .reduce(later)
            .filter(|best| best.timestamp > NO_TIMESTAMP)
    }

    /// The first record, in offset order, whose timestamp is `timestamp` or later.
    #[must_use]
    pub fn first_at_or_after(&self, timestamp: i64) -> Option<TimestampAt> {
        self.first_at_or_after_from(timestamp, i32::MIN)
    }

    /// As [`Self::first_at_or_after`], among records whose offset delta is `from_delta` or more.
    #[must_use]
    pub fn first_at_or_after_from(&self, timestamp: i64, from_delta: i32) -> Option<TimestampAt> {
        let wanted = |at: &TimestampAt| at.timestamp >= timestamp && at.offset_delta >= from_delta;
        self.timestamps().find(wanted)
    }

    fn timestamps(&self) -> impl Iterator<Item = TimestampAt> + '_ {
        self.views().map(|view| TimestampAt {
            offset_delta: view.offset_delta,
            timestamp: self.timestamp(view.timestamp_delta),
        })
    }

    fn own(&self, view: RecordView<'_>) -> Record {
        let own = |bytes| self.payload.slice_ref(bytes);
        let headers = view.headers;
        Record {
            offset_delta: view.offset_delta,
            timestamp_delta: view.timestamp_delta,
            attributes: view.attributes,
            key: view.key.map(own),
            value: view.value.map(own),
            headers: headers
                .map(|(key, value)| (own(key.as_bytes()), value.map(own)))
                .collect(),
        }
    }
}

fn read_record<'a>(
    payload: &mut &'a [u8],
    headers_max: usize,
) -> Result<RecordView<'a>, RecordError> {
    if payload.is_empty() {
        return Err(RecordError::Missing);
    }
    let length = varint::read_i32(payload)?;
    let mut body = take(payload, length)?;
    let [attributes] = *body
        .split_off(..1)
        .and_then(<[u8]>::first_chunk)
        .ok_or(RecordError::Length { length: 1, left: 0 })?;
    let timestamp_delta = varint::read_i64(&mut body)?;
    let offset_delta = varint::read_i32(&mut body)?;
    let key = take_nullable(&mut body)?;
    let value = take_nullable(&mut body)?;
    let count = varint::read_i32(&mut body)?;
    let headers = read_headers(&mut body, count, headers_max)?;
    if !body.is_empty() {
        return Err(RecordError::BytesAfter { bytes: body.len() });
    }
    let attributes = attributes.cast_signed();
    Ok(RecordView {
        offset_delta,
        timestamp_delta,
        attributes,
        key,
        value,
        headers,
    })
}

fn read_headers<'a>(
    body: &mut &'a [u8],
    count: i32,
    max: usize,
) -> Result<Headers<'a>, RecordError> {
    let bad = RecordError::Length {
        length: count,
        left: body.len(),
    };
    let expected = usize::try_from(count).ok().ok_or(bad)?;
    // A header takes two bytes at the least.
    if expected > body.len() / 2 {
        return Err(bad);
    }
    if expected > max {
        return Err(RecordError::TooManyHeaders { count, max });
    }
    let headers = Headers {
        count: expected,
        rest: body,
    };
    for header in 0..expected {
        read_header(body, header)?;
    }
    Ok(headers)
}

fn read_header<'a>(
    body: &mut &'a [u8],
    header: usize,
) -> Result<(&'a str, Option<&'a [u8]>), RecordError> {
    let length = varint::read_i32(body)?;
    let key = take(body, length)?;
    let key = core::str::from_utf8(key)
        .ok()
        .ok_or(RecordError::HeaderKey { header })?;
    Ok((key, take_nullable(body)?))
}

fn take_nullable<'a>(from: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    match varint::read_i32(from)? {
        -1 => Ok(None),
        length => take(from, length).map(Some),
    }
}

fn take<'a>(from: &mut &'a [u8], length: i32) -> Result<&'a [u8], RecordError> {
    let bad = RecordError::Length {
        length,
        left: from.len(),
    };
    let bytes = usize::try_from(length).ok().ok_or(bad)?;
    from.split_off(..bytes).ok_or(bad)
}
