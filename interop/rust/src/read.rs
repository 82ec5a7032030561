//! Everything a consumer does alone: positions, offsets by time, committing what was assigned by hand,
//! waiting.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message as _, Timestamp};
use rdkafka::{Offset, TopicPartitionList};

use crate::broker::{Broker, CALL, Record, now_ms, one, received, take, values};
use crate::{Check, checks, equal};

const HOUR_MS: i64 = 3_600_000;

pub(crate) const CHECKS: &[Check] = checks![
    "seek" => seek(),
    "end-of-partition" => end_of_partition(),
    "seek-timestamp" => seek_timestamp(),
    "out-of-range-reset" => out_of_range(),
    "group-resume" => group_resume(),
    "manual-assign-commit" => manual_assign(),
    "long-poll" => long_poll(),
    "unknown-topic" => unknown_topic(),
];

/// One partition of a topic, at an offset.
pub(crate) fn at(topic: &str, partition: i32, offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, offset)?;
    Ok(list)
}

/// What a group has committed of a partition, with its note.
pub(crate) fn committed(
    consumer: &StreamConsumer,
    topic: &str,
    partition: i32,
) -> Result<(Offset, String)> {
    let told = consumer.committed_offsets(at(topic, partition, Offset::Invalid)?, CALL)?;
    let one = told
        .find_partition(topic, partition)
        .context("no answer for it")?;
    one.error()?;
    Ok((one.offset(), one.metadata().to_owned()))
}

async fn seek(broker: &Broker) -> Result<()> {
    let topic = broker.hourly("seek", 10, now_ms()?).await?;
    let consumer = broker.consumer(&[])?;
    consumer.assign(&at(&topic, 0, Offset::Beginning)?)?;
    equal(
        0,
        one(&consumer).await?.offset(),
        "first from the beginning",
    )?;
    consumer.seek(&topic, 0, Offset::Offset(7), CALL)?;
    equal(7, one(&consumer).await?.offset(), "first from 7")?;
    consumer.seek(&topic, 0, Offset::OffsetTail(2), CALL)?;
    equal(8, one(&consumer).await?.offset(), "first of the last two")?;
    equal(
        (0, 10),
        consumer.fetch_watermarks(&topic, 0, CALL)?,
        "watermarks",
    )
}

async fn end_of_partition(broker: &Broker) -> Result<()> {
    let topic = broker.hourly("end", 3, now_ms()?).await?;
    let consumer = broker.consumer(&[("enable.partition.eof", "true")])?;
    consumer.assign(&at(&topic, 0, Offset::Beginning)?)?;
    take(&consumer, 3).await?;
    let end = received(&consumer).await?.map(|m| m.offset());
    equal(Err(KafkaError::PartitionEOF(0)), end, "what is at the end")
}

async fn seek_timestamp(broker: &Broker) -> Result<()> {
    let now = now_ms()?;
    let topic = broker.hourly("by-time", 10, now).await?;
    let consumer = broker.consumer(&[])?;
    let offset_at = |time_ms: i64| -> Result<Offset> {
        let found = consumer.offsets_for_times(at(&topic, 0, Offset::Offset(time_ms))?, CALL)?;
        Ok(found
            .find_partition(&topic, 0)
            .context("no answer")?
            .offset())
    };
    for i in 0..10 {
        let exact = now - (9 - i) * HOUR_MS;
        for asked in [exact, exact - 1, exact - HOUR_MS + 1] {
            equal(Offset::Offset(i), offset_at(asked)?, "offset by time")?;
        }
    }
    equal(
        Offset::End,
        offset_at(now + 1)?,
        "nothing is as young as that",
    )?;
    let got = broker.read(&topic, 1, 1, 6).await?;
    let told = got.first().map(|m| m.timestamp());
    let wanted = Timestamp::CreateTime(now - 3 * HOUR_MS);
    equal(Some(wanted), told, "timestamp of the record found")
}

async fn out_of_range(broker: &Broker) -> Result<()> {
    let topic = broker.hourly("range", 5, now_ms()?).await?;
    let got = broker.read(&topic, 1, 1, 1000).await?;
    equal(
        Some(0),
        got.first().map(|m| m.offset()),
        "reset to the earliest",
    )?;
    let consumer = broker.consumer(&[("auto.offset.reset", "error")])?;
    consumer.assign(&at(&topic, 0, Offset::Offset(1000))?)?;
    let code = RDKafkaErrorCode::AutoOffsetReset;
    refused(code, &consumer, "without a reset policy").await
}

