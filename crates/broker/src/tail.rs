//! The newest frames in memory, so that who reads the end of the log asks no disk.
//!
//! Frames come in the order of their positions, are kept whole, and leave oldest first when their
//! capacity is over the budget. A slice handed out keeps its frame alive for as long as it is held.

use std::collections::VecDeque;

use bytes::Bytes;
use mulgil_log::position::Position;

/// The newest frames, oldest first.
#[derive(Debug)]
pub(crate) struct Tail {
    frames: VecDeque<(Position, Bytes)>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    /// An empty tail that keeps at most `bytes_max` bytes.
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Adds the frame that begins at `at`.
    pub(crate) fn push(&mut self, at: Position, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back((at, frame));
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.frames.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
        }
    }

    /// The `length` bytes at `at`, if the frame they lie in is still here.
    pub(crate) fn get(&self, at: Position, length: usize) -> Option<Bytes> {
        let after = self.frames.partition_point(|(start, _)| *start <= at);
        let (start, frame) = self.frames.get(after.checked_sub(1)?)?;
        if start.chunk() != at.chunk() {
            return None;
        }
        let from = (at.offset() - start.offset()) as usize;
        let to = from.checked_add(length)?;
        (to <= frame.len()).then(|| frame.slice(from..to))
    }

    /// Bytes held.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use mulgil_log::position::ChunkId;

    use super::*;

    #[test]
    fn the_oldest_frames_leave_first_and_slices_stay_whole() {
        let mut tail = Tail::new(20);
        let at = |offset| Position::new(ChunkId(1), offset);
        tail.push(at(0), Bytes::from_static(b"0123456789"));
        tail.push(at(10), Bytes::from_static(b"abcdefghij"));
        let held = tail.get(at(3), 4).unwrap();
        assert_eq!(tail.get(at(8), 4), None, "no slice reaches over two frames");
        tail.push(at(20), Bytes::from_static(b"ABCDEFGHIJ"));
        assert_eq!(tail.get(at(3), 4), None);
        assert_eq!(&held[..], b"3456");
        assert_eq!(&tail.get(at(12), 3).unwrap()[..], b"cde");
        assert_eq!(tail.bytes(), 20);
    }
}
