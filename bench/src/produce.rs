//! Producing as fast as the broker takes it, or at a fixed rate.
//!
//! A connection has one thread that keeps so many requests in flight; with a rate, the thread also
//! waits for the time of each request, and latencies count from that time and not from the sending, so
//! that a stall of the broker is charged to all requests that it held up (coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use hdrhistogram::Histogram;
use kafka_protocol::messages::ProduceRequest;

use crate::broker::Broker;
use crate::frames::{Frames, PRODUCE_VERSION, Shape};
use crate::meter::{Moment, Moved, histogram, note, put_quantiles};
use crate::results::Figures;
use crate::wire::{Input, Wire};

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How to produce.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ProduceOptions {
    /// The topic, which is created
    #[arg(long, default_value = "bench")]
    pub(crate) topic: String,
    /// Its partitions
    #[arg(long, default_value_t = 1)]
    pub(crate) partitions: i32,
    /// Bytes of each record's value
    #[arg(long, default_value_t = 1024)]
    pub(crate) record_bytes: usize,
    /// Records in a batch; there is one batch in a request
    #[arg(long, default_value_t = 64)]
    pub(crate) batch_records: usize,
    /// Requests that are sent before an answer is waited for, per connection
    #[arg(long, default_value_t = 5)]
    pub(crate) in_flight: usize,
    /// Connections, each with its own share of the partitions
    #[arg(long, default_value_t = 4)]
    pub(crate) connections: usize,
    /// What the broker waits for: -1 (all) or 1
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    pub(crate) acks: i16,
    /// What an acknowledgement means: fsync, os, memory, or what the broker does by default
    #[arg(long, default_value = "default")]
    pub(crate) durability: String,
    /// Messages a second in all; as fast as it goes if not given
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    /// Ends after so long
    #[arg(long, default_value_t = 8)]
    pub(crate) seconds: u64,
    /// Ends after so much
    #[arg(long, default_value_t = 4096)]
    pub(crate) megabytes: u64,
    /// Not measured at the beginning
    #[arg(long, default_value_t = 1)]
    pub(crate) warmup_seconds: u64,
}

/// What all connections of a run share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    records: AtomicU64,
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl Shared {
    fn moved(&self) -> Moved {
        Moved {
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }
}

/// Produces to a new topic.
pub(crate) fn run(broker: &Broker, options: &ProduceOptions) -> Result<Figures> {
    let setting = setting(broker, &options.durability)?;
    Wire::connect(&broker.address)?.create_topic(&options.topic, options.partitions, setting)?;
    let shared = Arc::<Shared>::default();
    let threads = start(broker, options, &shared)?;
    let pace = |until: Duration, most: u64, begin: Instant| {
        while begin.elapsed() < until
            && shared.bytes.load(Ordering::Relaxed) < most
            && !threads.iter().any(JoinHandle::is_finished)
        {
            thread::sleep(LOOK_EVERY);
        }
    };
    pace(
        Duration::from_secs(options.warmup_seconds),
        u64::MAX,
        Instant::now(),
    );
    let (begin, before) = (Moment::take(broker.pid)?, shared.moved());
    let most = before.bytes + (options.megabytes << 20);
    pace(Duration::from_secs(options.seconds), most, Instant::now());
    let (end, after) = (Moment::take(broker.pid)?, shared.moved());
    shared.stop.store(true, Ordering::Relaxed);
    let mut latencies = histogram()?;
    for thread in threads {
        let latency = thread
            .join()
            .map_err(|_panic| anyhow!("a producer panicked"))??;
        latencies.add(latency)?;
    }
    let mut figures = begin.until(end, broker.pid, after.since(before))?;
    put_quantiles(&mut figures, "answer", &latencies);
    Ok(figures)
}

/// The topic setting for `durability`, if one is needed.
pub(crate) fn setting(broker: &Broker, durability: &str) -> Result<Option<(String, String)>> {
    if durability == "default" {
        return Ok(None);
    }
    broker.durability(durability)
}

/// The partitions of connection `number` of `connections`: with fewer partitions than connections,
/// several connections write to one.
pub(crate) fn share(number: usize, connections: usize, partitions: i32) -> Result<Vec<i32>> {
    let (number, all) = (i32::try_from(number)?, i32::try_from(connections)?);
    if partitions < all {
        return Ok(vec![number % partitions]);
    }
    Ok((0..partitions)
        .filter(|index| index % all == number)
        .collect())
}

type Producer = JoinHandle<Result<Histogram<u64>>>;

fn start(broker: &Broker, options: &ProduceOptions, shared: &Arc<Shared>) -> Result<Vec<Producer>> {
    let shape = Shape {
        record_bytes: options.record_bytes,
        batch_records: options.batch_records,
        acks: options.acks,
    };
    let every = options.rate.map(|rate| {
        let batches = f64::from(rate) / crate::meter::float(options.batch_records as u64);
        Duration::from_secs_f64(crate::meter::float(options.connections as u64) / batches)
    });
    let mut threads = Vec::new();
    for number in 0..options.connections {
        let partitions = share(number, options.connections, options.partitions)?;
        let frames = Frames::build(&options.topic, partitions.into_iter(), shape)?;
        let wire = Wire::connect(&broker.address)?;
        let (shared, in_flight) = (Arc::clone(shared), options.in_flight);
        threads.push(thread::spawn(move || match every {
            None => closed_loop(wire, &frames, in_flight, &shared),
            Some(every) => open_loop(wire, &frames, every, &shared),
        }));
    }
    Ok(threads)
}

fn closed_loop(
    mut wire: Wire,
    frames: &Frames,
    in_flight: usize,
    shared: &Shared,
) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    let mut sent = std::collections::VecDeque::new();
    let mut turn = 0;
    loop {
        while sent.len() < in_flight && !shared.stop.load(Ordering::Relaxed) {
            sent.push_back(Instant::now());
            frames.send(&mut wire.out, turn)?;
            turn += 1;
        }
        let Some(at) = sent.pop_front() else {
            return Ok(latencies);
        };
        accepted(&mut wire.input)?;
        note(&mut latencies, at.elapsed());
        count(frames, shared);
    }
}

