//! `cargo xtask bench`: builds the load generator, gets the broker to compare with, and lets the
//! generator run the rows. What is run and how it is counted lies in `bench`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::prerequisites::{self, JAVA, MAVEN};
use crate::tally::Tally;
use crate::{repo, run, tools};

mod sqs;

/// All rows three times, each as long as it may take, stay far below this.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

/// With what to compare.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// Apache Kafka
    Kafka(Options),
    /// `ElasticMQ`, by the protocol of Amazon SQS
    Sqs(sqs::SqsOptions),
}

/// What to run, and where the figures go.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The program `mulgil`, a release build; target/release/mulgil if not given
    #[arg(long)]
    mulgil: Option<PathBuf>,
    /// Only these rows, or those whose name holds one of these; with commas between them
    #[arg(long)]
    rows: Option<String>,
    /// Only list the rows and their commands
    #[arg(long)]
    list: bool,
    /// How often each side takes its turn
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Pass over runs that there are for this commit
    #[arg(long)]
    resume: bool,
    /// Short runs, for a small table whose figures are labelled so
    #[arg(long)]
    quick: bool,
    /// What Mulgil was built from, where `mulgil --version` does not say it
    #[arg(long)]
    label: Option<String>,
    /// Where the results are added, a JSON line a run; bench/results.jsonl if not given
    #[arg(long)]
    results: Option<PathBuf>,
    /// The table that is written out of them; RESULTS.md beside the results if not given
    #[arg(long)]
    into: Option<PathBuf>,
    /// Data of the broker under test; emptied before and after each run
    #[arg(long)]
    home: Option<PathBuf>,
}

/// Runs the rows, and writes the table.
pub(crate) fn run(bench: &Bench) -> Result<Tally> {
    let options = match bench {
        Bench::Kafka(options) => options,
        Bench::Sqs(options) => return sqs::run(options),
    };
    if let Some(missing) = prerequisites::missing(&[JAVA, MAVEN]) {
        bail!("{missing}");
    }
    tools::kafka_broker()?;
    tools::kafka_tools()?;
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "--package", "mulgil-bench"]);
    run::must("build bench", build.current_dir(repo::root()), BUILD_LIMIT)?;
    let results = options.results.clone();
    let results = results.unwrap_or_else(|| repo::root().join("bench/results.jsonl"));
    let mut compare = generator(&results);
    compare.arg("compare").args(words(options));
    let kafka = repo::root().join("interop/kafka-broker/target/lib");
    compare.arg("--kafka").arg(kafka).arg("--mulgil").arg(
        options
            .mulgil
            .clone()
            .unwrap_or_else(|| repo::target().join("release/mulgil")),
    );
    let home = options.home.clone();
    let home = home.unwrap_or_else(|| repo::target().join("bench/home"));
    compare.arg("--home").arg(home);
    if options.list {
        let status = compare.status()?;
        ensure!(status.success(), "the rows cannot be listed: {status}");
        return Ok(Tally::passed());
    }
    let finished = run::watched("bench kafka", &mut compare, LIMIT)?;
    let mut tally = Tally::of_checks("bench", &finished.output);
    if !finished.good {
        run::show("bench kafka", &finished.output);
        if tally.good() {
            tally.add(Tally::failed(format!("bench: {}", finished.end)));
        }
    }
    if results.exists() {
        let into = options.into.clone();
        let into = into.unwrap_or_else(|| results.with_file_name("RESULTS.md"));
        let mut render = generator(&results);
        render.arg("render").arg("--into").arg(&into);
        run::must("bench render", &mut render, BUILD_LIMIT)?;
        println!("the table: {}", into.display());
    }
    Ok(tally)
}

fn generator(results: &std::path::Path) -> Command {
    let mut generator = Command::new(repo::target().join("debug/mulgil-bench"));
    generator.arg("--results").arg(results);
    let jars = repo::root().join("interop/kafka-tools/target/lib");
    generator.arg("--tools").arg(jars);
    generator
}

/// The options that the generator takes as they are.
fn words(options: &Options) -> Vec<String> {
    let mut words = vec!["--rounds".to_owned(), options.rounds.to_string()];
    for (name, value) in [("--rows", &options.rows), ("--label", &options.label)] {
        if let Some(value) = value {
            words.extend([name.to_owned(), value.clone()]);
        }
    }
    let switches = [
        ("--list", options.list),
        ("--resume", options.resume),
        ("--quick", options.quick),
    ];
    let on = switches.into_iter().filter(|(_, on)| *on);
    words.extend(on.map(|(name, _)| name.to_owned()));
    words
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn what_is_said_reaches_the_generator() {
        let line = "bench --rows ready,idle --quick --label x --rounds 2";
        let options = Line::parse_from(line.split(' ')).options;
        let said = [
            "--rounds",
            "2",
            "--rows",
            "ready,idle",
            "--label",
            "x",
            "--quick",
        ];
        assert_eq!(words(&options), said);
    }
}
