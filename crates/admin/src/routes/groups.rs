//! `/api/v1/groups` and what lies below.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::{Answered, App, json, name, parsed};
use crate::model::ResetOffsets;

pub(super) async fn list(State(app): State<App>) -> Answered {
    let groups = app.gate.backend()?.list_groups().await?;
    json(StatusCode::OK, &groups)
}

pub(super) async fn describe(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Answered {
    let group = app.gate.backend()?.describe_group(&name(path)?).await?;
    json(StatusCode::OK, &group)
}

pub(super) async fn reset(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answered {
    let name = name(path)?;
    let body = app.body(request, "application/json").await?;
    let reset: ResetOffsets = parsed(&body.bytes)?;
    let done = app.gate.backend()?.reset_group(&name, reset).await?;
    json(StatusCode::OK, &done)
}

pub(super) async fn delete(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Answered {
    app.gate.backend()?.delete_group(&name(path)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
