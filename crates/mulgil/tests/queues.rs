//! Queues and subscriptions on the command line, against the real server: every command, every form, and
//! what is left when it is killed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end with a panic"
)]
#![expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
#![expect(clippy::too_many_lines, reason = "a transcript is as long as it is")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Child;

use serde_json::Value;

#[path = "support/program.rs"]
#[expect(dead_code, reason = "nothing is masked here but times and ages")]
mod program;

use program::{Transcript, mulgil, run, without_times};

const FORMATS: [&str; 7] = ["table", "wide", "json", "jsonl", "yaml", "csv", "name"];

/// A server on free ports, until it is killed.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(data: &Path) -> Self {
        let line = "server --kafka 127.0.0.1:0 --http 127.0.0.1:0 --sqs 0 --log error --data-dir";
        let mut child = mulgil(line).arg(data).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = said.any(|line| line.unwrap().contains("Server startup complete"));
        assert!(ready, "the server ended before it was ready");
        let addresses = std::fs::read(data.join("addresses.json")).unwrap();
        let addresses: Value = serde_json::from_slice(&addresses).unwrap();
        let url = format!("http://{}", addresses["http"].as_str().unwrap());
        Self { child, url }
    }

    /// `kill -9`.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What `mulgil LINE -o json` says, if it does what it should.
fn json(url: &str, line: &str) -> Option<Value> {
    let output = run(&mut mulgil(&format!("{line} -o json --server {url}")), b"");
    let done = output.status.success();
    done.then(|| serde_json::from_slice(&output.stdout).unwrap())
}

/// Ages and memory differ from run to run.
fn without_figures(text: &str) -> String {
    let line = |line: &str| {
        for name in ["oldest_age_seconds", "memory_bytes"] {
            if let Some((before, after)) = line.split_once(name)
                && before.trim_matches(['"', ' ']).is_empty()
            {
                let comma = if after.ends_with(',') { "," } else { "" };
                return format!("{before}{name} FIGURE{comma}\n");
            }
        }
        format!("{line}\n")
    };
    text.lines().map(line).collect()
}

