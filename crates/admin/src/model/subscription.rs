//! Subscriptions and queues in requests and answers: what they are, what is received, how it is settled.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Place, Record, SettingsChange};
use crate::catalogue::Code;
use crate::problem::{Problem, Refusal};
use crate::time::Timestamp;

/// How long a record that failed waits before it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Retry {
    /// Not at all. The braces let unknown fields be refused here too.
    AtOnce {},
    /// Always as long.
    Fixed {
        /// How long.
        ms: u64,
    },
    /// So much longer each time.
    Linear {
        /// After the first failure, and more with each.
        ms: u64,
        /// Never longer.
        ms_max: u64,
    },
    /// Twice as long each time.
    Exponential {
        /// After the first failure.
        ms: u64,
        /// Never longer.
        ms_max: u64,
        /// Up to so many percent are taken off, so that what failed together does not come back together.
        #[serde(default)]
        jitter_percent: u8,
    },
}

impl Default for Retry {
    fn default() -> Self {
        Self::AtOnce {}
    }
}

/// What happens when more records come than may wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The oldest that nobody holds are dropped.
    #[default]
    DropOldest,
    /// They go to the dead-letter topic, if there is one.
    DeadLetterOldest,
    /// What comes is refused, whoever else reads the topic.
    Refuse,
}

/// In which order records are handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As they lie in their partition.
    #[default]
    Fifo,
    /// So, and while a record is held, or waits to be tried again, no other of its key.
    Key,
    /// The highest priority first, of one the oldest.
    Priority,
}

/// What holds for a subscription. `None` means without limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionSettings {
    /// How long a record is locked for whoever takes it, unless they say, milliseconds.
    pub lock_ms: u32,
    /// A record that failed so often is given up.
    pub failed_max: Option<u16>,
    /// A record that was acquired so often, and comes back, is given up.
    pub acquired_max: Option<u16>,
    /// How long a record that failed waits.
    pub retry: Retry,
    /// A record that fails when it is so old is given up, milliseconds.
    pub age_ms_max: Option<u64>,
    /// Records that are so old are given up, tried or not, milliseconds.
    pub ttl_ms: Option<u64>,
    /// So many records may wait in each partition, those that are held left out.
    pub length_max: Option<u64>,
    /// So many bytes of keys, values and headers may wait in each partition, those that are held left out.
    pub bytes_max: Option<u64>,
    /// Of records with one id that come within so long the first is handed out alone, milliseconds.
    pub deduplicate_ms: Option<u64>,
    /// What happens when more come.
    pub overflow: Overflow,
    /// In which order records are handed out.
    pub order: Order,
    /// Whether one consumer alone gets records, and the others wait until it has gone.
    pub single_active: bool,
    /// Whether nothing is handed out.
    pub paused: bool,
    /// The topic that records go to that are given up; without one they are dropped, and counted.
    pub dead_letter: Option<String>,
}

impl Default for SubscriptionSettings {
    fn default() -> Self {
        Self {
            lock_ms: 30_000,
            failed_max: None,
            acquired_max: None,
            retry: Retry::default(),
            age_ms_max: None,
            ttl_ms: None,
            length_max: None,
            bytes_max: None,
            deduplicate_ms: None,
            overflow: Overflow::default(),
            order: Order::default(),
            single_active: false,
            paused: false,
            dead_letter: None,
        }
    }
}

/// Settings to change. What is absent stays; null takes a limit away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubscriptionChange(Map<String, Value>);

impl SubscriptionChange {
    /// Sets one.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What holds when these are changed.
    ///
    /// # Errors
    ///
    /// [`Code::SubscriptionSetting`] if there is no such setting, or it takes something else.
    pub fn over(&self, before: &SubscriptionSettings) -> Result<SubscriptionSettings, Refusal> {
        let refused = |why: String| Refusal::new(Code::SubscriptionSetting, why);
        let Ok(Value::Object(mut all)) = serde_json::to_value(before) else {
            return Err(refused("settings are no object".to_owned()));
        };
        for (name, value) in &self.0 {
            all.insert(name.clone(), value.clone());
            // One at a time, so that the refusal names it.
            let so_far = serde_json::from_value::<SubscriptionSettings>(all.clone().into());
            so_far.map_err(|why| refused(format!("{name}: {why}")))?;
        }
        serde_json::from_value(all.into()).map_err(|why| refused(why.to_string()))
    }
}

/// How many records stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionCounts {
    /// Anybody may have them.
    pub available: u64,
    /// Somebody holds them.
    pub acquired: u64,
    /// They wait for their time.
    pub scheduled: u64,
    /// They are given up, and wait for the dead-letter topic.
    pub archiving: u64,
}

