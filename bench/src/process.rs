//! What the kernel knows of a process: processor time and memory, out of `/proc`.

use std::fs;

use anyhow::{Context, Result};

/// Ticks of `/proc/PID/stat` in a second; fixed for programs on Linux, whatever the kernel's own rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time that a process has used in all its threads, seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    /// What process `pid` has used so far.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid} is not there"))?;
        // The second field is a name in brackets that may hold blanks.
        let after_name = stat.rsplit_once(')').context("a stat line has a name")?.1;
        let mut ticks = after_name.split_whitespace().skip(11);
        let mut next = || -> Result<f64> {
            let field = ticks.next().context("a stat line has 52 fields")?;
            Ok(field.parse::<f64>()? / TICKS_PER_SECOND)
        };
        Ok(Self {
            user: next()?,
            system: next()?,
        })
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user - earlier.user,
            system: self.system - earlier.system,
        }
    }

    /// User and system together.
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }
}

/// Memory that process `pid` holds, MiB: now, and at most so far.
pub(crate) fn resident_mib(pid: u32) -> Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let line = line.with_context(|| format!("no {name} in the status of {pid}"))?;
        let kib = line.split_whitespace().next().context("no number")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}
