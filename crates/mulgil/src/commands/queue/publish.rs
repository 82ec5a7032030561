//! `mulgil queue pub`: over the admin API, some messages a request.

use std::io::Write;
use std::sync::mpsc::RecvTimeoutError;

use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{Header, NewRecord, Payload, PublishResult};
use serde_json::{Value, json};

use crate::api::Api;
use crate::cli::{Format, QueuePubArgs};
use crate::commands::lines::{LINGER, Source, headers, lines, source};
use crate::commands::progress::Progress;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::out::{Cell, Column, Table, View, complain};

/// So many messages go in one request ...
const RECORDS_AT_ONCE: usize = 1_000;
/// ... or so many bytes of them, which as JSON stay below the 8 MiB that a body may have.
const BYTES_AT_ONCE: usize = 1 << 20;

/// What goes in the next request, and what became of those before.
struct Publisher<'a> {
    api: &'a Api,
    name: &'a str,
    like: NewRecord,
    waiting: Vec<NewRecord>,
    bytes: usize,
    published: u64,
    first: Option<i64>,
    last: Option<i64>,
}

impl Publisher<'_> {
    fn push(&mut self, value: Vec<u8>) -> Outcome<()> {
        if self.waiting.len() >= RECORDS_AT_ONCE || self.bytes + value.len() > BYTES_AT_ONCE {
            self.flush()?;
        }
        self.bytes += value.len();
        self.waiting.push(NewRecord {
            value: Some(Payload(value.into())),
            ..self.like.clone()
        });
        Ok(())
    }

    /// Publishes what waits. What is refused is told; the last refusal ends it.
    fn flush(&mut self) -> Outcome<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let published = self.api.publish_to_queue(self.name, &records)?;
        let mut failed = None;
        for result in published.results {
            match result {
                PublishResult::Published(at) => {
                    self.published += 1;
                    self.first = self.first.or(Some(at.offset));
                    self.last = Some(at.offset);
                }
                PublishResult::Refused { error } => {
                    let before = failed.replace(Failure::from(error));
                    before.iter().for_each(complain);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

pub(super) fn publish(
    args: &QueuePubArgs,
    interrupt: &Interrupt,
    stdout: &mut dyn Write,
) -> Outcome<()> {
    let header = |(name, value): (String, Vec<u8>)| Header {
        name,
        value: Some(Payload(value.into())),
    };
    let headers = headers(&args.all_headers()?)?
        .into_iter()
        .map(header)
        .collect();
    let key = args.key.clone().map(|key| Payload(key.into()));
    let source = source(args.value.as_deref(), args.file.as_deref())?;
    let api = args.remote.api()?;
    let mut publisher = Publisher {
        api: &api,
        name: &args.name,
        like: NewRecord {
            key,
            headers,
            ..NewRecord::default()
        },
        waiting: Vec::new(),
        bytes: 0,
        published: 0,
        first: None,
        last: None,
    };
    let jsonl = args.remote.output.output == Some(Format::Jsonl);
    let mut progress = Progress::new(source.bytes(), jsonl);
    interrupt.politely();
    let sent = send_all(&mut publisher, source, &mut progress, interrupt);
    progress.end();
    let published = publisher.published;
    if sent.is_ok() || published > 0 {
        args.remote.out(stdout).show(&view(&publisher))?;
    }
    match sent {
        Err(failure) if published > 0 && failure.code != Code::Interrupted => {
            complain(&failure);
            let detail = format!("{published} messages are stored, the rest is not");
            Err(Failure::new(Code::PartlyDone, detail))
        }
        sent => sent,
    }
}

fn send_all(
    publisher: &mut Publisher<'_>,
    source: Source,
    progress: &mut Progress,
    interrupt: &Interrupt,
) -> Outcome<()> {
    let (reader, name) = match source {
        Source::One(value) => {
            progress.add(value.len());
            publisher.push(value)?;
            return publisher.flush();
        }
        Source::Lines { reader, name, .. } => (reader, name),
    };
    let lines = lines(reader, name)?;
    loop {
        match lines.recv_timeout(LINGER) {
            Ok(line) => {
                let line = line?;
                progress.add(line.len());
                publisher.push(line)?;
            }
            Err(RecvTimeoutError::Timeout) => publisher.flush()?,
            Err(RecvTimeoutError::Disconnected) => return publisher.flush(),
        }
        if interrupt.asked() {
            publisher.flush()?;
            let detail = "what was read so far is stored";
            return Err(Failure::new(Code::Interrupted, detail));
        }
    }
}

fn view(publisher: &Publisher<'_>) -> View {
    let Publisher {
        name,
        published,
        first,
        last,
        ..
    } = publisher;
    let columns = ["queue", "records", "first_offset", "last_offset"].map(Column::new);
    let offset = |at: &Option<i64>| at.map_or_else(|| Cell::new(Value::Null, ""), Cell::number);
    let mut table = Table::new(&columns);
    table.rows.push(vec![
        Cell::text(*name),
        Cell::number(*published),
        offset(first),
        offset(last),
    ]);
    View {
        json: json!({
            "queue": name, "records": published, "first_offset": first, "last_offset": last,
        }),
        table,
        names: vec![(*name).to_owned()],
        ..View::default()
    }
}
