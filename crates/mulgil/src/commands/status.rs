//! `mulgil status`: one screen.

use std::io::Write;

use mulgil_admin::model::Status;

use super::json_of;
use crate::cli::RemoteArgs;
use crate::failure::Outcome;
use crate::out::{Cell, Column, Table, View, human};

pub(super) fn status(args: &RemoteArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.api()?;
    let status = api.status()?;
    args.out(stdout).show(&view(&status, api.url())?)
}

fn view(status: &Status, url: &str) -> Outcome<View> {
    let broker = &status.broker;
    let uptime = human::duration_ms(status.uptime_seconds.saturating_mul(1000));
    let mut facts = vec![
        ("server", url.to_owned()),
        ("version", status.version.clone()),
        ("uptime", format!("{uptime}, since {}", status.started)),
        ("data", status.data_dir.clone()),
        (
            "state",
            if status.draining {
                "stopping"
            } else {
                "running"
            }
            .to_owned(),
        ),
        ("topics", broker.topics.to_string()),
        ("partitions", broker.partitions.to_string()),
        ("records", broker.records.to_string()),
        ("bytes", human::bytes(broker.bytes)),
        ("connections", broker.connections.to_string()),
    ];
    if let Some(disk) = broker.disk {
        let (free, total) = (
            human::bytes(disk.free_bytes),
            human::bytes(disk.total_bytes),
        );
        facts.push(("disk", format!("{free} free of {total}")));
    }
    if broker.alarms.is_empty() {
        facts.push(("alarms", "none".to_owned()));
    }
    for alarm in &broker.alarms {
        let text = format!(
            "{}: {} since {}; {}",
            alarm.name, alarm.reason, alarm.since, alarm.hint
        );
        facts.push(("alarm", text));
    }
    // What has never happened is no news; JSON has all of them.
    let counted = status.metrics.iter().filter(|(_, value)| **value > 0);
    facts.extend(counted.map(|(name, value)| (name.as_str(), value.to_string())));
    let mut table = Table::new(&["listener", "address", "advertised"].map(Column::new));
    table
        .rows
        .extend(status.listeners.iter().map(|(protocol, listener)| {
            [protocol, &listener.address, &listener.advertised]
                .map(Cell::text)
                .into()
        }));
    Ok(View {
        json: json_of(status)?,
        facts: facts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        table,
        names: status.listeners.keys().cloned().collect(),
    })
}