fn open_loop(
    wire: Wire,
    frames: &Frames,
    every: Duration,
    shared: &Arc<Shared>,
) -> Result<Histogram<u64>> {
    let Wire {
        mut out, mut input, ..
    } = wire;
    let (sender, due_times) = mpsc::channel::<Instant>();
    let (reader_frames, reader_shared) = (frames.clone(), Arc::clone(shared));
    let reader = thread::spawn(move || -> Result<Histogram<u64>> {
        let mut latencies = histogram()?;
        for due in due_times {
            accepted(&mut input)?;
            note(&mut latencies, due.elapsed());
            count(&reader_frames, &reader_shared);
        }
        Ok(latencies)
    });
    let begin = Instant::now();
    let mut turn = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let due = begin + every.mul_f64(crate::meter::float(turn as u64));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        sender.send(due).context("the answers ended")?;
        frames.send(&mut out, turn)?;
        turn += 1;
    }
    drop(sender);
    reader
        .join()
        .map_err(|_panic| anyhow!("a reader panicked"))?
}

fn count(frames: &Frames, shared: &Shared) {
    let bytes = frames.batch_bytes() as u64;
    shared.records.fetch_add(frames.records, Ordering::Relaxed);
    shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    shared.requests.fetch_add(1, Ordering::Relaxed);
}

/// Reads an answer and sees that the batch was taken; its base offset.
pub(crate) fn accepted(input: &mut Input) -> Result<i64> {
    let (_, answer) = input.answer_to::<ProduceRequest>(PRODUCE_VERSION)?;
    let topic = answer.responses.into_iter().next();
    let part = topic.and_then(|topic| topic.partition_responses.into_iter().next());
    let part = part.context("an answer about no partition")?;
    let (index, code) = (part.index, part.error_code);
    ensure!(
        code == 0,
        "partition {index}: error {code} {:?}",
        part.error_message
    );
    Ok(part.base_offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_all_partitions() {
        assert_eq!(share(1, 4, 10).unwrap(), vec![1, 5, 9]);
        assert_eq!(share(3, 4, 2).unwrap(), vec![1]);
    }
}
