//! The operating system's files, in one directory that belongs to this process alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, FallocateFlags, FlockOperation};
use rustix::io::Errno;

use super::{Disk, DiskFile, QUARANTINE, Space, checked};
use crate::fault::{Fault, FaultKind};

const LOCK: &str = "lock";
/// Parts that one `pwritev` takes: `IOV_MAX` of Linux.
const PARTS_MOST: usize = 1024;

/// A directory of the operating system, locked while this value lives.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    directory: File,
    quarantine: File,
    /// Held for its `flock`, which the system drops when the process ends, however it ends.
    _lock: File,
}

impl RealDisk {
    /// Takes the directory `path` over, creating it if it is not there.
    ///
    /// # Errors
    ///
    /// [`FaultKind::Fenced`] if another process has it; otherwise what the system says.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let failed = |source| {
            let what = format!("opening data directory {}", path.display());
            Fault::io(FaultKind::Unavailable, what, source)
        };
        fs::create_dir_all(path.join(QUARANTINE)).map_err(failed)?;
        let lock = take_lock(path)?;
        let directory = File::open(path).map_err(failed)?;
        let quarantine = File::open(path.join(QUARANTINE)).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            directory,
            quarantine,
            _lock: lock,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn list_folder(&self, folder: &str, into: &mut Vec<(String, u64)>) -> io::Result<()> {
        for found in fs::read_dir(self.path.join(folder))? {
            let found = found?;
            // Others may write files here too, and rename them meanwhile.
            let known = match found.metadata() {
                Ok(known) => known,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let name = found.file_name();
            let Some(name) = name.to_str().filter(|name| *name != LOCK) else {
                continue;
            };
            if known.is_file() {
                into.push((format!("{folder}{name}"), known.len()));
            }
        }
        Ok(())
    }
}

/// Takes the lock file, or says which process has it.
fn take_lock(path: &Path) -> Result<File, Fault> {
    let failed = |source| {
        let what = format!("locking data directory {}", path.display());
        Fault::io(FaultKind::Unavailable, what, source)
    };
    // The standard library opens every file with O_CLOEXEC, so that no child inherits the lock.
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join(LOCK))
        .map_err(failed)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut owner = String::new();
            lock.read_to_string(&mut owner).map_err(failed)?;
            let what = format!(
                "data directory {} is in use by process {}",
                path.display(),
                owner.trim()
            );
            return Err(Fault::new(FaultKind::Fenced, what));
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    lock.set_len(0).map_err(failed)?;
    let owner = format!("{}\n", std::process::id());
    lock.write_all_at(owner.as_bytes(), 0).map_err(failed)?;
    Ok(lock)
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path.join(checked(name)?))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join(checked(name)?))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        self.list_folder("", &mut found)?;
        self.list_folder(QUARANTINE, &mut found)?;
        found.sort_unstable();
        Ok(found)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(checked(from)?), self.path.join(checked(to)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(checked(name)?))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.quarantine.sync_all()?;
        self.directory.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let known = rustix::fs::fstatvfs(&self.directory)?;
        Ok(Space {
            total: known.f_blocks.saturating_mul(known.f_frsize),
            free: known.f_bavail.saturating_mul(known.f_frsize),
        })
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn write_parts_at(&self, parts: &[Bytes], mut offset: u64) -> io::Result<()> {
        for parts in parts.chunks(PARTS_MOST) {
            let mut slices: Vec<IoSlice<'_>> =
                parts.iter().map(|part| IoSlice::new(part)).collect();
            let mut left = slices.as_mut_slice();
            while left.iter().any(|part| !part.is_empty()) {
                let written = match rustix::io::pwritev(&self.0, left, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => written,
                    Err(Errno::INTR) => continue,
                    Err(errno) => return Err(errno.into()),
                };
                offset += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
        }
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_new(&self, length: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let from = offset + bytes.len() as u64;
            match rustix::io::pread(&self.0, spare_capacity(&mut bytes), from) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        // The allocator may have given more than was asked for.
        bytes.truncate(length);
        Ok(bytes)
    }

    fn reads_in_pieces(&self) {
        // A hint: a file system without it is only slower.
        let _hint = rustix::fs::fadvise(&self.0, 0, None, Advice::Random);
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, from: u64, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), from, bytes) {
            // A file system that can't preallocate costs speed and a later refusal, nothing else.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
