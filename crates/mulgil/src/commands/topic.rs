//! `mulgil topic …`: over the admin API.

use std::io::Write;

use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{
    AlterTopic, CreateTopic, Durability, TopicDetail, TopicSettings, TopicSummary, TrimTopic,
};
use mulgil_meta::settings::topic_setting;
use serde_json::json;

use super::{confirm, json_of};
use crate::cli::{
    AddPartitionsArgs, AlterArgs, CreateArgs, DeleteArgs, DescribeArgs, Format, RemoteArgs,
    TrimArgs,
};
use crate::failure::{Failure, Outcome};
use crate::out::{Cell, Column, Out, Table, View, complain, human};

const COLUMNS: [Column; 11] = [
    Column::new("name"),
    Column::new("partitions"),
    Column::new("records"),
    Column::new("bytes"),
    Column::new("retention_ms"),
    Column::new("retention_bytes"),
    Column::new("reclaim_on_ack"),
    Column::new("durability"),
    Column::wide("message_bytes_max"),
    Column::wide("created"),
    Column::wide("id"),
];

fn limit(value: Option<u64>, show: fn(u64) -> String) -> Cell {
    Cell::new(value, human::limit(value, show))
}

const fn durability(settings: &TopicSettings) -> &'static str {
    match settings.durability {
        Durability::Memory => "memory",
        Durability::Os => "os",
        Durability::Fsync => "fsync",
    }
}

const fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn row(topic: &TopicSummary) -> Vec<Cell> {
    let settings = &topic.settings;
    vec![
        Cell::text(topic.name.as_str()),
        Cell::number(topic.partitions),
        Cell::number(topic.records),
        Cell::new(topic.bytes, human::bytes(topic.bytes)),
        limit(settings.retention_ms, human::duration_ms),
        limit(settings.retention_bytes, human::bytes),
        Cell::new(settings.reclaim_on_ack, yes_no(settings.reclaim_on_ack)),
        Cell::text(durability(settings)),
        Cell::new(
            settings.message_bytes_max,
            human::bytes(settings.message_bytes_max.into()),
        ),
        Cell::text(topic.created.to_string()),
        Cell::text(topic.id.as_str()),
    ]
}

fn list_view(topics: &[TopicSummary]) -> Outcome<View> {
    let mut table = Table::new(&COLUMNS);
    table.rows.extend(topics.iter().map(row));
    let names = topics.iter().map(|topic| topic.name.clone()).collect();
    Ok(View {
        json: json_of(&topics)?,
        table,
        names,
        ..View::default()
    })
}

