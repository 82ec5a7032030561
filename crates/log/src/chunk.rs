//! A chunk: one file of the store, with a header that says how it continues the log.
//!
//! ```text
//! byte  0  magic           "MGCH"
//!       4  version         u8     2; in 1 there is no salt
//!       5  kind            u8     1 log, 2 sorted, 3 checkpoint, 4 compacted
//!       6  header bytes    u16    4096
//!       8  chunk           u32    its own id
//!      12  incarnation     u32    which start of the broker made it
//!      16  previous end    u64    where the log chunk before it ends for good
//!      24  first lsn       u64    of its first frame
//!      32  running time    u64    milliseconds, when it was made
//!      40  wall time       u64    milliseconds since 1970, when it was made
//!      48  checkpoint      u32    newest complete checkpoint chunk, or 0
//!      52  reserved        u32    0
//!      56  cluster         u128
//!      72  synced          u64    all below this position was synced before the chunk got its name
//!      80  salt            u32    of the checksums of frame headers; 0 if there are no frames
//!      84  reserved        40 bytes of 0
//!     124  crc             u32    CRC-32C of bytes 0 to 124
//!     128  zeroes
//!    2048  bytes 0 to 128 once more
//!    2176  zeroes
//!    4096  the first frame of a log chunk; the first entry of the others
//! ```
//!
//! The header lies there twice, half a page apart, because without it nobody knows where the chunk
//! before it ends.

use core::fmt;
use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use mulgil_record::crc::crc32c;

use crate::disk::{Disk, DiskFile, spare};
use crate::fault::{Fault, FaultKind};
use crate::frame::Salt;
use crate::position::{ChunkId, Lsn, Position};

/// Bytes before the first frame or entry.
pub const CHUNK_HEADER_BYTES: u32 = 4096;
/// First four bytes of every chunk.
pub const CHUNK_MAGIC: [u8; 4] = *b"MGCH";
/// Version of the chunk header's layout.
pub const CHUNK_VERSION: u8 = 2;
/// The version that had no salt; what it reserved for it is 0.
const UNSALTED_VERSION: u8 = 1;

const COPY_AT: usize = 2048;
const USED_BYTES: usize = 128;
const TEMPORARY: &str = "tmp-";

/// What a chunk holds. The numbers are on disk and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ChunkKind {
    /// Frames, in the order in which they were written.
    Log = 1,
    /// Entries sorted by partition and offset, with a footer.
    Sorted = 2,
    /// Pages of checkpoints.
    Checkpoint = 3,
    /// As a sorted chunk. What it holds of a partition was compacted: no two records have one key.
    Compacted = 4,
}

impl ChunkKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Log, Self::Sorted, Self::Checkpoint, Self::Compacted];

    /// Whether it holds entries by partition and offset, without frames.
    #[must_use]
    pub const fn is_sorted(self) -> bool {
        matches!(self, Self::Sorted | Self::Compacted)
    }

    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Log,
            2 => Self::Sorted,
            3 => Self::Checkpoint,
            4 => Self::Compacted,
            _ => return None,
        })
    }

    /// How its file's name ends.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Sorted => "sorted",
            Self::Checkpoint => "checkpoint",
            Self::Compacted => "compacted",
        }
    }
}

/// The name of the file that holds `chunk`.
#[must_use]
pub fn chunk_name(chunk: ChunkId, kind: ChunkKind) -> String {
    format!("{chunk}.{}", kind.extension())
}

/// The name of the file while it is being written.
#[must_use]
pub fn temporary_name(chunk: ChunkId, kind: ChunkKind) -> String {
    format!("{TEMPORARY}{}", chunk_name(chunk, kind))
}

/// Whether `name` is that of a file that nobody finished.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY)
}

/// Which chunk a file of this name holds, if it holds one.
#[must_use]
pub fn parse_chunk_name(name: &str) -> Option<(ChunkId, ChunkKind)> {
    let (number, extension) = name.split_once('.')?;
    let kind = ChunkKind::ALL
        .into_iter()
        .find(|kind| kind.extension() == extension)?;
    let chunk = ChunkId(number.parse().ok()?);
    (chunk != ChunkId::NONE && chunk_name(chunk, kind) == name).then_some((chunk, kind))
}

