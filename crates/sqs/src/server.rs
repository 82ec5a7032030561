//! HTTP: what comes in is bounded and checked before it is read, and answered in the form in which it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use mulgil_http::connection::{self, ConnectionLimits};
use mulgil_http::guard::{self, GuardRefusal, Hosts};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::answer;
use crate::door::{Caller, Door};
use crate::fault::{Fault, Kind};
use crate::figures::SqsFigures;
use crate::params::{self, Asked};
use crate::sent::{Answered, Unsent};
use crate::sign;

/// Largest body: a full batch whose every byte is escaped, or in percent encoding.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// Bodies of all connections together, KiB; a small one is not counted.
const BODIES_KIB_MAX: usize = 256 << 10;
const SMALL_BODY: usize = 16 << 10;
/// Bytes of answers that nobody has read yet; with more, nothing is received.
const UNSENT_MAX: usize = 256 << 20;
/// Connections at one time; beyond that they are closed.
pub const CONNECTIONS_MAX: u64 = 20_000;
/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(30);

const LIMITS: ConnectionLimits = ConnectionLimits {
    header_bytes_max: 32 << 10,
    headers_max: 100,
    // Clients keep connections for a while between two requests.
    header_time: Duration::from_secs(75),
    age: Duration::from_secs(60 * 60),
    grace: Duration::from_secs(5),
};

/// The listener's side of a door.
#[derive(Debug)]
pub struct Server {
    door: Arc<Door>,
    hosts: Hosts,
    bodies: Semaphore,
    unsent: Unsent,
    /// Where ids of requests begin, and how many there were.
    ids: (u128, AtomicU64),
    /// Seconds since 1970.
    now: fn() -> i64,
}

/// In which form somebody asks, and is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Query,
}

/// What is sent back.
type Answer = Response<Answered>;

