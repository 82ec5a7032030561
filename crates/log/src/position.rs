//! Where a byte of the log lies, and which frame it belongs to.

use core::fmt;

/// One file (or object) of the store. Never reused, rising in the order of creation; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub u32);

impl ChunkId {
    /// No chunk.
    pub const NONE: Self = Self(0);

    /// The chunk created after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// A byte of the log: the chunk in the upper 32 bits, the offset in it in the lower.
///
/// Positions in log chunks rise with time, so that one comparison tells which of two entries was
/// written first, and "all below this is synced" is one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before everything.
    pub const ZERO: Self = Self(0);

    /// The byte `offset` of `chunk`.
    #[must_use]
    pub const fn new(chunk: ChunkId, offset: u32) -> Self {
        Self(((chunk.0 as u64) << 32) | offset as u64)
    }

    /// The chunk it lies in.
    #[must_use]
    pub const fn chunk(self) -> ChunkId {
        ChunkId((self.0 >> 32) as u32)
    }

    /// Bytes from the start of the chunk.
    #[must_use]
    pub const fn offset(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    /// The byte `bytes` further on in the same chunk.
    ///
    /// # Panics
    ///
    /// If that would leave the chunk: a chunk ends below 4 GiB.
    #[must_use]
    pub fn plus(self, bytes: usize) -> Self {
        let offset = u64::from(self.offset()) + bytes as u64;
        assert!(offset <= u64::from(u32::MAX), "a chunk ends below 4 GiB");
        Self::new(self.chunk(), 0).or(offset)
    }

    const fn or(self, offset: u64) -> Self {
        Self(self.0 | offset)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}", self.chunk(), self.offset())
    }
}

/// The number of a frame: 1, 2, 3 ... over all chunks and starts, without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The frame after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
