//! Settings, groups and trimming on the command line, against the real server, over a restart.

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
        let line = "server --kafka 127.0.0.1:0 --http 127.0.0.1:0 --data-dir";
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
