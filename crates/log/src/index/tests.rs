//! The index against a naive model.

use proptest::prelude::*;

use super::*;

fn entry(chunk: u32, offset: u32, base: i64, last: i64, max_timestamp: i64) -> TailEntry {
    TailEntry {
        base,
        last,
        at: Position::new(ChunkId(chunk), offset),
        length: 100,
        max_timestamp,
    }
}

fn extent(chunk: u32, first: i64, last: i64, bytes: u64) -> Extent {
    Extent {
        chunk: ChunkId(chunk),
        slot: 0,
        first,
        last,
        bytes,
        max_timestamp: first,
    }
}

fn damaged(partition: u64, base: i64, last: i64) -> DamagedRange {
    DamagedRange {
        partition,
        base,
        last,
        at: Position::ZERO,
    }
}

#[test]
fn a_tail_ends_where_an_extent_begins_even_if_chunks_are_sealed_out_of_order() {
    let mut index = Index::new();
    index.append(7, entry(1, 0, 0, 9, 0));
    index.append(7, entry(2, 0, 10, 19, 0));
    index.append(7, entry(3, 0, 20, 29, 0));
    index.seal(ChunkId(2), vec![(7, extent(2, 10, 19, 144))]);
    let Located::Tail(entries) = index.locate(7, 0, 100, 30) else {
        panic!("the first chunk has no footer")
    };
    assert_eq!(entries.map(|entry| entry.base).collect::<Vec<_>>(), [0]);
    assert!(matches!(
        index.locate(7, 10, 100, 30),
        Located::Cold(ColdRead {
            from: 10,
            end: 20,
            ..
        })
    ));
    assert!(matches!(index.locate(7, 20, 100, 30), Located::Tail(_)));
    assert!(matches!(index.locate(7, 20, 100, 20), Located::End));
    assert_eq!(
        index.start_for_bytes(7, 0),
        Some(10),
        "not past what is out of order"
    );
}

#[test]
fn what_was_removed_or_trimmed_during_a_pass_does_not_come_back() {
    let mut index = Index::new();
    for partition in [1, 2] {
        index.load(partition, extent(1, 0, 9, 1000));
        index.load(partition, extent(2, 10, 19, 1000));
    }
    index.remove(1);
    index.trim(2, 15);
    assert_eq!(index.live_bytes(ChunkId(1)), 0);
    assert_eq!(index.live_bytes(ChunkId(2)), 500);
    let added = vec![(1, extent(5, 0, 19, 2000)), (2, extent(5, 0, 19, 2000))];
    index.replace(&[ChunkId(1), ChunkId(2)], added);
    assert_eq!(index.live_bytes(ChunkId(2)), 0);
    assert_eq!((index.bytes(1), index.bytes(2)), (0, 500));
    assert!(matches!(index.locate(1, 0, 10, 100), Located::End));
    assert!(matches!(
        index.locate(2, 0, 10, 100),
        Located::Cold(ColdRead {
            from: 15,
            end: 20,
            chunk: ChunkId(5),
            ..
        })
    ));
}

#[test]
fn damage_is_met_where_it_lies_and_read_around() {
    let mut index = Index::new();
    index.load(3, extent(1, 0, 99, 1000));
    index.damage(damaged(3, 40, 44));
    index.damage(damaged(3, 42, 50));
    index.damage(damaged(3, 60, 60));
    assert_eq!(index.damaged(3), [(40, 50), (60, 60)]);
    assert!(matches!(
        index.locate(3, 0, 10, 100),
        Located::Cold(ColdRead {
            from: 0,
            end: 40,
            ..
        })
    ));
    assert!(matches!(
        index.locate(3, 45, 10, 100),
        Located::Damaged { base: 40, last: 50 }
    ));
    assert!(matches!(
        index.locate(3, 51, 10, 100),
        Located::Cold(ColdRead {
            from: 51,
            end: 60,
            ..
        })
    ));
    index.trim(3, 55);
    assert_eq!(index.damaged(3), [(60, 60)]);
}

