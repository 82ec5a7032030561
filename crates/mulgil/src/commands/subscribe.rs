//! `mulgil message sub`: over the Kafka protocol, as any consumer without a group.

use std::io::Write;

use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{Header, Payload, Record};
use mulgil_admin::time::Timestamp;
use serde_json::Value;

use super::json_of;
use crate::api::Api;
use crate::cli::{Format, From as Begin, SubArgs};
use crate::commands::bootstrap;
use crate::failure::{Failure, Outcome};
use crate::format::Template;
use crate::interrupt::Interrupt;
use crate::out::{Cell, Column, Out, Style, Table, View};
use crate::wire::{Cluster, Consumer, Message, Start};

/// How long one fetch waits for records; Ctrl-C is noticed in between.
const WAIT_MS: i32 = 500;

pub(super) fn subscribe(
    args: &SubArgs,
    interrupt: &Interrupt,
    stdout: &mut dyn Write,
) -> Outcome<()> {
    let mut sink = Sink::new(args, stdout)?;
    let api = Api::new(&args.kafka.connect.server)?;
    let bootstrap = bootstrap(&api, args.kafka.bootstrap.as_deref())?;
    let cluster = Cluster::open(&bootstrap, &args.topic)?;
    let start = match args.from {
        Begin::Earliest => Start::Earliest,
        Begin::Latest => Start::Latest,
        Begin::Offset(offset) => Start::Offset(offset),
        Begin::Time(Timestamp(ms)) => Start::Time(ms),
    };
    let number = |partition: &u32| i32::try_from(*partition).unwrap_or(i32::MAX);
    let partitions: Vec<i32> = args.partition.iter().map(number).collect();
    let mut consumer = Consumer::new(cluster, &partitions, start, args.to_end)?;
    interrupt.politely();
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 && !consumer.is_done() {
        if interrupt.asked() {
            sink.end()?;
            return Err(Failure::new(
                Code::Interrupted,
                format!("topic \"{}\"", args.topic),
            ));
        }
        let mut messages = consumer.poll(WAIT_MS)?;
        messages.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= u64::try_from(messages.len()).unwrap_or(0);
        sink.take(&messages)?;
    }
    sink.end()
}

/// Writes messages as they come.
struct Sink<'a> {
    stdout: &'a mut dyn Write,
    style: Style,
    form: Form,
    any: bool,
}

enum Form {
    Template(Template),
    /// One array over all messages, whose end comes last.
    Array,
    Views,
}

impl<'a> Sink<'a> {
    fn new(args: &SubArgs, stdout: &'a mut dyn Write) -> Outcome<Self> {
        let form = match (&args.format, args.output.output) {
            (Some(format), _) => Form::Template(Template::parse(format)?),
            (None, None) => Form::Template(Template::parse("%v\\n")?),
            (None, Some(Format::Json)) => Form::Array,
            (None, Some(_)) => Form::Views,
        };
        Ok(Self {
            stdout,
            style: args.output.style(),
            form,
            any: false,
        })
    }

    fn take(&mut self, messages: &[Message]) -> Outcome<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        match &self.form {
            Form::Template(template) => {
                messages
                    .iter()
                    .for_each(|message| template.write(message, &mut text));
            }
            Form::Array => {
                for message in messages {
                    text.extend_from_slice(self.separator());
                    self.any = true;
                    text.extend_from_slice(json_of(&record(message))?.to_string().as_bytes());
                }
            }
            Form::Views => {
                self.any = true;
                return self.show(&view(messages)?);
            }
        }
        let mut out = Out::new(&mut *self.stdout, self.style.clone());
        out.write(&text)?;
        out.flush()
    }

    fn show(&mut self, view: &View) -> Outcome<()> {
        Out::new(&mut *self.stdout, self.style.clone()).show(view)?;
        self.style.no_headers = true;
        Ok(())
    }

    const fn separator(&self) -> &'static [u8] {
        if self.any { b",\n  " } else { b"[\n  " }
    }

    fn end(&mut self) -> Outcome<()> {
        if matches!(self.form, Form::Views) && !self.any {
            let rows = matches!(
                self.style.format,
                Format::Csv | Format::Table | Format::Wide
            );
            return if rows { self.show(&view(&[])?) } else { Ok(()) };
        }
        let text: &[u8] = match (&self.form, self.any) {
            (Form::Array, true) => b"\n]\n",
            (Form::Array, false) => b"[]\n",
            _ => b"",
        };
        let mut out = Out::new(&mut *self.stdout, self.style.clone());
        out.write(text)?;
        out.flush()
    }
}

/// The message as the API has it.
fn record(message: &Message) -> Record {
    let header = |(name, value): &(String, Option<bytes::Bytes>)| Header {
        name: name.clone(),
        value: value.clone().map(Payload),
    };
    Record {
        topic: message.topic.to_string(),
        partition: u32::try_from(message.partition).unwrap_or(0),
        offset: message.offset,
        timestamp: message.timestamp_ms.map(Timestamp),
        key: message.key.clone().map(Payload),
        headers: message.headers.iter().map(header).collect(),
        value: message.value.clone().map(Payload),
    }
}

fn view(messages: &[Message]) -> Outcome<View> {
    let columns = [
        Column::new("topic"),
        Column::new("partition"),
        Column::new("offset"),
        Column::new("timestamp"),
        Column::new("key"),
        Column::new("value"),
        Column::wide("headers"),
    ];
    let mut view = View {
        table: Table::new(&columns),
        ..View::default()
    };
    let mut all = Vec::new();
    for message in messages {
        let record = json_of(&record(message))?;
        view.names.push(format!(
            "{}/{}@{}",
            message.topic, message.partition, message.offset
        ));
        view.table.rows.push(
            columns
                .iter()
                .map(|column| cell(&record, column.name))
                .collect(),
        );
        all.push(record);
    }
    view.json = all.into();
    Ok(view)
}

fn cell(record: &Value, name: &str) -> Cell {
    match record.get(name) {
        None | Some(Value::Null) => Cell::new(Value::Null, ""),
        Some(Value::String(text)) => Cell::text(text.as_str()),
        Some(number @ Value::Number(_)) => Cell::number(number.clone()),
        Some(other) => Cell::text(other.to_string()),
    }
}
