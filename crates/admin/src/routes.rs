//! Which path is answered by which function, and what holds for all of them.
//!
//! One file per resource below. From the outside to the inside a request passes: the guard against
//! foreign web pages, the time limit, the route.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::catalogue::Code;
use crate::gate::Gate;
use crate::guard;
use crate::limits;
use crate::problem::Refusal;
use crate::server::Options;

mod groups;
mod health;
mod metrics;
mod per_object;
mod queues;
mod records;
mod status;
mod topics;

/// What every route can reach.
#[derive(Clone, Debug)]
struct App {
    gate: Arc<Gate>,
    options: Arc<Options>,
    bodies: Arc<Semaphore>,
}

type Answered = Result<Response, Refusal>;

/// All routes, with the guard before them.
pub fn router(gate: Arc<Gate>, options: Options) -> Router {
    let hosts = options.hosts.clone();
    let bodies = Arc::new(Semaphore::new(limits::BODIES_MAX));
    let app = App {
        gate,
        options: Arc::new(options),
        bodies,
    };
    let api = Router::new()
        .route("/topics", get(topics::list).post(topics::create))
        .route(
            "/topics/{name}",
            get(topics::describe)
                .patch(topics::alter)
                .delete(topics::delete),
        )
        .route(
            "/topics/{name}/records",
            get(records::read).post(records::publish),
        )
        .route("/topics/{name}/trim", post(topics::trim))
        .route("/groups", get(groups::list))
        .route(
            "/groups/{name}",
            get(groups::describe).delete(groups::delete),
        )
        .route("/groups/{name}/offsets", post(groups::reset))
        .merge(queues::routes())
        .route("/status", get(status::status));
    Router::new()
        .nest("/api/v1", api)
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/startupz", get(health::startup))
        .route("/metrics", get(metrics::metrics))
        .route("/metrics/per-object", get(per_object::metrics))
        .fallback(nothing_here)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app)
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn_with_state(hosts, guard::check))
        .layer(middleware::map_response(harden))
}

async fn nothing_here(request: Request) -> Refusal {
    Refusal::new(Code::NoSuchPath, request.uri().path())
}

async fn no_such_method(request: Request) -> Refusal {
    Refusal::new(
        Code::NoSuchMethod,
        format!("{} {}", request.method(), request.uri().path()),
    )
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(limits::REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_late) => Refusal::new(Code::TimedOut, "the request took too long").into_response(),
    }
}

/// Headers that keep a browser from guessing types, framing answers or keeping them.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

fn json(status: StatusCode, value: &impl Serialize) -> Answered {
    let body = serde_json::to_vec(value)
        .map_err(|error| Refusal::new(Code::Internal, format!("the answer is no JSON: {error}")))?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// The name in the path of a topic or a group.
struct Name(String);

impl FromRequestParts<App> for Name {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let path = Path::from_request_parts(parts, app).await;
        path.map(|Path(name)| Self(name))
            .map_err(|why: PathRejection| Refusal::new(Code::Malformed, why.body_text()))
    }
}

fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    query
        .map(|Query(query)| query)
        .map_err(|why| Refusal::new(Code::Malformed, why.body_text()))
}

/// A body and the permit to hold it in memory.
struct Held<'a> {
    bytes: Bytes,
    _permit: SemaphorePermit<'a>,
}

impl App {
    /// The body of a request, which must be such JSON, and the permit to hold it.
    async fn parsed<T: DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<(T, Held<'_>), Refusal> {
        let body = self.body(request, "application/json").await?;
        let parsed = serde_json::from_slice(&body.bytes)
            .map_err(|error| Refusal::new(Code::Malformed, error.to_string()))?;
        Ok((parsed, body))
    }

    /// The body of a request, which must have the content type `kind`.
    async fn body(&self, request: Request, kind: &str) -> Result<Held<'_>, Refusal> {
        let given = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok());
        let given = given
            .and_then(|given| given.split(';').next())
            .unwrap_or_default()
            .trim();
        if !given.eq_ignore_ascii_case(kind) {
            return Err(Refusal::new(
                Code::ContentType,
                format!("\"{given}\", not {kind}"),
            ));
        }
        let permit = self.bodies.acquire().await;
        let permit = permit.map_err(|_closed| Refusal::new(Code::Stopping, "no more bodies"))?;
        let bytes = axum::body::to_bytes(request.into_body(), limits::BODY_BYTES_MAX).await;
        let most = limits::BODY_BYTES_MAX;
        let bytes = bytes.map_err(|_long| {
            Refusal::new(Code::TooLarge, format!("a body may have {most} bytes"))
        })?;
        Ok(Held {
            bytes,
            _permit: permit,
        })
    }
}
