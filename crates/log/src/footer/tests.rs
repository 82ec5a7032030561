//! Footers: round trips, and damage that is found.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::access::AppendTo;
use crate::access::memory::MemChunk;
use crate::index::TailEntry;
use crate::testing::{Closed, log_chunk, samples, sorted_chunk};

/// All that a footer says, or the first thing that was wrong with it.
fn read_all(chunk: &MemChunk) -> Result<Said, Fault> {
    let footer = Footer::open(chunk)?;
    let mut blocks = Vec::new();
    for slot in footer.directory(chunk) {
        let (slot, record) = slot?;
        assert_eq!(footer.slot(chunk, slot)?, record);
        let mut of_slot = footer.blocks(chunk, &record);
        for number in 0..of_slot.count() {
            blocks.extend(of_slot.get(number)?);
        }
    }
    let damaged = footer.damaged_ranges(chunk)?;
    Ok((footer, footer.extents(chunk)?, blocks, damaged))
}

type Said = (Footer, Vec<(u64, Extent)>, Vec<Block>, Vec<DamagedRange>);

fn by_partition(closed: &Closed) -> BTreeMap<u64, Vec<TailEntry>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for (partition, entry) in &closed.entries {
        found.entry(*partition).or_default().push(*entry);
    }
    found
}

fn check(closed: &Closed, blocks_of: impl Fn(&[TailEntry]) -> usize) {
    let expected = by_partition(closed);
    assert_eq!(closed.extents.len(), expected.len());
    for ((partition, extent), (slot, (expected, entries))) in
        closed.extents.iter().zip((0..).zip(&expected))
    {
        assert_eq!((partition, extent.slot), (expected, slot));
        let (first, last) = (entries[0], entries[entries.len() - 1]);
        assert_eq!((extent.first, extent.last), (first.base, last.last));
        assert_eq!(extent.bytes, entries.iter().map(TailEntry::bytes).sum());
        let largest = entries.iter().map(|entry| entry.max_timestamp).max();
        assert_eq!(Some(extent.max_timestamp), largest);
        let record = closed.footer.slot(&closed.chunk, slot).unwrap();
        assert_eq!(record.batches as usize, entries.len());
        let mut blocks = closed.footer.blocks(&closed.chunk, &record);
        assert_eq!(blocks.count() as usize, blocks_of(entries));
        for entry in entries {
            let number = blocks.holding(entry.base).unwrap();
            let block = blocks.get(number).unwrap().unwrap();
            let (from, to) = (u64::from(entry.at.offset()), entry.bytes());
            assert!(u64::from(block.at) <= from && from + to <= block.end());
            assert!(block.base <= entry.base && entry.last < blocks.limit(number).unwrap());
        }
        assert_eq!(blocks.holding(-5).unwrap(), 0);
        assert_eq!(blocks.holding(i64::MAX).unwrap(), blocks.count() - 1);
    }
}

#[test]
fn a_log_chunk_lists_every_batch() {
    check(&log_chunk(7, &samples(13, 5000, 300)), <[_]>::len);
    check(&log_chunk(7, &samples(1, 1, 300)), <[_]>::len);
    // Exactly whole pages, and one more than whole pages.
    check(&log_chunk(7, &samples(2, 340, 300)), <[_]>::len);
    check(&log_chunk(7, &samples(2, 341, 300)), <[_]>::len);
}

#[test]
fn a_sorted_chunk_lists_blocks_of_whole_entries() {
    let closed = sorted_chunk(8, &samples(3, 2000, 600));
    let blocks_of = |entries: &[TailEntry]| {
        let mut blocks = 1;
        let mut bytes = 0;
        for entry in entries {
            if bytes >= 32 << 10 {
                blocks += 1;
                bytes = 0;
            }
            bytes += entry.bytes();
        }
        blocks
    };
    check(&closed, blocks_of);
    let length = closed.chunk.bytes.len();
    assert_eq!(length % PAGE_BYTES, 0, "direct writes come in whole pages");
}

#[test]
fn ten_thousand_partitions_have_a_small_footer() {
    let closed = sorted_chunk(8, &samples(10_000, 20_000, 50));
    let footer = closed.footer.bytes - closed.footer.at;
    assert!(footer < 10_000 * 100, "{footer}");
    let slot = closed.footer.slot(&closed.chunk, 9_999).unwrap();
    assert_eq!(slot.partition, 10_000);
    assert!(closed.footer.slot(&closed.chunk, 10_000).is_err());
}

#[test]
fn an_empty_chunk_and_one_of_damage_alone_can_be_closed() {
    let range = DamagedRange {
        partition: 4,
        base: 10,
        last: 12,
        at: Position::new(ChunkId(2), 4096),
    };
    for damaged in [vec![], vec![range], vec![range; 200]] {
        let mut chunk = MemChunk::new(3);
        let mut builder = FooterBuilder::new(ChunkId(3), ChunkKind::Sorted);
        assert!(builder.is_empty());
        damaged.iter().for_each(|range| builder.damage(*range));
        assert_eq!(builder.is_empty(), damaged.is_empty());
        let sealed = builder.finish(&mut chunk).unwrap();
        assert_eq!(sealed.extents, []);
        assert_eq!(read_all(&chunk).unwrap().3, damaged);
    }
}

