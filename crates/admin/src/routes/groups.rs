//! `/api/v1/groups` and what lies below.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::{Answered, App, Name, json};
use crate::model::ResetOffsets;

pub(super) async fn list(State(app): State<App>) -> Answered {
    let groups = app.gate.backend()?.list_groups().await?;
    json(StatusCode::OK, &groups)
}

pub(super) async fn describe(State(app): State<App>, Name(name): Name) -> Answered {
    let group = app.gate.backend()?.describe_group(&name).await?;
    json(StatusCode::OK, &group)
}

pub(super) async fn reset(State(app): State<App>, Name(name): Name, request: Request) -> Answered {
    let (reset, _held): (ResetOffsets, _) = app.parsed(request).await?;
    let done = app.gate.backend()?.reset_group(&name, reset).await?;
    json(StatusCode::OK, &done)
}

pub(super) async fn delete(State(app): State<App>, Name(name): Name) -> Answered {
    app.gate.backend()?.delete_group(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
