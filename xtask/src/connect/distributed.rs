//! Workers that share their work: a group of protocol type `connect`, whose connectors, offsets and
//! states lie in three compacted topics.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::text::{Kind, lines};
use super::{Connect, Copy, DISTRIBUTED, Worker, home};
use crate::http;
use crate::kcat::Kcat;

const PART_BYTES: usize = 1_000_000;
const SOURCE_AT: &str = "/offsets/0/offset/position";
const SINK_AT: &str = "/offsets/0/offset/kafka_offset";

/// Kills the worker and the broker; the worker that comes after them knows its connectors and where
/// they were. Then the offsets of the sink are deleted, and the source is.
pub(super) fn goes_on_after_kills(connect: &mut Connect<'_>) -> Result<()> {
    let home = home("distributed")?;
    let mut copy = Copy::new(connect, &home, "distributed");
    let mut worker = start(connect, &home, "worker-1", &copy)?;
    let unknown = json!({"connector.class": "NoSuchConnector", "tasks.max": "1"});
    let answer = http::ask(
        &worker.rest,
        "PUT",
        "/connectors/unknown/config",
        Some(&unknown),
    )?;
    ensure!(answer.status >= 400, "an unknown class was taken");
    copy.feed(&lines(0, PART_BYTES, Kind::Ascii))?;
    create(&mut worker, &copy)?;
    copy.finish(&mut worker, "the end of the first part")?;
    written_down(&mut worker, &copy)?;

    // With the broker alone.
    connect.broker.kill();
    copy.feed(&lines(100_000, PART_BYTES, Kind::Ascii))?;
    connect.broker.restart().context("after kill -9")?;
    compacted(&mut worker, &copy, connect.broker.address())?;
    copy.finish(&mut worker, "the end of the second part")?;
    written_down(&mut worker, &copy)?;

    // With both.
    worker.service.kill();
    connect.broker.kill();
    copy.feed(&lines(200_000, PART_BYTES, Kind::Ascii))?;
    connect.broker.restart().context("after kill -9")?;
    let mut worker = start(connect, &home, "worker-2", &copy)?;
    running(&mut worker, &copy)?;
    copy.finish(&mut worker, "the end of the third part")?;
    written_down(&mut worker, &copy)?;

    again_from_the_start(&mut worker, &mut copy, &home)?;

    let (source, sink) = (copy.connector("source"), copy.connector("sink"));
    worker.order("DELETE", &format!("/connectors/{source}"), None)?;
    listed(&mut worker, &[&sink])?;
    worker.service.stop()?;
    let mut worker = start(connect, &home, "worker-3", &copy)?;
    listed(&mut worker, &[&sink])?;
    worker.in_state(&sink, "RUNNING")?;
    worker.service.stop()
}

/// Two workers have a connector and a task each; the one with the source's task is killed, and the
/// other goes on with it.
pub(super) fn another_worker_takes_over(connect: &mut Connect<'_>) -> Result<()> {
    let home = home("failover")?;
    let copy = Copy::new(connect, &home, "failover");
    let mut one = start(connect, &home, "worker-a", &copy)?;
    let mut two = start(connect, &home, "worker-b", &copy)?;
    copy.feed(&lines(0, PART_BYTES, Kind::Ascii))?;
    create(&mut one, &copy)?;
    let mut owner = String::new();
    let (rest_of_one, rest_of_two) = (one.rest.clone(), two.rest.clone());
    two.until("both workers have work", |_| {
        let [first, task] = owners(&rest_of_one, &copy.connector("source"))?;
        let [second, other] = owners(&rest_of_two, &copy.connector("sink"))?;
        let all = [&first, &task, &second, &other];
        let shared = [&rest_of_one, &rest_of_two].map(|rest| all.contains(&rest));
        owner.clone_from(&task);
        ensure!(shared == [true, true], "{all:?}");
        Ok(Some(()))
    })?;
    copy.finish(&mut one, "the end of the first part")?;
    written_down(&mut two, &copy)?;
    let (dead, mut alive) = if owner == one.rest {
        (one, two)
    } else {
        (two, one)
    };
    dead.service.kill();
    copy.feed(&lines(100_000, PART_BYTES, Kind::Ascii))?;
    let left = alive.rest.clone();
    for side in ["source", "sink"] {
        alive.until("the other worker has all", |rest| {
            let owners = owners(rest, &copy.connector(side))?;
            ensure!(owners.iter().all(|owner| *owner == left), "{owners:?}");
            Ok(Some(()))
        })?;
    }
    running(&mut alive, &copy)?;
    copy.finish(&mut alive, "the end of the second part")?;
    alive.service.stop()
}

