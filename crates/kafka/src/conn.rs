//! A client's connection: requests come in, answers go out in the order of the requests.
//!
//! Kafka works on one request of a connection at a time; what clients rely on is that a request sees
//! the effects of those before it. Here the same holds, except that produce requests overlap: they
//! are asked in their order and the broker keeps it, so that a producer with several batches under
//! way does not wait for a sync of each. Any other request starts when all before it are finished.
//!
//! ```text
//! Inbox -> start -> Slot(asked) -> Slot(done) -> Send, oldest first
//! ```

pub(crate) mod fetch_sessions;
mod pipeline;
pub(crate) mod session_room;

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use mulgil_broker::connection::{Connection, Hangup, Input, Output};
use mulgil_broker::core::machine::{Elapsed, Now};
use mulgil_broker::meta::quota::Limit;
use mulgil_broker::request::{Reply, Ticket};

use crate::api::{self, ANONYMOUS, Step, Turn};
use crate::codec::header::Head;
use crate::codec::inbox::{Inbox, KEPT_PIECE_BYTES};
use crate::shared::KafkaShared;
use crate::versions;
use fetch_sessions::FetchSessions;
use pipeline::Pipeline;

/// Most requests of one connection that are not finished.
const UNFINISHED_MAX: usize = 32;

/// So many bytes may wait for the peer to read them before nothing new is started. One answer more
/// may come on top: a fetch asks for as much as it likes, up to the broker's limit.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// A connection of a Kafka client, without the socket.
#[expect(missing_debug_implementations, reason = "components are opaque")]
pub struct KafkaConnection {
    /// Boxed, because a connection is moved with each input.
    state: Box<State>,
}

struct State {
    shared: Arc<KafkaShared>,
    peer: Arc<str>,
    inbox: Inbox,
    pipeline: Pipeline,
    sessions: FetchSessions,
    unsent: usize,
    /// What the client calls itself, as its last request has it.
    client: Bytes,
    /// Until when nothing is read or started: the client is over a quota.
    muted_until: Option<Elapsed>,
}

impl KafkaConnection {
    /// A connection that was just accepted from `peer`.
    #[must_use]
    pub fn new(shared: Arc<KafkaShared>, peer: IpAddr) -> Self {
        let state = State {
            inbox: Inbox::new(shared.options.request_bytes_max),
            sessions: FetchSessions::new(Arc::clone(&shared.sessions)),
            shared,
            // As Java writes an address, and so Kafka where it tells of a group's members.
            peer: Arc::from(format!("/{peer}")),
            pipeline: Pipeline::default(),
            unsent: 0,
            client: Bytes::new(),
            muted_until: None,
        };
        Self {
            state: Box::new(state),
        }
    }
}

impl Connection for KafkaConnection {
    fn handle(mut self, input: Input, now: Now, out: &mut Vec<Output>) -> Result<Self, Hangup> {
        let state = &mut *self.state;
        if state.muted_until.is_some_and(|until| until <= now.elapsed) {
            state.muted_until = None;
        }
        match input {
            Input::Received(bytes) => state.inbox.push(bytes),
            Input::Answered(ticket, reply) => state.answered(ticket, reply, now, out)?,
            Input::Drained => state.unsent = 0,
            Input::DeadlineReached => {}
        }
        state.go_on(now, out)?;
        state.inbox.settle();
        Ok(self)
    }

    fn spent(&mut self, nanos: u64, now: Now) {
        let state = &mut *self.state;
        let catalog = state.shared.catalog.catalog();
        if catalog.quotas.is_empty() {
            return;
        }
        // A second of a thread is 100 %, and a millionth of a hundredth of it ten nanoseconds.
        let (amount, limit) = (nanos / 10, Limit::RequestMicropercent);
        let client = std::str::from_utf8(&state.client).unwrap_or("");
        let meters = &state.shared.meters;
        let who = (ANONYMOUS, client);
        let wait = meters.charge(&catalog.quotas, limit, who, amount, now.elapsed);
        state.mute(wait, now);
    }