/// What a chunk says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Its id.
    pub chunk: ChunkId,
    /// What it holds.
    pub kind: ChunkKind,
    /// Which start of the broker made it.
    pub incarnation: u32,
    /// Where the log chunk before it ends for good: what lies beyond is no part of the log.
    ///
    /// [`Position::ZERO`] in the first log chunk, and in chunks of other kinds.
    pub previous_end: Position,
    /// The number of its first frame.
    pub first_lsn: Lsn,
    /// Running time when it was made, milliseconds.
    pub elapsed_ms: u64,
    /// Wall time when it was made, milliseconds since 1970.
    pub wall_ms: u64,
    /// The newest complete checkpoint, or [`ChunkId::NONE`].
    pub checkpoint: ChunkId,
    /// All below was synced before the chunk got its name.
    ///
    /// The store works it out for chunks that grow: give [`Position::ZERO`]. A chunk that is renamed
    /// when it is whole says its own end, so that all of it is known to be synced.
    pub synced: Position,
    /// The cluster (or single broker) that it belongs to.
    pub cluster: u128,
    /// Of the checksums of its frames' headers.
    pub salt: Salt,
}

/// Why bytes are not a chunk header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Too few bytes.
    #[error("chunk header is cut short")]
    Truncated,
    /// Neither copy is whole, or it is another chunk's.
    #[error("chunk header is damaged")]
    Damaged,
    /// Written by a newer version.
    #[error("chunk version {0} is unknown to this version")]
    UnknownVersion(u8),
}

fn u32_at(bytes: &[u8; USED_BYTES], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8; USED_BYTES], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

fn u128_at(bytes: &[u8; USED_BYTES], at: usize) -> u128 {
    bytes
        .get(at..at + 16)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u128::from_le_bytes)
}

impl ChunkHeader {
    /// Where the first frame or entry lies.
    #[must_use]
    pub const fn first_position(&self) -> Position {
        Position::new(self.chunk, CHUNK_HEADER_BYTES)
    }

    /// The header of a chunk without frames that has lost its own.
    const fn made_up(chunk: ChunkId, kind: ChunkKind) -> Self {
        Self {
            chunk,
            kind,
            incarnation: 0,
            previous_end: Position::ZERO,
            first_lsn: Lsn(0),
            elapsed_ms: 0,
            wall_ms: 0,
            checkpoint: ChunkId::NONE,
            cluster: 0,
            synced: Position::ZERO,
            salt: Salt::NONE,
        }
    }

    /// The name of its file.
    #[must_use]
    pub fn name(&self) -> String {
        chunk_name(self.chunk, self.kind)
    }

    /// The 4096 bytes at the start of the chunk.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut used = BytesMut::with_capacity(USED_BYTES);
        used.put_slice(&CHUNK_MAGIC);
        used.put_u8(CHUNK_VERSION);
        used.put_u8(self.kind as u8);
        used.put_u16_le(4096);
        used.put_u32_le(self.chunk.0);
        used.put_u32_le(self.incarnation);
        used.put_u64_le(self.previous_end.0);
        used.put_u64_le(self.first_lsn.0);
        used.put_u64_le(self.elapsed_ms);
        used.put_u64_le(self.wall_ms);
        used.put_u32_le(self.checkpoint.0);
        used.put_u32_le(0);
        used.put_u128_le(self.cluster);
        used.put_u64_le(self.synced.0);
        used.put_u32_le(self.salt.0);
        used.put_bytes(0, USED_BYTES - 4 - used.len());
        let crc = crc32c(&[&used]);
        used.put_u32_le(crc);
        let mut out = BytesMut::with_capacity(CHUNK_HEADER_BYTES as usize);
        out.put_slice(&used);
        out.put_bytes(0, COPY_AT - USED_BYTES);
        out.put_slice(&used);
        out.put_bytes(0, CHUNK_HEADER_BYTES as usize - COPY_AT - USED_BYTES);
        out.freeze()
    }

    /// Reads the header of `chunk` from its first 4096 bytes, from whichever copy is whole.
    ///
    /// # Errors
    ///
    /// Too few bytes, no whole copy, another chunk's header, or a newer version.
    pub fn read(bytes: &[u8], chunk: ChunkId) -> Result<Self, ChunkError> {
        let first = bytes.first_chunk::<USED_BYTES>();
        let second = bytes.get(COPY_AT..).and_then(<[u8]>::first_chunk);
        match first.map(|copy| Self::read_copy(copy, chunk)) {
            Some(Ok(header)) => Ok(header),
            None => Err(ChunkError::Truncated),
            Some(Err(error)) => second.map_or(Err(error), |copy| {
                Self::read_copy(copy, chunk).map_err(|second| match error {
                    ChunkError::UnknownVersion(_) => error,
                    ChunkError::Truncated | ChunkError::Damaged => second,
                })
            }),
        }
    }

    fn read_copy(used: &[u8; USED_BYTES], chunk: ChunkId) -> Result<Self, ChunkError> {
        let crc = crc32c(&[&used[..124]]);
        if used[..4] != CHUNK_MAGIC || crc != u32_at(used, 124) {
            return Err(ChunkError::Damaged);
        }
        if used[4] != CHUNK_VERSION && used[4] != UNSALTED_VERSION {
            return Err(ChunkError::UnknownVersion(used[4]));
        }
        let header = Self {
            chunk: ChunkId(u32_at(used, 8)),
            kind: ChunkKind::from_number(used[5]).ok_or(ChunkError::Damaged)?,
            incarnation: u32_at(used, 12),
            previous_end: Position(u64_at(used, 16)),
            first_lsn: Lsn(u64_at(used, 24)),
            elapsed_ms: u64_at(used, 32),
            wall_ms: u64_at(used, 40),
            checkpoint: ChunkId(u32_at(used, 48)),
            cluster: u128_at(used, 56),
            synced: Position(u64_at(used, 72)),
            salt: if used[4] == UNSALTED_VERSION {
                Salt::NONE
            } else {
                Salt(u32_at(used, 80))
            },
        };
        if header.chunk == chunk {
            Ok(header)
        } else {
            Err(ChunkError::Damaged)
        }
    }
}

