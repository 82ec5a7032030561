//! Passes: what lives stays, what does not goes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::access::memory::MemChunk;
use crate::entry::EntryKind;
use crate::index::{ColdRead, Index, Located};
use crate::position::Position;
use crate::reader::{ReadError, read_cold};
use crate::testing::{Closed, Sample, log_chunk, samples, sorted_chunk, timestamp_of};

/// A chunk that lands on a shelf when it is finished, and keeps the sizes of writes.
struct Shelved {
    chunk: MemChunk,
    shelf: Rc<RefCell<Vec<MemChunk>>>,
}

impl AppendTo for Shelved {
    fn position(&self) -> Position {
        self.chunk.position()
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Position, Fault> {
        let end = self.chunk.bytes.len() + bytes.len();
        assert!(
            bytes.len() <= 1 << 20 && end.is_multiple_of(4096),
            "aligned to pages"
        );
        self.chunk.append(bytes)
    }
}

impl Output for Shelved {
    fn finish(self: Box<Self>) -> Result<(), Fault> {
        self.shelf.borrow_mut().push(self.chunk);
        Ok(())
    }
}

/// Keeps everything but some partitions, and what lies below a start.
#[derive(Debug, Default)]
struct Judge {
    starts: BTreeMap<u64, i64>,
    deleted: BTreeSet<u64>,
    /// Single batches that nobody wants: partition and base.
    settled: BTreeSet<(u64, i64)>,
    /// Partitions that are compacted, and to which offset.
    clean: BTreeMap<u64, i64>,
    /// Single batches that are half settled.
    halved: BTreeSet<(u64, i64)>,
    paced: Cell<u64>,
}

impl Judge {
    fn wants(&self, sample: &Sample) -> bool {
        let start = self.starts.get(&sample.partition).copied().unwrap_or(0);
        let settled = self.settled.contains(&(sample.partition, sample.base));
        sample.last() >= start && !self.deleted.contains(&sample.partition) && !settled
    }
}

impl Live for Judge {
    fn live(&self, partition: u64, base: i64, last: i64) -> Keep {
        let start = self.starts.get(&partition).copied().unwrap_or(0);
        if last < start || self.deleted.contains(&partition) {
            return Keep::None;
        }
        let within = (partition, base)..=(partition, last);
        let settled = self.settled.range(within.clone()).next();
        if settled == Some(&(partition, base)) && last - base < 3 {
            return Keep::None;
        }
        let some = settled.is_some() || self.halved.range(within).next().is_some();
        if some || base < start {
            Keep::Rewrite
        } else {
            Keep::All
        }
    }

    fn max_timestamp(&self, _: &EntryHeader, payload: &[u8]) -> i64 {
        timestamp_of(payload)
    }

    fn rewrite(&self, header: &EntryHeader, payload: &[u8]) -> Rewritten {
        let half = self.halved.contains(&(header.object, header.base));
        if half {
            Rewritten::Payload(payload[..payload.len() / 2 + 4].to_vec())
        } else {
            Rewritten::AsIs
        }
    }

    fn shelf(&self, partition: u64, base: i64) -> Shelf {
        match self.clean.get(&partition) {
            Some(to) if base < *to => Shelf::Clean,
            Some(_) => Shelf::Keyed,
            None => Shelf::Plain,
        }
    }

