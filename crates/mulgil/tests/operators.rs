//! Settings, groups, trimming and measuring on the command line, against the real server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end with a panic"
)]
#![expect(clippy::indexing_slicing, reason = "a test may end with a panic")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

#[path = "support/program.rs"]
mod program;

use program::{Transcript, mulgil, run, without_times};

/// A server on free ports, until it is stopped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(data: &Path) -> Self {
        let line = "server --kafka 127.0.0.1:0 --http 127.0.0.1:0 --sqs 0 --data-dir";
        let mut child = mulgil(line).arg(data).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = said.any(|line| line.unwrap().contains("Server startup complete"));
        assert!(ready, "the server ended before it was ready");
        std::thread::spawn(move || said.for_each(drop));
        let errors = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || errors.for_each(drop));
        let addresses = std::fs::read(data.join("addresses.json")).unwrap();
        let addresses: serde_json::Value = serde_json::from_slice(&addresses).unwrap();
        let url = format!("http://{}", addresses["http"].as_str().unwrap());
        Self { child, url }
    }

    fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "it stops in order");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The topic's id differs from run to run.
fn mask_id(t: &mut Transcript) {
    let at = t.text.find("id:").unwrap();
    let id = t.text[at..].split_whitespace().nth(1).unwrap().to_owned();
    t.text = t.text.replace(&id, "ID");
    t.mask(id, "ID");
}

#[test]
fn settings_groups_and_trimming_over_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path());
    let mut t = Transcript::against(&server.url);
    for (topic, why) in [
        ("a --set min.insync.replicas=2", "only 1"),
        ("a --set nope=1", "no setting"),
        ("a --set segment.bytes=0", "bounds"),
    ] {
        t.text.push_str(&format!("# {why}\n"));
        t.run(&format!("topic create {topic}"));
    }
    t.run("topic create orders -p 2 --config retention.ms=1d --set segment.bytes=2MiB -o name");
    t.run("topic describe orders");
    mask_id(&mut t);
    t.run("topic alter orders --set retention_ms=default --set compression=zstd");
    t.run("topic add-partitions orders 1");
    let publish = format!("message pub orders --partition 0 --server {}", server.url);
    let published = run(&mut mulgil(&publish), b"one\ntwo\nthree\n");
    assert!(published.status.success());
    t.run("group describe billing");
    t.run("group reset billing --to earliest");
    t.run("group reset billing --topic orders --to earliest --yes");
    t.run("group reset billing --to +2 --dry-run");
    t.run("group reset billing --to latest");
    t.run("group reset billing --topic orders --to 1 --yes");
    t.run("group ls");
    server.stop();

    let mut again = Server::start(data.path());
    let mut rest = Transcript::against(&again.url);
    rest.run("topic describe orders");
    mask_id(&mut rest);
    rest.run("group describe billing");
    rest.run("group lag billing -o json");
    rest.run("topic trim orders --to 2");
    rest.run("topic trim orders --partition 7 --yes");
    rest.run("topic trim orders --to 99 --yes");
    rest.run("topic trim orders --yes");
    rest.run("group delete billing");
    rest.run("group delete billing --yes");
    rest.run("group ls");
    again.stop();

    t.text.push_str("# the server is started again\n\n");
    t.text.push_str(&rest.text);
    t.text = without_times(&t.text);
    t.check("operators");
}

/// What `mulgil LINE -o json` says.
fn json(server: &Server, line: &str) -> serde_json::Value {
    let line = format!("{line} -o json --server {}", server.url);
    let output = run(&mut mulgil(&line), b"");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {complaint}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn measuring_publishes_reads_and_cleans_up() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path());
    let published = json(&server, "bench kafka pub -p 3 -n 1000 --size 100 --keep");
    assert_eq!(published["messages"], 1000);
    assert_eq!(published["bytes"], 100_000);
    assert!(published["latency_seconds"]["p99"].as_f64().unwrap() > 0.0);
    let read = json(&server, "bench kafka sub");
    assert_eq!(read["messages"], 1000);
    assert_eq!(read["bytes"], 100_000);
    let some = json(&server, "bench kafka sub -n 10");
    assert_eq!(some["messages"], 10);

    // A topic that was there before stays, with what is in it; one that was made goes.
    let log = data.path().join("out.hdr");
    let line = format!("--rate 500 -d 300ms --size 16 --hdr {}", log.display());
    let end = json(&server, &format!("bench kafka e2e {line}"));
    assert_eq!(end["messages"], 150);
    assert_eq!(end["missing_messages"], 0);
    assert!(std::fs::read_to_string(&log).unwrap().contains("HIST"));
    assert_eq!(
        json(&server, "topic describe mulgil-bench")["name"],
        "mulgil-bench"
    );
    json(&server, "bench kafka e2e other -d 100ms -z zstd");
    let gone = run(
        &mut mulgil(&format!("topic describe other --server {}", server.url)),
        b"",
    );
    assert_eq!(gone.status.code(), Some(4));

    for (line, exit) in [
        ("bench kafka sub nothing", 4),
        ("bench kafka pub --size 0", 2),
        ("bench kafka pub --duration 10", 2),
        ("bench kafka pub --connections 0", 2),
        ("bench kafka e2e --size 15", 2),
        ("bench kafka pub -n 1 --hdr /nowhere/out.hdr", 1),
    ] {
        let output = run(&mut mulgil(&format!("{line} --server {}", server.url)), b"");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{line}: {complaint}");
    }
    server.stop();
}