/// Starts a worker of the group that copies `copy`.
fn start(connect: &Connect<'_>, home: &Path, name: &str, copy: &Copy) -> Result<Worker> {
    let properties = DISTRIBUTED.replace("@GROUP@", &group(copy));
    let class = "ConnectDistributed";
    Worker::start(connect, class, (home, name), &properties, &[])
}

/// The name of the workers' group; those of their topics begin with it.
fn group(copy: &Copy) -> String {
    format!("{}-workers", copy.topic)
}

fn create(worker: &mut Worker, copy: &Copy) -> Result<()> {
    for (side, config) in [
        ("source", copy.source_config()),
        ("sink", copy.sink_config()),
    ] {
        let path = format!("/connectors/{}/config", copy.connector(side));
        worker.order("PUT", &path, Some(&config))?;
    }
    running(worker, copy)
}

fn running(worker: &mut Worker, copy: &Copy) -> Result<()> {
    for side in ["source", "sink"] {
        worker.in_state(&copy.connector(side), "RUNNING")?;
    }
    Ok(())
}

/// The workers of a connector and of its task.
fn owners(rest: &str, connector: &str) -> Result<[String; 2]> {
    let status = http::get(rest, &format!("/connectors/{connector}/status"))?;
    let owner = |pointer: &str| {
        let id = status.pointer(pointer).and_then(Value::as_str);
        id.map(str::to_owned).with_context(|| status.to_string())
    };
    Ok([owner("/connector/worker_id")?, owner("/tasks/0/worker_id")?])
}

/// Waits until the offsets of both sides are at the end, so that a worker after this one goes on there.
fn written_down(worker: &mut Worker, copy: &Copy) -> Result<()> {
    let text = std::fs::read(&copy.source)?;
    let bytes = u64::try_from(text.len())?;
    let lines = u64::try_from(text.split(|byte| *byte == b'\n').count() - 1)?;
    worker.at_offset(&copy.connector("source"), SOURCE_AT, bytes)?;
    worker.at_offset(&copy.connector("sink"), SINK_AT, lines)
}

/// Copies lines until records that newer ones replace are gone from the topic of offsets.
fn compacted(worker: &mut Worker, copy: &Copy, address: &str) -> Result<()> {
    let kcat = Kcat::new(address)?;
    let topic = format!("{}-offsets", group(copy));
    worker.until("the topic of offsets is compacted", |_| {
        copy.feed("a line that moves the offset\n")?;
        let offsets = kcat.consume(&topic, "beginning", &["-f", "%o\n"])?;
        let last = offsets.lines().last().unwrap_or_default();
        let all = last.parse::<usize>()? + 1;
        Ok((offsets.lines().count() < all).then_some(()))
    })
}

/// Stops the sink, deletes its offsets, and lets it write all into another file.
fn again_from_the_start(worker: &mut Worker, copy: &mut Copy, home: &Path) -> Result<()> {
    let sink = format!("/connectors/{}", copy.connector("sink"));
    worker.order("PUT", &format!("{sink}/stop"), None)?;
    worker.in_state(&copy.connector("sink"), "STOPPED")?;
    worker.order("DELETE", &format!("{sink}/offsets"), None)?;
    copy.sink = home.join("again.txt");
    worker.order("PUT", &format!("{sink}/config"), Some(&copy.sink_config()))?;
    worker.order("PUT", &format!("{sink}/resume"), None)?;
    worker.in_state(&copy.connector("sink"), "RUNNING")?;
    copy.finish(worker, "the end of it all")
}

fn listed(worker: &mut Worker, wanted: &[&str]) -> Result<()> {
    worker.until("the connectors that are left", |rest| {
        let names = http::get(rest, "/connectors")?;
        ensure!(names == json!(wanted), "{names}");
        Ok(Some(()))
    })
}