#[test]
fn every_command_says_what_it_did() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut t = Transcript::against(&server.url);
    t.run("queue ls");
    t.run("queue create jobs --failed-max 3 --retry exponential:1s:10m:20 --set durability=os -o name");
    t.run("queue create jobs");
    t.run("queue create jobs more --idempotent -o name");
    for (line, why) in [
        ("--lock 2d", "longer than a lock may be"),
        ("--lock soon", "no duration"),
        ("--retry fixed", "no policy"),
        ("--failed-max 70000", "out of bounds"),
        ("--dead-letter nowhere", "no such topic"),
        ("--set nope=1", "no setting of a topic"),
    ] {
        t.text.push_str(&format!("# {why}\n"));
        t.run(&format!("queue create other {line}"));
    }
    t.run_with(
        "queue pub jobs -k customer -H a=b",
        b"one\ntwo\n\xff\nfour\n",
    );
    t.run("queue pub jobs five -o json");
    t.run("queue pub nothing six");
    let columns = "--columns name,topic,available,acquired,scheduled,consumers";
    t.run(&format!("queue ls {columns}"));
    t.run("queue peek jobs -n 2");
    t.run("queue receive jobs -n 3 --lock 1h");
    t.run("queue receive more");
    t.run("queue receive jobs -n 0");
    t.run("queue receive nothing");
    t.run("queue settle jobs");
    t.run("queue settle jobs 1.1.0.1.0");
    t.run("queue settle jobs 1.1.0.1.0 --accept --in 5m");
    for format in FORMATS {
        t.run(&format!(
            "queue settle jobs 1.1.0.1.0 --renew 1h -o {format}"
        ));
    }
    t.run("queue settle jobs 1.1.0.1.0 --accept");
    t.run("queue settle jobs 1.1.0.1.0 --accept");
    t.run("queue settle more 1.1.1.1.0 --accept");
    t.run("queue settle jobs 1.1.1.1.0 1.1.9.1.0 --release --failed --in 1h");
    t.run_with(
        "queue settle jobs - --reject --words unreadable",
        b"1.1.2.1.0\n\n",
    );
    t.run("queue peek jobs -o jsonl");
    t.run("queue peek jobs --partition 7");
    // One line has figures in its midst; the API's answers are the same.
    for format in FORMATS.into_iter().filter(|form| *form != "jsonl") {
        t.run(&format!(
            "queue describe jobs -o {format} --columns partition,start,end,available,scheduled"
        ));
    }
    t.run("queue create urgent --order priority --length-max 4 --overflow refuse -o name");
    t.run("queue pub urgent plain");
    t.run("queue pub urgent soon --priority 9");
    t.run("queue pub urgent now --priority 200");
    t.run("queue pub urgent later --priority 255 --delay 1h");
    t.run("queue pub urgent more");
    t.run("queue pub urgent wrong -H mulgil.priority=high");
    t.run("queue receive urgent -n 9 --lock 1h");
    t.run("queue peek urgent");
    t.run("queue create accounts --order key --bytes-max 1MiB -o name");
    t.run("queue pub accounts one -k ann");
    t.run("queue pub accounts two -k ann");
    t.run("queue pub accounts three -k bob");
    t.run("queue receive accounts -n 9 --lock 1h");
    t.run("queue alter accounts --order fifo --bytes-max none -o name");
    t.run("queue receive accounts -n 9 --lock 1h");
    t.run("queue delete urgent accounts --yes");
    t.run("queue create cars -o name");
    t.run("queue pub cars old-blue -H color=blue");
    t.run("queue pub cars old-red -H color=red");
    let filter = "color='blue'OR(JSON_VALUE(body,'$.price')>5)";
    t.run(&format!(
        "subscription create cars blue --filter {filter} -o name"
    ));
    t.run("queue pub cars new-red -H color=red");
    t.run_with("queue pub cars", b"{\"price\": 7}\n{\"price\": 3}\n");
    t.run("queue pub cars new-blue -H color=blue");
    t.run("subscription describe blue --columns partition,available,acquired");
    t.run("subscription receive blue -n 9 --accept");
    t.run("subscription receive blue -n 9");
    t.run("subscription create cars wrong --filter color=");
    t.run("subscription create cars late --from 3 --single-active -o name");
    t.run("queue pause cars --columns partition,available,acquired");
    t.run("queue receive cars -n 9");
    t.run("queue resume cars -o name");
    t.run("queue receive cars -n 2 --accept -o name");
    t.run("subscription seek late --to +1 --dry-run");
    t.run("subscription seek late --to latest --yes");
    t.run("subscription seek late --to 4 --partition 3");
    t.run("subscription seek late --to 2026-11-22");
    t.run("queue seek cars --to earliest");
    t.run("queue seek cars --to earliest --yes");
    t.run("queue ls --columns name,available,acquired");
    t.run("queue purge cars");
    t.run("queue purge cars --yes");
    t.run("subscription purge blue --yes -o json");
    t.run("subscription delete blue late --yes");
    t.run("queue delete cars --yes");
    t.run("queue create orders --deduplicate 5m -o name");
    t.run("queue pub orders first --id 1");
    t.run("queue pub orders again --id 1");
    t.run("queue pub orders second --id 2");
    t.run("queue receive orders -n 9 --accept");
    t.run("queue delete orders --yes");
    t.run("queue create graves elsewhere -o name");
    t.run("queue create lab --failed-max 1 --dead-letter graves -o name");
    t.run_with("queue pub lab -k k", b"one\ntwo\nthree\n");
    t.run("queue receive lab -n 3 --lock 1h -o name");
    t.run("queue settle lab 11.9.0.1.0 11.9.1.1.0 --reject --words unreadable");
    t.run("queue settle lab 11.9.2.1.0 --release --failed");
    let arrived = || json(&server.url, "queue peek graves").unwrap();
    while arrived().as_array().unwrap().len() < 3 {
        std::thread::yield_now();
    }
    t.run("dlq peek graves");
    t.run("dlq reasons graves");
    t.run("dlq reasons graves -o json");
    t.run("dlq redrive graves --dry-run --filter \"mulgil.key\"='x'");
    t.run("dlq redrive graves --dry-run -o jsonl");
    t.run("dlq redrive graves -n 2 --rate 1000");
    t.run("queue peek lab --columns state,acquired,failed,key,value");
    t.run("dlq redrive graves --to graves");
    t.run("dlq redrive graves --to nowhere");
    t.run("dlq redrive graves --to elsewhere --filter \"mulgil.key\"='k'");
    t.run("dlq tasks");
    t.run("dlq cancel 1");
    t.run("dlq cancel 9");
    t.run("queue delete lab graves elsewhere --yes");
    t.run("dlq ls");
    t.run("dlq reasons jobs");
    t.run("queue alter jobs");
    t.run("queue alter jobs --failed-max none --ttl 1d -o name");
    t.run("queue receive jobs -n 5 -o json");
    t.run("topic create orders -p 2 -o name");
    t.run("subscription create orders billing --from latest -o name");
    t.run("subscription create orders billing --idempotent -o name");
    t.run("subscription create jobs billing --idempotent");
    t.run("subscription create nothing audit");
    t.run("subscription ls -o name");
    t.run("subscription ls --topic orders -o name");
    t.run("queue describe billing");
    t.run("queue delete billing --yes");
    t.run("queue delete jobs");
    t.run("queue delete jobs nothing --yes");
    t.run("queue delete jobs --yes --idempotent");
    t.run("topic describe jobs");
    t.run("subscription delete billing --yes");
    t.run("subscription ls -o name");
    t.text = without_figures(&without_times(&t.text));
    t.check("queues");
}

