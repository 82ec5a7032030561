//! Cold reads from log and sorted chunks.

use std::collections::BTreeSet;

use super::*;
use crate::access::Sparing;
use crate::chunk::{ChunkFile, ChunkHeader, ChunkKind};
use crate::disk::{Disk as _, MemDisk};
use crate::frame::Salt;
use crate::position::{ChunkId, Lsn};
use crate::testing::{Closed, Sample, log_chunk, samples, sorted_chunk, timestamp_of};

fn request(closed: &Closed, partition: u64, from: i64, budget_bytes: usize) -> ColdRead {
    let extents = closed.extents.iter();
    let (_, extent) = extents.clone().find(|(of, _)| *of == partition).unwrap();
    ColdRead {
        partition,
        chunk: extent.chunk,
        slot: extent.slot,
        from,
        end: extent.last + 1,
        budget_bytes,
    }
}

fn expected(samples: &[Sample], partition: u64, from: i64, end: i64) -> Vec<(i64, i64, Vec<u8>)> {
    let wanted = samples
        .iter()
        .filter(|s| s.partition == partition && s.last() >= from && s.base < end);
    let mut wanted: Vec<_> = wanted.map(|s| (s.base, s.last(), s.payload())).collect();
    wanted.sort();
    wanted
}

fn plain(found: &[FoundBatch]) -> Vec<(i64, i64, Vec<u8>)> {
    let found = found.iter();
    found
        .map(|f| (f.base, f.last, f.payload.to_vec()))
        .collect()
}

/// Reads a partition to its end in steps of `budget`; lost ranges on the way are kept apart.
fn read_on(
    chunk: &dyn ReadAt,
    mut request: ColdRead,
    footer: &Footer,
) -> (Vec<FoundBatch>, Vec<DamagedRange>) {
    let mut found = Vec::new();
    let mut lost = Vec::new();
    while request.from < request.end {
        match read_cold(chunk, footer, &request) {
            Ok(batches) => {
                let next = batches.last().map_or(request.end, |batch| batch.last + 1);
                let bytes: usize = batches.iter().map(|b| b.payload.len()).sum();
                assert!(batches.len() <= 1 || bytes <= request.budget_bytes);
                found.extend(batches);
                request.from = next;
            }
            Err(ReadError::Damaged(range)) => {
                request.from = range.last + 1;
                lost.push(range);
            }
            Err(ReadError::Fault(fault)) => panic!("{fault}"),
        }
    }
    (found, lost)
}

fn both(samples: &[Sample]) -> [Closed; 2] {
    [log_chunk(7, samples), sorted_chunk(8, samples)]
}

#[test]
fn every_batch_is_found_from_every_offset_with_every_budget() {
    let samples = samples(5, 900, 700);
    for closed in both(&samples) {
        for partition in 1..=5 {
            for budget in [0, 1000, 10_000, usize::MAX] {
                let request = request(&closed, partition, 0, budget);
                let (found, lost) = read_on(&closed.chunk, request, &closed.footer);
                assert_eq!(plain(&found), expected(&samples, partition, 0, i64::MAX));
                assert_eq!(lost, []);
            }
        }
        let end = request(&closed, 3, 0, 0).end;
        for from in 0..end {
            let request = request(&closed, 3, from, 1);
            let found = read_cold(&closed.chunk, &closed.footer, &request).unwrap();
            let expected = expected(&samples, 3, from, i64::MAX);
            assert_eq!(plain(&found), expected[..1]);
        }
        let middle = ColdRead {
            end: end / 2,
            ..request(&closed, 3, 5, usize::MAX)
        };
        let found = read_cold(&closed.chunk, &closed.footer, &middle).unwrap();
        assert_eq!(plain(&found), expected(&samples, 3, 5, end / 2));
    }
}

#[test]
fn tail_entries_of_one_chunk_are_read_where_they_lie() {
    let samples = samples(5, 900, 700);
    let closed = log_chunk(7, &samples);
    let mut entries: Vec<_> = closed
        .entries
        .iter()
        .filter(|(partition, _)| *partition == 2)
        .map(|(_, entry)| *entry)
        .collect();
    let found = read_tail(&closed.chunk, 2, &entries).unwrap();
    assert_eq!(plain(&found), expected(&samples, 2, 0, i64::MAX));
    let count = entries.len();
    entries[count - 1].at = Position::new(ChunkId(9), 4096);
    let found = read_tail(&closed.chunk, 2, &entries).unwrap();
    assert_eq!(found.len(), count - 1, "the last lies in another chunk");
    assert!(matches!(
        read_tail(&closed.chunk, 3, &entries),
        Err(ReadError::Damaged(_))
    ));
}

#[test]
fn little_memory_is_held_by_an_answer_out_of_a_mixed_chunk() {
    let samples = samples(20, 900, 100);
    let closed = log_chunk(7, &samples);
    let request = request(&closed, 2, 0, usize::MAX);
    let found = read_cold(&closed.chunk, &closed.footer, &request).unwrap();
    let start = found[0].payload.as_ptr() as usize;
    let next = found[1].payload.as_ptr() as usize;
    let apart = closed.entries[21].1.at.offset() - closed.entries[1].1.at.offset();
    assert_ne!(
        next.wrapping_sub(start),
        apart as usize,
        "copied out of what lies between"
    );
}

