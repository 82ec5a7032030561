//! `cargo xtask bench sqs`: Mulgil beside `ElasticMQ`, in turns.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use super::{BUILD_LIMIT, LIMIT};
use crate::prerequisites::{self, JAVA, MAVEN};
use crate::tally::Tally;
use crate::{repo, run, tools};

/// What is measured of both.
const ROWS: [&str; 4] = [
    "sqs-work --batch 1",
    "sqs-work --batch 10",
    "sqs-work --batch 10 --queues 100",
    "sqs-waiting",
];

/// What to run, and where the figures go.
#[derive(Debug, clap::Args)]
pub(crate) struct SqsOptions {
    /// The program `mulgil`, a release build; target/release/mulgil if not given
    #[arg(long)]
    mulgil: Option<PathBuf>,
    /// Only rows that hold this
    #[arg(long)]
    only: Option<String>,
    /// How often each side takes its turn
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Where the results are added, a JSON line a run; bench/results.jsonl if not given
    #[arg(long)]
    results: Option<PathBuf>,
    /// Data of the broker under test; emptied before and after each run
    #[arg(long)]
    home: Option<PathBuf>,
}

/// Runs the rows, and writes the table.
pub(crate) fn run(options: &SqsOptions) -> Result<Tally> {
    if let Some(missing) = prerequisites::missing(&[JAVA, MAVEN]) {
        bail!("{missing}");
    }
    tools::elasticmq()?;
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "--package", "mulgil-bench"]);
    run::must("build bench", build.current_dir(repo::root()), BUILD_LIMIT)?;
    let results = options.results.clone();
    let results = results.unwrap_or_else(|| repo::root().join("bench/results.jsonl"));
    let home = options.home.clone();
    let home = home.unwrap_or_else(|| repo::target().join("bench/home"));
    let program = options.mulgil.clone();
    let program = program.unwrap_or_else(|| repo::target().join("release/mulgil"));
    let jars = repo::root().join("bench/elasticmq/target/lib");
    let brokers = [
        format!("mulgil:{}", program.display()),
        format!("elasticmq:{}", jars.display()),
    ];
    let mut tally = Tally::default();
    let wanted = |row: &&str| options.only.as_ref().is_none_or(|only| row.contains(only));
    let rows = ROWS.into_iter().filter(wanted);
    let turns = rows.flat_map(|row| (0..options.rounds).map(move |_| row));
    let turns = turns.flat_map(|row| brokers.iter().map(move |broker| (row, broker)));
    for (row, broker) in turns {
        let mut measure = super::generator(&results);
        measure.arg("--home").arg(&home).arg("--broker").arg(broker);
        measure.args(row.split(' '));
        let finished = run::watched(&format!("{row}, {broker}"), &mut measure, LIMIT)?;
        if !finished.good {
            run::show(row, &finished.output);
            tally.add(Tally::failed(format!("{row}: {}", finished.end)));
            continue;
        }
        tally.add(Tally::passed());
    }
    let into = results.with_file_name("RESULTS.md");
    let mut render = super::generator(&results);
    render.arg("render").arg("--into").arg(&into);
    run::must("bench render", &mut render, BUILD_LIMIT)?;
    println!("the table: {}", into.display());
    Ok(tally)
}
