//! The kcat suite: what a person does at a shell with librdkafka underneath.
//!
//! kcat cannot create topics, so all of these are created by their first use and have one partition.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use crate::run::{Said, Talking};
use crate::tally::Tally;
use crate::{interop, tools};

const LIMIT: Duration = Duration::from_secs(60);
const MESSAGE_LIMIT: usize = 1_048_588;

/// kcat, pointed at a broker.
#[derive(Debug)]
pub(crate) struct Kcat {
    address: String,
    run: u128,
}

type Check = (&'static str, fn(&Kcat) -> Result<()>);

const CHECKS: [Check; 21] = [
    ("metadata", metadata),
    ("auto-created-topic", auto_created_topic),
    ("codec-none", |kcat| codec(kcat, "none")),
    ("codec-gzip", |kcat| codec(kcat, "gzip")),
    ("codec-snappy", |kcat| codec(kcat, "snappy")),
    ("codec-lz4", |kcat| codec(kcat, "lz4")),
    ("codec-zstd", |kcat| codec(kcat, "zstd")),
    ("headers", headers),
    ("null-key-and-value", nulls),
    ("acks-0", |kcat| acks(kcat, "0")),
    ("acks-1", |kcat| acks(kcat, "1")),
    ("acks-all", |kcat| acks(kcat, "all")),
    ("idempotent", idempotent),
    ("large-message", large_message),
    ("too-large-message", too_large_message),
    ("seek", seek),
    ("seek-timestamp", seek_timestamp),
    ("out-of-range-reset", out_of_range),
    ("group-resume", group_resume),
    ("long-poll", long_poll),
    ("unknown-topic", unknown_topic),
];

/// Runs the checks, or those that are named.
pub(crate) fn suite(address: &str, wanted: &[String]) -> Result<Tally> {
    let kcat = Kcat::new(address)?;
    Ok(interop::checks("kcat", &CHECKS, wanted, |check| {
        check(&kcat)
    }))
}

impl Kcat {
    pub(crate) fn new(address: &str) -> Result<Self> {
        tools::kcat()?;
        let run = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_millis();
        Ok(Self {
            address: address.to_owned(),
            run,
        })
    }

    /// A name for a topic that no other run uses.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("kcat-{name}-{}", self.run)
    }

    /// kcat with the broker and `arguments`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = tools::kcat()?;
        command.args(["-b", &self.address]).args(arguments);
        Ok(command)
    }

    fn call(&self, arguments: &[&str], input: &[u8]) -> Result<Said> {
        Talking::start(&mut self.command(arguments)?, input)?.finish(LIMIT)
    }

    /// Produces what `input` holds, a record a line.
    pub(crate) fn produce(&self, topic: &str, more: &[&str], input: &[u8]) -> Result<()> {
        let said = self.call(&[&["-P", "-t", topic], more].concat(), input)?;
        ensure!(said.good, "producing failed: {}", said.stderr.trim());
        Ok(())
    }

    /// Reads partition 0 from `offset` to its end.
    pub(crate) fn consume(&self, topic: &str, offset: &str, more: &[&str]) -> Result<String> {
        let read = ["-C", "-t", topic, "-p", "0", "-o", offset, "-e", "-q"];
        let said = self.call(&[&read, more].concat(), b"")?;
        ensure!(said.good, "consuming failed: {}", said.stderr.trim());
        Ok(String::from_utf8(said.stdout)?)
    }
}

fn same(wanted: &str, got: &str, what: &str) -> Result<()> {
    let short = |text: &str| text.chars().take(200).collect::<String>();
    ensure!(
        wanted == got,
        "{what}: wanted {:?}, got {:?}",
        short(wanted),
        short(got)
    );
    Ok(())
}

fn metadata(kcat: &Kcat) -> Result<()> {
    let said = kcat.call(&["-L", "-J"], b"")?;
    let page: serde_json::Value = serde_json::from_slice(&said.stdout).context("no JSON")?;
    let name = page
        .pointer("/brokers/0/name")
        .and_then(|name| name.as_str())
        .unwrap_or_default();
    same(&kcat.address, name, "the first broker")
}

fn auto_created_topic(kcat: &Kcat) -> Result<()> {
    let topic = kcat.topic("auto");
    kcat.produce(&topic, &["-K", ":"], b"k:v\n")?;
    same(
        "0 k v\n",
        &kcat.consume(&topic, "beginning", &["-f", "%o %k %s\n"])?,
        "record",
    )
}

