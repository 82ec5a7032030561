//! Mulgil beside Apache Kafka: rows that both run, in turns, three times.
//!
//! Equal durability means: Mulgil's `os` and Mulgil's `fsync`, each beside what Kafka does by default
//! (the operating system writes when it likes), and for some rows Kafka with `flush.messages=1`, its
//! nearest to `fsync`. Where records are only read, or there are none, the level says nothing.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::broker::Target;
use crate::results::{self, Beside};
use crate::{Arguments, Place, measure};

/// A data directory of more than this fails its run.
const DATA_GB_MAX: f64 = 25.0;

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompareOptions {
    /// The program `mulgil`, a release build
    #[arg(long, default_value = "target/release/mulgil")]
    mulgil: PathBuf,
    /// The folder of Kafka's jars
    #[arg(long, default_value = "interop/kafka-broker/target/lib")]
    kafka: PathBuf,
    /// Only these rows, or those whose name holds one of these; with commas between them
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Only list the rows and their commands
    #[arg(long)]
    list: bool,
    /// How often each side takes its turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Pass over runs that there are for this commit
    #[arg(long)]
    resume: bool,
    /// Short runs, for a small table whose figures are labelled so
    #[arg(long)]
    quick: bool,
}

/// One of those who run a row.
#[derive(Clone, Copy, Debug)]
struct Side {
    name: &'static str,
    mulgil: bool,
    durability: Option<&'static str>,
}

const OS: Side = Side {
    name: "mulgil os",
    mulgil: true,
    durability: Some("os"),
};
const FSYNC: Side = Side {
    name: "mulgil fsync",
    mulgil: true,
    durability: Some("fsync"),
};
const MULGIL: Side = Side {
    name: "mulgil",
    mulgil: true,
    durability: None,
};
const KAFKA: Side = Side {
    name: "kafka",
    mulgil: false,
    durability: None,
};
const FLUSHED: Side = Side {
    name: "kafka flush.messages=1",
    mulgil: false,
    durability: Some("fsync"),
};
/// Who writes.
const WRITERS: &[Side] = &[OS, FSYNC, KAFKA];
const ALL_WRITERS: &[Side] = &[OS, FSYNC, KAFKA, FLUSHED];
/// Who only reads, or rests.
const READERS: &[Side] = &[MULGIL, KAFKA];

/// Full length, and that of `--quick`. Producing ends at 12 GiB or after three minutes. What is not
/// about the start is warmed before, since Kafka gets faster while it is compiled.
type Lengths = (&'static str, &'static str);
const PRODUCE: Lengths = (
    "--seconds 180 --megabytes 12288 --warm-seconds 20",
    "--seconds 10 --megabytes 4096 --warm-seconds 5",
);
/// All sides read the same amount, however long filling takes them.
const CONSUME: Lengths = (
    "--seconds 1200 --megabytes 8192 --warm-seconds 20",
    "--seconds 300 --megabytes 512 --warm-seconds 5",
);
const STREAM: Lengths = (
    "--seconds 60 --warm-seconds 20",
    "--seconds 10 --warm-seconds 5",
);
const COLD: Lengths = (
    "--gigabytes 8 --runs 3 --seconds 20 --warm-seconds 20",
    "--gigabytes 1 --runs 1 --seconds 5 --warm-seconds 5",
);
/// Records of 1 KiB and of 100 B, so many that Java's own start weighs little.
const TOOLS_1K: Lengths = ("--records 4000000", "--records 500000");
const TOOLS_100B: Lengths = ("--records 20000000", "--records 2000000");
const NONE: Lengths = ("", "");

/// A row: its name, its command, its lengths, and who runs it. Batches have 16 KiB, as Kafka's
/// producer makes them.
type Row = (&'static str, &'static str, Lengths, &'static [Side]);
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("produce-1k-1", "produce --partitions 1 --record-bytes 1024 --batch-records 16", PRODUCE, WRITERS),
    ("produce-1k-100", "produce --partitions 100 --record-bytes 1024 --batch-records 16", PRODUCE, ALL_WRITERS),
    ("produce-1k-1000", "produce --partitions 1000 --record-bytes 1024 --batch-records 16", PRODUCE, WRITERS),
    ("produce-100b-1", "produce --partitions 1 --record-bytes 100 --batch-records 150", PRODUCE, WRITERS),
    ("produce-100b-100", "produce --partitions 100 --record-bytes 100 --batch-records 150", PRODUCE, WRITERS),
    ("produce-100b-1000", "produce --partitions 1000 --record-bytes 100 --batch-records 150", PRODUCE, WRITERS),
    ("consume-1k-1", "consume --partitions 1 --record-bytes 1024 --batch-records 16", CONSUME, READERS),
    ("consume-1k-100", "consume --partitions 100 --record-bytes 1024 --batch-records 16", CONSUME, READERS),
    ("consume-1k-1000", "consume --partitions 1000 --record-bytes 1024 --batch-records 16", CONSUME, READERS),
    ("consume-100b-1", "consume --partitions 1 --record-bytes 100 --batch-records 150", CONSUME, READERS),
    ("consume-100b-100", "consume --partitions 100 --record-bytes 100 --batch-records 150", CONSUME, READERS),
    ("consume-100b-1000", "consume --partitions 1000 --record-bytes 100 --batch-records 150", CONSUME, READERS),
    ("e2e-1000", "e2e --rate 1000", STREAM, ALL_WRITERS),
    ("e2e-10000", "e2e --rate 10000 --partitions 100", STREAM, WRITERS),
    ("e2e-50000", "e2e --rate 50000 --batch-records 16 --partitions 100", STREAM, WRITERS),
    ("behind", "cold --rate 1000", COLD, WRITERS),
    ("tools-1k", "tools --partitions 100 --record-bytes 1024", TOOLS_1K, WRITERS),
    ("tools-100b", "tools --partitions 100 --record-bytes 100", TOOLS_100B, WRITERS),
    ("ready", "ready", NONE, READERS),
    ("ready-1g", "ready --gigabytes 1", NONE, READERS),
    ("idle", "idle", NONE, READERS),
    ("idle-connections", "idle --connections 1000", NONE, READERS),
    ("idle-partitions", "idle --partitions 1000", NONE, READERS),
];

