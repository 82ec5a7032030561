//! How queues and subscriptions are shown.

use mulgil_admin::model::{
    GivenUp, Order, Overflow, Retry, SubscriptionDetail, SubscriptionPartition,
    SubscriptionSettings, SubscriptionSummary,
};
use serde_json::Value;

use crate::commands::json_of;
use crate::failure::Outcome;
use crate::out::{Cell, Column, Table, View, human};

const COLUMNS: [Column; 13] = [
    Column::new("name"),
    Column::new("topic"),
    Column::new("available"),
    Column::new("acquired"),
    Column::new("scheduled"),
    Column::new("archiving"),
    Column::new("oldest_age_seconds"),
    Column::new("consumers"),
    Column::wide("queue"),
    Column::wide("lock_ms"),
    Column::wide("dead_letter"),
    Column::wide("created"),
    Column::wide("id"),
];

fn age(seconds: Option<u64>) -> String {
    seconds.map_or_else(String::new, |s| human::duration_ms(s.saturating_mul(1_000)))
}

fn row(one: &SubscriptionSummary) -> Vec<Cell> {
    let (counts, settings) = (&one.counts, &one.settings);
    vec![
        Cell::text(one.name.as_str()),
        Cell::text(one.topic.as_str()),
        Cell::number(counts.available),
        Cell::number(counts.acquired),
        Cell::number(counts.scheduled),
        Cell::number(counts.archiving),
        Cell::new(one.oldest_age_seconds, age(one.oldest_age_seconds)),
        Cell::number(one.consumers),
        Cell::new(one.queue, if one.queue { "yes" } else { "no" }),
        Cell::new(
            settings.lock_ms,
            human::duration_ms(settings.lock_ms.into()),
        ),
        settings
            .dead_letter
            .as_deref()
            .map_or_else(|| Cell::new(Value::Null, ""), Cell::text),
        Cell::text(one.created.to_string()),
        Cell::number(one.id),
    ]
}

pub(super) fn list_view(all: &[SubscriptionSummary]) -> Outcome<View> {
    let mut table = Table::new(&COLUMNS);
    table.rows.extend(all.iter().map(row));
    Ok(View {
        json: json_of(&all)?,
        table,
        names: all.iter().map(|one| one.name.clone()).collect(),
        ..View::default()
    })
}

fn retry(retry: Retry) -> String {
    let time = human::duration_ms;
    match retry {
        Retry::AtOnce {} => "at once".to_owned(),
        Retry::Fixed { ms } => format!("after {}", time(ms)),
        Retry::Linear { ms, ms_max } => {
            format!("{} longer each time, at most {}", time(ms), time(ms_max))
        }
        Retry::Exponential {
            ms,
            ms_max,
            jitter_percent,
        } => {
            let less = match jitter_percent {
                0 => String::new(),
                percent => format!(", up to {percent}% less"),
            };
            let (ms, ms_max) = (time(ms), time(ms_max));
            format!("{ms}, twice as long each time, at most {ms_max}{less}")
        }
    }
}

fn yes_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

fn settings_facts(settings: &SubscriptionSettings) -> [(&'static str, String); 14] {
    let count = |value: Option<u64>| human::limit(value, |value| value.to_string());
    let time = |value| human::limit(value, human::duration_ms);
    let overflow = match settings.overflow {
        Overflow::DropOldest => "drop_oldest",
        Overflow::DeadLetterOldest => "dead_letter_oldest",
        Overflow::Refuse => "refuse",
    };
    let order = match settings.order {
        Order::Fifo => "fifo",
        Order::Key => "key",
        Order::Priority => "priority",
    };
    let target = settings.dead_letter.as_deref();
    [
        ("lock_ms", human::duration_ms(settings.lock_ms.into())),
        ("failed_max", count(settings.failed_max.map(u64::from))),
        ("acquired_max", count(settings.acquired_max.map(u64::from))),
        ("retry", retry(settings.retry)),
        ("age_ms_max", time(settings.age_ms_max)),
        ("ttl_ms", time(settings.ttl_ms)),
        ("length_max", count(settings.length_max)),
        ("bytes_max", human::limit(settings.bytes_max, human::bytes)),
        ("deduplicate_ms", time(settings.deduplicate_ms)),
        ("overflow", overflow.to_owned()),
        ("order", order.to_owned()),
        ("single_active", yes_no(settings.single_active)),
        ("paused", yes_no(settings.paused)),
        (
            "dead_letter",
            target.unwrap_or("none: dropped, and counted").to_owned(),
        ),
    ]
}

/// `rejected 3, expired 1`.
fn given_up(by_reason: &[GivenUp]) -> String {
    let one = |one: &GivenUp| format!("{} {}", one.reason, one.records);
    let all: Vec<_> = by_reason.iter().map(one).collect();
    if all.is_empty() {
        "0".to_owned()
    } else {
        all.join(", ")
    }
}

fn partition_row(one: &SubscriptionPartition) -> Vec<Cell> {
    vec![
        Cell::number(one.partition),
        Cell::number(one.start),
        Cell::number(one.end),
        Cell::number(one.counts.available),
        Cell::number(one.counts.acquired),
        Cell::number(one.counts.scheduled),
        Cell::number(one.counts.archiving),
        Cell::number(one.accepted),
        Cell::new(one.memory_bytes, human::bytes(one.memory_bytes)),
    ]
}

pub(super) fn detail_view(one: &SubscriptionDetail) -> Outcome<View> {
    let columns = [
        Column::new("partition"),
        Column::new("start"),
        Column::new("end"),
        Column::new("available"),
        Column::new("acquired"),
        Column::new("scheduled"),
        Column::new("archiving"),
        Column::new("accepted"),
        Column::wide("memory_bytes"),
    ];
    let mut table = Table::new(&columns);
    table
        .rows
        .extend(one.partition_details.iter().map(partition_row));
    let summary = &one.summary;
    let totals = &summary.totals;
    let counts = &summary.counts;
    let facts = [
        ("name", summary.name.clone()),
        ("id", summary.id.to_string()),
        ("created", summary.created.to_string()),
        ("topic", summary.topic.clone()),
        ("queue", yes_no(summary.queue)),
        (
            "filter",
            summary.filter.clone().unwrap_or_else(|| "none".to_owned()),
        ),
        ("available", counts.available.to_string()),
        ("acquired", counts.acquired.to_string()),
        ("scheduled", counts.scheduled.to_string()),
        ("archiving", counts.archiving.to_string()),
        ("oldest_age_seconds", age(summary.oldest_age_seconds)),
        ("consumers", summary.consumers.to_string()),
        ("accepted", totals.accepted.to_string()),
        ("dead_lettered", given_up(&totals.dead_lettered)),
        ("dropped", given_up(&totals.dropped)),
        ("lost", totals.lost.to_string()),
        ("purged", totals.purged.to_string()),
    ];
    let facts = facts.into_iter().chain(settings_facts(&summary.settings));
    Ok(View {
        json: json_of(one)?,
        facts: facts.map(|(name, text)| (name.to_owned(), text)).collect(),
        table,
        names: vec![summary.name.clone()],
    })
}
