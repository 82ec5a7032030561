//! A real text of 100 MB goes in by kcat and comes out of the Java client, byte for byte.
//!
//! The text is the package index of the distribution, a record a line, keyed by package; where there
//! is none, lines of the same kind are made up. It goes to one partition, since only there the order
//! of a whole file is promised. With `--kill` the broker is killed with -9 while kcat, which is
//! idempotent and patient, goes on.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::brokers::{Broker, Kind};
use crate::kcat::Kcat;
use crate::producers::{Pace, Producer, Promise};
use crate::run::{self, Heartbeat};
use crate::tally::Tally;
use crate::{repo, tools};

const READ_LIMIT: Duration = Duration::from_secs(10 * 60);
const DELIMITER: char = '\t';

/// `cargo xtask file-test`.
pub(crate) fn run(kill: bool, against: &Kind, megabytes: u64) -> Result<Tally> {
    let name = if kill {
        "file-test --kill"
    } else {
        "file-test"
    };
    tools::java()?;
    let text = make_text(megabytes * 1_000_000)?;
    let mut broker = Broker::start(against, "file-test")?;
    let outcome = once(name, &mut broker, &text, kill);
    let stopped = broker.stop();
    Ok(match outcome.and_then(|told| stopped.map(|()| told)) {
        Ok(told) => {
            println!("ok {name}: {told}");
            Tally::passed()
        }
        Err(error) => Tally::failed(format!("{name}: {error:#}")),
    })
}

/// The text as kcat takes it (`keyed`), and as it must come out (`plain`).
struct Text {
    keyed: PathBuf,
    plain: PathBuf,
    lines: u64,
    from: &'static str,
}

fn once(name: &str, broker: &mut Broker, text: &Text, kill: bool) -> Result<String> {
    let kcat = Kcat::new(broker.address())?;
    let topic = kcat.topic("file");
    kcat.produce(&topic, &[], b"first\n")?;
    let started = Instant::now();
    let mut source = BufReader::with_capacity(1 << 16, File::open(&text.keyed)?);
    let delimiter = DELIMITER.to_string();
    let mut producer = Producer::start(
        &kcat,
        &topic,
        (Promise::ExactlyOnce, Pace::Full),
        &["-K", &delimiter, "-X", "linger.ms=20"],
        move |_| next_line(&mut source),
    )?;
    let interruption = if kill {
        interrupt(name, broker, &producer, text.lines)?
    } else {
        String::new()
    };
    let sent = producer.finish(true)?;
    let took_in = started.elapsed();
    ensure!(sent == text.lines, "{sent} of {} lines went in", text.lines);
    let acknowledged = producer.acknowledged()?.len();
    ensure!(
        u64::try_from(acknowledged)? == sent,
        "{acknowledged} of {sent} were acknowledged"
    );
    let out = repo::scratch("file")?.join("out.txt");
    let end = kcat_end(&kcat, &topic)?;
    read_back(&kcat, broker.address(), &topic, end, &out)?;
    let bytes = compare(&text.plain, &out)?;
    std::fs::remove_file(out)?;
    Ok(format!(
        "{bytes} bytes in {sent} records, {}, in by kcat in {} s{interruption}, out of the Java client in {} s",
        text.from,
        took_in.as_secs(),
        started.elapsed().saturating_sub(took_in).as_secs()
    ))
}

/// Kills the broker when half of the file has gone in, and starts it again.
fn interrupt(name: &str, broker: &mut Broker, producer: &Producer, lines: u64) -> Result<String> {
    let mut heartbeat = Heartbeat::new(name, Instant::now());
    let end = Instant::now() + READ_LIMIT;
    while producer.fed() < lines / 2 {
        heartbeat.beat(|| format!("{} of {lines} lines", producer.fed()));
        ensure!(
            Instant::now() < end,
            "half of the file is not in after {} s",
            READ_LIMIT.as_secs()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    heartbeat.clear();
    broker.kill();
    let acknowledged = producer.acknowledged()?.len();
    ensure!(
        u64::try_from(acknowledged)? < lines,
        "all was acknowledged before the kill"
    );
    let ready = broker.restart().context("after kill -9")?;
    Ok(format!(
        " (killed after {acknowledged} acknowledged records, ready again in {} ms)",
        ready.as_millis()
    ))
}

fn next_line(source: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    source
        .read_until(b'\n', &mut line)
        .ok()
        .filter(|read| *read > 0)
        .map(|_| line)
}

/// The end offset of partition 0, asked of kcat.
pub(crate) fn kcat_end(kcat: &Kcat, topic: &str) -> Result<i64> {
    let last = kcat.consume(topic, "-1", &["-f", "%o\n"])?;
    Ok(last
        .trim()
        .parse::<i64>()
        .with_context(|| format!("odd offset {last:?}"))?
        + 1)
}

/// Reads with the Java client; the record `first`, which only made the topic, is skipped.
fn read_back(kcat: &Kcat, address: &str, topic: &str, end: i64, out: &Path) -> Result<()> {
    same_start(kcat, topic)?;
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]);
    java.arg("-cp")
        .arg(tools::class_path("java"))
        .args(["dev.mulgil.interop.Main", "cat"]);
    java.args([address, topic, "0", "1", &end.to_string()])
        .arg(out);
    run::must("java cat", &mut java, READ_LIMIT).map(drop)
}

