//! The world failed: what kind of failure, of what, and why.

use rustix::io::Errno;
use thiserror::Error;

/// What a failure means for whoever meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It may work later: too many open files, a read that timed out.
    Unavailable,
    /// Stored bytes are not what was written.
    Corrupt,
    /// Another process owns what was to be changed.
    Fenced,
    /// No room: a full disk.
    Exhausted,
    /// A write or sync failed, so that nobody knows what is on disk. The process must end.
    Fatal,
}

/// A failure of the store.
#[derive(Debug, Error)]
#[error("{what}")]
pub struct Fault {
    /// What it means.
    pub kind: FaultKind,
    /// What was tried, on which object.
    pub what: String,
    /// What the system said, if it said anything.
    #[source]
    pub source: Option<std::io::Error>,
}

impl Fault {
    /// A fault without a system error behind it.
    #[must_use]
    pub fn new(kind: FaultKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
        }
    }

    /// Whether the process, or the system, was short of something: files, memory. What was to be
    /// read or written has no part in it.
    #[must_use]
    pub fn is_of_process(&self) -> bool {
        let number = self.source.as_ref().and_then(std::io::Error::raw_os_error);
        let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
        short
            .iter()
            .any(|errno| number == Some(errno.raw_os_error()))
    }

    /// A fault with what the system said.
    #[must_use]
    pub fn io(kind: FaultKind, what: impl Into<String>, source: std::io::Error) -> Self {
        Self {
            kind,
            what: what.into(),
            source: Some(source),
        }
    }
}
