//! The real broker in a process of its own, and how much memory it takes.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// The soft limit of open files that most systems give a process; the broker raises it by itself.
const OPEN_FILES: u32 = 1024;

#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    kafka: String,
    _data: tempfile::TempDir,
}

impl Broker {
    /// Starts it with one command of the shell that lowers its soft limit of open files.
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("ulimit -S -n {OPEN_FILES} && exec \"$0\" \"$@\""))
            .arg(env!("CARGO_BIN_EXE_mulgil"))
            .args(["dev", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--sqs", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = said.any(|line| line.unwrap().contains("Server startup complete"));
        assert!(ready, "the broker ended before it was ready");
        std::thread::spawn(move || said.for_each(drop));
        let addresses = std::fs::read(data.path().join("addresses.json")).unwrap();
        let addresses: serde_json::Value = serde_json::from_slice(&addresses).unwrap();
        let kafka = addresses["kafka"].as_str().unwrap().to_owned();
        Self {
            child,
            kafka,
            _data: data,
        }
    }

    pub(crate) fn kafka(&self) -> &str {
        &self.kafka
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).expect("the broker runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .unwrap();
        line.trim_start_matches(":")
            .split_whitespace()
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            << 10
    }

    /// Resident memory, bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS")
    }

    /// The most resident memory since [`Self::forget_peak`], bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.status("VmHWM")
    }

    pub(crate) fn forget_peak(&self) {
        std::fs::write(self.proc("clear_refs"), "5").unwrap();
    }

    /// Stops it in order, which it must still be able to do.
    pub(crate) fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "it stops in order");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