    fn pace(&self, bytes: u64) -> Result<(), Fault> {
        self.paced.set(self.paced.get() + bytes);
        Ok(())
    }
}

fn run(
    sources: &[&Closed],
    boundaries: &[(u64, i64)],
    judge: &Judge,
    options: &RegroupOptions,
    next: u32,
) -> (Regrouped, Vec<Closed>) {
    let shelf = Rc::new(RefCell::new(Vec::new()));
    let mut id = next;
    let mut create = |_: ChunkKind| -> Result<Box<dyn Output>, Fault> {
        let chunk = MemChunk::new(id);
        id += 1;
        let shelf = Rc::clone(&shelf);
        Ok(Box::new(Shelved { chunk, shelf }))
    };
    let sources: Vec<_> = sources
        .iter()
        .map(|closed| Source {
            file: &closed.chunk,
            footer: closed.footer,
        })
        .collect();
    let done = regroup(&sources, boundaries, judge, options, &mut create).unwrap();
    let chunks = shelf.borrow().iter().map(reopened).collect();
    (done, chunks)
}

fn reopened(chunk: &MemChunk) -> Closed {
    let footer = Footer::open(chunk).unwrap();
    Closed {
        chunk: chunk.clone(),
        footer,
        extents: footer.extents(chunk).unwrap(),
        entries: Vec::new(),
    }
}

fn options(memory_bytes: usize, chunk_bytes: u64) -> RegroupOptions {
    RegroupOptions {
        memory_bytes,
        chunk_bytes,
    }
}

/// First offset and payload of a batch.
type Read = (i64, Vec<u8>);

/// All that a partition's readers find, and what they are told is lost.
fn read_partition(
    index: &Index,
    chunks: &[Closed],
    partition: u64,
) -> (Vec<Read>, Vec<(i64, i64)>) {
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    let mut offset = 0;
    loop {
        match index.locate(partition, offset, 10_000, i64::MAX) {
            Located::End => return (found, lost),
            Located::Tail(_) => panic!("all chunks have footers"),
            Located::Damaged { base, last } => {
                lost.push((base, last));
                offset = last + 1;
            }
            Located::Cold(read) => {
                let batches = cold(chunks, &read);
                offset = batches.last().map_or(read.end, |(last, ..)| last + 1);
                found.extend(batches.into_iter().map(|(_, base, bytes)| (base, bytes)));
            }
        }
    }
}

fn cold(chunks: &[Closed], read: &ColdRead) -> Vec<(i64, i64, Vec<u8>)> {
    let chunk = chunks.iter().find(|c| c.footer.chunk == read.chunk);
    let chunk = chunk.unwrap();
    let found = read_cold(&chunk.chunk, &chunk.footer, read).unwrap();
    let found = found.into_iter();
    found
        .map(|batch| (batch.last, batch.base, batch.payload.to_vec()))
        .collect()
}

fn loaded<'a>(chunks: impl IntoIterator<Item = &'a Closed>) -> Index {
    let mut index = Index::new();
    for chunk in chunks {
        for (partition, extent) in &chunk.extents {
            index.load(*partition, *extent);
        }
    }
    index
}

fn expected(samples: &[Sample], judge: &Judge, partition: u64) -> Vec<Read> {
    let wanted = samples.iter().filter(|s| s.partition == partition);
    let mut wanted: Vec<_> = wanted
        .filter(|sample| judge.wants(sample))
        .map(|sample| {
            let mut payload = sample.payload();
            if judge.halved.contains(&(partition, sample.base)) {
                payload.truncate(payload.len() / 2 + 4);
            }
            (sample.base, payload)
        })
        .collect();
    wanted.sort();
    wanted
}

/// Log chunks with these batches, one after the other.
fn logs(samples: &[Sample], chunks: usize) -> Vec<Closed> {
    let pieces = samples.chunks(samples.len().div_ceil(chunks));
    (1..)
        .zip(pieces)
        .map(|(id, piece)| log_chunk(id, piece))
        .collect()
}

