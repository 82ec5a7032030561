//! Messages taken under locks, or only looked at.

use std::io::Write;

use mulgil_admin::model::{
    BrowsedRecord, Outcome as Settling, Payload, Receive, ReceivedRecord, Record,
};
use mulgil_admin::queues::{Browse, Kind, Which};
use serde_json::Value;

use super::settle::settle_all;
use crate::api::Api;
use crate::cli::{PeekArgs, ReceiveArgs, milliseconds};
use crate::commands::json_of;
use crate::failure::Outcome;
use crate::out::{Cell, Column, Table, View};

/// One request waits no longer than this; for longer, it is repeated.
const WAIT_MS: u32 = 20_000;

pub(super) fn receive(kind: Kind, args: &ReceiveArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let wait_ms = milliseconds("--wait", &args.wait)?;
    let lock = args.lock.as_deref();
    let lock_ms = lock.map(|text| milliseconds("--lock", text)).transpose()?;
    let api = args.remote.api()?;
    let which = Which {
        kind,
        name: &args.name,
    };
    let mut wish = Receive {
        records_max: args.count,
        lock_ms: lock_ms.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX)),
        wait_ms: 0,
    };
    let records = wait(&api, which, &mut wish, wait_ms)?;
    args.remote.out(stdout).show(&received_view(&records)?)?;
    if !args.accept || records.is_empty() {
        return Ok(());
    }
    let receipts: Vec<_> = records.into_iter().map(|one| one.receipt).collect();
    let (_, outcome) = settle_all(&api, which, &receipts, &Settling::Accept)?;
    outcome
}

fn wait(
    api: &Api,
    which: Which<'_>,
    wish: &mut Receive,
    mut left_ms: u64,
) -> Outcome<Vec<ReceivedRecord>> {
    loop {
        wish.wait_ms = u32::try_from(left_ms).unwrap_or(u32::MAX).min(WAIT_MS);
        let records = api.receive(which, wish)?.records;
        left_ms -= u64::from(wish.wait_ms);
        if left_ms == 0 || !records.is_empty() {
            return Ok(records);
        }
    }
}

/// A cell of what a message is.
pub(in crate::commands) fn shown(record: &Record, column: &str) -> Outcome<Cell> {
    let payload = |payload: &Option<Payload>| match payload {
        None => Ok(Cell::new(Value::Null, "")),
        Some(payload) => match std::str::from_utf8(&payload.0) {
            Ok(text) => Ok(Cell::text(text)),
            Err(_other) => Ok(Cell::text(json_of(payload)?.to_string())),
        },
    };
    match column {
        "topic" => Ok(Cell::text(record.topic.as_str())),
        "partition" => Ok(Cell::number(record.partition)),
        "offset" => Ok(Cell::number(record.offset)),
        "timestamp" => Ok(record.timestamp.map_or_else(
            || Cell::new(Value::Null, ""),
            |time| Cell::text(time.to_string()),
        )),
        "key" => payload(&record.key),
        "value" => payload(&record.value),
        _ => Ok(Cell::text(json_of(&record.headers)?.to_string())),
    }
}

fn received_view(records: &[ReceivedRecord]) -> Outcome<View> {
    let columns = [
        Column::new("receipt"),
        Column::new("offset"),
        Column::new("acquired"),
        Column::new("failed"),
        Column::new("key"),
        Column::new("value"),
        Column::wide("topic"),
        Column::wide("partition"),
        Column::wide("timestamp"),
        Column::wide("locked_until"),
        Column::wide("headers"),
    ];
    let mut table = Table::new(&columns);
    for one in records {
        let cell = |column: &Column| match column.name {
            "receipt" => Ok(Cell::text(one.receipt.as_str())),
            "acquired" => Ok(Cell::number(one.acquired)),
            "failed" => Ok(Cell::number(one.failed)),
            "locked_until" => Ok(one.locked_until.map_or_else(
                || Cell::new(Value::Null, ""),
                |until| Cell::text(until.to_string()),
            )),
            other => shown(&one.record, other),
        };
        table
            .rows
            .push(columns.iter().map(cell).collect::<Outcome<_>>()?);
    }
    Ok(View {
        json: json_of(&records)?,
        table,
        names: records.iter().map(|one| one.receipt.clone()).collect(),
        ..View::default()
    })
}

/// So many messages that are not settled, if there are as many.
pub(in crate::commands) fn look(
    api: &Api,
    which: Which<'_>,
    browse: Browse,
) -> Outcome<Vec<BrowsedRecord>> {
    let mut records = Vec::new();
    let (mut from, wanted) = (browse.from, browse.records_max as usize);
    // One look passes over so many settled ones, and no more.
    while records.len() < wanted {
        let page = api.browse(which, Browse { from, ..browse })?;
        records.extend(page.records);
        let Some(next) = page.next else { break };
        from = next;
    }
    records.truncate(wanted);
    Ok(records)
}

pub(super) fn peek(kind: Kind, args: &PeekArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let which = Which {
        kind,
        name: &args.name,
    };
    let browse = Browse {
        partition: args.partition,
        from: args.from,
        records_max: args.count,
    };
    let records = look(&args.remote.api()?, which, browse)?;
    let columns = [
        Column::new("offset"),
        Column::new("state"),
        Column::new("acquired"),
        Column::new("failed"),
        Column::new("key"),
        Column::new("value"),
        Column::wide("topic"),
        Column::wide("partition"),
        Column::wide("timestamp"),
        Column::wide("headers"),
    ];
    let mut table = Table::new(&columns);
    for one in &records {
        let cell = |column: &Column| match column.name {
            "state" => Ok(Cell::text(one.state.as_str())),
            "acquired" => Ok(Cell::number(one.acquired)),
            "failed" => Ok(Cell::number(one.failed)),
            other => shown(&one.record, other),
        };
        table
            .rows
            .push(columns.iter().map(cell).collect::<Outcome<_>>()?);
    }
    let name = |record: &Record| format!("{}/{}@{}", record.topic, record.partition, record.offset);
    args.remote.out(stdout).show(&View {
        json: json_of(&records)?,
        table,
        names: records.iter().map(|one| name(&one.record)).collect(),
        ..View::default()
    })
}