    /// The end of a quota's wait. Other waiting is the broker's, silence the socket loop's business.
    fn deadline(&self) -> Option<Elapsed> {
        self.state.muted_until
    }

    fn is_full(&self) -> bool {
        let state = &*self.state;
        state.unsent >= UNSENT_BYTES_MAX
            || state.muted_until.is_some()
            || state.pipeline.len() >= UNFINISHED_MAX
            || matches!(state.inbox.peek_key(), Ok(Some(_)))
    }

    fn buffered_bytes(&self) -> usize {
        let state = &*self.state;
        state.inbox.buffered() + state.pipeline.held_bytes() + state.sessions.bytes()
    }
}

impl State {
    /// Starts what can be started and sends what can be sent.
    fn go_on(&mut self, now: Now, out: &mut Vec<Output>) -> Result<(), Hangup> {
        loop {
            self.unsent += self.pipeline.send_finished(out, &self.shared.figures);
            let Some(key) = self.inbox.peek_key().map_err(|bad| hangup(&bad))? else {
                return Ok(());
            };
            if !self.may_start(key) {
                return Ok(());
            }
            let Some(mut request) = self.inbox.take().map_err(|bad| hangup(&bad))? else {
                return Ok(());
            };
            if key != ApiKey::Produce as i16 && request.len() < KEPT_PIECE_BYTES {
                // Names in it may be kept for as long as a fetch waits or a member lives, and the
                // buffer that they came in with them. What is produced is copied soon.
                request = Bytes::copy_from_slice(&request);
            }
            self.start(request, now, out)?;
        }
    }

    fn may_start(&self, key: i16) -> bool {
        let produce = ApiKey::Produce as i16;
        self.unsent < UNSENT_BYTES_MAX
            && self.muted_until.is_none()
            && self.pipeline.len() < UNFINISHED_MAX
            && (self.pipeline.is_empty()
                || (key == produce && self.pipeline.is_all(ApiKey::Produce)))
    }

    fn start(&mut self, mut request: Bytes, now: Now, out: &mut Vec<Output>) -> Result<(), Hangup> {
        let began_us = self.shared.figures.now_us();
        let head = Head::take_from(&mut request).map_err(|bad| hangup(&bad))?;
        // Kafka closes the connection without an answer too: `SocketServer.parseRequestHeader` throws
        // for what is not enabled, and the processor closes the channel.
        if !versions::is_supported(head.key, head.version) {
            let why = format!("{:?} version {} is not taken", head.key, head.version);
            return Err(Hangup { why });
        }
        let wait_ms = Cell::new(0);
        let mut turn = Turn {
            head: &head,
            now,
            shared: &self.shared,
            sessions: &mut self.sessions,
            peer: &self.peer,
            wait_ms: &wait_ms,
        };
        let step = api::start(request, &mut turn)?;
        self.mute(wait_ms.get(), now);
        if self.client != head.client_id {
            // A copy, or the whole request would stay.
            self.client = Bytes::copy_from_slice(&head.client_id);
        }
        self.pipeline.add(head, began_us, step, out);
        Ok(())
    }

    /// Reads and starts nothing for so long.
    fn mute(&mut self, wait_ms: u64, now: Now) {
        if wait_ms > 0 {
            let until = Elapsed(now.elapsed.0.saturating_add(wait_ms));
            self.muted_until = self.muted_until.max(Some(until));
        }
    }

    fn answered(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        now: Now,
        out: &mut Vec<Output>,
    ) -> Result<(), Hangup> {
        let Some(ready) = self.pipeline.take_reply(ticket, reply) else {
            return Ok(());
        };
        let wait_ms = Cell::new(0);
        let mut turn = Turn {
            head: &ready.head,
            now,
            shared: &self.shared,
            sessions: &mut self.sessions,
            peer: &self.peer,
            wait_ms: &wait_ms,
        };
        let step: Step = ready.waiting.answered(ready.replies, &mut turn)?;
        self.mute(wait_ms.get(), now);
        self.pipeline.put_back(ready.place, step, out);
        Ok(())
    }
}

fn hangup(why: &dyn std::error::Error) -> Hangup {
    Hangup {
        why: why.to_string(),
    }
}
