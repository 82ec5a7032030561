//! What an answer waits for, and the answers that wait.
//!
//! An entry at position `p` is durable once the log is synced (or, for a topic that asks for less,
//! written) *beyond* `p`. So an answer waits for two numbers, and is let out when both are passed.

use std::collections::BTreeMap;

use mulgil_log::position::Position;
use mulgil_meta::schema::Durability;

/// How far the log must have come before an answer may leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Synced beyond this entry; zero for nothing.
    pub(crate) synced: Position,
    /// Written beyond this entry; zero for nothing.
    pub(crate) written: Position,
}

impl Due {
    /// Waits for nothing.
    pub(crate) const NOW: Self = Self {
        synced: Position::ZERO,
        written: Position::ZERO,
    };

    /// Waits for the entry at `at`, at the level that a topic asks.
    pub(crate) const fn at(at: Position, durability: Durability) -> Self {
        match durability {
            Durability::Fsync => Self {
                synced: at,
                written: Position::ZERO,
            },
            Durability::Os => Self {
                synced: Position::ZERO,
                written: at,
            },
            Durability::Memory => Self::NOW,
        }
    }

    /// Waits until the entry at `at` is synced.
    pub(crate) const fn synced(at: Position) -> Self {
        Self {
            synced: at,
            written: Position::ZERO,
        }
    }

    /// Waits for both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            synced: self.synced.max(other.synced),
            written: self.written.max(other.written),
        }
    }
}

/// How far the log has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// All before is synced.
    pub(crate) synced: Position,
    /// All before is written.
    pub(crate) written: Position,
}

impl Progress {
    /// Whether what an answer waits for has come.
    pub(crate) fn has(self, due: Due) -> bool {
        (due.synced == Position::ZERO || self.synced > due.synced)
            && (due.written == Position::ZERO || self.written > due.written)
    }
}

/// Answers that wait, by what they wait for.
#[derive(Debug)]
pub(crate) struct Held<T> {
    by_sync: BTreeMap<(Position, u64), (Due, T)>,
    by_write: BTreeMap<(Position, u64), (Due, T)>,
    next: u64,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self {
            by_sync: BTreeMap::new(),
            by_write: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<T> Held<T> {
    /// Keeps `what` until the log has come as far as `due`, or hands it back at once.
    pub(crate) fn hold(&mut self, due: Due, progress: Progress, what: T) -> Option<T> {
        if progress.has(due) {
            return Some(what);
        }
        self.next += 1;
        if due.synced > Position::ZERO && progress.synced <= due.synced {
            self.by_sync.insert((due.synced, self.next), (due, what));
        } else {
            self.by_write.insert((due.written, self.next), (due, what));
        }
        None
    }

    /// Hands all that need wait no longer to `out`, in the order of what they waited for.
    pub(crate) fn release(&mut self, progress: Progress, mut out: impl FnMut(T)) {
        while let Some(first) = self.by_sync.first_entry() {
            if progress.synced <= first.key().0 {
                break;
            }
            let (due, what) = first.remove();
            if let Some(what) = self.hold(due, progress, what) {
                out(what);
            }
        }
        while let Some(first) = self.by_write.first_entry() {
            if progress.written <= first.key().0 {
                break;
            }
            let (_, what) = first.remove();
            out(what);
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.by_sync.len() + self.by_write.len()
    }
}

#[cfg(test)]
mod tests {
    use mulgil_log::position::ChunkId;

    use super::*;

    #[test]
    fn an_answer_leaves_when_both_have_come_and_not_before() {
        let at = |offset| Position::new(ChunkId(1), offset);
        let mut held = Held::default();
        let mut progress = Progress {
            synced: at(10),
            written: at(10),
        };
        assert_eq!(held.hold(Due::NOW, progress, 'a'), Some('a'));
        assert_eq!(held.hold(Due::synced(at(10)), progress, 'b'), None);
        let both = Due {
            synced: at(20),
            written: at(40),
        };
        assert_eq!(held.hold(both, progress, 'c'), None);
        assert_eq!(
            held.hold(Due::at(at(15), Durability::Os), progress, 'd'),
            None
        );
        let mut out = Vec::new();
        progress.written = at(30);
        held.release(progress, |w| out.push(w));
        assert_eq!(out, ['d']);
        progress.synced = at(30);
        held.release(progress, |w| out.push(w));
        assert_eq!(out, ['d', 'b']);
        progress.written = at(50);
        held.release(progress, |w| out.push(w));
        assert_eq!(out, ['d', 'b', 'c']);
        assert_eq!(held.len(), 0);
    }
}
