//! What the keeper makes of failures: each task is tried again on its own, later and later, and a chunk
//! that no pass gets over is left out of passes.
//!
//! A task that fails must not keep back those that make room, and one unreadable sector must not stop
//! regrouping for ever. Which chunk of a pass it was is not known: each is tried alone then.

use std::collections::BTreeSet;

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

/// Chunks that passes have failed over.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// To be tried alone.
    waiting: Vec<ChunkId>,
    /// Failed alone: left out until the next start.
    avoided: BTreeSet<ChunkId>,
}

impl Suspects {
    pub(super) fn is_avoided(&self, chunk: ChunkId) -> bool {
        self.avoided.contains(&chunk)
    }

    /// The next chunk that is to be tried alone, if any is left among those that `exists` knows.
    pub(super) fn next(&mut self, exists: impl Fn(ChunkId) -> bool) -> Option<ChunkId> {
        while let Some(chunk) = self.waiting.pop() {
            if exists(chunk) {
                return Some(chunk);
            }
        }
        None
    }

    /// A pass over these chunks failed. Says which of them is left out from now on, if that is clear.
    pub(super) fn blame(&mut self, chunks: &[ChunkId]) -> Option<ChunkId> {
        if let [only] = chunks {
            self.avoided.insert(*only);
            return Some(*only);
        }
        self.waiting = chunks.to_vec();
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
    fn the_one_chunk_that_fails_alone_is_left_out() {
        let mut suspects = Suspects::default();
        let all = [ChunkId(3), ChunkId(5), ChunkId(8)];
        assert_eq!(suspects.blame(&all), None);
        let mut avoided = Vec::new();
        while let Some(chunk) = suspects.next(|chunk| chunk != ChunkId(8)) {
            if chunk == ChunkId(5) {
                avoided.extend(suspects.blame(&[chunk]));
            }
        }
        assert_eq!(avoided, [ChunkId(5)]);
        assert!(suspects.is_avoided(ChunkId(5)) && !suspects.is_avoided(ChunkId(3)));
    }
}
