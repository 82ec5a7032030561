//! The world failed: what kind of failure, of what, and why.

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