/// A subscription or a queue in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionSummary {
    /// Its name.
    pub name: String,
    /// Its id, which no other ever gets.
    pub id: u64,
    /// What it reads.
    pub topic: String,
    /// Whether it is a queue: it has a topic of its own, which gives up what is settled.
    pub queue: bool,
    /// When it was created.
    pub created: Timestamp,
    /// Which records it wants; all of them without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// How many records stand where.
    #[serde(flatten)]
    pub counts: SubscriptionCounts,
    /// For how long the oldest record that is not settled has been there, at least; none if all are.
    pub oldest_age_seconds: Option<u64>,
    /// Consumers that are attached or wait.
    pub consumers: u64,
    /// What became of records.
    #[serde(flatten)]
    pub totals: SubscriptionTotals,
    /// What holds for it.
    pub settings: SubscriptionSettings,
}

/// A page of subscriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionPage {
    /// By name.
    pub subscriptions: Vec<SubscriptionSummary>,
    /// Pass it as `after` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A subscription with its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionDetail {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: SubscriptionSummary,
    /// How it stands in each partition, by the topic's index.
    pub partition_details: Vec<SubscriptionPartition>,
}

/// What became of records since a subscription began. Kept over restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionTotals {
    /// Accepted.
    pub accepted: u64,
    /// Given up and brought to the dead-letter topic, by reason.
    pub dead_lettered: Vec<GivenUp>,
    /// Given up and dropped, by reason.
    pub dropped: Vec<GivenUp>,
    /// Overtaken by the topic's retention before they were settled.
    pub lost: u64,
    /// Purged, or passed over by seeking.
    pub purged: u64,
}

/// How many records were given up for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// Why: `rejected`, `delivery_limit`, `expired`, `overflow`, `too_old`, `cancelled`.
    pub reason: String,
    /// How many.
    pub records: u64,
}

/// How a subscription stands in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionPartition {
    /// Its index.
    pub partition: u32,
    /// All below is settled.
    pub start: i64,
    /// The first offset that is not there yet.
    pub end: i64,
    /// How many records stand where.
    #[serde(flatten)]
    pub counts: SubscriptionCounts,
    /// How many were accepted.
    pub accepted: u64,
    /// Bytes of memory that it takes, about.
    pub memory_bytes: u64,
}

/// A subscription to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSubscription {
    /// Its name.
    pub name: String,
    /// What it reads.
    pub topic: String,
    /// From where on; if it is not said, from the first record that there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Place>,
    /// Which records it wants, for ever: a condition as in `docs/filters.md`; all of them without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Settings that differ from the defaults.
    #[serde(default)]
    pub settings: SubscriptionChange,
}

/// A queue to create: a topic of one partition that gives up what is settled, and its subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateQueue {
    /// The name of both.
    pub name: String,
    /// Settings of the subscription that differ from the defaults.
    #[serde(default)]
    pub settings: SubscriptionChange,
    /// Settings of the topic that differ from the defaults.
    #[serde(default)]
    pub topic_settings: SettingsChange,
}

/// A change of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlterSubscription {
    /// Settings to change; the others stay.
    pub settings: SubscriptionChange,
}

/// What is to go of what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Purge {
    /// Whether what is locked goes, too; its receipts are worth nothing then.
    pub held: bool,
}

/// The answer to a purge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// How many records went.
    pub purged: u64,
}

/// Where a subscription shall go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeekSubscription {
    /// Where; a number of records on or back counts from where it stands.
    pub to: Place,
    /// Only in this partition, by the topic's index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// The answer to a seek.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sought {
    /// By partition.
    pub partitions: Vec<SoughtPartition>,
}

/// Where a subscription goes on in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoughtPartition {
    /// Its index.
    pub partition: u32,
    /// All below was settled.
    pub from: i64,
    /// All below is settled, and nothing from there on.
    pub to: i64,
    /// The first offset that is not there yet.
    pub end: i64,
}

/// Records to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Receive {
    /// At most so many.
    pub records_max: u32,
    /// How long they are locked, milliseconds; without, as the subscription's settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_ms: Option<u32>,
    /// If there is none, wait so long for the first.
    pub wait_ms: u32,
}

impl Default for Receive {
    fn default() -> Self {
        Self {
            records_max: 1,
            lock_ms: None,
            wait_ms: 0,
        }
    }
}

/// The answer to a receive; no records if nothing came in time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// By partition and offset as they were handed out.
    pub records: Vec<ReceivedRecord>,
}

