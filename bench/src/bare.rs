//! What the disk itself does to one who writes beside one who reads: the same schedule of messages and
//! the same reader as in `cold`, without a broker.
//!
//! All messages that are due are written at once and synced, which is the least that a broker can do
//! that acknowledges what is on the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use rustix::fs::{Advice, fadvise};

use crate::files;
use crate::meter::{float, histogram, note};

/// Read at a time, as the broker reads.
const PIECE_BYTES: usize = 512 << 10;
/// What a broker writes beside a message's value, about.
const AROUND_BYTES: usize = 128;

/// Messages on a schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Messages a second.
    pub(crate) rate: u32,
    /// Bytes of each one's value.
    pub(crate) record_bytes: usize,
    /// Not measured at the beginning.
    pub(crate) warmup: Duration,
    /// With the time that is not measured.
    pub(crate) length: Duration,
}

/// Writes to a file that grows in `folder`; latencies from the time when each message was due.
pub(crate) fn write(folder: &Path, schedule: Schedule) -> Result<Histogram<u64>> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("messages");
    let file = File::create(&path)?;
    let mut latencies = histogram()?;
    let every = Duration::from_secs(1) / schedule.rate;
    let message = vec![7; schedule.record_bytes + AROUND_BYTES];
    let (begin, mut at, mut due, mut group) = (Instant::now(), 0, Duration::ZERO, Vec::new());
    while due < schedule.length {
        thread::sleep((begin + due).saturating_duration_since(Instant::now()));
        let first = due;
        group.clear();
        while due < schedule.length && due <= begin.elapsed() {
            group.extend_from_slice(&message);
            due += every;
        }
        file.write_all_at(&group, at)?;
        file.sync_data()?;
        at += group.len() as u64;
        let mut written = first;
        while written < due {
            if written >= schedule.warmup {
                note(&mut latencies, begin.elapsed().saturating_sub(written));
            }
            written += every;
        }
    }
    std::fs::remove_file(&path)?;
    Ok(latencies)
}

/// Reads the files below `home`, the largest first, at `mb_per_s` until it is told to stop; when all
/// are read, the page cache gives them up and it begins anew. The bytes that were read.
pub(crate) fn read(home: &Path, mb_per_s: f64, stop: &AtomicBool) -> Result<u64> {
    let mut found = files::below(home)?;
    found.sort_unstable_by_key(|file| std::cmp::Reverse(file.bytes));
    found.retain(|file| file.bytes >= PIECE_BYTES as u64);
    ensure!(!found.is_empty(), "there is no old data");
    let names: Vec<PathBuf> = found.into_iter().map(|file| file.path).collect();
    let (begin, mut bytes, mut piece) = (Instant::now(), 0, vec![0; PIECE_BYTES]);
    loop {
        for name in &names {
            let file = File::open(name)?;
            fadvise(&file, 0, None, Advice::Random)?;
            let mut at = 0;
            loop {
                if stop.load(Ordering::Relaxed) {
                    return Ok(bytes);
                }
                let got = file.read_at(&mut piece, at)? as u64;
                if got == 0 {
                    break;
                }
                at += got;
                bytes += got;
                let due = begin + Duration::from_secs_f64(float(bytes) / (mb_per_s * 1e6));
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        files::drop_clean(home)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_written_and_counted_once() {
        let folder = std::env::temp_dir().join(format!("bench-bare-{}", std::process::id()));
        let schedule = Schedule {
            rate: 1000,
            record_bytes: 10,
            warmup: Duration::from_millis(50),
            length: Duration::from_millis(100),
        };
        assert_eq!(write(&folder, schedule).unwrap().len(), 50);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn files_are_read_until_it_is_told_to_stop() {
        let folder = std::env::temp_dir().join(format!("bench-read-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(read(&folder, 1.0, &AtomicBool::new(true)).is_err());
        std::fs::write(folder.join("old"), vec![1; PIECE_BYTES]).unwrap();
        assert_eq!(read(&folder, 1.0, &AtomicBool::new(true)).unwrap(), 0);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
