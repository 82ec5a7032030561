//! What the doors count of their connections.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counters of all doors together, for operators.
#[derive(Debug, Default)]
pub struct DoorFigures {
    /// Connections that are open.
    pub open: AtomicUsize,
    /// Connections that were ever accepted.
    pub opened: AtomicUsize,
    /// Connections refused because of the limit.
    pub refused: AtomicUsize,
    /// Bytes received.
    pub bytes_received: AtomicUsize,
    /// Bytes sent.
    pub bytes_sent: AtomicUsize,
    /// Connections that ended, by [`Ending`].
    closed: [AtomicU64; Ending::ALL.len()],
    /// Milliseconds during which connections were not read from, by [`Held`].
    held_ms: [AtomicU64; Held::ALL.len()],
}

impl DoorFigures {
    /// How many connections ended, by how.
    pub fn closed(&self) -> impl Iterator<Item = (Ending, u64)> {
        let counts = self
            .closed
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        Ending::ALL.into_iter().zip(counts)
    }

    /// How many milliseconds connections were not read from, by why.
    pub fn held_ms(&self) -> impl Iterator<Item = (Held, u64)> {
        let counts = self.held_ms.iter().map(|ms| ms.load(Ordering::Relaxed));
        Held::ALL.into_iter().zip(counts)
    }

    pub(super) fn ended(&self, ending: Ending) {
        if let Some(count) = self.closed.get(ending as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn held(&self, why: Held, ms: u64) {
        if let Some(count) = self.held_ms.get(why as usize) {
            count.fetch_add(ms, Ordering::Relaxed);
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer closed it, or the network did.
    Peer,
    /// It broke the protocol, or asked for more than it may.
    Protocol,
    /// It said nothing for too long.
    Idle,
    /// All connections together keep too much, and it had more than its share.
    Memory,
    /// The broker is stopping.
    Stopping,
}

impl Ending {
    const ALL: [Self; 5] = [
        Self::Peer,
        Self::Protocol,
        Self::Idle,
        Self::Memory,
        Self::Stopping,
    ];

    /// A word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Protocol => "protocol",
            Self::Idle => "idle",
            Self::Memory => "memory",
            Self::Stopping => "stopping",
        }
    }
}

/// Why a connection is not read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It does not read its answers.
    Unsent,
    /// Its requests wait for those before them.
    Requests,
}

impl Held {
    const ALL: [Self; 2] = [Self::Unsent, Self::Requests];

    /// A word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Requests => "requests",
        }
    }
}
