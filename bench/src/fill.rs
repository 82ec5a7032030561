//! Filling a topic of many partitions: each record goes to the next partition, as with even keys, and
//! a request holds batches for many of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::broker::Broker;
use crate::bundle::{self, Bundles};
use crate::frames::Shape;
use crate::meter::float;
use crate::produce;
use crate::wire::Wire;

/// A topic and what to put into it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FillOptions {
    /// GiB of batches
    #[arg(long, default_value_t = 20.0)]
    pub(crate) gigabytes: f64,
    /// Partitions over which they are spread
    #[arg(long, default_value_t = 10_000)]
    pub(crate) partitions: i32,
    /// Bytes of each record's value
    #[arg(long, default_value_t = 1024)]
    pub(crate) record_bytes: usize,
    /// Records in a batch
    #[arg(long, default_value_t = 8)]
    pub(crate) batch_records: usize,
    /// Partitions in a request, a batch each
    #[arg(long, default_value_t = 100)]
    pub(crate) request_partitions: usize,
    /// Requests that are sent before an answer is waited for, per connection
    #[arg(long, default_value_t = 2)]
    pub(crate) in_flight: usize,
    /// Connections, each with its own share of the partitions
    #[arg(long, default_value_t = 2)]
    pub(crate) connections: usize,
    /// MB of batches a second in all; as fast as it goes if not given
    #[arg(long)]
    pub(crate) mb_per_s: Option<f64>,
    /// What an acknowledgement means: fsync, os, memory, or what the broker does by default
    #[arg(long, default_value = "default")]
    pub(crate) durability: String,
}

/// What was put there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled {
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
}

impl FillOptions {
    /// Bytes of batches that are wanted.
    pub(crate) fn bytes(&self) -> Result<u64> {
        ensure!(
            self.gigabytes > 0.0 && self.gigabytes < 1e6,
            "--gigabytes must be more than 0, and less than a million"
        );
        ensure!(self.partitions > 0, "--partitions must be at least 1");
        ensure!(
            self.connections > 0 && self.in_flight > 0,
            "--connections and --in-flight must be at least 1"
        );
        ensure!(
            self.mb_per_s.is_none_or(|rate| rate > 0.0),
            "--mb-per-s must be more than 0"
        );
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "its bounds were looked at"
        )]
        let bytes = (self.gigabytes * 1_073_741_824.0) as u64;
        Ok(bytes)
    }
}

/// Creates `topic` and fills it.
pub(crate) fn run(broker: &Broker, topic: &str, options: &FillOptions) -> Result<Filled> {
    let wanted = options.bytes()?;
    let setting = produce::setting(broker, &options.durability)?;
    Wire::connect(&broker.address)?.create_topic(topic, options.partitions, setting)?;
    let shape = Shape {
        record_bytes: options.record_bytes,
        batch_records: options.batch_records,
        acks: -1,
    };
    let sent = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    let begin = Instant::now();
    for number in 0..options.connections {
        let mine = produce::share(number, options.connections, options.partitions)?;
        let bundles = Bundles::build(topic, &mine, options.request_partitions, shape)?;
        let wire = Wire::connect(&broker.address)?;
        let (sent, pace) = (Arc::clone(&sent), options.mb_per_s);
        let in_flight = options.in_flight;
        threads.push(thread::spawn(move || {
            let goal = Goal {
                sent: &sent,
                wanted,
                pace,
                begin,
            };
            send(wire, &bundles, in_flight, &goal)
        }));
    }
    for thread in threads {
        thread
            .join()
            .map_err(|_panic| anyhow!("a producer panicked"))??;
    }
    Ok(Filled {
        bytes: sent.load(Ordering::Relaxed),
        took: begin.elapsed(),
    })
}

/// What all connections together are to send.
struct Goal<'a> {
    sent: &'a AtomicU64,
    wanted: u64,
    pace: Option<f64>,
    begin: Instant,
}

impl Goal<'_> {
    fn reached(&self) -> bool {
        self.sent.load(Ordering::Relaxed) >= self.wanted
    }

    /// Waits until what was sent is due.
    fn wait(&self) {
        if let Some(mb_per_s) = self.pace {
            let due = float(self.sent.load(Ordering::Relaxed)) / (mb_per_s * 1e6);
            let due = self.begin + Duration::from_secs_f64(due);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

/// Sends whole rounds, so that all partitions get the same.
fn send(mut wire: Wire, bundles: &Bundles, in_flight: usize, goal: &Goal<'_>) -> Result<()> {
    let (mut turn, mut open) = (0, 0);
    while turn % bundles.round() != 0 || !goal.reached() {
        goal.wait();
        let bytes = bundles.send(&mut wire.out, turn)?;
        goal.sent.fetch_add(bytes, Ordering::Relaxed);
        (turn, open) = (turn + 1, open + 1);
        if open == in_flight {
            bundle::accepted(&mut wire.input)?;
            open -= 1;
        }
    }
    for _ in 0..open {
        bundle::accepted(&mut wire.input)?;
    }
    Ok(())
}