#[test]
fn retention_goes_by_whole_extents_and_batches() {
    let mut index = Index::new();
    index.load(3, extent(1, 0, 99, 1000));
    index.load(3, extent(2, 100, 199, 1000));
    index.append(3, entry(4, 0, 200, 249, 200));
    index.append(3, entry(4, 0, 250, 299, 250));
    let batch = entry(4, 0, 0, 0, 0).bytes();
    assert_eq!(index.bytes(3), 2000 + 2 * batch);
    assert_eq!(index.start_for_bytes(3, 5000), None);
    assert_eq!(index.start_for_bytes(3, 1000 + 2 * batch), Some(100));
    assert_eq!(index.start_for_bytes(3, batch), Some(250));
    assert_eq!(index.start_for_time(3, 0), None);
    assert_eq!(index.start_for_time(3, 100), Some(100));
    assert_eq!(index.start_for_time(3, 201), Some(250));
    // Without timestamps nothing has an age, and goes with what comes after it.
    index.append(3, entry(4, 0, 300, 349, -1));
    assert_eq!(index.start_for_time(3, 1_000), Some(300));
    index.append(3, entry(4, 0, 350, 399, 350));
    assert_eq!(index.start_for_time(3, 1_000), Some(400));
}

#[test]
fn boundaries_are_where_other_chunks_lie_between() {
    let mut index = Index::new();
    for (chunk, first) in [(1, 0), (2, 10), (3, 20), (4, 30)] {
        index.load(8, extent(chunk, first, first + 9, 10));
    }
    let chunks = |ids: &[u32]| ids.iter().map(|id| ChunkId(*id)).collect::<Vec<_>>();
    assert_eq!(index.boundaries(&chunks(&[1, 3, 4]), ..), [(8, 20)]);
    assert_eq!(index.boundaries(&chunks(&[2, 4]), ..), [(8, 30)]);
    assert!(index.boundaries(&chunks(&[1, 2]), ..).is_empty());
}

#[test]
fn ten_thousand_partitions_take_memory_by_chunk_and_not_by_batch() {
    let mut index = Index::new();
    let mut bytes_of_one_chunk = 0;
    for chunk in 1..=4_u32 {
        for round in 0..10_u32 {
            for partition in 1..=10_000_u64 {
                let base = i64::from(chunk * 10 + round);
                index.append(partition, entry(chunk, round, base, base, 0));
            }
        }
        let first = i64::from(chunk * 10);
        let extents = (1..=10_000).map(|partition| (partition, extent(chunk, first, first + 9, 1)));
        index.seal(ChunkId(chunk), extents.collect());
        if chunk == 1 {
            bytes_of_one_chunk = index.memory_bytes();
        }
    }
    assert!(bytes_of_one_chunk < 10_000 * 350, "{bytes_of_one_chunk}");
    let grown = index.memory_bytes() - bytes_of_one_chunk;
    assert!(
        grown <= 3 * 10_000 * 48,
        "{grown} bytes for three more chunks"
    );
}

/// What happens to an index.
#[derive(Clone, Debug)]
enum Step {
    Append {
        partition: u64,
        skip: i64,
        records: i64,
        length: u32,
        timestamp: i64,
    },
    NewChunk,
    Seal,
    Trim {
        partition: u64,
        share: i64,
    },
    Remove {
        partition: u64,
    },
    Damage {
        partition: u64,
        share: i64,
    },
    Regroup {
        which: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let partition = 0..4_u64;
    let step = prop_oneof![
        12 => (partition.clone(), 0..3_i64, 1..5_i64, 1..2000_u32, 0..50_i64).prop_map(
            |(partition, skip, records, length, timestamp)| Step::Append {
                partition,
                skip: (skip - 1).max(0),
                records,
                length,
                timestamp
            }
        ),
        3 => Just(Step::NewChunk),
        3 => Just(Step::Seal),
        2 => (partition.clone(), 0..100_i64)
            .prop_map(|(partition, share)| Step::Trim { partition, share }),
        1 => partition.clone().prop_map(|partition| Step::Remove { partition }),
        1 => (partition, 0..100_i64)
            .prop_map(|(partition, share)| Step::Damage { partition, share }),
        2 => any::<u32>().prop_map(|which| Step::Regroup { which }),
    ];
    proptest::collection::vec(step, 1..120)
}

/// One batch as the model knows it.
#[derive(Clone, Copy, Debug)]
struct Batch {
    base: i64,
    last: i64,
    chunk: u32,
    slot: Option<u32>,
    timestamp: i64,
    bytes: u64,
    damaged: bool,
}

/// What a reader meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Batch(i64),
    Damaged(i64),
}

