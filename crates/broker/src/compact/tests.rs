//! Compaction against a model: a map of the newest record of each key.

use mulgil_log::regroup::Candidate;
use mulgil_record::batch::BatchBuilder;
use mulgil_record::compression::Codec;
use mulgil_record::ids::{LeaderEpoch, ProducerEpoch, ProducerId};
use proptest::prelude::*;

use super::*;

const PARTITION: u64 = 7;
const RETENTION_MS: i64 = 1_000;
const MEMORY: usize = 1 << 20;

/// A record as it was produced: by offset, its key if it has one, and its value or none.
type Told = (i64, (Option<u8>, Option<u8>));

/// A partition: its batches, and all that was ever produced to it.
#[derive(Clone, Debug, Default)]
struct Log {
    batches: Vec<(EntryHeader, Vec<u8>)>,
    produced: BTreeMap<i64, (Option<u8>, Option<u8>)>,
    /// By offset, from when on a deletion may go.
    horizons: BTreeMap<i64, i64>,
    clean_to: i64,
    end: i64,
}

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    /// The newest record of a key is taken for an older one.
    NewestDropped,
    /// Deletions go before their time.
    DeletionTooEarly,
    /// What a full map does not know is taken for superseded.
    UnknownDropped,
    /// A full map is taken for a complete one.
    FullUnnoticed,
}

impl Log {
    fn produce(&mut self, records: &[(Option<u8>, Option<u8>)], codec: Codec) {
        let mut builder = BatchBuilder::new(codec, 0);
        let sequence = i32::try_from(self.end).unwrap();
        builder = builder.producer(ProducerId(3), ProducerEpoch(0), sequence);
        for (at, (key, value)) in (self.end..).zip(records) {
            let key = key.map(|key| [key]);
            let value = value.map(|value| [value; 9]);
            let value = value.as_ref().map(|value| &value[..]);
            builder.push(at * 10, key.as_ref().map(|key| &key[..]), value, &[]);
            self.produced
                .insert(at, records[usize::try_from(at - self.end).unwrap()]);
        }
        let mut batch = builder.finish().bytes.to_vec();
        mulgil_record::batch::restamp(&mut batch, Offset(self.end), LeaderEpoch(1));
        let payload = batch_payload(&[], &batch);
        let header = EntryHeader {
            kind: EntryKind::Batch,
            version: 1,
            flags: 0,
            length: u32::try_from(payload.len()).unwrap(),
            object: PARTITION,
            base: self.end,
            count: u32::try_from(records.len()).unwrap(),
        };
        self.batches.push((header, payload));
        self.end += i64::from(header.count);
    }

    fn learn(&self, to: i64, now_ms: i64, keys: usize) -> Compaction {
        let keyed = Keyed {
            candidate: Candidate {
                partition: PARTITION,
                clean_to: self.clean_to,
                to,
                clean_bytes: 0,
                dirty_bytes: 0,
                chunks: Vec::new(),
                dirty_permille: 0,
                overdue: false,
            },
            end: self.end,
            delete_retention_ms: RETENTION_MS.unsigned_abs(),
        };
        let memory = CompactionMemory {
            batches: MEMORY,
            keys,
        };
        let pace = |_| Ok(());
        let mut compaction = Compaction::learn(&[], [&keyed], memory, now_ms, &pace).unwrap();
        let mut learner = Learner {
            compaction: &mut compaction,
            newest: None,
            pace: &pace,
        };
        for (header, payload) in &self.batches {
            learner.entry(header, payload);
        }
        compaction
    }

    /// One pass up to `to`; what does not hold then.
    fn pass(
        &mut self,
        to: i64,
        now_ms: i64,
        keys: usize,
        planted: Option<Planted>,
    ) -> Result<(), String> {
        let mut compaction = self.learn(to, now_ms, keys);
        Self::plant(&mut compaction, planted);
        let reach = compaction.reach(PARTITION).unwrap_or(self.clean_to);
        let batches = std::mem::take(&mut self.batches);
        for (header, payload) in batches {
            match compaction.judge(&header, &payload) {
                Rewritten::Gone => {}
                Rewritten::AsIs => self.batches.push((header, payload)),
                Rewritten::Payload(payload) => {
                    let length = u32::try_from(payload.len()).unwrap();
                    self.batches
                        .push((EntryHeader { length, ..header }, payload));
                }
            }
        }
        let found = self.found()?;
        self.check(&found, reach, now_ms)?;
        self.clean_to = reach.max(self.clean_to);
        Ok(())
    }

