//! `mulgil message …`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use mulgil_admin::time::Timestamp;
use mulgil_record::compression::Codec;

use super::{ConnectArgs, OutputArgs};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct KafkaArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// The Kafka listener [default: the one that the server names]
    #[arg(
        long,
        env = "MULGIL_BOOTSTRAP",
        value_name = "HOST:PORT",
        hide_env_values = true
    )]
    pub(crate) bootstrap: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PubArgs {
    /// The topic
    pub(crate) topic: String,
    /// The value of one message; - reads one message a line from standard input
    ///
    /// Without a value and without --file, standard input is read if it is not a terminal.
    #[arg(conflicts_with = "file", allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
    /// Publish the lines of a file, one message each
    #[arg(short, long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// The key of every message
    #[arg(short, long, conflicts_with = "key_delimiter")]
    pub(crate) key: Option<String>,
    /// What separates key and value in each line; \t is a tab
    #[arg(long, value_name = "TEXT")]
    pub(crate) key_delimiter: Option<String>,
    /// A header of every message; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE")]
    pub(crate) headers: Vec<String>,
    /// The partition [default: the key chooses, or all take turns]
    #[arg(short, long, value_name = "N")]
    pub(crate) partition: Option<u32>,
    /// How batches are compressed
    #[arg(short = 'z', long, value_enum, default_value_t)]
    pub(crate) compression: Compression,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    pub(crate) const fn codec(self) -> Codec {
        match self {
            Self::None => Codec::None,
            Self::Gzip => Codec::Gzip,
            Self::Snappy => Codec::Snappy,
            Self::Lz4 => Codec::Lz4,
            Self::Zstd => Codec::Zstd,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    /// The topic
    pub(crate) topic: String,
    /// End after so many messages
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Where to begin: earliest, latest, an offset, or a time (2026-11-22T10:00:00Z)
    #[arg(long, default_value = "earliest", value_name = "WHERE")]
    pub(crate) from: From,
    /// Only these partitions [default: all]
    #[arg(short, long, value_name = "N", value_delimiter = ',')]
    pub(crate) partition: Vec<u32>,
    /// Wait for more messages; this is the default
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// End with the last message that is there at the start
    #[arg(long, conflicts_with = "follow")]
    pub(crate) to_end: bool,
    /// How each message is written [default: %v\n]
    ///
    ///   %t topic     %k key         %h headers as a=b,c=d
    ///   %p partition %v, %s value   %d timestamp, RFC 3339; %d{ms} in milliseconds
    ///   %o offset    %S bytes of the value, -1 for none
    ///   %% percent sign; \n \t \r \0 \\ \xHH
    #[arg(
        long,
        value_name = "FORMAT",
        verbatim_doc_comment,
        conflicts_with = "output"
    )]
    pub(crate) format: Option<String>,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Earliest,
    Latest,
    Offset(i64),
    Time(Timestamp),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => None
                .or_else(|| {
                    text.parse()
                        .ok()
                        .filter(|offset| *offset >= 0)
                        .map(Self::Offset)
                })
                .or_else(|| text.parse().ok().map(Self::Time))
                .ok_or_else(|| "earliest, latest, an offset or a time are possible".to_owned()),
        }
    }
}
