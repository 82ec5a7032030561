//! `mulgil bench kafka sub`.

use mulgil_admin::catalogue::Code;

use super::report::Report;
use super::shared::{Progress, Shared};
use crate::api::Api;
use crate::cli::{BenchSubArgs, Format};
use crate::commands::bootstrap;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::wire::{Cluster, Consumer, Message, Start};

/// How long one fetch waits for records.
const WAIT_MS: i32 = 500;

/// Reads what is there at the start, from its beginning.
pub(super) fn read(args: &BenchSubArgs, interrupt: &Interrupt) -> Outcome<Report> {
    let api = Api::new(&args.kafka.connect.server)?;
    let bootstrap = bootstrap(&api, args.kafka.bootstrap.as_deref())?;
    let cluster = Cluster::open(&bootstrap, &args.topic)?;
    let mut consumer = Consumer::new(cluster, &[], Start::Earliest, true)?;
    if consumer.is_done() {
        let detail = format!(
            "topic \"{}\" has no messages; publish some with --keep",
            args.topic
        );
        return Err(Failure::new(Code::Usage, detail));
    }
    let shared = Shared::new(args.count);
    let jsonl = args.output.output == Some(Format::Jsonl);
    let progress = Progress::new(args.duration, args.count, jsonl);
    let (shared, consumer) = (&shared, &mut consumer);
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(move || -> Outcome<std::time::Duration> {
            while !shared.stopped() && !consumer.is_done() {
                let messages = consumer.poll(WAIT_MS)?;
                let wanted = shared.claim(u64::try_from(messages.len()).unwrap_or(0));
                let taken = messages
                    .iter()
                    .take(usize::try_from(wanted).unwrap_or(usize::MAX));
                shared.count(wanted, taken.map(length).sum());
                let over = shared.begin.elapsed() >= args.duration;
                if over || (wanted == 0 && !messages.is_empty()) {
                    break;
                }
            }
            Ok(shared.begin.elapsed())
        });
        progress.watch(shared, interrupt, || reader.is_finished());
        super::report::joined(reader)
    });
    Ok(Report::new("sub", &args.topic, shared, read?))
}

/// Bytes of a message's value.
pub(super) fn length(message: &Message) -> u64 {
    let length = message.value.as_ref().map_or(0, bytes::Bytes::len);
    u64::try_from(length).unwrap_or(0)
}
