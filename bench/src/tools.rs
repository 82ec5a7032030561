//! Kafka's own performance tools, unmodified, against a broker: what they say, and what it cost.
//!
//! They are programs of Java that use most of a small machine themselves, so that they measure a
//! producer and a consumer as people run them rather than the most that the broker can do.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::broker::Broker;
use crate::meter::float;
use crate::process::{self, Cpu};
use crate::produce;
use crate::results::Figures;
use crate::wire::Wire;

const TOPIC: &str = "tools";

/// What the tools are asked to move.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ToolsOptions {
    /// The topic's partitions
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Bytes of each record's value
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// Records to write, and then to read
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Records before them that the producer does not count: Java compiles what it runs often
    #[arg(long, default_value_t = 100_000)]
    warm_records: u64,
    /// What an acknowledgement means: fsync, os, memory, or what the broker does by default
    #[arg(long, default_value = "default")]
    durability: String,
}

/// Writes with `kafka-producer-perf-test` and reads with `kafka-consumer-perf-test`; `jars` is the
/// folder with their jars.
pub(crate) fn run(broker: &Broker, jars: &Path, options: &ToolsOptions) -> Result<Figures> {
    let setting = produce::setting(broker, &options.durability)?;
    Wire::connect(&broker.address)?.create_topic(TOPIC, options.partitions, setting)?;
    let mut figures = Figures::new();
    let all = options.records + options.warm_records;
    let before = Spent::so_far(broker)?;
    let said = tool(jars, "ProducerPerformance", &{
        let mut words = vec![
            ("--record-size", options.record_bytes.to_string()),
            ("--throughput", "-1".to_owned()),
            ("--num-records", all.to_string()),
        ];
        if options.warm_records > 0 {
            words.push(("--warmup-records", options.warm_records.to_string()));
        }
        with_broker(words, broker)
    })?;
    before.put(&mut figures, "produce", broker, all)?;
    figures.extend(produced(&said).with_context(|| format!("no figures in: {said}"))?);
    let before = Spent::so_far(broker)?;
    let words = vec![("--num-records", all.to_string())];
    let said = tool(jars, "ConsumerPerformance", &with_broker(words, broker))?;
    before.put(&mut figures, "consume", broker, all)?;
    let (count, read) = consumed(&said).with_context(|| format!("no figures in: {said}"))?;
    // It ends with the batch in which the last one lies, and gives up after ten quiet seconds.
    ensure!(count >= float(all), "{count} of {all} records were read");
    figures.extend(read);
    let (_, peak) = process::resident_mib(broker.pid)?;
    figures.insert("server_peak_mib".to_owned(), peak);
    Ok(figures)
}

/// Processor time of the broker and of the tools that have ended.
struct Spent {
    broker: Cpu,
    tools: Cpu,
}

impl Spent {
    fn so_far(broker: &Broker) -> Result<Self> {
        Ok(Self {
            broker: Cpu::of(broker.pid)?,
            tools: Cpu::of_children()?,
        })
    }

    fn put(&self, figures: &mut Figures, what: &str, broker: &Broker, count: u64) -> Result<()> {
        let now = Self::so_far(broker)?;
        let mut each = |name: &str, spent: Cpu| {
            let micros = spent.total() * 1e6 / float(count);
            figures.insert(format!("{what}_{name}_us_per_message"), micros);
        };
        each("server", now.broker.since(self.broker));
        each("tool", now.tools.since(self.tools));
        Ok(())
    }
}

