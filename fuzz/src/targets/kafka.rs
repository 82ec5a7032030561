//! A Kafka connection fed with any bytes, cut in any way, over a broker that answers anything.
//!
//! The first byte says whether the rest is one request whose length is put before it (so that the
//! engine need not keep lengths right) or a stream as it would come from a socket; the second decides
//! how the stream is cut and what the broker answers. The stream is fed twice, whole and cut: what the
//! peer reads must be the same, up to where the connection hangs up.

mod broker;

use std::sync::Arc;

use bytes::Bytes;
use mulgil_broker::connection::{Connection, Input, Output};
use mulgil_broker::core::machine::{Elapsed, Now, WallTime};
use mulgil_broker::quota::QuotaMeters;
use mulgil_broker::request::{Request, Ticket};
use mulgil_kafka::{KafkaConnection, KafkaOptions, KafkaShared};
use mulgil_log::disk::cut::Dice;

use broker::FakeBroker;
pub(crate) use broker::{TOPIC, TOPIC_ID};

/// Largest request here. Small, so that the limit is met.
const REQUEST_BYTES_MAX: usize = 64 << 10;
const NOW: Now = Now {
    elapsed: Elapsed(1000),
    wall: WallTime(1_780_000_000_000),
};

pub(super) fn connection(bytes: &[u8]) {
    let Some(([form, seed], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let stream = if form & 1 == 1 {
        let length = i32::try_from(rest.len()).unwrap_or(i32::MAX);
        [&length.to_be_bytes(), rest].concat()
    } else {
        rest.to_vec()
    };
    let seed = u64::from(*seed);
    let whole = Session::run(&stream, seed, None);
    let cut = Session::run(&stream, seed, Some(Dice::new(seed)));
    for session in [&whole, &cut] {
        check_answers(&session.sent, &stream);
    }
    // Fed whole, a malformed request may end the connection while one before it is being worked on.
    assert_eq!(whole.over, cut.over, "cutting decides over no connection");
    assert!(
        cut.sent.starts_with(&whole.sent),
        "cutting changes no answer"
    );
    assert!(whole.over || whole.sent == cut.sent, "nor leaves one out");
}

/// The answers are whole and in the order of requests; the sets of both are not compared, since some
/// requests have no answer.
fn check_answers(mut sent: &[u8], stream: &[u8]) {
    let mut asked = correlations(stream).into_iter();
    while !sent.is_empty() {
        let (length, rest) = sent.split_first_chunk().expect("a length");
        let length = usize::try_from(i32::from_be_bytes(*length)).expect("not negative");
        let (answer, rest) = rest.split_at_checked(length).expect("a whole answer");
        let correlation = answer.first_chunk().expect("a correlation id");
        assert!(
            asked.any(|asked| asked == *correlation),
            "an answer to a request, in order"
        );
        sent = rest;
    }
}

/// The correlation ids of all whole requests of a stream.
fn correlations(mut stream: &[u8]) -> Vec<[u8; 4]> {
    let mut found = Vec::new();
    while let Some((length, rest)) = stream.split_first_chunk() {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((request, rest)) = rest.split_at_checked(length) else {
            break;
        };
        found.extend(request.get(4..).and_then(<[u8]>::first_chunk));
        stream = rest;
    }
    found
}

/// A connection that is being served.
struct Session {
    connection: Option<KafkaConnection>,
    broker: Arc<FakeBroker>,
    asked: Vec<(Ticket, Request)>,
    sent: Vec<u8>,
    over: bool,
}

impl Session {
    /// Serves a whole stream, in pieces as `dice` falls, or in one.
    fn run(stream: &[u8], seed: u64, mut dice: Option<Dice>) -> Self {
        let mut session = Self::new(seed);
        let mut rest = Bytes::copy_from_slice(stream);
        while !rest.is_empty() && !session.over {
            let cut = dice.as_mut().map_or(u64::MAX, |dice| 1 + dice.below(300));
            let cut = usize::try_from(cut).unwrap_or(usize::MAX).min(rest.len());
            session.feed(Input::Received(rest.split_to(cut)));
            session.settle();
        }
        session.feed(Input::DeadlineReached);
        session.settle();
        session
    }

    fn new(seed: u64) -> Self {
        let broker = FakeBroker::new(seed);
        let shared = KafkaShared {
            options: KafkaOptions {
                request_bytes_max: REQUEST_BYTES_MAX,
                ..KafkaOptions::default()
            },
            catalog: Arc::clone(&broker) as _,
            ids: Arc::clone(&broker) as _,
            figures: Arc::new(mulgil_kafka::KafkaFigures::new(|| 0)),
            meters: QuotaMeters::default(),
            sessions: Arc::default(),
        };
        Self {
            connection: Some(KafkaConnection::new(
                Arc::new(shared),
                std::net::IpAddr::from([127, 0, 0, 1]),
            )),
            broker,
            asked: Vec::new(),
            sent: Vec::new(),
            over: false,
        }
    }

    fn feed(&mut self, input: Input) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let mut out = Vec::new();
        match connection.handle(input, NOW, &mut out) {
            Ok(connection) => {
                let _due = (connection.deadline(), connection.is_full());
                self.connection = Some(connection);
            }
            Err(_) => self.over = true,
        }
        for output in out {
            match output {
                Output::Send(bytes) => self.sent.extend_from_slice(&bytes),
                Output::Ask(ticket, request) => self.asked.push((ticket, request)),
            }
        }
    }

    /// Answers everything that is asked, and what follows from the answers.
    fn settle(&mut self) {
        loop {
            while !self.asked.is_empty() && !self.over {
                let (ticket, request) = self.asked.remove(0);
                let reply = self.broker.answer(ticket, request);
                self.feed(Input::Answered(ticket, reply));
            }
            self.feed(Input::Drained);
            if self.asked.is_empty() || self.over {
                return;
            }
        }
    }
}

/// What the connection answers to a stream of requests.
pub(crate) fn answers_to(stream: &[u8]) -> Vec<u8> {
    Session::run(stream, 0, None).sent
}
