//! `ApiVersions`: which requests are taken, in which versions (KIP-35, KIP-511, KIP-584).
//!
//! No feature is claimed: `transaction.version`, `group.version` and `share.version` make clients use
//! protocols that are not served here.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use mulgil_broker::connection::Hangup;

use super::{Step, Turn};
use crate::codec::{answer, decode};
use crate::versions::{self, SUPPORTED, Supported};

/// The first version in which a client says what software it is.
const SINCE_SOFTWARE: i16 = 3;

pub(crate) fn start(body: Bytes, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let own = versions::of(ApiKey::ApiVersions);
    if !own.is_some_and(|s| (s.min..=s.max).contains(&turn.head.version)) {
        // A client that is newer than the broker finds out here which version to use (KIP-511).
        let refusal = ApiVersionsResponse::default()
            .with_error_code(ResponseError::UnsupportedVersion.code())
            .with_api_keys(own.into_iter().map(row).collect());
        turn.shared.figures.told(refusal.error_code);
        return Ok(Step::Done(vec![answer::encode_as(turn.head, 0, &refusal)?]));
    }
    let request: ApiVersionsRequest = decode(turn.head, body)?;
    let names = [
        &request.client_software_name,
        &request.client_software_version,
    ];
    if turn.since(SINCE_SOFTWARE) && !names.iter().all(|name| is_software_name(name)) {
        let code = ResponseError::InvalidRequest.code();
        return turn.answer(&ApiVersionsResponse::default().with_error_code(code));
    }
    tracing::debug!(software = %request.client_software_name,
        version = %request.client_software_version, client = turn.head.client_id(), "client");
    turn.answer(&ApiVersionsResponse::default().with_api_keys(SUPPORTED.iter().map(row).collect()))
}

fn row(supported: &Supported) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(supported.key as i16)
        .with_min_version(supported.advertised)
        .with_max_version(supported.max)
}

/// Letters, digits, `-` and `.`, with a letter or digit at both ends
/// (`ApiVersionsRequest.SOFTWARE_NAME_VERSION_PATTERN`).
fn is_software_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.iter()
        .all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}
