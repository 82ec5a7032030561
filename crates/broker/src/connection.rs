//! What a protocol's connection and the socket loop say to each other: sans-io.
//!
//! A door is a [`Connection`]: bytes and answers in, bytes and requests out, and the next deadline.
//! It is tested without sockets, by the million.

use bytes::Bytes;
use mulgil_core::machine::{Elapsed, Now};

use crate::request::{Reply, Request, Ticket};

/// What happened to a connection since the last turn.
#[derive(Debug)]
pub enum Input {
    /// Bytes from the peer, exactly as they came.
    Received(Bytes),
    /// The broker's answer to an earlier [`Output::Ask`].
    Answered(Ticket, Reply),
    /// All that was to be sent has left: more may be produced.
    Drained,
    /// The deadline that the connection asked for has come.
    DeadlineReached,
}

/// What a connection wants done, in order.
#[derive(Debug)]
pub enum Output {
    /// Bytes for the peer; several go out in one vectored write.
    Send(Bytes),
    /// A request to the broker.
    Ask(Ticket, Request),
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hangup {
    /// For the log: what the peer did.
    pub why: String,
}

/// One client connection of one protocol, without the socket.
pub trait Connection: Sized {
    /// Takes one input and writes all that follows from it to `out`.
    ///
    /// Consumes the connection, so that one which has hung up cannot be fed again.
    ///
    /// # Errors
    ///
    /// The connection is over; what is already in `out` is still sent.
    fn handle(self, input: Input, now: Now, out: &mut Vec<Output>) -> Result<Self, Hangup>;

    /// So many nanoseconds of a thread were spent on the connection since the last turn.
    fn spent(&mut self, _nanos: u64, _now: Now) {}

    /// When the shell must come back with [`Input::DeadlineReached`], if at all.
    fn deadline(&self) -> Option<Elapsed>;

    /// Whether the connection has so much unfinished that no more bytes should be read.
    fn is_full(&self) -> bool;

    /// How many bytes the connection keeps in its buffers, for the global budget.
    fn buffered_bytes(&self) -> usize;
}
