//! Brokers over whole objects: what is told is committed, and a zombie commits nothing.

use std::collections::BTreeMap;

use super::*;
use crate::position::Lsn;
use crate::recovery::Recovered;
use crate::scripted::{Heard, hear};
use crate::store::SyncLevel;
use crate::store::tests::{header, stamped};

/// A broker over objects: what it was told is committed.
struct ObjectBroker {
    store: ObjectStoreMem,
    acked: Arc<Mutex<Position>>,
    failed: Arc<Mutex<Option<FaultKind>>>,
    ends: Vec<(Position, u64)>,
    recovered: Recovered,
}

fn object_broker(bucket: &Bucket, heads: &HeadStore) -> (ObjectBroker, Heard) {
    let acked = Arc::new(Mutex::new(Position::ZERO));
    let failed = Arc::new(Mutex::new(None));
    let (tell_acked, tell_failed) = (Arc::clone(&acked), Arc::clone(&failed));
    let complete = Arc::new(move |completion| match completion {
        Completion::Written { .. } => {}
        Completion::Synced { through } => *tell_acked.lock().unwrap() = through,
        Completion::Failed(fault) => *tell_failed.lock().unwrap() = Some(fault.kind),
    });
    let store = ObjectStoreMem::take_over(bucket, heads, |_| 0, complete).unwrap();
    let (recovered, heard) = hear(&store.disk()).unwrap();
    assert_eq!((recovered.copied, recovered.quarantined.len()), (0, 0));
    let broker = ObjectBroker {
        store,
        acked,
        failed,
        ends: Vec::new(),
        recovered,
    };
    (broker, heard)
}

impl ObjectBroker {
    fn submit(&mut self) {
        let recovered = &mut self.recovered;
        let begin = ChunkHeader {
            incarnation: self.store.incarnation(),
            ..header(recovered.next_chunk.0, recovered.end, recovered.next_lsn.0)
        };
        let lsn = recovered.next_lsn.0;
        let who = self.store.incarnation().to_le_bytes();
        let frame = stamped(begin.first_position(), lsn, &who);
        recovered.end = frame.frame.end();
        recovered.next_lsn = recovered.next_lsn.next();
        recovered.next_chunk = recovered.next_chunk.next();
        self.ends.push((recovered.end, lsn));
        self.store.submit(Group {
            new_chunk: Some(begin),
            frames: vec![frame],
            level: SyncLevel::Synced,
            mark: false,
        });
    }

    /// The last frame that was called synced.
    fn last_acked(&self) -> Option<u64> {
        let acked = *self.acked.lock().unwrap();
        let ends = self.ends.iter().rev();
        ends.filter(|(end, _)| *end <= acked)
            .map(|(_, lsn)| *lsn)
            .next()
    }

    fn failed(&self) -> Option<FaultKind> {
        *self.failed.lock().unwrap()
    }
}

fn sorted(chunk: u32, bytes: &[u8], store: &ObjectStoreMem) -> Result<(), Fault> {
    let mut writer = store.create_chunk(ChunkHeader {
        kind: ChunkKind::Sorted,
        ..header(chunk, Position::ZERO, 0)
    })?;
    writer.append(bytes)?;
    writer.finish().map(|_| ())
}

/// Lets brokers take over from each other; what breaks in that.
fn run(seed: u64, lie: Option<ObjectLie>) -> Result<(), String> {
    let bucket = Bucket::new(seed, lie);
    let heads = HeadStore::lying(lie);
    let mut dice = Dice::new(seed);
    let (mut broker, _) = object_broker(&bucket, &heads);
    let mut zombie: Option<ObjectBroker> = None;
    let mut owed: BTreeMap<u64, u32> = BTreeMap::new();
    for _ in 0..4 {
        bucket.set_weather(Weather::Rough);
        for _ in 0..dice.below(12) {
            broker.submit();
            for _ in 0..dice.below(6) {
                for one in zombie.iter().chain([&broker]) {
                    one.store.step(dice.roll());
                }
                if dice.below(4) == 0 {
                    bucket.land(dice.roll());
                    heads.land(dice.roll());
                }
            }
        }
        if let Some(fault) = broker.failed() {
            return Err(format!("the broker that may commit has failed: {fault:?}"));
        }
        heads.look_before_takeover();
        for _ in 0..dice.below(8) {
            broker.store.step(dice.roll());
        }
        if let Some(last) = broker.last_acked() {
            let first = broker.ends.first().map_or(1, |(_, lsn)| *lsn);
            owed.extend((first..=last).map(|lsn| (lsn, broker.store.incarnation())));
        }
        bucket.set_weather(Weather::Calm);
        let started = std::panic::catch_unwind(|| object_broker(&bucket, &heads));
        let (next, heard) = started.map_err(|_panic| "the start fails".to_owned())?;
        for (lsn, who) in &owed {
            let said = heard.frames.get(&Lsn(*lsn)).map(|said| said[0].3.clone());
            if said.as_deref() != Some(&who.to_le_bytes()) {
                return Err(format!("frame {lsn} of {who} is {said:?}"));
            }
        }
        for (lsn, said) in &heard.frames {
            let who = u32::from_le_bytes(said[0].3.clone().try_into().unwrap());
            owed.insert(lsn.0, who);
        }
        zombie = Some(std::mem::replace(&mut broker, next));
    }
    let zombie = zombie.unwrap();
    let before = zombie.last_acked();
    for _ in 0..200 {
        zombie.store.step(dice.roll());
    }
    zombie.store.submit(Group::sync_only());
    if zombie.last_acked() != before {
        return Err("a zombie has committed".to_owned());
    }
    Ok(())
}