    fn plant(compaction: &mut Compaction, planted: Option<Planted>) {
        let keys = || (0..=u8::MAX).map(|key| [key]);
        match planted {
            Some(Planted::NewestDropped) => {
                let known = |key: &[u8; 1]| compaction.keys.newest(PARTITION, key);
                let known: Vec<_> = keys().filter_map(|key| Some((key, known(&key)?))).collect();
                for (key, newest) in known {
                    assert!(compaction.keys.insert(PARTITION, &key, newest + 1));
                }
            }
            Some(Planted::DeletionTooEarly) => compaction.now_ms += RETENTION_MS,
            // Those need a map that gets full.
            Some(Planted::UnknownDropped | Planted::FullUnnoticed) | None => {}
        }
    }

    /// What the partition holds, checked to be as it was produced, in order.
    fn found(&self) -> Result<Vec<Told>, String> {
        let mut found: Vec<Told> = Vec::new();
        for (header, payload) in &self.batches {
            let records = records_of(header, payload).ok_or("a batch cannot be read")?;
            let batch = records.header();
            let names = (
                batch.base_offset.0,
                batch.last_offset().0,
                batch.base_sequence,
            );
            let sequence = i32::try_from(header.base).unwrap();
            if names != (header.base, header.last(), sequence) {
                return Err(format!(
                    "a batch at {} has another name: {names:?}",
                    header.base
                ));
            }
            for record in records.views() {
                let offset = header.base + i64::from(record.offset_delta);
                let told = (
                    record.key.map(|key| key[0]),
                    record.value.map(|value| value[0]),
                );
                let time = records.timestamp(record.timestamp_delta);
                if self.produced.get(&offset) != Some(&told) || time != offset * 10 {
                    return Err(format!("{told:?} at {offset} and {time} was not produced"));
                }
                if found.last().is_some_and(|(before, _)| *before >= offset) {
                    return Err(format!("{offset} is out of order"));
                }
                found.push((offset, told));
            }
        }
        Ok(found)
    }

    /// Compares with the model: below `reach` only the newest of each key, above it everything.
    fn check(&mut self, found: &[Told], reach: i64, now_ms: i64) -> Result<(), String> {
        let mut newest = BTreeMap::new();
        for (offset, (key, _)) in self.produced.range(..reach) {
            newest.insert(*key, *offset);
        }
        for (offset, (key, value)) in &self.produced {
            let there = found.iter().any(|(at, _)| at == offset);
            let last = offset + 1 == self.end;
            let superseded = *offset < reach && (key.is_none() || newest[key] > *offset);
            let must = last || !superseded;
            if there && !must {
                return Err(format!(
                    "{offset} of key {key:?} is there, and is superseded"
                ));
            }
            if there || !must {
                continue;
            }
            let horizon = self.horizons.get(offset);
            if value.is_some() || horizon.is_none_or(|horizon| *horizon > now_ms) {
                return Err(format!("{offset} of key {key:?} is gone before its time"));
            }
        }
        for (offset, (_, value)) in self.produced.range(..reach) {
            if value.is_none() {
                self.horizons
                    .entry(*offset)
                    .or_insert(now_ms + RETENTION_MS);
            }
        }
        Ok(())
    }
}

fn records() -> impl Strategy<Value = Vec<(Option<u8>, Option<u8>)>> {
    let key = prop_oneof![9 => (0..12_u8).prop_map(Some), 1 => Just(None)];
    let value = prop_oneof![3 => any::<u8>().prop_map(Some), 1 => Just(None)];
    proptest::collection::vec((key, value), 1..6)
}

