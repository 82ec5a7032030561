//! From the time at which a message was due until a consumer has it, at a fixed rate.
//!
//! Nothing is written into the messages: one connection goes round the partitions, so partition and
//! offset say which message it is, and the schedule says when it was due. The schedule never waits for
//! the broker, so that its stalls count for all that was due meanwhile (coordinated omission).

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;

use crate::broker::Broker;
use crate::fetch::Fetcher;
use crate::frames::{Frames, Shape};
use crate::meter::{Moment, Moved, float, histogram, note, put_quantiles};
use crate::produce;
use crate::results::Figures;
use crate::wire::{Input, Wire};

const WARMUP: Duration = Duration::from_secs(2);
/// Between the connections' first requests and the first message.
const LEAD: Duration = Duration::from_millis(200);

/// The stream of messages.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EndToEndOptions {
    /// Messages a second
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Messages in a batch
    #[arg(long, default_value_t = 1)]
    batch_records: u32,
    /// Bytes of each message's value
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// Partitions of the topic
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// What an acknowledgement means: fsync, os, memory, or what the broker does by default
    #[arg(long, default_value = "default")]
    durability: String,
    /// How long
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

/// When each batch is due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    begin: Instant,
    every: Duration,
    batches: u32,
    batch_records: i64,
    partitions: i64,
}

impl Schedule {
    fn due(&self, batch: u32) -> Instant {
        self.begin + self.every * batch
    }

    /// Which batch ends before `offset` of `partition`.
    fn batch_before(&self, partition: i32, offset: i64) -> Result<u32> {
        let before = offset / self.batch_records - 1;
        Ok(u32::try_from(
            before * self.partitions + i64::from(partition),
        )?)
    }

    fn counts(&self, batch: u32) -> bool {
        self.due(batch).duration_since(self.begin) >= WARMUP
    }
}

/// Runs the stream.
pub(crate) fn run(broker: &Broker, options: &EndToEndOptions) -> Result<Figures> {
    let topic = "end-to-end";
    let setting = produce::setting(broker, &options.durability)?;
    let mut wire = Wire::connect(&broker.address)?;
    wire.create_topic(topic, options.partitions, setting)?;
    let shape = Shape {
        record_bytes: options.record_bytes,
        batch_records: usize::try_from(options.batch_records)?,
        acks: -1,
    };
    let frames = Frames::build(topic, 0..options.partitions, shape)?;
    let every = Duration::from_secs(1) * options.batch_records / options.rate;
    let schedule = Schedule {
        begin: Instant::now() + LEAD,
        every,
        batches: options.seconds * options.rate / options.batch_records,
        batch_records: i64::from(options.batch_records),
        partitions: i64::from(options.partitions),
    };
    let fetcher = Fetcher::new(
        Wire::connect(&broker.address)?,
        topic,
        0..options.partitions,
    );
    let Wire { mut out, input, .. } = wire;
    let (sender, sent) = mpsc::channel();
    let answers = thread::spawn(move || answers(input, schedule, &sent));
    let reader = thread::spawn(move || read(fetcher, schedule));
    let mut late = histogram()?;
    let begin = Moment::take(broker.pid)?;
    for batch in 0..schedule.batches {
        let due = schedule.due(batch);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        note(&mut late, due.elapsed());
        sender.send(batch).context("the answers ended")?;
        frames.send(&mut out, usize::try_from(batch)?)?;
    }
    drop(sender);
    let answered = answers
        .join()
        .map_err(|_panic| anyhow!("a reader panicked"))??;
    let read = reader
        .join()
        .map_err(|_panic| anyhow!("a reader panicked"))??;
    let requests = u64::from(schedule.batches);
    let moved = Moved {
        records: requests * frames.records,
        bytes: requests * frames.batch_bytes() as u64,
        requests,
    };
    let mut figures = begin.until(Moment::take(broker.pid)?, broker.pid, moved)?;
    put_quantiles(&mut figures, "generator_late", &late);
    put_quantiles(&mut figures, "answer", &answered);
    put_quantiles(&mut figures, "end_to_end", &read);
    figures.insert(
        "rate_wanted_per_s".to_owned(),
        float(u64::from(options.rate)),
    );
    Ok(figures)
}

fn answers(
    mut input: Input,
    schedule: Schedule,
    sent: &mpsc::Receiver<u32>,
) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    for batch in sent {
        produce::accepted(&mut input)?;
        if schedule.counts(batch) {
            note(&mut latencies, schedule.due(batch).elapsed());
        }
    }
    Ok(latencies)
}

fn read(mut fetcher: Fetcher, schedule: Schedule) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    let mut got = 0;
    while got < schedule.batches {
        for part in fetcher.fetch()? {
            let mut to = part.from;
            while to < part.to {
                to += schedule.batch_records;
                let batch = schedule.batch_before(part.partition, to)?;
                if schedule.counts(batch) {
                    note(&mut latencies, schedule.due(batch).elapsed());
                }
                got += 1;
            }
        }
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_and_offset_say_which_batch_it_is() {
        let schedule = Schedule {
            begin: Instant::now(),
            every: Duration::from_millis(1),
            batches: 100,
            batch_records: 10,
            partitions: 3,
        };
        // Batches go to partitions 0, 1, 2, 0, 1, 2 ...: the second of partition 1 is the fifth.
        assert_eq!(schedule.batch_before(1, 20).unwrap(), 4);
        assert_eq!(schedule.batch_before(0, 10).unwrap(), 0);
    }
}
