//! What was measured: one JSON line a run, in a file that is only appended to.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::broker::Target;

/// Figures of a run by name; the name ends with the unit.
pub(crate) type Figures = BTreeMap<String, f64>;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The measurement: `produce`, `latency` ...
    pub(crate) kind: String,
    /// Which broker.
    pub(crate) broker: String,
    /// The broker's commit.
    pub(crate) commit: String,
    /// UTC, to the minute.
    pub(crate) date: String,
    /// Cores, memory, kernel.
    pub(crate) machine: String,
    /// What makes the run again, after `cargo run -p mulgil-bench --`.
    pub(crate) command: String,
    /// How busy the machine was before the run: runnable threads, mean of the last minute.
    pub(crate) load_before: f64,
    /// What came out.
    pub(crate) figures: Figures,
    /// Which place in the comparison of brokers it has, if it belongs there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) beside: Option<Beside>,
}

/// A run's place in the comparison of brokers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// The row's name.
    pub(crate) row: String,
    /// Broker and level of durability: `mulgil fsync`.
    pub(crate) side: String,
    /// The commit of Mulgil that took turns with it.
    pub(crate) mulgil: String,
    /// Whether it was a short run.
    pub(crate) quick: bool,
}

/// What is the same for all runs of an invocation.
#[derive(Clone, Debug)]
pub(crate) struct Circumstances {
    pub(crate) commit: String,
    machine: String,
}

impl Circumstances {
    /// Looks around; `label` says what was built, or the program itself does.
    pub(crate) fn look(target: &Target, label: Option<&str>) -> Result<Self> {
        let commit = match label {
            Some(label) => label.to_owned(),
            None => target.version()?,
        };
        Ok(Self {
            commit,
            machine: machine()?,
        })
    }

    /// A run with these figures.
    pub(crate) fn run(
        &self,
        (kind, broker, command): (&str, &str, &str),
        load_before: f64,
        figures: Figures,
    ) -> Result<Run> {
        Ok(Run {
            kind: kind.to_owned(),
            broker: broker.to_owned(),
            commit: self.commit.clone(),
            date: output("date", &["-u", "+%Y-%m-%d %H:%M"])?,
            machine: self.machine.clone(),
            command: command.to_owned(),
            load_before,
            figures,
            beside: None,
        })
    }
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("{program} cannot be run"))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or(0);
    let kernel = output("uname", &["-r"])?;
    Ok(format!(
        "{cores} cores ({model}), {} GiB, Linux {kernel}",
        kib >> 20
    ))
}

/// Runnable threads, mean of the last minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// Processor time of the machine so far, and how much of it the host of a virtual machine gave to
/// others while somebody here wanted it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stolen {
    all: u64,
    stolen: u64,
}

impl Stolen {
    /// Until now.
    pub(crate) fn so_far() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        Self::of(&text).context("/proc/stat begins with a line of all processors")
    }

    /// user, nice, system, idle, iowait, irq, softirq, steal; guests are counted among the first two.
    fn of(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line
            .split_whitespace()
            .take(8)
            .map(|ticks| ticks.parse().ok())
            .collect::<Option<_>>()?;
        Some(Self {
            all: ticks.iter().sum(),
            stolen: *ticks.get(7)?,
        })
    }

    /// As a share of all processor time since `earlier`.
    pub(crate) fn share_since(self, earlier: Self) -> f64 {
        let (all, stolen) = (self.all - earlier.all, self.stolen - earlier.stolen);
        crate::meter::float(stolen) / crate::meter::float(all.max(1))
    }
}

/// Adds `run` to the file at `path`.
pub(crate) fn append(path: &Path, run: &Run) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    writeln!(file, "{}", serde_json::to_string(run)?)?;
    Ok(())
}

/// All runs in the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<Run>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// All runs in the file at `path`, none if there is no such file.
pub(crate) fn read_if_there(path: &Path) -> Result<Vec<Run>> {
    if path.exists() {
        read(path)
    } else {
        Ok(Vec::new())
    }
}

/// The middle one of `values`, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_a_share_of_all() {
        let at = |line: &str| Stolen::of(&format!("{line}\ncpu0 1 2\n"));
        let before = at("cpu  10 0 10 70 0 0 0 10 5 0").unwrap();
        let after = at("cpu  20 0 20 130 0 0 0 30 9 0").unwrap();
        assert!((after.share_since(before) - 0.2).abs() < f64::EPSILON);
        assert!(at("cpu  10 0 10").is_none() && at("intr 5").is_none());
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 9.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).is_nan());
    }
}
