//! The bodies of requests and answers: one type for each, shared by server and command line.
//!
//! Numbers are raw (bytes, seconds; other units stand in the name), times are RFC 3339 in UTC.
//! Requests refuse fields that are not known, answers may grow fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::model::group::*;
pub use crate::model::payload::Payload;
pub use crate::model::redrive::*;
pub use crate::model::subscription::*;
pub use crate::settings::{Durability, SettingsChange, TimestampType, TopicSettings};
use crate::time::Timestamp;

mod group;
mod payload;
mod redrive;
mod subscription;

/// Listeners by protocol (`kafka`, `http`).
pub type Listeners = BTreeMap<String, Listener>;

/// A listener's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Where it listens, with the real port.
    pub address: String,
    /// What clients are told to connect to.
    pub advertised: String,
}

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSummary {
    /// Its name.
    pub name: String,
    /// Its id, a UUID.
    pub id: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// Records that can be read: ends minus starts, summed up.
    pub records: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// When it was created.
    pub created: Timestamp,
    /// What holds for it.
    pub settings: TopicSettings,
}

/// A topic with its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicDetail {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: TopicSummary,
    /// Each partition, by index.
    pub partition_details: Vec<PartitionDetail>,
}

/// A partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionDetail {
    /// Its index.
    pub partition: u32,
    /// First offset there is.
    pub start: i64,
    /// First offset that is not yet there.
    pub end: i64,
    /// Bytes that its records take.
    pub bytes: u64,
    /// The leadership that writes it.
    pub leader_epoch: i32,
}

/// A page of topics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPage {
    /// Topics by name.
    pub topics: Vec<TopicSummary>,
    /// Pass it as `after` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; without, as many as the server's setting says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// Settings that differ from the defaults.
    #[serde(default)]
    pub settings: SettingsChange,
    /// Only say what would be created.
    #[serde(default)]
    pub validate_only: bool,
}

/// A change of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlterTopic {
    /// The new number of partitions, not less than the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// Settings to change; the others stay.
    #[serde(default)]
    pub settings: SettingsChange,
}

/// A header of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Its name. May stand more than once in a record.
    pub name: String,
    /// Its value.
    pub value: Option<Payload>,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, if it has one.
    pub timestamp: Option<Timestamp>,
    /// Its key.
    pub key: Option<Payload>,
    /// Its headers.
    pub headers: Vec<Header>,
    /// Its value; null is a tombstone.
    pub value: Option<Payload>,
}

/// A record to publish: one line of the body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRecord {
    /// The partition; without, the key chooses, or the broker if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Its key.
    #[serde(default)]
    pub key: Option<Payload>,
    /// Its headers.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// Its value; null is a tombstone.
    pub value: Option<Payload>,
    /// Its timestamp; without, now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: i64,
}

/// What became of one published record: a position, or a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PublishResult {
    /// It is stored there, as durably as its topic asks.
    Published(Position),
    /// It was refused.
    Refused {
        /// Why.
        error: crate::problem::Problem,
    },
}

/// The answer to a publish: 200 if all were taken, 207 if only some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// How many were taken.
    pub published: u64,
    /// How many were refused.
    pub refused: u64,
    /// What became of each, in order.
    pub results: Vec<PublishResult>,
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadPage {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// First offset there is.
    pub start: i64,
    /// First offset that is not yet there.
    pub end: i64,
    /// Pass it as `from` to read on.
    pub next: i64,
    /// Records by offset.
    pub records: Vec<Record>,
}

/// What the server is and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// When it was started.
    pub started: Timestamp,
    /// How long it has been running.
    pub uptime_seconds: u64,
    /// Whether it is stopping.
    pub draining: bool,
    /// Where its data lies.
    pub data_dir: String,
    /// What it listens on.
    pub listeners: Listeners,
    /// What it holds.
    #[serde(flatten)]
    pub broker: Broker,
    /// The metrics of `/metrics` by their names, one number each: labels are summed up, and of a
    /// histogram it is the count.
    #[serde(default)]
    pub metrics: BTreeMap<String, u64>,
}

/// What the broker holds, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broker {
    /// Topics.
    pub topics: u64,
    /// Partitions of all topics.
    pub partitions: u64,
    /// Records that can be read.
    pub records: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Open connections of clients.
    pub connections: u64,
    /// Space on the disk, if it is known.
    pub disk: Option<Disk>,
    /// What is wrong at the moment.
    pub alarms: Vec<Alarm>,
}

/// Space on the disk of the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// All of it.
    pub total_bytes: u64,
    /// What is free.
    pub free_bytes: u64,
}

/// Something is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Which alarm (`disk_full`).
    pub name: String,
    /// Since when.
    pub since: Timestamp,
    /// What is wrong, with figures.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

/// One check of the broker's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which check (`storage`).
    pub name: String,
    /// Whether it passed.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer of `/livez`, `/readyz` and `/startupz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether all checks passed.
    pub ok: bool,
    /// How far recovery is; only `/startupz`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_percent: Option<u8>,
    /// What recovery does; only `/startupz`, while the broker starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// The failed checks, or all of them with `?verbose=1`.
    pub checks: Vec<Check>,
}

/// What recovery does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// `opening`, `checkpoint`, `footers`, `log` or `finishing`, in this order.
    pub phase: String,
    /// Bytes of checkpoint and log that have been read.
    pub bytes_read: u64,
    /// How many there are to read, as far as is known yet.
    pub bytes_total: u64,
}

impl Recovery {
    /// How much of it is done: never all, since something always comes after the last byte.
    pub fn percent(&self) -> u8 {
        let done = u128::from(self.bytes_read) * 100 / u128::from(self.bytes_total.max(1));
        u8::try_from(done.min(99)).unwrap_or(99)
    }
}
