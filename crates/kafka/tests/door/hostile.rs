//! Whatever a peer sends, nothing panics, and memory stays within what was really sent.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, StrBytes};
use mulgil_broker::connection::Connection;

use crate::alloc::peak_of;
use crate::client::seal;
use crate::driver::Driver;
use crate::samples::sample;
use crate::versions::{advertised, broker};

/// A small seeded source of numbers (xorshift after splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        // Lengths and counts break more often at the ends.
        match self.below(4) {
            0 => 0,
            1 => 0xff,
            2 => 0x7f,
            _ => self.next().to_be_bytes()[0],
        }
    }
}

/// What handling one hostile request may allocate: the connection, the broker's picture, the answer,
/// and the request a few times over.
const PEAK_BYTES_MAX: usize = 300_000;

fn survives(bytes: &[u8], what: &str) {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let piece = bytes.to_vec();
    let ((), peak) = peak_of(|| {
        driver.receive(piece);
        driver.settle();
    });
    assert!(
        peak < PEAK_BYTES_MAX + 40 * bytes.len(),
        "{what}: {peak} bytes for {}",
        bytes.len()
    );
}

#[test]
fn random_bytes_do_no_harm() {
    let mut random = Random(1);
    for round in 0..3000 {
        let length = random.below(200);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
        survives(&bytes, &format!("raw round {round}"));
        // The same behind a right length, and behind a right header.
        let mut framed = BytesMut::new();
        framed.put_i32(0);
        framed.extend_from_slice(&bytes);
        survives(&seal(framed), &format!("framed round {round}"));
        let (key, _, max) = advertised_at(&mut random);
        let mut header = BytesMut::new();
        header.put_i32(0);
        header.put_i16(key as i16);
        header.put_i16(i16::try_from(random.below(usize::try_from(max).unwrap() + 1)).unwrap());
        header.put_i32(1);
        header.put_i16(-1);
        header.append_all(&mut bytes);
        survives(&seal(header), &format!("{key:?} round {round}"));
    }
}

trait AppendAll {
    fn append_all(&mut self, bytes: &mut Vec<u8>);
}

impl AppendAll for BytesMut {
    fn append_all(&mut self, bytes: &mut Vec<u8>) {
        self.extend_from_slice(bytes);
    }
}

fn advertised_at(random: &mut Random) -> (ApiKey, i16, i16) {
    thread_local! {
        static ALL: Vec<(ApiKey, i16, i16)> = advertised();
    }
    ALL.with(|all| all[random.below(all.len())])
}

#[test]
fn mutated_requests_do_no_harm() {
    let mut random = Random(2);
    for round in 0..20_000 {
        let (key, min, max) = advertised_at(&mut random);
        let min = if key == ApiKey::Produce { 3 } else { min };
        let versions = usize::try_from(max - min + 1).unwrap();
        let version = min + i16::try_from(random.below(versions)).unwrap();
        let (_, id) = broker();
        let mut bytes = sample(key, version, 1, id).to_vec();
        for _ in 0..=random.below(3) {
            let at = 12 + random.below(bytes.len() - 12);
            match random.below(4) {
                0 => bytes[at] = random.byte(),
                1 => bytes.truncate(at),
                2 => bytes.insert(at, random.byte()),
                _ => {
                    let end = (at + 4).min(bytes.len());
                    bytes[at..end].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff][..end - at]);
                }
            }
            if bytes.len() <= 13 {
                break;
            }
        }
        let bytes = seal(BytesMut::from(&bytes[..]));
        survives(&bytes, &format!("{key:?} {version} round {round}"));
    }
}

#[test]
fn a_list_of_two_billion_elements_reserves_nothing() {
    for (key, min, max) in advertised() {
        let min = if key == ApiKey::Produce { 3 } else { min };
        for version in min..=max {
            let (_, id) = broker();
            let honest = sample(key, version, 1, id);
            let header = RequestHeader::default()
                .with_client_id(Some(StrBytes::from_static_str("test")))
                .compute_size(key.request_header_version(version))
                .unwrap();
            // Wherever the first list is, it is hit by one of these.
            for at in 4 + header..honest.len() {
                announce_at(&honest, at, &format!("{key:?} {version} at {at}"));
            }
        }
    }
}

/// Puts huge lengths of each form into a request.
fn announce_at(honest: &[u8], at: usize, what: &str) {
    let announced: [&[u8]; 3] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0x05, 0, 0, 0],
    ];
    for announced in announced {
        let mut bytes = BytesMut::from(&honest[..at]);
        bytes.extend_from_slice(announced);
        bytes.extend_from_slice(&honest[at..]);
        survives(&seal(bytes), what);
    }
}

#[test]
fn many_tiny_elements_are_refused() {
    // Three bytes each: an empty name, no partitions, no tagged fields.
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    RequestHeader::default()
        .with_request_api_key(ApiKey::Fetch as i16)
        .with_request_api_version(12)
        .encode(&mut bytes, 2)
        .unwrap();
    bytes.put_slice(&[0; 4 + 4 + 4 + 4 + 1 + 4 + 4]);
    let count = 5_000_000_u32;
    let mut announced = count + 1;
    while announced >= 0x80 {
        bytes.put_u8(u8::try_from(announced & 0x7f).unwrap() | 0x80);
        announced >>= 7;
    }
    bytes.put_u8(u8::try_from(announced).unwrap());
    for _ in 0..count {
        bytes.put_slice(&[1, 1, 0]);
    }
    bytes.put_slice(&[1, 1, 0]);
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let piece = seal(bytes);
    let ((), peak) = peak_of(|| driver.receive(piece));
    assert!(driver.hangup.is_some());
    assert!(peak < PEAK_BYTES_MAX, "{peak} bytes");
}

#[test]
fn announcing_a_hundred_megabytes_costs_nothing() {
    let (broker, _) = broker();
    let mut driver = Driver::new(&broker);
    let ((), peak) = peak_of(|| driver.receive(104_857_600_i32.to_be_bytes().to_vec()));
    assert!(driver.hangup.is_none());
    assert!(peak < 10_000, "{peak} bytes");
    assert_eq!(driver.connection().buffered_bytes(), 4);
    let mut driver = Driver::new(&broker);
    driver.receive(104_857_601_i32.to_be_bytes().to_vec());
    assert!(driver.hangup.is_some());
}
