//! `mulgil topic …`.

use clap::Args;
use mulgil_admin::settings::{SettingsChange, takes};
use mulgil_meta::settings::{Standing, TOPIC};

use super::RemoteArgs;
use crate::failure::{Failure, Outcome};
use mulgil_admin::catalogue::Code;

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The topics
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// How many partitions each gets [default: the server's setting]
    #[arg(short, long, value_name = "N")]
    pub(crate) partitions: Option<u32>,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
    /// Only say what would be created
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// A topic that exists already is no error
    #[arg(long)]
    pub(crate) idempotent: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SettingArgs {
    /// A setting; may be given more than once
    #[arg(long, visible_alias = "config", value_name = "KEY=VALUE", long_help = setting_help())]
    set: Vec<String>,
}

fn setting_help() -> String {
    let mut help =
        "A setting; may be given more than once. Kafka's names are taken as well.\n".to_owned();
    for setting in TOPIC
        .iter()
        .filter(|row| row.standing == Standing::Honoured)
    {
        let (name, takes) = (setting.name, takes(setting));
        let own = setting.own.unwrap_or(name);
        help.push_str(&format!("\n  {own}: {takes} [{name}]"));
    }
    help.push_str("\n\n\"default\" takes back what was set. docs/settings.md has all of them.");
    help
}

impl SettingArgs {
    pub(crate) fn change(&self) -> Outcome<SettingsChange> {
        let mut change = SettingsChange::default();
        for setting in &self.set {
            let (name, value) = setting.split_once('=').ok_or_else(|| {
                Failure::new(
                    Code::Usage,
                    format!("--set takes KEY=VALUE, not \"{setting}\""),
                )
            })?;
            change.set(name, value)?;
        }
        Ok(change)
    }
}

#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The topic
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AlterArgs {
    /// The topic
    pub(crate) name: String,
    /// The new number of partitions; it can only grow
    #[arg(short, long, value_name = "N")]
    pub(crate) partitions: Option<u32>,
    #[command(flatten)]
    pub(crate) settings: SettingArgs,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AddPartitionsArgs {
    /// The topic
    pub(crate) name: String,
    /// How many to add
    pub(crate) count: u32,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TrimArgs {
    /// The topic
    pub(crate) name: String,
    /// Only of this partition [default: all]
    #[arg(short, long, value_name = "N")]
    pub(crate) partition: Option<u32>,
    /// The first offset that stays [default: nothing that is there now stays]
    #[arg(long, value_name = "OFFSET")]
    pub(crate) to: Option<i64>,
    /// Do not ask for the name to be typed
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The topics
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Do not ask for the name to be typed
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// A topic that does not exist is no error
    #[arg(long)]
    pub(crate) idempotent: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}
