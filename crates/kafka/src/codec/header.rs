//! The header of a request: what is asked, in which version, and what to call the answer.
//!
//! Read by hand, because its form depends on key and version, and because what the peer may put in
//! its tagged fields is of no use and should not be kept.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::ApiKey;

use super::walker::{Flaw, Walker};

/// The header of a request.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// What is asked.
    pub(crate) key: ApiKey,
    /// In which version of that key's schema.
    pub(crate) version: i16,
    /// Comes back in the answer.
    pub(crate) correlation: i32,
    /// What the client calls itself; empty if it does not say.
    pub(crate) client_id: Bytes,
}

/// Why a header cannot be used. Kafka closes the connection without an answer
/// (`RequestHeader.parse` and `SocketServer.parseRequestHeader` throw).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHead {
    /// No such key in the protocol.
    #[error("unknown api key {0}")]
    UnknownKey(i16),
    /// It is not a header.
    #[error("malformed request header: {0}")]
    Malformed(Flaw),
}

impl From<Flaw> for BadHead {
    fn from(flaw: Flaw) -> Self {
        Self::Malformed(flaw)
    }
}

impl Head {
    /// Takes the header off the front of a request.
    pub(crate) fn take_from(request: &mut Bytes) -> Result<Self, BadHead> {
        let mut walker = Walker::new(request);
        let key = walker.int16()?;
        let key = ApiKey::try_from(key).map_err(|()| BadHead::UnknownKey(key))?;
        let version = walker.int16()?;
        let correlation = walker.int32()?;
        let client_id = match walker.string()? {
            Some(id) if !id.is_empty() => request.slice_ref(id),
            Some(_) | None => Bytes::new(),
        };
        if key.request_header_version(version) >= 2 {
            for _ in 0..walker.varint()? {
                walker.varint()?;
                walker.compact_tag_value()?;
            }
        }
        request.advance(request.len() - walker.left());
        Ok(Self {
            key,
            version,
            correlation,
            client_id,
        })
    }

    /// What the client calls itself, as far as that is text.
    pub(crate) fn client_id(&self) -> &str {
        std::str::from_utf8(&self.client_id).unwrap_or("")
    }
}
