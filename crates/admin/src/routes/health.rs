//! `/livez`, `/readyz`, `/startupz`: 200 or 503, with reasons.
//!
//! A server that stops is alive and not ready. `?verbose=1` lists also the checks that passed;
//! `?exclude=NAME` leaves a check out, and may stand there more than once, separated by commas.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::{Answered, App, json, query};
use crate::model::{Check, Health, Recovery};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    verbose: Option<u8>,
    exclude: Option<String>,
}

type Question = Result<Query<Asked>, QueryRejection>;

pub(super) async fn live(State(app): State<App>, asked: Question) -> Answered {
    // While it starts there is nothing that could hang but recovery, and /startupz is for that.
    let checks = app
        .gate
        .backend()
        .map(|backend| backend.live())
        .unwrap_or_default();
    answer(query(asked)?, checks, Startup::default())
}

pub(super) async fn ready(State(app): State<App>, asked: Question) -> Answered {
    let asked = query(asked)?;
    let mut checks = vec![check(
        "started",
        app.gate.is_open(),
        "the broker is starting",
    )];
    checks.push(check(
        "not_draining",
        !app.gate.is_draining(),
        "the broker is stopping",
    ));
    if let Ok(backend) = app.gate.backend() {
        match backend.ready().await {
            Ok(more) => checks.extend(more),
            Err(refusal) => checks.push(check("broker", false, &refusal.detail)),
        }
    }
    answer(asked, checks, Startup::default())
}

pub(super) async fn startup(State(app): State<App>, asked: Question) -> Answered {
    let recovery = app.gate.recovery();
    let reason = recovery.as_ref().map_or_else(
        || "the broker is starting".to_owned(),
        |now| {
            let (phase, read, total) = (&now.phase, now.bytes_read, now.bytes_total);
            format!("recovery, phase {phase}: {read} of {total} bytes read")
        },
    );
    let checks = vec![check("started", app.gate.is_open(), &reason)];
    let startup = Startup {
        percent: Some(
            recovery
                .as_ref()
                .map_or_else(|| app.gate.progress(), Recovery::percent),
        ),
        recovery,
    };
    answer(query(asked)?, checks, startup)
}

/// What only `/startupz` tells.
#[derive(Default)]
struct Startup {
    percent: Option<u8>,
    recovery: Option<Recovery>,
}

fn check(name: &str, ok: bool, reason: &str) -> Check {
    Check {
        name: name.to_owned(),
        ok,
        reason: (!ok).then(|| reason.to_owned()),
    }
}

fn answer(asked: Asked, mut checks: Vec<Check>, startup: Startup) -> Answered {
    let left_out = asked.exclude.unwrap_or_default();
    checks.retain(|check| !left_out.split(',').any(|name| name == check.name));
    let ok = checks.iter().all(|check| check.ok);
    if asked.verbose.unwrap_or(0) == 0 {
        checks.retain(|check| !check.ok);
    }
    let status = if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(
        status,
        &Health {
            ok,
            progress_percent: startup.percent,
            recovery: startup.recovery,
            checks,
        },
    )
}