#[test]
fn partitions_lie_together_afterwards_whatever_the_memory() {
    let samples = samples(17, 4000, 300);
    let logs = logs(&samples, 5);
    let sources: Vec<_> = logs.iter().collect();
    let judge = Judge::default();
    for memory in [0, 10_000, 300_000, 100 << 20] {
        let options = options(memory, 3 << 30);
        let (done, chunks) = run(&sources, &[], &judge, &options, 9);
        let [chunk] = &chunks[..] else {
            panic!("one chunk")
        };
        assert_eq!(done.added, chunk.extents);
        assert_eq!(done.added.len(), 17, "one extent a partition");
        assert_eq!(done.bytes_written, chunk.chunk.bytes.len() as u64);
        assert_eq!(done.removed, (1..=5).map(ChunkId).collect::<Vec<_>>());
        assert_eq!((done.dropped, &done.damaged[..]), (0, &[][..]));
        let index = loaded(&chunks);
        for partition in 1..=17 {
            let (found, lost) = read_partition(&index, &chunks, partition);
            assert_eq!(found, expected(&samples, &judge, partition));
            assert_eq!(lost, []);
        }
        let total: u64 = logs.iter().map(|log| log.chunk.bytes.len() as u64).sum();
        if memory > 1 << 20 {
            assert!(done.bytes_read < total + total / 4, "{}", done.bytes_read);
        }
    }
}

#[test]
fn what_nobody_wants_is_neither_read_nor_written() {
    let samples = samples(10, 3000, 3000);
    let logs = logs(&samples, 3);
    let sources: Vec<_> = logs.iter().collect();
    let mut judge = Judge::default();
    judge.deleted.extend([1, 2, 3, 4, 5]);
    judge.starts.extend([(6, i64::MAX), (7, 300)]);
    let settled = samples
        .iter()
        .filter(|s| s.partition == 8 && s.base % 4 < 3);
    judge.settled.extend(settled.map(|s| (s.partition, s.base)));
    let halved = samples.iter().filter(|s| s.partition == 9 && s.count == 3);
    judge.halved.extend(halved.map(|s| (s.partition, s.base)));
    let (done, chunks) = run(&sources, &[], &judge, &options(1 << 20, 3 << 30), 9);
    let index = loaded(&chunks);
    for partition in 1..=10 {
        let (found, _) = read_partition(&index, &chunks, partition);
        assert_eq!(found, expected(&samples, &judge, partition), "{partition}");
    }
    let all = logs.iter().flat_map(|log| &log.extents);
    let total: u64 = all.map(|(_, extent)| extent.bytes).sum();
    let kept: u64 = done.added.iter().map(|(_, extent)| extent.bytes).sum();
    assert_eq!(done.dropped, total - kept);
    judge.halved.clear();
    let (again, chunks) = run(&[&chunks[0]], &[], &judge, &options(1 << 20, 3 << 30), 10);
    assert_eq!(again.dropped, 0);
    assert_eq!(again.added.len(), 4);
    judge.deleted.extend(7..=10);
    let (nothing, none) = run(&[&chunks[0]], &[], &judge, &options(1 << 20, 3 << 30), 11);
    assert_eq!((nothing.chunks.len(), none.len()), (0, 0));
    assert_eq!(nothing.bytes_written, 0);
    assert_eq!(nothing.change().removed, [ChunkId(10)]);
}

/// Notes what it is shown.
#[derive(Debug, Default)]
struct Noted {
    seen: Vec<(u64, i64, Vec<u8>)>,
    paced: Cell<u64>,
}

impl Visit for Noted {
    fn wants(&self, partition: u64, base: i64, last: i64) -> bool {
        partition == 2 || (partition == 4 && base < 300 && last >= 100)
    }

    fn entry(&mut self, header: &EntryHeader, payload: &[u8]) {
        // Of what lies beside them in a block, or in a gap before, a little may be shown, too.
        if self.wants(header.object, header.base, header.last()) {
            let noted = (header.object, header.base, payload.to_vec());
            self.seen.push(noted);
        }
    }

    fn pace(&self, bytes: u64) -> Result<(), Fault> {
        self.paced.set(self.paced.get() + bytes);
        Ok(())
    }
}

