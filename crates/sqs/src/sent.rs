//! Answers on their way: what of all of them is not sent yet is counted, so that clients who ask for much and read
//! nothing come to an end of it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// So much is handed on at a time: what lies below it has a small buffer of its own.
const PIECE: usize = 64 << 10;

/// Bytes that wait to be sent, of all connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsent(Arc<AtomicUsize>);

impl Unsent {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// The body of an answer, which counts until it is sent or given up.
    pub(crate) fn body(&self, bytes: Bytes) -> Answered {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Answered {
            rest: bytes,
            unsent: self.clone(),
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Answered {
    rest: Bytes,
    unsent: Unsent,
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        self.unsent.0.fetch_sub(length, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.unsent.0.fetch_sub(self.rest.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_not_sent_counts() {
        let unsent = Unsent::default();
        let bytes = Bytes::from(vec![7; PIECE + 5]);
        let mut body = unsent.body(bytes.clone());
        assert_eq!(unsent.bytes(), PIECE + 5);
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((first.len(), unsent.bytes()), (PIECE, 5));
        drop(body);
        assert_eq!(unsent.bytes(), 0);
        let all = unsent.body(bytes.clone()).collect().await.unwrap();
        assert_eq!((all.to_bytes(), unsent.bytes()), (bytes, 0));
    }
}
