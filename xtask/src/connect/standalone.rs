//! One worker, a file of some megabytes, and a broker that is killed in the middle of it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::text::{Kind, lines};
use super::{Connect, Copy, STANDALONE, Worker, home};
use crate::file_test;
use crate::kcat::Kcat;

const HALF_BYTES: usize = 6_000_000;

pub(super) fn copies_over_a_broker_restart(connect: &mut Connect<'_>) -> Result<()> {
    let home = home("standalone")?;
    let copy = Copy::new(connect, &home, "file");
    copy.feed(&lines(0, HALF_BYTES, Kind::Any))?;
    let more = lines(1_000_000, HALF_BYTES, Kind::Any);
    let connectors = [
        connector(&home, copy.connector("source"), copy.source_config())?,
        connector(&home, copy.connector("sink"), copy.sink_config())?,
    ];
    let class = "ConnectStandalone";
    let mut worker = Worker::start(connect, class, (&home, "alone"), STANDALONE, &connectors)?;
    let quarter = copy.fed()? / 2;
    worker.until("a quarter came out", |_| {
        Ok((copy.copied() >= quarter).then_some(()))
    })?;
    copy.feed(&more)?;
    connect.broker.kill();
    let (out, fed) = (copy.copied(), copy.fed()?);
    ensure!(out < fed, "all was copied before the kill");
    let ready = connect.broker.restart().context("after kill -9")?;
    copy.finish(&mut worker, "the end")?;
    println!(
        "  {fed} bytes copied, the broker killed after {out}, ready again in {} ms",
        ready.as_millis()
    );
    let kcat = Kcat::new(connect.broker.address())?;
    let records = file_test::kcat_end(&kcat, &copy.topic)?;
    let wanted = std::fs::read(&copy.source)?;
    let wanted = wanted.split(|byte| *byte == b'\n').count() - 1;
    ensure!(
        records == i64::try_from(wanted)?,
        "{wanted} lines became {records} records"
    );
    worker.service.stop()
}

/// Writes a connector's configuration, with its name, to a file that the command line takes.
fn connector(home: &Path, name: String, mut config: Value) -> Result<std::path::PathBuf> {
    let path = home.join(format!("{name}.json"));
    if let Some(fields) = config.as_object_mut() {
        fields.insert("name".to_owned(), Value::String(name));
    }
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}
