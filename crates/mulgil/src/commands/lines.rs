//! What is published: a value, the lines of a file or of standard input, and headers.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use mulgil_admin::catalogue::Code;

use crate::failure::{Failure, Outcome};

/// Lines that wait between the thread that reads and the one that publishes.
const LINES_WAITING: usize = 1024;
/// A message longer than this is not one; the broker's limit is lower.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// When no line comes for so long, what is there is sent.
pub(super) const LINGER: Duration = Duration::from_millis(50);

/// Headers as they are given, `KEY=VALUE`.
pub(super) fn headers(given: &[String]) -> Outcome<Vec<(String, Vec<u8>)>> {
    let mut headers = Vec::new();
    for header in given {
        let (name, value) = header.split_once('=').ok_or_else(|| {
            Failure::new(
                Code::Usage,
                format!("--header takes KEY=VALUE, not \"{header}\""),
            )
        })?;
        headers.push((name.to_owned(), value.as_bytes().to_vec()));
    }
    Ok(headers)
}

/// Where messages come from.
pub(super) enum Source {
    One(Vec<u8>),
    Lines {
        reader: Box<dyn BufRead + Send>,
        bytes: Option<u64>,
        name: String,
    },
}

impl Source {
    pub(super) const fn bytes(&self) -> Option<u64> {
        match self {
            Self::One(_) => None,
            Self::Lines { bytes, .. } => *bytes,
        }
    }
}

/// Standard input is only touched if there is neither a value nor a file, and it is asked for or not
/// a terminal: a script must not hang in a loop that feeds something else.
pub(super) fn source(value: Option<&str>, file: Option<&Path>) -> Outcome<Source> {
    let stdin = || Source::Lines {
        reader: Box::new(BufReader::new(io::stdin())),
        bytes: None,
        name: "standard input".to_owned(),
    };
    match (value, file) {
        (Some("-"), _) => Ok(stdin()),
        (Some(value), _) => Ok(Source::One(value.as_bytes().to_vec())),
        (None, Some(path)) => {
            let name = path.display().to_string();
            let failed =
                |error: io::Error| Failure::new(Code::FileUnusable, format!("{name}: {error}"));
            let file = File::open(path).map_err(failed)?;
            let bytes = file
                .metadata()
                .ok()
                .filter(|m| m.is_file())
                .map(|m| m.len());
            Ok(Source::Lines {
                reader: Box::new(BufReader::new(file)),
                bytes,
                name,
            })
        }
        (None, None) if !io::stdin().is_terminal() => Ok(stdin()),
        (None, None) => {
            let detail = "there is no value; pass one, --file PATH, or - for standard input";
            Err(Failure::new(Code::Usage, detail))
        }
    }
}

/// Reads lines on a thread of its own, so that a slow source delays no message that is there.
pub(super) fn lines(
    mut reader: Box<dyn BufRead + Send>,
    name: String,
) -> Outcome<Receiver<Outcome<Vec<u8>>>> {
    let (give, take) = sync_channel(LINES_WAITING);
    let read = move || {
        loop {
            let line = match read_line(&mut reader) {
                Ok(Some(line)) => Ok(line),
                Ok(None) => return,
                Err(error) => Err(Failure::new(Code::FileUnusable, format!("{name}: {error}"))),
            };
            let failed = line.is_err();
            if give.send(line).is_err() || failed {
                return;
            }
        }
    };
    let spawned = std::thread::Builder::new()
        .name("lines".to_owned())
        .spawn(read);
    spawned.map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    Ok(take)
}

/// A line without its line feed; nothing else is changed.
fn read_line(reader: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let read = io::Read::take(&mut *reader, limit).read_until(b'\n', &mut line)?;
    if read == LINE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "a line has more than {LINE_BYTES_MAX} bytes"
        )));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok((read > 0).then_some(line))
}
