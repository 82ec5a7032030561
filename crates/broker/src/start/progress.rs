//! How far a start is: written by the thread that reads, looked at by anybody.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a start does, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Looks what there is.
    #[default]
    Opening,
    /// Loads the newest checkpoint.
    Checkpoint,
    /// Reads the footers of sealed chunks.
    Footers,
    /// Replays the log behind the checkpoint.
    Log,
    /// Cleans up, and begins a new leadership.
    Finishing,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::Opening,
        Self::Checkpoint,
        Self::Footers,
        Self::Log,
        Self::Finishing,
    ];

    /// A word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Checkpoint => "checkpoint",
            Self::Footers => "footers",
            Self::Log => "log",
            Self::Finishing => "finishing",
        }
    }
}

/// How far a start is.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    /// Bytes read in phases before this one.
    before: AtomicU64,
    /// Bytes read in this phase.
    read: AtomicU64,
    total: AtomicU64,
}

/// How far a start was when somebody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// What it did.
    pub phase: Phase,
    /// Bytes of checkpoint and log that were read.
    pub read: u64,
    /// How many there are to read, as far as it knew.
    pub total: u64,
}

impl Progress {
    /// How far it is.
    #[must_use]
    pub fn reached(&self) -> Reached {
        let phase = usize::from(self.phase.load(Ordering::Relaxed));
        let total = self.total.load(Ordering::Relaxed);
        let read = self.before.load(Ordering::Relaxed) + self.read.load(Ordering::Relaxed);
        Reached {
            phase: Phase::ALL.get(phase).copied().unwrap_or_default(),
            read: read.min(total),
            total,
        }
    }

    /// The next phase begins.
    pub(super) fn enter(&self, phase: Phase) {
        let read = self.read.swap(0, Ordering::Relaxed);
        self.before.fetch_add(read, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// So many bytes are read in this phase, and with those to come there are so many from here on.
    pub(super) fn read(&self, read: u64, of: u64) {
        self.read.store(read, Ordering::Relaxed);
        let total = self.before.load(Ordering::Relaxed) + of;
        self.total.store(total, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_add_up() {
        let progress = Progress::default();
        progress.enter(Phase::Checkpoint);
        progress.read(10, 110);
        progress.read(30, 110);
        progress.enter(Phase::Log);
        progress.read(40, 70);
        let reached = progress.reached();
        let wanted = Reached {
            phase: Phase::Log,
            read: 70,
            total: 100,
        };
        assert_eq!(reached, wanted);
    }
}
