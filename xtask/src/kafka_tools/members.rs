//! kafka-consumer-groups on a group that has a member.

use anyhow::{Context as _, Result};

use super::{GROUPS, Tools, holds, row, same};

pub(super) fn describe(tools: &Tools) -> Result<()> {
    let topic = tools.create("members", "2")?;
    tools.produce(&topic, "10", &[])?;
    let group = ["--group", topic.as_str()];
    let start = [
        ["--group-id", topic.as_str()],
        ["--topic", topic.as_str()],
        ["--reset-policy", "earliest"],
        ["--session-timeout", "6000"],
    ];
    let member = tools.start("VerifiableConsumer", &start.concat())?;
    let ask = |more: &[&'static str]| [&["--describe"], &group[..], more].concat();
    let stable = tools.until(GROUPS, &ask(&["--state"]), |said| {
        let words: Vec<String> = row(said, &topic)?.iter().map(|w| (*w).to_owned()).collect();
        words.iter().any(|word| word == "Stable").then_some(words)
    })?;
    let wanted = ["range", "Stable", "1"].map(str::to_owned);
    let told = stable.get(3..).unwrap_or_default();
    same(&wanted[..], told, "strategy, state, members")?;
    let said = tools.good(GROUPS, &ask(&["--members"]))?;
    let told = row(&said, &topic).with_context(|| format!("no row in: {said}"))?;
    same(&Some(&"2"), &told.get(4), "partitions of the member")?;
    let said = tools.good(GROUPS, &ask(&["--members", "--verbose"]))?;
    holds(&said, &format!("{topic}:0,1"))?;
    let lag = tools.until(GROUPS, &ask(&["--offsets"]), |said| {
        // Without keys all records may lie in one partition; nothing is committed of the other.
        let mut rows = said.lines().map(|line| line.split_whitespace().collect());
        let told = rows.find(|told: &Vec<&str>| {
            told.first() == Some(&topic.as_str()) && told.get(5) == Some(&"0")
        })?;
        Some(told.get(6).map(|id| (*id).to_owned()))
    })?;
    holds(&lag.unwrap_or_default(), "consumer-")?;
    let said = tools.good(
        GROUPS,
        &["--list", "--state", "Stable", "--type", "Classic"],
    )?;
    row(&said, &topic).with_context(|| format!("not listed as stable: {said}"))?;
    let reset = [
        "--reset-offsets",
        "--to-earliest",
        "--execute",
        "--topic",
        &topic,
    ];
    let (_, said) = tools.call(GROUPS, &[&group[..], &reset].concat())?;
    holds(&said, "can only be reset if the group")?;
    let (_, said) = tools.call(GROUPS, &[&group[..], &["--delete"]].concat())?;
    holds(&said, "GroupNotEmptyException")?;
    let forget = ["--delete-offsets", "--topic", &topic];
    let (_, said) = tools.call(GROUPS, &[&group[..], &forget].concat())?;
    holds(&said, "GroupSubscribedToTopicException")?;
    drop(member);
    tools.until(GROUPS, &ask(&["--state"]), |said| {
        row(said, &topic)?.contains(&"Empty").then_some(())
    })?;
    let said = tools.good(GROUPS, &[&group[..], &["--delete"]].concat())?;
    holds(&said, "successful")
}
