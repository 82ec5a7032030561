//! Redriving: what was given up goes back to where it was given up, or elsewhere.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What is to be redriven of a queue or subscription of a dead-letter topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redrive {
    /// The topic that it goes to; if it is not said, each record goes to the topic that it was given up in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only records that this condition selects, as in `docs/filters.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// No more than so many records a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// No more than so many records, the oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_max: Option<u64>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// How a redrive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedriveState {
    /// It goes on.
    Running,
    /// All that was there when it began was looked at.
    Done,
    /// Somebody ended it.
    Cancelled,
    /// Something ended it; what was moved before is moved.
    Failed,
}

/// A redrive. It is known as long as the broker runs; what it has moved stays moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedriveTask {
    /// Its number.
    pub id: u64,
    /// Out of which queue or subscription.
    pub subscription: String,
    /// What was asked for.
    pub redrive: Redrive,
    /// How it stands.
    pub state: RedriveState,
    /// Records that waited when it began.
    pub total: u64,
    /// Records that went.
    pub moved: u64,
    /// Records that the filter did not select.
    pub unselected: u64,
    /// Records that stay: somebody holds them, or there is no topic to which they could go.
    pub skipped: u64,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// All redrives that are known, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedriveList {
    /// By number.
    pub redrives: Vec<RedriveTask>,
}

/// What a redrive would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedrivePlan {
    /// By topic and reason.
    pub records: Vec<PlannedRecords>,
    /// Records that the filter does not select.
    pub unselected: u64,
    /// Records that would stay.
    pub skipped: u64,
}

/// Records that would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRecords {
    /// Where to.
    pub to: String,
    /// Why they were given up last; empty if nobody said.
    pub reason: String,
    /// How many.
    pub records: u64,
}

/// The answer to a redrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Redriven {
    /// It has begun.
    Task(RedriveTask),
    /// It was only asked what it would do.
    Plan(RedrivePlan),
}
