//! `/api/v1/topics` and `/api/v1/topics/{name}`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;

use super::{Answered, App, Name, json, query};
use crate::catalogue::Code;
use crate::limits;
use crate::model::{AlterTopic, CreateTopic, TrimTopic};
use crate::problem::Refusal;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    after: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn list(
    State(app): State<App>,
    page: Result<Query<Page>, QueryRejection>,
) -> Answered {
    let page = query(page)?;
    let limit = page
        .limit
        .unwrap_or(limits::PAGE_MAX)
        .clamp(1, limits::PAGE_MAX);
    let topics = app
        .gate
        .backend()?
        .list_topics(page.after.as_deref(), limit)
        .await?;
    json(StatusCode::OK, &topics)
}

pub(super) async fn create(State(app): State<App>, request: Request) -> Answered {
    let (topic, _held): (CreateTopic, _) = app.parsed(request).await?;
    check_name(&topic.name)?;
    let status = if topic.validate_only {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let created = app.gate.backend()?.create_topic(topic).await?;
    json(status, &created)
}

/// Refuses the names that no client of the broker could use.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let may = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let most = limits::TOPIC_NAME_BYTES_MAX;
    if (1..=most).contains(&name.len()) && name.bytes().all(may) && !matches!(name, "." | "..") {
        return Ok(());
    }
    let shown: String = name.chars().take(most).collect();
    let detail = format!("\"{shown}\", of {} bytes", name.len());
    Err(Refusal::new(Code::TopicName, detail))
}

pub(super) async fn describe(State(app): State<App>, Name(name): Name) -> Answered {
    let topic = app.gate.backend()?.describe_topic(&name).await?;
    json(StatusCode::OK, &topic)
}

pub(super) async fn alter(State(app): State<App>, Name(name): Name, request: Request) -> Answered {
    let (change, _held): (AlterTopic, _) = app.parsed(request).await?;
    if change == AlterTopic::default() {
        return Err(Refusal::new(Code::Malformed, "nothing is to be changed"));
    }
    let topic = app.gate.backend()?.alter_topic(&name, change).await?;
    json(StatusCode::OK, &topic)
}

pub(super) async fn trim(State(app): State<App>, Name(name): Name, request: Request) -> Answered {
    let (trim, _held): (TrimTopic, _) = app.parsed(request).await?;
    let topic = app.gate.backend()?.trim_topic(&name, trim).await?;
    json(StatusCode::OK, &topic)
}

pub(super) async fn delete(State(app): State<App>, Name(name): Name) -> Answered {
    app.gate.backend()?.delete_topic(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
