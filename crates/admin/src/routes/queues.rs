//! `/api/v1/queues`, `/api/v1/subscriptions` and what lies below: the same routes for both, but for creation.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use serde::Deserialize;

use super::{Answered, App, Name, json, query, records};
use crate::catalogue::Code;
use crate::limits;
use crate::model::{
    AlterSubscription, CreateQueue, CreateSubscription, Outcome, Purge, Receive, Redrive, Redriven,
    SeekSubscription, SettleRecords, SettleResult, Settled, Settlement,
};
use crate::problem::{Problem, Refusal};
use crate::queues::{Browse, Kind, List, Which};

/// The routes of both.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/subscriptions", list(Kind::Subscription).post(subscribe))
        .merge(below("/subscriptions/{name}", Kind::Subscription))
        .route("/queues", list(Kind::Queue).post(create))
        .route("/redrives", get(redrives))
        .route("/redrives/{id}", axum::routing::delete(cancel_redrive))
        .merge(below("/queues/{name}", Kind::Queue))
        .route(
            "/queues/{name}/records",
            get(move |app, name, page| browse(Kind::Queue, app, name, page)).post(publish),
        )
}

/// What lies below the name of one.
fn below(path: &str, kind: Kind) -> Router<App> {
    let one = get(move |app, name| describe(kind, app, name))
        .patch(move |app, name, request| alter(kind, app, name, request))
        .delete(move |app, name| delete(kind, app, name));
    let receive = post(move |app, name, request| receive(kind, app, name, request));
    let settle = post(move |app, name, request| settle(kind, app, name, request));
    let purge = post(move |app, name, request| purge(kind, app, name, request));
    let seek = post(move |app, name, request| seek(kind, app, name, request));
    let redrive = post(move |app, name, request| redrive(kind, app, name, request));
    let routes = Router::new()
        .route(path, one)
        .route(&format!("{path}/receive"), receive)
        .route(&format!("{path}/purge"), purge)
        .route(&format!("{path}/seek"), seek)
        .route(&format!("{path}/redrive"), redrive)
        .route(&format!("{path}/settle"), settle);
    if kind == Kind::Queue {
        return routes;
    }
    let browse = get(move |app, name, page| browse(kind, app, name, page));
    routes.route(&format!("{path}/records"), browse)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    topic: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

fn list(kind: Kind) -> MethodRouter<App> {
    get(move |app, page| list_page(kind, app, page))
}

async fn list_page(
    kind: Kind,
    State(app): State<App>,
    page: Result<Query<Page>, QueryRejection>,
) -> Answered {
    let page = query(page)?;
    let most = limits::PAGE_MAX;
    let list = List {
        kind,
        topic: page.topic.as_deref(),
        after: page.after.as_deref(),
        limit: page.limit.unwrap_or(most).clamp(1, most),
    };
    let found = app.gate.backend()?.queues()?.list(list).await?;
    json(StatusCode::OK, &found)
}

async fn subscribe(State(app): State<App>, request: Request) -> Answered {
    let (subscription, _held): (CreateSubscription, _) = app.parsed(request).await?;
    check_name(&subscription.name)?;
    let queues = app.gate.backend()?.queues()?;
    json(StatusCode::CREATED, &queues.subscribe(subscription).await?)
}

async fn create(State(app): State<App>, request: Request) -> Answered {
    let (queue, _held): (CreateQueue, _) = app.parsed(request).await?;
    check_name(&queue.name)?;
    let queues = app.gate.backend()?.queues()?;
    json(StatusCode::CREATED, &queues.create(queue).await?)
}

/// A subscription is named as a topic is, so that a queue can have one name for both.
fn check_name(name: &str) -> Result<(), Refusal> {
    super::topics::check_name(name)
        .map_err(|refusal| Refusal::new(Code::SubscriptionName, refusal.detail))
}

async fn describe(kind: Kind, State(app): State<App>, Name(name): Name) -> Answered {
    let which = Which { kind, name: &name };
    let found = app.gate.backend()?.queues()?.describe(which).await?;
    json(StatusCode::OK, &found)
}

async fn alter(kind: Kind, State(app): State<App>, Name(name): Name, request: Request) -> Answered {
    let (change, _held): (AlterSubscription, _) = app.parsed(request).await?;
    if change.settings.is_empty() {
        return Err(Refusal::new(Code::Malformed, "nothing is to be changed"));
    }
    let which = Which { kind, name: &name };
    let altered = app.gate.backend()?.queues()?.alter(which, change).await?;
    json(StatusCode::OK, &altered)
}

async fn delete(kind: Kind, State(app): State<App>, Name(name): Name) -> Answered {
    let which = Which { kind, name: &name };
    app.gate.backend()?.queues()?.delete(which).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn publish(State(app): State<App>, Name(name): Name, request: Request) -> Answered {
    // The topic of another name's reader is not published to by mistake.
    let which = Which {
        kind: Kind::Queue,
        name: &name,
    };
    app.gate.backend()?.queues()?.describe(which).await?;
    records::publish(State(app), Name(name), request).await
}

async fn receive(
    kind: Kind,
    State(app): State<App>,
    Name(name): Name,
    request: Request,
) -> Answered {
    let (receive, held): (Receive, _) = app.parsed(request).await?;
    // Whoever waits keeps no room for a body.
    drop(held);
    let amount = |what: &str, least: u32, most: u32, asked: u32| {
        let detail = format!("{what} takes {least} to {most}, not {asked}");
        Err(Refusal::new(Code::Malformed, detail))
    };
    let (records, wait_ms) = (receive.records_max, receive.wait_ms);
    if !(1..=limits::RECEIVE_RECORDS_MAX).contains(&records) {
        return amount("records_max", 1, limits::RECEIVE_RECORDS_MAX, records);
    }
    if wait_ms > limits::RECEIVE_WAIT_MS_MAX {
        return amount("wait_ms", 0, limits::RECEIVE_WAIT_MS_MAX, wait_ms);
    }
    let which = Which { kind, name: &name };
    let received = app
        .gate
        .backend()?
        .queues()?
        .receive(which, receive)
        .await?;
    json(StatusCode::OK, &received)
}

async fn purge(kind: Kind, State(app): State<App>, Name(name): Name, request: Request) -> Answered {
    let (purge, _held): (Purge, _) = app.parsed(request).await?;
    let which = Which { kind, name: &name };
    let purged = app.gate.backend()?.queues()?.purge(which, purge).await?;
    json(StatusCode::OK, &purged)
}

async fn seek(kind: Kind, State(app): State<App>, Name(name): Name, request: Request) -> Answered {
    let (seek, _held): (SeekSubscription, _) = app.parsed(request).await?;
    let which = Which { kind, name: &name };
    let sought = app.gate.backend()?.queues()?.seek(which, seek).await?;
    json(StatusCode::OK, &sought)
}

async fn redrive(
    kind: Kind,
    State(app): State<App>,
    Name(name): Name,
    request: Request,
) -> Answered {
    let (redrive, _held): (Redrive, _) = app.parsed(request).await?;
    for (what, asked) in [
        ("rate", redrive.rate.map(u64::from)),
        ("records_max", redrive.records_max),
    ] {
        if asked == Some(0) {
            let detail = format!("{what} takes 1 or more");
            return Err(Refusal::new(Code::Malformed, detail));
        }
    }
    let which = Which { kind, name: &name };
    match app
        .gate
        .backend()?
        .queues()?
        .redrive(which, redrive)
        .await?
    {
        Redriven::Task(task) => json(StatusCode::ACCEPTED, &task),
        Redriven::Plan(plan) => json(StatusCode::OK, &plan),
    }
}

async fn redrives(State(app): State<App>) -> Answered {
    let all = app.gate.backend()?.queues()?.redrives().await?;
    json(StatusCode::OK, &all)
}

async fn cancel_redrive(State(app): State<App>, Name(id): Name) -> Answered {
    let id = id.parse().map_err(|_none| {
        let detail = format!("\"{id}\" is no number of a redrive");
        Refusal::new(Code::RedriveUnknown, detail)
    })?;
    let task = app.gate.backend()?.queues()?.cancel_redrive(id).await?;
    json(StatusCode::OK, &task)
}

async fn settle(
    kind: Kind,
    State(app): State<App>,
    Name(name): Name,
    request: Request,
) -> Answered {
    let (settle, _held): (SettleRecords, _) = app.parsed(request).await?;
    let settlements = settle.settlements;
    let (count, most) = (settlements.len(), limits::SETTLEMENTS_MAX);
    if count == 0 || count > most {
        let detail = format!("1 to {most} settlements are possible, not {count}");
        return Err(Refusal::new(Code::Malformed, detail));
    }
    settlements.iter().try_for_each(check_settlement)?;
    let receipts: Vec<_> = settlements.iter().map(|one| one.receipt.clone()).collect();
    let which = Which { kind, name: &name };
    let queues = app.gate.backend()?.queues()?;
    let results = queues.settle(which, settlements).await?;
    let mut settled = Settled::default();
    for (receipt, result) in receipts.into_iter().zip(results) {
        let error = result.err().map(Problem::from);
        if error.is_some() {
            settled.refused += 1;
        } else {
            settled.settled += 1;
        }
        settled.results.push(SettleResult { receipt, error });
    }
    let status = if settled.refused == 0 {
        StatusCode::OK
    } else {
        StatusCode::MULTI_STATUS
    };
    json(status, &settled)
}

fn check_settlement(one: &Settlement) -> Result<(), Refusal> {
    match one.outcome {
        Outcome::Release {
            at: Some(_),
            delay_ms: Some(_),
            ..
        } => {
            let detail = format!("{}: a release takes at or delay_ms, not both", one.receipt);
            Err(Refusal::new(Code::Malformed, detail))
        }
        Outcome::Accept
        | Outcome::Release { .. }
        | Outcome::Reject { .. }
        | Outcome::Renew { .. } => Ok(()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    partition: Option<u32>,
    from: Option<i64>,
    max: Option<u32>,
}

async fn browse(
    kind: Kind,
    State(app): State<App>,
    Name(name): Name,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answered {
    let wanted = query(wanted)?;
    let browse = Browse {
        partition: wanted.partition.unwrap_or(0),
        from: wanted.from.unwrap_or(0),
        records_max: wanted
            .max
            .unwrap_or(100)
            .clamp(1, limits::BROWSE_RECORDS_MAX),
    };
    let which = Which { kind, name: &name };
    let page = app.gate.backend()?.queues()?.browse(which, browse).await?;
    json(StatusCode::OK, &page)
}
