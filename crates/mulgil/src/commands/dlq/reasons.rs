//! Why messages were given up: of a subscription that gave them up, in all; of one in which they wait, what waits.

use std::collections::BTreeMap;
use std::io::Write;

use mulgil_admin::model::SubscriptionTotals;
use mulgil_admin::queues::{Browse, Kind, Which};
use mulgil_admin::time::Timestamp;
use mulgil_broker::death::DeathRecord;
use serde_json::json;

use super::redrive::death;
use crate::api::Api;
use crate::cli::NamedArgs;
use crate::commands::queue::{each_page, look};
use crate::failure::Outcome;
use crate::out::{Cell, Column, Table, View};

/// So many dead letters are looked at, a page at a time.
const LOOKED_AT: u32 = 1_000_000;

pub(super) fn reasons(args: &NamedArgs, stdout: &mut dyn Write) -> Outcome<()> {
    let api = args.remote.api()?;
    let which = Which {
        kind: Kind::Subscription,
        name: &args.name,
    };
    let summary = api.subscription(which)?.summary;
    let view = if takes_dead_letters(&api, &summary.topic)? {
        waiting(&api, which)?
    } else {
        given_up(summary.totals)
    };
    args.remote.out(stdout).show(&view)
}

/// Whether some subscription sends to a topic what it gives up.
fn takes_dead_letters(api: &Api, topic: &str) -> Outcome<bool> {
    let mut found = false;
    each_page(api, Kind::Subscription, None, |page, _| {
        let mut targets = page.iter().map(|one| one.settings.dead_letter.as_deref());
        found |= targets.any(|target| target == Some(topic));
        Ok(())
    })?;
    Ok(found)
}

/// What was given up since the subscription is there.
fn given_up(totals: SubscriptionTotals) -> View {
    let mut by_reason: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for one in totals.dead_lettered {
        by_reason.entry(one.reason).or_default().0 += one.records;
    }
    for one in totals.dropped {
        by_reason.entry(one.reason).or_default().1 += one.records;
    }
    let columns = ["reason", "dead_lettered", "dropped"].map(Column::new);
    let mut view = View {
        table: Table::new(&columns),
        ..View::default()
    };
    let mut all = Vec::new();
    for (reason, (moved, dropped)) in by_reason {
        view.table.rows.push(vec![
            Cell::text(reason.as_str()),
            Cell::number(moved),
            Cell::number(dropped),
        ]);
        all.push(json!({"reason": reason, "dead_lettered": moved, "dropped": dropped}));
        view.names.push(reason);
    }
    view.json = all.into();
    view
}

/// What is said of dead letters of one kind.
#[derive(Default)]
struct Kindred {
    records: u64,
    acquired: (u16, u16),
    first_ms: u64,
    last_ms: u64,
}

impl Kindred {
    fn add(&mut self, death: &DeathRecord) {
        if self.records == 0 {
            (self.first_ms, self.acquired) = (death.first_ms, (u16::MAX, 0));
        }
        self.records += 1;
        let (least, most) = self.acquired;
        self.acquired = (least.min(death.acquired), most.max(death.acquired));
        self.first_ms = self.first_ms.min(death.first_ms);
        self.last_ms = self.last_ms.max(death.last_ms);
    }
}

/// What waits, by who gave it up and why.
fn waiting(api: &Api, which: Which<'_>) -> Outcome<View> {
    let mut kinds: BTreeMap<(String, String), Kindred> = BTreeMap::new();
    let partitions = api.subscription(which)?.partition_details.len();
    for partition in 0..u32::try_from(partitions).unwrap_or(u32::MAX) {
        let browse = Browse {
            partition,
            from: 0,
            records_max: LOOKED_AT,
        };
        for one in look(api, which, browse)? {
            // What somebody published there did not die.
            if let Some(last) = death(&one) {
                let kind = (last.subscription.clone(), last.reason.clone());
                kinds.entry(kind).or_default().add(&last);
            }
        }
    }
    let columns = [
        "subscription",
        "reason",
        "records",
        "tries",
        "first",
        "last",
    ];
    let mut view = View {
        table: Table::new(&columns.map(Column::new)),
        ..View::default()
    };
    let mut all = Vec::new();
    let date = |ms: u64| Timestamp(i64::try_from(ms).unwrap_or(i64::MAX)).to_string();
    for ((subscription, reason), kind) in kinds {
        let (least, most) = kind.acquired;
        let tries = match least == most {
            true => least.to_string(),
            false => format!("{least} to {most}"),
        };
        view.table.rows.push(vec![
            Cell::text(subscription.as_str()),
            Cell::text(reason.as_str()),
            Cell::number(kind.records),
            Cell::text(tries),
            Cell::text(date(kind.first_ms)),
            Cell::text(date(kind.last_ms)),
        ]);
        all.push(json!({
            "subscription": subscription, "reason": reason, "records": kind.records,
            "tries_min": least, "tries_max": most,
            "first": date(kind.first_ms), "last": date(kind.last_ms),
        }));
        view.names.push(reason);
    }
    view.json = all.into();
    Ok(view)
}
