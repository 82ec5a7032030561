//! Reads from chunks whose footer is damaged.

use std::cell::Cell;

use super::*;
use crate::fault::FaultKind;
use crate::reader::read_cold;
use crate::recovery::DamagedRange;
use crate::testing::{Closed, Sample, log_chunk, samples, sorted_chunk, timestamp_of};

fn both(samples: &[Sample]) -> [(ChunkKind, Closed); 2] {
    [
        (ChunkKind::Log, log_chunk(7, samples)),
        (ChunkKind::Sorted, sorted_chunk(8, samples)),
    ]
}

fn request(closed: &Closed, partition: u64, budget_bytes: usize) -> ColdRead {
    let found = closed.extents.iter().find(|(of, _)| *of == partition);
    let extent = found.unwrap().1;
    ColdRead {
        partition,
        chunk: extent.chunk,
        slot: extent.slot,
        from: extent.first,
        end: extent.last + 1,
        budget_bytes,
    }
}

/// Damages every byte of the footer that a checksum covers, or only the directory.
fn ruin(closed: &mut Closed, from: usize) {
    let end = closed.chunk.bytes.len() - crate::footer::TRAILER_BYTES;
    for byte in &mut closed.chunk.bytes[from..end] {
        *byte ^= 0x55;
    }
}

fn find(kind: ChunkKind, closed: &Closed, request: &ColdRead) -> Unlisted {
    let footer = Footer::open(&closed.chunk).ok();
    Unlisted::find(&closed.chunk, kind, footer.as_ref(), request, &timestamp_of).unwrap()
}

/// A batch: its offsets and its payload.
type Plain = (i64, i64, Vec<u8>);

/// Reads a partition to its end; batches, and what is lost on the way.
fn read_on(
    closed: &Closed,
    found: &Unlisted,
    mut request: ColdRead,
) -> (Vec<Plain>, Vec<DamagedRange>) {
    let (mut batches, mut lost) = (Vec::new(), Vec::new());
    while request.from < request.end {
        match found.read(&closed.chunk, &request) {
            Ok(read) => {
                request.from = read.last().map_or(request.end, |batch| batch.last + 1);
                let plain = read.iter().map(|b| (b.base, b.last, b.payload.to_vec()));
                batches.extend(plain);
            }
            Err(ReadError::Damaged(range)) => {
                assert!(range.last >= request.from && range.last < request.end);
                request.from = range.last + 1;
                lost.push(range);
            }
            Err(ReadError::Fault(fault)) => panic!("{fault}"),
        }
    }
    (batches, lost)
}

fn expected(samples: &[Sample], partition: u64) -> Vec<Plain> {
    let wanted = samples.iter().filter(|s| s.partition == partition);
    wanted.map(|s| (s.base, s.last(), s.payload())).collect()
}

#[test]
fn every_batch_is_read_without_any_part_of_the_footer() {
    let samples = samples(5, 900, 700);
    for (kind, mut closed) in both(&samples) {
        let footer_at = usize::try_from(closed.footer.at).unwrap();
        let length = closed.chunk.bytes.len();
        // The directory, then the index pages too, then the trailer.
        for part in 0..3 {
            match part {
                0 => {
                    let pages = closed.footer.index_pages as usize;
                    ruin(&mut closed, footer_at + pages * crate::footer::PAGE_BYTES);
                }
                1 => ruin(&mut closed, footer_at),
                _ => closed.chunk.bytes[length - 1] ^= 1,
            }
            for partition in 1..=5 {
                for budget in [0, 1_000, 100_000, usize::MAX] {
                    let request = request(&closed, partition, budget);
                    check_that_it_is_corrupt(&closed, &request);
                    let found = find(kind, &closed, &request);
                    let (batches, lost) = read_on(&closed, &found, request);
                    assert_eq!(batches, expected(&samples, partition));
                    assert_eq!(lost, []);
                    assert!(found.whole().is_some());
                }
            }
        }
    }
}

fn check_that_it_is_corrupt(closed: &Closed, request: &ColdRead) {
    let Ok(footer) = Footer::open(&closed.chunk) else {
        return;
    };
    let Err(ReadError::Fault(fault)) = read_cold(&closed.chunk, &footer, request) else {
        panic!("it can be read");
    };
    assert_eq!(fault.kind, FaultKind::Corrupt);
}

