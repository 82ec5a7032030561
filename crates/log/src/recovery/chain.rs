//! Which log chunks there are, and which of them make up the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::window::Window;
use super::{Quarantined, refused};
use crate::chunk::{CHUNK_HEADER_BYTES, ChunkError, ChunkHeader, ChunkKind, parse_chunk_name};
use crate::disk::{Disk, DiskFile, QUARANTINE};
use crate::fault::{Fault, FaultKind};
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, Salt};
use crate::position::{ChunkId, Position};

/// A log chunk that is part of the log.
#[derive(Debug)]
pub(super) struct LogChunk {
    pub(super) header: ChunkHeader,
    pub(super) name: String,
    pub(super) file: Arc<dyn DiskFile>,
    /// Bytes in the file.
    pub(super) length: u64,
    /// Where its frames end for good, as the next chunk says. In the newest chunk: up to where all
    /// is known to be synced without looking at its frames.
    pub(super) end: u64,
}

impl LogChunk {
    /// The position of a byte of it.
    pub(super) fn position(&self, offset: u64) -> Position {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        Position::new(self.header.chunk, offset)
    }

    pub(super) fn window(&self) -> Window<'_> {
        Window::new(self.file.as_ref(), &self.name, self.length)
    }

    /// As [`LogChunk::window`], over what was synced once: what can't be read there is damaged.
    pub(super) fn synced_window(&self) -> Window<'_> {
        self.window().sparing()
    }

    /// The header of the frame at `offset`, if a whole one of this chunk lies there and fits in it.
    pub(super) fn frame_at(
        &self,
        window: &mut Window<'_>,
        offset: u64,
    ) -> Result<Option<FrameHeader>, Fault> {
        let bytes = window.get(offset, FRAME_HEADER_BYTES)?;
        let Ok(frame) = FrameHeader::read(bytes, self.position(offset), self.header.salt) else {
            return Ok(None);
        };
        let end = offset + FRAME_HEADER_BYTES as u64 + u64::from(frame.length);
        let fits = end <= self.length
            && frame.length.is_multiple_of(8)
            && frame.incarnation == self.header.incarnation
            && frame.synced <= frame.position;
        Ok(fits.then_some(frame))
    }

    /// Whether it got its name when it was whole: its header says where its frames end.
    pub(super) fn is_whole(&self) -> bool {
        self.header.synced.chunk() == self.header.chunk
    }

    /// Whether it is a header and nothing else: it still grows, and holds the header of no frame.
    pub(super) fn is_bare(&self) -> Result<bool, Fault> {
        let mut window = self.window();
        Ok(!self.is_whole()
            && !seems_framed(&mut window, self.header.chunk, Some(self.header.salt))?)
    }

    /// Up to where the newest chunk is synced: the highest position that any frame in it says.
    ///
    /// Only headers are looked at. Behind one that is not whole the search goes on in steps of 8: a
    /// frame far behind still tells that what lies here was synced once.
    pub(super) fn synced(&self) -> Result<u64, Fault> {
        let mut synced = self.position(self.end);
        // What an unreadable page says is missed. Then it lies in what is looked at as the end of the
        // log, where it can't be passed over.
        let mut window = self.synced_window();
        let mut at = u64::from(CHUNK_HEADER_BYTES);
        while let Some(found) = window.find_frame(at)? {
            match self.frame_at(&mut window, found)? {
                Some(frame) => {
                    synced = synced.max(frame.synced);
                    at = found + FRAME_HEADER_BYTES as u64 + u64::from(frame.length);
                }
                None => at = found + 8,
            }
        }
        if synced.chunk() == self.header.chunk {
            Ok(u64::from(synced.offset()))
        } else {
            Ok(u64::from(CHUNK_HEADER_BYTES))
        }
    }
}

/// A log chunk and what its header says, if it says anything.
#[derive(Debug)]
pub(super) struct FoundChunk {
    pub(super) chunk: ChunkId,
    pub(super) name: String,
    pub(super) length: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) header: Result<ChunkHeader, ChunkError>,
}

impl FoundChunk {
    /// Whether it holds the header of any frame. Without its own header, what looks like one counts.
    pub(super) fn has_frames(&self) -> Result<bool, Fault> {
        let mut window = Window::new(self.file.as_ref(), &self.name, self.length);
        let salt = self.header.ok().map(|header| header.salt);
        seems_framed(&mut window, self.chunk, salt)
    }

