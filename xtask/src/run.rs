//! Running a child process so that a person sees that it lives, and its output only if it fails.
//!
//! Output goes to a file under the target folder. Meanwhile a terminal shows one line that changes,
//! and anything else gets a line every half minute.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::repo;

const LOOK_EVERY: Duration = Duration::from_millis(50);
const END_EVERY: Duration = Duration::from_millis(5);
const TERMINAL_EVERY: Duration = Duration::from_millis(500);
const LOG_EVERY: Duration = Duration::from_secs(30);
const SHOWN_LINES: usize = 150;

/// What became of a child process.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) good: bool,
    /// How it ended, in words.
    pub(crate) end: String,
    /// Standard output and standard error as they came.
    pub(crate) output: String,
    pub(crate) took: Duration,
}

/// Runs `command` under `name`, for `limit` at most.
pub(crate) fn watched(name: &str, command: &mut Command, limit: Duration) -> Result<Finished> {
    let log = repo::scratch("logs")?.join(format!("{}.log", name.replace([' ', '/'], "-")));
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let status = wait(name, &mut child, started, limit, &log)?;
    let output = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    let end = status.map_or_else(
        || format!("stopped after {} s, its limit", limit.as_secs()),
        |status| status.to_string(),
    );
    let good = status.is_some_and(|status| status.success());
    Ok(Finished {
        good,
        end,
        output,
        took: started.elapsed(),
    })
}

/// Runs `command` and fails with its output if it does not succeed.
pub(crate) fn must(name: &str, command: &mut Command, limit: Duration) -> Result<String> {
    let finished = watched(name, command, limit)?;
    if !finished.good {
        show(name, &finished.output);
        anyhow::bail!("{name}: {}", finished.end);
    }
    Ok(finished.output)
}

/// What a child that talks through pipes has said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) good: bool,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// A child process with its two outputs in files, which can be read while it runs.
#[derive(Debug)]
pub(crate) struct Talking {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Talking {
    /// Starts `command` with `input` to read.
    pub(crate) fn start(command: &mut Command, input: &[u8]) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let base = repo::scratch("talk")?.join(format!("{}-{number}", std::process::id()));
        let stdin = base.with_extension("in");
        std::fs::write(&stdin, input)?;
        let (stdout, stderr) = (base.with_extension("out"), base.with_extension("err"));
        let child = command
            .stdin(File::open(&stdin)?)
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        std::fs::remove_file(stdin)?;
        Ok(Self {
            child,
            stdout,
            stderr,
        })
    }

    /// Waits until standard error holds `word`.
    pub(crate) fn says(&mut self, word: &str, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while !std::fs::read_to_string(&self.stderr)
            .unwrap_or_default()
            .contains(word)
        {
            let ended = self.child.try_wait()?;
            ensure!(ended.is_none(), "ended before it said `{word}`");
            ensure!(
                Instant::now() < end,
                "did not say `{word}` in {} s",
                limit.as_secs()
            );
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits for the end.
    pub(crate) fn finish(&mut self, limit: Duration) -> Result<Said> {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                let said = std::fs::read_to_string(&self.stderr).unwrap_or_default();
                bail!(
                    "no end after {} s; it said: {}",
                    limit.as_secs(),
                    said.trim()
                );
            }
            std::thread::sleep(LOOK_EVERY);
        };
        let stderr = String::from_utf8_lossy(&std::fs::read(&self.stderr)?).into_owned();
        Ok(Said {
            good: status.success(),
            stdout: std::fs::read(&self.stdout)?,
            stderr,
        })
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_file(&self.stdout).ok();
        std::fs::remove_file(&self.stderr).ok();
    }
}

/// Prints the end of what a failed part has said.
pub(crate) fn show(name: &str, output: &str) {
    let lines: Vec<&str> = output.lines().collect();
    let skipped = lines.len().saturating_sub(SHOWN_LINES);
    println!(
        "---- {name} said{}:",
        if skipped > 0 { " at its end" } else { "" }
    );
    for line in lines.iter().skip(skipped) {
        println!("{line}");
    }
    println!("----");
}

fn wait(
    name: &str,
    child: &mut Child,
    started: Instant,
    limit: Duration,
    log: &Path,
) -> Result<Option<ExitStatus>> {
    let mut heartbeat = Heartbeat::new(name, started);
    loop {
        if let Some(status) = child.try_wait()? {
            heartbeat.clear();
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            heartbeat.clear();
            kill_tree(child.id());
            child.wait()?;
            return Ok(None);
        }
        heartbeat.beat(|| last_line(log));
        std::thread::sleep(LOOK_EVERY);
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let tail = text
        .get(text.len().saturating_sub(400)..)
        .unwrap_or_default();
    let line = String::from_utf8_lossy(tail)
        .trim_end()
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned();
    line.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// Shows that something long is still under way.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    name: String,
    started: Instant,
    next: Instant,
    terminal: bool,
}

impl Heartbeat {
    pub(crate) fn new(name: &str, started: Instant) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let first = if terminal { TERMINAL_EVERY } else { LOG_EVERY };
        Self {
            name: name.to_owned(),
            started,
            next: started + first,
            terminal,
        }
    }

    pub(crate) fn beat(&mut self, detail: impl FnOnce() -> String) {
        if Instant::now() < self.next {
            return;
        }
        let line = format!(
            "  {} ... {} s  {}",
            self.name,
            self.started.elapsed().as_secs(),
            detail()
        );
        if self.terminal {
            print!("\r\x1b[2K{line}");
            std::io::stdout().flush().ok();
            self.next += TERMINAL_EVERY;
        } else {
            println!("{line}");
            self.next += LOG_EVERY;
        }
    }

    pub(crate) fn clear(&self) {
        if self.terminal {
            print!("\r\x1b[2K");
            std::io::stdout().flush().ok();
        }
    }
}

/// Waits until a child has ended. After `limit` it is killed, and that is an error.
pub(crate) fn end(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > end {
            child.kill().ok();
            child.wait().ok();
            bail!("still ran after {} s", limit.as_secs());
        }
        std::thread::sleep(END_EVERY);
    }
}

/// Kills a process and all that it started, children first.
pub(crate) fn kill_tree(pid: u32) {
    let task = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(task).unwrap_or_default();
    for child in children
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
    {
        kill_tree(child);
    }
    signal(pid, Signal::KILL);
}

/// Sends a signal; a process that is gone already is no error.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process(pid, signal).ok();
    }
}