#[test]
fn times_lead_to_the_block_that_has_them() {
    let samples = samples(3, 1200, 300);
    for closed in both(&samples) {
        let all = expected(&samples, 2, 0, i64::MAX);
        let timestamps: BTreeSet<_> = all.iter().map(|(.., p)| timestamp_of(p)).collect();
        for from in [0, 100, 411] {
            let request = request(&closed, 2, from, 0);
            let after = || all.iter().filter(|(_, last, _)| *last >= from);
            for timestamp in [0, 500, 900, 990, 999, 2000] {
                let first = after().find(|(.., p)| timestamp_of(p) >= timestamp);
                let found = find_by_time(&closed.chunk, &closed.footer, &request, timestamp);
                let found = plain(&found.unwrap());
                let hit = found.iter().find(|(.., p)| timestamp_of(p) >= timestamp);
                assert_eq!(hit, first);
            }
            let largest = after().map(|(.., p)| timestamp_of(p)).max();
            let first = after().find(|(.., p)| Some(timestamp_of(p)) == largest);
            let found = find_by_max_time(&closed.chunk, &closed.footer, &request).unwrap();
            let found = plain(&found.batches);
            let hit = found
                .iter()
                .find(|(.., p)| Some(timestamp_of(p)) == largest);
            assert!(hit == first || from > 0, "{hit:?} {first:?}");
        }
        assert!(timestamps.len() > 10);
    }
}

#[test]
fn a_flipped_bit_costs_one_batch_and_is_named() {
    let samples = samples(3, 300, 400);
    for mut closed in both(&samples) {
        let entries = closed.entries.clone();
        let of_two = entries.iter().filter(|(p, _)| *p == 2).map(|(_, e)| *e);
        for entry in of_two.step_by(3) {
            // In the length, in the offsets, in the checksums, and in the payload.
            for byte in [4, 5, 17, 24, 30, 33, 38, 40, 40 + entry.length as usize - 1] {
                let at = entry.at.offset() as usize + byte;
                closed.chunk.bytes[at] ^= 0x10;
                check_one_lost(&closed, &samples, &entry);
                closed.chunk.bytes[at] ^= 0x10;
            }
        }
    }
}

/// Checks that all of partition 2 is found but one batch, and that this one is named.
fn check_one_lost(closed: &Closed, samples: &[Sample], entry: &TailEntry) {
    let all = expected(samples, 2, 0, i64::MAX);
    let request = request(closed, 2, 0, 2000);
    let (found, lost) = read_on(&closed.chunk, request, &closed.footer);
    let next = all.iter().map(|(base, ..)| *base);
    let next = next.filter(|base| *base > entry.base).min();
    let mut without = all;
    without.retain(|(base, ..)| *base != entry.base);
    assert_eq!(plain(&found), without, "{entry:?}");
    assert_eq!(lost.len(), 1, "{lost:?}");
    let range = lost[0];
    assert_eq!((range.partition, range.at), (2, entry.at));
    assert!(range.base <= entry.base && range.last >= entry.last);
    assert!(next.is_none_or(|next| range.last < next));
    let text = Fault::from(ReadError::Damaged(range)).to_string();
    assert!(text.contains("of partition 2"), "{text}");
}

#[test]
fn bytes_of_another_place_or_partition_are_not_served() {
    let samples = samples(2, 100, 16);
    let mut closed = sorted_chunk(8, &samples);
    let (_, first) = closed.entries[3];
    let (_, second) = closed.entries[7];
    let bytes = usize::try_from(first.bytes()).unwrap();
    let from = first.at.offset() as usize;
    let copy = closed.chunk.bytes[from..from + bytes].to_vec();
    let to = second.at.offset() as usize;
    closed.chunk.bytes[to..to + bytes].copy_from_slice(&copy);
    let (_, lost) = read_on(&closed.chunk, request(&closed, 1, 0, 100), &closed.footer);
    assert_eq!(
        lost.len(),
        1,
        "a whole entry, but not the one that was written there"
    );
    let wrong = ColdRead {
        partition: 2,
        ..request(&closed, 1, 0, 100)
    };
    let fault = read_cold(&closed.chunk, &closed.footer, &wrong);
    assert!(matches!(fault, Err(ReadError::Fault(_))));
}

#[test]
fn an_unreadable_page_costs_the_batches_in_it_and_no_others() {
    let samples = samples(1, 200, 3_000);
    let closed = sorted_chunk(3, &samples);
    let header = ChunkHeader {
        chunk: ChunkId(3),
        kind: ChunkKind::Sorted,
        incarnation: 1,
        previous_end: Position::ZERO,
        first_lsn: Lsn(0),
        elapsed_ms: 0,
        wall_ms: 0,
        checkpoint: ChunkId::NONE,
        synced: Position::ZERO,
        cluster: 1,
        salt: Salt::NONE,
    };
    let name = header.name();
    let bytes = closed.chunk.bytes.clone();
    let disk = MemDisk::with_files(1, [(name.clone(), bytes)].into());
    let file = ChunkFile::new(header, disk.open(&name).unwrap());
    let request = request(&closed, 1, 0, 20_000);
    let page = 20 * 4096;
    assert!(disk.lose_page(&name, page));
    let (found, lost) = read_on(&Sparing(&file), request, &closed.footer);
    let touched = closed.entries.iter().filter(|(_, entry)| {
        let at = u64::from(entry.at.offset());
        at < page + 4096 && at + entry.bytes() > page
    });
    let touched = touched.count();
    assert!(touched > 0 && !lost.is_empty());
    // A batch whose header lies in the page may hide those behind it in its block.
    let missing = samples.len() - found.len();
    assert!((touched..=30).contains(&missing), "{missing} for {touched}");
    let (first, last) = (found.first().unwrap(), found.last().unwrap());
    assert_eq!(
        (first.base, last.last),
        (samples[0].base, samples[199].last())
    );
    let plain = ReadAt::read_new(&file, 20_000, page - 100);
    assert_eq!(plain.unwrap_err().kind, FaultKind::Unavailable);
}
