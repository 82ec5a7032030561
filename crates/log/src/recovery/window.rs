//! A file seen through a window, so that memory does not grow with the file.

use crate::disk::{DiskFile, spare};
use crate::fault::{Fault, FaultKind};
use crate::frame::FRAME_MAGIC;

const WINDOW: usize = 1 << 20;
const PAGE: usize = 4096;
static ZEROES: [u8; PAGE] = [0; PAGE];

/// Reads a file from front to back, and single places of it.
#[derive(Debug)]
pub(super) struct Window<'a> {
    file: &'a dyn DiskFile,
    name: &'a str,
    /// Bytes in the file.
    pub(super) length: u64,
    at: u64,
    buffer: Vec<u8>,
    /// Pages that cannot be read are zeroes.
    sparing: bool,
}

impl<'a> Window<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, name: &'a str, length: u64) -> Self {
        Self {
            file,
            name,
            length,
            at: 0,
            buffer: Vec::new(),
            sparing: false,
        }
    }

    /// Pages that the disk does not give back are zeroes: for places where those are damage, and never
    /// the end of the log.
    pub(super) const fn sparing(mut self) -> Self {
        self.sparing = true;
        self
    }

    /// The `bytes` bytes at `offset`; fewer only at the end of the file.
    pub(super) fn get(&mut self, offset: u64, bytes: usize) -> Result<&[u8], Fault> {
        let left = self.length.saturating_sub(offset);
        let bytes = usize::try_from(left).map_or(bytes, |left| left.min(bytes));
        if !self.holds(offset, bytes) {
            self.fill(offset, bytes)?;
        }
        let from = usize::try_from(offset - self.at).unwrap_or(usize::MAX);
        let to = from.saturating_add(bytes).min(self.buffer.len());
        Ok(self.buffer.get(from..to).unwrap_or_default())
    }

    fn holds(&self, offset: u64, bytes: usize) -> bool {
        offset >= self.at && offset + bytes as u64 <= self.at + self.buffer.len() as u64
    }

    fn fill(&mut self, offset: u64, bytes: usize) -> Result<(), Fault> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = bytes.max(WINDOW.min(left));
        // A single huge frame must not leave its room behind for the rest of the log.
        if self.buffer.capacity() > 16 * WINDOW && wanted <= WINDOW {
            self.buffer = Vec::new();
        }
        self.buffer.resize(wanted, 0);
        let read = if self.sparing {
            spare::read_at(self.file, &mut self.buffer, offset).map(|(read, _)| read)
        } else {
            match self.file.read_at(&mut self.buffer, offset) {
                // What is read ahead must not fail what is wanted.
                Err(error) if spare::is_bad_sector(&error) => {
                    self.buffer.truncate(bytes);
                    self.file.read_at(&mut self.buffer, offset)
                }
                other => other,
            }
        };
        let read = read.map_err(|source| {
            Fault::io(
                FaultKind::Unavailable,
                format!("reading {}", self.name),
                source,
            )
        })?;
        self.buffer.truncate(read);
        self.at = offset;
        Ok(())
    }

    /// The next place from `from` on, in steps of 8, that looks like the start of a frame.
    pub(super) fn find_frame(&mut self, mut from: u64) -> Result<Option<u64>, Fault> {
        while from < self.length {
            let bytes = self.get(from, PAGE)?;
            if bytes.is_empty() {
                break;
            }
            let starts = |word: &[u8]| word.starts_with(&FRAME_MAGIC);
            let index = (*bytes != ZEROES).then(|| bytes.chunks(8).position(starts));
            if let Some(index) = index.flatten() {
                return Ok(Some(from + 8 * index as u64));
            }
            from += bytes.len().next_multiple_of(8) as u64;
        }
        Ok(None)
    }

    /// Where the zeroes begin that reach from there to the end of the file.
    pub(super) fn end_of_bytes(&mut self, mut from: u64) -> Result<u64, Fault> {
        let mut end = from;
        while from < self.length {
            let bytes = self.get(from, PAGE)?;
            if bytes.is_empty() {
                break;
            }
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                end = from + last as u64 + 1;
            }
            from += bytes.len() as u64;
        }
        Ok(end)
    }
}