fn codec(kcat: &Kcat, codec: &str) -> Result<()> {
    let topic = kcat.topic(&format!("codec-{codec}"));
    let line = |i: usize| {
        format!(
            "key-{i}:{}\n",
            format!("record {i} of water ").repeat(1 + i % 17)
        )
    };
    let lines: String = (0..500).map(line).collect();
    kcat.produce(&topic, &["-K", ":", "-z", codec], lines.as_bytes())?;
    same(
        &lines,
        &kcat.consume(&topic, "beginning", &["-f", "%k:%s\n"])?,
        "records",
    )
}

fn headers(kcat: &Kcat) -> Result<()> {
    let topic = kcat.topic("headers");
    let sent = [
        "-H",
        "twice=one",
        "-H",
        "none",
        "-H",
        "twice=two",
        "-H",
        "물길=물",
    ];
    kcat.produce(&topic, &sent, b"v\n")?;
    let got = kcat.consume(&topic, "beginning", &["-f", "%h\n"])?;
    same("twice=one,none=NULL,twice=two,물길=물\n", &got, "headers")
}

fn nulls(kcat: &Kcat) -> Result<()> {
    let topic = kcat.topic("nulls");
    kcat.produce(&topic, &["-Z", "-K", ":"], b"no value:\n:no key\n:\n")?;
    let got = kcat.consume(&topic, "beginning", &["-J"])?;
    let mut pairs = Vec::new();
    for line in got.lines() {
        let record: serde_json::Value = serde_json::from_str(line)?;
        let field = |name: &str| record.get(name).cloned().unwrap_or_default();
        pairs.push(format!("{}={}", field("key"), field("payload")));
    }
    same(
        "\"no value\"=null null=\"no key\" null=null",
        &pairs.join(" "),
        "records",
    )
}

fn numbers(count: usize) -> String {
    (0..count).map(|i| format!("{i}\n")).collect()
}

fn acks(kcat: &Kcat, acks: &str) -> Result<()> {
    let topic = kcat.topic(&format!("acks-{acks}"));
    // With acks=0 nobody notices that a topic is not there yet.
    kcat.produce(&topic, &[], b"first\n")?;
    kcat.produce(
        &topic,
        &["-X", &format!("acks={acks}")],
        numbers(20).as_bytes(),
    )?;
    same(&numbers(20), &kcat.consume(&topic, "1", &[])?, "records")
}

fn idempotent(kcat: &Kcat) -> Result<()> {
    let topic = kcat.topic("idempotent");
    let more = [
        "-X",
        "enable.idempotence=true",
        "-X",
        "batch.num.messages=20",
        "-X",
        "linger.ms=0",
    ];
    kcat.produce(&topic, &more, numbers(4000).as_bytes())?;
    same(
        &numbers(4000),
        &kcat.consume(&topic, "beginning", &[])?,
        "records",
    )
}

/// Printable bytes without a line break that compress badly.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut bytes = Vec::with_capacity(size);
    for _ in 0..size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.push(b'!' + u8::try_from((state >> 33) % 90).unwrap_or_default());
    }
    bytes
}

fn large_message(kcat: &Kcat) -> Result<()> {
    let topic = kcat.topic("large");
    let value = noise(MESSAGE_LIMIT - 100);
    kcat.produce(&topic, &["-X", "message.max.bytes=4000000"], &value)?;
    let got = kcat.consume(&topic, "beginning", &["-f", "%s"])?;
    ensure!(
        got.as_bytes() == value,
        "{} bytes went in, other {} came out",
        value.len(),
        got.len()
    );
    Ok(())
}

fn too_large_message(kcat: &Kcat) -> Result<()> {
    let topic = kcat.topic("too-large");
    kcat.produce(&topic, &[], b"first\n")?;
    let send = ["-P", "-t", &topic, "-X", "message.max.bytes=4000000"];
    let said = kcat.call(&send, &noise(MESSAGE_LIMIT + 1))?;
    ensure!(
        said.stderr.contains("Message size too large"),
        "it said: {}",
        said.stderr.trim()
    );
    kcat.produce(&topic, &[], b"small\n")?;
    same(
        "first\nsmall\n",
        &kcat.consume(&topic, "beginning", &[])?,
        "records",
    )
}