#[test]
fn what_is_wanted_is_shown_in_order_and_little_else_is_read() {
    let samples = samples(6, 3000, 300);
    let mut logs = logs(&samples, 4);
    let hit = logs[0].entries.iter().find(|(p, _)| *p == 2).unwrap().1;
    logs[0].chunk.bytes[hit.at.offset() as usize + 45] ^= 1;
    let sources: Vec<_> = logs
        .iter()
        .map(|closed| Source {
            file: &closed.chunk,
            footer: closed.footer,
        })
        .collect();
    for memory in [0, 10_000, 1 << 20] {
        let mut noted = Noted::default();
        let read = scan(&sources, memory, &mut noted).unwrap();
        let mut wanted: Vec<_> = samples
            .iter()
            .filter(|s| noted.wants(s.partition, s.base, s.last()))
            .filter(|s| (s.partition, s.base) != (2, hit.base))
            .map(|s| (s.partition, s.base, s.payload()))
            .collect();
        wanted.sort();
        assert!(noted.seen == wanted, "with {memory} bytes");
        assert!(noted.paced.get() > 0 && noted.paced.get() <= read);
    }
}

#[test]
fn what_was_compacted_lies_apart_and_stays_apart() {
    let samples = samples(4, 800, 100);
    let logs = logs(&samples, 2);
    let mut judge = Judge::default();
    judge.clean.extend([(2, 100), (3, 0)]);
    let sources: Vec<_> = logs.iter().collect();
    let (done, chunks) = run(&sources, &[], &judge, &options(5_000, 3 << 30), 9);
    let kinds: Vec<_> = done.chunks.iter().map(|info| info.kind).collect();
    use ChunkKind::{Compacted, Sorted};
    assert_eq!(kinds, [Compacted, Sorted, Sorted]);
    let held = |kind: usize| {
        let extents = chunks
            .iter()
            .find(|c| c.footer.chunk == done.chunks[kind].chunk);
        let extents = extents.unwrap().extents.iter();
        let held = extents.map(|(partition, extent)| (*partition, extent.first < 100));
        held.collect::<Vec<_>>()
    };
    assert_eq!(held(0), [(2, true)], "what is clean");
    assert_eq!(held(1), [(2, false), (3, true)], "what is to be compacted");
    assert_eq!(held(2), [(1, true), (4, true)]);
    // Later nobody compacts it any more: it stays apart.
    let all: Vec<_> = chunks.iter().collect();
    let (again, chunks) = run(&all, &[], &Judge::default(), &options(5_000, 3 << 30), 20);
    let kinds: Vec<_> = again.chunks.iter().map(|info| info.kind).collect();
    assert_eq!(kinds, [Compacted, Sorted]);
    let index = loaded(&chunks);
    for partition in 1..=4 {
        let (found, _) = read_partition(&index, &chunks, partition);
        assert_eq!(found, expected(&samples, &judge, partition));
    }
}

#[test]
fn full_chunks_are_followed_by_others() {
    let samples = samples(7, 2000, 500);
    let log = log_chunk(1, &samples);
    let judge = Judge::default();
    let (done, chunks) = run(&[&log], &[], &judge, &options(50_000, 100_000), 2);
    assert!(chunks.len() > 3);
    for (chunk, info) in chunks.iter().zip(&done.chunks) {
        assert!(info.bytes <= 100_000, "{info:?}");
        assert_eq!(
            (info.chunk, info.bytes),
            (chunk.footer.chunk, chunk.footer.bytes)
        );
    }
    let index = loaded(&chunks);
    for partition in 1..=7 {
        let (found, _) = read_partition(&index, &chunks, partition);
        assert_eq!(found, expected(&samples, &judge, partition));
    }
    let tiny = options(0, 0);
    let (done, _) = run(&[&log], &[], &judge, &tiny, 2);
    assert_eq!(done.chunks.len(), 2000, "one entry always fits");
}