    /// The first frame header in a chunk that has lost its own: of those with the salt that most have.
    pub(super) fn first_frame(&self) -> Result<Option<FrameHeader>, Fault> {
        let mut window = Window::new(self.file.as_ref(), &self.name, self.length);
        let mut firsts: BTreeMap<Salt, (usize, FrameHeader)> = BTreeMap::new();
        let mut at = u64::from(CHUNK_HEADER_BYTES);
        while let Some(frame) = next_frame(&mut window, self.chunk, at)? {
            firsts.entry(frame.salt).or_insert((0, frame)).0 += 1;
            at = u64::from(frame.position.offset()) + 8;
        }
        let most = firsts.into_values().rev().max_by_key(|(count, _)| *count);
        Ok(most.map(|(_, frame)| frame))
    }
}

/// Whether a frame header lies anywhere; without a known salt, what looks like one.
fn seems_framed(
    window: &mut Window<'_>,
    chunk: ChunkId,
    salt: Option<Salt>,
) -> Result<bool, Fault> {
    let mut at = u64::from(CHUNK_HEADER_BYTES);
    while let Some(frame) = next_frame(window, chunk, at)? {
        if salt.is_none_or(|salt| salt == frame.salt) {
            return Ok(true);
        }
        at = u64::from(frame.position.offset()) + 8;
    }
    Ok(false)
}

/// The next place from `at` on that looks like a frame header of this chunk, with whatever salt.
fn next_frame(
    window: &mut Window<'_>,
    chunk: ChunkId,
    mut at: u64,
) -> Result<Option<FrameHeader>, Fault> {
    while let Some(found) = window.find_frame(at)? {
        let Ok(offset) = u32::try_from(found) else {
            break;
        };
        let bytes = window.get(found, FRAME_HEADER_BYTES)?;
        let frame = FrameHeader::read_unsalted(bytes, Position::new(chunk, offset));
        if frame.is_some() {
            return Ok(frame);
        }
        at = found + 8;
    }
    Ok(None)
}

/// All log chunks, in order.
pub(super) fn headers(disk: &dyn Disk) -> Result<Vec<FoundChunk>, Fault> {
    let failed = |source| Fault::io(FaultKind::Unavailable, "reading chunk headers", source);
    let mut found = Vec::new();
    for (name, length) in disk.list().map_err(failed)? {
        let Some((chunk, ChunkKind::Log)) = parse_chunk_name(&name) else {
            continue;
        };
        let file = disk.open(&name).map_err(failed)?;
        let mut bytes = vec![0; CHUNK_HEADER_BYTES as usize];
        let read = file.read_at(&mut bytes, 0).map_err(failed)?;
        let header = ChunkHeader::read(bytes.get(..read).unwrap_or_default(), chunk);
        found.push(FoundChunk {
            chunk,
            name,
            length,
            file,
            header,
        });
    }
    found.sort_unstable_by_key(|found| found.chunk);
    Ok(found)
}

/// The chunks that make up the log, from the one where replay begins.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) chunks: Vec<LogChunk>,
    /// Files that a crash left while they were being created: they hold no frame, and prove nothing.
    pub(super) void: Vec<FoundChunk>,
    pub(super) next_chunk: ChunkId,
    pub(super) incarnation: u32,
    pub(super) checkpoint: ChunkId,
}

impl Chain {
    pub(super) fn open(disk: &dyn Disk, from: Position) -> Result<Self, Fault> {
        let found = headers(disk)?;
        let mut chain = Self {
            chunks: Vec::new(),
            void: Vec::new(),
            next_chunk: next_chunk(disk, &found)?,
            incarnation: 0,
            checkpoint: ChunkId::NONE,
        };
        for header in found.iter().filter_map(|found| found.header.ok()) {
            chain.incarnation = chain.incarnation.max(header.incarnation);
            chain.checkpoint = chain.checkpoint.max(header.checkpoint);
        }
        let mut usable = BTreeMap::new();
        for found in found.into_iter().rev() {
            chain.sort_in(found, &mut usable)?;
        }
        chain.link(usable, from)?;
        Ok(chain)
    }

