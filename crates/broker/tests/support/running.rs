//! A broker on a real disk, with chunks so small that the keeper always has something to do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mulgil_broker::clock::Clock;
use mulgil_broker::keeper::KeeperOptions;
use mulgil_broker::lane::{LaneOptions, LogHead};
use mulgil_broker::shell::{Broker, CompletionPort, OnFatal, Parts};
use mulgil_broker::start;
use mulgil_log::disk::{Disk, RealDisk};
use mulgil_log::store::{LocalStore, StoreOptions};

/// A broker on what `dir` holds.
pub(crate) fn open(dir: &Path) -> Arc<Broker> {
    open_with(dir, |_| {})
}

/// A broker whose keeper works otherwise.
pub(crate) fn open_with(dir: &Path, change: impl FnOnce(&mut KeeperOptions)) -> Arc<Broker> {
    let mut keeper = busy_keeper();
    change(&mut keeper);
    open_on(
        Arc::new(lock(dir)),
        keeper,
        Box::new(|fault| panic!("{fault}")),
    )
}

/// A broker on a disk, and what it does when nobody knows what is on that.
pub(crate) fn open_on(
    disk: Arc<dyn Disk>,
    keeper: KeeperOptions,
    on_fatal: OnFatal,
) -> Arc<Broker> {
    open_sized(disk, keeper, 200_000, on_fatal)
}

/// A broker with log chunks of another size.
pub(crate) fn open_sized(
    disk: Arc<dyn Disk>,
    keeper: KeeperOptions,
    chunk_bytes_max: u32,
    on_fatal: OnFatal,
) -> Arc<Broker> {
    let options = LaneOptions {
        chunk_bytes_max,
        // So little that almost every read goes to disk.
        tail_bytes_max: 20_000,
        ..LaneOptions::default()
    };
    let found = start::read_back(&disk, &options).unwrap();
    let recovered = found.recovered;
    let clock = Clock::new(recovered.elapsed_ms);
    let head = LogHead {
        chunk: recovered.next_chunk,
        lsn: recovered.next_lsn,
        incarnation: recovered.incarnation + 1,
        previous_end: recovered.end,
        checkpoint: recovered.checkpoint,
        cluster: 1,
        secret: 5,
    };
    let lane = found.replayer.finish(head, clock.now());
    let port = CompletionPort::default();
    let completions = port.clone();
    let complete = Arc::new(move |completion| completions.complete(completion));
    let store = LocalStore::start(disk, StoreOptions::default(), complete).unwrap();
    let parts = Parts {
        lane,
        store: Arc::new(store),
        clock,
        runtimes: 1,
        keeper,
        on_fatal,
    };
    Broker::start(parts, &port)
}

/// A keeper that always has something to do.
pub(crate) fn busy_keeper() -> KeeperOptions {
    KeeperOptions {
        pause_ms: 1,
        retention_every_ms: 20,
        compact_every_ms: 10,
        reserve_bytes: 0,
        checkpoint_bytes: 150_000,
        regroup_bytes: 600_000,
        ..KeeperOptions::default()
    }
}

/// Takes the data directory, once the threads of the broker before have let go of it.
pub(crate) fn lock(dir: &Path) -> RealDisk {
    for _ in 0..3_000 {
        if let Ok(disk) = RealDisk::open(dir) {
            return disk;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("the data directory stays locked");
}

/// A runtime for one test.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// How many files end so.
pub(crate) fn files(dir: &Path, extension: &str) -> usize {
    let names = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_str().unwrap().ends_with(extension))
        .count()
}

/// Waits until `done`, for at most half a minute.
pub(crate) async fn wait(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}

/// Waits until nobody holds the broker, so that the data directory can be opened again.
pub(crate) fn end(broker: Arc<Broker>) {
    let weak = Arc::downgrade(&broker);
    drop(broker);
    runtime().block_on(wait("the broker to end", || weak.strong_count() == 0));
}
