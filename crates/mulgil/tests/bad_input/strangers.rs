//! First bytes that no Kafka client sends: other protocols, impossible lengths, headers, and lists.

use std::net::Shutdown;

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};

use crate::broker::Broker;
use crate::client::{Client, request};

fn framed(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).unwrap();
    [&length.to_be_bytes(), body].concat()
}

/// A header of this key and version, without a client id, and a body.
fn header(key: i16, version: i16, rest: &[u8]) -> Vec<u8> {
    framed(
        &[
            &key.to_be_bytes()[..],
            &version.to_be_bytes(),
            &[0, 0, 0, 1],
            rest,
        ]
        .concat(),
    )
}

/// What must end the connection without an answer.
fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[9; 505]].concat();
    let with_id = |length: i16| header(18, 0, &[&length.to_be_bytes()[..], b"id"].concat());
    let mut noise = 1_u32;
    let random = (0..10_000).map(|_| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.to_be_bytes()[0] | 0x80
    });
    vec![
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        ("a TLS ClientHello", hello),
        ("AMQP", b"AMQP\0\0\x09\x01".to_vec()),
        ("noise", random.collect()),
        ("a length of -1", (-1_i32).to_be_bytes().to_vec()),
        ("the least length", i32::MIN.to_be_bytes().to_vec()),
        ("the largest length", i32::MAX.to_be_bytes().to_vec()),
        (
            "100 MiB and a byte",
            (100 * 1024 * 1024 + 1_i32).to_be_bytes().to_vec(),
        ),
        ("a length of 0", 0_i32.to_be_bytes().to_vec()),
        ("a length below a header", framed(&[0; 7])),
        ("an unknown key", header(i16::MAX, 0, &[0xff, 0xff])),
        ("a negative key", header(-1, 0, &[0xff, 0xff])),
        ("an unknown version", header(1, i16::MAX, &[0xff, 0xff, 0])),
        ("a negative version", header(3, -1, &[0xff, 0xff])),
        ("Produce version 0", header(0, 0, &[0xff, 0xff])),
        ("a client id of -2 bytes", with_id(-2)),
        ("a client id beyond the end", with_id(i16::MAX)),
        (
            "2^31 topics",
            header(3, 1, &[0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]),
        ),
        (
            "-2 topics",
            header(3, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]),
        ),
        // Header version 2: no client id, no tags; then a compact list of 2^32 - 1 elements.
        (
            "2^32 topics",
            header(3, 12, &[0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ),
        (
            "2^32 tags",
            header(3, 12, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ),
        ("an endless varint", header(3, 12, &[0xff; 64])),
        (
            "half a list",
            header(3, 1, &[0xff, 0xff, 0, 0, 0, 9, 0, 1, b't']),
        ),
    ]
}

pub(crate) fn all(broker: &Broker) {
    for (name, bytes) in refused() {
        let mut client = Client::connect(broker.kafka());
        client.send(&bytes);
        assert_eq!(client.until_closed(), 0, "{name} gets an answer");
    }
    let whole = request(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default());
    for end in 0..whole.len() {
        let mut client = Client::connect(broker.kafka());
        client.send(&whole[..end]);
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(
            client.until_closed(),
            0,
            "{end} bytes of a request get an answer"
        );
    }
    // Absurd, but allowed: a client id of 32 KiB, and a version that KIP-511 answers in version 0.
    for (version, id) in [(0_i16, vec![b'x'; 32_767]), (99, b"id".to_vec())] {
        let length = i16::try_from(id.len()).unwrap().to_be_bytes();
        let mut client = Client::connect(broker.kafka());
        client.send(&header(
            18,
            version,
            &[&length[..], &id, &[0, 0, 0]].concat(),
        ));
        assert_eq!(client.answer()[..4], [0, 0, 0, 1]);
    }
}
