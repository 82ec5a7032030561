//! `mulgil group …`: over the admin API.

use std::io::Write;

use mulgil_admin::model::{GroupDetail, GroupOffset, OffsetsReset, ResetOffsets};
use serde_json::json;

use super::topic::{deleted_view, for_each};
use super::{confirm, json_of};
use crate::cli::{GroupArgs, GroupDeleteArgs, RemoteArgs, ResetArgs};
use crate::failure::Outcome;
use crate::out::{Cell, Column, Table, View};

pub(super) fn list(args: &RemoteArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let groups = args.api()?.groups()?.groups;
    let mut table = Table::new(&["name", "state", "protocol_type"].map(Column::new));
    table.rows.extend(groups.iter().map(|group| {
        vec![
            Cell::text(group.name.as_str()),
            Cell::text(group.state.as_str()),
            Cell::text(group.protocol_type.as_deref().unwrap_or_default()),
        ]
    }));
    let view = View {
        json: json_of(&groups)?,
        table,
        names: groups.iter().map(|group| group.name.clone()).collect(),
        ..View::default()
    };
    args.out(stdout).show(&view)
}

fn offsets_table(offsets: &[GroupOffset]) -> Table {
    let columns = ["topic", "partition", "committed", "end", "lag", "start"];
    let mut table = Table::new(&columns.map(Column::new));
    table.rows.extend(offsets.iter().map(|offset| {
        vec![
            Cell::text(offset.topic.as_str()),
            Cell::number(offset.partition),
            Cell::number(offset.committed),
            Cell::number(offset.end),
            Cell::number(offset.lag),
            Cell::number(offset.start),
        ]
    }));
    table
}

fn lag_of(group: &GroupDetail) -> u64 {
    group.offsets.iter().map(|offset| offset.lag).sum()
}

pub(super) fn describe(args: &GroupArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let group = args.remote.api()?.group(&args.name)?;
    let summary = &group.summary;
    let member = |member: &mulgil_admin::model::GroupMember| {
        let instance = member.instance.as_deref().unwrap_or(&member.client_id);
        format!("{instance} at {} ({})", member.host, member.id)
    };
    let members = group.members.iter().map(member);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let facts = [
        ("name", summary.name.clone()),
        ("state", summary.state.clone()),
        ("protocol_type", text(&summary.protocol_type)),
        ("protocol", text(&group.protocol)),
        ("lag", lag_of(&group).to_string()),
        ("members", group.members.len().to_string()),
    ];
    let facts = facts.map(|(name, value)| (name.to_owned(), value));
    let facts = facts.into_iter();
    let view = View {
        json: json_of(&group)?,
        facts: facts
            .chain(members.map(|member| ("member".to_owned(), member)))
            .collect(),
        table: offsets_table(&group.offsets),
        names: vec![summary.name.clone()],
    };
    args.remote.out(stdout).show(&view)
}

pub(super) fn lag(args: &GroupArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let group = args.remote.api()?.group(&args.name)?;
    let view = View {
        json: json!({
            "name": group.summary.name, "lag": lag_of(&group), "offsets": json_of(&group.offsets)?,
        }),
        facts: vec![("lag".to_owned(), lag_of(&group).to_string())],
        table: offsets_table(&group.offsets),
        names: vec![group.summary.name.clone()],
    };
    args.remote.out(stdout).show(&view)
}

fn reset_view(reset: &OffsetsReset) -> Outcome<View> {
    let columns = ["topic", "partition", "from", "to", "records"];
    let mut table = Table::new(&columns.map(Column::new));
    table.rows.extend(reset.offsets.iter().map(|one| {
        let from = one
            .from
            .map_or_else(|| "none".to_owned(), |from| from.to_string());
        let moved = one.from.map(|from| one.to - from);
        let shown = moved.map_or_else(String::new, |moved| format!("{moved:+}"));
        vec![
            Cell::text(one.topic.as_str()),
            Cell::number(one.partition),
            Cell::new(one.from, from),
            Cell::number(one.to),
            Cell::new(moved, shown),
        ]
    }));
    Ok(View {
        json: json_of(&reset.offsets)?,
        table,
        ..View::default()
    })
}

/// Shows what would change, asks, and changes it; without a terminal --yes has to be said.
pub(super) fn reset(args: &ResetArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    let mut wish = ResetOffsets {
        topics: args.topic.clone(),
        to: args.to,
        dry_run: true,
    };
    let before = api.reset_group(&args.name, &wish)?;
    args.remote.out(&mut *stdout).show(&reset_view(&before)?)?;
    if args.dry_run || before.offsets.is_empty() {
        return Ok(());
    }
    if !args.yes {
        let doing = format!("setting the offsets of {} anew", args.name);
        confirm(&args.name, &doing, "set these offsets")?;
    }
    wish.dry_run = false;
    let done = api.reset_group(&args.name, &wish)?;
    // Records may have come or gone while it was being asked.
    if done == before {
        return Ok(());
    }
    args.remote.out(stdout).show(&reset_view(&done)?)
}

pub(super) fn delete(args: &GroupDeleteArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    if !args.yes {
        let names = args.names.join(" ");
        let doing = format!("deleting {names} with all offsets");
        confirm(&names, &doing, "delete with all offsets")?;
    }
    let (deleted, outcome) = for_each(&args.names, |name| {
        api.delete_group(name).map(|()| Some(name.clone()))
    });
    if !deleted.is_empty() || outcome.is_ok() {
        args.remote.out(stdout).show(&deleted_view(deleted))?;
    }
    outcome
}
