//! What readers and writers of whole chunks need of a file, and no more.
//!
//! Footers, cold reads, checkpoints and regrouping go through these two traits, so that they work on
//! files, on objects and on bytes in memory alike.

use bytes::Bytes;

use crate::chunk::{ChunkFile, ChunkWriter};
use crate::fault::{Fault, FaultKind};
use crate::frame::Salt;
use crate::position::{ChunkId, Position};

/// A chunk that can be read at any place.
pub trait ReadAt {
    /// Which chunk it is.
    fn chunk(&self) -> ChunkId;

    /// Of the checksums of its frames' headers, if it has frames.
    fn salt(&self) -> Salt;

    /// Its length.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn bytes(&self) -> Result<u64, Fault>;

    /// Fills `buf` from `offset` on and says how many bytes there were: fewer only at the end.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Fault>;

    /// Up to `length` bytes from `offset` on, in memory of their own; fewer only at the end.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn read_new(&self, length: usize, offset: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; length];
        let read = self.read_at(&mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

/// A chunk that grows at its end.
pub trait AppendTo {
    /// Where the next byte will lie.
    fn position(&self) -> Position;

    /// Adds bytes, and says where they lie.
    ///
    /// # Errors
    ///
    /// Exhausted if there is no room; otherwise what the system says.
    fn append(&mut self, bytes: &[u8]) -> Result<Position, Fault>;
}

impl ReadAt for ChunkFile {
    fn chunk(&self) -> ChunkId {
        self.id()
    }

    fn salt(&self) -> Salt {
        self.header().salt
    }

    fn bytes(&self) -> Result<u64, Fault> {
        Self::bytes(self)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Fault> {
        Self::read_at(self, buf, offset)
    }

    fn read_new(&self, length: usize, offset: u64) -> Result<Vec<u8>, Fault> {
        Self::read_new(self, length, offset)
    }
}

/// A chunk that is read around bad sectors: their pages are zeroes, and so damage.
///
/// For who tells a reader, or a start, what can't be read any more. What removes chunks for good reads
/// them plainly: the sector may be readable tomorrow.
#[derive(Clone, Copy, Debug)]
pub struct Sparing<'a>(pub &'a ChunkFile);

impl ReadAt for Sparing<'_> {
    fn chunk(&self) -> ChunkId {
        self.0.id()
    }

    fn salt(&self) -> Salt {
        self.0.header().salt
    }

    fn bytes(&self) -> Result<u64, Fault> {
        self.0.bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Fault> {
        self.0.read_sparing(buf, offset)
    }

    fn read_new(&self, length: usize, offset: u64) -> Result<Vec<u8>, Fault> {
        self.0.read_new_sparing(length, offset)
    }
}

impl AppendTo for ChunkWriter {
    fn position(&self) -> Position {
        Self::position(self)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Position, Fault> {
        Self::append(self, bytes)
    }
}

impl<W: AppendTo + ?Sized> AppendTo for &mut W {
    fn position(&self) -> Position {
        (**self).position()
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Position, Fault> {
        (**self).append(bytes)
    }
}

impl<W: AppendTo + ?Sized> AppendTo for Box<W> {
    fn position(&self) -> Position {
        (**self).position()
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Position, Fault> {
        (**self).append(bytes)
    }
}

/// The `length` bytes at `offset`; corrupt if the chunk ends before.
///
/// Whoever calls has compared `length` with the length of the chunk, or with a limit of its own.
pub(crate) fn read_exactly(file: &dyn ReadAt, offset: u64, length: usize) -> Result<Bytes, Fault> {
    let bytes = file.read_new(length, offset)?;
    if bytes.len() < length {
        return Err(ends_before(file.chunk(), offset + length as u64));
    }
    Ok(bytes.into())
}

/// The fault of a chunk that is shorter than its own places say.
pub(crate) fn ends_before(chunk: ChunkId, end: u64) -> Fault {
    corrupt(chunk, format!("ends before byte {end}"))
}

/// A fault that names the damaged chunk.
pub(crate) fn corrupt(chunk: ChunkId, what: impl AsRef<str>) -> Fault {
    Fault::new(
        FaultKind::Corrupt,
        format!("chunk {chunk}: {}", what.as_ref()),
    )
}

#[cfg(test)]
pub(crate) mod memory {
    //! A chunk in memory.

    use super::*;

    /// A chunk in memory, which begins with a page that is no concern of the tests.
    #[derive(Clone, Debug)]
    pub(crate) struct MemChunk {
        pub(crate) chunk: ChunkId,
        pub(crate) bytes: Vec<u8>,
    }

    impl MemChunk {
        pub(crate) fn new(chunk: u32) -> Self {
            Self {
                chunk: ChunkId(chunk),
                bytes: vec![0; 4096],
            }
        }
    }

    impl ReadAt for MemChunk {
        fn chunk(&self) -> ChunkId {
            self.chunk
        }

        fn salt(&self) -> Salt {
            Salt::NONE
        }

        fn bytes(&self) -> Result<u64, Fault> {
            Ok(self.bytes.len() as u64)
        }

        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Fault> {
            let from = usize::try_from(offset).unwrap().min(self.bytes.len());
            let there = &self.bytes[from..];
            let read = there.len().min(buf.len());
            buf[..read].copy_from_slice(&there[..read]);
            Ok(read)
        }
    }

    impl AppendTo for MemChunk {
        fn position(&self) -> Position {
            Position::new(self.chunk, u32::try_from(self.bytes.len()).unwrap())
        }

        fn append(&mut self, bytes: &[u8]) -> Result<Position, Fault> {
            let at = self.position();
            self.bytes.extend_from_slice(bytes);
            Ok(at)
        }
    }
}
