//! The connect suite: Kafka Connect copies files through topics, while brokers and workers are killed.
//!
//! The source reads a file line by line into a topic of one partition, the sink writes what it reads
//! from there to another file, and in the end the two have to be equal: nothing lost, nothing twice,
//! nothing out of order. Connect promises at least once; it comes to exactly once here because its
//! producer is told to be idempotent, because groups outlive a kill of the broker, and because workers
//! are only killed when they have written down how far they are.

mod distributed;
mod standalone;
mod text;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::brokers::{self, Broker};
use crate::service::Service;
use crate::tally::Tally;
use crate::{file_test, http, interop, repo, tools};

/// A worker needs a quarter of a minute to start on a busy machine; the rest is for rebalances.
const LIMIT: Duration = Duration::from_secs(180);
const STANDALONE: &str = include_str!("../../interop/connect/standalone.properties");
const DISTRIBUTED: &str = include_str!("../../interop/connect/distributed.properties");

/// What the checks work with: the broker, and a name that no other run has.
struct Connect<'a> {
    broker: &'a mut Broker,
    run: u128,
}

type Check = fn(&mut Connect<'_>) -> Result<()>;

const CHECKS: [(&str, Check); 3] = [
    ("standalone", standalone::copies_over_a_broker_restart),
    ("distributed", distributed::goes_on_after_kills),
    ("failover", distributed::another_worker_takes_over),
];

/// Runs the checks, or those that are named.
pub(crate) fn suite(broker: &mut Broker, wanted: &[String]) -> Result<Tally> {
    tools::connect()?;
    let run = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_millis();
    let mut connect = Connect { broker, run };
    Ok(interop::checks("connect", &CHECKS, wanted, |check| {
        check(&mut connect)
    }))
}

/// A process of Kafka Connect.
struct Worker {
    service: Service,
    rest: String,
}

impl Worker {
    /// Starts `class` with `properties`, in which what stands between @ signs is filled in, and the
    /// connectors whose files are `more`; waits until its REST interface answers.
    fn start(
        connect: &Connect<'_>,
        class: &str,
        (home, name): (&Path, &str),
        properties: &str,
        more: &[PathBuf],
    ) -> Result<Self> {
        let rest = brokers::free_address()?;
        let file = home.join(format!("{name}.properties"));
        let properties = properties
            .replace("@KAFKA@", connect.broker.address())
            .replace("@REST@", &rest)
            .replace("@HOME@", &home.display().to_string());
        std::fs::write(&file, properties)?;
        let mut java = Command::new("java");
        java.args(["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"])
            .arg("-cp")
            .arg(tools::class_path("connect"))
            .arg(format!("org.apache.kafka.connect.cli.{class}"))
            .arg(file)
            .args(more)
            .current_dir(home);
        let log = home.join(format!("{name}.log"));
        let service = Service::start(&format!("connect {name}"), &mut java, log)?;
        let mut worker = Self { service, rest };
        worker.until("the worker answers", |rest| {
            http::get(rest, "/connectors").map(Some)
        })?;
        Ok(worker)
    }

    /// Asks until there is something; `ask` gets the address of the REST interface.
    fn until<T>(
        &mut self,
        what: &str,
        mut ask: impl FnMut(&str) -> Result<Option<T>>,
    ) -> Result<T> {
        let rest = &self.rest;
        self.service.until(what, LIMIT, || ask(rest))
    }

    /// Asks for something that succeeds, though perhaps only after a rebalance.
    fn order(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        self.until(&format!("{method} {path}"), |rest| {
            let answer = http::ask(rest, method, path, body)?;
            // 409: a rebalance is under way.
            if answer.status == 409 {
                return Ok(None);
            }
            Ok(Some(answer.good()))
        })?
        .with_context(|| format!("{method} {path}"))
    }

    /// Waits until a connector and its task are in `state`, and gives the ids of their two workers.
    fn in_state(&mut self, connector: &str, state: &str) -> Result<[String; 2]> {
        let path = format!("/connectors/{connector}/status");
        self.until(&format!("{connector} is {state}"), |rest| {
            let status = http::get(rest, &path)?;
            let at = |pointer: &str| status.pointer(pointer).and_then(Value::as_str);
            let both = at("/connector/state") == Some(state)
                && at("/tasks/0/state").is_none_or(|task| task == state)
                && (state != "RUNNING" || at("/tasks/0/state").is_some());
            let owner = |pointer: &str| at(pointer).unwrap_or_default().to_owned();
            ensure!(both, "{status}");
            Ok(Some([
                owner("/connector/worker_id"),
                owner("/tasks/0/worker_id"),
            ]))
        })
    }

    /// Waits until the offset that Connect has written down for a connector is `wanted`.
    fn at_offset(&mut self, connector: &str, pointer: &str, wanted: u64) -> Result<()> {
        let path = format!("/connectors/{connector}/offsets");
        self.until(&format!("{connector} is at {wanted}"), |rest| {
            let offsets = http::get(rest, &path)?;
            let got = offsets.pointer(pointer).and_then(Value::as_u64);
            ensure!(got == Some(wanted), "{offsets}");
            Ok(Some(()))
        })
    }
}

/// A file on its way through a topic.
struct Copy {
    topic: String,
    source: PathBuf,
    sink: PathBuf,
}

impl Copy {
    fn new(connect: &Connect<'_>, home: &Path, name: &str) -> Self {
        Self {
            topic: format!("connect-{name}-{}", connect.run),
            source: home.join("in.txt"),
            sink: home.join("out.txt"),
        }
    }

    /// A connector's name, which tells the run as topics do.
    fn connector(&self, side: &str) -> String {
        format!("{}-{side}", self.topic)
    }

    fn source_config(&self) -> Value {
        json!({
            "connector.class": "FileStreamSource",
            "tasks.max": "1",
            "topic": self.topic,
            "file": self.source,
            "topic.creation.default.replication.factor": "1",
            "topic.creation.default.partitions": "1",
        })
    }

    fn sink_config(&self) -> Value {
        json!({
            "connector.class": "FileStreamSink",
            "tasks.max": "1",
            "topics": self.topic,
            "file": self.sink,
        })
    }

    /// Adds lines to the file that is read.
    fn feed(&self, text: &str) -> Result<()> {
        text::append(&self.source, text)
    }

    fn fed(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.source)?.len())
    }

    /// How much has come out; nothing as long as there is no file.
    fn copied(&self) -> u64 {
        std::fs::metadata(&self.sink).map_or(0, |file| file.len())
    }

    /// Waits until all has come out, sends a last line after it, and compares once that is there too:
    /// the topic has one partition, so that nothing can come behind it.
    fn finish(&self, worker: &mut Worker, last: &str) -> Result<()> {
        let fed = self.fed()?;
        worker.until("as many bytes came out as went in", |_| {
            ensure!(self.copied() >= fed, "{} of {fed}", self.copied());
            Ok(Some(()))
        })?;
        let last = format!("{last}\n");
        self.feed(&last)?;
        worker.until("the last line came out", |_| {
            let out = std::fs::read(&self.sink)?;
            Ok(out.ends_with(last.as_bytes()).then_some(()))
        })?;
        file_test::compare(&self.source, &self.sink).map(drop)
    }
}

fn home(name: &str) -> Result<PathBuf> {
    repo::fresh(&format!("connect/{name}"))
}
