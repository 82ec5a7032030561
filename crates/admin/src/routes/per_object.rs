//! `/metrics/per-object`: what each subscription holds and has done, for who asks for it.
//!
//! Names of subscriptions are labels here, so there is a sample for each: a page has a bound, and
//! `topic` and `after` choose which.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::metrics::Page;
use super::{Answered, App, query};
use crate::limits;
use crate::model::{GivenUp, SubscriptionSummary};
use crate::queues::{Kind, List};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    topic: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn metrics(
    State(app): State<App>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answered {
    let wanted = query(wanted)?;
    let most = limits::PAGE_MAX;
    let list = List {
        kind: Kind::Subscription,
        topic: wanted.topic.as_deref(),
        after: wanted.after.as_deref(),
        limit: wanted.limit.unwrap_or(most).clamp(1, most),
    };
    let found = app.gate.backend()?.queues()?.list(list).await?;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let text = render(&found.subscriptions);
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

type Row = (
    &'static str,
    &'static str,
    &'static str,
    fn(&SubscriptionSummary) -> u64,
);
type ReasonRow = (
    &'static str,
    &'static str,
    fn(&SubscriptionSummary) -> &[GivenUp],
);

#[rustfmt::skip]
const ROWS: [Row; 9] = [
    ("mulgil_subscription_messages_available", "gauge", "Messages that anybody may have.", |one| one.counts.available),
    ("mulgil_subscription_messages_acquired", "gauge", "Messages that somebody holds.", |one| one.counts.acquired),
    ("mulgil_subscription_messages_scheduled", "gauge", "Messages that wait for their time.", |one| one.counts.scheduled),
    ("mulgil_subscription_messages_archiving", "gauge", "Messages that are given up, and wait for their dead-letter topic.", |one| one.counts.archiving),
    ("mulgil_subscription_oldest_message_age_seconds", "gauge", "Age of the oldest message that is not settled.", |one| one.oldest_age_seconds.unwrap_or(0)),
    ("mulgil_subscription_consumers", "gauge", "Consumers that are attached or wait.", |one| one.consumers),
    ("mulgil_subscription_messages_acknowledged_total", "counter", "Messages that were accepted.", |one| one.totals.accepted),
    ("mulgil_subscription_messages_lost_total", "counter", "Messages that retention took before they were settled.", |one| one.totals.lost),
    ("mulgil_subscription_messages_purged_total", "counter", "Messages that were purged, or passed over by seeking.", |one| one.totals.purged),
];

#[rustfmt::skip]
const BY_REASON: [ReasonRow; 2] = [
    ("mulgil_subscription_messages_dead_lettered_total", "Messages brought to the dead-letter topic.", |one| &one.totals.dead_lettered),
    ("mulgil_subscription_messages_dropped_total", "Messages given up and dropped.", |one| &one.totals.dropped),
];

fn render(all: &[SubscriptionSummary]) -> String {
    let mut page = Page(String::new());
    for (name, kind, help, value) in ROWS {
        page.family(name, kind, help);
        for one in all {
            let labels = [("subscription", &*one.name), ("topic", &*one.topic)];
            page.sample(name, &labels, value(one));
        }
    }
    for (name, help, counted) in BY_REASON {
        page.family(name, "counter", help);
        for one in all {
            for GivenUp { reason, records } in counted(one) {
                let labels = [
                    ("subscription", &*one.name),
                    ("topic", &*one.topic),
                    ("reason", reason),
                ];
                page.sample(name, &labels, records);
            }
        }
    }
    page.0
}