#[test]
fn the_blocks_are_those_that_the_footer_had() {
    let samples = samples(5, 900, 700);
    for (kind, closed) in both(&samples) {
        for partition in 1..=5 {
            let request = request(&closed, partition, 0);
            let record = closed.footer.slot(&closed.chunk, request.slot).unwrap();
            let mut listed = closed.footer.blocks(&closed.chunk, &record);
            let blocks = (0..listed.count()).map(|at| listed.get(at).unwrap().unwrap());
            let blocks: Vec<_> = blocks.collect();
            assert!(find(kind, &closed, &request).whole() == Some(blocks));
        }
    }
}

#[test]
fn times_are_found_without_the_footer() {
    let samples = samples(3, 1_200, 300);
    for (kind, mut closed) in both(&samples) {
        let at = usize::try_from(closed.footer.at).unwrap();
        ruin(&mut closed, at);
        let request = request(&closed, 2, 0);
        let found = find(kind, &closed, &request);
        let all = expected(&samples, 2);
        for timestamp in [0, 500, 990, 999, 2_000] {
            let first = all.iter().find(|(.., p)| timestamp_of(p) >= timestamp);
            let read = found
                .find_by_time(&closed.chunk, &request, timestamp)
                .unwrap();
            let hit = read.iter().find(|b| timestamp_of(&b.payload) >= timestamp);
            assert_eq!(hit.map(|b| b.base), first.map(|(base, ..)| *base));
        }
        let largest = all.iter().map(|(.., p)| timestamp_of(p)).max().unwrap();
        let newest = found.find_by_max_time(&closed.chunk, &request).unwrap();
        assert_eq!(newest.max_timestamp, largest);
        let held = |b: &crate::reader::FoundBatch| timestamp_of(&b.payload) == largest;
        assert!(newest.batches.iter().any(held));
    }
}

#[test]
fn a_damaged_entry_beside_a_damaged_footer_is_lost_and_nothing_else_is() {
    let samples = samples(3, 300, 400);
    for (kind, mut closed) in both(&samples) {
        let at = usize::try_from(closed.footer.at).unwrap();
        ruin(&mut closed, at);
        let entries = closed.entries.clone();
        for (partition, entry) in entries.iter().step_by(7) {
            for byte in [4, 9, 17, 33, 38, 40, 40 + entry.length as usize - 1] {
                let place = entry.at.offset() as usize + byte;
                closed.chunk.bytes[place] ^= 0x10;
                let request = request(&closed, *partition, 2_000);
                let found = find(kind, &closed, &request);
                let (batches, lost) = read_on(&closed, &found, request);
                let covered = |base: &i64| {
                    lost.iter()
                        .any(|range| (range.base..=range.last).contains(base))
                };
                assert!(covered(&entry.base), "{entry:?} {byte}: {lost:?}");
                for batch in expected(&samples, *partition) {
                    let there = batches.contains(&batch);
                    assert!(there != covered(&batch.0), "{batch:?} beside {entry:?}");
                    // Without frames there is nothing behind which to go on in a log chunk.
                    let may = kind == ChunkKind::Log && batch.0 > entry.base;
                    assert!(there || batch.0 == entry.base || may, "{batch:?}");
                }
                closed.chunk.bytes[place] ^= 0x10;
            }
        }
    }
}

/// A chunk that counts what is read of it.
struct Counting<'a> {
    chunk: &'a dyn ReadAt,
    read: Cell<usize>,
}

impl ReadAt for Counting<'_> {
    fn chunk(&self) -> crate::position::ChunkId {
        self.chunk.chunk()
    }

    fn salt(&self) -> crate::frame::Salt {
        self.chunk.salt()
    }

    fn bytes(&self) -> Result<u64, Fault> {
        self.chunk.bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Fault> {
        self.read.set(self.read.get() + buf.len());
        self.chunk.read_at(buf, offset)
    }
}

/// A chunk has gigabytes, and each slot of a bad page is looked for on its own.
#[test]
fn of_chunks_without_frames_only_the_place_of_the_slot_is_read() {
    let samples = samples(40, 4_000, 700);
    let closed = sorted_chunk(8, &samples);
    let all = closed.chunk.bytes.len();
    for kind in [ChunkKind::Sorted, ChunkKind::Compacted] {
        for partition in [1, 20, 40] {
            let counting = Counting {
                chunk: &closed.chunk,
                read: Cell::new(0),
            };
            let request = request(&closed, partition, 0);
            let footer = Some(&closed.footer);
            let found = Unlisted::find(&counting, kind, footer, &request, &timestamp_of).unwrap();
            assert_eq!(
                read_on(&closed, &found, request).0,
                expected(&samples, partition)
            );
            let read = counting.read.get();
            assert!(read < all / 8, "{read} of {all} for {partition}");
        }
    }
}
