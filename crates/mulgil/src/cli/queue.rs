//! `mulgil queue …` and `mulgil subscription …`, which take the same but for creation.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use mulgil_admin::model::{Outcome, Place};
use mulgil_admin::time::Timestamp;
use mulgil_record::asked;

use super::RemoteArgs;
use super::reading::{ReadingArgs, milliseconds};
use super::topic::SettingArgs;
use crate::failure::Outcome as Done;

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List queues
    Ls(RemoteArgs),
    /// Create queues
    Create(QueueCreateArgs),
    /// Show a queue with its settings and what became of its messages
    Describe(NamedArgs),
    /// Change a queue's settings
    Alter(SubscriptionAlterArgs),
    /// Delete queues with all their messages
    Delete(SubscriptionDeleteArgs),
    /// Let all messages go that wait
    Purge(PurgeArgs),
    /// Hand nothing out until it is resumed; what comes is taken, and what is locked can be settled
    Pause(NamedArgs),
    /// Hand out again
    Resume(NamedArgs),
    /// Go on elsewhere: hand out once more what is still there, or pass over what waits
    Seek(SeekArgs),
    /// Publish messages to a queue
    Pub(QueuePubArgs),
    /// Take messages of a queue, locked until they are settled
    Receive(ReceiveArgs),
    /// Say what came of messages that were received
    Settle(SettleArgs),
    /// Look at messages that are not settled, and change nothing
    Peek(PeekArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SubscriptionCommand {
    /// List subscriptions, those of queues among them
    Ls(SubscriptionListArgs),
    /// Create a subscription of a topic
    Create(SubscribeArgs),
    /// Show a subscription with its settings and how far it is
    Describe(NamedArgs),
    /// Change a subscription's settings
    Alter(SubscriptionAlterArgs),
    /// Delete subscriptions; the messages of the topic stay
    Delete(SubscriptionDeleteArgs),
    /// Let all messages go that wait
    Purge(PurgeArgs),
    /// Hand nothing out until it is resumed; what comes is taken, and what is locked can be settled
    Pause(NamedArgs),
    /// Hand out again
    Resume(NamedArgs),
    /// Go on elsewhere: hand out once more what is still there, or pass over what waits
    Seek(SeekArgs),
    /// Take messages of a subscription, locked until they are settled
    Receive(ReceiveArgs),
    /// Say what came of messages that were received
    Settle(SettleArgs),
    /// Look at messages that are not settled, and change nothing
    Peek(PeekArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// Its name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SubscriptionListArgs {
    /// Only those that read this topic
    #[arg(long, value_name = "NAME")]
    pub(crate) topic: Option<String>,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct QueueCreateArgs {
    /// The queues
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) settings: ReadingArgs,
    #[command(flatten)]
    pub(crate) topic: SettingArgs,
    /// A queue that exists already is no error
    #[arg(long)]
    pub(crate) idempotent: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SubscribeArgs {
    /// The topic that it reads
    pub(crate) topic: String,
    /// Its name
    pub(crate) name: String,
    /// Where it begins: earliest, latest, an offset, or a time (2026-11-22T10:00:00Z) [default: earliest]
    #[arg(long, value_name = "WHERE")]
    pub(crate) from: Option<Place>,
    /// Which messages it wants, for ever: "color = 'blue' AND JSON_VALUE(body, '$.price') > 5"
    #[arg(long, value_name = "CONDITION")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) settings: ReadingArgs,
    /// A subscription that exists already and reads this topic is no error
    #[arg(long)]
    pub(crate) idempotent: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    /// Its name
    pub(crate) name: String,
    /// Also what is locked; its receipts are worth nothing then
    #[arg(long)]
    pub(crate) held: bool,
    /// Do not ask for the name to be typed
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SeekArgs {
    /// Its name
    pub(crate) name: String,
    /// Where to go on: earliest, latest, an offset, a time (2026-11-22T10:00:00Z), +N or -N messages
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    pub(crate) to: Place,
    /// Only in this partition
    #[arg(long, value_name = "N")]
    pub(crate) partition: Option<u32>,
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
pub(crate) struct SubscriptionAlterArgs {
    /// Its name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) settings: ReadingArgs,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SubscriptionDeleteArgs {
    /// What is to be deleted
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Do not ask for the name to be typed
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// What does not exist is no error
    #[arg(long)]
    pub(crate) idempotent: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct QueuePubArgs {
    /// The queue
    pub(crate) name: String,
    /// The value of one message; - reads one message a line from standard input
    ///
    /// Without a value and without --file, standard input is read if it is not a terminal.
    #[arg(conflicts_with = "file", allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
    /// Publish the lines of a file, one message each
    #[arg(short, long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// The key of every message
    #[arg(short, long)]
    pub(crate) key: Option<String>,
    /// A header of every message; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE")]
    pub(crate) headers: Vec<String>,
    /// Nobody gets them before so much time has passed
    #[arg(long, value_name = "DURATION")]
    delay: Option<String>,
    /// Give them up when so much time has passed
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// By what they are known if they are sent again: all of one command are the same then
    #[arg(long)]
    id: Option<String>,
    /// Where the queue goes by priority: larger goes first, 0 to 255
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

impl QueuePubArgs {
    /// All headers of every message, those that ask for something behind.
    pub(crate) fn all_headers(&self) -> Done<Vec<String>> {
        let mut all = self.headers.clone();
        let times = [
            ("--delay", asked::DELAY, &self.delay),
            ("--ttl", asked::TTL, &self.ttl),
        ];
        for (flag, header, time) in times {
            if let Some(time) = time {
                all.push(format!("{header}={}", milliseconds(flag, time)?));
            }
        }
        let id = self.id.as_ref();
        all.extend(id.map(|id| format!("{}={id}", asked::DEDUPLICATION_ID)));
        let priority = self.priority.map(|n| format!("{}={n}", asked::PRIORITY));
        all.extend(priority);
        Ok(all)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReceiveArgs {
    /// Of which queue or subscription
    pub(crate) name: String,
    /// Take up to so many messages
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) count: u32,
    /// If there is none, wait so long for the first
    #[arg(short, long, value_name = "DURATION", default_value = "0s")]
    pub(crate) wait: String,
    /// How long they are locked [default: as the queue or subscription says]
    #[arg(long, value_name = "DURATION")]
    pub(crate) lock: Option<String>,
    /// Accept them once they are written out; without, they are settled by their receipts
    #[arg(long)]
    pub(crate) accept: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SettleArgs {
    /// Of which queue or subscription
    pub(crate) name: String,
    /// The receipts, as they were received; - reads one a line from standard input
    #[arg(required = true, value_name = "RECEIPT")]
    pub(crate) receipts: Vec<String>,
    #[command(flatten)]
    pub(crate) outcome: OutcomeArgs,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// What came of messages.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag, of which clap takes one alone"
)]
#[derive(Debug, Args)]
#[command(next_help_heading = "What came of them")]
#[command(group(ArgGroup::new("outcome").required(true).args(["accept", "release", "reject", "renew"])))]
#[group(skip)]
pub(crate) struct OutcomeArgs {
    /// They are done
    #[arg(long)]
    accept: bool,
    /// They are to be tried again
    #[arg(long)]
    release: bool,
    /// They are given up
    #[arg(long)]
    reject: bool,
    /// They take longer: locked for so long from now on
    #[arg(long, value_name = "DURATION")]
    renew: Option<String>,
    /// With --release: it was a failed try, after which the retry policy says when
    #[arg(long, requires = "release", conflicts_with_all = ["accept", "reject", "renew"])]
    failed: bool,
    /// With --release: not before so much time has passed
    #[arg(long = "in", value_name = "DURATION", requires = "release",
          conflicts_with_all = ["accept", "reject", "renew"])]
    after: Option<String>,
    /// With --release: not before this time (2026-11-22T10:00:00Z)
    #[arg(long, value_name = "TIME", requires = "release",
          conflicts_with_all = ["accept", "reject", "renew", "after"])]
    at: Option<Timestamp>,
    /// With --reject: why
    #[arg(long, value_name = "TEXT", requires = "reject",
          conflicts_with_all = ["accept", "release", "renew"])]
    words: Option<String>,
}

impl OutcomeArgs {
    /// What was said, in the words of the API.
    pub(crate) fn outcome(&self) -> Done<Outcome> {
        if self.accept {
            return Ok(Outcome::Accept);
        }
        if self.reject {
            let words = self.words.clone();
            return Ok(Outcome::Reject { words });
        }
        if let Some(renew) = &self.renew {
            let ms = milliseconds("--renew", renew)?;
            let lock_ms = u32::try_from(ms).unwrap_or(u32::MAX);
            return Ok(Outcome::Renew { lock_ms });
        }
        let after = self.after.as_deref();
        Ok(Outcome::Release {
            failed: self.failed,
            at: self.at,
            delay_ms: after.map(|text| milliseconds("--in", text)).transpose()?,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct PeekArgs {
    /// Of which queue or subscription
    pub(crate) name: String,
    /// At most so many messages
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) count: u32,
    /// Of which partition of the topic
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) partition: u32,
    /// From this offset on
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    pub(crate) from: i64,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}
