//! Developer commands: `cargo xtask <command>` is the only entry point that a developer needs.
//!
//! Whatever checks the project is reachable from here and runs the same at home and in CI. The broker
//! under test is always the real program in a process of its own. Nothing here links the product, except
//! that the lying disk is built by the log's own reader of recordings.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line talks to its user"
)]

mod bench;
mod brokers;
mod check;
mod connect;
mod crash;
mod file_test;
mod fuzz;
mod groups;
mod http;
mod interop;
mod kafka_tools;
mod kcat;
mod layers;
mod liar;
mod parts;
mod planted;
mod prerequisites;
mod producers;
mod queues;
mod registry;
mod repo;
mod run;
mod service;
mod sqs_crash;
mod tally;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::brokers::Kind;
use crate::tally::Tally;

/// Developer commands of Mulgil.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run what CI runs: checks, all cargo tests, every client, crash rounds
    Test {
        /// Run everything there is, in parts that are remembered for each commit
        #[arg(long)]
        all: bool,
        /// Run one part of --all, whether or not it passed before
        #[arg(long, requires = "all", value_name = "NAME")]
        part: Option<String>,
    },
    /// Check formatting, lints, layers and tidiness
    Check,
    /// Compare the crates' dependencies with the table in ARCHITECTURE.md
    Layers,
    /// Check the rules that no compiler knows
    Tidy,
    /// Run other people's clients against a broker
    Interop {
        /// One client; without a name all but kafka-tools, rust, confluent-node, connect, registry and sarama
        client: Option<String>,
        /// mulgil, kafka, or the address of a broker that runs already
        #[arg(long, default_value = "mulgil")]
        against: Kind,
        /// Run only this check (may be given several times)
        #[arg(long, value_name = "NAME")]
        check: Vec<String>,
    },
    /// Install what the clients need into .tools/
    Tools,
    /// Kill the broker with -9 under load, again and again, and look for what it lost
    Crash {
        /// How often to kill it
        #[arg(long, default_value_t = 10)]
        rounds: u32,
        /// mulgil or kafka
        #[arg(long, default_value = "mulgil")]
        against: Kind,
        /// Decides when the broker is killed; taken from the clock if not given
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Kill members of groups and the broker with -9, and look for records skipped and commits forgotten
    Groups {
        /// How often to kill
        #[arg(long, default_value_t = 10)]
        rounds: u32,
        /// mulgil or kafka
        #[arg(long, default_value = "mulgil")]
        against: Kind,
        /// Decides who is killed and when; taken from the clock if not given
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Start the broker on disks as a power cut leaves them, and look for what it lost
    Liar(liar::Options),
    /// Put mistakes into a copy of the broker, and fail if the suite that has to find one does not
    Planted {
        /// One of interop/planted; all of them without a name
        name: Option<String>,
    },
    /// Send a text of 100 MB in by kcat and compare what the Java client reads
    FileTest {
        /// Kill the broker with -9 in the middle
        #[arg(long)]
        kill: bool,
        /// mulgil or kafka
        #[arg(long, default_value = "mulgil")]
        against: Kind,
        /// How long the text is
        #[arg(long, default_value_t = 100)]
        megabytes: u64,
    },
    /// Let a fuzzing engine look for input that breaks a parser
    Fuzz {
        /// One of the targets of fuzz/; all of them without a name
        target: Option<String>,
        /// How long to run each
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Measure Mulgil beside another broker, each row's sides in turns
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Start a broker on a free port, print its address, and run it until a line or the end comes on stdin
    Broker {
        /// mulgil or kafka
        #[arg(default_value = "kafka")]
        kind: Kind,
    },
}

fn main() -> ExitCode {
    match carry_out(Arguments::parse().command) {
        Ok(tally) => tally.close(),
        Err(error) => {
            eprintln!("error: {error:#}");
            println!("0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> anyhow::Result<Tally> {
    match command {
        Command::Test { all: false, .. } => Ok(test::quick()),
        Command::Test { all: true, part } => parts::run(part.as_deref()),
        Command::Check => Ok(check::all()),
        Command::Layers => Ok(check::layers()),
        Command::Tidy => Ok(check::tidy()),
        Command::Interop {
            client,
            against,
            check,
        } => interop::run(client.as_deref(), &against, &check),
        Command::Tools => Ok(tools::install_all()),
        Command::Crash {
            rounds,
            against,
            seed,
        } => crash::run(rounds, &against, seed),
        Command::Groups {
            rounds,
            against,
            seed,
        } => groups::run(rounds, &against, seed),
        Command::Liar(options) => liar::run(&options),
        Command::Planted { name } => planted::run(name.as_deref()),
        Command::FileTest {
            kill,
            against,
            megabytes,
        } => file_test::run(kill, &against, megabytes),
        Command::Fuzz { target, seconds } => fuzz::run(target.as_deref(), seconds),
        Command::Bench(bench) => bench::run(&bench),
        Command::Broker { kind } => brokers::serve(&kind),
    }
}