/// What is run for a side of a row.
fn command_of(&(_, command, (full, short), _): &Row, side: Side, quick: bool) -> String {
    let mut words = vec![command];
    words.extend(Some(if quick { short } else { full }).filter(|length| !length.is_empty()));
    if let Some(durability) = side.durability {
        words.extend(["--durability", durability]);
    }
    words.join(" ")
}

/// Runs the rows, one after the other, its sides in turns. Closes with a line for each run: `ok` or
/// `FAIL`.
pub(crate) fn run(place: &Place, options: &CompareOptions) -> Result<()> {
    let rows = chosen(&options.rows)?;
    if options.list {
        for row in rows {
            for side in row.3 {
                println!(
                    "{}: {}: {}",
                    row.0,
                    side.name,
                    command_of(row, *side, options.quick)
                );
            }
        }
        return Ok(());
    }
    let mulgil = Target::Mulgil(options.mulgil.clone());
    let commit = match &place.label {
        Some(label) => label.clone(),
        None => mulgil.version()?,
    };
    let kafka = Target::Kafka(options.kafka.clone());
    let version = kafka.version()?;
    let mut failed = 0;
    for row in rows {
        for round in 0..options.rounds {
            // Each round begins with another side, so that none is always the first.
            for turn in 0..row.3.len() {
                let side = row.3.iter().cycle().nth(round + turn);
                let side = *side.context("a row has sides")?;
                let beside = Beside {
                    row: row.0.to_owned(),
                    side: side.name.to_owned(),
                    mulgil: commit.clone(),
                    quick: options.quick,
                };
                if options.resume && runs_of(place, &beside)? > round {
                    continue;
                }
                let (broker, label) = if side.mulgil {
                    (mulgil.clone(), commit.clone())
                } else {
                    (kafka.clone(), version.clone())
                };
                let place = Place {
                    broker,
                    label: Some(label),
                    data_gb_max: Some(place.data_gb_max.unwrap_or(DATA_GB_MAX)),
                    ..place.clone()
                };
                let what = format!("{}: {}, round {}", row.0, side.name, round + 1);
                match once(&place, &command_of(row, side, options.quick), beside) {
                    Ok(()) => println!("ok {what}"),
                    Err(error) => {
                        failed += 1;
                        println!("FAIL {what}: {error:#}");
                    }
                }
            }
        }
    }
    if failed > 0 {
        bail!("{failed} runs failed");
    }
    Ok(())
}

fn chosen(wanted: &[String]) -> Result<Vec<&'static Row>> {
    let names = || ROWS.iter().map(|row| row.0);
    for wanted in wanted {
        if !names().any(|name| is_meant(name, wanted)) {
            let names: Vec<&str> = names().collect();
            bail!("no row is called {wanted}, only {}", names.join(", "));
        }
    }
    let chosen = ROWS
        .iter()
        .filter(|row| wanted.is_empty() || wanted.iter().any(|wanted| is_meant(row.0, wanted)));
    Ok(chosen.collect())
}

/// A whole name means that row alone, a part of names all that hold it.
fn is_meant(name: &str, wanted: &str) -> bool {
    let whole = ROWS.iter().any(|row| row.0 == wanted);
    if whole {
        name == wanted
    } else {
        name.contains(wanted)
    }
}

fn runs_of(place: &Place, beside: &Beside) -> Result<usize> {
    let runs = results::read_if_there(&place.results)?;
    let done = runs
        .iter()
        .filter(|run| run.beside.as_ref() == Some(beside));
    Ok(done.count())
}

fn once(place: &Place, command: &str, beside: Beside) -> Result<()> {
    let words = std::iter::once("mulgil-bench").chain(command.split(' '));
    let arguments = Arguments::try_parse_from(words).context("a row is a command")?;
    let place = &Place {
        warm_seconds: arguments.place.warm_seconds,
        ..place.clone()
    };
    measure(place, &arguments.command, command, Some(beside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_side_of_every_row_is_a_command() {
        for row in ROWS {
            for (side, quick) in row.3.iter().flat_map(|side| [(side, false), (side, true)]) {
                let command = command_of(row, *side, quick);
                let words = std::iter::once("mulgil-bench").chain(command.split(' '));
                assert!(Arguments::try_parse_from(words).is_ok(), "{command}");
            }
        }
    }

    #[test]
    fn rows_are_chosen_by_a_part_of_their_name() {
        let names = |wanted: &[&str]| -> Vec<&str> {
            let wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
            chosen(&wanted).unwrap().iter().map(|row| row.0).collect()
        };
        assert_eq!(names(&["read", "behind"]), ["behind", "ready", "ready-1g"]);
        assert_eq!(names(&["e2e-1000"]), ["e2e-1000"]);
        assert_eq!(names(&[]).len(), ROWS.len());
        assert!(chosen(&["prodce".to_owned()]).is_err());
    }
}
