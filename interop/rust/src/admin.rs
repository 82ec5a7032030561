//! What the admin client asks, with wrong input among it.

use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::Offset;
use rdkafka::admin::{
    AlterConfig, ConfigEntry, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message as _;

use crate::broker::{Broker, CALL, Record, one, options, until};
use crate::read::at;
use crate::{Check, checks, equal};

pub(crate) const CHECKS: &[Check] = checks![
    "create-delete-topic" => create_delete_topic(),
    "create-topic-wrong-input" => wrong_topics(),
    "create-partitions" => create_partitions(),
    "configs" => configs(),
    "compacted-topic-without-key" => compacted_without_key(),
    "delete-records" => delete_records(),
    "admin-groups" => admin_groups(),
];

async fn create_delete_topic(broker: &Broker) -> Result<()> {
    let topic = broker.create("create", 3).await?;
    until("three partitions", async || {
        Ok(broker.partitions(&topic)?.filter(|count| *count == 3))
    })
    .await?;
    let again = NewTopic::new(&topic, 3, TopicReplication::Fixed(1));
    let again = broker.try_create(&again).await?;
    equal(
        Err(RDKafkaErrorCode::TopicAlreadyExists),
        again,
        "created twice",
    )?;
    equal(Ok(()), delete(broker, &topic).await?, "deleted")?;
    until("gone", async || {
        Ok(broker.partitions(&topic)?.is_none().then_some(()))
    })
    .await?;
    let again = delete(broker, &topic).await?;
    equal(
        Err(RDKafkaErrorCode::UnknownTopicOrPartition),
        again,
        "deleted twice",
    )
}

async fn delete(broker: &Broker, topic: &str) -> Result<Result<(), RDKafkaErrorCode>> {
    let done = broker.admin.delete_topics(&[topic], &options()).await?;
    let one = done.into_iter().next().context("no answer for the topic")?;
    Ok(one.map(drop).map_err(|(_, code)| code))
}

async fn wrong_topics(broker: &Broker) -> Result<()> {
    let name = broker.topic("wrong");
    let new = |name, replicas| NewTopic::new(name, 1, TopicReplication::Fixed(replicas));
    let setting = new(&name, 1).set("retention.ms", "soon");
    let wrong = [
        (new("no spaces, please", 1), RDKafkaErrorCode::InvalidTopic),
        (new(&name, 7), RDKafkaErrorCode::InvalidReplicationFactor),
        (setting, RDKafkaErrorCode::InvalidConfig),
    ];
    for (topic, code) in wrong {
        equal(Err(code), broker.try_create(&topic).await?, "refused with")?;
    }
    equal(None, broker.partitions(&name)?, "nothing was created")
}

async fn create_partitions(broker: &Broker) -> Result<()> {
    let topic = broker.create("grow", 1).await?;
    let to = async |count: usize| -> Result<Result<(), RDKafkaErrorCode>> {
        let wanted = NewPartitions::new(&topic, count);
        let done = broker
            .admin
            .create_partitions([&wanted], &options())
            .await?;
        let one = done.into_iter().next().context("no answer for the topic")?;
        Ok(one.map(drop).map_err(|(_, code)| code))
    };
    equal(Ok(()), to(3).await?, "three")?;
    until("three partitions", async || {
        Ok(broker.partitions(&topic)?.filter(|count| *count == 3))
    })
    .await?;
    equal(
        Err(RDKafkaErrorCode::InvalidPartitions),
        to(2).await?,
        "fewer",
    )?;
    let stored = broker.send(&topic, &[Record::of("v").to(2)], &[]).await?;
    equal(
        Some(0),
        stored.first().map(|d| d.offset),
        "offset in what was added",
    )
}

async fn setting(broker: &Broker, topic: &str, name: &str) -> Result<ConfigEntry> {
    let asked = [ResourceSpecifier::Topic(topic)];
    let told = broker.admin.describe_configs(&asked, &options()).await?;
    let told = told.into_iter().next().context("no answer for the topic")?;
    let told = told.map_err(|code| anyhow::anyhow!("describing {topic}: {code}"))?;
    let found = told.entries.into_iter().find(|entry| entry.name == name);
    found.with_context(|| format!("{name} is not told"))
}

async fn configs(broker: &Broker) -> Result<()> {
    let topic = broker
        .create_with("configs", 1, &[("retention.ms", "4000000")])
        .await?;
    let alter = async |name: &str, value: &str| -> Result<()> {
        let wanted = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set(name, value);
        let done = broker.admin.alter_configs([&wanted], &options()).await?;
        equal(1, done.len(), "answers")
    };
    let first = setting(broker, &topic, "retention.ms").await?;
    equal(Some("4000000"), first.value.as_deref(), "as it was created")?;
    equal(
        ConfigSource::DynamicTopic,
        first.source,
        "source of what was set",
    )?;
    alter("max.message.bytes", "2000").await?;
    until("the setting shows", async || {
        let told = setting(broker, &topic, "max.message.bytes").await?;
        Ok((told.value.as_deref() == Some("2000")).then_some(()))
    })
    .await?;
    let gone = setting(broker, &topic, "retention.ms").await?;
    equal(
        ConfigSource::Default,
        gone.source,
        "source of what the request left out",
    )?;
    // The client keeps the error of such an answer to itself. What is refused changes nothing, and this
    // request would take away all that it does not name.
    for (name, value) in [("no.such.setting", "1"), ("retention.ms", "soon")] {
        alter(name, value).await?;
        let kept = setting(broker, &topic, "max.message.bytes").await?;
        equal(Some("2000"), kept.value.as_deref(), name)?;
    }
    let asked = [ResourceSpecifier::Topic("there-is-no-such-topic")];
    let told = broker.admin.describe_configs(&asked, &options()).await?;
    let told = told.into_iter().next().and_then(Result::ok);
    let told = told.map(|resource| resource.entries.len());
    equal(Some(0), told, "settings of a topic that is not there")
}

async fn compacted_without_key(broker: &Broker) -> Result<()> {
    let settings = [("cleanup.policy", "compact"), ("compression.type", "zstd")];
    let topic = broker.create_with("compacted", 1, &settings).await?;
    let Err(why) = broker.send(&topic, &[Record::of("v")], &[]).await else {
        bail!("a record without a key was taken");
    };
    let why = why.downcast::<rdkafka::error::KafkaError>()?;
    let wanted = Some(RDKafkaErrorCode::InvalidRecord);
    equal(wanted, why.rdkafka_error_code(), "a record without a key")?;
    let stored = broker
        .send(&topic, &[Record::of("v").key("k")], &[])
        .await?;
    equal(Some(0), stored.first().map(|d| d.offset), "one with a key")
}

async fn delete_records(broker: &Broker) -> Result<()> {
    let topic = broker.create("delete-records", 1).await?;
    let records: Vec<Record> = (0..10).map(|i| Record::of(i.to_string())).collect();
    broker.send(&topic, &records, &[]).await?;
    let before = async |offset: i64| -> Result<rdkafka::error::KafkaResult<Offset>> {
        let list = at(&topic, 0, Offset::Offset(offset))?;
        let done = broker.admin.delete_records(&list, &options()).await?;
        let one = done.find_partition(&topic, 0).context("no answer for it")?;
        Ok(one.error().map(|()| one.offset()))
    };
    equal(Ok(Offset::Offset(6)), before(6).await?, "low watermark")?;
    let got = broker.read(&topic, 1, 4, 0).await?;
    let got: Vec<i64> = got.iter().map(|m| m.offset()).collect();
    equal(vec![6, 7, 8, 9], got, "what is left")?;
    let Err(why) = before(11).await? else {
        bail!("deleted more than there is");
    };
    let code = why.rdkafka_error_code();
    equal(
        Some(RDKafkaErrorCode::OffsetOutOfRange),
        code,
        "beyond the end",
    )
}

async fn admin_groups(broker: &Broker) -> Result<()> {
    let topic = broker.create("admin-groups", 1).await?;
    broker.send(&topic, &[Record::of("v")], &[]).await?;
    let consumer = broker.consumer(&[("group.id", &topic)])?;
    consumer.subscribe(&[&topic])?;
    one(&consumer).await?;
    consumer.commit_consumer_state(CommitMode::Sync)?;
    let listed = || -> Result<bool> {
        let told = broker.admin.inner().fetch_group_list(None, CALL)?;
        Ok(told.groups().iter().any(|group| group.name() == topic))
    };
    let delete = async || -> Result<Result<(), RDKafkaErrorCode>> {
        let done = broker.admin.delete_groups(&[&topic], &options()).await?;
        let one = done.into_iter().next().context("no answer for the group")?;
        Ok(one.map(drop).map_err(|(_, code)| code))
    };
    ensure!(listed()?, "the group is not listed");
    equal(
        Err(RDKafkaErrorCode::NonEmptyGroup),
        delete().await?,
        "with a member",
    )?;
    drop(consumer);
    equal(Ok(()), delete().await?, "without members")?;
    ensure!(!listed()?, "the group is there yet");
    equal(
        Err(RDKafkaErrorCode::GroupIdNotFound),
        delete().await?,
        "deleted twice",
    )
}
