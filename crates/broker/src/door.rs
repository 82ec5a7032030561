//! The socket loop: the only code that reads and writes sockets of binary protocols.
//!
//! A connection lives on one runtime from its first byte to its last. Its loop feeds what comes from
//! the socket and from the broker to the protocol's [`Connection`], and carries out what that wants:
//! bytes to the peer in one vectored write, requests to the broker in one visit to the lane. It stops
//! reading while answers are held back: a peer that sends without reading fills its own buffers.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::connection::{Connection, Hangup, Input, Output};
use crate::lane::Origin;
use crate::mailbox::Posted;
use crate::pulse::BEAT;
use crate::request::{Reply, Request, Ticket, VISIT_PARTS_MAX};
use crate::shell::Broker;

mod figures;

pub use figures::{DoorFigures, Ending, Held};

/// Unsent bytes of one connection at which the loop stops reading from it.
const UNSENT_BYTES_MAX: usize = 8 << 20;
/// Most pieces of one vectored write; the system takes at most 1,024.
const PIECES_MAX: usize = 256;
/// Bytes of unfinished requests of all connections, beyond which those with more than their share go.
const RECEIVED_BYTES_MAX: usize = 1 << 30;
/// What a connection may keep even then.
const RECEIVED_BYTES_FAIR: usize = 1 << 20;
/// Room made for one read from a socket, bytes.
const READ_BYTES: usize = 256 << 10;
/// Room below which a new buffer is made instead, bytes.
const READ_BYTES_MIN: usize = 16 << 10;

/// Limits of all doors together.
#[derive(Clone, Debug)]
pub struct DoorLimits {
    /// Open connections in the process.
    pub connections_max: usize,
    /// A connection that says nothing for so long is closed.
    pub idle_max: Duration,
}

impl Default for DoorLimits {
    fn default() -> Self {
        // Idle limit as Kafka's `connections.max.idle.ms`.
        Self {
            connections_max: 20_000,
            idle_max: Duration::from_secs(600),
        }
    }
}

/// Why a connection is over: how, and in words.
#[derive(Debug)]
struct Over {
    ending: Ending,
    why: String,
}

impl Over {
    fn new(ending: Ending, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { ending, why }
    }
}

impl From<io::Error> for Over {
    fn from(error: io::Error) -> Self {
        Self::new(Ending::Peer, error.to_string())
    }
}

impl From<Hangup> for Over {
    fn from(hangup: Hangup) -> Self {
        Self::new(Ending::Protocol, hangup.why)
    }
}

/// Where the connections of a runtime get their answers, by connection.
type Inboxes = Rc<RefCell<BTreeMap<u64, mpsc::UnboundedSender<(Ticket, Reply)>>>>;

/// One runtime's side of the doors: the connections that live on it.
#[derive(Clone)]
pub struct Hall {
    broker: Arc<Broker>,
    runtime: u16,
    inboxes: Inboxes,
    scratch: Rc<RefCell<BytesMut>>,
    limits: Arc<DoorLimits>,
    figures: Arc<DoorFigures>,
    stop: watch::Receiver<bool>,
}

impl std::fmt::Debug for Hall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hall")
            .field("runtime", &self.runtime)
            .finish_non_exhaustive()
    }
}

impl Hall {
    /// The hall of runtime number `runtime`.
    #[must_use]
    pub fn new(
        broker: Arc<Broker>,
        runtime: u16,
        limits: Arc<DoorLimits>,
        figures: Arc<DoorFigures>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (inboxes, scratch) = (Rc::default(), Rc::default());
        Self {
            broker,
            runtime,
            inboxes,
            scratch,
            limits,
            figures,
            stop,
        }
    }

    /// The broker behind it.
    #[must_use]
    pub const fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Hands what the broker posts for this runtime to its connections. Runs for as long as it.
    pub async fn deliver_forever(self) {
        let Some(mailbox) = self.broker.mailbox(self.runtime).cloned() else {
            return;
        };
        loop {
            let posted = mailbox.take().await;
            self.deliver(posted);
        }
    }