fn seek(kcat: &Kcat) -> Result<()> {
    let topic = kcat.topic("seek");
    kcat.produce(&topic, &[], numbers(10).as_bytes())?;
    same(
        &numbers(10),
        &kcat.consume(&topic, "beginning", &[])?,
        "from the beginning",
    )?;
    same("7\n8\n9\n", &kcat.consume(&topic, "7", &[])?, "from 7")?;
    same("8\n9\n", &kcat.consume(&topic, "-2", &[])?, "the last two")?;
    same("", &kcat.consume(&topic, "end", &[])?, "from the end")
}

/// Milliseconds since the epoch, later than any that was given before.
fn later_than(before: u128) -> Result<u128> {
    loop {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_millis();
        if now > before {
            return Ok(now);
        }
    }
}

fn seek_timestamp(kcat: &Kcat) -> Result<()> {
    let topic = kcat.topic("by-time");
    kcat.produce(&topic, &[], numbers(3).as_bytes())?;
    let between = later_than(later_than(0)?)?;
    later_than(between)?;
    kcat.produce(&topic, &[], b"late\n")?;
    same(
        "late\n",
        &kcat.consume(&topic, &format!("s@{between}"), &[])?,
        "from a time on",
    )?;
    let said = kcat.call(&["-Q", "-t", &format!("{topic}:0:{between}")], b"")?;
    let answer = String::from_utf8(said.stdout)?;
    ensure!(answer.contains("offset 3"), "-Q said {answer}");
    let future = later_than(0)? + 3_600_000;
    let said = kcat.call(&["-Q", "-t", &format!("{topic}:0:{future}")], b"")?;
    let answer = String::from_utf8(said.stdout)?;
    ensure!(
        answer.contains("offset -1"),
        "-Q for the future said {answer}"
    );
    Ok(())
}

fn out_of_range(kcat: &Kcat) -> Result<()> {
    let topic = kcat.topic("range");
    kcat.produce(&topic, &[], numbers(5).as_bytes())?;
    let reset = ["-X", "auto.offset.reset=earliest"];
    same(
        &numbers(5),
        &kcat.consume(&topic, "1000", &reset)?,
        "reset to the earliest",
    )
}

fn group_resume(kcat: &Kcat) -> Result<()> {
    let topic = kcat.topic("group");
    kcat.produce(&topic, &[], numbers(10).as_bytes())?;
    for (count, wanted) in [("4", "0\n1\n2\n3\n"), ("6", "4\n5\n6\n7\n8\n9\n")] {
        let reset = "auto.offset.reset=earliest";
        let said = kcat.call(&["-G", &topic, "-q", "-c", count, "-X", reset, &topic], b"")?;
        same(
            wanted,
            &String::from_utf8(said.stdout)?,
            "what the group got",
        )?;
    }
    Ok(())
}

fn long_poll(kcat: &Kcat) -> Result<()> {
    let topic = kcat.topic("long-poll");
    kcat.produce(&topic, &[], b"early\n")?;
    let wait = [
        "-C",
        "-t",
        &topic,
        "-p",
        "0",
        "-o",
        "end",
        "-c",
        "1",
        "-X",
        "fetch.wait.max.ms=20000",
    ];
    let mut reader = Talking::start(&mut kcat.command(&wait)?, b"")?;
    // kcat tells the end after an empty answer; its next fetch waits.
    reader.says("Reached end of topic", LIMIT)?;
    let sent = Instant::now();
    kcat.produce(&topic, &[], b"at last\n")?;
    let said = reader.finish(LIMIT)?;
    same("at last\n", &String::from_utf8(said.stdout)?, "record")?;
    if sent.elapsed() > Duration::from_secs(10) {
        bail!(
            "came only after {} s, so nobody was woken",
            sent.elapsed().as_secs()
        );
    }
    Ok(())
}

fn unknown_topic(kcat: &Kcat) -> Result<()> {
    let topic = kcat.topic("unknown");
    let said = kcat.call(&["-C", "-t", &topic, "-p", "0", "-e"], b"")?;
    ensure!(!said.good, "reading a topic that is not there succeeded");
    ensure!(
        said.stderr.contains("Unknown topic or partition"),
        "it said: {}",
        said.stderr.trim()
    );
    let listed = kcat.call(&["-L"], b"")?;
    ensure!(
        !String::from_utf8_lossy(&listed.stdout).contains(&topic),
        "asking for it created it"
    );
    Ok(())
}
