//! Consuming as fast as the broker gives, from the beginning to the end of a filled topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::broker::Broker;
use crate::fetch::Fetcher;
use crate::meter::{Moment, Moved};
use crate::produce::{self, ProduceOptions};
use crate::results::Figures;
use crate::wire::Wire;

/// The writer and the log's marks come to rest before reading is measured.
const REST: Duration = Duration::from_secs(1);

/// How to fill and read.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConsumeOptions {
    /// How the topic is filled first
    #[command(flatten)]
    pub(crate) fill: ProduceOptions,
    /// Connections that read, each its share of the partitions
    #[arg(long, default_value_t = 1)]
    pub(crate) readers: i32,
    /// How often the topic is read, one time after another
    #[arg(long, default_value_t = 1)]
    pub(crate) times: u32,
    /// What a reader asks for at most at a time; 50, as Kafka's consumer does
    #[arg(long, default_value_t = 50)]
    pub(crate) answer_mib: i32,
}

/// Fills a topic and reads it.
pub(crate) fn run(broker: &Broker, options: &ConsumeOptions) -> Result<Figures> {
    produce::run(broker, &options.fill)?;
    let (topic, partitions) = (options.fill.topic.as_str(), options.fill.partitions);
    let ends = Wire::connect(&broker.address)?.ends(topic, partitions)?;
    thread::sleep(REST);
    let requests = Arc::new(AtomicU64::new(0));
    let begin = Moment::take(broker.pid)?;
    let mut moved = Moved::default();
    for _ in 0..options.times {
        let mut threads = Vec::new();
        for number in 0..options.readers {
            let mine = (0..partitions).filter(|index| index % options.readers == number);
            let mine: Vec<i32> = mine.collect();
            let left = mine
                .iter()
                .filter_map(|index| ends.get(usize::try_from(*index).ok()?));
            let left: i64 = left.sum();
            let wire = Wire::connect(&broker.address)?;
            let fetcher =
                Fetcher::new(wire, topic, mine.into_iter()).asking_for(options.answer_mib << 20);
            let requests = Arc::clone(&requests);
            threads.push(thread::spawn(move || read(fetcher, left, &requests)));
        }
        for thread in threads {
            let (records, bytes) = thread
                .join()
                .map_err(|_panic| anyhow!("a reader panicked"))??;
            moved.records += records;
            moved.bytes += bytes;
        }
    }
    moved.requests = requests.load(Ordering::Relaxed);
    begin.until(Moment::take(broker.pid)?, broker.pid, moved)
}

/// Lets the broker do for `seconds` what is measured later, on a topic of its own and at a rate that
/// leaves no gigabytes.
pub(crate) fn warm(broker: &Broker, seconds: u64) -> Result<()> {
    let fill = ProduceOptions {
        topic: "warm".to_owned(),
        partitions: 10,
        record_bytes: 1024,
        batch_records: 16,
        in_flight: 5,
        connections: 2,
        acks: -1,
        durability: "default".to_owned(),
        rate: Some(16_000),
        seconds,
        megabytes: 1024,
        warmup_seconds: 0,
    };
    let options = ConsumeOptions {
        fill,
        readers: 1,
        times: 5,
        answer_mib: 50,
    };
    run(broker, &options).map(drop)
}

fn read(mut fetcher: Fetcher, left: i64, requests: &AtomicU64) -> Result<(u64, u64)> {
    let left = u64::try_from(left)?;
    let (mut records, mut bytes) = (0, 0);
    while records < left {
        for got in fetcher.fetch()? {
            records += u64::try_from(got.to - got.from)?;
            bytes += got.bytes;
        }
        requests.fetch_add(1, Ordering::Relaxed);
    }
    Ok((records, bytes))
}