#[test]
fn damage_is_left_behind_but_never_forgotten() {
    let samples = samples(5, 1000, 200);
    let mut logs = logs(&samples, 2);
    let entries = logs[0].entries.clone();
    let hit: Vec<_> = entries
        .iter()
        .filter(|(p, _)| *p == 3)
        .skip(10)
        .step_by(20)
        .collect();
    for (number, (_, entry)) in hit.iter().enumerate() {
        // Once the header, once the payload.
        let byte = entry.at.offset() as usize + if number % 2 == 0 { 9 } else { 45 };
        logs[0].chunk.bytes[byte] ^= 1;
    }
    let mut judge = Judge::default();
    let sources: Vec<_> = logs.iter().collect();
    let mut sealed = run(&sources, &[], &judge, &options(9_000, 3 << 30), 9);
    for id in 10..13 {
        let (done, chunks) = &sealed;
        assert_eq!(done.damaged.len(), hit.len());
        let mut index = loaded(chunks);
        let ranges = chunks[0].footer.damaged_ranges(&chunks[0].chunk).unwrap();
        assert_eq!(ranges, done.damaged);
        ranges.iter().for_each(|range| index.damage(*range));
        for partition in 1..=5 {
            let (found, lost) = read_partition(&index, chunks, partition);
            let mut whole = expected(&samples, &judge, partition);
            whole.retain(|(base, _)| !hit.iter().any(|(p, e)| *p == partition && e.base == *base));
            assert_eq!(found, whole);
            assert_eq!(lost.len(), if partition == 3 { hit.len() } else { 0 });
            for ((base, last), (_, entry)) in lost.iter().zip(&hit) {
                assert!(*base <= entry.base && entry.last <= *last);
            }
        }
        sealed = run(&[&sealed.1[0]], &[], &judge, &options(9_000, 3 << 30), id);
    }
    judge.starts.insert(3, hit[1].1.base + 50);
    let (done, _) = run(&[&sealed.1[0]], &[], &judge, &options(9_000, 3 << 30), 20);
    assert!(
        done.damaged.len() < hit.len(),
        "what lies below the start may be forgotten"
    );
    judge.deleted.extend([1, 2, 4, 5]);
    judge.starts.insert(3, hit[hit.len() - 1].1.base);
    let all = samples.iter().filter(|s| s.partition == 3);
    judge.settled.extend(all.map(|s| (3, s.base)));
    judge.settled.remove(&(3, hit[hit.len() - 1].1.base));
    let (done, chunks) = run(&[&sealed.1[0]], &[], &judge, &options(9_000, 3 << 30), 30);
    assert_eq!(
        (done.added.len(), chunks.len()),
        (0, 1),
        "a chunk for the damage alone"
    );
}

#[test]
fn chunks_that_stay_between_sources_are_not_enclosed() {
    let samples = samples(4, 2000, 100);
    let logs = logs(&samples, 4);
    let mut index = loaded(&logs);
    let chosen = [&logs[0], &logs[2], &logs[3]];
    let ids: Vec<_> = chosen.iter().map(|log| log.footer.chunk).collect();
    let boundaries = index.boundaries(&ids, ..);
    assert_eq!(boundaries.len(), 4);
    let judge = Judge::default();
    let (done, mut chunks) = run(&chosen, &boundaries, &judge, &options(5_000, 3 << 30), 9);
    assert_eq!(done.added.len(), 8, "two extents a partition");
    index.replace(&done.removed, done.added);
    chunks.push(logs[1].clone());
    for partition in 1..=4 {
        let (found, _) = read_partition(&index, &chunks, partition);
        assert_eq!(found, expected(&samples, &judge, partition));
    }
}

#[test]
fn sources_that_hold_the_same_offsets_are_refused() {
    let samples = samples(4, 200, 100);
    let (log, sorted) = (log_chunk(1, &samples), sorted_chunk(2, &samples));
    let sources = [&log, &sorted].map(|closed| Source {
        file: &closed.chunk,
        footer: closed.footer,
    });
    let mut create = |_: ChunkKind| -> Result<Box<dyn Output>, Fault> {
        let shelf = Rc::default();
        Ok(Box::new(Shelved {
            chunk: MemChunk::new(5),
            shelf,
        }))
    };
    let judge = Judge::default();
    let fault = regroup(
        &sources,
        &[],
        &judge,
        &RegroupOptions::default(),
        &mut create,
    );
    let fault = fault.unwrap_err().to_string();
    assert!(
        fault.contains("offsets of partition 1 that chunk"),
        "{fault}"
    );
}

