//! The `mulgil` program: server and client in one.
//!
//! This file turns what happened into an exit code and does nothing else.

mod api;
mod backend;
mod broker;
mod cli;
mod clock;
mod commands;
mod failure;
mod format;
mod interrupt;
mod node;
mod out;
mod run;
mod wire;

use std::io;
use std::process::ExitCode;

use clap::Parser as _;

/// Gives memory back that it does not need any more; what the system's keeps of large answers to
/// fetches is told in `docs/decisions/0010-allocator.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli, &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out::complain(&failure);
            ExitCode::from(failure.exit())
        }
    }
}
