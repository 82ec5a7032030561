//! What frees the log of a disk that is full.
//!
//! Log chunks go once two checkpoints are ahead of them, and checkpoints follow from much being
//! written. On a full disk nothing is written: what lies in the newest log chunks would stay for ever,
//! however much of it was given up, and with it the refusal of appends. So a full disk gets its
//! checkpoints, and the log chunks whose headers name them, for the asking.
//!
//! ```text
//! chunk 7 (dead weight)   checkpoint   chunk 8 names it   checkpoint   chunk 9 names it   7 may go
//! ```

use mulgil_log::chunk::ChunkKind;

use super::Lane;
use super::commit::CHUNK_START;

/// It is worth it from this share of a log chunk on: what it costs is a checkpoint and a header.
const WORTH_SHARE: u64 = 8;
/// What the smallest checkpoint takes, bytes.
const CHECKPOINT_MIN: u64 = 4096;
/// And from so many bytes on, whatever the size of chunks: the few that are always needed have headers,
/// marks and footers, of which nothing can be freed.
const WORTH_MIN: u64 = 64 << 10;

/// What brings the end of the log's dead weight nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomWork {
    /// [`Lane::roll`].
    NextChunk,
    /// A checkpoint.
    Checkpoint,
}

impl Lane {
    /// What to do on a full disk, so that log chunks can be regrouped that a start might have to replay.
    #[must_use]
    pub fn room_work(&self) -> Option<RoomWork> {
        let settled = self.unsealed.oldest().is_none() && self.is_settled();
        if !settled || self.dead_in_log() < self.worth_a_checkpoint() {
            return None;
        }
        let open = self.open_chunk();
        Some(if open > self.checkpoints.newest_chunk() {
            RoomWork::Checkpoint
        } else {
            RoomWork::NextChunk
        })
    }

    /// Bytes that nobody wants in log chunks that a start might have to replay.
    fn dead_in_log(&self) -> u64 {
        let floor = self.checkpoints.floor();
        let logs = self.chunks.iter();
        let logs = logs.filter(|info| info.kind == ChunkKind::Log && info.chunk >= floor);
        let whole = logs.map(|info| (info.chunk, info.bytes));
        let at = self.log.position();
        let open = (at.chunk(), u64::from(at.offset()));
        let dead = whole.chain([open]).map(|(chunk, bytes)| {
            let kept = u64::from(CHUNK_START) + self.index.live_bytes(chunk);
            bytes.saturating_sub(kept)
        });
        dead.sum()
    }

    /// Twice what a checkpoint takes, as there are to be two, and not for crumbs.
    fn worth_a_checkpoint(&self) -> u64 {
        let all = self.chunks.iter();
        let newest = all
            .filter(|c| c.kind == ChunkKind::Checkpoint)
            .map(|c| c.bytes);
        let crumbs = u64::from(self.options.chunk_bytes_max) / WORTH_SHARE;
        crumbs
            .max(WORTH_MIN)
            .max(2 * newest.last().unwrap_or(CHECKPOINT_MIN))
    }
}
