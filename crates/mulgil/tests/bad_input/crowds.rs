//! Many connections, and ones that are slow: who never reads, never ends a request, or never speaks.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use mulgil_record::batch::BatchBuilder;
use mulgil_record::compression::Codec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::broker::Broker;
use crate::client::{Client, FETCH, fetch_request, now_ms, request};

const IDLE: usize = 10_000;
const HALF_OPEN: usize = 1_000;
/// Open files beside the idle connections.
const OTHER_FILES: u64 = 200;
/// Takes as many open files as the system allows; both ends of the idle connections need theirs.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
}

fn connect(broker: &Broker, count: usize) -> Vec<TcpStream> {
    let connections = (0..count).map(|_| TcpStream::connect(broker.kafka()).unwrap());
    connections.collect()
}

/// A newcomer is served at once, however many are there.
fn newcomer(broker: &Broker) {
    let mut client = Client::connect(broker.kafka());
    client.send(&request(
        ApiKey::ApiVersions,
        0,
        &ApiVersionsRequest::default(),
    ));
    assert!(!client.answer().is_empty());
}

/// Connections are accepted in turn: once the newest is served, all before it are there.
fn settle(broker: &Broker) {
    newcomer(broker);
    std::thread::sleep(Duration::from_millis(500));
}

pub(crate) fn idle(broker: &Broker) {
    let most = getrlimit(Resource::Nofile).maximum;
    if most.is_some_and(|most| most < IDLE as u64 + OTHER_FILES) {
        eprintln!("idle: not tried, since the hard limit of open files is {most:?}");
        return;
    }
    let before = broker.memory();
    let connections = connect(broker, IDLE);
    settle(broker);
    let after = broker.memory();
    eprintln!(
        "{IDLE} idle connections: {} MiB, {} bytes each",
        after >> 20,
        after.saturating_sub(before) / IDLE as u64
    );
    newcomer(broker);
    for connection in connections.iter().step_by(997) {
        connection.set_nonblocking(true).unwrap();
        let error = connection.peek(&mut [0]).unwrap_err();
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::WouldBlock,
            "none was closed"
        );
    }
}

pub(crate) fn half_open(broker: &Broker) {
    let before = broker.memory();
    let announced = (100 * 1024 * 1024_i32).to_be_bytes();
    let mut connections = connect(broker, HALF_OPEN);
    for connection in &mut connections {
        connection.write_all(&announced).unwrap();
    }
    settle(broker);
    let after = broker.memory();
    eprintln!(
        "{HALF_OPEN} connections that announce 100 MiB: {} MiB, {} bytes each",
        after >> 20,
        after.saturating_sub(before) / HALF_OPEN as u64
    );
}

/// A byte at a time: the request is answered when its last byte is there.
pub(crate) fn drip(broker: &Broker) {
    let whole = request(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default());
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(broker.kafka())).collect();
    for byte in whole {
        for client in &mut clients {
            client.send(&[byte]);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    for client in &mut clients {
        assert!(!client.answer().is_empty());
    }
}

/// Opened and closed at once, some in the middle of a request.
pub(crate) fn flood(broker: &Broker) {
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                for number in 0..1_000_usize {
                    let mut connection = TcpStream::connect(broker.kafka()).unwrap();
                    if number % 2 == part % 2 {
                        connection.write_all(&[0, 0, 0, 40, 0, 3]).unwrap();
                    }
                }
            });
        }
    });
    newcomer(broker);
}

/// Asks for 40 MiB again and again, and reads nothing.
pub(crate) fn never_read(broker: &Broker) {
    let mut client = Client::connect(broker.kafka());
    client.create("big");
    let value = vec![7; 1_000_000];
    for _ in 0..50 {
        let mut batch = BatchBuilder::new(Codec::None, now_ms());
        batch.push(now_ms(), None, Some(&value), &[]);
        assert_eq!(client.produce("big", batch.finish().bytes).0, 0);
    }
    let before = broker.memory();
    let ask = request(ApiKey::Fetch, FETCH, &fetch_request("big", 0, 40 << 20));
    let mut silent = connect(broker, 4);
    for connection in &mut silent {
        connection.set_nonblocking(true).unwrap();
        // Once the broker stops reading there is no room: that is what is hoped for.
        let sent = (0..100_000).take_while(|_| connection.write(&ask).is_ok());
        assert!(
            sent.count() < 100_000,
            "the broker takes any number of requests"
        );
    }
    std::thread::sleep(Duration::from_secs(1));
    let taken = broker.memory().saturating_sub(before) >> 20;
    assert!(taken < 200, "{taken} MiB wait for peers that never read");
}
