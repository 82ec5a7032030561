//! Batches of all codecs, what they unpack to, varints, facts.

use mulgil_record::batch::BatchBuilder;
use mulgil_record::compression::{self, Codec};
use mulgil_record::facts::Facts;
use mulgil_record::ids::{ProducerEpoch, ProducerId};
use mulgil_record::varint;

use super::{Seed, both};

const NOW_MS: i64 = 1_780_000_000_000;

pub(crate) fn sample(codec: Codec, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec, NOW_MS);
    for number in 0..records {
        let key = number.to_string();
        let value = "value ".repeat(number % 7);
        let at = NOW_MS + i64::try_from(number % 3).unwrap_or(0);
        let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"x")), (b"", None)];
        let headers = headers.get(..number % 3).unwrap_or_default();
        let value = (number % 4 != 3).then_some(value.as_bytes());
        builder.push(
            at,
            (number % 2 == 0).then_some(key.as_bytes()),
            value,
            headers,
        );
    }
    builder.finish().bytes.to_vec()
}

pub(crate) fn batch() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for codec in Codec::ALL {
        for records in [1, 20] {
            seeds.extend(both(&format!("{codec}-{records}"), &sample(codec, records)));
        }
    }
    let mut idempotent = BatchBuilder::new(Codec::None, NOW_MS);
    idempotent.push(NOW_MS, None, Some(b"v"), &[]);
    let idempotent = idempotent.producer(ProducerId(7), ProducerEpoch(1), i32::MAX);
    seeds.extend(both(
        "transactional",
        &idempotent.transactional().finish().bytes,
    ));
    // A bomb: what unpacks to far more than the target allows.
    let zeroes = compression::compress(Codec::Zstd, &vec![0; 4 << 20]).unwrap_or_default();
    let mut bomb = sample(Codec::Zstd, 1);
    bomb.truncate(61);
    bomb.extend_from_slice(&zeroes);
    seeds.extend(both("bomb", &bomb));
    seeds
}

pub(crate) fn record_set() -> Vec<Seed> {
    let (one, two) = (sample(Codec::None, 2), sample(Codec::Gzip, 3));
    let all = [&one[..], &two].concat();
    let cut = all.split_at(all.len() - 1).0.to_vec();
    vec![
        ("one".to_owned(), one),
        ("two".to_owned(), all),
        ("cut".to_owned(), cut),
    ]
}

pub(crate) fn gzip() -> Vec<Seed> {
    packed(Codec::Gzip)
}

pub(crate) fn snappy() -> Vec<Seed> {
    packed(Codec::Snappy)
}

pub(crate) fn lz4() -> Vec<Seed> {
    packed(Codec::Lz4)
}

pub(crate) fn zstd() -> Vec<Seed> {
    packed(Codec::Zstd)
}

fn packed(codec: Codec) -> Vec<Seed> {
    let text = "the same again and again, ".repeat(20);
    let mixed: Vec<u8> = (0..2000_u32).flat_map(|n| (n * n).to_le_bytes()).collect();
    let zeroes = vec![0; 2 << 20];
    let plain: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("byte", b"x"),
        ("text", text.as_bytes()),
        ("mixed", &mixed),
        ("bomb", &zeroes),
    ];
    let pack = |bytes| compression::compress(codec, bytes).unwrap_or_default();
    let mut seeds: Vec<Seed> = plain
        .map(|(name, bytes)| (name.to_owned(), pack(bytes)))
        .to_vec();
    let twice = [pack(text.as_bytes()), pack(b"x")].concat();
    seeds.push(("two-frames".to_owned(), twice));
    // Few kilobytes of bomb are as good as all of it.
    seeds.retain(|(_, bytes)| bytes.len() < 100 << 10);
    seeds
}

pub(crate) fn varint() -> Vec<Seed> {
    let mut all = Vec::new();
    for value in [0, -1, 63, -64, 64, i64::from(i32::MAX), i64::MIN, i64::MAX] {
        varint::write_i64(&mut all, value);
    }
    let long = vec![0xff; 11];
    vec![("all".to_owned(), all), ("too-long".to_owned(), long)]
}

pub(crate) fn facts() -> Vec<Seed> {
    let none = Facts::new(3, 4);
    let all = Facts {
        deduplication: vec![1, 0, u128::MAX, 7],
        ordering_keys: vec![0, 1, 2, u64::MAX],
        due_ms: vec![i64::MIN, 5, 6, 7],
        expiry_ms: vec![i64::MAX, 5, 6, 7],
        sizes: vec![1, 2, 3, u32::MAX],
        priorities: vec![0, 4, 9, 255],
        verdict_bytes: 2,
        verdicts: vec![0xaa; 8],
        ..none
    };
    let some = Facts {
        sizes: vec![1, 2, 3, 4],
        ..Facts::new(3, 4)
    };
    [("none", none), ("all", all), ("sizes", some)]
        .map(|(name, facts)| (name.to_owned(), facts.encode()))
        .to_vec()
}
