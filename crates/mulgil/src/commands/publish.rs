//! `mulgil message pub`: over the Kafka protocol, as any producer.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::RecvTimeoutError;

use mulgil_admin::catalogue::Code;
use serde_json::{Value, json};

use super::lines::{LINGER, Source, headers, lines, source};
use super::progress::Progress;
use crate::api::Api;
use crate::cli::{Format, PubArgs};
use crate::clock;
use crate::commands::bootstrap;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::out::{Cell, Column, Out, Table, View, complain};
use crate::wire::{Cluster, Outgoing, Placed, Producer};

/// What is published beside the value.
struct Parts {
    key: Option<Vec<u8>>,
    key_delimiter: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

pub(super) fn publish(
    args: &PubArgs,
    interrupt: &Interrupt,
    stdout: &mut dyn Write,
) -> Outcome<()> {
    let parts = parts(args)?;
    let source = source(args.value.as_deref(), args.file.as_deref())?;
    let api = Api::new(&args.kafka.connect.server)?;
    let bootstrap = bootstrap(&api, args.kafka.bootstrap.as_deref())?;
    let cluster = Cluster::open(&bootstrap, &args.topic)?;
    let only = args
        .partition
        .map(|partition| i32::try_from(partition).unwrap_or(i32::MAX));
    let mut producer = Producer::new(cluster, args.compression.codec(), only)?;
    let total = source.bytes();
    let jsonl = args.output.output == Some(Format::Jsonl);
    let mut progress = Progress::new(total, jsonl);
    interrupt.politely();
    let sent = send_all(&mut producer, source, &parts, &mut progress, interrupt);
    progress.end();
    let placed = producer.placed();
    let (published, bytes) = (
        placed.values().map(|p| p.records).sum::<u64>(),
        progress.bytes(),
    );
    if sent.is_ok() || published > 0 {
        let view = view(&args.topic, &placed, bytes);
        Out::new(stdout, args.output.style()).show(&view)?;
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

fn parts(args: &PubArgs) -> Outcome<Parts> {
    let headers = headers(&args.headers)?;
    let key_delimiter = match args.key_delimiter.as_deref() {
        Some("") => return Err(Failure::new(Code::Usage, "--key-delimiter is empty")),
        Some(text) => Some(text.replace("\\t", "\t").into_bytes()),
        None => None,
    };
    let key = args.key.as_ref().map(|key| key.clone().into_bytes());
    Ok(Parts {
        key,
        key_delimiter,
        headers,
    })
}

fn send_all(
    producer: &mut Producer,
    source: Source,
    parts: &Parts,
    progress: &mut Progress,
    interrupt: &Interrupt,
) -> Outcome<()> {
    let (reader, name) = match source {
        Source::One(value) => {
            send(producer, &value, parts)?;
            progress.add(value.len());
            return producer.finish().map(drop);
        }
        Source::Lines { reader, name, .. } => (reader, name),
    };
    let lines = lines(reader, name)?;
    loop {
        match lines.recv_timeout(LINGER) {
            Ok(line) => {
                let line = line?;
                send(producer, &line, parts)?;
                progress.add(line.len());
            }
            Err(RecvTimeoutError::Timeout) => drop(producer.finish()?),
            Err(RecvTimeoutError::Disconnected) => return producer.finish().map(drop),
        }
        if interrupt.asked() {
            producer.finish()?;
            return Err(Failure::new(
                Code::Interrupted,
                "what was read so far is stored",
            ));
        }
    }
}

fn send(producer: &mut Producer, line: &[u8], parts: &Parts) -> Outcome<()> {
    let split = parts.key_delimiter.as_deref().and_then(|delimiter| {
        let at = line
            .windows(delimiter.len())
            .position(|window| window == delimiter)?;
        Some((line.get(..at)?, line.get(at + delimiter.len()..)?))
    });
    let (key, value) = match split {
        Some((key, value)) => (Some(key), value),
        None => (parts.key.as_deref(), line),
    };
    producer.push(&Outgoing {
        timestamp_ms: clock::wall().0,
        key,
        value: Some(value),
        headers: &parts.headers,
    })
}

fn offset(offset: Option<i64>) -> Cell {
    offset.map_or_else(|| Cell::new(Value::Null, "unknown"), Cell::number)
}

fn view(topic: &str, placed: &BTreeMap<i32, Placed>, bytes: u64) -> View {
    let columns = [
        "topic",
        "partition",
        "records",
        "first_offset",
        "last_offset",
    ]
    .map(Column::new);
    let mut table = Table::new(&columns);
    table.rows.extend(placed.iter().map(|(partition, at)| {
        vec![
            Cell::text(topic),
            Cell::number(*partition),
            Cell::number(at.records),
            offset(at.first),
            offset(at.last),
        ]
    }));
    let partitions = placed.iter().map(|(partition, at)| {
        json!({
            "partition": partition, "records": at.records,
            "first_offset": at.first, "last_offset": at.last,
        })
    });
    let records: u64 = placed.values().map(|at| at.records).sum();
    let json = json!({
        "topic": topic, "records": records, "bytes": bytes,
        "partitions": partitions.collect::<Value>(),
    });
    let name = |(partition, at): (&i32, &Placed)| {
        let first = at
            .first
            .map(|first| format!("@{first}"))
            .unwrap_or_default();
        format!("{topic}/{partition}{first}")
    };
    View {
        json,
        table,
        names: placed.iter().map(name).collect(),
        ..View::default()
    }
}
