//! A batch of which only some records stay, as compaction leaves it.
//!
//! What names the batch stays: base offset, last offset delta, leader epoch, producer and sequence.
//! So readers go on behind all of its offsets, and a duplicate is still one. Records keep their
//! offsets and their bytes; only their timestamps are counted anew when the batch gets a horizon.
//!
//! The *delete horizon* (KIP-534) is the time from which tombstones of the batch may go. It takes the
//! place of the base timestamp, and a bit of the attributes says so: any reader that adds base and
//! delta finds the right timestamps without knowing of it.

use super::record::DecodedRecords;
use super::{BatchError, HEADER_BYTES, NO_TIMESTAMP, PREFIX_BYTES, RecordError, seal};
use crate::compression::{self, Codec};
use crate::varint;

/// What stays of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retained {
    /// The batch as it is.
    All,
    /// Nothing.
    None,
    /// A batch with the records that stay.
    Some(Vec<u8>),
}

impl DecodedRecords {
    /// The batch with only those records for which `kept` is true, by their place.
    ///
    /// A batch that has no delete horizon gets `horizon`, ms since 1970, if one is given. The largest
    /// timestamp becomes that of the records that stay, unless it is the time of appending. The codec
    /// stays the same.
    ///
    /// # Errors
    ///
    /// [`BatchError::Record`] if a timestamp lies more than an `i64` from the horizon,
    /// [`BatchError::Compression`] if memory runs out.
    ///
    /// # Panics
    ///
    /// If `kept` has not one value for each record, or the records take 2 GiB.
    pub fn retain(&self, kept: &[bool], horizon: Option<i64>) -> Result<Retained, BatchError> {
        assert!(kept.len() == self.len(), "one value for each record");
        let mut header = *self.header();
        let horizon = horizon.filter(|_| header.delete_horizon().is_none());
        let count = kept.iter().filter(|kept| **kept).count();
        if count == 0 {
            return Ok(Retained::None);
        }
        if count == kept.len() && horizon.is_none() {
            return Ok(Retained::All);
        }
        let mut records = Vec::new();
        let mut max_timestamp = NO_TIMESTAMP;
        for (index, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
            let bad = |error| BatchError::Record {
                index: i32::try_from(index).unwrap_or(i32::MAX),
                error,
            };
            let timestamp = self.copy(index, horizon, &mut records).map_err(bad)?;
            max_timestamp = max_timestamp.max(timestamp);
        }
        let codec = header.attributes.codec()?;
        if codec != Codec::None {
            records = compression::compress(codec, &records)?;
        }
        if !header.attributes.is_log_append_time() {
            header.max_timestamp = max_timestamp;
        }
        if let Some(horizon) = horizon {
            header.base_timestamp = horizon;
            header.attributes = header.attributes.with_delete_horizon();
        }
        let total = HEADER_BYTES + records.len();
        header.length = i32::try_from(total - PREFIX_BYTES).expect("a batch is below 2 GiB");
        header.record_count = i32::try_from(count).expect("it had as many or more before");
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.append(&mut records);
        header.write(bytes.first_chunk_mut().expect("room for the header"));
        seal(&mut bytes);
        Ok(Retained::Some(bytes))
    }