/// A record that was handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedRecord {
    /// What it is settled by.
    pub receipt: String,
    /// How often it was acquired, this time included.
    pub acquired: u16,
    /// How often that failed.
    pub failed: u16,
    /// When its lock ends, if it does.
    pub locked_until: Option<Timestamp>,
    /// What it is.
    #[serde(flatten)]
    pub record: Record,
}

/// What came of records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettleRecords {
    /// One by one.
    pub settlements: Vec<Settlement>,
}

/// What came of one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    /// Which, by what it was handed out with.
    pub receipt: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a record: `"accept"`, or an object with one of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It is done.
    Accept,
    /// It is to be tried again.
    Release {
        /// Whether this was a failed try.
        #[serde(default)]
        failed: bool,
        /// Not before this time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
        /// Not before so many milliseconds have passed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delay_ms: Option<u64>,
    },
    /// It is given up.
    Reject {
        /// Why, in the consumer's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        words: Option<String>,
    },
    /// It takes longer.
    Renew {
        /// From here on, milliseconds.
        lock_ms: u32,
    },
}

/// The answer to a settlement: 200 if all were taken, 207 if only some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// How many were taken.
    pub settled: u64,
    /// How many were refused.
    pub refused: u64,
    /// What became of each, in order.
    pub results: Vec<SettleResult>,
}

/// What became of one settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettleResult {
    /// Of which record.
    pub receipt: String,
    /// Why it was refused, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// Records that are not settled, as they stand. Looking at them changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowsedPage {
    /// The partition.
    pub partition: u32,
    /// Records by offset.
    pub records: Vec<BrowsedRecord>,
    /// Pass it as `from` to go on; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// A record that is not settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowsedRecord {
    /// Where it stands: `available`, `acquired`, `scheduled` or `archiving`.
    pub state: String,
    /// How often it was acquired.
    pub acquired: u16,
    /// How often that failed.
    pub failed: u16,
    /// What it is.
    #[serde(flatten)]
    pub record: Record,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(json: Value) -> SubscriptionChange {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_is_absent_stays_and_null_takes_a_limit_away() {
        let before = SubscriptionSettings {
            failed_max: Some(3),
            ttl_ms: Some(1_000),
            ..SubscriptionSettings::default()
        };
        let retry = json!({"kind": "exponential", "ms": 100, "ms_max": 5000});
        let after = change(json!({"failed_max": null, "lock_ms": 5, "retry": retry}));
        let wanted = SubscriptionSettings {
            lock_ms: 5,
            failed_max: None,
            retry: Retry::Exponential {
                ms: 100,
                ms_max: 5_000,
                jitter_percent: 0,
            },
            ..before.clone()
        };
        assert_eq!(after.over(&before), Ok(wanted));
        assert_eq!(change(json!({})).over(&before), Ok(before));
    }

    #[test]
    fn what_cannot_be_set_is_named() {
        for (bad, named) in [
            (json!({"lock_msec": 1}), "lock_msec: unknown field"),
            (json!({"lock_ms": null}), "lock_ms: invalid type: null"),
            (json!({"lock_ms": -1}), "lock_ms: invalid value"),
            (json!({"failed_max": 70_000}), "failed_max: invalid value"),
            (json!({"retry": {"kind": "soon"}}), "retry: unknown variant"),
            (json!({"retry": {"kind": "fixed"}}), "retry: missing field"),
            (
                json!({"retry": {"kind": "fixed", "ms": 1, "max": 2}}),
                "retry: unknown field",
            ),
            (
                json!({"retry": {"kind": "at_once", "ms": 1}}),
                "retry: unknown field",
            ),
            (json!({"overflow": "explode"}), "overflow: unknown variant"),
        ] {
            let refusal = change(bad).over(&SubscriptionSettings::default());
            let refusal = refusal.unwrap_err();
            assert_eq!(refusal.code, Code::SubscriptionSetting);
            assert!(refusal.detail.starts_with(named), "{}", refusal.detail);
        }
    }

    #[test]
    fn outcomes_are_read_strictly() {
        let read = |json: Value| serde_json::from_value::<Outcome>(json);
        assert_eq!(read(json!("accept")).unwrap(), Outcome::Accept);
        let release = Outcome::Release {
            failed: true,
            at: None,
            delay_ms: Some(5),
        };
        let json = json!({"release": {"failed": true, "delay_ms": 5}});
        assert_eq!(read(json.clone()).unwrap(), release);
        assert_eq!(serde_json::to_value(&release).unwrap(), json);
        for bad in [
            json!("release"),
            json!("done"),
            json!({"release": {"soon": true}}),
            json!({"renew": {}}),
            json!({"reject": {"words": 5}}),
            json!({"accept": {}, "reject": {}}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
