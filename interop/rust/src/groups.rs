//! Groups whose members come, go and are killed.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, anyhow, ensure};
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::message::Message as _;
use tokio::task::JoinHandle;

use crate::broker::{self, Broker, CALL, Record, received, until};
use crate::read::committed;
use crate::{Check, checks, equal};

pub(crate) const CHECKS: &[Check] = checks![
    "rebalance-eager" => rebalance("range"),
    "rebalance-cooperative" => rebalance("cooperative-sticky"),
    "killed-member" => killed_member(),
    "static-member-replaced" => static_member_replaced(),
];

/// A partition and an offset.
type Place = (i32, i64);

/// A member that reads and commits as long as it lives.
struct Member {
    consumer: Arc<StreamConsumer>,
    seen: Arc<Mutex<BTreeSet<Place>>>,
    task: JoinHandle<Result<()>>,
}

impl Member {
    fn start(broker: &Broker, topic: &str, strategy: &str) -> Result<Self> {
        let settings = [
            ("group.id", topic),
            ("partition.assignment.strategy", strategy),
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "500"),
        ];
        let consumer = Arc::new(broker.consumer(&settings)?);
        consumer.subscribe(&[topic])?;
        let seen: Arc<Mutex<BTreeSet<Place>>> = Arc::default();
        let (reader, places) = (Arc::clone(&consumer), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            loop {
                let message = reader.recv().await?;
                let place = (message.partition(), message.offset());
                places
                    .lock()
                    .map_err(|_| anyhow!("a member panicked"))?
                    .insert(place);
                reader.commit_message(&message, CommitMode::Async)?;
            }
        });
        Ok(Self {
            consumer,
            seen,
            task,
        })
    }

    fn owned(&self) -> Result<Vec<i32>> {
        ensure!(!self.task.is_finished(), "a member ended");
        let assignment = self.consumer.assignment()?;
        Ok(assignment
            .elements()
            .iter()
            .map(|e| e.partition())
            .collect())
    }

    fn seen(&self) -> Result<BTreeSet<Place>> {
        let seen = self.seen.lock().map_err(|_| anyhow!("a member panicked"))?;
        Ok(seen.clone())
    }

    /// Lets it leave the group.
    async fn leave(self) -> Result<()> {
        self.task.abort();
        self.task.await.err().context("a member ended by itself")?;
        drop(self.consumer);
        Ok(())
    }
}

/// Waits until each partition belongs to one member, and each member has some.
async fn settled(members: &[Member], partitions: i32) -> Result<()> {
    until(
        &format!("{} members share all", members.len()),
        async || {
            let owned: Vec<Vec<i32>> = members.iter().map(Member::owned).collect::<Result<_>>()?;
            let mut all = owned.concat();
            all.sort_unstable();
            let every = owned.iter().all(|own| !own.is_empty());
            Ok((every && all == (0..partitions).collect::<Vec<i32>>()).then_some(()))
        },
    )
    .await
}

async fn rebalance(broker: &Broker, strategy: &str) -> Result<()> {
    let topic = broker.create(&format!("rebalance-{strategy}"), 4).await?;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(Member::start(broker, &topic, strategy)?);
        settled(&members, 4).await?;
    }
    let told = broker.admin.inner().fetch_group_list(Some(&topic), CALL)?;
    let group = told.groups().first().context("the group is not told")?;
    equal(
        ("Stable", 3),
        (group.state(), group.members().len()),
        "the group",
    )?;
    equal(strategy, group.protocol(), "protocol of the group")?;
    for _ in 0..2 {
        members.remove(0).leave().await?;
        settled(&members, 4).await?;
    }
    let records: Vec<Record> = (0..40)
        .map(|i| Record::of(i.to_string()).to(i % 4))
        .collect();
    broker.send(&topic, &records, &[]).await?;
    let wanted: BTreeSet<Place> = (0..4).flat_map(|p| (0..10).map(move |o| (p, o))).collect();
    until("the last member has read all", async || {
        let seen = members.first().context("one is left")?.seen()?;
        Ok((seen == wanted).then_some(()))
    })
    .await?;
    for member in members {
        member.leave().await?;
    }
    Ok(())
}

/// A member in a process of its own: says what it has read, and commits every five records.
pub(crate) async fn member(bootstrap: &str, topic: &str) -> Result<()> {
    let settings = [("group.id", topic), ("session.timeout.ms", "6000")];
    let consumer = broker::consumer(bootstrap, &settings)?;
    consumer.subscribe(&[topic])?;
    for count in 1_u64.. {
        let message = broker::one(&consumer).await?;
        println!("{} {}", message.partition(), message.offset());
        if count % 5 == 0 {
            consumer.commit_consumer_state(CommitMode::Sync)?;
        }
    }
    Ok(())
}

async fn killed_member(broker: &Broker) -> Result<()> {
    let topic = broker.create("killed", 2).await?;
    let records: Vec<Record> = (0..200)
        .map(|i| Record::of(i.to_string()).to(i % 2))
        .collect();
    broker.send(&topic, &records, &[]).await?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["member", &broker.bootstrap, &topic])
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
    let mut seen = BTreeSet::new();
    for line in lines.take(37) {
        let line = line?;
        let (partition, offset) = line.split_once(' ').context("two numbers")?;
        seen.insert((partition.parse()?, offset.parse()?));
    }
    child.kill()?;
    child.wait()?;
    equal(
        37,
        seen.len(),
        "records that the member said before it was killed",
    )?;
    let settings = [("group.id", topic.as_str())];
    let consumer = broker.consumer(&settings)?;
    consumer.subscribe(&[&topic])?;
    let wanted: BTreeSet<Place> = (0..2).flat_map(|p| (0..100).map(move |o| (p, o))).collect();
    while seen != wanted {
        let message = broker::one(&consumer).await?;
        seen.insert((message.partition(), message.offset()));
    }
    consumer.commit_consumer_state(CommitMode::Sync)?;
    for partition in 0..2 {
        let (offset, _) = committed(&consumer, &topic, partition)?;
        equal(rdkafka::Offset::Offset(100), offset, "committed at the end")?;
    }
    Ok(())
}

/// Of two members with one name the newer stays, and the older is told so.
async fn static_member_replaced(broker: &Broker) -> Result<()> {
    let topic = broker.create("static", 1).await?;
    broker.send(&topic, &[Record::of("v")], &[]).await?;
    let settings = [
        ("group.id", topic.as_str()),
        ("group.instance.id", "the-one"),
        ("heartbeat.interval.ms", "500"),
        ("session.timeout.ms", "10000"),
    ];
    let older = broker.consumer(&settings)?;
    older.subscribe(&[&topic])?;
    broker::one(&older).await?;
    let newer = broker.consumer(&settings)?;
    newer.subscribe(&[&topic])?;
    broker::one(&newer).await?;
    let Err(why) = received(&older).await? else {
        anyhow::bail!("the older member got another record");
    };
    ensure!(
        why.rdkafka_error_code() == Some(rdkafka::error::RDKafkaErrorCode::FencedInstanceId),
        "the older member: {why:?}"
    );
    Ok(())
}