type Words = Vec<(&'static str, String)>;

fn with_broker(mut words: Words, broker: &Broker) -> Words {
    words.push(("--topic", TOPIC.to_owned()));
    words.push(("--bootstrap-server", broker.address.clone()));
    words
}

fn tool(jars: &Path, class: &str, words: &Words) -> Result<String> {
    let jars = std::fs::canonicalize(jars)
        .with_context(|| format!("the jars of Kafka's tools in {}", jars.display()))?;
    let mut java = Command::new("java");
    // As `kafka-producer-perf-test.sh` and its sister start it.
    java.args(["-Xmx512M", "-server", "-XX:+UseG1GC"]);
    java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    java.arg("-cp").arg(jars.join("*"));
    java.arg(format!("org.apache.kafka.tools.{class}"));
    for (name, value) in words {
        java.arg(name).arg(value);
    }
    let done = java.output().context("java cannot be run")?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{class}: {said}{complaint}");
    Ok(said)
}

/// The figures in the producer's last line: `N records sent, R records/sec (M MB/sec), A ms avg
/// latency, X ms max latency, Q ms 50th, Q ms 95th, Q ms 99th, Q ms 99.9th.`
fn produced(said: &str) -> Option<Figures> {
    let line = said.lines().rfind(|line| line.contains("99.9th"))?;
    let before = |word: &str| -> Option<f64> {
        let words: Vec<&str> = line
            .split([' ', ',', '('])
            .filter(|w| !w.is_empty())
            .collect();
        let at = words.iter().position(|one| one.starts_with(word))?;
        let mut earlier = words.iter().take(at).rev();
        let number = earlier.find(|one| one.parse::<f64>().is_ok())?;
        number.parse().ok()
    };
    let mut figures = Figures::new();
    figures.insert("produce_messages_per_s".to_owned(), before("records/sec")?);
    for (name, word) in [
        ("p50", "50th"),
        ("p95", "95th"),
        ("p99", "99th"),
        ("p99.9", "99.9th"),
    ] {
        figures.insert(format!("produce_{name}_ms"), before(word)?);
    }
    Some(figures)
}

/// How many records the consumer's only row of figures counts, and their rates: with the time in
/// which it joined its group, and without.
fn consumed(said: &str) -> Option<(f64, Figures)> {
    let line = said.lines().rfind(|line| line.starts_with("20"))?;
    let fields: Vec<&str> = line.split(", ").collect();
    let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
    let mut figures = Figures::new();
    figures.insert("consume_messages_per_s".to_owned(), number(5)?);
    figures.insert("consume_joined_messages_per_s".to_owned(), number(9)?);
    Some((number(4)?, figures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_producers_last_line_is_read() {
        let said = "\
4999 records sent, 999.8 records/sec (0.98 MB/sec), 9.0 ms avg latency, 99.0 ms max latency.
20000 records sent, 5231.498823 records/sec (5.11 MB/sec), 12.34 ms avg latency, 345.00 ms max latency, 1 ms 50th, 20 ms 95th, 33 ms 99th, 340 ms 99.9th.
";
        let figures = produced(said).unwrap();
        let is = |name: &str, value: f64| {
            let got = figures.get(name).copied().unwrap();
            assert!((got - value).abs() < 1e-9, "{name}: {got}");
        };
        is("produce_messages_per_s", 5231.498823);
        is("produce_p50_ms", 1.0);
        is("produce_p95_ms", 20.0);
        is("produce_p99_ms", 33.0);
        is("produce_p99.9_ms", 340.0);
        assert!(produced("nothing").is_none());
    }

    #[test]
    fn the_consumers_row_is_read() {
        let said = "\
start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec
2026-11-23 09:00:00:000, 2026-11-23 09:00:04:000, 19.5, 4.9, 20000, 5000.5, 3500, 500, 39.0, 40000.25
";
        let (count, figures) = consumed(said).unwrap();
        assert!((count - 20_000.0).abs() < 1e-9);
        let rate = figures.get("consume_messages_per_s").unwrap();
        assert!((rate - 5000.5).abs() < 1e-9);
        let joined = figures.get("consume_joined_messages_per_s").unwrap();
        assert!((joined - 40_000.25).abs() < 1e-9);
        assert!(consumed("WARN nothing").is_none());
    }
}
