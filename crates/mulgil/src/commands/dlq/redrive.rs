//! Dead letters are looked at, and sent back.

use std::io::{IsTerminal as _, Write, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{
    BrowsedRecord, Redrive, RedrivePlan, RedriveState, RedriveTask, Redriven,
};
use mulgil_admin::queues::{Browse, Kind, Which};
use mulgil_broker::death::{self, DeathRecord};
use serde_json::Value;

use crate::api::Api;
use crate::cli::{CancelArgs, PeekArgs, RedriveArgs, RemoteArgs};
use crate::commands::json_of;
use crate::failure::{Failure, Outcome};
use crate::out::{Cell, Column, Table, View};

/// How often a redrive is looked at while it runs.
const LOOK_EVERY: Duration = Duration::from_millis(200);

const fn state_word(state: RedriveState) -> &'static str {
    match state {
        RedriveState::Running => "running",
        RedriveState::Done => "done",
        RedriveState::Cancelled => "cancelled",
        RedriveState::Failed => "failed",
    }
}

fn tasks_view(tasks: &[RedriveTask]) -> Outcome<View> {
    let columns = [
        Column::new("id"),
        Column::new("subscription"),
        Column::new("state"),
        Column::new("total"),
        Column::new("moved"),
        Column::new("unselected"),
        Column::new("skipped"),
        Column::wide("to"),
        Column::wide("started"),
        Column::wide("ended"),
        Column::wide("error"),
    ];
    let mut table = Table::new(&columns);
    table.rows.extend(tasks.iter().map(|task| {
        let text = |text: Option<String>| match text {
            Some(text) => Cell::text(text),
            None => Cell::new(Value::Null, ""),
        };
        vec![
            Cell::number(task.id),
            Cell::text(task.subscription.as_str()),
            Cell::text(state_word(task.state)),
            Cell::number(task.total),
            Cell::number(task.moved),
            Cell::number(task.unselected),
            Cell::number(task.skipped),
            text(task.redrive.to.clone()),
            Cell::text(task.started.to_string()),
            text(task.ended.map(|ended| ended.to_string())),
            text(task.error.clone()),
        ]
    }));
    Ok(View {
        json: json_of(&tasks)?,
        table,
        names: tasks.iter().map(|task| task.id.to_string()).collect(),
        ..View::default()
    })
}

fn plan_view(plan: &RedrivePlan) -> Outcome<View> {
    let mut table = Table::new(&["to", "reason", "records"].map(Column::new));
    table.rows.extend(plan.records.iter().map(|one| {
        vec![
            Cell::text(one.to.as_str()),
            Cell::text(one.reason.as_str()),
            Cell::number(one.records),
        ]
    }));
    let facts = [
        ("unselected", plan.unselected.to_string()),
        ("skipped", plan.skipped.to_string()),
    ];
    Ok(View {
        json: json_of(plan)?,
        facts: facts.map(|(name, text)| (name.to_owned(), text)).into(),
        table,
        ..View::default()
    })
}

pub(super) fn redrive(args: &RedriveArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    let which = Which {
        kind: Kind::Subscription,
        name: &args.name,
    };
    let wish = Redrive {
        to: args.to.clone(),
        filter: args.filter.clone(),
        rate: args.rate,
        records_max: args.count,
        dry_run: args.dry_run,
    };
    let begun = match api.redrive(which, &wish)? {
        Redriven::Plan(plan) => return args.remote.out(stdout).show(&plan_view(&plan)?),
        Redriven::Task(begun) => begun,
    };
    let ended = if args.detach {
        begun
    } else {
        watch(&api, begun)?
    };
    args.remote
        .out(stdout)
        .show(&tasks_view(std::slice::from_ref(&ended))?)?;
    match ended.error {
        Some(why) => Err(Failure::new(Code::Internal, why)),
        None => Ok(()),
    }
}

/// Waits until a redrive has ended, and shows how far it is.
fn watch(api: &Api, mut task: RedriveTask) -> Outcome<RedriveTask> {
    let bar = ProgressBar::new(task.total);
    if !stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = "{bar:30} {pos}/{len} messages, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    while task.state == RedriveState::Running {
        bar.set_position(task.moved + task.unselected + task.skipped);
        std::thread::sleep(LOOK_EVERY);
        let known = api.redrives()?.redrives;
        let found = known.into_iter().find(|one| one.id == task.id);
        let unknown = || Failure::new(Code::RedriveUnknown, format!("redrive {}", task.id));
        task = found.ok_or_else(unknown)?;
    }
    bar.finish_and_clear();
    Ok(task)
}

pub(super) fn tasks(remote: &RemoteArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let tasks = remote.api()?.redrives()?.redrives;
    remote.out(stdout).show(&tasks_view(&tasks)?)
}

pub(super) fn cancel(args: &CancelArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let task = args.remote.api()?.cancel_redrive(args.id)?;
    let view = tasks_view(std::slice::from_ref(&task))?;
    args.remote.out(stdout).show(&view)
}

/// The last death of a record.
pub(super) fn death(one: &BrowsedRecord) -> Option<DeathRecord> {
    let mut headers = one.record.headers.iter();
    let last = headers.find(|header| header.name == death::HEADER)?;
    DeathRecord::read(&last.value.as_ref()?.0)
}

pub(super) fn peek(args: &PeekArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let which = Which {
        kind: Kind::Subscription,
        name: &args.name,
    };
    let records = crate::commands::queue::look(
        &args.remote.api()?,
        which,
        Browse {
            partition: args.partition,
            from: args.from,
            records_max: args.count,
        },
    )?;
    let columns = [
        Column::new("offset"),
        Column::new("reason"),
        Column::new("subscription"),
        Column::new("count"),
        Column::new("failed"),
        Column::new("key"),
        Column::new("value"),
        Column::wide("topic"),
        Column::wide("at"),
        Column::wide("words"),
    ];
    let mut table = Table::new(&columns);
    for one in &records {
        let last = death(one);
        let of = |cell: &dyn Fn(&DeathRecord) -> Cell| {
            last.as_ref()
                .map_or_else(|| Cell::new(Value::Null, ""), cell)
        };
        let cell = |column: &Column| match column.name {
            "reason" => Ok(of(&|last| Cell::text(last.reason.as_str()))),
            "subscription" => Ok(of(&|last| Cell::text(last.subscription.as_str()))),
            "count" => Ok(of(&|last| Cell::number(last.count))),
            "failed" => Ok(of(&|last| Cell::number(last.failed))),
            "topic" => Ok(of(&|last| {
                Cell::text(format!("{}/{}@{}", last.topic, last.partition, last.offset))
            })),
            "at" => Ok(of(&|last| {
                let at = i64::try_from(last.last_ms).unwrap_or(i64::MAX);
                Cell::text(mulgil_admin::time::Timestamp(at).to_string())
            })),
            "words" => Ok(of(&|last| {
                Cell::text(last.words.clone().unwrap_or_default())
            })),
            other => crate::commands::queue::shown(&one.record, other),
        };
        table
            .rows
            .push(columns.iter().map(cell).collect::<Outcome<_>>()?);
    }
    args.remote.out(stdout).show(&View {
        json: json_of(&records)?,
        table,
        names: records
            .iter()
            .map(|one| one.record.offset.to_string())
            .collect(),
        ..View::default()
    })
}
