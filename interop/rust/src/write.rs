//! Topics by first use, and everything a producer does.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};

use crate::broker::{Broker, LIMIT, Record, send, values};
use crate::{Check, checks, equal};

pub(crate) const CHECKS: &[Check] = checks![
    "auto-created-topic" => auto_created_topic(),
    "codec-none" => codec("none"),
    "codec-gzip" => codec("gzip"),
    "codec-snappy" => codec("snappy"),
    "codec-lz4" => codec("lz4"),
    "codec-zstd" => codec("zstd"),
    "headers" => headers(),
    "null-key-and-value" => nulls(),
    "keyed-partitions" => keyed_partitions(),
    "partitioners" => partitioners(),
    "acks-0" => acks("0"),
    "acks-1" => acks("1"),
    "acks-all" => acks("all"),
    "idempotent-concurrent" => idempotent_concurrent(),
    "large-message" => large_message(),
    "too-large-message" => too_large_message(),
    "unknown-partition" => unknown_partition(),
];

async fn auto_created_topic(broker: &Broker) -> Result<()> {
    let topic = broker.topic("auto");
    let stored = broker
        .send(&topic, &[Record::of("v").key("k")], &[])
        .await?;
    equal(vec![0], offsets(&stored), "offset of the first record")?;
    equal(
        vec!["v".to_owned()],
        values(&broker.read_one(&topic, 1).await?),
        "value",
    )
}

fn offsets(stored: &[rdkafka::producer::future_producer::Delivery]) -> Vec<i64> {
    stored.iter().map(|delivery| delivery.offset).collect()
}

async fn codec(broker: &Broker, codec: &str) -> Result<()> {
    let topic = broker.create(&format!("codec-{codec}"), 1).await?;
    let text = |i: usize| format!("record {i} of water on its way down ").repeat(1 + i % 17);
    let record = |i| Record::of(text(i)).key(format!("key-{i}"));
    let records: Vec<Record> = (0..500).map(record).collect();
    let settings = [("compression.type", codec), ("linger.ms", "20")];
    let stored = broker.send(&topic, &records, &settings).await?;
    equal((0..500).collect(), offsets(&stored), "offsets")?;
    for (record, got) in records.iter().zip(broker.read_one(&topic, 500).await?) {
        equal(record.key.as_deref(), got.key(), "key")?;
        equal(record.value.as_deref(), got.payload(), "value")?;
    }
    Ok(())
}

async fn headers(broker: &Broker) -> Result<()> {
    let topic = broker.create("headers", 1).await?;
    let sent: [(&str, Option<&[u8]>); 5] = [
        ("twice", Some(b"one")),
        ("none", None),
        ("twice", Some(b"two")),
        ("empty", Some(b"")),
        ("물길", Some("물".as_bytes())),
    ];
    let headers = sent
        .iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: *value })
        });
    let mut record = Record::of("v");
    record.headers = Some(headers);
    broker.send(&topic, &[record], &[]).await?;
    let got = broker.read_one(&topic, 1).await?;
    let got = got
        .first()
        .and_then(|m| m.headers())
        .context("no headers")?;
    let got: Vec<_> = got.iter().map(|h| (h.key, h.value)).collect();
    equal(sent.to_vec(), got, "headers")
}

async fn nulls(broker: &Broker) -> Result<()> {
    let topic = broker.create("nulls", 1).await?;
    let no_value = Record::default().key("no value");
    let sent = [
        Record::of("no key"),
        no_value,
        Record::default(),
        Record::of("").key(""),
    ];
    broker.send(&topic, &sent, &[]).await?;
    for (record, got) in sent.iter().zip(broker.read_one(&topic, 4).await?) {
        equal(record.key.as_deref(), got.key(), "key")?;
        equal(record.value.as_deref(), got.payload(), "value")?;
    }
    Ok(())
}

async fn keyed_partitions(broker: &Broker) -> Result<()> {
    let topic = broker.create("keyed", 4).await?;
    let record = |i: usize| Record::of(i.to_string()).key(format!("key-{}", i % 37));
    let records: Vec<Record> = (0..400).map(record).collect();
    broker.send(&topic, &records, &[]).await?;
    let mut partition_of = BTreeMap::new();
    let mut next_in = BTreeMap::new();
    let mut last_of: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for got in broker.read(&topic, 4, 400, 0).await? {
        let key = got.key().context("a record has no key")?.to_vec();
        let number = std::str::from_utf8(got.payload().unwrap_or_default())?.parse()?;
        let first = *partition_of.entry(key.clone()).or_insert(got.partition());
        equal(first, got.partition(), "partition of a key")?;
        let next = next_in.entry(got.partition()).or_insert(0);
        equal(*next, got.offset(), "offset")?;
        *next += 1;
        let before = last_of.insert(key, number);
        ensure!(
            before.is_none_or(|b| b < number),
            "{number} came after {before:?}"
        );
    }
    equal(4, next_in.len(), "partitions in use")
}

