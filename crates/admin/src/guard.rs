//! Refuses what a foreign web page could send, see [`mulgil_http::guard`].

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
pub use mulgil_http::guard::Hosts;
use mulgil_http::guard::{GuardRefusal, verdict};

use crate::catalogue::Code;
use crate::problem::Refusal;

/// The middleware: answers a problem, or passes the request on.
pub async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match verdict(&hosts, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let refusal = match refusal {
                GuardRefusal::Host(why) => Refusal::new(Code::HostRefused, why),
                GuardRefusal::Origin(why) => Refusal::new(Code::OriginRefused, why),
            };
            tracing::warn!(code = %refusal.code, detail = %refusal.detail, "request refused");
            refusal.into_response()
        }
    }
}
