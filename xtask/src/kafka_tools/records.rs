//! Tools that write and read records, move the beginning of partitions, and tell offsets.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

use super::{OFFSETS, TOPICS, Tools, holds, same};

pub(super) fn verifiable(tools: &Tools) -> Result<()> {
    let topic = tools.create("verifiable", "1")?;
    tools.produce(&topic, "1000", &["--acks", "1", "--repeating-keys", "7"])?;
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

pub(super) fn performance(tools: &Tools) -> Result<()> {
    let topic = tools.create("performance", "2")?;
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

pub(super) fn delete(tools: &Tools) -> Result<()> {
    let topic = tools.filled("delete", "10")?;
    let before = |offset| {
        let partition = serde_json::json!({"topic": topic, "partition": 0, "offset": offset});
        let plan = serde_json::json!({"version": 1, "partitions": [partition]});
        let file = tools.file("delete.json", &plan.to_string())?;
        tools.call(
            "DeleteRecordsCommand",
            &["--offset-json-file", &file.path()],
        )
    };
    holds(&before(6)?.1, "low_watermark: 6")?;
    let first = format!("{topic}:0:6");
    same(&[first][..], &tools.offsets(&topic, "-2")?, "beginning")?;
    holds(&before(11)?.1, "OffsetOutOfRange")?;
    // -1 stands for the end.
    holds(&before(-1)?.1, "low_watermark: 10")
}

pub(super) fn offsets(tools: &Tools) -> Result<()> {
    let topic = tools.create("times", "1")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let hour = 3_600_000;
    // Each run of the producer numbers its time on from where it is told to begin.
    for age in [3, 1, 2] {
        let time = (now - age * hour).to_string();
        tools.produce(&topic, "1", &["--message-create-time", &time])?;
    }
    let at = |time: u128| time.to_string();
    for (time, wanted) in [
        ("-1".to_owned(), "3"),
        ("latest".to_owned(), "3"),
        ("-2".to_owned(), "0"),
        ("earliest".to_owned(), "0"),
        ("-3".to_owned(), "1"),
        ("max-timestamp".to_owned(), "1"),
        ("-4".to_owned(), "0"),
        ("earliest-local".to_owned(), "0"),
        (at(now - 4 * hour), "0"),
        (at(now - 2 * hour - hour / 2), "1"),
        (at(now - hour / 2), ""),
    ] {
        let got = tools.offsets(&topic, &time)?.join(" ");
        let told = got.strip_prefix(&format!("{topic}:0:")).unwrap_or_default();
        same(wanted, told, &format!("offset for {time}"))?;
    }
    let grow = ["--alter", "--topic", &topic, "--partitions", "3"];
    tools.good(TOPICS, &grow)?;
    let by_name = format!("{topic}:1-3");
    for filter in [
        &["--topic", &topic, "--partitions", "1,2"][..],
        &["--topic-partitions", &by_name],
    ] {
        let wanted = [1, 2].map(|p| format!("{topic}:{p}:0")).join("\n");
        tools.until(OFFSETS, filter, |said| {
            (said.trim() == wanted).then_some(())
        })?;
    }
    tools.refused(OFFSETS, &["--time", "soon"], "Malformed time argument")?;
    let none = ["--topic", &tools.topic("none")];
    tools.refused(OFFSETS, &none, "Could not match any topic-partitions")
}
