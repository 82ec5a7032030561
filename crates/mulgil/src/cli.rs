//! The command line: what can be said, and nothing of what it does.
//!
//! `mulgil NOUN VERB`. Settings come from flags, then from `MULGIL_…` in the environment, then from
//! defaults. Abbreviated subcommands are not taken: a script must not change its meaning when a
//! command is added.

#![expect(
    clippy::doc_markdown,
    reason = "these comments become the text of --help"
)]

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::api::Api;
use crate::failure::Outcome;
use crate::out::{Out, Style};

mod bench;
mod dlq;
mod group;
mod message;
mod queue;
mod reading;
mod server;
mod topic;

pub(crate) use bench::{
    BenchCommand, BenchE2eArgs, BenchPubArgs, BenchSubArgs, BenchTopicArgs, KafkaBench,
};
pub(crate) use dlq::{CancelArgs, DlqCommand, RedriveArgs};
pub(crate) use group::{GroupArgs, GroupCommand, GroupDeleteArgs, ResetArgs};
pub(crate) use message::{From, PubArgs, SubArgs};
pub(crate) use queue::{
    NamedArgs, PeekArgs, PurgeArgs, QueueCommand, QueueCreateArgs, QueuePubArgs, ReceiveArgs,
    SeekArgs, SettleArgs, SubscribeArgs, SubscriptionAlterArgs, SubscriptionCommand,
    SubscriptionDeleteArgs,
};
pub(crate) use reading::milliseconds;
#[cfg(test)]
pub(crate) use server::{AccessKey, MaybeAddress, SqsArgs};
pub(crate) use server::{
    Advertise, DevArgs, ListenArgs, LogArgs, LogFormat, ServerArgs, SqsLimits,
};
pub(crate) use topic::{
    AddPartitionsArgs, AlterArgs, CreateArgs, DeleteArgs, DescribeArgs, TrimArgs,
};

/// The version, and what it was built from: a commit, if need be `-dirty`, or how else it came about.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("MULGIL_BUILD"), ")");

/// One message broker that Kafka, RabbitMQ, JMS and Amazon SQS clients share
#[derive(Debug, Parser)]
#[command(name = "mulgil", version = VERSION, max_term_width = 100)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server for development: nothing to configure, only this machine can reach it
    Dev(DevArgs),
    /// Run a server
    Server(ServerArgs),
    /// Topics: list, create, describe, alter, add partitions, trim, delete
    #[command(subcommand, arg_required_else_help = true)]
    Topic(TopicCommand),
    /// Consumer groups: list, describe, lag, reset, delete
    #[command(subcommand, arg_required_else_help = true)]
    Group(GroupCommand),
    /// Queues: list, create, describe, alter, delete, publish, receive, settle, peek
    #[command(subcommand, arg_required_else_help = true)]
    Queue(QueueCommand),
    /// Subscriptions, which read topics as queues: list, create, describe, alter, delete, receive, settle, peek
    #[command(subcommand, arg_required_else_help = true)]
    Subscription(SubscriptionCommand),
    /// Dead letters: where messages go that are given up, and why they are
    #[command(subcommand, arg_required_else_help = true)]
    Dlq(DlqCommand),
    /// Messages: publish, subscribe
    #[command(subcommand, arg_required_else_help = true)]
    Message(MessageCommand),
    /// Measure a server: publish, read, or both
    #[command(subcommand, arg_required_else_help = true)]
    Bench(BenchCommand),
    /// Show what a server is and how it is, on one screen
    Status(RemoteArgs),
    /// Say what a damaged data directory would lose by a repair, and repair it
    Repair(RepairArgs),
    /// Explain an error code, or list all of them
    Explain(ExplainArgs),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// List topics
    Ls(RemoteArgs),
    /// Create topics
    Create(CreateArgs),
    /// Show a topic with its settings and partitions
    Describe(DescribeArgs),
    /// Change a topic's settings, or give it more partitions
    Alter(AlterArgs),
    /// Give a topic more partitions
    AddPartitions(AddPartitionsArgs),
    /// Give up messages of a topic
    Trim(TrimArgs),
    /// Delete topics with all their messages
    Delete(DeleteArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum MessageCommand {
    /// Publish messages to a topic
    Pub(PubArgs),
    /// Read messages of a topic, and wait for more
    Sub(SubArgs),
}

/// How output looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For people, with all columns
    Wide,
    /// What the API answers, indented
    Json,
    /// One JSON object a line
    Jsonl,
    /// The same as YAML
    Yaml,
    /// The table, with raw numbers
    Csv,
    /// Only names, one a line
    Name,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// How output looks
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// Only these columns of a table or CSV
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// Rows by this column; -COLUMN for falling order
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
    /// No headers above a table or CSV
    #[arg(long)]
    pub(crate) no_headers: bool,
}

impl OutputArgs {
    pub(crate) fn style(&self) -> Style {
        Style {
            format: self.output.unwrap_or_default(),
            columns: self.columns.clone(),
            sort: self.sort.clone(),
            no_headers: self.no_headers,
        }
    }
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArgs {
    /// The server's HTTP listener
    #[arg(
        long,
        env = "MULGIL_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:15672",
        hide_env_values = true
    )]
    pub(crate) server: String,
}

/// What every command has that asks a server and shows the answer.
#[derive(Clone, Debug, Args)]
pub(crate) struct RemoteArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl RemoteArgs {
    /// The server's API.
    pub(crate) fn api(&self) -> Outcome<Api> {
        Api::new(&self.connect.server)
    }

    /// Where the answer is shown.
    pub(crate) fn out<'a>(&self, stdout: &'a mut dyn Write) -> Out<'a> {
        Out::new(stdout, self.output.style())
    }
}

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// The data directory; no server may run on it
    #[arg(
        long,
        env = "MULGIL_DATA_DIR",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub(crate) data_dir: PathBuf,
    /// Repair without asking; otherwise nothing is changed before the directory is typed
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The code, for instance MG-1001
    pub(crate) code: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// Fish
    Fish,
}
