//! `mulgil dlq …`.

use clap::{Args, Subcommand};

use super::RemoteArgs;
use super::queue::{NamedArgs, PeekArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List dead-letter topics, and who sends there
    Ls(RemoteArgs),
    /// Show why messages were given up and how many: of dead letters that wait, or of a queue that gave them up
    Reasons(NamedArgs),
    /// Look at dead letters and why they are there, and change nothing
    Peek(PeekArgs),
    /// Send dead letters back to where they were given up, or elsewhere
    Redrive(RedriveArgs),
    /// List redrives
    Tasks(RemoteArgs),
    /// End a redrive; what it has moved stays moved
    Cancel(CancelArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RedriveArgs {
    /// The queue or subscription in which the dead letters wait
    pub(crate) name: String,
    /// The topic or queue that they go to [default: each to where it was given up]
    #[arg(long, value_name = "TOPIC")]
    pub(crate) to: Option<String>,
    /// Only messages that this condition selects
    #[arg(long, value_name = "CONDITION")]
    pub(crate) filter: Option<String>,
    /// No more than so many a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// No more than so many, the oldest first
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not wait for it
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// Its number, as `mulgil dlq tasks` tells it
    pub(crate) id: u64,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}