fn same_start(kcat: &Kcat, topic: &str) -> Result<()> {
    let first = kcat.consume(topic, "beginning", &["-c", "1"])?;
    ensure!(first == "first\n", "the topic starts with {first:?}");
    Ok(())
}

/// Compares two files byte for byte, and gives their length.
pub(crate) fn compare(wanted: &Path, got: &Path) -> Result<u64> {
    let mut wanted = BufReader::new(File::open(wanted)?);
    let mut got = BufReader::new(File::open(got)?);
    let mut length = 0;
    for number in 1_u64.. {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        wanted.read_until(b'\n', &mut left)?;
        got.read_until(b'\n', &mut right)?;
        if left != right {
            let (left, right) = (
                String::from_utf8_lossy(&left),
                String::from_utf8_lossy(&right),
            );
            bail!("line {number} differs: {left:?} went in, {right:?} came out");
        }
        if left.is_empty() {
            break;
        }
        length += u64::try_from(left.len())?;
    }
    Ok(length)
}

fn make_text(bytes: u64) -> Result<Text> {
    let folder = repo::scratch("file")?;
    let (keyed, plain) = (folder.join("keyed.txt"), folder.join("plain.txt"));
    let index = Command::new("apt-cache").arg("dumpavail").output();
    let index = index.map(|output| output.stdout).unwrap_or_default();
    let (lines, from) = if index.len() > 1_000_000 {
        (of_index(&index), "the package index")
    } else {
        (made_up(), "made-up lines")
    };
    let mut into_keyed = BufWriter::new(File::create(&keyed)?);
    let mut into_plain = BufWriter::new(File::create(&plain)?);
    let (mut written, mut count) = (0, 0);
    for (key, line) in lines.iter().cycle() {
        if written >= bytes {
            break;
        }
        writeln!(into_keyed, "{key}{DELIMITER}{line}")?;
        writeln!(into_plain, "{line}")?;
        written += u64::try_from(line.len())? + 1;
        count += 1;
    }
    into_keyed.flush()?;
    into_plain.flush()?;
    Ok(Text {
        keyed,
        plain,
        lines: count,
        from,
    })
}

/// The lines of an index, each with the package that its stanza is about.
fn of_index(index: &[u8]) -> Vec<(String, String)> {
    let mut package = String::from("none");
    let mut lines = Vec::new();
    for line in index.take(u64::MAX).lines().map_while(Result::ok) {
        if let Some(name) = line.strip_prefix("Package: ") {
            name.clone_into(&mut package);
        }
        lines.push((package.clone(), line));
    }
    lines
}

fn made_up() -> Vec<(String, String)> {
    let line = |i: usize| {
        (
            format!("package-{}", i / 20),
            format!("Field-{}: the {i}th line", i % 20),
        )
    };
    (0..100_000).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_keyed_by_their_package() {
        let lines = of_index(b"Package: a\nVersion: 1\n\nPackage: b\n");
        let keys: Vec<&str> = lines.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["a", "a", "a", "b"]);
        assert_eq!(lines[2].1, "");
    }

    #[test]
    fn files_are_compared_to_the_end() {
        let folder = repo::scratch("test-compare").unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let whole = write("whole", "a\n\nb\n");
        assert_eq!(compare(&whole, &write("same", "a\n\nb\n")).unwrap(), 5);
        assert!(compare(&whole, &write("short", "a\n\n")).is_err());
        assert!(compare(&whole, &write("long", "a\n\nb\nc\n")).is_err());
        assert!(compare(&whole, &write("other", "a\nx\nb\n")).is_err());
    }
}
