//! The rows of the table. Each is a command that can be run alone; here all take turns, three times.

use anyhow::{Context, Result};
use clap::Parser;

use crate::{Arguments, Place, measure, results};

/// 16 KiB and 64 KiB batches of 1 KiB and of 100 byte records, over 1, 100 and 1,000 partitions; then
/// the rest.
const ROWS: &[&str] = &[
    "produce --partitions 1 --record-bytes 1024 --batch-records 16",
    "produce --partitions 100 --record-bytes 1024 --batch-records 16",
    "produce --partitions 1000 --record-bytes 1024 --batch-records 16",
    "produce --partitions 1 --record-bytes 1024 --batch-records 64",
    "produce --partitions 100 --record-bytes 1024 --batch-records 64",
    "produce --partitions 1000 --record-bytes 1024 --batch-records 64",
    "produce --partitions 1 --record-bytes 100 --batch-records 150",
    "produce --partitions 100 --record-bytes 100 --batch-records 150",
    "produce --partitions 1000 --record-bytes 100 --batch-records 150",
    "produce --partitions 1 --record-bytes 100 --batch-records 600",
    "produce --partitions 100 --record-bytes 100 --batch-records 600",
    "produce --partitions 1000 --record-bytes 100 --batch-records 600",
    "produce --partitions 100 --record-bytes 1024 --batch-records 16 --durability os",
    "produce --partitions 100 --record-bytes 1024 --batch-records 64 --durability os",
    "produce --partitions 100 --record-bytes 300 --batch-records 1 --connections 64 --in-flight 1",
    "consume --partitions 1 --record-bytes 1024 --batch-records 16 --megabytes 1024",
    "consume --partitions 100 --record-bytes 1024 --batch-records 16 --megabytes 1024",
    "consume --partitions 100 --record-bytes 1024 --batch-records 16 --megabytes 1024 --readers 2",
    "consume --partitions 1000 --record-bytes 1024 --batch-records 16 --megabytes 1024",
    "consume --partitions 100 --record-bytes 100 --batch-records 150 --megabytes 1024",
    "e2e --rate 1000 --seconds 10",
    "e2e --rate 10000 --partitions 100 --seconds 10",
    "e2e --rate 50000 --batch-records 16 --partitions 100 --seconds 10",
    "latency --seconds 10",
    "latency --pause-ms 10 --seconds 10",
    "ready",
    "ready --gigabytes 1",
    "idle",
    "idle --connections 1000",
    "idle --connections 10000",
    "idle --partitions 10000",
];

/// Runs the rows that hold `only`; those that were measured `rounds` times on this commit are passed
/// over, so that a table that was interrupted goes on.
pub(crate) fn run(place: &Place, only: Option<&str>, rounds: u32) -> Result<()> {
    let commit = results::Circumstances::look(&place.broker, place.label.as_deref())?.commit;
    for round in 1..=rounds {
        for row in ROWS
            .iter()
            .filter(|row| only.is_none_or(|only| row.contains(only)))
        {
            let done = results::read_if_there(&place.results)?;
            let done = done
                .iter()
                .filter(|run| run.commit == commit && run.command == **row && run.beside.is_none());
            if done.count() >= usize::try_from(round)? {
                continue;
            }
            eprintln!("round {round}: {row}");
            let words = std::iter::once("mulgil-bench").chain(row.split(' '));
            let arguments = Arguments::try_parse_from(words).context("a row is a command")?;
            if let Err(error) = measure(place, &arguments.command, row, None) {
                eprintln!("  failed: {error:#}");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_command() {
        for row in ROWS {
            let words = std::iter::once("mulgil-bench").chain(row.split(' '));
            assert!(Arguments::try_parse_from(words).is_ok(), "{row}");
        }
    }
}
