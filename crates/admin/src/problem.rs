//! An error answer: a refusal inside, problem JSON as RFC 9457 has it on the wire.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::catalogue::Code;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// Which kind.
    pub code: Code,
    /// What it was about, in lower case without a full stop.
    pub detail: String,
}

impl Refusal {
    /// A refusal; see the catalogue for the codes.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// A refusal as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A name for the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in one line, always the same for one code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code, `MG-1001`.
    pub code: String,
    /// What it was about this time.
    pub detail: String,
    /// What to do next.
    pub hint: String,
}

impl From<Refusal> for Problem {
    fn from(Refusal { code, detail }: Refusal) -> Self {
        let entry = code.entry();
        Self {
            kind: format!("urn:mulgil:error:{code}"),
            title: entry.title.into(),
            status: entry.http,
            code: code.to_string(),
            detail,
            hint: entry.next.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}
