//! kafka-topics: create, list, alter, describe with each of its filters, delete.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::{LIMIT, TOPICS, Tools, holds, same};

fn listed(tools: &Tools, topic: &str) -> Result<bool> {
    let said = tools.good(TOPICS, &["--list"])?;
    Ok(said.lines().any(|line| line == topic))
}

pub(super) fn create_and_delete(tools: &Tools) -> Result<()> {
    let topic = tools.create("topics", "3")?;
    ensure!(listed(tools, &topic)?, "{topic} is not listed");
    let latest = tools.offsets(&topic, "-1")?;
    let wanted = [0, 1, 2].map(|p| format!("{topic}:{p}:0"));
    same(&wanted[..], &latest, "partitions by get-offsets")?;
    for (name, partitions, error) in [
        (topic.as_str(), "3", "TopicExistsException"),
        ("no spaces, please", "1", "InvalidTopicException"),
    ] {
        let arguments = ["--create", "--topic", name, "--partitions", partitions];
        tools.refused(TOPICS, &arguments, error)?;
    }
    let again = ["--create", "--topic", &topic, "--if-not-exists"];
    tools.good(TOPICS, &again)?;
    tools.good(TOPICS, &["--delete", "--topic", &topic])?;
    let end = Instant::now() + LIMIT;
    while listed(tools, &topic)? {
        ensure!(Instant::now() < end, "{topic} is listed after its deletion");
    }
    let again = ["--delete", "--topic", &topic];
    tools.refused(TOPICS, &again, "does not exist as expected")?;
    tools
        .good(TOPICS, &["--delete", "--topic", &topic, "--if-exists"])
        .map(drop)
}

pub(super) fn alter(tools: &Tools) -> Result<()> {
    let topic = tools.create("alter", "1")?;
    let to = |count| ["--alter", "--topic", &topic, "--partitions", count];
    tools.good(TOPICS, &to("4"))?;
    tools.until(TOPICS, &["--describe", "--topic", &topic], |said| {
        said.contains("PartitionCount: 4").then_some(())
    })?;
    tools.produce(&topic, "8", &[])?;
    let latest = tools.offsets(&topic, "-1")?;
    same(&4, &latest.len(), "partitions by get-offsets")?;
    tools.refused(TOPICS, &to("2"), "InvalidPartitionsException")?;
    tools.refused(TOPICS, &to("4"), "InvalidPartitionsException")?;
    let none = tools.topic("none");
    let unknown = ["--alter", "--topic", &none, "--partitions", "2"];
    tools.refused(TOPICS, &unknown, "does not exist as expected")?;
    tools
        .good(TOPICS, &[&unknown[..], &["--if-exists"]].concat())
        .map(drop)
}

pub(super) fn describe(tools: &Tools) -> Result<()> {
    let plain = tools.create("describe-plain", "1")?;
    let topic = tools.topic("describe");
    let setting = ["--config", "retention.ms=5000000"];
    let wanted = ["--create", "--topic", &topic, "--partitions", "3"];
    tools.good(TOPICS, &[&wanted[..], &setting].concat())?;
    let describe = |more: &[&str]| {
        let all = ["--describe", "--topic", &topic];
        tools.good(TOPICS, &[&all[..], more].concat())
    };
    let rows = [0, 1, 2]
        .map(|p| format!("Topic: {topic}\tPartition: {p}\tLeader: 1\tReplicas: 1\tIsr: 1"));
    // A broker of Kafka's learns of a new topic behind the answer to its creation.
    let all = ["--describe", "--topic", &topic];
    let said = tools.until(TOPICS, &all, |said| {
        let whole = rows.iter().all(|wanted| said.contains(wanted));
        whole.then(|| said.to_owned())
    })?;
    for word in [
        "PartitionCount: 3",
        "ReplicationFactor: 1",
        "retention.ms=5000000",
    ] {
        holds(&said, word)?;
    }
    let paged = describe(&["--partition-size-limit-per-response", "2"])?;
    same(&said, &paged, "three partitions over two pages")?;
    for filter in ["under-replicated", "unavailable", "under-min-isr"] {
        let said = describe(&[&format!("--{filter}-partitions")])?;
        same("", said.trim(), filter)?;
    }
    let least = describe(&["--at-min-isr-partitions"])?;
    for wanted in &rows {
        holds(&least, wanted)?;
    }
    let overridden = tools.good(TOPICS, &["--describe", "--topics-with-overrides"])?;
    holds(&overridden, &format!("Topic: {topic}\t"))?;
    // Where Kafka elects by eligible replicas (KIP-966), each topic has a setting of its own.
    let own = tools.good(TOPICS, &["--describe", "--topic", &plain])?;
    let configs = own.lines().find_map(|line| line.split("Configs: ").nth(1));
    let listed = overridden.contains(&format!("Topic: {plain}\t"));
    let states = configs.is_some_and(|configs| !configs.trim().is_empty());
    same(&states, &listed, "a topic is listed if it states something")?;
    let id = said
        .split("TopicId: ")
        .nth(1)
        .and_then(|rest| rest.split('\t').next());
    let id = id.with_context(|| format!("no id in: {said}"))?;
    // By its id it is asked for with a request that tells nothing of eligible leaders.
    let by_id = tools.good(TOPICS, &["--describe", "--topic-id", id])?;
    let by_id = by_id.replace("Elr: N/A", "Elr: ");
    same(&said, &by_id, "by its id")?;
    let none = ["--describe", "--topic", &tools.topic("none")];
    tools.refused(TOPICS, &none, "does not exist as expected")?;
    let none = ["--describe", "--topic-id", "AAAAAAAAAAAAAAAAAAAAZZ"];
    tools.call(TOPICS, &none).and_then(|(good, said)| {
        ensure!(!good, "a topic by an unknown id: {said}");
        Ok(())
    })
}
