//! `/api/v1/status`: what the server is and how it is.

use axum::extract::State;
use axum::http::StatusCode;

use super::{Answered, App, json, metrics};
use crate::model::Status;

pub(super) async fn status(State(app): State<App>) -> Answered {
    let backend = app.gate.backend()?;
    let broker = backend.status().await?;
    let metrics = metrics::totals(&backend.counters().await?);
    let options = &app.options;
    let uptime_ms = (options.now)().0.saturating_sub(options.started.0);
    let status = Status {
        version: options.version.clone(),
        started: options.started,
        uptime_seconds: u64::try_from(uptime_ms / 1000).unwrap_or(0),
        draining: app.gate.is_draining(),
        data_dir: options.data_dir.clone(),
        listeners: app.gate.listeners(),
        broker,
        metrics,
    };
    json(StatusCode::OK, &status)
}
