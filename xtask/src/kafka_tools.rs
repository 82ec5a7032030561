//! The kafka-tools suite: the command lines that come with Apache Kafka, each in a JVM of its own.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail, ensure};

use crate::run::Talking;
use crate::tally::Tally;
use crate::tools;

const LIMIT: Duration = Duration::from_secs(90);
const TOPICS: &str = "TopicCommand";
const GROUPS: &str = "consumer.group.ConsumerGroupCommand";
const OFFSETS: &str = "GetOffsetShell";

/// The tools, pointed at a broker.
#[derive(Debug)]
struct Tools {
    address: String,
    run: u128,
}

type Check = (&'static str, fn(&Tools) -> Result<()>);

const CHECKS: [Check; 5] = [
    ("topics", topics),
    ("verifiable", verifiable),
    ("performance", performance),
    ("delete-records", delete_records),
    ("consumer-groups", consumer_groups),
];

/// Runs the checks, or those that are named.
pub(crate) fn suite(address: &str, wanted: &[String]) -> Result<Tally> {
    tools::kafka_tools()?;
    let run = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_millis();
    let address = address.to_owned();
    let tools = Tools { address, run };
    let started = Instant::now();
    let mut tally = Tally::default();
    for (name, check) in CHECKS {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            continue;
        }
        tally.add(match check(&tools) {
            Ok(()) => Tally::passed(),
            Err(error) => Tally::failed(format!("kafka-tools: {name}: {error:#}")),
        });
    }
    let word = if tally.good() { "ok" } else { "FAILED" };
    let seconds = started.elapsed().as_secs();
    println!("{word} interop kafka-tools: {} ({seconds} s)", tally.line());
    Ok(tally)
}

impl Tools {
    fn topic(&self, name: &str) -> String {
        format!("tools-{name}-{}", self.run)
    }

    /// Runs a tool with `--bootstrap-server`; whether it ended well, and all that it said.
    fn call(&self, class: &str, arguments: &[&str]) -> Result<(bool, String)> {
        let mut java = Command::new("java");
        java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
            .arg("-cp")
            .arg(tools::class_path("kafka-tools"))
            .arg(format!("org.apache.kafka.tools.{class}"))
            .args(["--bootstrap-server", &self.address])
            .args(arguments);
        let said = Talking::start(&mut java, b"")?.finish(LIMIT)?;
        let stdout = String::from_utf8_lossy(&said.stdout).into_owned();
        Ok((said.good, stdout + &said.stderr))
    }

    fn good(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let (good, said) = self.call(class, arguments)?;
        ensure!(good, "{class} {} failed: {said}", arguments.join(" "));
        Ok(said)
    }

    fn create(&self, topic: &str, partitions: &str) -> Result<()> {
        let arguments = ["--create", "--topic", topic, "--partitions", partitions];
        self.good(TOPICS, &arguments).map(drop)
    }

    /// What get-offsets says of a topic.
    fn offsets(&self, topic: &str, time: &str) -> Result<Vec<String>> {
        let said = self.good(OFFSETS, &["--topic", topic, "--time", time])?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    fn produce(&self, topic: &str, count: &str) -> Result<()> {
        let arguments = ["--topic", topic, "--max-messages", count];
        let said = self.good("VerifiableProducer", &arguments)?;
        let told = said.matches("producer_send_success").count().to_string();
        same(count, &told, "records that the producer saw acknowledged")
    }
}

fn same<T: PartialEq + std::fmt::Debug + ?Sized>(wanted: &T, got: &T, what: &str) -> Result<()> {
    ensure!(wanted == got, "{what}: wanted {wanted:?}, got {got:?}");
    Ok(())
}

fn holds(said: &str, word: &str) -> Result<()> {
    ensure!(said.contains(word), "no `{word}` in: {said}");
    Ok(())
}

fn listed(tools: &Tools, topic: &str) -> Result<bool> {
    let said = tools.good(TOPICS, &["--list"])?;
    Ok(said.lines().any(|line| line == topic))
}

fn topics(tools: &Tools) -> Result<()> {
    let topic = tools.topic("topics");
    tools.create(&topic, "3")?;
    ensure!(listed(tools, &topic)?, "{topic} is not listed");
    let latest = tools.offsets(&topic, "-1")?;
    let wanted = [0, 1, 2].map(|p| format!("{topic}:{p}:0"));
    same(&wanted[..], &latest, "partitions by get-offsets")?;
    for (name, partitions, error) in [
        (topic.as_str(), "3", "TopicExistsException"),
        ("no spaces, please", "1", "InvalidTopicException"),
    ] {
        let arguments = ["--create", "--topic", name, "--partitions", partitions];
        let (good, said) = tools.call(TOPICS, &arguments)?;
        ensure!(!good, "creating `{name}` with {partitions} did not fail");
        holds(&said, error)?;
    }
    tools.good(TOPICS, &["--delete", "--topic", &topic])?;
    let end = Instant::now() + LIMIT;
    while listed(tools, &topic)? {
        ensure!(Instant::now() < end, "{topic} is listed after its deletion");
    }
    Ok(())
}

fn verifiable(tools: &Tools) -> Result<()> {
    let topic = tools.topic("verifiable");
    tools.create(&topic, "1")?;
    tools.produce(&topic, "1000")?;
    let group = ["--group-id", &topic, "--topic", &topic];
    let limit = ["--max-messages", "1000", "--reset-policy", "earliest"];
    let said = tools.good("VerifiableConsumer", &[&group[..], &limit].concat())?;
    let consumed: u64 = said
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|event| event.get("name").is_some_and(|n| n == "records_consumed"))
        .filter_map(|event| event.get("count")?.as_u64())
        .sum();
    same(&1000, &consumed, "records that the consumer says it has")?;
    holds(&said, "offsets_committed")?;
    same(
        &[format!("{topic}:0:1000")][..],
        &tools.offsets(&topic, "-1")?,
        "end by get-offsets",
    )
}

