//! `mulgil bench …`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use mulgil_admin::settings;

use super::OutputArgs;
use super::message::{Compression, KafkaArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Over the Kafka protocol
    #[command(subcommand, arg_required_else_help = true)]
    Kafka(KafkaBench),
}

#[derive(Debug, Subcommand)]
pub(crate) enum KafkaBench {
    /// Publish, and measure until each message is acknowledged
    Pub(BenchPubArgs),
    /// Read what is in the topic as fast as it comes
    Sub(BenchSubArgs),
    /// Publish at a fixed rate, and measure until each message is read
    E2e(BenchE2eArgs),
}

/// The topic and where it is.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchTopicArgs {
    /// The topic; one that does not exist is created, and deleted at the end
    #[arg(default_value = "mulgil-bench")]
    pub(crate) topic: String,
    /// Partitions of a topic that is created
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub(crate) partitions: u32,
    /// Do not delete the topic at the end
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
}

/// What is published.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Messages")]
pub(crate) struct BenchLoadArgs {
    /// Bytes of each value
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = size)]
    pub(crate) size: u64,
    /// How batches are compressed; values are random letters
    #[arg(short = 'z', long, value_enum, default_value_t)]
    pub(crate) compression: Compression,
}

#[derive(Debug, Args)]
pub(crate) struct BenchPubArgs {
    #[command(flatten)]
    pub(crate) at: BenchTopicArgs,
    #[command(flatten)]
    pub(crate) load: BenchLoadArgs,
    /// Connections, each with a thread of its own and one request under way
    #[arg(short, long, value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) connections: u32,
    /// Bytes of values in a batch
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = size)]
    pub(crate) batch: u64,
    /// Messages a second in all [default: as many as go]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// How long
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// End after so many messages, if that is earlier
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Write the latencies to a file, as an interval log of HdrHistogram
    #[arg(long, value_name = "PATH")]
    pub(crate) hdr: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BenchSubArgs {
    /// The topic; it must exist
    #[arg(default_value = "mulgil-bench")]
    pub(crate) topic: String,
    /// End after so long, if messages last
    #[arg(short, long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    pub(crate) duration: Duration,
    /// End after so many messages, if that is earlier
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BenchE2eArgs {
    #[command(flatten)]
    pub(crate) at: BenchTopicArgs,
    #[command(flatten)]
    pub(crate) load: BenchLoadArgs,
    /// Messages a second
    #[arg(long, value_name = "N", default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// How long
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// Write the latencies to a file, as an interval log of HdrHistogram
    #[arg(long, value_name = "PATH")]
    pub(crate) hdr: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

fn size(text: &str) -> Result<u64, String> {
    let bytes = settings::size(text).ok_or("a size is a number, with KiB, MB or the like")?;
    if (1..=64 << 20).contains(&bytes) {
        Ok(bytes)
    } else {
        Err("from 1 byte to 64 MiB".to_owned())
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let plain = text.bytes().all(|digit| digit.is_ascii_digit());
    let ms = settings::duration(text).filter(|ms| *ms > 0 && !plain);
    ms.map(Duration::from_millis)
        .ok_or_else(|| "a time is a number with ms, s, m, h or d".to_owned())
}
