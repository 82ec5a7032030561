//! One plausible request of every kind and version that the door advertises, and streams of several.
//!
//! Which these are is asked of the door itself. A kind that is advertised and has no sample here
//! makes the tests fail.

mod operators;
mod requests;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, RequestHeader};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::Seed;
use crate::targets::answers_to;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A request without its length.
fn request(key: ApiKey, version: i16, body: &[u8]) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(i32::from(version) + 100)
        .with_client_id(Some(text("fuzz")));
    let mut out = BytesMut::new();
    let header_version = key.request_header_version(version);
    header
        .encode(&mut out, header_version)
        .expect("all fields are in all versions");
    out.extend_from_slice(body);
    out.freeze()
}

fn framed(request: &[u8]) -> Vec<u8> {
    let length = i32::try_from(request.len()).unwrap_or(i32::MAX);
    [&length.to_be_bytes(), request].concat()
}

/// Kinds and versions that the door says it takes.
fn advertised() -> Vec<(ApiKey, i16, i16)> {
    let ask = request(ApiKey::ApiVersions, 0, &[]);
    let answer = answers_to(&framed(&ask));
    let mut body = Bytes::copy_from_slice(answer.get(8..).unwrap_or_default());
    let answer = ApiVersionsResponse::decode(&mut body, 0).expect("the door answers");
    let known = answer.api_keys.iter().filter_map(|row| {
        let key = ApiKey::try_from(row.api_key).ok()?;
        Some((key, row.min_version, row.max_version))
    });
    known.collect()
}

/// As the target takes them: every request alone, and streams of several.
pub(crate) fn streams() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let (mut all, mut produces) = (vec![0, 7], vec![0, 9]);
    for (key, min, max) in advertised() {
        for version in min..=max {
            let Some(body) = requests::sample(key, version) else {
                continue;
            };
            let request = request(key, version, &body);
            seeds.push((
                format!("{key:?}-{version}"),
                [&[1, 5], &request[..]].concat(),
            ));
            if key == ApiKey::Produce && version > 2 {
                produces.extend_from_slice(&framed(&request));
            }
            if version == max {
                all.extend_from_slice(&framed(&request));
            }
        }
    }
    seeds.push(("produces".to_owned(), produces));
    seeds.push(("all".to_owned(), all));
    seeds.extend(strangers());
    seeds
}

/// What is no request at all.
fn strangers() -> Vec<Seed> {
    let named = |name: &str, bytes: &[u8]| (name.to_owned(), [&[0, 3], bytes].concat());
    let announced = |length: i32| length.to_be_bytes();
    vec![
        named("http", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        named("tls", &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        named("negative", &announced(-1)),
        named("largest", &announced(i32::MAX)),
        named("zero", &announced(0)),
        named(
            "unknown-key",
            &framed(&[0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff]),
        ),
        named(
            "unknown-version",
            &framed(&[0, 1, 0x7f, 0xff, 0, 0, 0, 1, 0xff, 0xff]),
        ),
        named(
            "2^31-topics",
            &framed(b"\0\x03\0\x01\0\0\0\x01\xff\xff\x7f\xff\xff\xff"),
        ),
    ]
}

/// Kinds that the door advertises and of which there is no sample.
#[must_use]
pub fn missing() -> Vec<String> {
    let lacks = |(key, _, max): &(ApiKey, i16, i16)| requests::sample(*key, *max).is_none();
    let missing = advertised().into_iter().filter(lacks);
    missing
        .map(|(key, _, max)| format!("{key:?} {max}"))
        .collect()
}