fn performance(tools: &Tools) -> Result<()> {
    let topic = tools.topic("performance");
    tools.create(&topic, "2")?;
    let load = ["--num-records", "20000", "--record-size", "100"];
    let pace = ["--throughput", "-1", "--topic", &topic];
    let said = tools.good("ProducerPerformance", &[&load[..], &pace].concat())?;
    holds(&said, "20000 records sent")?;
    let asked = ["--topic", &topic, "--num-records", "20000"];
    let said = tools.good("ConsumerPerformance", &asked)?;
    let Some(row) = said.lines().find(|line| line.starts_with("20")) else {
        bail!("no row of figures in: {said}");
    };
    let count = row.split(", ").nth(4).unwrap_or_default();
    same("20000", count, "records that the consumer counted")
}

fn delete_records(tools: &Tools) -> Result<()> {
    let topic = tools.topic("delete");
    tools.create(&topic, "1")?;
    tools.produce(&topic, "10")?;
    let file = crate::repo::scratch("talk")?.join(format!("{topic}.json"));
    let plan = |offset| {
        let partition = serde_json::json!({"topic": topic, "partition": 0, "offset": offset});
        serde_json::json!({"version": 1, "partitions": [partition]}).to_string()
    };
    let path = file.display().to_string();
    std::fs::write(&file, plan(6))?;
    let arguments = ["--offset-json-file", path.as_str()];
    let said = tools.good("DeleteRecordsCommand", &arguments)?;
    holds(&said, "low_watermark: 6")?;
    let first = format!("{topic}:0:6");
    same(&[first][..], &tools.offsets(&topic, "-2")?, "beginning")?;
    std::fs::write(&file, plan(11))?;
    let (_, said) = tools.call("DeleteRecordsCommand", &arguments)?;
    std::fs::remove_file(&file)?;
    holds(&said, "OffsetOutOfRange")
}

fn consumer_groups(tools: &Tools) -> Result<()> {
    let topic = tools.topic("groups");
    tools.create(&topic, "1")?;
    tools.produce(&topic, "10")?;
    let group = ["--group", topic.as_str()];
    let to = |place: &'static [&'static str]| {
        let what = ["--topic", topic.as_str(), "--reset-offsets", "--execute"];
        tools.good(GROUPS, &[&group[..], &what, place].concat())
    };
    to(&["--to-latest"])?;
    to(&["--shift-by", "-3"])?;
    let said = tools.good(GROUPS, &["--list"])?;
    ensure!(said.lines().any(|line| line == topic), "not listed: {said}");
    let said = tools.good(GROUPS, &[&group[..], &["--describe"]].concat())?;
    let Some(row) = said.lines().find(|line| line.starts_with(&topic)) else {
        bail!("no row of the group in: {said}");
    };
    let row: Vec<&str> = row.split_whitespace().collect();
    let told = row.get(2..6).unwrap_or_default();
    same(
        &["0", "7", "10", "3"][..],
        told,
        "partition, committed, end, lag",
    )?;
    let said = tools.good(GROUPS, &[&group[..], &["--delete"]].concat())?;
    holds(&said, "successful")?;
    let said = tools.good(GROUPS, &["--list"])?;
    ensure!(!said.lines().any(|line| line == topic), "there yet: {said}");
    Ok(())
}
