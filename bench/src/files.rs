//! The files of a data directory: how many, how large, and how much of them is in the page cache.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, fadvise};

/// So many names fit well into one command line.
const NAMES_MAX: usize = 500;
/// What the last 64 bytes of a chunk of Mulgil begin with when it has its footer.
const FOOTER: &[u8] = b"MGFT";

/// A file as it was at one look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// Its length.
    pub(crate) bytes: u64,
    /// What it takes on the disk.
    pub(crate) allocated: u64,
}

/// All files below `home`, by name; those that go meanwhile are not there.
pub(crate) fn below(home: &Path) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("look into {}", folder.display()))?,
        };
        for entry in entries {
            let path = entry?.path();
            let facts = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                facts => facts?,
            };
            if facts.is_dir() {
                folders.push(path);
            } else if facts.is_file() {
                let (bytes, allocated) = (facts.len(), facts.blocks() * 512);
                found.push(Found {
                    path,
                    bytes,
                    allocated,
                });
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Number and length of files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// What `found` adds up to, by the last part of the names.
pub(crate) fn by_kind(found: &[Found]) -> BTreeMap<String, Sum> {
    let mut kinds: BTreeMap<String, Sum> = BTreeMap::new();
    for file in found {
        let kind = file
            .path
            .extension()
            .map_or("other", |kind| kind.to_str().unwrap_or("other"));
        let sum = kinds.entry(kind.to_owned()).or_default();
        sum.files += 1;
        sum.bytes += file.bytes;
    }
    kinds
}

/// What all files below `home` take on the disk.
pub(crate) fn allocated(home: &Path) -> Result<u64> {
    Ok(below(home)?.iter().map(|file| file.allocated).sum())
}

/// How many of Mulgil's log chunks have no footer; the one that is written to has none.
pub(crate) fn unsealed(found: &[Found]) -> Result<u64> {
    let mut unsealed = 0;
    for chunk in found {
        if chunk.path.extension().is_some_and(|kind| kind == "log") && !has_footer(&chunk.path)? {
            unsealed += 1;
        }
    }
    Ok(unsealed)
}

fn has_footer(chunk: &Path) -> Result<bool> {
    let mut file = match File::open(chunk) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        file => file?,
    };
    if file.metadata()?.len() < 64 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-64))?;
    let mut magic = [0; 4];
    file.read_exact(&mut magic)?;
    Ok(magic == *FOOTER)
}

/// Takes all files below `home` out of the page cache: what is dirty is written first, since the
/// kernel keeps dirty pages, and then each file is given up (`posix_fadvise`, `POSIX_FADV_DONTNEED`).
///
/// This machine's cache alone: what a host below a virtual machine keeps is out of reach.
pub(crate) fn drop_cached(home: &Path) -> Result<()> {
    give_up(home, true)
}

/// As [`drop_cached`], but for what is dirty: it disturbs no one who writes at the same time.
pub(crate) fn drop_clean(home: &Path) -> Result<()> {
    give_up(home, false)
}

fn give_up(home: &Path, sync: bool) -> Result<()> {
    for found in below(home)? {
        let file = match File::open(&found.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            file => file?,
        };
        if sync {
            file.sync_data()?;
        }
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// How much of all files below `home` is in the page cache, from 0 to 1, as `fincore` (of util-linux)
/// says. None where there is no such program.
pub(crate) fn cached_share(home: &Path) -> Result<Option<f64>> {
    let (mut cached, mut size) = (0_u64, 0_u64);
    let names: Vec<PathBuf> = below(home)?.into_iter().map(|file| file.path).collect();
    for names in names.chunks(NAMES_MAX) {
        let output = Command::new("fincore")
            .args(["--bytes", "--raw", "--noheadings", "--output", "RES,SIZE"])
            .args(names)
            .output();
        let output = match output {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            output => output?,
        };
        for line in String::from_utf8(output.stdout)?.lines() {
            let mut numbers = line.split_whitespace().map(str::parse::<u64>);
            cached += numbers.next().context("fincore says RES")??;
            size += numbers.next().context("fincore says SIZE")??;
        }
    }
    Ok((size > 0).then(|| crate::meter::float(cached) / crate::meter::float(size)))
}

/// Sees that the disk below `home` has room for `bytes`, beside 2 GiB for everybody else.
pub(crate) fn need_room(home: &Path, bytes: u64) -> Result<()> {
    let space = rustix::fs::statvfs(home)?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let needed = bytes.saturating_add(2 << 30);
    ensure!(
        free >= needed,
        "{} has {} MB free, {} MB are needed",
        home.display(),
        free / 1_000_000,
        needed / 1_000_000
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("bench-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("below")).unwrap();
        path
    }

    #[test]
    fn files_add_up_by_kind() {
        let home = folder("kinds");
        fs::write(home.join("1.log"), [0; 100]).unwrap();
        fs::write(home.join("below/2.log"), [0; 50]).unwrap();
        fs::write(home.join("lock"), b"7").unwrap();
        let kinds = by_kind(&below(&home).unwrap());
        assert_eq!((kinds["log"].files, kinds["log"].bytes), (2, 150));
        assert_eq!(kinds["other"].files, 1);
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn a_chunk_with_its_footer_is_told_from_one_without() {
        let home = folder("footers");
        let mut sealed = vec![0; 100];
        sealed[36..40].copy_from_slice(FOOTER);
        fs::write(home.join("1.log"), &sealed).unwrap();
        fs::write(home.join("2.log"), [0; 100]).unwrap();
        fs::write(home.join("3.log"), [0; 10]).unwrap();
        assert_eq!(unsealed(&below(&home).unwrap()).unwrap(), 2);
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn a_disk_without_room_is_refused() {
        assert!(need_room(&std::env::temp_dir(), u64::MAX).is_err());
    }
}
