//! A light load generator for brokers that speak Kafka's protocol, and the table of its figures.
//!
//! Batches are built once and sent again and again over plain blocking sockets, so that nearly all of
//! the machine is left to the broker; what the generator uses is measured apart. Every run starts a
//! broker of its own with an empty data directory and leaves one JSON line; `render` makes the table,
//! with medians over the runs of the same command. `table` runs all rows three times, in turns.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line talks to its user"
)]

mod broker;
mod consume;
mod e2e;
mod fetch;
mod frames;
mod latency;
mod meter;
mod process;
mod produce;
mod render;
mod rest;
mod results;
mod table;
mod wire;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::broker::{Broker, Target};
use crate::results::Circumstances;

/// A light load generator for brokers that speak Kafka's protocol.
#[derive(Debug, Parser)]
#[command(name = "mulgil-bench")]
struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// What is measured, and where.
#[derive(Clone, Debug, clap::Args)]
struct Place {
    /// The broker: mulgil:PROGRAM, or HOST:PORT@PID of one that runs
    #[arg(long, default_value = "mulgil:target/release/mulgil", global = true)]
    broker: Target,
    /// Data of the broker; emptied before and after each run
    #[arg(long, default_value = "target/bench/home", global = true)]
    home: PathBuf,
    /// Where the results are added, a JSON line a run
    #[arg(long, default_value = "bench/results.jsonl", global = true)]
    results: PathBuf,
    /// The broker's commit; this checkout's if not given
    #[arg(long, global = true)]
    commit: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Produce as fast as it goes, or at a fixed rate
    Produce(produce::ProduceOptions),
    /// Consume a filled topic from its beginning
    Consume(consume::ConsumeOptions),
    /// From the time at which a message was due to the consumer, at a fixed rate
    E2e(e2e::EndToEndOptions),
    /// One message in flight, in turns with bare writes to the same disk
    Latency(latency::LatencyOptions),
    /// Time from the start of the program to the first answer
    Ready {
        #[command(flatten)]
        options: rest::ReadyOptions,
    },
    /// Memory and processor time of a broker that has nothing to do
    Idle(rest::IdleOptions),
    /// Run all rows of the table
    Table {
        /// Only rows whose command holds this
        #[arg(long)]
        only: Option<String>,
        /// How often
        #[arg(long, default_value_t = 3)]
        rounds: u32,
    },
    /// Write the table out of the results
    Render {
        /// The file to write
        #[arg(long, default_value = "bench/RESULTS.md")]
        into: PathBuf,
    },
}

fn main() -> Result<()> {
    let Arguments { place, command } = Arguments::parse();
    match command {
        Command::Table { only, rounds } => table::run(&place, only.as_deref(), rounds),
        Command::Render { into } => render::write(&place.results, &into),
        Command::Produce(_)
        | Command::Consume(_)
        | Command::E2e(_)
        | Command::Latency(_)
        | Command::Ready { .. }
        | Command::Idle(_) => {
            let words: Vec<String> = std::env::args().skip(1).collect();
            measure(&place, &command, &own_words(&words))
        }
    }
}

/// The words that say what is measured, without those that say where.
fn own_words(words: &[String]) -> String {
    let mut own = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--broker" | "--home" | "--results" | "--commit" => {
                rest.next();
            }
            word => own.push(word),
        }
    }
    own.join(" ")
}

/// Runs one measurement and adds its figures to the results.
fn measure(place: &Place, command: &Command, words: &str) -> Result<()> {
    let circumstances = Circumstances::look(place.commit.clone())?;
    let load = results::load();
    let (broker, start) = Broker::start(&place.broker, &place.home)?;
    let name = broker.name();
    let (kind, figures, _broker) = match command {
        Command::Produce(options) => ("produce", produce::run(&broker, options)?, broker),
        Command::Consume(options) => ("consume", consume::run(&broker, options)?, broker),
        Command::E2e(options) => ("e2e", e2e::run(&broker, options)?, broker),
        Command::Latency(options) => ("latency", latency::run(&broker, options)?, broker),
        Command::Idle(options) => ("idle", rest::idle(&broker, options)?, broker),
        Command::Ready { options } => {
            let (broker, figures) = rest::ready(&place.broker, (broker, start), options)?;
            ("ready", figures, broker)
        }
        Command::Table { .. } | Command::Render { .. } => anyhow::bail!("not a measurement"),
    };
    let run = circumstances.run((kind, name, words), load, figures)?;
    results::append(&place.results, &run)?;
    println!("{name} {words}");
    for (name, value) in &run.figures {
        println!("  {name:28} {value:>14.3}");
    }
    Ok(())
}
