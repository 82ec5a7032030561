//! The kafka-tools suite: the command lines that come with Apache Kafka, each in a JVM of its own.

mod cluster;
mod configs;
mod groups;
mod members;
mod records;
mod topics;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};

use crate::run::Talking;
use crate::tally::Tally;
use crate::{interop, repo, tools};

const LIMIT: Duration = Duration::from_secs(90);
const TOPICS: &str = "TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const GROUPS: &str = "consumer.group.ConsumerGroupCommand";
const OFFSETS: &str = "GetOffsetShell";

/// The tools, pointed at a broker.
#[derive(Debug)]
struct Tools {
    address: String,
    run: u128,
}

type Check = (&'static str, fn(&Tools) -> Result<()>);

const CHECKS: [Check; 19] = [
    ("topics", topics::create_and_delete),
    ("topics-alter", topics::alter),
    ("topics-describe", topics::describe),
    ("configs", configs::of_a_topic),
    ("configs-of-brokers", configs::of_brokers),
    ("client-quotas", configs::quotas),
    ("verifiable", records::verifiable),
    ("performance", records::performance),
    ("delete-records", records::delete),
    ("get-offsets", records::offsets),
    ("consumer-groups", groups::list_describe_delete),
    ("reset-offsets", groups::reset),
    ("reset-offsets-file", groups::reset_from_file),
    ("delete-offsets", groups::delete_offsets),
    ("group-with-member", members::describe),
    ("log-dirs", cluster::log_dirs),
    ("leader-election", cluster::leader_election),
    ("reassign-partitions", cluster::reassignments),
    ("broker-api-versions", cluster::api_versions),
];

/// Runs the checks, or those that are named.
pub(crate) fn suite(address: &str, wanted: &[String]) -> Result<Tally> {
    tools::kafka_tools()?;
    let run = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_millis();
    let address = address.to_owned();
    let tools = Tools { address, run };
    Ok(interop::checks("kafka-tools", &CHECKS, wanted, |check| {
        check(&tools)
    }))
}

impl Tools {
    fn topic(&self, name: &str) -> String {
        format!("tools-{name}-{}", self.run)
    }

    fn command(&self, class: &str, arguments: &[&str]) -> Command {
        // One of them lies outside the tools' package, and is named whole.
        let package = if class.starts_with("kafka.") {
            ""
        } else {
            "org.apache.kafka.tools."
        };
        let mut java = Command::new("java");
        java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
            .arg("-cp")
            .arg(tools::class_path("kafka-tools"))
            .arg(format!("{package}{class}"))
            .args(["--bootstrap-server", &self.address])
            .args(arguments);
        java
    }

    /// Starts a tool that goes on until it is dropped.
    fn start(&self, class: &str, arguments: &[&str]) -> Result<Talking> {
        Talking::start(&mut self.command(class, arguments), b"")
    }

    /// Runs a tool; whether it ended well, and all that it said.
    fn call(&self, class: &str, arguments: &[&str]) -> Result<(bool, String)> {
        let said = self.start(class, arguments)?.finish(LIMIT)?;
        let stdout = String::from_utf8_lossy(&said.stdout).into_owned();
        Ok((said.good, stdout + &said.stderr))
    }

    fn good(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let (good, said) = self.call(class, arguments)?;
        ensure!(good, "{class} {} failed: {said}", arguments.join(" "));
        Ok(said)
    }

    /// Runs a tool that has to fail and to say `word`.
    fn refused(&self, class: &str, arguments: &[&str], word: &str) -> Result<()> {
        let (good, said) = self.call(class, arguments)?;
        ensure!(
            !good,
            "{class} {} did not fail: {said}",
            arguments.join(" ")
        );
        holds(&said, word)
    }

    /// Runs a tool until `done` finds something in what it says: changes take a moment to show.
    fn until<T>(
        &self,
        class: &str,
        arguments: &[&str],
        done: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + LIMIT;
        loop {
            let said = self.good(class, arguments)?;
            if let Some(found) = done(&said) {
                return Ok(found);
            }
            let late = Instant::now() > end;
            ensure!(
                !late,
                "{class} {} says in the end: {said}",
                arguments.join(" ")
            );
        }
    }

    fn create(&self, name: &str, partitions: &str) -> Result<String> {
        let topic = self.topic(name);
        let arguments = ["--create", "--topic", &topic, "--partitions", partitions];
        self.good(TOPICS, &arguments)?;
        Ok(topic)
    }

    /// What get-offsets says of a topic.
    fn offsets(&self, topic: &str, time: &str) -> Result<Vec<String>> {
        let said = self.good(OFFSETS, &["--topic", topic, "--time", time])?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    fn produce(&self, topic: &str, count: &str, more: &[&str]) -> Result<()> {
        let arguments = ["--topic", topic, "--max-messages", count];
        let said = self.good("VerifiableProducer", &[&arguments[..], more].concat())?;
        let told = said.matches("producer_send_success").count().to_string();
        same(count, &told, "records that the producer saw acknowledged")
    }

    /// A topic of one partition with `count` records.
    fn filled(&self, name: &str, count: &str) -> Result<String> {
        let topic = self.create(name, "1")?;
        self.produce(&topic, count, &[])?;
        Ok(topic)
    }

    /// Writes a file for a tool to read.
    fn file(&self, name: &str, text: &str) -> Result<Input> {
        let path = repo::scratch("talk")?.join(self.topic(name));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Input(path))
    }
}

/// A file that goes when nobody needs it any more.
struct Input(PathBuf);

impl Input {
    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
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

/// The words of the line of a table that begins with `first`.
fn row<'a>(said: &'a str, first: &str) -> Option<Vec<&'a str>> {
    said.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.first() == Some(&first))
}