/// All batches in vectors, and nothing clever.
#[derive(Debug, Default)]
struct Naive {
    batches: BTreeMap<u64, Vec<Batch>>,
    starts: BTreeMap<u64, i64>,
    next: BTreeMap<u64, i64>,
    chunk: u32,
    offset: u32,
    unsealed: Vec<u32>,
    sealed: Vec<u32>,
}

/// The extents of batches that lie in one chunk, split where `split` says so.
fn extents_of(batches: &[Batch], chunk: u32, slots: &mut u32, splits: &[i64]) -> Vec<Extent> {
    let mut found: Vec<Extent> = Vec::new();
    for batch in batches {
        match found.last_mut() {
            Some(last) if !splits.contains(&batch.base) => {
                last.last = batch.last;
                last.bytes += batch.bytes;
                last.max_timestamp = last.max_timestamp.max(batch.timestamp);
            }
            Some(_) | None => {
                found.push(Extent {
                    chunk: ChunkId(chunk),
                    slot: *slots,
                    first: batch.base,
                    last: batch.last,
                    bytes: batch.bytes,
                    max_timestamp: batch.timestamp,
                });
                *slots += 1;
            }
        }
    }
    found
}

impl Naive {
    fn start(&self, partition: u64) -> i64 {
        self.starts.get(&partition).copied().unwrap_or_default()
    }

    fn at_share(&self, partition: u64, share: i64) -> i64 {
        self.next.get(&partition).copied().unwrap_or_default() * share / 100
    }

    /// Moves batches into `chunk` and gives their extents, taking them from where `from` says.
    fn move_to(
        &mut self,
        chunk: u32,
        from: impl Fn(&Batch) -> bool,
        splits: &[(u64, i64)],
    ) -> Vec<(u64, Extent)> {
        let mut slots = 0;
        let mut added = Vec::new();
        for (partition, batches) in &mut self.batches {
            let moved: Vec<_> = batches.iter().filter(|b| from(b)).copied().collect();
            let splits = splits.iter().filter(|(of, _)| of == partition);
            let splits: Vec<_> = splits.map(|(_, offset)| *offset).collect();
            // A boundary is the first offset of an extent, which is the base of a batch.
            let extents = extents_of(&moved, chunk, &mut slots, &splits);
            for batch in batches.iter_mut().filter(|batch| from(batch)) {
                let holds = |extent: &&Extent| (extent.first..=extent.last).contains(&batch.base);
                batch.slot = extents.iter().find(holds).map(|extent| extent.slot);
                batch.chunk = chunk;
            }
            added.extend(extents.into_iter().map(|extent| (*partition, extent)));
        }
        added
    }

