//! Other people's servers that use a broker: each a child process with its log in a file, killed when
//! its handle is dropped.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::run::{self, Heartbeat};

const STOP_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Service {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts `command`; what it says is added to the file `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let name = name.to_owned();
        Ok(Self { name, child, log })
    }

    /// Asks until there is something, for `limit` at most and while the server runs. An error is
    /// taken for `not yet`; the last one is told if nothing ever comes.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut ask: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let started = Instant::now();
        let mut heartbeat = Heartbeat::new(&self.name, started);
        let mut last = String::new();
        let why = loop {
            match ask() {
                Ok(Some(found)) => {
                    heartbeat.clear();
                    return Ok(found);
                }
                Ok(None) => {}
                Err(error) => last = format!("; last error: {error:#}"),
            }
            if let Some(status) = self.child.try_wait()? {
                break format!("{} ended: {status}", self.name);
            }
            if started.elapsed() > limit {
                break format!("not in {} s{last}", limit.as_secs());
            }
            heartbeat.beat(|| what.to_owned());
            std::thread::sleep(LOOK_EVERY);
        };
        heartbeat.clear();
        let said = std::fs::read(&self.log).unwrap_or_default();
        run::show(&self.name, &String::from_utf8_lossy(&said));
        bail!("{what}: {why}")
    }

    /// Ends it with SIGTERM. How it ends is its own affair: a JVM says 143, however well it closed.
    pub(crate) fn stop(mut self) -> Result<()> {
        run::signal(self.child.id(), Signal::TERM);
        run::end(&mut self.child, STOP_LIMIT)
            .with_context(|| self.name.clone())
            .map(drop)
    }

    /// Kills it with -9.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
