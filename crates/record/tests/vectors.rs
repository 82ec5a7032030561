//! Known answers: batches and frames that other people's code wrote (see `vectors/README.md`).

use std::fmt::Write as _;

use bytes::Bytes;
use mulgil_record::batch::{Batch, DecodeLimits, Record, TimestampAt, split};
use mulgil_record::compression::{Codec, decompress};

const LIMIT_BYTES: usize = 1 << 20;

fn unhex(text: &str) -> Vec<u8> {
    let digit = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|digit| digit.try_into().ok())
    };
    let digits: Vec<u8> = text.bytes().filter_map(digit).collect();
    let (pairs, _) = digits.as_chunks::<2>();
    pairs.iter().map(|[high, low]| high << 4 | low).collect()
}

/// The codec that a vector's name tells.
fn codec_of(name: &str) -> Codec {
    let told = |codec: &Codec| name.contains(codec.name());
    Codec::ALL
        .into_iter()
        .find(told)
        .expect("a name with a codec")
}

macro_rules! vectors {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("vectors/", $name, ".hex")))),*] };
}

/// The records that all batches hold.
fn expected() -> Vec<Record> {
    let own = |bytes: &[u8]| Some(Bytes::copy_from_slice(bytes));
    let header = |key: &'static str, value| (Bytes::from_static(key.as_bytes()), value);
    let record = |offset_delta, timestamp_delta, key, value, headers| Record {
        offset_delta,
        timestamp_delta,
        attributes: 0,
        key,
        value,
        headers,
    };
    vec![
        record(0, 0, own(b"key-0"), own(&b"value-0".repeat(40)), vec![]),
        record(
            1,
            7,
            None,
            own(b""),
            vec![header("h", own(b"1")), header("h", None)],
        ),
        record(
            2,
            -10,
            own(b""),
            None,
            vec![header("grüße", own("wörld".as_bytes()))],
        ),
        record(
            3,
            7,
            own(b"k"),
            own(&[b'x'; 1000]),
            vec![header("a", own(b""))],
        ),
    ]
}

fn check_batch(name: &str, text: &str) {
    let codec = codec_of(name);
    let batch = Batch::check(unhex(text).into()).expect(name);
    batch.check_produced().expect(name);
    let header = &batch.header;
    assert_eq!(header.attributes.codec(), Ok(codec), "{name}");
    assert_eq!(header.base_timestamp, 1_700_000_000_000, "{name}");
    assert_eq!(header.max_timestamp, 1_700_000_000_007, "{name}");
    let sequences = (
        header.producer_id.0,
        header.base_sequence,
        header.last_sequence(),
    );
    if name.ends_with("idempotent") {
        assert_eq!(sequences, (4711, i32::MAX - 1, 1), "{name}");
    } else {
        assert_eq!(sequences, (-1, -1, -1), "{name}");
    }
    let records = batch.records(DecodeLimits::default()).expect(name);
    assert_eq!(records.iter().collect::<Vec<_>>(), expected(), "{name}");
    let first_of_two = TimestampAt {
        offset_delta: 1,
        timestamp: 1_700_000_000_007,
    };
    assert_eq!(records.max_timestamp_record(), Some(first_of_two), "{name}");
}

#[test]
fn batches_of_other_clients() {
    let batches = vectors![
        "java-none-plain" "java-none-idempotent"
        "java-gzip-plain" "java-gzip-idempotent"
        "java-snappy-plain" "java-snappy-idempotent"
        "java-lz4-plain" "java-lz4-idempotent"
        "java-zstd-plain" "java-zstd-idempotent"
        "kafka-python-none-plain" "kafka-python-none-idempotent"
        "kafka-python-gzip-plain" "kafka-python-gzip-idempotent"
        "kafka-python-snappy-plain" "kafka-python-snappy-idempotent"
        "kafka-python-lz4-plain" "kafka-python-lz4-idempotent"
        "kafka-python-zstd-plain" "kafka-python-zstd-idempotent"
    ];
    for (name, text) in batches {
        check_batch(name, text);
    }
    let set: Vec<u8> = batches.iter().flat_map(|(_, text)| unhex(text)).collect();
    let cut = split(set.into()).unwrap();
    assert_eq!(cut.len(), batches.len());
    for (bytes, (name, text)) in cut.iter().zip(batches) {
        assert_eq!(bytes, &unhex(text), "{name}");
    }
}

#[test]
fn frames_of_other_packers() {
    let mut text = String::new();
    for line in 0..20_000 {
        writeln!(text, "record {}", line % 97).unwrap();
    }
    let frames = vectors![
        "frames-lz4-linked" "frames-lz4-linked-checked" "frames-lz4-independent"
        "frames-lz4-two-frames" "frames-zstd-streamed" "frames-zstd-level-22"
        "frames-zstd-two-frames" "frames-gzip-two-members" "frames-snappy-raw"
    ];
    for (name, hex) in frames {
        let packed = unhex(hex);
        let codec = codec_of(name);
        let expected = if codec == Codec::Snappy {
            &text[..40_000]
        } else {
            &text
        };
        let unpacked = decompress(codec, &packed, LIMIT_BYTES);
        assert!(unpacked.as_deref() == Ok(expected.as_bytes()), "{name}");
        // The bound is exact.
        assert!(decompress(codec, &packed, expected.len()).is_ok(), "{name}");
        assert!(
            decompress(codec, &packed, expected.len() - 1).is_err(),
            "{name}"
        );
        for cut in 0..packed.len() {
            let unpacked = decompress(codec, &packed[..cut], LIMIT_BYTES);
            assert!(
                unpacked.as_deref() != Ok(expected.as_bytes()),
                "{name} cut to {cut}"
            );
        }
    }
}