    /// Copies a record, its timestamp counted from `base` if there is one; says its timestamp.
    fn copy(&self, index: usize, base: Option<i64>, out: &mut Vec<u8>) -> Result<i64, RecordError> {
        let stored = self.stored(index);
        let mut rest = stored;
        let length = varint::read_i32(&mut rest)?;
        let bad = RecordError::Length {
            length,
            left: rest.len(),
        };
        let attributes = *rest.split_off_first().ok_or(bad)?;
        let delta = varint::read_i64(&mut rest)?;
        let timestamp = self.header().base_timestamp.wrapping_add(delta);
        let Some(base) = base else {
            out.extend_from_slice(stored);
            return Ok(timestamp);
        };
        let delta = timestamp
            .checked_sub(base)
            .ok_or(RecordError::TimestampDelta { delta: timestamp })?;
        let body = 1 + varint::len(delta) + rest.len();
        varint::write_i32(out, i32::try_from(body).expect("a record is below 2 GiB"));
        out.push(attributes);
        varint::write_i64(out, delta);
        out.extend_from_slice(rest);
        Ok(timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, BatchBuilder, DecodeLimits, Record};
    use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

    const HEADERS: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"1")), (b"h", None)];

    fn batch(codec: Codec) -> Batch {
        let mut builder =
            BatchBuilder::new(codec, 5_000).producer(ProducerId(9), ProducerEpoch(3), i32::MAX - 1);
        for (at, timestamp) in (0..6).zip([5_000, 5_900, 4_000, 5_100, 5_200, 5_300]) {
            let value = vec![b'v'; 40 + at];
            let value = (at != 3).then_some(&value[..]);
            builder.push(timestamp, Some(b"k0"), value, HEADERS);
        }
        let mut bytes = builder.finish().bytes.to_vec();
        crate::batch::restamp(&mut bytes, Offset(1_000), LeaderEpoch(4));
        Batch::check(bytes.into()).unwrap()
    }

    fn decoded(bytes: &[u8]) -> DecodedRecords {
        let batch = Batch::check(bytes.to_vec().into()).unwrap();
        batch.records(DecodeLimits::default()).unwrap()
    }

    fn all(records: &DecodedRecords) -> Vec<(i64, i64, Record)> {
        let plain = |record: Record| Record {
            timestamp_delta: 0,
            ..record
        };
        let told = records.iter().map(|record| {
            let offset = records.offset(record.offset_delta).0;
            let timestamp = records.timestamp(record.timestamp_delta);
            (offset, timestamp, plain(record))
        });
        told.collect()
    }

    #[test]
    fn what_stays_keeps_offset_time_and_bytes_and_the_batch_its_name() {
        for codec in Codec::ALL {
            let whole = batch(codec);
            let before = whole.records(DecodeLimits::default()).unwrap();
            for mask in 1..64_u32 {
                let kept: Vec<bool> = (0..6).map(|at| mask >> at & 1 == 1).collect();
                for horizon in [None, Some(0), Some(86_400_000_000), Some(-7)] {
                    let Retained::Some(bytes) = before.retain(&kept, horizon).unwrap() else {
                        assert_eq!((mask, horizon), (63, None));
                        continue;
                    };
                    let after = decoded(&bytes);
                    let mut expected = all(&before);
                    expected.retain(|(offset, ..)| mask >> (offset - 1_000) & 1 == 1);
                    assert_eq!(all(&after), expected);
                    let header = *after.header();
                    assert_eq!(header.delete_horizon(), horizon);
                    let max = expected.iter().map(|(_, time, _)| *time).max().unwrap();
                    let mut same = whole.header;
                    same.crc = header.crc;
                    same.length = header.length;
                    same.max_timestamp = max;
                    same.record_count = i32::try_from(expected.len()).unwrap();
                    same.base_timestamp = header.base_timestamp;
                    same.attributes = header.attributes;
                    assert_eq!(header, same);
                    assert_eq!(header.attributes.codec().unwrap(), codec);
                }
            }
        }
    }

    #[test]
    fn a_horizon_is_set_once_and_everything_or_nothing_needs_no_copy() {
        let whole = batch(Codec::Lz4);
        let before = whole.records(DecodeLimits::default()).unwrap();
        assert_eq!(before.retain(&[true; 6], None), Ok(Retained::All));
        assert_eq!(before.retain(&[false; 6], Some(7)), Ok(Retained::None));
        let Ok(Retained::Some(bytes)) = before.retain(&[true; 6], Some(7)) else {
            panic!("a horizon makes another batch")
        };
        let with = decoded(&bytes);
        assert_eq!(with.retain(&[true; 6], Some(99)), Ok(Retained::All));
        let kept = [true, false, true, true, true, true];
        let Ok(Retained::Some(bytes)) = with.retain(&kept, Some(99)) else {
            panic!("a record went")
        };
        assert_eq!(decoded(&bytes).header().delete_horizon(), Some(7));
    }

    #[test]
    fn the_time_of_appending_stays_and_a_horizon_out_of_reach_is_refused() {
        let appended = batch(Codec::None).with_log_append_time(77_000);
        let before = appended.records(DecodeLimits::default()).unwrap();
        let kept = [true, false, false, false, false, false];
        let Ok(Retained::Some(bytes)) = before.retain(&kept, Some(5)) else {
            panic!("a record stays")
        };
        let after = decoded(&bytes);
        assert_eq!(after.header().max_timestamp, 77_000);
        assert_eq!(all(&after)[0].1, 77_000);
        let refused = before.retain(&kept, Some(i64::MIN));
        assert!(matches!(refused, Err(BatchError::Record { index: 0, .. })));
    }
}
