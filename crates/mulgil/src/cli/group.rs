//! `mulgil group …`.

use clap::{Args, Subcommand};
use mulgil_admin::model::Place;

use super::RemoteArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List consumer groups
    Ls(RemoteArgs),
    /// Show a group with its members and how far it is
    Describe(GroupArgs),
    /// Show how far a group is behind, by topic and partition
    Lag(GroupArgs),
    /// Let a group without members go on elsewhere
    Reset(ResetArgs),
    /// Delete groups without members, with their offsets
    Delete(GroupDeleteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct GroupArgs {
    /// The group
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// The group
    pub(crate) name: String,
    /// Where to go on: earliest, latest, an offset, a time (2026-11-22T10:00:00Z), +N or -N records
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    pub(crate) to: Place,
    /// Only of this topic; may be given more than once [default: all that the group has offsets of]
    #[arg(long, value_name = "NAME")]
    pub(crate) topic: Vec<String>,
    /// Only say what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask for the name to be typed
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GroupDeleteArgs {
    /// The groups
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Do not ask for the name to be typed
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}
