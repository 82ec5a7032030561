//! What the tests of several modules share: chunks in memory, with entries in them.

use mulgil_record::crc::crc32c;

use crate::access::memory::MemChunk;
use crate::access::{AppendTo, ReadAt};
use crate::chunk::ChunkKind;
use crate::entry::{EntryHeader, EntryKind, entry_bytes};
use crate::fields::i64_at;
use crate::footer::{Footer, FooterBuilder, Sealed};
use crate::index::{Extent, TailEntry};
use crate::seal::write_log_footer;

/// A batch as tests see it: its payload begins with its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sample {
    pub(crate) partition: u64,
    pub(crate) base: i64,
    pub(crate) count: u32,
    pub(crate) timestamp: i64,
    pub(crate) length: usize,
}

impl Sample {
    pub(crate) const fn last(&self) -> i64 {
        self.base + self.count as i64 - 1
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        let mut payload = vec![self.partition.to_le_bytes()[0]; self.length.max(8)];
        payload[..8].copy_from_slice(&self.timestamp.to_le_bytes());
        payload
    }
}

pub(crate) fn timestamp_of(payload: &[u8]) -> i64 {
    i64_at(payload, 0)
}

/// Adds an entry at the end of a chunk.
pub(crate) fn put(chunk: &mut MemChunk, sample: &Sample) -> TailEntry {
    let payload = sample.payload();
    let at = chunk.position();
    let header = EntryHeader {
        kind: EntryKind::Batch,
        version: 1,
        flags: 0,
        length: u32::try_from(payload.len()).unwrap(),
        object: sample.partition,
        base: sample.base,
        count: sample.count,
    };
    let end = chunk.bytes.len() + entry_bytes(payload.len());
    chunk
        .bytes
        .extend_from_slice(&header.encode(at.offset(), crc32c(&[&payload])));
    chunk.bytes.extend_from_slice(&payload);
    chunk.bytes.resize(end, 0);
    TailEntry {
        base: sample.base,
        last: sample.last(),
        at,
        length: header.length,
        max_timestamp: sample.timestamp,
    }
}

/// A chunk with its footer.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) chunk: MemChunk,
    pub(crate) footer: Footer,
    pub(crate) extents: Vec<(u64, Extent)>,
    pub(crate) entries: Vec<(u64, TailEntry)>,
}

/// A log chunk with these batches, in this order.
pub(crate) fn log_chunk(id: u32, samples: &[Sample]) -> Closed {
    let mut chunk = MemChunk::new(id);
    let entries: Vec<_> = samples
        .iter()
        .map(|sample| (sample.partition, put(&mut chunk, sample)))
        .collect();
    let mut sorted = entries.clone();
    sorted.sort_by_key(|(partition, entry)| (*partition, entry.base));
    let tail = sorted
        .into_iter()
        .map(|(partition, entry)| (partition, vec![entry]));
    let sealed = write_log_footer(&mut chunk, tail, &[]).unwrap();
    closed(chunk, sealed, entries)
}

/// A sorted chunk with these batches.
pub(crate) fn sorted_chunk(id: u32, samples: &[Sample]) -> Closed {
    let mut chunk = MemChunk::new(id);
    let mut samples = samples.to_vec();
    samples.sort_unstable();
    let mut builder = FooterBuilder::new(chunk.chunk(), ChunkKind::Sorted);
    let mut entries = Vec::new();
    for sample in &samples {
        let entry = put(&mut chunk, sample);
        builder.entry(sample.partition, &entry);
        entries.push((sample.partition, entry));
    }
    let sealed = builder.finish(&mut chunk).unwrap();
    closed(chunk, sealed, entries)
}

fn closed(chunk: MemChunk, sealed: Sealed, entries: Vec<(u64, TailEntry)>) -> Closed {
    let footer = Footer::open(&chunk).unwrap();
    assert_eq!(footer, sealed.footer);
    assert_eq!(footer.extents(&chunk).unwrap(), sealed.extents);
    Closed {
        chunk,
        footer,
        extents: sealed.extents,
        entries,
    }
}

/// `count` batches of `partitions` partitions in turn, with gaps in their offsets.
pub(crate) fn samples(partitions: u64, count: usize, length: usize) -> Vec<Sample> {
    let mut next = vec![0_i64; usize::try_from(partitions).unwrap()];
    (0..count)
        .map(|number| {
            let turn = number % next.len();
            let records = u32::try_from(number % 3 + 1).unwrap();
            let base = next[turn] + i64::try_from(number % 5 / 4).unwrap() * 7;
            next[turn] = base + i64::from(records);
            Sample {
                partition: turn as u64 + 1,
                base,
                count: records,
                timestamp: i64::try_from(number * 37 % 1000).unwrap(),
                length: 8 + number * 13 % length,
            }
        })
        .collect()
}