#[test]
fn a_split_makes_two_slots_of_one_partition() {
    let mut chunk = MemChunk::new(3);
    let mut builder = FooterBuilder::new(ChunkId(3), ChunkKind::Sorted);
    for (number, sample) in samples(1, 10, 50).iter().enumerate() {
        if number == 6 {
            builder.split();
        }
        let entry = crate::testing::put(&mut chunk, sample);
        builder.entry(1, &entry);
    }
    let sealed = builder.finish(&mut chunk).unwrap();
    let slots: Vec<_> = sealed.extents.iter().map(|(p, e)| (*p, e.slot)).collect();
    assert_eq!(slots, [(1, 0), (1, 1)]);
    assert!(sealed.extents[0].1.last < sealed.extents[1].1.first);
    assert_eq!(read_all(&chunk).unwrap().1, sealed.extents);
}

#[test]
fn no_flipped_bit_goes_unnoticed_or_changes_an_answer() {
    let mut closed = log_chunk(7, &samples(9, 400, 40));
    let at = usize::try_from(closed.footer.at).unwrap();
    closed.chunk.bytes.truncate(at);
    let mut builder = FooterBuilder::new(ChunkId(7), ChunkKind::Log);
    for (partition, entries) in by_partition(&closed) {
        entries.iter().for_each(|e| builder.entry(partition, e));
    }
    builder.damage(DamagedRange {
        partition: 4,
        base: 10,
        last: 12,
        at: Position::ZERO,
    });
    builder.finish(&mut closed.chunk).unwrap();
    let whole = read_all(&closed.chunk).unwrap();
    let mut unnoticed = 0_usize;
    for byte in at..closed.chunk.bytes.len() {
        let bit = 1 << (byte % 8);
        closed.chunk.bytes[byte] ^= bit;
        match read_all(&closed.chunk) {
            Err(fault) => assert!(fault.what.contains("0000000007"), "{fault}"),
            Ok(same) => {
                assert_eq!(same, whole);
                unnoticed += 1;
            }
        }
        closed.chunk.bytes[byte] ^= bit;
    }
    // Only the zeroes before the trailer are of no concern to anybody.
    let used = 9 * SLOT_BYTES + DAMAGE_BYTES + TRAILER_BYTES;
    assert_eq!(unnoticed, PAGE_BYTES - used);
}

#[test]
fn a_footer_cut_short_or_of_another_chunk_is_refused() {
    let closed = log_chunk(7, &samples(9, 400, 40));
    for cut in (0..closed.chunk.bytes.len()).rev().step_by(61) {
        let mut chunk = closed.chunk.clone();
        chunk.bytes.truncate(cut);
        assert!(read_all(&chunk).is_err(), "cut at {cut}");
    }
    let mut longer = closed.chunk.clone();
    longer.append(&[0; 4096]).unwrap();
    assert!(read_all(&longer).is_err());
    let mut other = closed.chunk;
    other.chunk = ChunkId(8);
    assert!(read_all(&other).is_err());
}

#[test]
fn an_absurd_trailer_is_refused_before_anything_is_allocated() {
    let closed = log_chunk(7, &samples(9, 40, 40));
    let absurd = [
        Footer {
            slots: u32::MAX,
            ..closed.footer
        },
        Footer {
            damaged: u32::MAX,
            ..closed.footer
        },
        Footer {
            index_pages: u32::MAX,
            ..closed.footer
        },
        Footer {
            at: u64::MAX,
            ..closed.footer
        },
        Footer {
            bytes: u64::MAX,
            ..closed.footer
        },
    ];
    for footer in absurd {
        let mut chunk = closed.chunk.clone();
        let end = chunk.bytes.len();
        chunk.bytes[end - TRAILER_BYTES..].copy_from_slice(&footer.encode());
        assert!(Footer::open(&chunk).is_err(), "{footer:?}");
    }
}

/// What a start reads of a sorted chunk, without what it reads of the blocks.
fn listed(chunk: &MemChunk) -> Result<(Footer, Vec<(u64, Extent)>), Fault> {
    let footer = Footer::open_as(chunk, ChunkKind::Sorted)?;
    let extents = footer.extents(chunk)?;
    Ok((footer, extents))
}

