//! Waiting until a broker has put its store in order: files stay as they are and nothing is written.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::broker::Broker;
use crate::files::{self, Found};
use crate::process::Io;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So much may be written at rest: marks and small checkpoint files.
const REST_BYTES: u64 = 1 << 20;

/// Waits until for `quiet` no file came, went, grew or shrank and next to nothing was written; how
/// long the broker was busy until then. Fails after `limit`.
pub(crate) fn until_at_rest(broker: &Broker, quiet: Duration, limit: Duration) -> Result<Duration> {
    let begin = Instant::now();
    let mut since = begin;
    let mut before = look(broker)?;
    loop {
        thread::sleep(LOOK_EVERY);
        let now = look(broker)?;
        if differs(&before, &now) {
            (before, since) = (now, Instant::now());
        }
        if since.elapsed() >= quiet {
            return Ok(since.duration_since(begin));
        }
        if begin.elapsed() > limit {
            bail!("the data is not at rest after {} s", limit.as_secs());
        }
    }
}

fn look(broker: &Broker) -> Result<(Vec<Found>, u64)> {
    Ok((files::below(&broker.home)?, Io::of(broker.pid)?.written))
}

fn differs((files, written): &(Vec<Found>, u64), now: &(Vec<Found>, u64)) -> bool {
    *files != now.0 || now.1 > written + REST_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_or_a_write_ends_the_rest() {
        let file = |bytes| Found {
            path: "1.log".into(),
            bytes,
            allocated: 0,
        };
        let before = (vec![file(1)], 10);
        assert!(!differs(&before, &(vec![file(1)], 10 + REST_BYTES)));
        assert!(differs(&before, &(vec![file(1)], 11 + REST_BYTES)));
        assert!(differs(&before, &(vec![file(2)], 10)));
        assert!(differs(&before, &(Vec::new(), 10)));
    }
}