    fn take(&mut self, step: &Step, index: &mut Index) {
        match *step {
            Step::Append {
                partition,
                skip,
                records,
                length,
                timestamp,
            } => {
                let base = self.next.get(&partition).copied().unwrap_or_default() + skip;
                let entry = TailEntry {
                    base,
                    last: base + records - 1,
                    at: Position::new(ChunkId(self.chunk), self.offset),
                    length,
                    max_timestamp: timestamp,
                };
                self.append(partition, &entry);
                index.append(partition, entry);
            }
            Step::NewChunk => {
                self.unsealed.push(self.chunk);
                self.chunk += 1;
                self.offset = 0;
            }
            Step::Seal => self.seal(index),
            Step::Trim { partition, share } => {
                let to = self.at_share(partition, share).max(self.start(partition));
                self.starts.insert(partition, to);
                if let Some(batches) = self.batches.get_mut(&partition) {
                    batches.retain(|batch| batch.last >= to);
                }
                index.trim(partition, to);
            }
            Step::Remove { partition } => {
                self.batches.remove(&partition);
                self.starts.remove(&partition);
                index.remove(partition);
            }
            Step::Damage { partition, share } => {
                let hit = self.at_share(partition, share);
                let batches = self.batches.get_mut(&partition);
                let batch = batches.and_then(|all| all.iter_mut().find(|b| b.last >= hit));
                if let Some(batch) = batch {
                    batch.damaged = true;
                    index.damage(damaged(partition, batch.base, batch.last));
                }
            }
            Step::Regroup { which } => self.regroup(which, index),
        }
    }

    fn append(&mut self, partition: u64, entry: &TailEntry) {
        self.next.insert(partition, entry.last + 1);
        self.offset += 1;
        let batch = Batch {
            base: entry.base,
            last: entry.last,
            chunk: self.chunk,
            slot: None,
            timestamp: entry.max_timestamp,
            bytes: entry.bytes(),
            damaged: false,
        };
        if batch.last >= self.start(partition) {
            self.batches.entry(partition).or_default().push(batch);
        }
    }

    fn seal(&mut self, index: &mut Index) {
        if self.unsealed.is_empty() {
            return;
        }
        let chunk = self.unsealed.remove(0);
        let listed: Vec<_> = index
            .tail_of(ChunkId(chunk), ..)
            .flat_map(|(partition, entries)| entries.map(move |e| (partition, e.base)))
            .collect();
        let mine = self.batches.iter().flat_map(|(partition, batches)| {
            let mine = batches.iter().filter(|batch| batch.chunk == chunk);
            mine.map(|batch| (*partition, batch.base))
        });
        assert_eq!(listed, mine.collect::<Vec<_>>());
        let extents = self.move_to(chunk, |batch| batch.chunk == chunk, &[]);
        index.seal(ChunkId(chunk), extents);
        self.sealed.push(chunk);
    }

    fn regroup(&mut self, which: u32, index: &mut Index) {
        let chosen = self.sealed.iter().enumerate();
        let chosen = chosen.filter(|(at, _)| which >> (at % 32) & 1 == 1);
        let chosen: Vec<u32> = chosen.map(|(_, chunk)| *chunk).collect();
        let ids: Vec<_> = chosen.iter().map(|chunk| ChunkId(*chunk)).collect();
        let splits = index.boundaries(&ids, ..);
        // The pass gets an id, and the log's next chunk one above it.
        self.unsealed.push(self.chunk);
        let into = self.chunk + 1;
        self.chunk += 2;
        self.offset = 0;
        let moves = |batch: &Batch| batch.slot.is_some() && chosen.contains(&batch.chunk);
        let added = self.move_to(into, moves, &splits);
        index.replace(&ids, added);
        self.sealed.retain(|chunk| !chosen.contains(chunk));
        self.sealed.push(into);
    }

    /// The batches that a cold read finds.
    fn cold(&self, read: ColdRead) -> impl Iterator<Item = &Batch> {
        let place = (read.chunk.0, Some(read.slot));
        let batches = self.of(read.partition).iter();
        batches.filter(move |batch| {
            let wanted = batch.last >= read.from && batch.base < read.end;
            wanted && (batch.chunk, batch.slot) == place
        })
    }

    /// Reads on and on from `offset`, as a consumer does that steps over damage.
    fn read_all(&self, index: &Index, partition: u64, mut offset: i64, end: i64) -> Vec<Found> {
        let mut found = Vec::new();
        loop {
            let before = offset;
            match index.locate(partition, offset, 1, end) {
                Located::End => return found,
                Located::Damaged { base, last } => {
                    found.push(Found::Damaged(base));
                    offset = last + 1;
                }
                Located::Tail(entries) => {
                    offset = entries.clone().next_back().map_or(offset, |e| e.last + 1);
                    found.extend(entries.map(|entry| Found::Batch(entry.base)));
                }
                Located::Cold(read) => {
                    found.extend(self.cold(read).map(|b| Found::Batch(b.base)));
                    offset = read.end;
                }
            }
            assert!(offset > before, "no step forward at {offset}");
        }
    }