#[test]
fn ten_thousand_partitions_are_sorted_in_few_reads() {
    let samples = samples(10_000, 60_000, 100);
    let logs = logs(&samples, 3);
    let sources: Vec<_> = logs.iter().collect();
    let judge = Judge::default();
    let live: u64 = logs.iter().map(|log| log.footer.at).sum();
    let memory = usize::try_from(live / 2).unwrap();
    let (done, chunks) = run(&sources, &[], &judge, &options(memory, 3 << 30), 9);
    assert_eq!(done.added.len(), 10_000);
    // Blocks of log chunks are listed with 60 bytes each, so that here a load is half its memory.
    assert!(done.bytes_read < 8 * live, "{} of {live}", done.bytes_read);
    assert!(judge.paced.get() >= live, "a pass can be slowed down");
    let index = loaded(&chunks);
    for partition in [1, 2, 5000, 9999, 10_000] {
        let (found, _) = read_partition(&index, &chunks, partition);
        assert_eq!(found, expected(&samples, &judge, partition));
    }
    assert!(index.memory_bytes() < 10_000 * 350);
}

#[test]
fn payloads_stored_once_keep_their_ids_and_unknown_kinds_end_the_pass() {
    let samples: Vec<_> = (0..50)
        .map(|number| Sample {
            partition: crate::index::PAYLOADS,
            base: 4096 + number * 200,
            count: 1,
            timestamp: number,
            length: 100,
        })
        .collect();
    let mut log = log_chunk(1, &samples);
    let kind = |log: &mut Closed, number: u16| {
        for (_, entry) in &log.entries {
            let at = entry.at.offset() as usize;
            let head = &mut log.chunk.bytes[at..at + 40];
            head[..2].copy_from_slice(&number.to_le_bytes());
            let crc = mulgil_record::crc::crc32c(&[&head[..36]]);
            head[36..].copy_from_slice(&crc.to_le_bytes());
        }
    };
    kind(&mut log, EntryKind::Payload as u16);
    let judge = Judge::default();
    let (done, chunks) = run(&[&log], &[], &judge, &options(900, 3 << 30), 9);
    assert_eq!(done.damaged, []);
    let (found, _) = read_partition(&loaded(&chunks), &chunks, 0);
    assert_eq!(found, expected(&samples, &judge, 0));
    kind(&mut log, 999);
    let sources = [Source {
        file: &log.chunk,
        footer: log.footer,
    }];
    let mut create =
        |_: ChunkKind| -> Result<Box<dyn Output>, Fault> { panic!("nothing is written") };
    let fault = regroup(&sources, &[], &judge, &options(0, 0), &mut create).unwrap_err();
    assert!(fault.to_string().contains("entry kind 999"), "{fault}");
}

