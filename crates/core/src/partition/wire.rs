//! A partition's state as bytes: what its page of a checkpoint holds.
//!
//! ```text
//! version u8 = 2
//! start i64, next i64, ceiling i64, leader epoch i32, max timestamp i64
//! u32 n, then n epochs:    epoch i32, start offset i64
//! u32 n, then n producers: id i64, epoch i16, last write u64 (running time), may skip u8,
//!                          u8 m, then m batches: first i32, last i32, base offset i64
//! ```
//!
//! All numbers are little-endian. Counts are checked against the bytes that are left before anything
//! is allocated.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::{Buf, BufMut};
use mulgil_record::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::{Partition, Producer, Remembered};
use crate::machine::Elapsed;

/// Version 1 had the last write of a producer by the wall clock.
const VERSION: u8 = 2;
const EPOCH_BYTES: usize = 12;
const PRODUCER_BYTES_MIN: usize = 20;
const BATCH_BYTES: usize = 16;

/// Bytes are not a partition's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the state of a partition that this version knows")]
pub struct WireError;

impl From<bytes::TryGetError> for WireError {
    fn from(_: bytes::TryGetError) -> Self {
        Self
    }
}

/// Writes the state of `partition` to `out`.
///
/// # Panics
///
/// Never: a producer's batches are at most five, and nothing else comes near 2^32.
pub fn encode(partition: &Partition, out: &mut Vec<u8>) {
    out.put_u8(VERSION);
    out.put_i64_le(partition.start.0);
    out.put_i64_le(partition.next.0);
    out.put_i64_le(partition.ceiling.0);
    out.put_i32_le(partition.leader_epoch.0);
    out.put_i64_le(partition.max_timestamp);
    put_count(out, partition.epochs.len());
    for (epoch, start) in &partition.epochs {
        out.put_i32_le(epoch.0);
        out.put_i64_le(start.0);
    }
    put_count(out, partition.producers.len());
    for (id, producer) in &partition.producers {
        out.put_i64_le(id.0);
        out.put_i16_le(producer.epoch.0);
        out.put_u64_le(producer.last_write.0);
        out.put_u8(u8::from(producer.may_skip));
        out.put_u8(u8::try_from(producer.batches.len()).expect("at most five are remembered"));
        for batch in &producer.batches {
            out.put_i32_le(batch.first);
            out.put_i32_le(batch.last);
            out.put_i64_le(batch.base.0);
        }
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32_le(u32::try_from(count).expect("a partition has far fewer than 2^32 of anything"));
}

/// Reads a state back.
///
/// # Errors
///
/// The bytes are none, or of a newer version.
pub fn decode(mut from: &[u8]) -> Result<Partition, WireError> {
    let from = &mut from;
    if from.try_get_u8()? != VERSION {
        return Err(WireError);
    }
    let mut partition = Partition::new(LeaderEpoch(0));
    partition.start = Offset(from.try_get_i64_le()?);
    partition.next = Offset(from.try_get_i64_le()?);
    partition.ceiling = Offset(from.try_get_i64_le()?);
    partition.leader_epoch = LeaderEpoch(from.try_get_i32_le()?);
    partition.max_timestamp = from.try_get_i64_le()?;
    let epochs = count(from, EPOCH_BYTES)?;
    partition.epochs.reserve_exact(epochs);
    for _ in 0..epochs {
        let epoch = LeaderEpoch(from.try_get_i32_le()?);
        partition
            .epochs
            .push((epoch, Offset(from.try_get_i64_le()?)));
    }
    partition.producers = producers(from)?;
    if from.is_empty() {
        Ok(partition)
    } else {
        Err(WireError)
    }
}

fn producers(from: &mut &[u8]) -> Result<BTreeMap<ProducerId, Producer>, WireError> {
    let mut producers = BTreeMap::new();
    for _ in 0..count(from, PRODUCER_BYTES_MIN)? {
        let id = ProducerId(from.try_get_i64_le()?);
        let epoch = ProducerEpoch(from.try_get_i16_le()?);
        let last_write = Elapsed(from.try_get_u64_le()?);
        let may_skip = from.try_get_u8()? != 0;
        let remembered = usize::from(from.try_get_u8()?);
        if from.len() < remembered * BATCH_BYTES {
            return Err(WireError);
        }
        let mut batches = VecDeque::with_capacity(remembered);
        for _ in 0..remembered {
            let (first, last) = (from.try_get_i32_le()?, from.try_get_i32_le()?);
            batches.push_back(Remembered {
                first,
                last,
                base: Offset(from.try_get_i64_le()?),
            });
        }
        producers.insert(
            id,
            Producer {
                epoch,
                batches,
                last_write,
                may_skip,
            },
        );
    }
    Ok(producers)
}

/// A count of things that take at least `each` bytes.
fn count(from: &mut &[u8], each: usize) -> Result<usize, WireError> {
    let count = from.try_get_u32_le()? as usize;
    if from.len() / each < count {
        Err(WireError)
    } else {
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_back_and_no_part_of_one_is_taken() {
        let mut partition = Partition::new(LeaderEpoch(3));
        partition.start = Offset(5);
        partition.next = Offset(105);
        partition.ceiling = Offset(1_000);
        partition.max_timestamp = 77;
        partition.epochs = alloc::vec![(LeaderEpoch(1), Offset(5)), (LeaderEpoch(3), Offset(50))];
        let batch = Remembered {
            first: 7,
            last: 9,
            base: Offset(50),
        };
        let producer = Producer {
            epoch: ProducerEpoch(2),
            batches: [batch; 5].into(),
            last_write: Elapsed(99),
            may_skip: true,
        };
        partition.producers.insert(ProducerId(4), producer);
        let mut bytes = Vec::new();
        encode(&partition, &mut bytes);
        assert_eq!(decode(&bytes), Ok(partition));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Err(WireError));
        }
    }
}
