//! What the keeper makes of failures: each task is tried again on its own, later and later, and a chunk
//! that no pass gets over is left out of passes.
//!
//! A task that fails must not keep back those that make room, and one unreadable sector must not stop
//! regrouping for ever. Which chunk of a pass it was is not known: each is tried alone then. What failed
//! alone is tried alone again after an hour.

use std::collections::BTreeMap;

use mulgil_log::fault::{Fault, FaultKind};
use mulgil_log::position::ChunkId;

/// The first wait after a failure, milliseconds; it doubles with each.
const WAIT_FIRST_MS: u64 = 1_000;
/// Doublings at most: about a minute.
const DOUBLINGS_MAX: u32 = 6;

/// When a task is tried again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempts {
    failures: u32,
    /// Running milliseconds.
    again: u64,
}

impl Attempts {
    pub(super) const fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.again
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Says how many milliseconds the task waits.
    pub(super) fn failed(&mut self, now_ms: u64) -> u64 {
        let wait = WAIT_FIRST_MS << self.failures.min(DOUBLINGS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.again = now_ms + wait;
        wait
    }
}

/// How long a chunk that failed alone is left out: a sector may be readable again, and what is tried for
/// nothing then is one chunk.
const AVOIDED_MS: u64 = 60 * 60 * 1_000;

/// Whether a fault says nothing of what was read: the disk, or the process, is short of something, or
/// nobody knows what is on disk.
pub(super) fn is_excused(fault: &Fault) -> bool {
    match fault.kind {
        FaultKind::Exhausted | FaultKind::Fenced | FaultKind::Fatal => true,
        FaultKind::Unavailable => fault.is_of_process(),
        FaultKind::Corrupt => false,
    }
}

/// Chunks that passes have failed over.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// To be tried alone.
    waiting: Vec<ChunkId>,
    /// Failed alone: left out until this running time, and then tried alone again.
    avoided: BTreeMap<ChunkId, u64>,
}

impl Suspects {
    /// Whether a chunk is none that a pass over several may take.
    pub(super) fn holds(&self, chunk: ChunkId) -> bool {
        self.avoided.contains_key(&chunk) || self.waiting.contains(&chunk)
    }

    /// The next chunk that is to be tried alone, if any. `fits` says whether there is room for it; what
    /// it does not know is gone.
    pub(super) fn next(
        &mut self,
        now_ms: u64,
        fits: impl Fn(ChunkId) -> Option<bool>,
    ) -> Option<ChunkId> {
        let over = self.avoided.extract_if(.., |_, until| *until <= now_ms);
        self.waiting.extend(over.map(|(chunk, _)| chunk));
        self.waiting.retain(|chunk| fits(*chunk).is_some());
        let at = self
            .waiting
            .iter()
            .rposition(|chunk| fits(*chunk) == Some(true))?;
        Some(self.waiting.remove(at))
    }

    /// A pass over these chunks failed. Says which of them is left out from now on, if that is clear.
    pub(super) fn blame(&mut self, chunks: &[ChunkId], now_ms: u64) -> Option<ChunkId> {
        if let [only] = chunks {
            self.avoided.insert(*only, now_ms + AVOIDED_MS);
            return Some(*only);
        }
        self.waiting.extend(chunks);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_waits_longer_with_each_failure_and_no_longer_than_a_minute_or_so() {
        let mut attempts = Attempts::default();
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert!(attempts.is_due(now));
            let wait = attempts.failed(now);
            assert!(!attempts.is_due(now + wait - 1));
            now += wait;
            waits.push(wait / 1_000);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        attempts.succeeded();
        assert_eq!(attempts.failed(now), 1_000);
    }

    #[test]
    fn the_one_chunk_that_fails_alone_is_left_out_for_an_hour() {
        let mut suspects = Suspects::default();
        let all = [ChunkId(3), ChunkId(5), ChunkId(8)];
        let exists = |chunk| (chunk != ChunkId(8)).then_some(true);
        assert_eq!(suspects.blame(&all, 10), None);
        assert!(suspects.holds(ChunkId(3)), "it is tried alone");
        let mut avoided = Vec::new();
        while let Some(chunk) = suspects.next(20, exists) {
            if chunk == ChunkId(5) {
                avoided.extend(suspects.blame(&[chunk], 20));
            }
        }
        assert_eq!(avoided, [ChunkId(5)]);
        assert!(suspects.holds(ChunkId(5)) && !suspects.holds(ChunkId(3)));
        assert_eq!(suspects.next(20 + AVOIDED_MS - 1, exists), None);
        assert_eq!(suspects.next(20 + AVOIDED_MS, exists), Some(ChunkId(5)));
        assert!(!suspects.holds(ChunkId(5)), "unless it fails again");
    }

    #[test]
    fn a_chunk_for_which_there_is_no_room_waits_and_holds_up_no_other() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.blame(&[ChunkId(3), ChunkId(5)], 0), None);
        let no_room = |chunk| Some(chunk == ChunkId(3));
        assert_eq!(suspects.next(1, no_room), Some(ChunkId(3)));
        assert_eq!(suspects.next(2, no_room), None);
        assert!(suspects.holds(ChunkId(5)));
        assert_eq!(suspects.next(3, |_| Some(true)), Some(ChunkId(5)));
    }

    #[test]
    fn what_says_nothing_of_a_chunk_is_excused() {
        let io = |number| {
            let source = std::io::Error::from_raw_os_error(number);
            Fault::io(FaultKind::Unavailable, "opening a chunk", source)
        };
        // ENOMEM, ENFILE, EMFILE; and EIO.
        assert!(
            [12, 23, 24]
                .into_iter()
                .all(|number| is_excused(&io(number)))
        );
        assert!(!is_excused(&io(5)));
        for kind in [FaultKind::Exhausted, FaultKind::Fenced, FaultKind::Fatal] {
            assert!(is_excused(&Fault::new(kind, "")));
        }
        assert!(!is_excused(&Fault::new(FaultKind::Corrupt, "")));
    }
}
