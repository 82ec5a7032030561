//! A start that takes its time, seen from outside.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::{Condvar, Mutex};

use mulgil_broker::start::Phase;
use mulgil_log::disk::{DiskFile, MemDisk, Space};

use super::*;

/// A disk that opens no file while the log is replayed, until it is told to.
#[derive(Debug)]
struct Slow {
    disk: Arc<dyn Disk>,
    progress: Arc<Progress>,
    released: Arc<(Mutex<bool>, Condvar)>,
}

impl Disk for Slow {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if self.progress.reached().phase == Phase::Log {
            let (released, more) = &*self.released;
            let waited = more.wait_while(released.lock().unwrap(), |released| !*released);
            drop(waited.unwrap());
        }
        self.disk.open(name)
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space()
    }
}

fn stop(node: Node) {
    runtime().block_on(node.stop());
}

#[test]
fn nobody_is_let_in_before_the_log_is_read_and_progress_is_told() {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new(1));
    let progress = Arc::<Progress>::default();
    let options = NodeOptions {
        runtimes: 1,
        ..NodeOptions::default()
    };
    stop(start(Arc::clone(&disk), &options, &progress).unwrap());
    let reached = progress.reached();
    assert_eq!(reached.phase, Phase::Finishing);

    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let progress = Arc::<Progress>::default();
    let released = Arc::<(Mutex<bool>, Condvar)>::default();
    let slow = Slow {
        disk,
        progress: Arc::clone(&progress),
        released: Arc::clone(&released),
    };
    let options = NodeOptions {
        kafka: Some(addr),
        ..options
    };
    let watched = Arc::clone(&progress);
    let starting = std::thread::spawn(move || start(Arc::new(slow), &options, &watched));
    while progress.reached().phase != Phase::Log {
        std::thread::yield_now();
    }
    let refused = TcpStream::connect(addr).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert!(!starting.is_finished());

    *released.0.lock().unwrap() = true;
    released.1.notify_all();
    let node = starting.join().unwrap().unwrap();
    assert_eq!(node.kafka, Some(addr));
    drop(TcpStream::connect(addr).unwrap());
    let reached = progress.reached();
    assert!(reached.total > 0, "{reached:?}");
    assert_eq!(reached.read, reached.total);
    stop(node);
}
