//! kafka-configs: settings of topics and brokers, and quotas.

use anyhow::Result;

use super::{CONFIGS, TOPICS, Tools, holds};

/// An entity by the words that name it.
struct Entity<'a> {
    tools: &'a Tools,
    words: Vec<&'a str>,
}

impl Entity<'_> {
    fn arguments<'a>(&'a self, action: &[&'a str]) -> Vec<&'a str> {
        [action, &self.words].concat()
    }

    fn add(&self, settings: &str) -> Result<()> {
        let arguments = self.arguments(&["--alter", "--add-config", settings]);
        self.tools.good(CONFIGS, &arguments).map(drop)
    }

    fn delete(&self, settings: &str) -> Result<()> {
        let arguments = self.arguments(&["--alter", "--delete-config", settings]);
        self.tools.good(CONFIGS, &arguments).map(drop)
    }

    fn refuses(&self, action: &str, settings: &str, word: &str) -> Result<()> {
        let arguments = self.arguments(&["--alter", action, settings]);
        self.tools.refused(CONFIGS, &arguments, word)
    }

    /// Waits until its description holds all of these.
    fn shows(&self, words: &[&str]) -> Result<()> {
        self.until(|said| words.iter().all(|word| said.contains(word)))
    }

    /// Waits until its description holds nothing of this.
    fn forgets(&self, word: &str) -> Result<()> {
        self.until(|said| !said.contains(word))
    }

    fn until(&self, done: impl Fn(&str) -> bool) -> Result<()> {
        let arguments = self.arguments(&["--describe"]);
        self.tools
            .until(CONFIGS, &arguments, |said| done(said).then_some(()))
    }
}

pub(super) fn of_a_topic(tools: &Tools) -> Result<()> {
    let topic = tools.create("configs", "1")?;
    let words = vec!["--entity-type", "topics", "--entity-name", &topic];
    let entity = Entity { tools, words };
    entity.add("retention.ms=5000000,cleanup.policy=[compact,delete]")?;
    entity.shows(&[
        "retention.ms=5000000",
        "DYNAMIC_TOPIC_CONFIG:retention.ms=5000000",
        "cleanup.policy=compact,delete",
    ])?;
    let all = tools.good(CONFIGS, &entity.arguments(&["--describe", "--all"]))?;
    holds(
        &all,
        "max.message.bytes=1048588 sensitive=false \
         synonyms={DEFAULT_CONFIG:message.max.bytes=1048588}",
    )?;
    let file = tools.file("add-config.properties", "max.message.bytes=2000\n")?;
    let path = file.path();
    let from_file = ["--alter", "--add-config-file", path.as_str()];
    tools.good(CONFIGS, &entity.arguments(&from_file))?;
    entity.shows(&["max.message.bytes=2000", "retention.ms=5000000"])?;
    entity.delete("retention.ms,max.message.bytes")?;
    entity.forgets("retention.ms")?;
    entity.shows(&["cleanup.policy=compact,delete"])?;
    for settings in [
        "no.such.setting=1",
        "retention.ms=soon",
        "cleanup.policy=shred",
    ] {
        entity.refuses("--add-config", settings, "InvalidConfigurationException")?;
    }
    // The tool takes it well if there is nothing to delete.
    entity.delete("retention.ms")?;
    let none = tools.topic("none");
    let words = vec!["--entity-type", "topics", "--entity-name", &none];
    let nobody = Entity { tools, words };
    nobody.refuses(
        "--add-config",
        "retention.ms=1",
        "UnknownTopicOrPartitionException",
    )?;
    tools
        .good(TOPICS, &["--delete", "--topic", &topic])
        .map(drop)
}

pub(super) fn of_brokers(tools: &Tools) -> Result<()> {
    let words = vec!["--entity-type", "brokers", "--entity-default"];
    let all = Entity { tools, words };
    all.add("log.cleaner.delete.retention.ms=77000000")?;
    all.shows(&["log.cleaner.delete.retention.ms=77000000"])?;
    let words = vec!["--entity-type", "brokers", "--entity-name", "1"];
    let one = Entity { tools, words };
    one.add("log.cleaner.delete.retention.ms=66000000")?;
    one.shows(&[
        "DYNAMIC_BROKER_CONFIG:log.cleaner.delete.retention.ms=66000000, \
                 DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.delete.retention.ms=77000000",
    ])?;
    let told = tools.good(CONFIGS, &one.arguments(&["--describe", "--all"]))?;
    holds(&told, "num.partitions=1 sensitive=false")?;
    one.delete("log.cleaner.delete.retention.ms")?;
    all.delete("log.cleaner.delete.retention.ms")?;
    one.forgets("log.cleaner.delete.retention.ms")?;
    all.forgets("log.cleaner.delete.retention.ms")?;
    one.refuses(
        "--add-config",
        "num.partitions=2",
        "InvalidRequestException",
    )
}

pub(super) fn quotas(tools: &Tools) -> Result<()> {
    let name = tools.topic("quota");
    let user = ["--entity-type", "users", "--entity-name", &name];
    let client = ["--entity-type", "clients", "--entity-name", &name];
    let default = ["--entity-type", "clients", "--entity-default"];
    let both = [&user[..], &client].concat();
    let named = format!("client-id '{name}'");
    let user_named = format!("user-principal '{name}'");
    let pair = format!("{user_named}, {named}");
    for (words, told) in [
        (client.to_vec(), named.as_str()),
        (both, pair.as_str()),
        (user.to_vec(), user_named.as_str()),
        (default.to_vec(), "the default client-id"),
    ] {
        let entity = Entity { tools, words };
        entity.add("producer_byte_rate=1.5E9,request_percentage=900")?;
        let head = format!("Quota configs for {told} are ");
        let settings = ["producer_byte_rate=1.5E9", "request_percentage=900.0"];
        entity.shows(&[&[head.as_str()], &settings[..]].concat())?;
        entity.delete("producer_byte_rate,request_percentage")?;
        entity.forgets("Quota configs")?;
    }
    let words = client.to_vec();
    let entity = Entity { tools, words };
    entity.refuses("--delete-config", "request_percentage", "Invalid config(s)")?;
    entity.refuses(
        "--add-config",
        "producer_byte_rate=-1",
        "InvalidRequestException",
    )
}
