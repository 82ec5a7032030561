//! Tools that tell what a broker is and where things lie: log directories, elections, reassignments,
//! versions.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Tools, holds};

pub(super) fn log_dirs(tools: &Tools) -> Result<()> {
    const CLASS: &str = "LogDirsCommand";
    let topic = tools.create("log-dirs", "2")?;
    tools.produce(&topic, "100", &[])?;
    let asked = [
        "--describe",
        "--topic-list",
        topic.as_str(),
        "--broker-list",
        "1",
    ];
    let bytes = tools.until(CLASS, &asked, |said| {
        let told: Value = said
            .lines()
            .find_map(|line| serde_json::from_str(line).ok())?;
        let directories = told.pointer("/brokers/0/logDirs")?.as_array()?;
        let partitions = |one: &Value| Some(one.get("partitions")?.as_array()?.clone());
        let all: Vec<Value> = directories
            .iter()
            .filter_map(partitions)
            .flatten()
            .collect();
        let bytes: u64 = all.iter().filter_map(|one| one.get("size")?.as_u64()).sum();
        let fine = directories
            .iter()
            .all(|one| one.get("error") == Some(&Value::Null));
        (fine && all.len() == 2 && bytes > 0).then_some(bytes)
    })?;
    ensure!(bytes >= 400, "100 records in {bytes} bytes");
    let strange = ["--describe", "--broker-list", "99"];
    tools.refused(CLASS, &strange, "The given brokers do not exist")
}

pub(super) fn leader_election(tools: &Tools) -> Result<()> {
    const CLASS: &str = "LeaderElectionCommand";
    let topic = tools.create("elect", "2")?;
    let elected = format!("Valid replica already elected for partitions {topic}-1");
    for kind in ["preferred", "unclean"] {
        let one = [
            "--topic",
            &topic,
            "--partition",
            "1",
            "--election-type",
            kind,
        ];
        holds(&tools.good(CLASS, &one)?, &elected)?;
    }
    let partition = serde_json::json!({"topic": topic, "partition": 1});
    let plan = serde_json::json!({"partitions": [partition]}).to_string();
    let file = tools.file("elect.json", &plan)?;
    let path = file.path();
    let preferred = ["--election-type", "preferred"];
    let from_file = ["--path-to-json-file", path.as_str()];
    let said = tools.good(CLASS, &[&preferred[..], &from_file].concat())?;
    holds(&said, &elected)?;
    tools.good(
        CLASS,
        &[&preferred[..], &["--all-topic-partitions"]].concat(),
    )?;
    let none = tools.topic("none");
    let unknown = ["--topic", &none, "--partition", "0"];
    let unknown = [&preferred[..], &unknown].concat();
    tools.refused(CLASS, &unknown, "UnknownTopicOrPartitionException")
}

pub(super) fn reassignments(tools: &Tools) -> Result<()> {
    const CLASS: &str = "reassign.ReassignPartitionsCommand";
    let topic = tools.create("reassign", "1")?;
    holds(
        &tools.good(CLASS, &["--list"])?,
        "No partition reassignments found.",
    )?;
    let to = |broker: i32| {
        let partition = serde_json::json!({"topic": topic, "partition": 0, "replicas": [broker]});
        let plan = serde_json::json!({"version": 1, "partitions": [partition]});
        tools.file(&format!("reassign-{broker}.json"), &plan.to_string())
    };
    let here = to(1)?;
    let path = here.path();
    let execute = ["--execute", "--reassignment-json-file", path.as_str()];
    let said = tools.good(CLASS, &execute)?;
    holds(
        &said,
        &format!("Successfully started partition reassignment for {topic}-0"),
    )?;
    let verify = ["--verify", "--reassignment-json-file", path.as_str()];
    let done = format!("Reassignment of partition {topic}-0 is completed.");
    tools.until(CLASS, &verify, |said| said.contains(&done).then_some(()))?;
    let strange = to(99)?;
    let path = strange.path();
    let execute = ["--execute", "--reassignment-json-file", path.as_str()];
    let (_, said) = tools.call(CLASS, &execute)?;
    holds(&said, "99")
}

pub(super) fn api_versions(tools: &Tools) -> Result<()> {
    let said = tools.good("BrokerApiVersionsCommand", &[])?;
    let head = said.lines().find(|line| line.starts_with(&tools.address));
    let head = head.with_context(|| format!("{} is not told: {said}", tools.address))?;
    holds(head, "(id: 1 ")?;
    for request in ["Produce(0)", "Fetch(1)", "ListOffsets(2)", "Metadata(3)"] {
        let line = said
            .lines()
            .find(|line| line.trim_start().starts_with(request));
        holds(line.with_context(|| format!("no {request}"))?, "[usable: ")?;
    }
    Ok(())
}