#[test]
fn any_byte_of_directory_and_trailer_of_a_sorted_chunk_may_be_damaged() {
    for closed in [
        sorted_chunk(8, &samples(9, 400, 400)),
        sorted_chunk(8, &samples(1, 1, 40)),
        split_chunk(),
    ] {
        let footer = closed.footer;
        let mut chunk = closed.chunk;
        let directory = usize::try_from(footer.directory_at()).unwrap();
        for byte in directory..chunk.bytes.len() {
            chunk.bytes[byte] ^= 1 << (byte % 8);
            let same = listed(&chunk);
            let same = same.unwrap_or_else(|fault| panic!("byte {byte}: {fault}"));
            assert_eq!(same, (footer, closed.extents.clone()), "byte {byte}");
            chunk.bytes[byte] ^= 1 << (byte % 8);
        }
    }
}

/// Partitions of which some have two records.
fn split_chunk() -> Closed {
    let mut chunk = MemChunk::new(8);
    let mut builder = FooterBuilder::new(ChunkId(8), ChunkKind::Sorted);
    let mut samples = samples(5, 60, 9_000);
    samples.sort_unstable();
    let mut entries = Vec::new();
    for sample in &samples {
        if sample.partition != 3 && sample.base == 14 {
            builder.split();
        }
        let entry = crate::testing::put(&mut chunk, sample);
        builder.entry(sample.partition, &entry);
        entries.push((sample.partition, entry));
    }
    let sealed = builder.finish(&mut chunk).unwrap();
    assert!(sealed.extents.len() > 5);
    Closed {
        chunk,
        footer: sealed.footer,
        extents: sealed.extents,
        entries,
    }
}

#[test]
fn a_whole_page_of_the_directory_is_found_again() {
    let closed = sorted_chunk(8, &samples(200, 2_000, 400));
    let directory = usize::try_from(closed.footer.directory_at()).unwrap();
    for page in 0..3 {
        let mut chunk = closed.chunk.clone();
        let from = directory + page * PAGE_BYTES;
        chunk.bytes[from..from + PAGE_BYTES].fill(0);
        assert_eq!(
            listed(&chunk).unwrap(),
            (closed.footer, closed.extents.clone())
        );
    }
}

/// A run of records whose partition was split, nobody can tell where.
#[test]
fn what_can_not_be_told_for_certain_is_told_by_the_entries() {
    let closed = split_chunk();
    let directory = usize::try_from(closed.footer.directory_at()).unwrap();
    let slots = closed.extents.len();
    for slot in 0..slots - 1 {
        let mut chunk = closed.chunk.clone();
        let from = directory + slot * SLOT_BYTES;
        chunk.bytes[from..from + 2 * SLOT_BYTES].fill(0xaa);
        let (footer, extents) = listed(&chunk).unwrap();
        assert_eq!(footer, closed.footer);
        let bytes = |of: &[(u64, Extent)]| of.iter().map(|(_, e)| e.bytes).sum::<u64>();
        assert_eq!(bytes(&extents), bytes(&closed.extents));
    }
    // An entry beside a damaged record.
    let mut chunk = closed.chunk;
    chunk.bytes[directory] ^= 1;
    chunk.bytes[4096 + 3] ^= 1;
    assert_eq!(listed(&chunk).unwrap_err().kind, FaultKind::Corrupt);
}

#[test]
fn the_trailer_of_a_log_chunk_is_not_looked_for() {
    let mut closed = log_chunk(7, &samples(9, 400, 40));
    let end = closed.chunk.bytes.len();
    closed.chunk.bytes[end - 9] ^= 1;
    assert!(Footer::open_as(&closed.chunk, ChunkKind::Log).is_err());
    let newer = Footer::open_as(&sorted_newer(), ChunkKind::Sorted).unwrap_err();
    assert!(newer.what.contains("version 2 is unknown"), "{newer}");
}

fn sorted_newer() -> MemChunk {
    let closed = sorted_chunk(7, &samples(9, 40, 40));
    let mut chunk = closed.chunk;
    let at = chunk.bytes.len() - TRAILER_BYTES;
    let trailer = &mut chunk.bytes[at..];
    trailer[4] = 2;
    let crc = checksum(Part::Trailer, ChunkId(7), 0, [&trailer[..60], &[]]);
    trailer[60..].copy_from_slice(&crc.to_le_bytes());
    chunk
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_end_of_file_is_an_error_and_not_a_panic(bytes: Vec<u8>, slots: u32, pages in 0..9_u32) {
        let mut chunk = MemChunk::new(1);
        chunk.bytes.extend_from_slice(&bytes);
        let at = chunk.bytes.len() as u64;
        let length = at + 64;
        let footer = Footer {
            chunk: ChunkId(1),
            kind: ChunkKind::Sorted,
            slots: slots % 5,
            damaged: slots % 3,
            index_pages: pages,
            at: at.saturating_sub(u64::from(slots) % 3000),
            bytes: length,
            open_ended: false,
        };
        chunk.bytes.extend_from_slice(&footer.encode());
        let said = read_all(&chunk);
        prop_assert!(said.is_err() || footer.slots + footer.damaged == 0);
    }
}