    fn of(&self, partition: u64) -> &[Batch] {
        self.batches.get(&partition).map_or(&[], Vec::as_slice)
    }

    fn check_reads(&self, index: &Index, partition: u64, offset: i64, end: i64) {
        let from = offset.max(self.start(partition));
        let wanted = self
            .of(partition)
            .iter()
            .filter(|b| b.last >= from && b.base < end);
        let expected: Vec<_> = wanted
            .map(|b| {
                if b.damaged {
                    Found::Damaged(b.base)
                } else {
                    Found::Batch(b.base)
                }
            })
            .collect();
        assert_eq!(self.read_all(index, partition, offset, end), expected);
    }

    /// Asks for a time as a caller does, again beyond a chunk that had it only below the start.
    fn find_time(&self, index: &Index, partition: u64, timestamp: i64, end: i64) -> Option<i64> {
        let mut from = i64::MIN;
        loop {
            let read = match index.by_time_from(partition, timestamp, from, end) {
                TimeLookup::None => return None,
                TimeLookup::Tail(entry) => return Some(entry.base),
                TimeLookup::Cold { read, .. } => read,
            };
            if let Some(batch) = self.cold(read).find(|b| b.timestamp >= timestamp) {
                return Some(batch.base);
            }
            from = read.end;
        }
    }

    fn check_times(&self, index: &Index, partition: u64, timestamp: i64, end: i64) {
        let below_end = || self.of(partition).iter().filter(|b| b.last < end);
        let expected = below_end()
            .find(|b| b.timestamp >= timestamp)
            .map(|b| b.base);
        assert_eq!(self.find_time(index, partition, timestamp, end), expected);
        let largest = below_end().map(|b| b.timestamp).max();
        let holder = below_end().find(|b| Some(b.timestamp) == largest);
        match (index.by_max_time(partition, end), holder) {
            (TimeLookup::None, holder) => assert!(holder.is_none()),
            (TimeLookup::Tail(entry), Some(batch)) => assert_eq!(entry.base, batch.base),
            (TimeLookup::Cold { read, .. }, Some(batch)) => {
                let inside = (read.from..read.end).contains(&batch.base.max(read.from));
                assert!(
                    inside || read.from <= self.start(partition),
                    "{read:?} {batch:?}"
                );
            }
            (found, None) => panic!("{found:?} where there is nothing"),
        }
    }

    fn check(&self, index: &Index) {
        for partition in 0..4 {
            let end = self.next.get(&partition).copied().unwrap_or_default();
            for offset in 0..=end {
                self.check_reads(index, partition, offset, end);
            }
            let middle = self.of(partition).get(self.of(partition).len() / 2);
            let middle = middle.map_or(0, |batch| batch.last + 1);
            self.check_reads(index, partition, 0, middle);
            for timestamp in [0, 10, 30, 49] {
                self.check_times(index, partition, timestamp, end);
            }
            let batches = self.of(partition);
            let in_tail = batches
                .iter()
                .filter(|b| b.slot.is_none())
                .map(|b| b.bytes)
                .sum::<u64>();
            let all = batches.iter().map(|b| b.bytes).sum::<u64>();
            let counted = index.bytes(partition);
            assert!(counted >= in_tail);
            if self.start(partition) == 0 {
                assert_eq!(counted, all);
            }
        }
        let live: u64 = index.live.0.values().sum();
        let bytes: u64 = (0..4).map(|partition| index.bytes(partition)).sum();
        assert_eq!(live, bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn every_answer_is_that_of_a_plain_list(steps in steps()) {
        let mut index = Index::new();
        let mut naive = Naive { chunk: 1, ..Naive::default() };
        for step in &steps {
            naive.take(step, &mut index);
        }
        naive.check(&index);
    }
}
