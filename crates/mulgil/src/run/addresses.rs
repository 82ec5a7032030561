//! `addresses.json` in the data directory: where the listeners really are, for programs that let
//! port 0 choose. It is there exactly while all of them accept.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use mulgil_admin::catalogue::Code;

use super::Bound;
use crate::failure::{Failure, Outcome};

/// The file.
#[derive(Debug)]
pub(super) struct Addresses {
    path: PathBuf,
}

impl Addresses {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join("addresses.json"),
        }
    }

    /// Writes it by rename, so that nobody reads half of it.
    pub(super) fn write(&self, bound: Bound) -> Outcome<()> {
        let Bound { kafka, http, sqs } = bound;
        let sqs = sqs.map_or_else(String::new, |sqs| format!(",\"sqs\":\"{sqs}\""));
        let text = format!("{{\"kafka\":\"{kafka}\",\"http\":\"{http}\"{sqs}}}\n");
        let new = self.path.with_extension("json.new");
        let written = || -> io::Result<()> {
            let mut file = fs::File::create(&new)?;
            file.write_all(text.as_bytes())?;
            drop(file);
            fs::rename(&new, &self.path)
        };
        written().map_err(|error| {
            Failure::new(
                Code::DataDirUnusable,
                format!("{}: {error}", self.path.display()),
            )
        })
    }

    /// Takes it away, if it is there.
    pub(super) fn remove(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.path.display(), "can not be removed");
            }
            _ => {}
        }
    }
}
