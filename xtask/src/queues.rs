//! The queues suite: a Kafka producer feeds queues and subscriptions that the command line works off,
//! while a Kafka consumer reads the same topic.
//!
//! kcat (librdkafka) packs its batches; what queue-style readers must know of the records in them is found
//! out by the broker.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::brokers::Broker;
use crate::interop;
use crate::kcat::Kcat;
use crate::run::Talking;
use crate::tally::Tally;

const LIMIT: Duration = Duration::from_secs(60);

/// The broker, its command line, and kcat.
struct Queues<'a> {
    broker: &'a mut Broker,
    program: PathBuf,
    kcat: Kcat,
}

type Check = fn(&mut Queues<'_>) -> Result<()>;

const CHECKS: [(&str, Check); 5] = [
    ("one-topic-many-readers", one_topic_many_readers),
    ("order-by-key-over-a-kill", order_by_key_over_a_kill),
    ("delay-and-expiry", delay_and_expiry),
    ("dead-letters-and-redrive", dead_letters_and_redrive),
    ("impossible-wishes", impossible_wishes),
];

/// Runs the checks, or those that are named.
pub(crate) fn suite(broker: &mut Broker, wanted: &[String]) -> Result<Tally> {
    let kcat = Kcat::new(broker.address())?;
    let program = broker.program();
    let mut queues = Queues {
        broker,
        program,
        kcat,
    };
    Ok(interop::checks("queues", &CHECKS, wanted, |check| {
        check(&mut queues)
    }))
}

impl Queues<'_> {
    /// What the command line says to a line of arguments.
    fn mulgil(&self, line: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(line).args(["--server", &self.broker.http()]);
        let said = Talking::start(&mut command, b"")?.finish(LIMIT)?;
        let line = line.join(" ");
        ensure!(said.good, "mulgil {line}: {}", said.stderr.trim());
        Ok(String::from_utf8(said.stdout)?)
    }

    /// A name that no other run has.
    fn name(&self, name: &str) -> String {
        self.kcat.topic(name)
    }

    /// Sends lines `key:value` with headers, packed.
    fn send(&self, topic: &str, codec: &str, headers: &[&str], lines: &str) -> Result<()> {
        let mut more = vec!["-K", ":", "-z", codec];
        for header in headers {
            more.extend(["-H", header]);
        }
        self.kcat.produce(topic, &more, lines.as_bytes())
    }

    /// Takes up to so many; their receipts and values.
    fn take(&self, name: &str, count: &str) -> Result<Vec<(String, String)>> {
        let line = ["subscription", "receive", name, "-n", count];
        let said = self.mulgil(&[&line[..], &["--lock", "10m", "-o", "jsonl"]].concat())?;
        let one = |line: &str| -> Result<(String, String)> {
            let record: Value = serde_json::from_str(line)?;
            let text = |field: &str| record.get(field).and_then(Value::as_str);
            let receipt = text("receipt").context("no receipt")?;
            Ok((
                receipt.to_owned(),
                text("value").unwrap_or_default().to_owned(),
            ))
        };
        said.lines().map(one).collect()
    }

    /// Takes them one at a time until there is none.
    fn work_off(&self, name: &str) -> Result<String> {
        let mut values = Vec::new();
        loop {
            let taken = self.take(name, "1")?;
            let Some((receipt, value)) = taken.into_iter().next() else {
                return Ok(values.join(" "));
            };
            self.mulgil(&["subscription", "settle", name, &receipt, "--accept"])?;
            values.push(value);
        }
    }
}

fn values(taken: &[(String, String)]) -> String {
    let values: Vec<_> = taken.iter().map(|(_, value)| value.as_str()).collect();
    values.join(" ")
}

fn same(what: &str, got: &str, wanted: &str) -> Result<()> {
    ensure!(got == wanted, "{what}: wanted {wanted:?}, got {got:?}");
    Ok(())
}

fn one_topic_many_readers(queues: &mut Queues<'_>) -> Result<()> {
    let topic = queues.name("shared");
    queues.mulgil(&["topic", "create", &topic, "-p", "1"])?;
    let [urgent, european, keyed] =
        ["urgent", "european", "keyed"].map(|name| format!("{topic}-{name}"));
    let create = ["subscription", "create", &topic];
    queues.mulgil(&[&create[..], &[&urgent, "--order", "priority"]].concat())?;
    let filter = "region = 'eu' AND JSON_VALUE(body, '$.sum') > 10";
    queues.mulgil(&[&create[..], &[&european, "--filter", filter]].concat())?;
    queues.mulgil(&[&create[..], &[&keyed, "--order", "key"]].concat())?;
    let (low, high) = ("mulgil.priority=1", "mulgil.priority=200");
    queues.send(
        &topic,
        "lz4",
        &[low, "region=eu"],
        "a:{\"sum\":1}\nb:{\"sum\":20}\n",
    )?;
    queues.send(&topic, "zstd", &[high, "region=us"], "a:{\"sum\":30}\n")?;
    queues.send(
        &topic,
        "gzip",
        &["region=eu"],
        "b:{\"sum\":40}\na:{\"sum\":5}\n",
    )?;
    let sums = |numbers: &[u32]| {
        let each = numbers.iter().map(|sum| format!("{{\"sum\":{sum}}}"));
        each.collect::<Vec<_>>().join(" ")
    };
    let taken = queues.take(&keyed, "100")?;
    same("one of each key", &values(&taken), &sums(&[1, 20]))?;
    same(
        "by priority",
        &queues.work_off(&urgent)?,
        &sums(&[30, 1, 20, 40, 5]),
    )?;
    same("filtered", &queues.work_off(&european)?, &sums(&[20, 40]))?;
    for (receipt, _) in &taken {
        queues.mulgil(&["subscription", "settle", &keyed, receipt, "--accept"])?;
    }
    same(
        "the rest by key",
        &queues.work_off(&keyed)?,
        &sums(&[30, 40, 5]),
    )?;
    let read = queues.kcat.consume(&topic, "beginning", &["-f", "%s "])?;
    same("a Kafka consumer", read.trim(), &sums(&[1, 20, 30, 40, 5]))
}