#[derive(Clone, Debug)]
enum Step {
    Produce(Vec<(Option<u8>, Option<u8>)>, usize),
    /// How far, of what there is; how much later; how many slots of the map.
    Pass(u8, i64),
    /// A pass that is lost with its process, and then one like it.
    Twice(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (records(), 0..5_usize).prop_map(|(records, codec)| Step::Produce(records, codec)),
        2 => (any::<u8>(), 0..1_500_i64).prop_map(|(to, later)| Step::Pass(to, later)),
        1 => any::<u8>().prop_map(Step::Twice),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A boundary between two batches, behind what is clean.
fn boundary(log: &Log, to: u8) -> i64 {
    let bases = log.batches.iter().map(|(header, _)| header.last() + 1);
    let bases: Vec<i64> = bases.filter(|base| *base >= log.clean_to).collect();
    if bases.is_empty() {
        return log.clean_to;
    }
    bases[usize::from(to) % bases.len()]
}

fn take(steps: &[Step], keys: usize, planted: Option<Planted>) -> Result<Log, String> {
    let mut log = Log::default();
    let mut now = 5_000;
    for step in steps {
        match step {
            Step::Produce(records, codec) => log.produce(records, Codec::ALL[*codec]),
            Step::Pass(to, later) => {
                now += later;
                log.pass(boundary(&log, *to), now, keys, planted)?;
            }
            Step::Twice(to) => {
                let to = boundary(&log, *to);
                let mut lost = log.clone();
                lost.pass(to, now, keys, planted)?;
                log.pass(to, now, keys, planted)?;
                if log.batches != lost.batches {
                    return Err("the same pass gives something else".to_owned());
                }
                let before = log.batches.clone();
                log.pass(log.clean_to, now, keys, planted)?;
                if log.batches != before {
                    return Err("a pass over what is clean changes it".to_owned());
                }
            }
        }
    }
    Ok(log)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn only_the_newest_of_each_key_is_left_and_deletions_stay_their_time(steps in steps()) {
        let log = take(&steps, MEMORY, None);
        prop_assert!(log.is_ok(), "{:?}", log.err());
    }
}

/// Steps that need every rule: keys overwritten and deleted, passes early and late.
fn many() -> Vec<Step> {
    let mut steps = Vec::new();
    for round in 0..40_u8 {
        let key = |key: u8| Some((round.wrapping_mul(5) + key) % 23);
        let records = vec![(key(0), Some(round)), (key(1), None), (key(2), Some(round))];
        steps.push(Step::Produce(records, usize::from(round % 5)));
        if round % 4 == 3 {
            steps.push(Step::Pass(u8::MAX - round, 400));
            steps.push(Step::Twice(round));
        }
    }
    steps
}

#[test]
fn planted_bugs_are_found() {
    assert_eq!(take(&many(), MEMORY, None).err(), None);
    for (planted, what) in [
        (Planted::NewestDropped, "gone before its time"),
        (Planted::DeletionTooEarly, "gone before its time"),
    ] {
        let found = take(&many(), MEMORY, Some(planted)).err();
        let found = found.unwrap_or_else(|| panic!("{planted:?} is not found"));
        assert!(found.contains(what), "{planted:?}: {found}");
    }
}

/// Batches of keys that come once, and one that comes again and again. A small map takes 896 keys.
fn wide() -> Log {
    let mut log = Log::default();
    for batch in 0..600_u16 {
        let mut builder = BatchBuilder::new(Codec::Lz4, 0);
        for record in 0..4_u16 {
            let key = (batch * 4 + record).to_be_bytes();
            let key = if record == 0 { [0, 0] } else { key };
            builder.push(i64::from(batch), Some(&key), Some(b"v"), &[]);
        }
        let mut bytes = builder.finish().bytes.to_vec();
        mulgil_record::batch::restamp(&mut bytes, Offset(log.end), LeaderEpoch(1));
        let payload = batch_payload(&[], &bytes);
        let header = EntryHeader {
            kind: EntryKind::Batch,
            version: 1,
            flags: 0,
            length: u32::try_from(payload.len()).unwrap(),
            object: PARTITION,
            base: log.end,
            count: 4,
        };
        log.batches.push((header, payload));
        log.end += 4;
    }
    log
}

/// Passes with a small map until all is clean; the offsets that are left, and how many passes.
fn clean_up(mut log: Log, planted: Option<Planted>) -> (Vec<i64>, usize) {
    let mut passes = 0;
    while log.clean_to < log.end && passes < 100 {
        passes += 1;
        let mut compaction = log.learn(log.end, 0, 24 << 10);
        let filled = compaction.resume().is_some();
        match planted {
            Some(Planted::FullUnnoticed) => {
                compaction.cleanings.get_mut(&PARTITION).unwrap().to = log.end;
            }
            Some(Planted::UnknownDropped) if filled => {
                compaction.keys = KeyMap::new(MEMORY);
                for key in 0..2_400_u16 {
                    let far = compaction
                        .keys
                        .insert(PARTITION, &key.to_be_bytes(), i64::MAX);
                    assert!(far);
                }
            }
            Some(_) | None => {}
        }
        let reach = compaction.reach(PARTITION).unwrap();
        assert!(reach > log.clean_to, "every pass gets on");
        assert!(compaction.keys() <= 2_400);
        let batches = std::mem::take(&mut log.batches).into_iter();
        let kept =
            batches.filter_map(
                |(header, payload)| match compaction.judge(&header, &payload) {
                    Rewritten::Gone => None,
                    Rewritten::AsIs => Some((header, payload)),
                    Rewritten::Payload(payload) => Some((header, payload)),
                },
            );
        log.batches = kept.collect();
        log.clean_to = reach;
    }
    let mut left = Vec::new();
    for (header, payload) in &log.batches {
        let records = records_of(header, payload).unwrap();
        left.extend(
            records
                .views()
                .map(|r| header.base + i64::from(r.offset_delta)),
        );
    }
    (left, passes)
}

#[test]
fn a_map_that_is_full_cleans_as_far_as_it_reaches_and_loses_nothing() {
    let log = wide();
    let last = log.end - 4;
    let expected: Vec<i64> = (0..log.end)
        .filter(|offset| offset % 4 != 0 || *offset == last)
        .collect();
    let (left, passes) = clean_up(log.clone(), None);
    assert_eq!(left, expected);
    assert_eq!(passes, 3, "1801 keys by at most 896 at a time");
    let (left, _) = clean_up(log.clone(), Some(Planted::FullUnnoticed));
    assert!(
        left.len() > expected.len(),
        "older records are found to be there"
    );
    let (left, _) = clean_up(log, Some(Planted::UnknownDropped));
    assert!(
        left.len() < expected.len(),
        "records of their own are found to be gone"
    );
}

#[test]
fn one_batch_with_more_keys_than_the_map_takes_does_not_stand_in_the_way() {
    let mut log = Log::default();
    let mut builder = BatchBuilder::new(Codec::None, 0);
    for key in 0..2_000_u16 {
        builder.push(0, Some(&key.to_be_bytes()), None, &[]);
    }
    let bytes = builder.finish().bytes;
    let payload = batch_payload(&[], &bytes);
    let header = EntryHeader {
        kind: EntryKind::Batch,
        version: 1,
        flags: 0,
        length: 0,
        object: PARTITION,
        base: 0,
        count: 2_000,
    };
    log.end = 2_000;
    log.batches.push((header, payload));
    let compaction = log.learn(log.end, 0, 24 << 10);
    assert_eq!(compaction.reach(PARTITION), Some(2_000));
    // Not each of its deletions is known to have outlived what it deletes: it gets no horizon.
    let (header, payload) = &log.batches[0];
    assert_eq!(compaction.judge(header, payload), Rewritten::AsIs);
}

#[test]
fn facts_go_with_their_records() {
    let mut log = Log::default();
    log.produce(
        &[(Some(1), Some(1)), (Some(2), Some(1)), (Some(1), Some(2))],
        Codec::None,
    );
    log.produce(&[(Some(9), Some(9))], Codec::None);
    let facts = Facts {
        ordering_keys: vec![11, 22, 33],
        priorities: vec![1, 2, 3],
        verdict_bytes: 2,
        verdicts: vec![1, 2, 3, 4, 5, 6],
        ..Facts::new(4, 3)
    };
    let (header, payload) = log.batches[0].clone();
    let (_, batch) = split_payload(&payload).unwrap();
    let payload = batch_payload(&facts.encode(), batch);
    let compaction = log.learn(4, 0, MEMORY);
    let Rewritten::Payload(left) = compaction.judge(&header, &payload) else {
        panic!("a record went")
    };
    let (left, _) = split_payload(&left).unwrap();
    let left = Facts::decode(left).unwrap();
    assert_eq!((left.generation, left.count), (4, 2));
    assert_eq!(left.ordering_keys, [22, 33]);
    assert_eq!(left.priorities, [2, 3]);
    assert_eq!(left.verdicts, [3, 4, 5, 6]);
}
