//! Going on elsewhere, and letting all that waits go.

use std::io::Write;

use mulgil_admin::model::{Purge, SeekSubscription, Sought};
use mulgil_admin::queues::{Kind, Which};
use serde_json::json;

use crate::cli::{PurgeArgs, SeekArgs};
use crate::commands::{confirm, json_of};
use crate::failure::Outcome;
use crate::out::{Cell, Column, Table, View};

pub(super) fn purge(kind: Kind, args: &PurgeArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    let name = &args.name;
    if !args.yes {
        let held = if args.held { ", locked ones too" } else { "" };
        let doing = format!("letting all messages of {name} go that wait{held}");
        confirm(name, &doing, "let all messages go that wait")?;
    }
    let purge = Purge { held: args.held };
    let purged = api.purge(Which { kind, name }, purge)?.purged;
    let mut table = Table::new(&["name", "purged"].map(Column::new));
    table
        .rows
        .push(vec![Cell::text(name.as_str()), Cell::number(purged)]);
    args.remote.out(stdout).show(&View {
        json: json!({"name": name, "purged": purged}),
        table,
        names: vec![name.clone()],
        ..View::default()
    })
}

fn sought_view(sought: &Sought) -> Outcome<View> {
    let columns = ["partition", "from", "to", "messages", "end"];
    let mut table = Table::new(&columns.map(Column::new));
    table.rows.extend(sought.partitions.iter().map(|one| {
        let moved = one.to - one.from;
        vec![
            Cell::number(one.partition),
            Cell::number(one.from),
            Cell::number(one.to),
            Cell::new(Some(moved), format!("{moved:+}")),
            Cell::number(one.end),
        ]
    }));
    Ok(View {
        json: json_of(&sought.partitions)?,
        table,
        ..View::default()
    })
}

/// Shows what would change, asks, and changes it; without a terminal --yes has to be said.
pub(super) fn seek(kind: Kind, args: &SeekArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    let which = Which {
        kind,
        name: &args.name,
    };
    let mut wish = SeekSubscription {
        to: args.to,
        partition: args.partition,
        dry_run: true,
    };
    let before = api.seek(which, &wish)?;
    let show = |sought: &Sought, stdout: &mut dyn Write| {
        args.remote.out(stdout).show(&sought_view(sought)?)
    };
    show(&before, stdout)?;
    if args.dry_run {
        return Ok(());
    }
    if !args.yes {
        let doing = format!("letting {} go on elsewhere", args.name);
        confirm(&args.name, &doing, "go on there")?;
    }
    wish.dry_run = false;
    let done = api.seek(which, &wish)?;
    // Records may have come or gone while it was being asked.
    if done == before {
        return Ok(());
    }
    show(&done, stdout)
}
