//! `mulgil dlq …`: where messages go that are given up, and why they are.

use std::collections::BTreeMap;
use std::io::Write;

use mulgil_admin::catalogue::Code;
use mulgil_admin::queues::Kind;
use serde_json::json;

use super::queue::each_page;
use crate::cli::{DlqCommand, RemoteArgs};
use crate::failure::Outcome;
use crate::out::{Cell, Column, Table, View};

mod reasons;
mod redrive;

pub(super) fn run(command: &DlqCommand, stdout: &mut dyn Write) -> Outcome<()> {
    match command {
        DlqCommand::Ls(remote) => list(remote, stdout),
        DlqCommand::Reasons(args) => reasons::reasons(args, stdout),
        DlqCommand::Peek(args) => redrive::peek(args, stdout),
        DlqCommand::Redrive(args) => redrive::redrive(args, stdout),
        DlqCommand::Tasks(remote) => redrive::tasks(remote, stdout),
        DlqCommand::Cancel(args) => redrive::cancel(args, stdout),
    }
}

fn list(remote: &RemoteArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = remote.api()?;
    let mut senders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    each_page(&api, Kind::Subscription, None, |page, _| {
        for one in page {
            if let Some(target) = one.settings.dead_letter {
                senders.entry(target).or_default().push(one.name);
            }
        }
        Ok(())
    })?;
    let mut view = View {
        json: json!([]),
        table: Table::new(&["topic", "records", "subscriptions"].map(Column::new)),
        ..View::default()
    };
    let mut all = Vec::new();
    for (topic, subscriptions) in senders {
        // It may have been deleted; then what is given up is dropped.
        let records = match api.topic(&topic) {
            Ok(topic) => Some(topic.summary.records),
            Err(failure) if failure.code == Code::TopicUnknown => None,
            Err(failure) => return Err(failure),
        };
        let shown = records.map_or_else(|| "missing".to_owned(), |records| records.to_string());
        view.table.rows.push(vec![
            Cell::text(topic.as_str()),
            Cell::new(records, shown),
            Cell::text(subscriptions.join(" ")),
        ]);
        all.push(json!({"topic": topic, "records": records, "subscriptions": subscriptions}));
        view.names.push(topic);
    }
    view.json = all.into();
    remote.out(stdout).show(&view)
}