/// What goes on with a connection is counted for as long as this lives.
struct Counted<'a>(&'a SqsFigures);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    /// A server that answers to loopback and `hosts`.
    #[must_use]
    pub fn new(door: Arc<Door>, hosts: Hosts, now: fn() -> i64) -> Self {
        Self {
            door,
            hosts,
            bodies: Semaphore::new(BODIES_KIB_MAX),
            unsent: Unsent::default(),
            ids: (Uuid::new_v4().as_u128(), AtomicU64::new(0)),
            now,
        }
    }

    /// Serves one connection until it ends, or `stop` turns true.
    pub async fn serve(&self, stream: TcpStream, peer: SocketAddr, stop: watch::Receiver<bool>) {
        let figures = &**self.door.figures();
        SqsFigures::add(&figures.opened, 1);
        let before = figures.open.fetch_add(1, Ordering::Relaxed);
        let _counted = Counted(figures);
        if before >= CONNECTIONS_MAX {
            SqsFigures::add(&figures.refused, 1);
            return tracing::warn!(%peer, "a connection too many");
        }
        let service = service_fn(async |request| Ok::<_, Infallible>(self.handle(request).await));
        connection::serve(stream, peer, service, LIMITS, stop).await;
    }

    /// An id for a request: no other of this service has it, and nobody need be kept from guessing it.
    fn next_id(&self) -> String {
        let (first, count) = &self.ids;
        let number = u128::from(count.fetch_add(1, Ordering::Relaxed));
        Uuid::from_u128(first.wrapping_add(number)).to_string()
    }

    async fn handle(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let form = form_of(&parts);
        let id = self.next_id();
        let figures = self.door.figures();
        let began = figures.now_us();
        let outcome = self.outcome(&parts, body, form).await;
        let answer = match &outcome {
            Ok((action, answer)) => {
                figures.answered(action, began);
                self.good(form, action, answer, &id)
            }
            Err(fault) => {
                figures.refused(fault);
                tracing::debug!(%fault, "request refused");
                self.bad(form, fault, &id)
            }
        };
        let Ok(id) = HeaderValue::from_str(&id) else {
            return answer;
        };
        let mut answer = answer;
        answer.headers_mut().insert("x-amzn-requestid", id);
        answer
    }

    async fn outcome(
        &self,
        parts: &Parts,
        body: Incoming,
        form: Form,
    ) -> Result<(String, serde_json::Value), Fault> {
        guard::verdict(&self.hosts, &parts.uri, &parts.headers).map_err(|refusal| {
            tracing::warn!(%refusal, "request refused");
            let message = match refusal {
                GuardRefusal::Host(host) => {
                    format!("Requests for the host {host} are not answered here.")
                }
                GuardRefusal::Origin(origin) => format!("Pages of {origin} may not ask here."),
            };
            Fault::new(Kind::AccessDenied, message)
        })?;
        if parts.method != Method::POST && parts.method != Method::GET {
            let message = format!("The method {} is not possible.", parts.method);
            return Err(Fault::new(Kind::InvalidAction, message));
        }
        let body = self.body(parts, body).await?;
        let signed = sign::Signed {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            body: &body,
        };
        let region = &self.door.owner().region;
        sign::check(self.door.keys(), region, signed, (self.now)())?;
        let asked = asked(parts, &body, form)?;
        // What was read of it is in there.
        drop(body);
        if asked.action == "ReceiveMessage" && self.unsent.bytes() > UNSENT_MAX {
            let message = "Too much that was received has not been read; try again.";
            return Err(Fault::new(Kind::ServiceUnavailable, message));
        }
        let caller = caller(parts);
        let answer = self.door.answer(&asked, &caller).await?;
        Ok((asked.action, answer))
    }

    /// Reads the body, if it is not too large and there is room for it.
    async fn body(&self, parts: &Parts, body: Incoming) -> Result<Bytes, Fault> {
        let too_large = || {
            let message = format!("The request has more than {BODY_BYTES_MAX} bytes.");
            Fault::new(Kind::RequestTooLarge, message)
        };
        if parts.method == Method::GET {
            return Ok(Bytes::new());
        }
        let hint = body.size_hint();
        let most = hint.upper().unwrap_or(BODY_BYTES_MAX as u64);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if most > BODY_BYTES_MAX {
            return Err(too_large());
        }
        let _permit = if most > SMALL_BODY {
            let kib = u32::try_from(most.div_ceil(1 << 10)).unwrap_or(u32::MAX);
            let permit = self.bodies.try_acquire_many(kib);
            let busy = |_none| {
                let message = "Too many large requests are under way; try again.";
                Fault::new(Kind::ServiceUnavailable, message)
            };
            Some(permit.map_err(busy)?)
        } else {
            None
        };
        let read = Limited::new(body, BODY_BYTES_MAX).collect();
        match tokio::time::timeout(BODY_TIME, read).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => Err(Fault::new(Kind::MalformedInput, error.to_string())),
            Err(_late) => {
                let message = "The request did not come in time.";
                Err(Fault::new(Kind::RequestTimeout, message))
            }
        }
    }

    fn good(&self, form: Form, action: &str, answer: &serde_json::Value, id: &str) -> Answer {
        let (kind, body) = match form {
            Form::Json => ("application/x-amz-json-1.0", answer.to_string()),
            Form::Query => ("text/xml", answer::xml(action, answer, id)),
        };
        self.response(StatusCode::OK, kind, body)
    }

    fn bad(&self, form: Form, fault: &Fault, id: &str) -> Answer {
        let status = StatusCode::from_u16(fault.kind.status()).unwrap_or(StatusCode::BAD_REQUEST);
        match form {
            Form::Json => {
                let mut answer = self.response(status, "application/x-amz-json-1.0", fault.json());
                if let Ok(code) = HeaderValue::from_str(&fault.query_error()) {
                    answer.headers_mut().insert("x-amzn-query-error", code);
                }
                answer
            }
            Form::Query => self.response(status, "text/xml", fault.xml(id)),
        }
    }

    fn response(&self, status: StatusCode, kind: &'static str, body: String) -> Answer {
        let mut answer = Response::new(self.unsent.body(Bytes::from(body)));
        *answer.status_mut() = status;
        let kind = HeaderValue::from_static(kind);
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        answer
    }
}

fn form_of(parts: &Parts) -> Form {
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-amz-json-1."));
    if json || parts.headers.contains_key("x-amz-target") {
        Form::Json
    } else {
        Form::Query
    }
}

fn asked(parts: &Parts, body: &[u8], form: Form) -> Result<Asked, Fault> {
    match form {
        Form::Json => {
            let target = parts.headers.get("x-amz-target");
            let target = target.and_then(|target| target.to_str().ok());
            params::from_json(target.unwrap_or_default(), body)
        }
        Form::Query if parts.method == Method::GET => {
            params::from_query(parts.uri.query().unwrap_or_default().as_bytes())
        }
        Form::Query => params::from_query(body),
    }
}

/// How the door was reached: queues are found at the same place.
fn caller(parts: &Parts) -> Caller {
    let text = |headers: &HeaderMap, name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let host = text(&parts.headers, "host").unwrap_or_default();
    // A proxy that ends TLS says so.
    let scheme = text(&parts.headers, "x-forwarded-proto").filter(|scheme| scheme == "https");
    let scheme = scheme.as_deref().unwrap_or("http");
    Caller {
        base: format!("{scheme}://{host}"),
        path: parts.uri.path().to_owned(),
    }
}
