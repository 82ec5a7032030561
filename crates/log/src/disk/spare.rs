//! Reads around pages that the disk does not give back.
//!
//! One bad sector makes a read of any size fail, and all the whole pages around it with that. Here the
//! others are read one by one, and the bad ones are zeroes, as if they had been wiped: what is there
//! for damage finds out what was in them. That is for who can say what is lost. Who would act on the
//! zeroes for good, as a pass that removes its source, or who takes zeroes for the end of the log,
//! reads plainly and fails.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::{DiskFile, PAGE_BYTES};

/// More in one read is no bad sector but a disk that does not answer, and trying it page by page would
/// take hours. No file system or disk remaps in larger pieces.
const UNREADABLE_PAGES_MAX: usize = 64;

/// Pages that were met, each time.
static UNREADABLE: AtomicU64 = AtomicU64::new(0);

/// How many times this process has met a page that a disk did not give back, and read around it.
#[must_use]
pub fn unreadable_pages() -> u64 {
    UNREADABLE.load(Ordering::Relaxed)
}

/// As [`DiskFile::read_at`], with zeroes for pages that cannot be read; says how many these were, too.
pub(crate) fn read_at(
    file: &dyn DiskFile,
    buf: &mut [u8],
    offset: u64,
) -> io::Result<(usize, usize)> {
    match file.read_at(buf, offset) {
        Err(error) if is_bad_sector(&error) => by_page(file, buf, offset, error),
        other => other.map(|read| (read, 0)),
    }
}

/// As [`DiskFile::read_new`], with zeroes for pages that cannot be read; says how many these were, too.
pub(crate) fn read_new(
    file: &dyn DiskFile,
    length: usize,
    offset: u64,
) -> io::Result<(Vec<u8>, usize)> {
    match file.read_new(length, offset) {
        Err(error) if is_bad_sector(&error) => {
            let mut bytes = vec![0; length];
            let (read, unreadable) = by_page(file, &mut bytes, offset, error)?;
            bytes.truncate(read);
            Ok((bytes, unreadable))
        }
        other => other.map(|bytes| (bytes, 0)),
    }
}

pub(crate) fn is_bad_sector(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

fn by_page(
    file: &dyn DiskFile,
    buf: &mut [u8],
    offset: u64,
    failed: io::Error,
) -> io::Result<(usize, usize)> {
    let left = file.len()?.saturating_sub(offset);
    let wanted = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
    let mut unreadable = 0;
    let mut at = 0;
    while at < wanted {
        let from = offset + at as u64;
        let in_page = usize::try_from(PAGE_BYTES - from % PAGE_BYTES).unwrap_or(wanted);
        let piece = buf
            .get_mut(at..wanted.min(at + in_page))
            .unwrap_or_default();
        let length = piece.len();
        match file.read_at(piece, from) {
            Ok(read) if read < length => return Ok((at + read, unreadable)),
            Ok(_) => {}
            Err(error) if is_bad_sector(&error) => {
                unreadable += 1;
                UNREADABLE.fetch_add(1, Ordering::Relaxed);
                if unreadable > UNREADABLE_PAGES_MAX {
                    return Err(failed);
                }
                piece.fill(0);
            }
            Err(error) => return Err(error),
        }
        at += length;
    }
    Ok((wanted, unreadable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk as _, MemDisk};

    fn disk_of(pages: usize) -> (MemDisk, std::sync::Arc<dyn DiskFile>) {
        let disk = MemDisk::new(1);
        let file = disk.create("1.log").unwrap();
        file.write_at(&vec![7; pages * 4096 - 100], 0).unwrap();
        (disk, file)
    }

    #[test]
    fn a_bad_page_is_zeroes_and_what_lies_around_it_is_read() {
        let (disk, file) = disk_of(10);
        assert!(disk.lose_page("1.log", 3 * 4096 + 5));
        let mut buf = vec![9; 9 * 4096];
        assert!(file.read_at(&mut buf, 5_000).is_err());
        let before = unreadable_pages();
        let (read, unreadable) = read_at(&*file, &mut buf, 5_000).unwrap();
        assert!(unreadable_pages() > before, "it is counted");
        assert_eq!((read, unreadable), (10 * 4096 - 100 - 5_000, 1));
        for (at, byte) in buf.iter().take(read).enumerate() {
            let bad = (at + 5_000) / 4096 == 3;
            assert_eq!(*byte, if bad { 0 } else { 7 }, "{at}");
        }
        let (bytes, unreadable) = read_new(&*file, buf.len(), 5_000).unwrap();
        assert!(bytes == buf[..read] && unreadable == 1);
        let (bytes, unreadable) = read_new(&*file, 4096, 4096).unwrap();
        assert!(bytes == [7; 4096] && unreadable == 0);
    }

    #[test]
    fn a_disk_that_gives_nothing_back_is_a_failure_and_no_damage() {
        let (disk, file) = disk_of(70);
        for page in 0..65 {
            assert!(disk.lose_page("1.log", page * 4096));
        }
        assert!(read_new(&*file, 70 * 4096, 0).is_err());
        assert!(read_new(&*file, 70 * 4096, 4096).is_ok());
    }
}
