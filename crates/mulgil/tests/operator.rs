//! What an operator sees of a real server: metrics, alarms, health, a port that refuses.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end with a panic"
)]

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

struct Server {
    child: Child,
    http: String,
}

impl Server {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mulgil"))
            .args(["server", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--sqs", "127.0.0.1:0"])
            .args(["--log", "error", "--data-dir"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "Server startup complete");
        let addresses = std::fs::read(data.join("addresses.json")).unwrap();
        let addresses: Value = serde_json::from_slice(&addresses).unwrap();
        Self {
            child,
            http: addresses["http"].as_str().unwrap().to_owned(),
        }
    }

    /// Status and body of what lies under `path`.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    fn json(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.get(path);
        (status, serde_json::from_str(&body).unwrap())
    }

    /// The value of a sample of `/metrics`, named with its labels.
    fn metric(&self, sample: &str) -> f64 {
        let (status, page) = self.get("/metrics");
        assert_eq!(status, 200);
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("{sample} is not in\n{page}"));
        value.parse().unwrap()
    }

    fn run(&self, line: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_mulgil"))
            .args(line.split_whitespace())
            .args(["--server", &format!("http://{}", self.http)])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn kill(mut self) {
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

#[test]
fn what_happens_is_counted() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    server.run("topic create orders");
    for _ in 0..3 {
        server.run("message pub orders hello");
    }
    server.run("message sub orders --to-end");
    for (sample, value) in [
        ("mulgil_messages_published_total{protocol=\"kafka\"}", 3.0),
        ("mulgil_messages_delivered_total{protocol=\"kafka\"}", 3.0),
        ("mulgil_connections{protocol=\"kafka\"}", 0.0),
        ("mulgil_topics", 1.0),
        ("mulgil_alarm{name=\"disk_full\"}", 0.0),
        ("mulgil_alarm{name=\"groups_full\"}", 0.0),
        ("mulgil_consumer_groups_max", 100_000.0),
        ("mulgil_consumer_group_bytes_max", 268_435_456.0),
        ("mulgil_alarm{name=\"quarantine\"}", 0.0),
        ("mulgil_alarm{name=\"clock_stepped\"}", 0.0),
        ("mulgil_quarantine_bytes", 0.0),
    ] {
        // A connection that its client has closed is seen to be closed a little later.
        while sample.starts_with("mulgil_connections") && server.metric(sample) > value {
            std::thread::yield_now();
        }
        let got = server.metric(sample);
        assert!((got - value).abs() < f64::EPSILON, "{sample}: {got}");
    }
    for sample in [
        "mulgil_message_bytes_published_total{protocol=\"kafka\"}",
        "mulgil_received_bytes_total{protocol=\"kafka\"}",
        "mulgil_sent_bytes_total{protocol=\"kafka\"}",
        "mulgil_connections_opened_total{protocol=\"kafka\"}",
        "mulgil_connections_closed_total{protocol=\"kafka\",reason=\"peer\"}",
        "mulgil_request_duration_seconds_count{protocol=\"kafka\",op=\"Produce\"}",
        "mulgil_request_duration_seconds_sum{protocol=\"kafka\",op=\"Produce\"}",
        "mulgil_storage_append_duration_seconds_count",
        "mulgil_storage_fsync_duration_seconds_count",
        "mulgil_storage_fsync_duration_seconds_sum",
        "mulgil_storage_group_bytes_sum",
        "mulgil_tail_bytes",
        "mulgil_chunks",
        "mulgil_disk_free_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(server.metric(sample) > 0.0, "{sample}");
    }
    let status: Value = serde_json::from_str(&server.run("status -o json")).unwrap();
    assert_eq!(status["metrics"]["mulgil_messages_published_total"], 3);
    let shown = server.run("status");
    assert!(shown.contains("mulgil_messages_published_total"), "{shown}");
    server.kill();
}

#[test]
fn a_server_that_runs_is_healthy_in_every_respect() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let names = |path: &str| {
        let (status, health) = server.json(path);
        assert_eq!(status, 200, "{health}");
        let checks = health["checks"].as_array().unwrap().clone();
        assert!(checks.iter().all(|check| check["ok"] == true));
        let names = checks.iter().map(|check| check["name"].as_str().unwrap());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let live = names("/livez?verbose=1");
    assert_eq!(live, ["lane", "runtimes", "keeper", "store"]);
    let ready = names("/readyz?verbose=1");
    assert_eq!(ready, ["started", "not_draining", "storage", "running"]);
    let (status, startup) = server.json("/startupz");
    assert_eq!((status, &startup["progress_percent"]), (200, &100.into()));
    server.kill();
}

#[test]
fn torn_bytes_raise_an_alarm_that_keeps_its_time() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    server.run("topic create orders");
    server.kill();
    let newest = std::fs::read_dir(data.path()).unwrap();
    let newest = newest.map(|entry| entry.unwrap().path());
    let log = newest.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
    let log = OpenOptions::new()
        .read(true)
        .write(true)
        .open(log.max().unwrap())
        .unwrap();
    // Behind the last byte that is not zero there is room that was made and not yet used.
    let mut bytes = Vec::new();
    (&log).read_to_end(&mut bytes).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    log.write_all_at(b"torn", end / 8 * 8 + 64).unwrap();

    let server = Server::start(data.path());
    assert!(server.metric("mulgil_alarm{name=\"quarantine\"}") > 0.0);
    assert!(server.metric("mulgil_quarantine_bytes") > 0.0);
    let since = || {
        let (_, status) = server.json("/api/v1/status");
        let alarm = status["alarms"][0].clone();
        assert_eq!(alarm["name"], "quarantine", "{status}");
        alarm["since"].as_str().unwrap().to_owned()
    };
    let (first, started) = (since(), server.json("/api/v1/status").1["started"].clone());
    assert!(*first >= *started.as_str().unwrap());
    // Times are in milliseconds: some must pass for the time of the question to show.
    let now = std::time::Instant::now();
    while now.elapsed().as_millis() < 5 {
        std::thread::yield_now();
    }
    assert_eq!(since(), first);
    server.kill();
}

#[test]
fn queues_are_counted_together_and_one_by_one() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    server.run("queue create jobs");
    server.run("queue create other");
    for _ in 0..4 {
        server.run("queue pub jobs hello");
    }
    server.run("queue receive jobs");
    server.run("queue receive jobs --accept");
    let receipt = server.run("queue receive jobs -o name");
    server.run(&format!("queue settle jobs {receipt} --reject"));
    for (sample, value) in [
        ("mulgil_subscriptions", 2.0),
        ("mulgil_messages_available", 1.0),
        ("mulgil_messages_acquired", 1.0),
        ("mulgil_messages_scheduled", 0.0),
    ] {
        let got = server.metric(sample);
        assert!((got - value).abs() < f64::EPSILON, "{sample}: {got}");
    }
    let (status, page) = server.get("/metrics/per-object?topic=jobs");
    assert_eq!(status, 200);
    let of = "{subscription=\"jobs\",topic=\"jobs\"";
    for sample in [
        format!("mulgil_subscription_messages_available{of}}} 1"),
        format!("mulgil_subscription_messages_acquired{of}}} 1"),
        format!("mulgil_subscription_messages_acknowledged_total{of}}} 1"),
        format!("mulgil_subscription_messages_dropped_total{of},reason=\"rejected\"}} 1"),
    ] {
        assert!(page.lines().any(|line| line == sample), "{sample}: {page}");
    }
    assert!(!page.contains("other"), "{page}");
    assert_eq!(server.get("/metrics/per-object?queue=jobs").0, 400);
}