/// A chunk that is open for reading.
pub struct ChunkFile {
    header: ChunkHeader,
    file: Arc<dyn DiskFile>,
}

impl fmt::Debug for ChunkFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChunkFile")
            .field(&self.header.name())
            .finish()
    }
}

impl ChunkFile {
    /// Opens `chunk`, which has this kind, and checks its header.
    ///
    /// Where there are no frames, nobody asks the header for more than the name says: one that is
    /// damaged is made up.
    ///
    /// # Errors
    ///
    /// Corrupt if the header is damaged and needed; otherwise what the system says.
    pub fn open(disk: &dyn Disk, chunk: ChunkId, kind: ChunkKind) -> Result<Self, Fault> {
        let name = chunk_name(chunk, kind);
        let failed = |source| Fault::io(FaultKind::Unavailable, format!("opening {name}"), source);
        let file = disk.open(&name).map_err(failed)?;
        let mut bytes = vec![0; CHUNK_HEADER_BYTES as usize];
        let read = if kind.is_sorted() {
            spare::read_at(&*file, &mut bytes, 0).map(|(read, _)| read)
        } else {
            file.read_at(&mut bytes, 0)
        };
        let read = read.map_err(failed)?;
        let header = match ChunkHeader::read(bytes.get(..read).unwrap_or_default(), chunk) {
            Err(ChunkError::Damaged) if kind.is_sorted() => Ok(ChunkHeader::made_up(chunk, kind)),
            other => other,
        };
        let damaged = |error| Fault::new(FaultKind::Corrupt, format!("{error} in {name}"));
        let header = header.map_err(damaged)?;
        Ok(Self { header, file })
    }

    pub(crate) fn new(header: ChunkHeader, file: Arc<dyn DiskFile>) -> Self {
        Self { header, file }
    }

    /// What it says of itself.
    #[must_use]
    pub const fn header(&self) -> &ChunkHeader {
        &self.header
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> ChunkId {
        self.header.chunk
    }

    /// Its length in bytes, preallocated room included.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn bytes(&self) -> Result<u64, Fault> {
        self.file.len().map_err(|source| self.failed(source))
    }

    /// Fills `buf` from `offset` on and says how many bytes there were: fewer only at the end.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Fault> {
        self.file
            .read_at(buf, offset)
            .map_err(|source| self.failed(source))
    }

    /// The `length` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// Corrupt if the chunk ends before; otherwise what the system says.
    pub fn read(&self, offset: u64, length: usize) -> Result<Bytes, Fault> {
        let bytes = self.read_new(length, offset)?;
        if bytes.len() < length {
            let what = format!(
                "{} ends before byte {}",
                self.name(),
                offset + length as u64
            );
            return Err(Fault::new(FaultKind::Corrupt, what));
        }
        Ok(bytes.into())
    }

    /// Up to `length` bytes from `offset` on; fewer only at the end.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn read_new(&self, length: usize, offset: u64) -> Result<Vec<u8>, Fault> {
        self.file
            .read_new(length, offset)
            .map_err(|source| self.failed(source))
    }

    /// As [`ChunkFile::read_at`], with zeroes for pages that the disk does not give back.
    pub(crate) fn read_sparing(&self, buf: &mut [u8], offset: u64) -> Result<usize, Fault> {
        let read = spare::read_at(&*self.file, buf, offset);
        read.map(|(read, _)| read)
            .map_err(|source| self.failed(source))
    }

    /// As [`ChunkFile::read_new`], with zeroes for pages that the disk does not give back.
    pub(crate) fn read_new_sparing(&self, length: usize, offset: u64) -> Result<Vec<u8>, Fault> {
        let read = spare::read_new(&*self.file, length, offset);
        read.map(|(bytes, _)| bytes)
            .map_err(|source| self.failed(source))
    }

    pub(crate) fn file(&self) -> Arc<dyn DiskFile> {
        Arc::clone(&self.file)
    }

    fn name(&self) -> String {
        self.header.name()
    }

    fn failed(&self, source: io::Error) -> Fault {
        Fault::io(
            FaultKind::Unavailable,
            format!("reading {}", self.name()),
            source,
        )
    }
}