fn order_by_key_over_a_kill(queues: &mut Queues<'_>) -> Result<()> {
    let name = queues.name("accounts");
    queues.mulgil(&["queue", "create", &name, "--order", "key"])?;
    queues.send(&name, "snappy", &[], "ann:1\nann:2\nbob:3\nann:4\n")?;
    let taken = queues.take(&name, "100")?;
    same("one of each key", &values(&taken), "1 3")?;
    queues.broker.kill();
    queues.broker.restart()?;
    // Both are locked still, and their keys with them.
    same("behind a lock", &values(&queues.take(&name, "100")?), "")?;
    let ann = taken.first().context("nothing was taken")?;
    queues.mulgil(&["queue", "settle", &name, &ann.0, "--accept"])?;
    same("the next", &values(&queues.take(&name, "100")?), "2")
}

fn delay_and_expiry(queues: &mut Queues<'_>) -> Result<()> {
    let name = queues.name("later");
    queues.mulgil(&["queue", "create", &name])?;
    queues.send(&name, "lz4", &["mulgil.delay=3600000"], "k:tomorrow\n")?;
    queues.send(&name, "lz4", &["mulgil.delay=300"], "k:soon\n")?;
    queues.send(&name, "lz4", &["mulgil.ttl=1"], "k:gone\n")?;
    queues.send(&name, "lz4", &[], "k:now\n")?;
    let mut first = queues.take(&name, "1")?;
    // It may have been handed out in the one millisecond that it had.
    if values(&first) == "gone" {
        first = queues.take(&name, "1")?;
    }
    same("at once", &values(&first), "now")?;
    let waited = queues.mulgil(&["queue", "receive", &name, "--wait", "30s", "-o", "jsonl"])?;
    ensure!(waited.contains("\"soon\""), "not the delayed one: {waited}");
    let peeked = queues.mulgil(&["queue", "peek", &name, "-o", "jsonl"])?;
    ensure!(peeked.contains("\"scheduled\""), "nothing waits: {peeked}");
    Ok(())
}

fn dead_letters_and_redrive(queues: &mut Queues<'_>) -> Result<()> {
    let (name, graves) = (queues.name("work"), queues.name("graves"));
    queues.mulgil(&["queue", "create", &graves])?;
    let create = ["queue", "create", &name, "--dead-letter", &graves];
    queues.mulgil(&[&create[..], &["--failed-max", "1"]].concat())?;
    queues.send(&name, "zstd", &["trace=7"], "a:1\nb:2\nc:3\n")?;
    for (receipt, value) in queues.take(&name, "3")? {
        let outcome = if value == "2" { "--accept" } else { "--reject" };
        queues.mulgil(&["queue", "settle", &name, &receipt, outcome])?;
    }
    let waiting = |queues: &Queues<'_>, name: &str, count: usize| -> Result<()> {
        let started = std::time::Instant::now();
        loop {
            let peeked = queues.mulgil(&["queue", "peek", name, "-o", "jsonl"])?;
            if peeked.lines().count() == count {
                return Ok(());
            }
            ensure!(started.elapsed() < LIMIT, "{count} do not come: {peeked}");
        }
    };
    waiting(queues, &graves, 2)?;
    let dead = queues
        .kcat
        .consume(&graves, "beginning", &["-f", "%k=%s %h\n"])?;
    ensure!(
        dead.contains("\"reason\":\"rejected\""),
        "no reason: {dead}"
    );
    ensure!(dead.contains("trace=7"), "its own header is gone: {dead}");
    queues.mulgil(&["dlq", "redrive", &graves])?;
    waiting(queues, &graves, 0)?;
    same("back again", &queues.work_off(&name)?, "1 3")
}

fn impossible_wishes(queues: &mut Queues<'_>) -> Result<()> {
    let name = queues.name("wishes");
    queues.mulgil(&["queue", "create", &name])?;
    for header in ["mulgil.delay=soon", "mulgil.ttl=-1"] {
        let refused = queues.send(&name, "lz4", &[header], "k:v\n");
        ensure!(refused.is_err(), "{header} was taken");
    }
    queues.send(&name, "lz4", &["mulgil.delay=0"], "k:v\n")?;
    same("what was possible", &queues.work_off(&name)?, "v")
}
