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

mod bare;
mod broker;
mod bundle;
mod cold;
mod compare;
mod consume;
mod e2e;
mod elasticmq;
mod fetch;
mod files;
mod fill;
mod frames;
mod guard;
mod kafka;
mod latency;
mod meter;
mod process;
mod produce;
mod queues;
mod render;
mod rest;
mod rest_api;
mod results;
mod scale;
mod settle;
mod sqs;
mod table;
mod tools;
mod wire;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::broker::{Broker, Start, Target};
use crate::guard::Guard;
use crate::results::{Beside, Circumstances, Figures, Stolen};

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
    /// The broker: mulgil:PROGRAM, kafka:FOLDER or elasticmq:FOLDER of its jars, or HOST:PORT@PID of one that
    /// runs
    #[arg(long, default_value = "mulgil:target/release/mulgil", global = true)]
    broker: Target,
    /// Data of the broker; emptied before and after each run
    #[arg(long, default_value = "target/bench/home", global = true)]
    home: PathBuf,
    /// Where the results are added, a JSON line a run
    #[arg(long, default_value = "bench/results.jsonl", global = true)]
    results: PathBuf,
    /// What the broker was built from, where the program does not say it itself
    #[arg(long, alias = "commit", global = true)]
    label: Option<String>,
    /// Kill the broker, and fail, when its data takes more GB than this
    #[arg(long, global = true)]
    data_gb_max: Option<f64>,
    /// Produce and read for about so long before anything is measured: a Java machine compiles
    /// what it runs often
    #[arg(long, default_value_t = 0, global = true)]
    warm_seconds: u64,
    /// The folder with the jars of Kafka's command-line tools
    #[arg(long, default_value = "interop/kafka-tools/target/lib", global = true)]
    tools: PathBuf,
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
    /// Much data over many partitions: files, memory, write amplification, start, catching up
    Scale(scale::ScaleOptions),
    /// Latency of publishing beside a reader of old data that the page cache has given up
    Cold(cold::ColdOptions),
    /// Idle queues: memory, creation, start
    QueuesIdle(queues::IdleOptions),
    /// Many messages that wait in one queue: memory, start, purging
    QueuesWaiting(queues::WaitingOptions),
    /// Queues filled and worked off over the HTTP API
    QueuesWork(queues::WorkOptions),
    /// Messages sent, received and deleted by the protocol of Amazon SQS
    SqsWork(sqs::WorkOptions),
    /// Many messages that wait in one queue of Amazon SQS: memory
    SqsWaiting(sqs::WaitingOptions),
    /// Kafka's own performance tools: write with one, read with the other
    Tools(tools::ToolsOptions),
    /// Run the rows of the comparison with Apache Kafka, the brokers in turns
    Compare(compare::CompareOptions),
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
        | Command::Idle(_)
        | Command::Scale(_)
        | Command::Tools(_)
        | Command::QueuesIdle(_)
        | Command::QueuesWaiting(_)
        | Command::QueuesWork(_)
        | Command::SqsWork(_)
        | Command::SqsWaiting(_)
        | Command::Cold(_) => {
            let words: Vec<String> = std::env::args().skip(1).collect();
            measure(&place, &command, &own_words(&words), None)
        }
        Command::Compare(options) => compare::run(&place, &options),
    }
}

/// The words that say what is measured, without those that say where.
fn own_words(words: &[String]) -> String {
    let mut own = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        match name {
            "--broker" | "--home" | "--results" | "--commit" | "--label" | "--data-gb-max"
            | "--tools" => {
                if name == word {
                    rest.next();
                }
            }
            _ => own.push(word.as_str()),
        }
    }
    own.join(" ")
}

/// Runs one measurement and adds its figures to the results.
fn measure(place: &Place, command: &Command, words: &str, beside: Option<Beside>) -> Result<()> {
    let circumstances = Circumstances::look(&place.broker, place.label.as_deref())?;
    let load = results::load();
    let (broker, start) = Broker::start(&place.broker, &place.home)?;
    let name = broker.name();
    let guard = place.data_gb_max.map(|most| Guard::watch(&broker, most));
    let before = Stolen::so_far()?;
    let outcome = carry_out(place, (broker, start), command);
    let stolen = Stolen::so_far()?.share_since(before);
    // What the guard did explains what else went wrong.
    let data_gb = guard.map(Guard::end).transpose()?;
    let (kind, mut figures, _broker) = outcome?;
    figures.insert("stolen_share".to_owned(), stolen);
    if let Some(data_gb) = data_gb {
        figures.insert("data_peak_gb".to_owned(), data_gb);
    }
    let mut run = circumstances.run((kind, name, words), load, figures)?;
    run.beside = beside;
    results::append(&place.results, &run)?;
    println!("{name} {words}");
    for (name, value) in &run.figures {
        println!("  {name:28} {value:>14.3}");
    }
    Ok(())
}

/// The figures of `command`, and the broker, whose data goes when it is dropped.
fn carry_out(
    place: &Place,
    (broker, start): (Broker, Start),
    command: &Command,
) -> Result<(&'static str, Figures, Broker)> {
    if place.warm_seconds > 0 {
        consume::warm(&broker, place.warm_seconds)?;
    }
    Ok(match command {
        Command::Produce(options) => ("produce", produce::run(&broker, options)?, broker),
        Command::Consume(options) => ("consume", consume::run(&broker, options)?, broker),
        Command::E2e(options) => ("e2e", e2e::run(&broker, options)?, broker),
        Command::Latency(options) => ("latency", latency::run(&broker, options)?, broker),
        Command::Idle(options) => ("idle", rest::idle(&broker, options)?, broker),
        Command::Cold(options) => ("cold", cold::run(&broker, options)?, broker),
        Command::Ready { options } => {
            let (broker, figures) = rest::ready(&place.broker, (broker, start), options)?;
            ("ready", figures, broker)
        }
        Command::Scale(options) => {
            let (broker, figures) = scale::run(&place.broker, broker, options)?;
            ("scale", figures, broker)
        }
        Command::QueuesIdle(options) => {
            let (broker, figures) = queues::idle(&place.broker, broker, options)?;
            ("queues-idle", figures, broker)
        }
        Command::QueuesWaiting(options) => {
            let (broker, figures) = queues::waiting(&place.broker, broker, options)?;
            ("queues-waiting", figures, broker)
        }
        Command::QueuesWork(options) => ("queues-work", queues::work(&broker, options)?, broker),
        Command::SqsWork(options) => ("sqs-work", sqs::work(&broker, options)?, broker),
        Command::SqsWaiting(options) => ("sqs-waiting", sqs::waiting(&broker, options)?, broker),
        Command::Tools(options) => {
            let figures = tools::run(&broker, &place.tools, options)?;
            ("tools", figures, broker)
        }
        Command::Compare(_) | Command::Table { .. } | Command::Render { .. } => {
            anyhow::bail!("not a measurement")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_was_measured_is_no_part_of_the_command() {
        let words = "--label=x scale --home /h --gigabytes 1 --data-gb-max 3 --sample=2";
        let words: Vec<String> = words.split(' ').map(ToOwned::to_owned).collect();
        assert_eq!(own_words(&words), "scale --gigabytes 1 --sample=2");
    }
}