/// Where librdkafka's own partitioner puts keys (by CRC-32), and where its copy of Java's does.
async fn partitioners(broker: &Broker) -> Result<()> {
    let topic = broker.create("partitioners", 4).await?;
    let keys = ["a", "key-2", "water", "물길"];
    let records = keys.map(|key| Record::of("v").key(key));
    for (name, wanted) in [
        ("consistent_random", CRC_32_OF_4),
        ("murmur2_random", JAVA_OF_4),
    ] {
        let stored = broker
            .send(&topic, &records, &[("partitioner", name)])
            .await?;
        let got: Vec<i32> = stored.iter().map(|delivery| delivery.partition).collect();
        equal(wanted.to_vec(), got, name)?;
    }
    Ok(())
}

const CRC_32_OF_4: [i32; 4] = [3, 0, 2, 3];
const JAVA_OF_4: [i32; 4] = [0, 2, 0, 3];

async fn acks(broker: &Broker, acks: &str) -> Result<()> {
    let topic = broker.create(&format!("acks-{acks}"), 1).await?;
    let wanted: Vec<String> = (0..20).map(|i| format!("value {i}")).collect();
    let records: Vec<Record> = wanted.iter().map(|v| Record::of(v.as_str())).collect();
    broker.send(&topic, &records, &[("acks", acks)]).await?;
    equal(
        wanted,
        values(&broker.read_one(&topic, 20).await?),
        "values",
    )
}

async fn idempotent_concurrent(broker: &Broker) -> Result<()> {
    let topic = broker.create("idempotent", 2).await?;
    let settings = [
        ("enable.idempotence", "true"),
        ("linger.ms", "0"),
        ("batch.num.messages", "20"),
    ];
    let producer = broker.producer(&settings)?;
    let line = |line: i32| {
        let record = move |i| Record::of(format!("{line} {i}")).to(line % 2);
        let records: Vec<Record> = (0..1000).map(record).collect();
        let (producer, topic) = (producer.clone(), topic.clone());
        tokio::spawn(async move { send(&producer, &topic, &records).await.map(drop) })
    };
    for line in [0, 1, 2, 3].map(line) {
        line.await??;
    }
    let mut next = [0; 4];
    for value in values(&broker.read(&topic, 2, 4000, 0).await?) {
        let (line, number) = value.split_once(' ').context("two numbers")?;
        let next = next.get_mut(line.parse::<usize>()?).context("a line")?;
        equal(*next, number.parse()?, &format!("next of line {line}"))?;
        *next += 1;
    }
    Ok(())
}

/// Bytes that no codec makes smaller, the same in every run.
fn noise(size: usize) -> Vec<u8> {
    let mut state: u64 = 7;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..size).map(|_| next()).collect()
}

fn allowing_all() -> [(&'static str, &'static str); 1] {
    [("message.max.bytes", "4194352")]
}

async fn large_message(broker: &Broker) -> Result<()> {
    let topic = broker.create("large", 1).await?;
    let value = noise(LIMIT - 100);
    let record = Record::of(value.clone());
    broker.send(&topic, &[record], &allowing_all()).await?;
    let got = broker.read_one(&topic, 1).await?;
    let same = got.first().and_then(|m| m.payload()) == Some(&value[..]);
    ensure!(same, "the bytes differ");
    Ok(())
}

async fn too_large_message(broker: &Broker) -> Result<()> {
    let topic = broker.create("too-large", 1).await?;
    let producer = broker.producer(&allowing_all())?;
    let record = Record::of(noise(LIMIT + 1));
    let why = refused(send(&producer, &topic, &[record]).await)?;
    equal(RDKafkaErrorCode::MessageSizeTooLarge, why, "error")?;
    send(&producer, &topic, &[Record::of("small")]).await?;
    let got = values(&broker.read_one(&topic, 1).await?);
    equal(vec!["small".to_owned()], got, "what comes after it")
}

async fn unknown_partition(broker: &Broker) -> Result<()> {
    let topic = broker.create("partition", 1).await?;
    let record = Record::of("v").to(7);
    let why = refused(broker.send(&topic, &[record], &[]).await)?;
    equal(RDKafkaErrorCode::UnknownPartition, why, "error")
}

/// The code of the error with which sending failed.
fn refused<T>(sent: Result<T>) -> Result<RDKafkaErrorCode> {
    let Err(error) = sent else {
        bail!("succeeded, but should have failed");
    };
    match error.downcast::<KafkaError>()? {
        KafkaError::MessageProduction(code) => Ok(code),
        other => Err(other.into()),
    }
}