/// Pages are written as they come where no column has to be aligned.
pub(super) fn list(args: &RemoteArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.api()?;
    let mut style = args.output.style();
    let streams = matches!(style.format, Format::Jsonl | Format::Name | Format::Csv);
    let (mut after, mut topics) = (None, Vec::new());
    loop {
        let page = api.topics(after.as_deref())?;
        topics.extend(page.topics);
        after = page.next;
        if after.is_none() || (streams && style.sort.is_none()) {
            Out::new(&mut *stdout, style.clone()).show(&list_view(&topics)?)?;
            topics.clear();
            style.no_headers = true;
        }
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Does `each` for all names, goes on after a failure, and says how it went as a whole.
pub(super) fn for_each<T>(
    names: &[String],
    mut each: impl FnMut(&String) -> Outcome<Option<T>>,
) -> (Vec<T>, Outcome<()>) {
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match each(name) {
            Ok(one) => done.push(one),
            Err(failure) => failures.push(failure),
        }
    }
    let count = done.len();
    let done = done.into_iter().flatten().collect();
    let outcome = match failures.pop() {
        None => Ok(()),
        Some(last) => {
            failures.iter().for_each(complain);
            if count == 0 {
                Err(last)
            } else {
                complain(&last);
                let detail = format!("{count} of {}", names.len());
                Err(Failure::new(Code::PartlyDone, detail))
            }
        }
    };
    (done, outcome)
}

pub(super) fn create(args: &CreateArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    let settings = args.settings.change()?;
    let (created, outcome) = for_each(&args.names, |name| {
        let topic = CreateTopic {
            name: name.clone(),
            partitions: args.partitions,
            settings: settings.clone(),
            validate_only: args.dry_run,
        };
        match api.create_topic(&topic) {
            Ok(topic) => Ok(Some(topic.summary)),
            Err(failure) if args.idempotent && failure.code == Code::TopicExists => {
                Ok(Some(api.topic(name)?.summary))
            }
            Err(failure) => Err(failure),
        }
    });
    if !created.is_empty() {
        args.remote.out(stdout).show(&list_view(&created)?)?;
    }
    outcome
}

fn facts(topic: &TopicSummary) -> Vec<(String, String)> {
    let settings = &topic.settings;
    let limit = human::limit;
    [
        ("name", topic.name.clone()),
        ("id", topic.id.clone()),
        ("created", topic.created.to_string()),
        ("partitions", topic.partitions.to_string()),
        ("records", topic.records.to_string()),
        ("bytes", human::bytes(topic.bytes)),
        ("durability", durability(settings).to_owned()),
        (
            "retention_ms",
            limit(settings.retention_ms, human::duration_ms),
        ),
        (
            "retention_bytes",
            limit(settings.retention_bytes, human::bytes),
        ),
        ("reclaim_on_ack", yes_no(settings.reclaim_on_ack).to_owned()),
        (
            "keep_at_least_ms",
            human::duration_ms(settings.keep_at_least_ms),
        ),
        ("read_headers", yes_no(settings.read_headers).to_owned()),
        (
            "message_bytes_max",
            human::bytes(settings.message_bytes_max.into()),
        ),
        ("timestamp_type", {
            let kind = serde_json::to_value(settings.timestamp_type).unwrap_or_default();
            kind.as_str().unwrap_or_default().to_owned()
        }),
        (
            "timestamp_before_max_ms",
            limit(settings.timestamp_before_max_ms, human::duration_ms),
        ),
        (
            "timestamp_after_max_ms",
            limit(settings.timestamp_after_max_ms, human::duration_ms),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .chain(stated(settings))
    .collect()
}

/// What was set beside what is shown for every topic.
fn stated(settings: &TopicSettings) -> impl Iterator<Item = (String, String)> {
    let shown = |name: &str| {
        let own = topic_setting(name).and_then(|setting| setting.own);
        own.is_some_and(|own| COLUMNS.iter().any(|column| column.name == own))
            || name.starts_with("message.timestamp.")
    };
    let others = settings.stated.iter().filter(move |(name, _)| !shown(name));
    others.map(|(name, value)| (name.clone(), value.clone()))
}

fn detail_view(topic: &TopicDetail) -> Outcome<View> {
    let columns = [
        "partition",
        "start",
        "end",
        "records",
        "bytes",
        "leader_epoch",
    ]
    .map(Column::new);
    let mut table = Table::new(&columns);
    table
        .rows
        .extend(topic.partition_details.iter().map(|partition| {
            vec![
                Cell::number(partition.partition),
                Cell::number(partition.start),
                Cell::number(partition.end),
                Cell::number(partition.end - partition.start),
                Cell::new(partition.bytes, human::bytes(partition.bytes)),
                Cell::number(partition.leader_epoch),
            ]
        }));
    Ok(View {
        json: json_of(topic)?,
        facts: facts(&topic.summary),
        table,
        names: vec![topic.summary.name.clone()],
    })
}

pub(super) fn describe(args: &DescribeArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let topic = args.remote.api()?.topic(&args.name)?;
    args.remote.out(stdout).show(&detail_view(&topic)?)
}

pub(super) fn alter(args: &AlterArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let change = AlterTopic {
        partitions: args.partitions,
        settings: args.settings.change()?,
    };
    if change == AlterTopic::default() {
        return Err(Failure::new(Code::Usage, "pass --partitions or --set"));
    }
    let topic = args.remote.api()?.alter_topic(&args.name, &change)?;
    args.remote.out(stdout).show(&detail_view(&topic)?)
}

pub(super) fn add_partitions(args: &AddPartitionsArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    let has = api.topic(&args.name)?.summary.partitions;
    let change = AlterTopic {
        partitions: Some(has.saturating_add(args.count)),
        ..AlterTopic::default()
    };
    let topic = api.alter_topic(&args.name, &change)?;
    args.remote.out(stdout).show(&detail_view(&topic)?)
}

pub(super) fn trim(args: &TrimArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    if !args.yes {
        let name = &args.name;
        let which = args.partition.map_or_else(
            || "all partitions".to_owned(),
            |partition| format!("partition {partition}"),
        );
        let below = args.to.map_or_else(
            || "all messages".to_owned(),
            |to| format!("all messages below offset {to}"),
        );
        let doing = format!("giving up {below} in {which} of {name}");
        confirm(name, &doing, &format!("give up {below} in {which}"))?;
    }
    let trim = TrimTopic {
        partition: args.partition,
        to: args.to,
    };
    let topic = api.trim_topic(&args.name, &trim)?;
    args.remote.out(stdout).show(&detail_view(&topic)?)
}

pub(super) fn delete(args: &DeleteArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    if !args.yes {
        let names = args.names.join(" ");
        let doing = format!("deleting {names} with all messages");
        confirm(&names, &doing, "delete with all messages")?;
    }
    let (deleted, outcome) = for_each(&args.names, |name| match api.delete_topic(name) {
        Ok(()) => Ok(Some(name.clone())),
        Err(failure) if args.idempotent && failure.code == Code::TopicUnknown => Ok(None),
        Err(failure) => Err(failure),
    });
    if !deleted.is_empty() || outcome.is_ok() {
        args.remote.out(stdout).show(&deleted_view(deleted))?;
    }
    outcome
}

/// What has been deleted, by name.
pub(super) fn deleted_view(names: Vec<String>) -> View {
    let mut table = Table::new(&["name", "deleted"].map(Column::new));
    let row = |name: &String| vec![Cell::text(name.as_str()), Cell::new(true, "yes")];
    table.rows.extend(names.iter().map(row));
    let json = names
        .iter()
        .map(|name| json!({"name": name, "deleted": true}));
    View {
        json: json.collect(),
        table,
        names,
        ..View::default()
    }
}
