//! What the kernel knows of a process: processor time and memory, out of `/proc`.

use std::collections::BTreeMap;
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
        // utime is the fourteenth field, and stime follows.
        Self::fields(pid, 14)
    }

    /// What the children of this process used that have ended and were waited for.
    pub(crate) fn of_children() -> Result<Self> {
        // cutime is the sixteenth field, and cstime follows.
        Self::fields(std::process::id(), 16)
    }

    /// The fields `first`, counted from one as `proc(5)` does, and the next.
    fn fields(pid: u32, first: usize) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid} is not there"))?;
        // The second field is a name in brackets that may hold blanks.
        let after_name = stat.rsplit_once(')').context("a stat line has a name")?.1;
        let mut ticks = after_name.split_whitespace().skip(first - 3);
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

/// What a process has read from and written to disks, bytes, as the kernel accounts for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Io {
    /// Fetched from the disk for it; what came from the page cache does not count.
    pub(crate) read: u64,
    /// Pages that it made dirty, less those that were cut off before they were written.
    pub(crate) written: u64,
}

impl Io {
    /// What process `pid` has moved so far, in all its threads.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        Self::read(&format!("/proc/{pid}/io"))
    }

    fn read(path: &str) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("{path} cannot be read: the kernel accounts for no io"))?;
        let field = |name: &str| -> Result<u64> {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            Ok(value
                .with_context(|| format!("no {name}"))?
                .trim()
                .parse()?)
        };
        let written = field("write_bytes:")?;
        Ok(Self {
            read: field("read_bytes:")?,
            written: written.saturating_sub(field("cancelled_write_bytes:")?),
        })
    }
}

/// Bytes written by the threads of process `pid` that live, by the name of the thread.
pub(crate) fn written_by_thread(pid: u32) -> Result<BTreeMap<String, u64>> {
    let mut written = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = entry?.path();
        // A thread may end between two looks.
        let Ok(name) = fs::read_to_string(task.join("comm")) else {
            continue;
        };
        let Ok(io) = Io::read(&task.join("io").display().to_string()) else {
            continue;
        };
        *written.entry(name.trim().to_owned()).or_default() += io.written;
    }
    Ok(written)
}

/// Whether `pid` is a child of this process, and so still the one that was started.
pub(crate) fn is_child(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
    parent == Some(std::process::id())
}
