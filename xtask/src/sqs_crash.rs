//! The suite `sqs-crash`: workers with boto3 on one queue, while broker and workers are killed with -9.
//!
//! What was acknowledged as sent is received; what was acknowledged as deleted is not received any more by a
//! request that was begun after that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use crate::brokers::Broker;
use crate::tally::Tally;
use crate::{interop, repo, tools};

const ROUNDS: u32 = 10;
const WORKERS: u32 = 4;
/// Between two kills; some of it passes while the broker starts.
const ROUND: Duration = Duration::from_millis(700);
/// Locks of two seconds, and machines that are slow.
const DRAIN_LIMIT: Duration = Duration::from_secs(90);
/// So long nothing came any more: longer than a lock.
const QUIET: Duration = Duration::from_secs(4);

type Check = fn(&mut Broker) -> Result<()>;
const CHECKS: [(&str, Check); 1] = [("killed-workers-and-broker", killed)];

/// Runs the checks, or those that are named.
pub(crate) fn suite(broker: &mut Broker, wanted: &[String]) -> Result<Tally> {
    tools::boto3(false)?;
    Ok(interop::checks("sqs-crash", &CHECKS, wanted, |check| {
        check(broker)
    }))
}

/// Workers that are killed when this goes.
struct Workers {
    endpoint: String,
    queue: String,
    folder: PathBuf,
    all: Vec<Child>,
}

impl Workers {
    fn start(&self, number: u32) -> Result<Child> {
        let mut python = Command::new(tools::boto3(false)?);
        python.arg(repo::root().join("interop/sqs-python/worker.py"));
        python.args([&self.endpoint, &self.queue, &number.to_string()]);
        python.arg(&self.folder).stdin(Stdio::null());
        python.spawn().context("a worker cannot be started")
    }

    /// Kills one of them with -9, and starts another in its place.
    fn kill_one(&mut self, number: u32) -> Result<()> {
        let fresh = self.start(number)?;
        let at = usize::try_from(number)? % self.all.len().max(1);
        if let Some(place) = self.all.get_mut(at) {
            let mut old = std::mem::replace(place, fresh);
            let killed = old.kill();
            old.wait()?;
            killed?;
        }
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.all {
            worker.kill().ok();
            worker.wait().ok();
        }
    }
}

fn killed(broker: &mut Broker) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let mut workers = Workers {
        endpoint: broker.sqs()?,
        queue: format!("crash-{now}"),
        folder: repo::fresh("sqs-crash")?,
        all: Vec::new(),
    };
    for number in 0..WORKERS {
        let worker = workers.start(number)?;
        workers.all.push(worker);
    }
    for round in 0..ROUNDS {
        std::thread::sleep(ROUND);
        if round % 3 == 2 {
            workers.kill_one(round % WORKERS)?;
        } else {
            broker.kill();
            broker.restart()?;
        }
    }
    std::fs::write(workers.folder.join("drain"), "")?;
    let began = Instant::now();
    let (mut last, mut since) = (0, Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let received = read(&workers.folder)?
            .iter()
            .filter(|one| one.kind == 'R')
            .count();
        if received != last {
            (last, since) = (received, Instant::now());
        }
        if since.elapsed() > QUIET {
            break;
        }
        ensure!(
            began.elapsed() < DRAIN_LIMIT,
            "the queue is not empty after {DRAIN_LIMIT:?}"
        );
    }
    std::fs::write(workers.folder.join("stop"), "")?;
    judge(&read(&workers.folder)?)
}

/// What a worker was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    kind: char,
    message: String,
    began: u64,
    ended: u64,
}

fn read(folder: &Path) -> Result<Vec<Told>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "log") {
            // A worker that was killed may leave half a line, of which nobody was told.
            let text = std::fs::read_to_string(path)?;
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            all.extend(whole.lines().filter_map(told));
        }
    }
    Ok(all)
}

fn told(line: &str) -> Option<Told> {
    let mut words = line.split(' ');
    Some(Told {
        kind: words.next()?.chars().next()?,
        message: words.next()?.to_owned(),
        began: words.next()?.parse().ok()?,
        ended: words.next()?.parse().ok()?,
    })
}

/// Whether what was told goes together.
fn judge(all: &[Told]) -> Result<()> {
    let of = |kind: char| all.iter().filter(move |one| one.kind == kind);
    let received: BTreeSet<_> = of('R').map(|one| one.message.as_str()).collect();
    let sent: BTreeSet<_> = of('S').map(|one| one.message.as_str()).collect();
    ensure!(sent.len() > 100, "only {} messages were sent", sent.len());
    let lost: Vec<_> = sent.difference(&received).collect();
    ensure!(
        lost.is_empty(),
        "{} messages are lost: {:?}",
        lost.len(),
        lost.first()
    );
    let mut deleted: BTreeMap<&str, u64> = BTreeMap::new();
    for one in of('D') {
        let at = deleted.entry(&one.message).or_insert(one.ended);
        *at = (*at).min(one.ended);
    }
    for one in of('R') {
        let before = deleted.get(one.message.as_str());
        ensure!(
            before.is_none_or(|at| one.began <= *at),
            "{} came back after it had been deleted",
            one.message
        );
    }
    println!(
        "  {} sent, {} received, {} deleted",
        sent.len(),
        of('R').count(),
        deleted.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &str) -> Vec<Told> {
        lines.lines().filter_map(told).collect()
    }

    #[test]
    fn what_is_lost_or_comes_back_is_found() {
        let many: String = (0..200)
            .map(|i| format!("S m{i} 0 1\nR m{i} 2 3\nD m{i} 4 5\n"))
            .collect();
        assert!(judge(&log(&many)).is_ok());
        let lost = log(&(many.clone() + "S other 0 1\n"));
        assert!(
            judge(&lost)
                .unwrap_err()
                .to_string()
                .contains("1 messages are lost")
        );
        let back = log(&(many.clone() + "R m7 6 7\n"));
        assert!(
            judge(&back)
                .unwrap_err()
                .to_string()
                .contains("m7 came back")
        );
        // On its way while it was deleted.
        assert!(judge(&log(&(many + "R m7 4 9\n"))).is_ok());
    }
}
