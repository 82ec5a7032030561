//! `mulgil dlq …`.

use clap::Subcommand;

use super::RemoteArgs;
use super::queue::NamedArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List dead-letter topics, and who sends there
    Ls(RemoteArgs),
    /// Show why messages of a queue or subscription were given up, and how many
    Reasons(NamedArgs),
}
