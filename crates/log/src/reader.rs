//! Cold reads, off the lane: from places to checked batches.

use bytes::Bytes;

use crate::chunk::ChunkFile;
use crate::entry::{ENTRY_HEADER_BYTES, Entry};
use crate::fault::{Fault, FaultKind};
use crate::index::{ColdRead, TailEntry};
use crate::position::{ChunkId, Position};

/// A batch that was read and checked.
#[derive(Clone, Debug)]
pub struct FoundBatch {
    /// Its first offset.
    pub base: i64,
    /// Its last offset.
    pub last: i64,
    /// Where its entry lies.
    pub at: Position,
    /// The entry's payload.
    pub payload: Bytes,
}

/// Reads the batches at these places of one chunk.
///
/// # Errors
///
/// The system's, or damage.
pub fn read_tail(file: &ChunkFile, entries: &[TailEntry]) -> Result<Vec<FoundBatch>, Fault> {
    let mut found = Vec::new();
    for entry in entries {
        let mut bytes = vec![0; ENTRY_HEADER_BYTES + entry.length as usize];
        let read = file.read_at(&mut bytes, u64::from(entry.at.offset()))?;
        bytes.truncate(read);
        Entry::read(&bytes, entry.at.offset()).map_err(|error| {
            Fault::new(FaultKind::Corrupt, format!("{error} at {}", entry.at))
        })?;
        let payload = Bytes::from(bytes).slice(ENTRY_HEADER_BYTES..);
        found.push(FoundBatch { base: entry.base, last: entry.last, at: entry.at, payload });
    }
    Ok(found)
}

/// Reads from a chunk with a footer.
///
/// # Errors
///
/// The system's, or damage.
pub fn read_cold(_: &ChunkFile, chunk: ChunkId, _: &ColdRead) -> Result<Vec<FoundBatch>, Fault> {
    Err(Fault::new(FaultKind::Unavailable, format!("chunk {chunk} has no footer")))
}
