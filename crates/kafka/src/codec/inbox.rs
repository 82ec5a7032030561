//! Received bytes that are not yet requests.
//!
//! A request is preceded by its length. The length is checked before anything else is done, and it
//! never makes the inbox reserve memory: what is kept grows only with what was really received. A
//! request that lies within one received piece is handed out without a copy; one that spans several
//! is put together once, when its last byte is there.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Pieces below this are copied if what they begin or go on with does not end in them: each is a part of
/// a buffer of twice this size, which many connections share and which one byte of it would keep.
pub(crate) const KEPT_PIECE_BYTES: usize = 128 << 10;

/// Bytes of the length before each request.
const LENGTH_BYTES: usize = 4;

/// What has been received and not yet taken.
#[derive(Debug)]
pub(crate) struct Inbox {
    pieces: VecDeque<Bytes>,
    /// Small pieces, after all of `pieces`.
    gathered: BytesMut,
    /// The last of `pieces` is a part of a buffer that others have parts of.
    shared: bool,
    buffered: usize,
    request_bytes_max: usize,
}

/// A length that no request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request of {announced} bytes was announced, at most {most} are taken")]
pub(crate) struct BadLength {
    /// What the peer announced.
    pub(crate) announced: i32,
    /// The limit, Kafka's `socket.request.max.bytes`.
    pub(crate) most: usize,
}

impl Inbox {
    pub(crate) fn new(request_bytes_max: usize) -> Self {
        Self {
            pieces: VecDeque::new(),
            gathered: BytesMut::new(),
            shared: false,
            buffered: 0,
            request_bytes_max,
        }
    }

    /// How many bytes are kept.
    pub(crate) const fn buffered(&self) -> usize {
        self.buffered
    }

