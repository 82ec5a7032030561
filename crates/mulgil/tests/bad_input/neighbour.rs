//! A well-behaved client: produces a record, fetches it, and looks how long that takes, all the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mulgil_record::batch::{Batch, BatchBuilder, DecodeLimits};
use mulgil_record::compression::Codec;

use crate::client::{Client, now_ms};

const TOPIC: &str = "calm";
#[derive(Debug)]
pub(crate) struct Neighbour {
    seen: Arc<Mutex<(u64, Duration)>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Neighbour {
    pub(crate) fn start(address: &str) -> Self {
        let mut client = Client::connect(address);
        client.create(TOPIC);
        let (seen, stop) = <(Arc<Mutex<(u64, Duration)>>, Arc<AtomicBool>)>::default();
        let (seen_there, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for round in 0_u64.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let started = Instant::now();
                round_trip(&mut client, &round.to_string());
                let mut seen = seen_there.lock().unwrap();
                *seen = (seen.0 + 1, seen.1.max(started.elapsed()));
                drop(seen);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { seen, stop, thread }
    }

    pub(crate) fn forget(&self) {
        *self.seen.lock().unwrap() = (0, Duration::ZERO);
    }

    /// Rounds since [`Self::forget`], and the longest; after one more has come to its end.
    pub(crate) fn rounds(&self) -> (u64, Duration) {
        let until = self.seen.lock().unwrap().0 + 2;
        while self.seen.lock().unwrap().0 < until && !self.thread.is_finished() {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(!self.thread.is_finished(), "the neighbour failed");
        *self.seen.lock().unwrap()
    }

    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("every round trip was right");
    }
}

fn round_trip(client: &mut Client, value: &str) {
    let now = now_ms();
    let mut batch = BatchBuilder::new(Codec::None, now);
    batch.push(now, Some(b"key"), Some(value.as_bytes()), &[]);
    let (error, offset) = client.produce(TOPIC, batch.finish().bytes);
    assert_eq!(error, 0, "the neighbour may produce");
    let batch = Batch::check(client.fetch(TOPIC, offset)).expect("one whole batch");
    let records = batch.records(DecodeLimits::default()).unwrap();
    assert_eq!(records.view(0).unwrap().value, Some(value.as_bytes()));
}