#[test]
fn a_zombie_commits_nothing_and_nothing_committed_is_lost() {
    for seed in 0..200 {
        assert_eq!(run(seed, None), Ok(()), "seed {seed}");
    }
}

#[test]
fn mistakes_of_the_protocol_are_found() {
    for lie in ObjectLie::ALL {
        // Chunks that are no groups are tried below; orphans do harm only once more is built on them,
        // as the simulation does.
        if [ObjectLie::ChunkNamesShared, ObjectLie::OrphansRead].contains(&lie) {
            continue;
        }
        let found = (0..300).any(|seed| run(seed, Some(lie)).is_err());
        assert!(found, "{lie:?}");
    }
}

#[test]
fn a_zombie_hears_that_it_was_taken_over_with_its_next_commit() {
    let (bucket, heads) = (Bucket::default(), HeadStore::default());
    let (mut zombie, _) = object_broker(&bucket, &heads);
    let (_, _) = object_broker(&bucket, &heads);
    zombie.submit();
    while zombie.store.step(1) {}
    assert_eq!(zombie.last_acked(), None);
    assert_eq!(zombie.failed(), Some(FaultKind::Fenced));
}

#[test]
fn a_store_that_does_not_answer_ends_the_broker() {
    for stored in [false, true] {
        let (bucket, heads) = (Bucket::default(), HeadStore::default());
        let (mut broker, _) = object_broker(&bucket, &heads);
        broker.submit();
        if stored {
            broker.store.step(1);
        }
        bucket.set_weather(Weather::Down);
        while broker.store.step(1) {}
        assert_eq!(broker.failed(), Some(FaultKind::Fatal));
        assert_eq!(broker.last_acked(), None);
    }
}

#[test]
fn an_object_is_read_back_and_deleted() {
    let (bucket, heads) = (Bucket::default(), HeadStore::default());
    let (mut broker, _) = object_broker(&bucket, &heads);
    broker.submit();
    broker.submit();
    while broker.store.step(1) {}
    assert_eq!(
        (broker.store.outstanding(), broker.last_acked()),
        (0, Some(2))
    );
    let file = broker.store.open_chunk(ChunkId(2)).unwrap();
    assert_eq!(file.header().first_lsn, Lsn(2));
    let footer = Footer::open(&*file).unwrap();
    let extents = footer.extents(&*file).unwrap();
    assert_eq!((extents.len(), extents[0].1.first), (1, 2));
    assert_eq!(broker.store.chunks().unwrap().len(), 2);
    broker.store.delete(ChunkId(1)).unwrap();
    broker.store.delete(ChunkId(1)).unwrap();
    assert_eq!(broker.store.chunks().unwrap().len(), 1);
}

#[test]
fn two_brokers_that_write_the_same_chunk_id_write_two_objects() {
    for (lie, own) in [(None, true), (Some(ObjectLie::ChunkNamesShared), false)] {
        let (bucket, heads) = (Bucket::new(1, lie), HeadStore::default());
        let (mut zombie, _) = object_broker(&bucket, &heads);
        zombie.submit();
        while zombie.store.step(1) {}
        let (mut broker, _) = object_broker(&bucket, &heads);
        broker.submit();
        sorted(5, b"mine", &broker.store).unwrap();
        sorted(5, b"not!", &zombie.store).unwrap();
        let file = broker.store.open_chunk(ChunkId(5)).unwrap();
        let mine = file.read(4096, 4).unwrap() == "mine";
        assert_eq!(mine, own, "{lie:?}");
        zombie.store.delete(ChunkId(5)).unwrap();
        let there = broker.store.open_chunk(ChunkId(5)).is_ok();
        assert_eq!(there, own, "{lie:?}");
        drop(zombie);
    }
}

#[test]
fn a_chunk_whose_put_failed_has_no_name() {
    let (bucket, heads) = (Bucket::default(), HeadStore::default());
    let (mut broker, _) = object_broker(&bucket, &heads);
    broker.submit();
    bucket.set_weather(Weather::Down);
    let fault = sorted(5, b"some", &broker.store).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unavailable);
    bucket.set_weather(Weather::Calm);
    assert_eq!(broker.store.chunks().unwrap(), []);
    assert!(broker.store.open_chunk(ChunkId(5)).is_err());
    sorted(6, b"some", &broker.store).unwrap();
    assert_eq!(broker.store.chunks().unwrap().len(), 1);
}
