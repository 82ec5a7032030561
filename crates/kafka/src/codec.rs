//! Bytes to requests and answers to bytes: framing, headers, and the guard before decoding.
//!
//! A request comes as four bytes of length and a body; a body is a header and a message of one of
//! some ninety schemas. The schemas are those of the crate `kafka-protocol`. It reserves memory for
//! as many elements as a list announces, so every request is first walked through by [`shape`], which
//! allocates nothing and turns down what is not really there.

pub(crate) mod answer;
pub(crate) mod codes;
pub(crate) mod header;
pub(crate) mod inbox;
pub(crate) mod shape;
pub(crate) mod shapes;
pub(crate) mod subscription;
mod walker;

use bytes::Bytes;
use kafka_protocol::protocol::Decodable;
use mulgil_broker::connection::Hangup;

use header::Head;

/// Decodes the message behind `head`, after checking that all it announces is there.
///
/// Bytes beyond the message are passed over, as Kafka's own broker does.
///
/// # Errors
///
/// What the peer sent is not a message of that key and version; Kafka closes the connection then.
pub(crate) fn decode<T: Decodable>(head: &Head, mut body: Bytes) -> Result<T, Hangup> {
    let left = shape::check(head.key, head.version, &body)
        .map_err(|what| hangup(head, &what.to_string()))?;
    let message =
        T::decode(&mut body, head.version).map_err(|error| hangup(head, &error.to_string()))?;
    // What was walked through must be what was decoded, or the walk has proved nothing.
    if body.len() != left {
        return Err(hangup(head, "its shape is not that of its schema"));
    }
    Ok(message)
}

fn hangup(head: &Head, what: &str) -> Hangup {
    Hangup {
        why: format!(
            "malformed {:?} request, version {}: {what}",
            head.key, head.version
        ),
    }
}
