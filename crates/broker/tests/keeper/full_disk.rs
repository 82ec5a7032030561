//! Passes of regrouping on a disk whose room sinks while they go on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use mulgil_broker::keeper::KeeperOptions;
use mulgil_broker::request::{
    Append, AppendPartition, AppendRefusal, CreateTopic, CreateTopics, Reply, Request, Trim,
};
use mulgil_broker::shell::Broker;
use mulgil_log::disk::{Disk, DiskFile, RealDisk, Space};
use mulgil_meta::schema::{TopicName, TopicSettings};
use mulgil_record::batch::BatchBuilder;
use mulgil_record::compression::Codec;
use mulgil_record::ids::{Offset, PartitionId, TopicId};

use crate::running::{busy_keeper, end, files, lock, open_sized, runtime, wait};

const MIB: u64 = 1 << 20;
/// So large that a chunk of which half lives is worth a pass.
const CHUNK_BYTES: u32 = 6 << 20;
const RESERVE: u64 = 64 * MIB;

/// A disk that says what the test wants of its room, and something else from the first byte of a sorted
/// chunk on.
#[derive(Debug)]
struct Sinking {
    real: RealDisk,
    free: AtomicU64,
    /// What is free once a pass writes.
    sinks_to: AtomicU64,
    /// Sorted chunks begun.
    begun: AtomicU64,
}

impl Disk for Sinking {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if name.ends_with(".sorted") {
            self.begun.fetch_add(1, Ordering::SeqCst);
            let free = self.sinks_to.load(Ordering::SeqCst);
            self.free.store(free, Ordering::SeqCst);
        }
        self.real.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.real.open(name)
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.real.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.real.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.real.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.real.sync_names()
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space {
            total: 1 << 40,
            free: self.free.load(Ordering::SeqCst),
        })
    }
}

async fn create(broker: &Broker) -> Vec<PartitionId> {
    let name = TopicName::in_default("t");
    let topic = CreateTopic {
        name: name.clone(),
        partitions: Some(2),
        settings: TopicSettings {
            retention_ms: None,
            ..TopicSettings::default()
        },
        id: TopicId(5),
    };
    let create = CreateTopics {
        topics: vec![topic],
        validate_only: false,
    };
    let reply = broker.ask(Request::CreateTopics(create)).await;
    assert!(matches!(reply, Some(Reply::CreateTopics(made)) if made[0].is_ok()));
    broker.catalog().topic(&name).unwrap().partitions.clone()
}

async fn append(broker: &Broker, partition: PartitionId, at: i64) -> Result<(), AppendRefusal> {
    let mut builder = BatchBuilder::new(Codec::None, at);
    builder.push(at, None, Some(&[b'x'; 100_000]), &[]);
    let part = AppendPartition {
        partition,
        batch: builder.finish(),
        facts: Bytes::new(),
    };
    let partitions = vec![part];
    let reply = broker.ask(Request::Append(Append { partitions })).await;
    let Some(Reply::Append(mut outcomes)) = reply else {
        panic!("{reply:?}")
    };
    outcomes.swap_remove(0).map(drop)
}

/// Fills log chunks with records of which every second one is given up.
async fn half_dead(broker: &Broker, chunks: u64) {
    let ids = create(broker).await;
    let records = chunks * u64::from(CHUNK_BYTES) / 100_000;
    for at in 0..i64::try_from(records).unwrap() {
        append(broker, ids[usize::try_from(at % 2).unwrap()], at)
            .await
            .unwrap();
    }
    let to = broker.partition_figures(ids[0]).unwrap().high_watermark;
    let trim = Trim {
        partition: ids[0],
        to: Some(Offset(to.0)),
    };
    let reply = broker.ask(Request::Trim(vec![trim])).await;
    assert!(matches!(reply, Some(Reply::Trim(done)) if done[0].is_ok()));
}

/// What happens to a pass that is planned with so much free, and finds less once it writes.
fn pass_ends_when_room_sinks(planned: u64, sinks_to: u64) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Sinking {
        real: lock(dir.path()),
        free: AtomicU64::new(1 << 40),
        sinks_to: AtomicU64::new(sinks_to),
        begun: AtomicU64::new(0),
    });
    let keeper = KeeperOptions {
        reserve_bytes: RESERVE,
        checkpoint_bytes: 3 * MIB,
        // Two chunks.
        regroup_bytes: 10 * MIB,
        ..busy_keeper()
    };
    let shared = Arc::clone(&disk);
    let fatal = Box::new(|fault: &_| panic!("{fault:?}"));
    let broker = open_sized(disk, keeper, CHUNK_BYTES, fatal);
    runtime().block_on(async {
        tokio::select! {
            () = Arc::clone(&broker).tick_forever() => {}
            () = async {
                // Appends are taken, and no pass has room.
                shared.free.store(RESERVE, Ordering::SeqCst);
                half_dead(&broker, 9).await;
                shared.free.store(planned, Ordering::SeqCst);
                let begun = || shared.begun.load(Ordering::SeqCst);
                wait("a pass", || begun() > 0).await;
                let none = || files(dir.path(), ".sorted") == 0;
                let passes = &broker.keeper_figures().regroup_passes;
                // It is tried again, and again there is no room.
                for _ in 0..2 {
                    wait("the pass to be broken off", none).await;
                    assert_eq!(passes.load(Ordering::Relaxed), 0);
                    let had = begun();
                    shared.free.store(planned, Ordering::SeqCst);
                    wait("another pass", || begun() > had).await;
                }
                wait("the pass to be broken off", none).await;
                shared.sinks_to.store(1 << 40, Ordering::SeqCst);
                shared.free.store(1 << 40, Ordering::SeqCst);
                wait("a pass that ends", || passes.load(Ordering::Relaxed) > 0).await;
                broker.stop().await;
            } => {}
        }
    });
    drop(shared);
    end(broker);
}

#[test]
fn a_pass_that_was_planned_for_more_room_ends_when_the_disk_fills_up() {
    pass_ends_when_room_sinks(400 * MIB, RESERVE / 2);
}

#[test]
fn a_pass_on_a_full_disk_ends_at_the_last_share_of_the_reserve() {
    pass_ends_when_room_sinks(RESERVE / 2, RESERVE / 8 - 1);
}