/// Passes over whatever chunks, in between trims, and all still reads as it should.
fn many_passes(count: usize, chunks: usize, picks: &[u16], memory: usize, flips: &[usize]) {
    let samples = samples(6, count, 400);
    let mut chunks = logs(&samples, chunks);
    let mut index = loaded(&chunks);
    let mut judge = Judge::default();
    let flips: BTreeSet<_> = flips.iter().map(|at| at % count).collect();
    let mut damaged = BTreeSet::new();
    let mut number = 0;
    for chunk in &mut chunks {
        for (partition, entry) in chunk.entries.clone() {
            if flips.contains(&number) {
                chunk.chunk.bytes[entry.at.offset() as usize + 40 + number % 8] ^= 1;
                damaged.insert((partition, entry.base, entry.last));
            }
            number += 1;
        }
    }
    let mut next = 100;
    for (pass, pick) in picks.iter().enumerate() {
        let chosen: Vec<_> = (0..)
            .zip(&chunks)
            .filter(|(at, _)| pick >> (at % 16) & 1 == 1)
            .map(|(_, chunk)| chunk.clone())
            .collect();
        let ids: Vec<_> = chosen.iter().map(|chunk| chunk.footer.chunk).collect();
        let boundaries = index.boundaries(&ids, ..);
        let sources: Vec<_> = chosen.iter().collect();
        let (done, new) = run(
            &sources,
            &boundaries,
            &judge,
            &options(memory, 60_000),
            next,
        );
        next += 20;
        done.damaged.iter().for_each(|range| index.damage(*range));
        index.replace(&done.removed, done.added);
        chunks.retain(|chunk| !ids.contains(&chunk.footer.chunk));
        chunks.extend(new);
        let partition = pass as u64 % 6 + 1;
        let start = i64::from(*pick) % 60;
        let start = judge
            .starts
            .get(&partition)
            .copied()
            .unwrap_or(0)
            .max(start);
        judge.starts.insert(partition, start);
        index.trim(partition, start);
        judge
            .clean
            .insert(u64::from(*pick) % 6, i64::from(*pick) % 90);
    }
    for partition in 1..=6 {
        check_partition(&index, &chunks, &samples, &judge, &damaged, partition);
    }
}

fn check_partition(
    index: &Index,
    chunks: &[Closed],
    samples: &[Sample],
    judge: &Judge,
    damaged: &BTreeSet<(u64, i64, i64)>,
    partition: u64,
) {
    let mut offset = 0;
    let mut found = Vec::new();
    loop {
        match index.locate(partition, offset, 3000, i64::MAX) {
            Located::End => break,
            Located::Tail(_) => panic!("all chunks have footers"),
            Located::Damaged { last, .. } => offset = last + 1,
            Located::Cold(read) => {
                let chunk = chunks
                    .iter()
                    .find(|c| c.footer.chunk == read.chunk)
                    .unwrap();
                match read_cold(&chunk.chunk, &chunk.footer, &read) {
                    Ok(batches) => {
                        offset = batches.last().map_or(read.end, |batch| batch.last + 1);
                        found.extend(batches.iter().map(|b| (b.base, b.payload.to_vec())));
                    }
                    Err(ReadError::Damaged(range)) => offset = range.last + 1,
                    Err(ReadError::Fault(fault)) => panic!("{fault}"),
                }
            }
        }
    }
    let mut whole = expected(samples, judge, partition);
    whole.retain(|(base, _)| {
        !damaged
            .iter()
            .any(|(p, b, _)| (*p, *b) == (partition, *base))
    });
    assert_eq!(found, whole, "partition {partition}");
}

#[test]
fn a_pass_moves_everything_though_index_pages_are_damaged() {
    let samples = samples(5, 900, 700);
    let (judge, options) = (Judge::default(), RegroupOptions::default());
    for mut closed in [log_chunk(1, &samples), sorted_chunk(1, &samples)] {
        let (_, whole) = run(&[&closed], &[], &judge, &options, 10);
        let at = usize::try_from(closed.footer.at).unwrap();
        for page in 0..closed.footer.index_pages as usize {
            closed.chunk.bytes[at + page * 4096 + 100] ^= 1;
        }
        let (_, again) = run(&[&closed], &[], &judge, &options, 10);
        assert_eq!(whole.len(), again.len());
        for (whole, again) in whole.iter().zip(&again) {
            assert!(whole.chunk.bytes == again.chunk.bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn readers_find_the_same_after_any_passes(
        count in 30..800_usize,
        chunks in 1..8_usize,
        picks in proptest::collection::vec(any::<u16>(), 0..6),
        memory in prop_oneof![Just(0_usize), Just(20_000), Just(1 << 20)],
        flips in proptest::collection::vec(any::<usize>(), 0..4),
    ) {
        many_passes(count, chunks, &picks, memory, &flips);
    }
}