/// The values of messages, and their receipts.
fn values(records: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = records.as_array().unwrap().iter();
    all.map(|one| (text(&one["value"]), text(&one["receipt"])))
        .collect()
}

#[test]
fn nothing_that_was_accepted_comes_back_though_the_server_is_killed() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path());
    json(&server.url, "queue create jobs --lock 500ms").unwrap();
    json(&server.url, "queue create slow --lock 1h").unwrap();
    let all: BTreeSet<String> = (0..60).map(|number| format!("message-{number}")).collect();
    let lines: String = all.iter().map(|value| format!("{value}\n")).collect();
    for queue in ["jobs", "slow"] {
        let publish = format!("queue pub {queue} --server {}", server.url);
        let published = run(&mut mulgil(&publish), lines.as_bytes());
        assert!(published.status.success());
    }
    let held = values(&json(&server.url, "queue receive slow -n 2").unwrap());
    // Somebody works until the server is gone.
    let (tell, told) = std::sync::mpsc::channel();
    let url = server.url.clone();
    let worker = std::thread::spawn(move || {
        while let Some(records) = json(&url, "queue receive jobs -n 3") {
            for (value, receipt) in values(&records) {
                let settle = format!("queue settle jobs {receipt} --accept");
                let done = json(&url, &settle).is_some();
                tell.send((value, done)).unwrap();
            }
        }
    });
    let mut accepted = BTreeSet::new();
    let mut open = BTreeSet::new();
    let mut note = |(value, done): (String, bool)| {
        let known = if done { &mut accepted } else { &mut open };
        known.insert(value);
    };
    (0..20).for_each(|_| note(told.recv().unwrap()));
    server.kill();
    worker.join().unwrap();
    told.iter().for_each(note);
    assert!(!accepted.is_empty(), "nothing was accepted");
    assert!(
        accepted.len() < all.len(),
        "it was killed while there was work"
    );

    let again = Server::start(data.path());
    let mut left = BTreeSet::new();
    // Locks of before the kill last half a second at most; these are accepted as they come.
    let receive = "queue receive jobs -n 1000 --wait 2s --lock 1h --accept";
    loop {
        let records = values(&json(&again.url, receive).unwrap());
        if records.is_empty() {
            break;
        }
        for (value, _) in records {
            assert!(!accepted.contains(&value), "{value} was accepted before");
            assert!(left.insert(value.clone()), "{value} was accepted now");
        }
    }
    let known = |value: &&String| left.contains(*value) || accepted.contains(*value);
    let lost: BTreeSet<_> = all.iter().filter(|value| !known(value)).cloned().collect();
    // Of what was being accepted when it was killed, nobody was told how it went.
    assert!(lost.is_subset(&open), "{lost:?} are lost");

    // A lock that lasts holds on, and its receipt is worth what it was.
    let others = values(&json(&again.url, "queue receive slow -n 1000").unwrap());
    let handed: BTreeSet<_> = others.iter().map(|(value, _)| value).collect();
    for (value, receipt) in &held {
        assert!(!handed.contains(value));
        json(&again.url, &format!("queue settle slow {receipt} --accept")).unwrap();
    }
    assert_eq!(others.len() + held.len(), all.len());
}
