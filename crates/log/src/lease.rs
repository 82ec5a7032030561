//! Memory for large reads that is used again: to get it fresh costs as much as reading into it.
//!
//! An allocator gives large pieces back to the system and gets them zeroed, a page fault each 4 KiB;
//! and what was just sent lies in the processor's caches still. A lease goes back when the last slice
//! of it has been dropped, on whichever thread; it is never shown beyond what was read into it.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Smaller pieces come from the allocator, which keeps them itself.
const LEAST_BYTES: usize = 128 << 10;
/// Larger ones hold a batch of unusual size, and are not kept.
const MOST_BYTES: usize = 2 << 20;
/// Lengths are multiples of this, so that a piece fits the next read though it is a little longer.
const STEP_BYTES: usize = 64 << 10;
/// What is kept while nobody reads: a few answers.
const KEPT_BYTES: usize = 32 << 20;

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    pieces: Vec::new(),
    bytes: 0,
});

/// Pieces that nobody has, the one that came last at the end.
#[derive(Debug)]
struct Kept {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

impl Kept {
    /// The newest piece with room for `length` that wastes no more than that.
    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        let fits = |piece: &Vec<u8>| piece.len() >= length && piece.len() <= 2 * length;
        let piece = self.pieces.remove(self.pieces.iter().rposition(fits)?);
        self.bytes -= piece.len();
        Some(piece)
    }

    /// Keeps `piece`, and lets go of the oldest ones beyond what is kept; they are freed by who calls.
    fn put(&mut self, piece: Vec<u8>) -> Vec<Vec<u8>> {
        self.bytes += piece.len();
        self.pieces.push(piece);
        let mut over = 0;
        for oldest in &self.pieces {
            if self.bytes <= KEPT_BYTES {
                break;
            }
            self.bytes -= oldest.len();
            over += 1;
        }
        self.pieces.drain(..over).collect()
    }
}

/// Memory to read into. Its first contents are of no meaning.
#[derive(Debug)]
pub(crate) struct Lease {
    piece: Vec<u8>,
    length: usize,
}

impl Lease {
    /// Memory for `length` bytes.
    pub(crate) fn of(length: usize) -> Self {
        let kept = (LEAST_BYTES..=MOST_BYTES).contains(&length).then(|| {
            let kept = KEPT
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(length);
            kept.unwrap_or_else(|| vec![0; length.next_multiple_of(STEP_BYTES)])
        });
        let piece = kept.unwrap_or_else(|| vec![0; length]);
        Self { piece, length }
    }

    /// What to read into.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.piece.get_mut(..self.length).unwrap_or_default()
    }

    /// What was read. The memory is used again when the last slice of it is gone.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self.piece.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let piece = std::mem::take(&mut self.piece);
        if (LEAST_BYTES..=MOST_BYTES).contains(&piece.len()) {
            let over = KEPT
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .put(piece);
            drop(over);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(lengths: &[usize]) -> Kept {
        let mut kept = Kept {
            pieces: Vec::new(),
            bytes: 0,
        };
        for length in lengths {
            assert!(kept.put(vec![1; *length]).is_empty());
        }
        kept
    }

    #[test]
    fn the_newest_piece_that_fits_is_used_again() {
        let mut kept = kept(&[600, 500, 3_000]);
        assert_eq!(kept.take(400).unwrap().len(), 500);
        assert_eq!(kept.take(400).unwrap().len(), 600);
        assert!(kept.take(400).is_none(), "3,000 bytes for 400 are a waste");
        assert_eq!((kept.bytes, kept.pieces.len()), (3_000, 1));
    }

    #[test]
    fn what_is_kept_has_a_bound_and_the_oldest_goes() {
        let mut kept = kept(&[KEPT_BYTES - 10, 10]);
        let over = kept.put(vec![1; 5]);
        assert_eq!(over.len(), 1);
        assert_eq!(over.first().unwrap().len(), KEPT_BYTES - 10);
        assert_eq!((kept.bytes, kept.pieces.len()), (15, 2));
    }

    #[test]
    fn a_lease_shows_no_more_than_was_asked_for() {
        for length in [
            0,
            7,
            LEAST_BYTES,
            LEAST_BYTES + 1,
            MOST_BYTES,
            MOST_BYTES + 1,
        ] {
            let mut lease = Lease::of(length);
            lease.space().fill(9);
            let bytes = lease.into_bytes();
            assert_eq!(bytes.len(), length);
            assert!(bytes.iter().all(|byte| *byte == 9));
        }
    }
}
