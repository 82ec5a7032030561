//! What all fetch sessions of a broker may take: a number of slots, as in Kafka's cache, and memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most sessions of a broker, Kafka's `max.incremental.fetch.session.cache.slots`.
const SLOTS_MAX: usize = 1_000;

/// Most bytes of all sessions: a quarter of what connections may keep in all, so that sessions alone
/// never end one. Enough for a hundred of the largest.
const BYTES_MAX: usize = 256 << 20;

/// What is taken of the room that all sessions of a broker share.
#[derive(Debug, Default)]
pub struct SessionRoom {
    slots: AtomicUsize,
    bytes: AtomicUsize,
}

/// The part of one session, given back with it.
#[derive(Debug)]
pub(crate) struct Share {
    room: Arc<SessionRoom>,
    bytes: usize,
}

impl Share {
    /// A slot, if there is one.
    pub(crate) fn of(room: &Arc<SessionRoom>) -> Option<Self> {
        take(&room.slots, 1, SLOTS_MAX).then(|| Self {
            room: Arc::clone(room),
            bytes: 0,
        })
    }

    /// Makes it so many bytes; says whether there is room for them. If not, it stays what it was.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        let fits = match bytes.checked_sub(self.bytes) {
            Some(more) => take(&self.room.bytes, more, BYTES_MAX),
            None => {
                self.room
                    .bytes
                    .fetch_sub(self.bytes - bytes, Ordering::Relaxed);
                true
            }
        };
        if fits {
            self.bytes = bytes;
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.slots.fetch_sub(1, Ordering::Relaxed);
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Adds to a number that has a limit, unless that is beyond it.
fn take(taken: &AtomicUsize, more: usize, most: usize) -> bool {
    let fits = |taken: usize| taken.checked_add(more).filter(|sum| *sum <= most);
    let order = Ordering::Relaxed;
    taken.fetch_update(order, order, fits).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_session_gives_back_is_there_for_others() {
        let room = Arc::<SessionRoom>::default();
        let mut shares: Vec<_> = (0..SLOTS_MAX).map(|_| Share::of(&room).unwrap()).collect();
        assert!(Share::of(&room).is_none());
        assert!(shares[0].resize(BYTES_MAX - 10));
        assert!(shares[1].resize(10) && !shares[1].resize(11));
        assert!(shares[0].resize(5) && shares[1].resize(BYTES_MAX - 5));
        shares.remove(1);
        let mut share = Share::of(&room).unwrap();
        assert!(Share::of(&room).is_none());
        assert!(share.resize(BYTES_MAX - 5) && !shares[0].resize(6));
        drop((share, shares));
        let taken = |taken: &AtomicUsize| taken.load(Ordering::Relaxed);
        assert_eq!((taken(&room.slots), taken(&room.bytes)), (0, 0));
    }
}
