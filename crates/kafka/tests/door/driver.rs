//! Feeds a connection and carries out what it says.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable};
use mulgil_broker::connection::{Connection, Hangup, Input, Output};
use mulgil_broker::core::machine::{Elapsed, Now, WallTime};
use mulgil_broker::request::{Request, Ticket};
use mulgil_kafka::{KafkaConnection, KafkaFigures, KafkaOptions, KafkaShared};

use crate::broker::FakeBroker;
use crate::client::{answers, frame, open};

/// The wall clock of all tests: some time in 2026.
pub(crate) const WALL_MS: u64 = 1_780_000_000_000;

/// A connection, the broker behind it, and what has been sent.
pub(crate) struct Driver {
    connection: Option<KafkaConnection>,
    broker: Arc<FakeBroker>,
    pub(crate) elapsed: u64,
    /// Asked, but not answered.
    pub(crate) asked: Vec<(Ticket, Request)>,
    /// Sent, but not yet taken.
    sent: BytesMut,
    /// Pieces of what was sent, to see what was copied.
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) hangup: Option<Hangup>,
    pub(crate) figures: Arc<KafkaFigures>,
}

impl Driver {
    pub(crate) fn new(broker: &Arc<FakeBroker>) -> Self {
        Self::with_options(broker, KafkaOptions::default())
    }

    pub(crate) fn with_options(broker: &Arc<FakeBroker>, options: KafkaOptions) -> Self {
        let (broker, catalog, ids) = (Arc::clone(broker), Arc::clone(broker), Arc::clone(broker));
        let figures = Arc::new(KafkaFigures::new(|| 0));
        let shared = Arc::new(KafkaShared {
            options,
            catalog,
            ids,
            figures: Arc::clone(&figures),
            meters: Default::default(),
            sessions: Arc::default(),
        });
        Self {
            connection: Some(KafkaConnection::new(shared, Ipv4Addr::LOCALHOST.into())),
            broker,
            elapsed: 0,
            asked: Vec::new(),
            sent: BytesMut::new(),
            pieces: Vec::new(),
            hangup: None,
            figures,
        }
    }

    pub(crate) fn connection(&self) -> &KafkaConnection {
        self.connection.as_ref().expect("it has not hung up")
    }

    pub(crate) fn connection_mut(&mut self) -> &mut KafkaConnection {
        self.connection.as_mut().expect("it has not hung up")
    }

    pub(crate) fn input(&mut self, input: Input) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let now = Now {
            elapsed: Elapsed(self.elapsed),
            wall: WallTime(WALL_MS),
        };
        let mut out = Vec::new();
        match connection.handle(input, now, &mut out) {
            Ok(connection) => self.connection = Some(connection),
            Err(hangup) => self.hangup = Some(hangup),
        }
        for output in out {
            match output {
                Output::Send(bytes) => {
                    self.sent.extend_from_slice(&bytes);
                    self.pieces.push(bytes);
                }
                Output::Ask(ticket, request) => self.asked.push((ticket, request)),
            }
        }
    }

    pub(crate) fn receive(&mut self, bytes: impl Into<Bytes>) {
        self.input(Input::Received(bytes.into()));
    }

    /// Answers the request at place `at` of those that wait.
    pub(crate) fn answer_at(&mut self, at: usize) {
        let (ticket, request) = self.asked.remove(at);
        let reply = self.broker.answer(request);
        self.input(Input::Answered(ticket, reply));
    }

    /// Answers all requests, and those that follow from the answers.
    pub(crate) fn settle(&mut self) {
        while !self.asked.is_empty() {
            self.answer_at(0);
        }
        self.input(Input::Drained);
        if !self.asked.is_empty() {
            self.settle();
        }
    }

    /// What was sent since this was last asked.
    pub(crate) fn sent(&mut self) -> Bytes {
        self.sent.split().freeze()
    }

    /// Sends one request and reads its answer.
    pub(crate) fn call<Q: Encodable, R: Decodable>(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &Q,
    ) -> R {
        self.receive(frame(key, version, 42, request));
        self.settle();
        assert!(
            self.hangup.is_none(),
            "{key:?} {version}: {:?}",
            self.hangup
        );
        let answers = answers(self.sent());
        assert_eq!(answers.len(), 1, "{key:?} {version}");
        let (correlation, response) = open(key, version, &answers[0]);
        assert_eq!(correlation, 42, "{key:?} {version}");
        response
    }
}
