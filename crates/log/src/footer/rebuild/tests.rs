//! Footers of chunks without frames in which two things are damaged: all entries are still listed.

use std::collections::BTreeSet;

use super::*;
use crate::access::memory::MemChunk;
use crate::index::{ColdRead, Extent};
use crate::position::ChunkId;
use crate::reader::{ReadError, Unlisted, read_cold};
use crate::recovery::DamagedRange;
use crate::regroup::{Source, Visit, scan};
use crate::testing::{Sample, put, timestamp_of};

/// A chunk with its footer, and what lies in it.
struct Whole {
    chunk: MemChunk,
    footer: Footer,
    extents: Vec<(u64, Extent)>,
    entries: Vec<(u64, TailEntry)>,
}

/// Partitions with gaps in their offsets: at some of them the second begins anew, since another chunk
/// has what is missing there.
fn split_chunk(partitions: u64, entries: u32, length: usize, damaged: usize) -> Whole {
    let mut chunk = MemChunk::new(8);
    let mut builder = FooterBuilder::new(ChunkId(8), ChunkKind::Compacted);
    let mut all = Vec::new();
    for partition in 1..=partitions {
        let mut base = 0;
        for number in 0..entries {
            base += if number % 4 == 3 { 5 } else { 0 };
            if number % 8 == 7 && partition % 2 == 0 {
                builder.split();
            }
            let sample = Sample {
                partition,
                base,
                count: 2,
                timestamp: i64::from(number * 7 % 20),
                length,
            };
            base += 2;
            let entry = put(&mut chunk, &sample);
            builder.entry(partition, &entry);
            all.push((partition, entry));
        }
    }
    for base in 0..damaged {
        builder.damage(DamagedRange {
            partition: 1,
            base: i64::try_from(base).unwrap() + 1_000,
            last: 2_000,
            at: Position::ZERO,
        });
    }
    let sealed = builder.finish(&mut chunk).unwrap();
    Whole {
        chunk,
        footer: sealed.footer,
        extents: sealed.extents,
        entries: all,
    }
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

/// Where the parts of the footer lie: pages, records, damage records, the trailer.
fn parts(whole: &Whole) -> Vec<Range<usize>> {
    let footer = &whole.footer;
    let each = |from: u64, count: u32, bytes: usize| {
        (0..count as usize).map(move |number| {
            let at = place(from) + number * bytes;
            at..at + bytes
        })
    };
    let end = place(footer.bytes);
    each(footer.at, footer.index_pages, PAGE_BYTES)
        .chain(each(footer.directory_at(), footer.slots, SLOT_BYTES))
        .chain(each(footer.damage_at(), footer.damaged, DAMAGE_BYTES))
        .chain(std::iter::once(end - TRAILER_BYTES..end))
        .collect()
}

/// Entries that a pass over the chunk is shown.
#[derive(Default)]
struct Shown(Vec<(u64, i64)>);

impl Visit for Shown {
    fn wants(&self, _: u64, _: i64, _: i64) -> bool {
        true
    }

    fn entry(&mut self, header: &EntryHeader, _: &[u8]) {
        self.0.push((header.object, header.base));
    }

    fn pace(&self, _: u64) -> Result<(), Fault> {
        Ok(())
    }
}

fn read_extent(
    chunk: &MemChunk,
    footer: &Footer,
    (partition, extent): (u64, Extent),
) -> Vec<(u64, i64)> {
    let request = ColdRead {
        partition,
        chunk: extent.chunk,
        slot: extent.slot,
        from: extent.first,
        end: extent.last + 1,
        budget_bytes: usize::MAX,
    };
    let read = match read_cold(chunk, footer, &request) {
        Err(ReadError::Fault(fault)) if fault.kind == FaultKind::Corrupt => {
            let kind = ChunkKind::Compacted;
            let found = Unlisted::find(chunk, kind, Some(footer), &request, &timestamp_of);
            found.unwrap().read(chunk, &request)
        }
        other => other,
    };
    let batches = read.unwrap();
    batches
        .iter()
        .map(|batch| (partition, batch.base))
        .collect()
}

/// All entries of a chunk are listed, read and shown, and no extent goes over a gap that the directory
/// does not say is none of another chunk.
fn check(whole: &Whole, chunk: &MemChunk) {
    let footer = Footer::open_as(chunk, ChunkKind::Compacted).unwrap();
    let extents = footer.extents_timed(chunk, &timestamp_of).unwrap();
    let entries: Vec<_> = whole.entries.iter().map(|(p, e)| (*p, e.base)).collect();
    let mut read = Vec::new();
    for (partition, extent) in &extents {
        read.extend(read_extent(chunk, &footer, (*partition, *extent)));
        let within = whole.entries.iter().filter(|(of, entry)| {
            of == partition && (extent.first..=extent.last).contains(&entry.base)
        });
        let within: Vec<_> = within.map(|(_, entry)| *entry).collect();
        let (first, last) = (within[0], within[within.len() - 1]);
        assert_eq!((extent.first, extent.last), (first.base, last.last));
        assert_eq!(extent.bytes, within.iter().map(TailEntry::bytes).sum());
        let newest = within.iter().map(|entry| entry.max_timestamp).max();
        assert_eq!(Some(extent.max_timestamp), newest);
        let same = |(of, known): &(u64, Extent)| {
            (of, known.first, known.last) == (partition, extent.first, extent.last)
        };
        let gapless = within.windows(2).all(|two| two[0].last + 1 == two[1].base);
        assert!(gapless || whole.extents.iter().any(same), "{extent:?}");
    }
    assert_eq!(read, entries, "by the extents");
    let mut shown = Shown::default();
    let file = chunk;
    scan(&[Source { file, footer }], 1 << 20, &mut shown).unwrap();
    assert_eq!(shown.0, entries, "by a pass");
}

#[test]
fn any_two_things_in_the_footer_of_a_sorted_chunk_may_be_damaged() {
    let whole = split_chunk(4, 17, 40, 2);
    assert_eq!(whole.extents.len(), 1 + 3 + 1 + 3);
    let parts = parts(&whole);
    assert_eq!(parts.len(), 1 + 8 + 2 + 1);
    check(&whole, &whole.chunk);
    for one in &parts {
        for other in &parts {
            for damage in [0xff, 0] {
                let mut chunk = whole.chunk.clone();
                chunk.bytes[one.clone()].fill(damage);
                chunk.bytes[other.clone()].fill(damage);
                check(&whole, &chunk);
            }
        }
    }
}

#[test]
fn any_two_pages_of_the_footer_of_a_sorted_chunk_may_be_damaged() {
    let whole = split_chunk(170, 17, 40, 0);
    let pages = place(whole.footer.at)..whole.chunk.bytes.len();
    let pages: Vec<_> = pages.step_by(PAGE_BYTES).collect();
    assert!(whole.footer.index_pages >= 2 && pages.len() >= 8);
    // That of a record, its page of blocks, the trailer: so it is when the disk loses the last pages.
    for two in pages
        .windows(2)
        .chain([&[pages[0], pages[pages.len() - 1]][..]])
    {
        for damage in [0xff, 0] {
            let mut chunk = whole.chunk.clone();
            for page in two {
                chunk.bytes[*page..*page + PAGE_BYTES].fill(damage);
            }
            check(&whole, &chunk);
        }
    }
}

/// Then nobody knows how many records there were.
#[test]
fn a_footer_may_have_lost_its_end() {
    let whole = split_chunk(4, 17, 40, 0);
    let end = whole.chunk.bytes.len();
    for from in (place(whole.footer.directory_at())..end).step_by(SLOT_BYTES) {
        let mut chunk = whole.chunk.clone();
        chunk.bytes[from..].fill(0);
        check(&whole, &chunk);
    }
}

#[test]
fn where_an_entry_is_damaged_beside_the_footer_nothing_is_told() {
    let whole = split_chunk(4, 17, 40, 0);
    let (trailer, page) = (whole.chunk.bytes.len() - 9, place(whole.footer.at) + 40);
    let mut entries = whole
        .entries
        .iter()
        .map(|(_, entry)| entry.at.offset() as usize);
    let entries: BTreeSet<_> = entries.by_ref().collect();
    for entry in entries {
        let mut chunk = whole.chunk.clone();
        for at in [entry + 3, trailer, page] {
            chunk.bytes[at] ^= 1;
        }
        let opened = Footer::open_as(&chunk, ChunkKind::Compacted);
        assert_eq!(opened.unwrap_err().kind, FaultKind::Corrupt);
    }
}
