//! The clients that the checks use, and the few steps that nearly all of them share.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

/// How long anything may take that a check waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// How long a call of the client may block.
pub(crate) const CALL: Duration = Duration::from_secs(10);
/// The largest batch that a topic takes unless it says otherwise.
pub(crate) const LIMIT: usize = 1_048_588;
const HOUR_MS: i64 = 3_600_000;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Settings of a client, as librdkafka names them.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

/// A record to send.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Option<OwnedHeaders>,
    pub(crate) partition: Option<i32>,
    pub(crate) time_ms: Option<i64>,
}

impl Record {
    /// A record without a key.
    pub(crate) fn of(value: impl Into<Vec<u8>>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// The same with a key.
    pub(crate) fn key(self, key: impl Into<Vec<u8>>) -> Self {
        let key = Some(key.into());
        Self { key, ..self }
    }

    /// The same for one partition.
    pub(crate) fn to(self, partition: i32) -> Self {
        let partition = Some(partition);
        Self { partition, ..self }
    }

    fn sent<'a>(&'a self, topic: &'a str) -> FutureRecord<'a, [u8], [u8]> {
        let mut record = FutureRecord::to(topic);
        record.key = self.key.as_deref();
        record.payload = self.value.as_deref();
        record.headers = self.headers.clone();
        record.partition = self.partition;
        record.timestamp = self.time_ms;
        record
    }
}

/// The broker under test.
pub(crate) struct Broker {
    pub(crate) bootstrap: String,
    pub(crate) admin: AdminClient<DefaultClientContext>,
    run: u128,
}

impl Broker {
    pub(crate) fn new(bootstrap: &str) -> Result<Self> {
        let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let admin = config(bootstrap, &[]).create()?;
        let bootstrap = bootstrap.to_owned();
        Ok(Self {
            bootstrap,
            admin,
            run,
        })
    }

    pub(crate) fn producer(&self, settings: Settings<'_>) -> Result<FutureProducer> {
        Ok(config(&self.bootstrap, settings).create()?)
    }

    /// A consumer that starts at the beginning and commits nothing by itself, unless told otherwise.
    pub(crate) fn consumer(&self, settings: Settings<'_>) -> Result<StreamConsumer> {
        consumer(&self.bootstrap, settings)
    }

    /// The name of a check's topic.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("rust-{name}-{}", self.run)
    }

    pub(crate) async fn create(&self, name: &str, partitions: i32) -> Result<String> {
        self.create_with(name, partitions, &[]).await
    }

    pub(crate) async fn create_with(
        &self,
        name: &str,
        partitions: i32,
        settings: Settings<'_>,
    ) -> Result<String> {
        let topic = self.topic(name);
        let mut new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
        for (setting, value) in settings {
            new = new.set(setting, value);
        }
        if let Err(code) = self.try_create(&new).await? {
            bail!("creating {topic}: {code}");
        }
        Ok(topic)
    }

    /// Creates a topic; the code with which the broker refused it.
    pub(crate) async fn try_create(
        &self,
        topic: &NewTopic<'_>,
    ) -> Result<Result<(), RDKafkaErrorCode>> {
        let done = self.admin.create_topics([topic], &options()).await?;
        let one = done.into_iter().next().context("no answer for the topic")?;
        Ok(one.map(drop).map_err(|(_, code)| code))
    }

    /// Sends the records, and gives where each was stored.
    pub(crate) async fn send(
        &self,
        topic: &str,
        records: &[Record],
        settings: Settings<'_>,
    ) -> Result<Vec<Delivery>> {
        send(&self.producer(settings)?, topic, records).await
    }

    /// Reads `count` records, from `start` on in each partition.
    pub(crate) async fn read(
        &self,
        topic: &str,
        partitions: i32,
        count: usize,
        start: i64,
    ) -> Result<Vec<OwnedMessage>> {
        let consumer = self.consumer(&[])?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Offset(start))?;
        }
        consumer.assign(&list)?;
        take(&consumer, count).await
    }

    /// All of a topic of one partition.
    pub(crate) async fn read_one(&self, topic: &str, count: usize) -> Result<Vec<OwnedMessage>> {
        self.read(topic, 1, count, 0).await
    }

    /// A topic of one partition with records 0, 1 ... an hour apart, the last one at `now_ms`.
    pub(crate) async fn hourly(&self, name: &str, count: i64, now_ms: i64) -> Result<String> {
        let topic = self.create(name, 1).await?;
        let producer = self.producer(&[])?;
        for i in 0..count {
            let mut record = Record::of(i.to_string()).to(0);
            record.time_ms = Some(now_ms - (count - 1 - i) * HOUR_MS);
            send(&producer, &topic, &[record]).await?;
        }
        Ok(topic)
    }

    /// How many partitions a topic has; none if it is not there.
    pub(crate) fn partitions(&self, topic: &str) -> Result<Option<usize>> {
        let all = self.admin.inner().fetch_metadata(None, CALL)?;
        let found = all.topics().iter().find(|t| t.name() == topic);
        Ok(found.map(|t| t.partitions().len()))
    }
}

/// What the admin client is asked with.
pub(crate) fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(CALL))
        .request_timeout(Some(DEADLINE))
}

fn config(bootstrap: &str, settings: Settings<'_>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

pub(crate) fn consumer(bootstrap: &str, settings: Settings<'_>) -> Result<StreamConsumer> {
    let defaults = [
        ("group.id", "rust-unused"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
    ];
    Ok(config(bootstrap, &[&defaults[..], settings].concat()).create()?)
}

pub(crate) async fn send(
    producer: &FutureProducer,
    topic: &str,
    records: &[Record],
) -> Result<Vec<Delivery>> {
    let mut waiting = Vec::new();
    for record in records {
        let sent = producer.send_result(record.sent(topic));
        waiting.push(sent.map_err(|(error, _)| error)?);
    }
    let mut stored = Vec::new();
    for delivery in waiting {
        stored.push(delivery.await?.map_err(|(error, _)| error)?);
    }
    Ok(stored)
}

/// The next record.
pub(crate) async fn one(consumer: &StreamConsumer) -> Result<OwnedMessage> {
    Ok(received(consumer).await??)
}

/// What the consumer gives next, be it an error.
pub(crate) async fn received(
    consumer: &StreamConsumer,
) -> Result<Result<OwnedMessage, KafkaError>> {
    let next = tokio::time::timeout(DEADLINE, consumer.recv()).await;
    let next = next.context("no record came in time")?;
    Ok(next.map(|message| message.detach()))
}

pub(crate) async fn take(consumer: &StreamConsumer, count: usize) -> Result<Vec<OwnedMessage>> {
    let mut got = Vec::with_capacity(count);
    while got.len() < count {
        let so_far = got.len();
        let next = one(consumer).await;
        got.push(next.with_context(|| format!("after {so_far} of {count} records"))?);
    }
    Ok(got)
}

/// Looks until there is something, and gives that.
pub(crate) async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        let late = format!("not in {} s: {what}", DEADLINE.as_secs());
        ensure!(Instant::now() < end, late);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(crate) fn values(messages: &[OwnedMessage]) -> Vec<String> {
    let text = |m: &OwnedMessage| String::from_utf8_lossy(m.payload().unwrap_or_default()).into();
    messages.iter().map(text).collect()
}

pub(crate) fn now_ms() -> Result<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_millis())?)
}
