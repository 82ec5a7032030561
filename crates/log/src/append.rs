//! Writing a chunk in large aligned pieces.
//!
//! Everything is gathered and handed on in pieces that end at multiples of 1 MiB, which is what a disk
//! takes fastest, with or without the page cache in between.

use mulgil_record::crc::crc32c;

use crate::access::AppendTo;
use crate::entry::{EntryHeader, entry_bytes};
use crate::fault::Fault;
use crate::position::Position;

/// Pieces end at multiples of this.
const PIECE_BYTES: usize = 1 << 20;

/// Gathers what is added to a chunk.
#[derive(Debug)]
pub(crate) struct Appender<W> {
    out: W,
    buffer: Vec<u8>,
    at: Position,
}

impl<W: AppendTo> Appender<W> {
    pub(crate) fn new(out: W) -> Self {
        let at = out.position();
        Self {
            out,
            buffer: Vec::new(),
            at,
        }
    }

    /// Adds an entry whose header says everything but the length, which is that of `parts`.
    pub(crate) fn entry(
        &mut self,
        header: EntryHeader,
        payload_crc: u32,
        parts: &[&[u8]],
    ) -> Result<Position, Fault> {
        let at = self.at;
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let header = EntryHeader {
            length: u32::try_from(length).expect("an entry is far below 4 GiB"),
            ..header
        };
        self.append(&header.encode(at.offset(), payload_crc))?;
        for part in parts {
            self.append(part)?;
        }
        let padding = entry_bytes(length) - entry_bytes(0) - length;
        self.append([0; 8].get(..padding).unwrap_or_default())?;
        Ok(at)
    }

    /// As [`Appender::entry`], with the checksum worked out here.
    pub(crate) fn new_entry(
        &mut self,
        header: EntryHeader,
        parts: &[&[u8]],
    ) -> Result<Position, Fault> {
        self.entry(header, crc32c(parts), parts)
    }

    /// Hands on what is left, and gives the chunk back.
    pub(crate) fn into_inner(mut self) -> Result<W, Fault> {
        self.out.append(&self.buffer)?;
        Ok(self.out)
    }
}

impl<W: AppendTo> AppendTo for Appender<W> {
    fn position(&self) -> Position {
        self.at
    }

    fn append(&mut self, mut bytes: &[u8]) -> Result<Position, Fault> {
        let at = self.at;
        let end = u64::from(at.offset()) + bytes.len() as u64;
        if end > u64::from(u32::MAX) {
            let what = format!("chunk {} would reach 4 GiB", at.chunk());
            return Err(Fault::new(crate::fault::FaultKind::Exhausted, what));
        }
        while !bytes.is_empty() {
            let begun = self.out.position().offset() as usize % PIECE_BYTES;
            let room = PIECE_BYTES - begun - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() + begun == PIECE_BYTES {
                self.out.append(&self.buffer)?;
                self.buffer.clear();
            }
        }
        self.at = at.plus(usize::try_from(end).unwrap_or(usize::MAX) - at.offset() as usize);
        Ok(at)
    }
}