/// A chunk that is being written under a temporary name; nobody sees it before [`ChunkWriter::finish`].
#[derive(Debug)]
pub struct ChunkWriter {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    header: ChunkHeader,
    temporary: String,
    end: Position,
    finished: bool,
}

impl ChunkWriter {
    /// Begins the chunk with this header.
    ///
    /// # Errors
    ///
    /// Exhausted if there is no room; otherwise what the system says.
    pub fn create(disk: Arc<dyn Disk>, header: ChunkHeader) -> Result<Self, Fault> {
        let temporary = temporary_name(header.chunk, header.kind);
        let file = disk
            .create(&temporary)
            .map_err(|source| write_failed(&temporary, source))?;
        let writer = Self {
            end: header.first_position(),
            disk,
            file,
            header,
            temporary,
            finished: false,
        };
        writer.write(&header.encode(), 0)?;
        Ok(writer)
    }

    /// Where the next byte will lie.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.end
    }

    /// Adds bytes, and says where they lie.
    ///
    /// # Errors
    ///
    /// Exhausted if there is no room, or the chunk would reach 4 GiB; otherwise what the system says.
    pub fn append(&mut self, bytes: &[u8]) -> Result<Position, Fault> {
        let at = self.end;
        if u64::from(at.offset()) + bytes.len() as u64 > u64::from(u32::MAX) {
            let what = format!("{} would reach 4 GiB", self.temporary);
            return Err(Fault::new(FaultKind::Exhausted, what));
        }
        self.write(bytes, u64::from(at.offset()))?;
        self.end = at.plus(bytes.len());
        Ok(at)
    }

    /// Syncs the chunk and gives it its name, durably.
    ///
    /// The header then says that all of it is synced.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn finish(mut self) -> Result<Arc<ChunkFile>, Fault> {
        self.header.synced = self.end;
        self.write(&self.header.encode(), 0)?;
        let name = self.header.name();
        let failed = |source| write_failed(&name, source);
        let unsynced = |source| sync_failed(&self.temporary, source);
        self.file.sync().map_err(unsynced)?;
        self.disk.rename(&self.temporary, &name).map_err(failed)?;
        self.finished = true;
        self.disk.sync_names().map_err(names_unsynced)?;
        Ok(Arc::new(ChunkFile::new(
            self.header,
            Arc::clone(&self.file),
        )))
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        self.file
            .write_at(bytes, offset)
            .map_err(|source| write_failed(&self.temporary, source))
    }
}

impl Drop for ChunkWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What can't be removed now is removed at the next start.
            drop(self.disk.remove(&self.temporary));
        }
    }
}

/// A fault of a background write, to a file that nobody needs yet: it can be tried again.
pub(crate) fn write_failed(name: &str, source: io::Error) -> Fault {
    let kind = if source.kind() == io::ErrorKind::StorageFull {
        FaultKind::Exhausted
    } else {
        FaultKind::Unavailable
    };
    Fault::io(kind, format!("writing {name}"), source)
}

/// A fault of the sync of a file. No room is worth another try, with another file; after anything else
/// nobody knows what is on disk.
pub(crate) fn sync_failed(name: &str, source: io::Error) -> Fault {
    let kind = if source.kind() == io::ErrorKind::StorageFull {
        FaultKind::Exhausted
    } else {
        FaultKind::Fatal
    };
    Fault::io(kind, format!("syncing {name}"), source)
}

/// A fault of the sync of names. The system says it once: whoever syncs the same directory next is
/// told that all is well.
pub(crate) fn names_unsynced(source: io::Error) -> Fault {
    Fault::io(FaultKind::Fatal, "syncing the names of files", source)
}
