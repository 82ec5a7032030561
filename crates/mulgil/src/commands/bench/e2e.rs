//! `mulgil bench kafka e2e`.
//!
//! Each value begins with a number of the run and the time at which it was due, so that the one who
//! reads knows both, whatever else is in the topic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use mulgil_admin::catalogue::Code;

use super::Topic;
use super::load::{Schedule, Values};
use super::report::{Report, histogram, joined, note};
use super::shared::{Progress, Shared};
use crate::cli::{BenchE2eArgs, Format};
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::wire::{Consumer, Message, Outgoing, Producer, Start};

/// The longest wait for a message that is not due, or has not come.
const WAIT: Duration = Duration::from_millis(100);
const WAIT_MS: i32 = 100;
/// A message that was published and has not come for so long is missing.
const PATIENCE: Duration = Duration::from_secs(10);
/// In one request, if the publisher fell behind.
const AT_ONCE: u64 = 1024;
/// The number of the run, and when the message was due.
const STAMP_BYTES: usize = 16;
/// Nobody publishes any more.
const NOT_OVER: u64 = u64::MAX;

/// Publishes at a rate, and notes when each message was read.
pub(super) fn end_to_end(args: &BenchE2eArgs, interrupt: &Interrupt) -> Outcome<Report> {
    let size = usize::try_from(args.load.size).unwrap_or(usize::MAX);
    if size < STAMP_BYTES {
        let detail = format!("--size must be at least {STAMP_BYTES} bytes here");
        return Err(Failure::new(Code::Usage, detail));
    }
    let topic = Topic::prepare(&args.at)?;
    let mut consumer = Consumer::new(topic.open()?, &[], Start::Latest, false)?;
    let mut producer = Producer::new(topic.open()?, args.load.compression.codec(), None)?;
    let run = u64::try_from(clock::wall().0).unwrap_or(0) << 20 | u64::from(std::process::id());
    let shared = &Shared::new(None);
    let published = &AtomicU64::new(NOT_OVER);
    let jsonl = args.output.output == Some(Format::Jsonl);
    let progress = Progress::new(args.duration, None, jsonl);
    let (sent, read) = thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let sent = send(args, shared, run, &mut producer);
            published.store(*sent.as_ref().unwrap_or(&0), Ordering::Relaxed);
            sent.inspect_err(|_failure| shared.stop())
        });
        let reader = scope.spawn(move || {
            let read = receive(shared, run, published, &mut consumer);
            read.inspect_err(|_failure| shared.stop())
        });
        progress.watch(shared, interrupt, || {
            sender.is_finished() && reader.is_finished()
        });
        (joined(sender), joined(reader))
    });
    let (sent, latencies) = (sent?, read?);
    let mut report = Report::new("e2e", &args.at.topic, shared, shared.begin.elapsed());
    report.latencies = Some(latencies);
    report.rate = Some(args.rate);
    report.missing = Some(sent.saturating_sub(report.messages));
    Ok(report)
}

/// Publishes on schedule; how many messages.
fn send(args: &BenchE2eArgs, shared: &Shared, run: u64, producer: &mut Producer) -> Outcome<u64> {
    let mut values = Values::new(usize::try_from(args.load.size).unwrap_or(usize::MAX));
    let mut schedule = Schedule::new(shared.begin, Some(args.rate), 0, 1);
    let (mut sent, mut value) = (0, Vec::new());
    while !shared.stopped() && !schedule.is_over(args.duration) {
        if !schedule.wait(WAIT) {
            continue;
        }
        let count = schedule.count_due(AT_ONCE, args.duration);
        let now = clock::wall().0;
        for due in schedule.take(count) {
            let nanos = u64::try_from(due.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX);
            value.clear();
            value.extend_from_slice(&run.to_be_bytes());
            value.extend_from_slice(&nanos.to_be_bytes());
            value.extend_from_slice(values.next().get(STAMP_BYTES..).unwrap_or_default());
            let record = Outgoing {
                timestamp_ms: now,
                key: None,
                value: Some(&value),
                headers: &[],
            };
            producer.push(&record)?;
        }
        producer.finish()?;
        producer.move_on();
        sent += count;
    }
    Ok(sent)
}

/// Reads until all that was published has come, or nothing comes any more.
fn receive(
    shared: &Shared,
    run: u64,
    published: &AtomicU64,
    consumer: &mut Consumer,
) -> Outcome<Histogram<u64>> {
    let mut latencies = histogram()?;
    let mut last = clock::running();
    loop {
        let messages = consumer.poll(WAIT_MS)?;
        let now = shared.begin.elapsed();
        for message in &messages {
            if let Some(due) = due_of(message, run) {
                note(&mut latencies, now.saturating_sub(due));
                shared.count(1, super::read::length(message));
                last = clock::running();
            }
        }
        let published = published.load(Ordering::Relaxed);
        let over = published != NOT_OVER;
        if over && (shared.counted().0 >= published || last.elapsed() >= PATIENCE) {
            return Ok(latencies);
        }
    }
}

/// When a message of this run was due.
pub(super) fn due_of(message: &Message, run: u64) -> Option<Duration> {
    let value = message.value.as_ref()?;
    let number = value.get(..8)?.try_into().ok().map(u64::from_be_bytes)?;
    let nanos = value.get(8..STAMP_BYTES)?.try_into().ok();
    (number == run).then_some(Duration::from_nanos(nanos.map(u64::from_be_bytes)?))
}