    fn deliver(&self, all: Vec<Posted>) {
        let mut retries = Vec::new();
        for posted in all {
            match posted {
                Posted::Reply(to, reply) => {
                    if let Some(inbox) = self.inboxes.borrow().get(&to.origin.connection) {
                        // A connection that is closing reads no more answers.
                        let _closing = inbox.send((to.ticket, reply));
                    }
                }
                Posted::Retry(id) => retries.push(id),
            }
        }
        if !retries.is_empty() {
            self.broker.resume(&retries);
        }
    }

    /// Hands over what lies in the mailbox now, when nobody waits for it any more.
    fn deliver_rest(&self) {
        if let Some(mailbox) = self.broker.mailbox(self.runtime) {
            self.deliver(mailbox.drain());
        }
    }

    /// Shows that the runtime still turns. Runs for as long as it.
    pub async fn beat_forever(self) {
        loop {
            let now = self.broker.now().elapsed;
            self.broker.pulse().runtime(self.runtime, now);
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Serves one connection until it ends.
    pub async fn serve<C: Connection>(self, stream: TcpStream, peer: SocketAddr, connection: C) {
        if self.figures.open.fetch_add(1, Ordering::Relaxed) >= self.limits.connections_max {
            self.figures.open.fetch_sub(1, Ordering::Relaxed);
            self.figures.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%peer, limit = self.limits.connections_max, "connection refused: limit");
            return;
        }
        self.figures.opened.fetch_add(1, Ordering::Relaxed);
        let origin = Origin {
            runtime: self.runtime,
            connection: self.broker.new_connection(),
        };
        let (sender, inbox) = mpsc::unbounded_channel();
        self.inboxes.borrow_mut().insert(origin.connection, sender);
        let mut session = Session {
            hall: &self,
            origin,
            stream,
            inbox,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            outputs: Vec::new(),
            asks: VecDeque::new(),
            buffered: 0,
        };
        let Over { ending, why } = session.run(connection).await;
        self.figures.ended(ending);
        self.broker
            .unsent()
            .fetch_sub(session.unsent_bytes, Ordering::Relaxed);
        self.broker
            .received()
            .fetch_sub(session.buffered, Ordering::Relaxed);
        tracing::debug!(%peer, %why, "connection closed");
        self.inboxes.borrow_mut().remove(&origin.connection);
        self.broker.forget(origin);
        self.figures.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts connections and spreads them over the runtimes.
///
/// Ends when `stop` says so.
pub async fn accept(
    listener: TcpListener,
    halls: Vec<mpsc::UnboundedSender<(std::net::TcpStream, SocketAddr)>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut next = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok(connection) => {
                if let Some(hall) = halls.get(next % halls.len().max(1)) {
                    // A runtime that is gone takes nobody: the process is ending.
                    let _ending = hall.send(connection);
                }
                next += 1;
            }
            Err(error) => {
                // Out of file descriptors, most likely: others must be able to finish.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// How many of the oldest asks enter the lane at once: one in any case.
fn one_visit(asks: &VecDeque<(Ticket, Request)>) -> usize {
    let mut parts = 0;
    let fitting = asks.iter().take_while(|(_, ask)| {
        parts += ask.parts();
        parts <= VISIT_PARTS_MAX
    });
    fitting.count().max(1)
}

/// One connection while it is served.
struct Session<'a> {
    hall: &'a Hall,
    origin: Origin,
    stream: TcpStream,
    inbox: mpsc::UnboundedReceiver<(Ticket, Reply)>,
    unsent: VecDeque<Bytes>,
    unsent_bytes: usize,
    outputs: Vec<Output>,
    asks: VecDeque<(Ticket, Request)>,
    /// Bytes that the connection keeps, as they count towards the budget of all.
    buffered: usize,
}

/// What woke a session.
enum Woken {
    Readable(io::Result<()>),
    Writable(io::Result<()>),
    Answered(Option<(Ticket, Reply)>),
    Deadline,
    Idle,
    Stop,
}

impl Session<'_> {
    /// Serves the connection; says why it ended.
    async fn run<C: Connection>(&mut self, mut connection: C) -> Over {
        if let Err(error) = self.stream.set_nodelay(true) {
            return error.into();
        }
        loop {
            let had = self.unsent_bytes;
            if let Err(error) = self.write() {
                return error.into();
            }
            if had > 0 && self.unsent_bytes == 0 {
                match self.feed(connection, Input::Drained) {
                    Ok(fed) => connection = fed,
                    Err(over) => return self.hang_up(over).await,
                }
                if self.unsent_bytes > 0 {
                    continue;
                }
            }
            let woken = self.wait(&connection).await;
            let fed = match woken {
                Woken::Answered(Some((ticket, reply))) => self.answered(connection, ticket, reply),
                Woken::Readable(Ok(())) => match self.read() {
                    Ok(Some(bytes)) => self
                        .feed(connection, Input::Received(bytes))
                        .and_then(|connection| self.within_budget(connection)),
                    Ok(None) => Ok(connection),
                    Err(error) => return error.into(),
                },
                Woken::Writable(Ok(())) => Ok(connection),
                Woken::Deadline => self.feed(connection, Input::DeadlineReached),
                Woken::Readable(Err(error)) | Woken::Writable(Err(error)) => return error.into(),
                Woken::Answered(None) => {
                    return Over::new(Ending::Stopping, "the runtime is ending");
                }
                Woken::Idle => return Over::new(Ending::Idle, "idle for too long"),
                Woken::Stop => return self.stop(connection).await,
            };
            match fed {
                Ok(fed) => connection = fed,
                Err(over) => return self.hang_up(over).await,
            }
        }
    }

    async fn wait<C: Connection>(&mut self, connection: &C) -> Woken {
        let held = if self.unsent_bytes >= UNSENT_BYTES_MAX {
            Some(Held::Unsent)
        } else {
            connection.is_full().then_some(Held::Requests)
        };
        let may_read = held.is_none();
        let now = self.hall.broker.now().elapsed.0;
        let deadline = connection.deadline();
        let until = deadline.map_or(0, |due| due.0.saturating_sub(now));
        let mut stop = self.hall.stop.clone();
        let woken = tokio::select! {
            biased;
            answered = self.inbox.recv() => Woken::Answered(answered),
            ready = self.stream.writable(), if self.unsent_bytes > 0 => Woken::Writable(ready),
            ready = self.stream.readable(), if may_read => Woken::Readable(ready),
            () = tokio::time::sleep(Duration::from_millis(until)), if deadline.is_some() => {
                Woken::Deadline
            }
            _ = stop.wait_for(|stop| *stop) => Woken::Stop,
            () = tokio::time::sleep(self.hall.limits.idle_max) => Woken::Idle,
        };
        if let Some(why) = held {
            let waited = self.hall.broker.now().elapsed.0.saturating_sub(now);
            self.hall.figures.held(why, waited);
        }
        woken
    }

    /// Feeds an answer, and all others that have come with it.
    fn answered<C: Connection>(
        &mut self,
        connection: C,
        ticket: Ticket,
        reply: Reply,
    ) -> Result<C, Over> {
        let mut connection = self.feed(connection, Input::Answered(ticket, reply))?;
        while let Ok((ticket, reply)) = self.inbox.try_recv() {
            connection = self.feed(connection, Input::Answered(ticket, reply))?;
        }
        Ok(connection)
    }

    /// Feeds the connection and carries out what it wants, until it wants no more.
    fn feed<C: Connection>(&mut self, connection: C, input: Input) -> Result<C, Over> {
        let (now, began) = (self.hall.broker.now(), self.hall.broker.ran_ns());
        let fed = connection.handle(input, now, &mut self.outputs);
        self.sort_outputs();
        let mut connection = fed?;
        while !self.asks.is_empty() {
            let count = one_visit(&self.asks);
            let asks = self.asks.drain(..count);
            let answers = self.hall.broker.enter(self.origin, asks);
            for (ticket, reply) in answers {
                let fed = connection.handle(Input::Answered(ticket, reply), now, &mut self.outputs);
                self.sort_outputs();
                connection = fed?;
            }
        }
        let spent = self.hall.broker.ran_ns().saturating_sub(began);
        connection.spent(spent, now);
        Ok(connection)
    }

    fn sort_outputs(&mut self) {
        for output in self.outputs.drain(..) {
            match output {
                Output::Send(bytes) if bytes.is_empty() => {}
                Output::Send(bytes) => {
                    self.unsent_bytes += bytes.len();
                    self.hall
                        .broker
                        .unsent()
                        .fetch_add(bytes.len(), Ordering::Relaxed);
                    self.unsent.push_back(bytes);
                }
                Output::Ask(ticket, request) => self.asks.push_back((ticket, request)),
            }
        }
    }

    /// Counts what the connection keeps. When all together keep too much, those with much must go:
    /// who announces 100 MB, sends most of it and stops would otherwise take the memory of all.
    fn within_budget<C: Connection>(&mut self, connection: C) -> Result<C, Over> {
        let (now, received) = (connection.buffered_bytes(), self.hall.broker.received());
        let all = if now >= self.buffered {
            received.fetch_add(now - self.buffered, Ordering::Relaxed) + now - self.buffered
        } else {
            received.fetch_sub(self.buffered - now, Ordering::Relaxed) - (self.buffered - now)
        };
        self.buffered = now;
        if all > RECEIVED_BYTES_MAX && now > RECEIVED_BYTES_FAIR {
            let why = format!("{all} bytes of unfinished requests, {now} of them here");
            return Err(Over::new(Ending::Memory, why));
        }
        Ok(connection)
    }

    /// Reads what the socket has, as much as fits one buffer.
    ///
    /// The buffer is shared by all connections of the runtime, so that an idle one holds none.
    fn read(&self) -> io::Result<Option<Bytes>> {
        let mut scratch = self.hall.scratch.borrow_mut();
        if scratch.capacity() < READ_BYTES_MIN {
            *scratch = BytesMut::with_capacity(READ_BYTES);
        }
        match self.stream.try_read_buf(&mut *scratch) {
            Ok(0) => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "closed by the peer",
            )),
            Ok(read) => {
                self.hall
                    .figures
                    .bytes_received
                    .fetch_add(read, Ordering::Relaxed);
                Ok(Some(scratch.split().freeze()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes as much as the socket takes.
    fn write(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let pieces: Vec<_> = self
                .unsent
                .iter()
                .take(PIECES_MAX)
                .map(|piece| IoSlice::new(piece))
                .collect();
            match self.stream.try_write_vectored(&pieces) {
                Ok(written) => self.sent(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sent(&mut self, mut written: usize) {
        self.hall
            .figures
            .bytes_sent
            .fetch_add(written, Ordering::Relaxed);
        self.unsent_bytes -= written;
        self.hall
            .broker
            .unsent()
            .fetch_sub(written, Ordering::Relaxed);
        while let Some(first) = self.unsent.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.unsent.pop_front();
        }
    }

    /// Sends the answers that the broker gave before it stopped, and closes: a client that does not
    /// hear that its batch was taken sends it again.
    async fn stop<C: Connection>(&mut self, connection: C) -> Over {
        self.hall.deliver_rest();
        let fed = match self.inbox.try_recv() {
            Ok((ticket, reply)) => self.answered(connection, ticket, reply).map(|_| ()),
            Err(_) => Ok(()),
        };
        let over = fed
            .err()
            .unwrap_or_else(|| Over::new(Ending::Stopping, "the broker is stopping"));
        self.hang_up(over).await
    }

    /// Sends what is already there, for a short while, and closes.
    async fn hang_up(&mut self, over: Over) -> Over {
        let patience = Duration::from_secs(1);
        let send = async {
            while self.unsent_bytes > 0 {
                if self.stream.writable().await.is_err() || self.write().is_err() {
                    return;
                }
            }
        };
        // A peer that does not read loses what it did not read.
        let _gone = tokio::time::timeout(patience, send).await;
        over
    }
}