async fn refused(wanted: RDKafkaErrorCode, consumer: &StreamConsumer, what: &str) -> Result<()> {
    match received(consumer).await? {
        Err(KafkaError::MessageConsumption(code)) => equal(wanted, code, what),
        Err(error) => Err(error.into()),
        Ok(message) => bail!("{what}: a record at {}", message.offset()),
    }
}

async fn group_resume(broker: &Broker) -> Result<()> {
    let topic = broker.hourly("group", 10, now_ms()?).await?;
    let settings = [("group.id", topic.as_str())];
    let member = || -> Result<StreamConsumer> {
        let consumer = broker.consumer(&settings)?;
        consumer.subscribe(&[&topic])?;
        Ok(consumer)
    };
    let consumer = member()?;
    take(&consumer, 4).await?;
    let four = at(&topic, 0, Offset::Offset(4))?;
    let mut entry = four.find_partition(&topic, 0).context("it was added")?;
    entry.set_metadata("four done");
    drop(entry);
    consumer.commit(&four, CommitMode::Sync)?;
    let wanted = (Offset::Offset(4), "four done".to_owned());
    equal(wanted, committed(&consumer, &topic, 0)?, "committed")?;
    drop(consumer);
    let consumer = member()?;
    let rest = take(&consumer, 6).await?;
    let first = rest.first().map(|m| m.offset());
    equal(Some(4), first, "goes on at the committed offset")?;
    consumer.commit_consumer_state(CommitMode::Sync)?;
    drop(consumer);
    let consumer = broker.consumer(&settings)?;
    equal(
        Offset::Offset(10),
        committed(&consumer, &topic, 0)?.0,
        "all is committed",
    )
}

async fn manual_assign(broker: &Broker) -> Result<()> {
    let topic = broker.create("assign", 2).await?;
    let records: Vec<Record> = (0..10)
        .map(|i| Record::of(i.to_string()).to(i % 2))
        .collect();
    broker.send(&topic, &records, &[]).await?;
    let consumer = broker.consumer(&[("group.id", &topic)])?;
    consumer.assign(&at(&topic, 1, Offset::Invalid)?)?;
    let got = take(&consumer, 5).await?;
    ensure!(
        got.iter().all(|m| m.partition() == 1),
        "only what was assigned"
    );
    consumer.commit_consumer_state(CommitMode::Sync)?;
    equal(
        Offset::Offset(5),
        committed(&consumer, &topic, 1)?.0,
        "committed",
    )
}

async fn long_poll(broker: &Broker) -> Result<()> {
    let topic = broker.create("long-poll", 1).await?;
    let settings = [
        ("fetch.wait.max.ms", "20000"),
        ("enable.partition.eof", "true"),
    ];
    let consumer = broker.consumer(&settings)?;
    consumer.assign(&at(&topic, 0, Offset::Beginning)?)?;
    // The end of the partition is told from the first, empty answer; the next fetch waits.
    let end = received(&consumer).await?.map(|m| m.offset());
    equal(Err(KafkaError::PartitionEOF(0)), end, "an empty topic")?;
    let nothing = tokio::time::timeout(Duration::from_millis(500), consumer.recv()).await;
    ensure!(nothing.is_err(), "something is there");
    let sent = Instant::now();
    broker.send(&topic, &[Record::of("at last")], &[]).await?;
    let got = one(&consumer).await?;
    equal(vec!["at last".to_owned()], values(&[got]), "value")?;
    let waited = sent.elapsed();
    ensure!(
        waited.as_secs() < 10,
        "came only after {waited:?}, so nobody was woken"
    );
    Ok(())
}

async fn unknown_topic(broker: &Broker) -> Result<()> {
    let topic = broker.topic("unknown");
    let consumer = broker.consumer(&[("allow.auto.create.topics", "false")])?;
    consumer.subscribe(&[&topic])?;
    let code = RDKafkaErrorCode::UnknownTopicOrPartition;
    refused(code, &consumer, "a subscription to no topic").await?;
    equal(None, broker.partitions(&topic)?, "asking for it created it")
}
