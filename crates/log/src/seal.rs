//! Putting a footer to a log chunk that got its last frame.
//!
//! The frames of a log chunk end where the next chunk's header says; what lies behind, up to the end
//! of the file, was preallocated and is cut off. Frames are never touched. The trailer is written when
//! all before it is synced: a chunk that has one has a whole footer, and one that has none, because
//! power failed in between, is seen by the next start, which builds it again from the frames.

use crate::access::AppendTo;
use crate::chunk::{ChunkFile, ChunkKind, sync_failed, write_failed};
use crate::fault::Fault;
use crate::footer::{FooterBuilder, Sealed};
use crate::index::TailEntry;
use crate::position::Position;
use crate::recovery::DamagedRange;

#[cfg(test)]
mod tests;

/// Puts a footer to the log chunk whose frames end at `end` for good, and syncs it.
///
/// `tail` comes in order of partition, as [`crate::index::Index::tail_of`] gives it; one partition may
/// come in several pieces, one after the other. It is taken piece by piece, so that the lane needs to
/// be held only for some partitions at a time.
///
/// # Errors
///
/// Exhausted if there is no room: the chunk can be read as before, and sealed later. Otherwise what
/// the system says.
pub fn seal_log_chunk(
    chunk: &ChunkFile,
    end: Position,
    tail: impl IntoIterator<Item = (u64, Vec<TailEntry>)>,
    damaged: &[DamagedRange],
) -> Result<Sealed, Fault> {
    let name = chunk.header().name();
    let failed = |source| write_failed(&name, source);
    let file = chunk.file();
    file.set_len(u64::from(end.offset())).map_err(failed)?;
    let mut out = LogEnd {
        chunk,
        end,
        held: Vec::new(),
    };
    let sealed = write_log_footer(&mut out, tail, damaged)?;
    let unsynced = |source| sync_failed(&name, source);
    file.sync().map_err(unsynced)?;
    out.write_held()?;
    file.sync().map_err(unsynced)?;
    Ok(sealed)
}

/// Writes the footer of a log chunk behind its frames, which end where `out` does.
///
/// # Errors
///
/// What the chunk says.
pub fn write_log_footer(
    out: &mut dyn AppendTo,
    tail: impl IntoIterator<Item = (u64, Vec<TailEntry>)>,
    damaged: &[DamagedRange],
) -> Result<Sealed, Fault> {
    let mut builder = FooterBuilder::new(out.position().chunk(), ChunkKind::Log);
    for (partition, entries) in tail {
        for entry in &entries {
            builder.entry(partition, entry);
            builder.spill(out)?;
        }
    }
    for range in damaged {
        builder.damage(*range);
    }
    builder.finish(out)
}

/// The end of a log chunk that gets no more frames. What was added last, the trailer in the end, is
/// held back until something follows.
struct LogEnd<'a> {
    chunk: &'a ChunkFile,
    end: Position,
    held: Vec<u8>,
}

impl LogEnd<'_> {
    fn write_held(&mut self) -> Result<(), Fault> {
        if self.held.is_empty() {
            return Ok(());
        }
        let at = u64::from(self.end.offset()) - self.held.len() as u64;
        self.chunk
            .file()
            .write_at(&self.held, at)
            .map_err(|source| write_failed(&self.chunk.header().name(), source))?;
        self.held.clear();
        Ok(())
    }
}

impl AppendTo for LogEnd<'_> {
    fn position(&self) -> Position {
        self.end
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Position, Fault> {
        self.write_held()?;
        let at = self.end;
        self.held.extend_from_slice(bytes);
        self.end = at.plus(bytes.len());
        Ok(at)
    }
}
