//! What is published, and when each message is due.

use std::time::{Duration, Instant};

use crate::clock;

/// Values are cut out of this many random letters, each beginning one further.
const LETTERS: usize = 64 * 1024;

/// Values of one size. Random letters, since a codec would shrink anything simpler to nothing.
#[derive(Debug)]
pub(super) struct Values {
    letters: Vec<u8>,
    size: usize,
    at: usize,
}

impl Values {
    /// Values of `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        // Any numbers do, and the same ones make runs alike (xorshift, Marsaglia 2003).
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut letter = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b'a' + u8::try_from(state % 26).unwrap_or(0)
        };
        Self {
            letters: (0..LETTERS + size).map(|_| letter()).collect(),
            size,
            at: 0,
        }
    }

    /// The next value.
    pub(super) fn next(&mut self) -> &[u8] {
        self.at = (self.at + 1) % LETTERS;
        self.letters
            .get(self.at..self.at + self.size)
            .unwrap_or_default()
    }
}

/// The messages of one of several threads: each so long after the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    begin: Instant,
    /// Messages a second of all threads; without, a message is due when it can be sent.
    rate: Option<u32>,
    thread: u64,
    threads: u64,
    next: u64,
}

impl Schedule {
    /// The schedule of a thread among several.
    pub(super) fn new(begin: Instant, rate: Option<u32>, thread: u32, threads: u32) -> Self {
        Self {
            begin,
            rate,
            thread: u64::from(thread),
            threads: u64::from(threads),
            next: 0,
        }
    }

    /// When message `index` of this thread is due, from the beginning of the run.
    fn due(&self, index: u64) -> Duration {
        let number = index
            .saturating_mul(self.threads)
            .saturating_add(self.thread);
        match self.rate {
            None => Duration::ZERO,
            Some(rate) => {
                let rate = u64::from(rate.max(1));
                let nanos = (number % rate).saturating_mul(1_000_000_000) / rate;
                Duration::from_secs(number / rate) + Duration::from_nanos(nanos)
            }
        }
    }

    /// Waits for the next message, at most for `most`; whether it is due.
    pub(super) fn wait(&self, most: Duration) -> bool {
        let due = self.begin + self.due(self.next);
        let left = due.saturating_duration_since(clock::running());
        clock::pause(left.min(most));
        left <= most
    }

    /// How many messages are due, at most `most` and only those before `end`.
    pub(super) fn count_due(&self, most: u64, end: Duration) -> u64 {
        let took = self.begin.elapsed();
        if self.rate.is_none() {
            return if took < end { most } else { 0 };
        }
        let due = |ahead: &u64| {
            let due = self.due(self.next + ahead);
            due <= took && due < end
        };
        u64::try_from((0..most).take_while(due).count()).unwrap_or(most)
    }

    /// Whether nothing more is due before `end`.
    pub(super) fn is_over(&self, end: Duration) -> bool {
        match self.rate {
            None => self.begin.elapsed() >= end,
            Some(_) => self.due(self.next) >= end,
        }
    }

    /// Takes `count` messages off, and gives the time each was due at, if there is a rate.
    pub(super) fn take(&mut self, count: u64) -> impl Iterator<Item = Option<Duration>> + use<> {
        let (schedule, first) = (*self, self.next);
        self.next += count;
        (first..first + count).map(move |index| schedule.rate.map(|_| schedule.due(index)))
    }
}