    /// Decides whether a file is a chunk of the log or only the beginning of one; the newest first.
    ///
    /// A frame is written when header and name of its chunk are synced. So a chunk with frames and
    /// without a header is damaged. A whole header counts even if no frame follows: nothing else may
    /// tell where the chunk before ends. Only the very first one says nothing of another chunk.
    fn sort_in(
        &mut self,
        found: FoundChunk,
        usable: &mut BTreeMap<ChunkId, LogChunk>,
    ) -> Result<(), Fault> {
        let start = Position::new(found.chunk, CHUNK_HEADER_BYTES);
        match found.header {
            Ok(header) => {
                let sealed = header.synced.chunk() == found.chunk;
                let first = header.previous_end == Position::ZERO;
                if !sealed && first && usable.is_empty() && !found.has_frames()? {
                    self.void.push(found);
                    return Ok(());
                }
                let end = if sealed { header.synced } else { start };
                let chunk = LogChunk {
                    header,
                    name: found.name,
                    file: found.file,
                    length: found.length,
                    end: u64::from(end.offset()),
                };
                usable.insert(found.chunk, chunk);
            }
            Err(ChunkError::UnknownVersion(version)) => {
                let name = &found.name;
                let what = format!("{name}: chunk version {version} is newer than this program");
                return Err(Fault::new(FaultKind::Corrupt, what));
            }
            Err(ChunkError::Truncated | ChunkError::Damaged) => {
                if found.has_frames()? {
                    return Err(refused(&found.name, start, "its chunk header"));
                }
                self.void.push(found);
            }
        }
        Ok(())
    }

    /// Follows the chunks from the newest back to the one that holds `from`.
    fn link(
        &mut self,
        mut usable: BTreeMap<ChunkId, LogChunk>,
        from: Position,
    ) -> Result<(), Fault> {
        let Some((_, newest)) = usable.pop_last() else {
            return Ok(());
        };
        let checkpointed = newest.header.checkpoint != ChunkId::NONE;
        let mut oldest = newest.header;
        self.chunks.push(newest);
        while oldest.chunk > from.chunk() && oldest.previous_end != Position::ZERO {
            let previous = oldest.previous_end.chunk();
            match usable.pop_last() {
                Some((chunk, mut found)) if chunk == previous => {
                    found.end = u64::from(oldest.previous_end.offset());
                    oldest = found.header;
                    self.chunks.push(found);
                }
                Some((chunk, found)) if chunk > previous => {
                    let at = found.position(u64::from(CHUNK_HEADER_BYTES));
                    let what = format!("chunk {} does not go on from it", oldest.chunk);
                    return Err(refused(&found.name, at, &what));
                }
                // With a checkpoint, what lies before it has been regrouped and removed.
                None if from == Position::ZERO && checkpointed => break,
                Some(_) | None => return Err(missing(previous, oldest.chunk)),
            }
        }
        if from != Position::ZERO && oldest.chunk > from.chunk() {
            return Err(missing(from.chunk(), oldest.chunk));
        }
        self.chunks.reverse();
        Ok(())
    }
}

fn missing(chunk: ChunkId, next: ChunkId) -> Fault {
    let what = format!(
        "log chunk {chunk} is missing, which chunk {next} goes on from; \
         `mulgil repair` shows what would be lost"
    );
    Fault::new(FaultKind::Corrupt, what)
}

/// An id above all that any name or header mentions.
fn next_chunk(disk: &dyn Disk, found: &[FoundChunk]) -> Result<ChunkId, Fault> {
    let failed = |source| Fault::io(FaultKind::Unavailable, "listing chunks", source);
    let names = disk.list().map_err(failed)?;
    let named = names.iter().filter_map(|(name, _)| {
        let name = name.strip_prefix(QUARANTINE).unwrap_or(name);
        Some(parse_chunk_name(name)?.0)
    });
    let headers = found.iter().filter_map(|found| found.header.ok());
    let mentioned = headers.flat_map(|h| [h.checkpoint, h.previous_end.chunk()]);
    let highest = named.chain(mentioned).max().unwrap_or(ChunkId::NONE);
    if highest == ChunkId(u32::MAX) {
        let what =
            format!("a name or a header mentions chunk {highest}, behind which there is none");
        return Err(Fault::new(FaultKind::Corrupt, what));
    }
    Ok(highest.next())
}

/// Removes files that hold no frame; bytes that are no header are kept in quarantine.
pub(super) fn set_aside(
    disk: &dyn Disk,
    void: &[FoundChunk],
    quarantined: &mut Vec<Quarantined>,
) -> Result<(), Fault> {
    let failed = |source| Fault::io(FaultKind::Unavailable, "setting chunks aside", source);
    for found in void {
        let from = match found.header {
            Ok(_) => u64::from(CHUNK_HEADER_BYTES),
            Err(_) => 0,
        };
        let mut window = Window::new(found.file.as_ref(), &found.name, found.length);
        let end = window.end_of_bytes(from)?;
        if end == from {
            disk.remove(&found.name).map_err(failed)?;
            continue;
        }
        let kept_as = format!("{QUARANTINE}{}", found.name);
        disk.rename(&found.name, &kept_as).map_err(failed)?;
        quarantined.push(Quarantined {
            file: found.name.clone(),
            from,
            bytes: end - from,
            kept_as,
            why: "a chunk that was being created when the power went".to_owned(),
        });
    }
    Ok(())
}
