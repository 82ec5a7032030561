//! Answers to bytes: length, header and message, or pieces of one with record batches in between.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Encodable;
use mulgil_broker::connection::Hangup;

use super::header::Head;

const LENGTH_BYTES: usize = 4;

/// Encodes `body` as the whole answer to the request with `head`.
///
/// # Errors
///
/// A field is set which that version does not have: a mistake of this door.
pub(crate) fn encode<T: Encodable>(head: &Head, body: &T) -> Result<Bytes, Hangup> {
    encode_as(head, head.version, body)
}

/// As [`encode`], in another version than the client asked for.
///
/// # Errors
///
/// As [`encode`].
pub(crate) fn encode_as<T: Encodable>(
    head: &Head,
    version: i16,
    body: &T,
) -> Result<Bytes, Hangup> {
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    put_header(&mut out, head, version);
    body.encode(&mut out, version).map_err(|error| Hangup {
        why: format!(
            "the answer to {:?} version {version} cannot be written: {error}",
            head.key
        ),
    })?;
    put_length(&mut out, 0)?;
    Ok(out.freeze())
}

/// An answer that is written by hand, with byte strings in it that are not copied.
#[derive(Debug)]
pub(crate) struct Pieces {
    done: Vec<Bytes>,
    /// Where `open` goes: the first piece begins with the length, which is known last.
    open: BytesMut,
    done_bytes: usize,
}

impl Pieces {
    /// Begins the answer to the request with `head`.
    pub(crate) fn new(head: &Head) -> Self {
        let mut open = BytesMut::with_capacity(256);
        open.put_i32(0);
        put_header(&mut open, head, head.version);
        Self {
            done: Vec::new(),
            open,
            done_bytes: 0,
        }
    }

    /// Where the next bytes go.
    pub(crate) const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.open
    }

    /// Puts `bytes` in without copying them.
    pub(crate) fn splice(&mut self, bytes: Bytes) {
        self.close();
        self.done_bytes += bytes.len();
        self.done.push(bytes);
    }

    /// Ends the answer.
    ///
    /// # Errors
    ///
    /// It is longer than 2 GiB.
    pub(crate) fn finish(mut self) -> Result<Vec<Bytes>, Hangup> {
        self.close();
        let Self {
            mut done,
            done_bytes,
            ..
        } = self;
        if let Some(first) = done.first_mut() {
            let mut begin = BytesMut::from(&first[..]);
            put_length(&mut begin, done_bytes - first.len())?;
            *first = begin.freeze();
        }
        Ok(done)
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            let piece = self.open.split().freeze();
            self.done_bytes += piece.len();
            self.done.push(piece);
        }
    }
}

/// `ApiVersions` answers with the oldest header whatever the version, so that a client which does not
/// yet know what the broker speaks can read it (KIP-511).
fn put_header(out: &mut BytesMut, head: &Head, version: i16) {
    out.put_i32(head.correlation);
    if head.key != ApiKey::ApiVersions && head.key.response_header_version(version) >= 1 {
        out.put_u8(0);
    }
}

/// Writes the length of all of `out` and of `more` bytes after it, without the length itself.
fn put_length(out: &mut BytesMut, more: usize) -> Result<(), Hangup> {
    let length = out.len() + more - LENGTH_BYTES;
    let length = i32::try_from(length).map_err(|_too_long| Hangup {
        why: format!("an answer of {length} bytes"),
    })?;
    if let Some(place) = out.first_chunk_mut() {
        *place = length.to_be_bytes();
    }
    Ok(())
}
