//! The one thin layer through which all file operations of the data path go.
//!
//! It speaks of names in one directory and of bytes at places, and decides nothing. There are three
//! disks behind it: [`RealDisk`], the operating system; [`MemDisk`], which keeps everything in memory
//! and can lose power after every single operation; and, with the feature `recording`,
//! `RecordingDisk`, which writes down what a real process does, so that disks as after a power cut
//! can be built from it later.
//!
//! Names are plain file names, or `quarantine/` and a plain file name: what recovery takes out of the
//! log is kept there.

use core::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

pub mod cut;
mod mem;
pub mod ops;
mod planted;
mod real;
#[cfg(any(test, feature = "recording"))]
mod recording;
pub(crate) mod spare;
#[cfg(test)]
mod tests;

pub use cut::{FaultPlan, Model};
pub use mem::{MemDisk, WriteFault};
pub use ops::{DiskOp, Recording, replay_recording};
pub use planted::Planted;
pub use real::RealDisk;
#[cfg(any(test, feature = "recording"))]
pub use recording::RecordingDisk;
pub use spare::unreadable_pages;

/// What a disk gives back as a whole, or not at all.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// The folder that holds what was taken out of the log.
pub const QUARANTINE: &str = "quarantine/";

/// How much room there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes that the disk holds in all.
    pub total: u64,
    /// Bytes that this process may still take.
    pub free: u64,
}

/// A directory of files.
pub trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Creates an empty file.
    ///
    /// # Errors
    ///
    /// If the name exists, or what the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    ///
    /// If there is no such file, or what the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// All files with their length, those in quarantine included, by name.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Gives a file another name, whose former file is gone with that.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Who has it open can still read it.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable: creations, renames and removals until here.
    ///
    /// # Errors
    ///
    /// What the system says. The process must end then, as after a failed sync.
    fn sync_names(&self) -> io::Result<()>;

    /// How much room there is.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn space(&self) -> io::Result<Space>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    ///
    /// What the system says; some of the bytes may be there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Writes all `parts` at `offset`, one after the other.
    ///
    /// # Errors
    ///
    /// As [`DiskFile::write_at`].
    fn write_parts_at(&self, parts: &[Bytes], mut offset: u64) -> io::Result<()> {
        for part in parts {
            self.write_at(part, offset)?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// Fills `buf` from `offset` on and says how many bytes there were: fewer only at the end.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Up to `length` bytes from `offset` on, in memory of their own; fewer only at the end.
    ///
    /// A large buffer that is zeroed first costs more than the read: allocators give its pages back
    /// to the system to get them zeroed, and each is faulted in again.
    ///
    /// # Errors
    ///
    /// As [`DiskFile::read_at`].
    fn read_new(&self, length: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = self.read_at(&mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Old data will be read in pieces that the reader has chosen: nothing is to be read ahead.
    ///
    /// Systems read megabytes ahead, and what is written and waited for meanwhile stands behind them.
    fn reads_in_pieces(&self) {}

    /// Makes the contents durable: what `fdatasync` does.
    ///
    /// # Errors
    ///
    /// What the system says. Nobody knows then what is on disk, and trying again does not tell.
    fn sync(&self) -> io::Result<()>;

    /// Makes room for `bytes` from offset `from` on; what was not written there reads as zeroes.
    ///
    /// # Errors
    ///
    /// What the system says: no room, above all.
    fn allocate(&self, from: u64, bytes: u64) -> io::Result<()>;

    /// Cuts the file, or lengthens it by zeroes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// `name` if it is one that a disk takes: no way out of its directory.
fn checked(name: &str) -> io::Result<&str> {
    let plain = name.strip_prefix(QUARANTINE).unwrap_or(name);
    if plain.is_empty() || plain.starts_with('.') || plain.contains('/') {
        let what = format!("{name:?} is no name of a file of the log");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(name)
}
