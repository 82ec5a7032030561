//! `mulgil bench kafka pub`.

use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use mulgil_admin::catalogue::Code;

use super::Topic;
use super::load::{Schedule, Values};
use super::report::{Report, histogram, note};
use super::shared::{Progress, Shared};
use crate::cli::{BenchPubArgs, Format};
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::wire::{Outgoing, Producer};

/// The longest wait for a message that is not due; a signal is noticed in between.
const WAIT: Duration = Duration::from_millis(100);

/// Publishes from several connections, and notes when each message was acknowledged.
pub(super) fn publish(args: &BenchPubArgs, interrupt: &Interrupt) -> Outcome<Report> {
    let topic = Topic::prepare(&args.at)?;
    let mut producers = Vec::new();
    for thread in 0..args.connections {
        let mut producer = Producer::new(topic.open()?, args.load.compression.codec(), None)?;
        (0..thread).for_each(|_| producer.move_on());
        producers.push(producer);
    }
    let shared = Shared::new(args.count);
    let jsonl = args.output.output == Some(Format::Jsonl);
    let progress = Progress::new(args.duration, args.count, jsonl);
    let mut latencies = histogram()?;
    let all = thread::scope(|scope| {
        let started: Vec<_> = (0..)
            .zip(producers)
            .map(|(number, producer)| {
                let shared = &shared;
                scope.spawn(move || {
                    let done = worker(args, shared, number, producer);
                    // One that fails ends the run.
                    done.inspect_err(|_failure| shared.stop())
                })
            })
            .collect();
        progress.watch(&shared, interrupt, || {
            started.iter().all(thread::ScopedJoinHandle::is_finished)
        });
        let took = shared.begin.elapsed();
        let all: Vec<_> = started.into_iter().map(super::report::joined).collect();
        all.into_iter()
            .collect::<Outcome<Vec<_>>>()
            .map(|all| (took, all))
    });
    let (took, all) = all?;
    for some in &all {
        latencies
            .add(some)
            .map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    }
    let mut report = Report::new("pub", &args.at.topic, &shared, took);
    report.latencies = Some(latencies);
    report.rate = args.rate;
    Ok(report)
}

fn worker(
    args: &BenchPubArgs,
    shared: &Shared,
    thread: u32,
    mut producer: Producer,
) -> Outcome<Histogram<u64>> {
    let mut latencies = histogram()?;
    let mut values = Values::new(usize::try_from(args.load.size).unwrap_or(usize::MAX));
    let most = (args.batch / args.load.size).max(1);
    let mut schedule = Schedule::new(shared.begin, args.rate, thread, args.connections);
    while !shared.stopped() && !schedule.is_over(args.duration) {
        if !schedule.wait(WAIT) {
            continue;
        }
        let due = schedule.count_due(most, args.duration);
        let count = shared.claim(due);
        if count == 0 && due > 0 {
            break;
        }
        let sent = shared.begin.elapsed();
        let now = clock::wall().0;
        for _ in 0..count {
            let record = Outgoing {
                timestamp_ms: now,
                key: None,
                value: Some(values.next()),
                headers: &[],
            };
            producer.push(&record)?;
        }
        producer.finish()?;
        producer.move_on();
        let done = shared.begin.elapsed();
        for due in schedule.take(count) {
            note(&mut latencies, done.saturating_sub(due.unwrap_or(sent)));
        }
        shared.count(count, count * args.load.size);
    }
    Ok(latencies)
}