    /// Takes what was received.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.buffered += piece.len();
        if piece.len() >= KEPT_PIECE_BYTES || self.buffered == piece.len() {
            self.flush_gathered();
            if !piece.is_empty() {
                self.pieces.push_back(piece);
                self.shared = true;
            }
        } else {
            self.gathered.extend_from_slice(&piece);
        }
    }

    /// Lets go of a shared buffer of which only a little is left here. To be called when no more
    /// requests are taken for now.
    pub(crate) fn settle(&mut self) {
        if !self.shared {
            return;
        }
        match self.pieces.back_mut() {
            Some(last) if last.len() >= KEPT_PIECE_BYTES => return,
            Some(last) => *last = Bytes::copy_from_slice(last),
            None => {}
        }
        self.shared = false;
    }

    /// The key of the next request, if that request is there as a whole.
    ///
    /// # Errors
    ///
    /// The announced length is negative, too short for a key, or over the limit.
    pub(crate) fn peek_key(&self) -> Result<Option<i16>, BadLength> {
        let Some(length) = self.next_length()? else {
            return Ok(None);
        };
        if self.buffered < LENGTH_BYTES + length {
            return Ok(None);
        }
        let mut head = [0; LENGTH_BYTES + 2];
        Ok(self
            .peek(&mut head)
            .then(|| i16::from_be_bytes([head[4], head[5]])))
    }

    /// Takes the next request, without its length, if it is there as a whole.
    ///
    /// # Errors
    ///
    /// As [`Self::peek_key`].
    pub(crate) fn take(&mut self) -> Result<Option<Bytes>, BadLength> {
        let Some(length) = self.next_length()? else {
            return Ok(None);
        };
        if self.buffered < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.flush_gathered();
        self.skip(LENGTH_BYTES);
        Ok(Some(self.split(length)))
    }

    fn next_length(&self) -> Result<Option<usize>, BadLength> {
        let mut length = [0; LENGTH_BYTES];
        if !self.peek(&mut length) {
            return Ok(None);
        }
        let announced = i32::from_be_bytes(length);
        let bad = BadLength {
            announced,
            most: self.request_bytes_max,
        };
        // Key, version and correlation id are the least that a request has.
        match usize::try_from(announced) {
            Ok(length) if (8..=self.request_bytes_max).contains(&length) => Ok(Some(length)),
            Ok(_) | Err(_) => Err(bad),
        }
    }

    /// Copies the first bytes to `into`, if there are so many.
    fn peek(&self, into: &mut [u8]) -> bool {
        if self.buffered < into.len() {
            return false;
        }
        let all = self
            .pieces
            .iter()
            .map(|p| &p[..])
            .chain([&self.gathered[..]]);
        for (to, from) in into.iter_mut().zip(all.flatten()) {
            *to = *from;
        }
        true
    }

    fn flush_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.pieces.push_back(self.gathered.split().freeze());
        }
    }

    fn skip(&mut self, mut count: usize) {
        self.buffered -= count;
        while count > 0 {
            let Some(first) = self.pieces.front_mut() else {
                return;
            };
            let step = count.min(first.len());
            first.advance(step);
            count -= step;
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    fn split(&mut self, length: usize) -> Bytes {
        if let Some(first) = self.pieces.front_mut()
            && first.len() >= length
        {
            let whole = first.split_to(length);
            self.skip_empty();
            self.buffered -= length;
            return whole;
        }
        let mut whole = BytesMut::with_capacity(length);
        while whole.len() < length {
            let Some(first) = self.pieces.front() else {
                break;
            };
            let step = (length - whole.len()).min(first.len());
            whole.extend_from_slice(first.get(..step).unwrap_or(first));
            self.skip(step);
        }
        whole.freeze()
    }

    fn skip_empty(&mut self) {
        while self.pieces.front().is_some_and(Bytes::is_empty) {
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(body.len()).unwrap();
        [&length.to_be_bytes(), body].concat()
    }

    #[test]
    fn a_request_in_one_piece_is_not_copied() {
        let mut inbox = Inbox::new(1000);
        let sent = Bytes::from(framed(b"0123456789"));
        inbox.push(sent.clone());
        let got = inbox.take().unwrap().unwrap();
        assert_eq!(got.as_ptr(), sent[4..].as_ptr());
        assert_eq!(inbox.buffered(), 0);
    }

    #[test]
    fn requests_come_out_whole_however_they_were_cut() {
        let bodies: Vec<Vec<u8>> = (8..40_u8).map(|n| vec![n; usize::from(n) * 150]).collect();
        let stream: Vec<u8> = bodies.iter().flat_map(|b| framed(b)).collect();
        for step in [1, 2, 3, 7, 100, 4095, 4096, 5000, 20_000] {
            let mut inbox = Inbox::new(10_000);
            let mut got = Vec::new();
            for piece in stream.chunks(step) {
                inbox.push(Bytes::copy_from_slice(piece));
                let whole = std::iter::from_fn(|| inbox.take().unwrap());
                got.extend(whole.map(|body| body.to_vec()));
            }
            assert!(got == bodies, "cut at {step}");
            assert_eq!(inbox.buffered(), 0);
            assert!(inbox.pieces.is_empty() && inbox.gathered.is_empty());
        }
    }

    #[test]
    fn an_absurd_length_is_refused_at_its_fourth_byte() {
        for announced in [-1, 0, 7, 1001, i32::MAX, i32::MIN] {
            let mut inbox = Inbox::new(1000);
            let bytes = announced.to_be_bytes();
            inbox.push(Bytes::copy_from_slice(&bytes[..3]));
            assert_eq!(inbox.take(), Ok(None));
            inbox.push(Bytes::copy_from_slice(&bytes[3..]));
            assert_eq!(
                inbox.take(),
                Err(BadLength {
                    announced,
                    most: 1000
                })
            );
        }
    }

    #[test]
    fn an_announced_length_reserves_nothing() {
        let mut inbox = Inbox::new(100_000_000);
        inbox.push(Bytes::copy_from_slice(&99_999_999_i32.to_be_bytes()));
        inbox.push(Bytes::from_static(b"x"));
        assert_eq!(inbox.take(), Ok(None));
        assert!(inbox.gathered.capacity() < 4096);
    }

    #[test]
    fn a_little_of_a_shared_buffer_does_not_keep_it() {
        let whole = framed(&[7; 200]);
        let big = framed(&vec![8; 3 * KEPT_PIECE_BYTES]);
        // The begin of a request, what is left behind a whole one, and what is left of a large piece.
        let cases = [
            whole[..5].to_vec(),
            [&whole[..], &whole[..9]].concat(),
            [&whole[..], &big[..20]].concat(),
            [&big[..], &whole[..1]].concat(),
        ];
        for received in cases {
            let mut inbox = Inbox::new(10_000_000);
            let buffer = Bytes::from(received);
            inbox.push(buffer.clone());
            while inbox.take().unwrap().is_some() {}
            inbox.settle();
            assert!(buffer.is_unique(), "{} bytes", inbox.buffered());
            assert!(inbox.buffered() > 0);
        }
        // In the midst of a request, too; what is large is worth its buffer.
        let mut inbox = Inbox::new(10_000_000);
        for (from, to, kept) in [(0, 10, false), (10, 9_000, false), (9_000, 300_000, true)] {
            let buffer = Bytes::copy_from_slice(&big[from..to]);
            inbox.push(buffer.clone());
            assert_eq!(inbox.take(), Ok(None));
            inbox.settle();
            assert_eq!(!buffer.is_unique(), kept);
        }
        inbox.push(Bytes::copy_from_slice(&big[300_000..]));
        assert_eq!(inbox.take().unwrap().unwrap(), big[4..]);
        assert_eq!(inbox.buffered(), 0);
    }
}
