//! The attributes of queues: what they may be, and where the broker keeps each.
//!
//! | attribute | kept as |
//! | --- | --- |
//! | `VisibilityTimeout` | the subscription's `lock_ms`; 0 is a millisecond |
//! | `MessageRetentionPeriod` | the topic's `retention.ms` |
//! | `RedrivePolicy` | the subscription's `dead_letter` and `acquired_max` |
//! | `FifoQueue` | the subscription's order, by key |
//! | the others | settings of the topic that begin with `sqs.` |

use mulgil_broker::meta::schema::{Topic, TopicName};
use mulgil_broker::meta::settings::{self, Edit, Operation};
use mulgil_broker::meta::subscription::{Order, Subscription, SubscriptionSettings};
use serde_json::Value;

use crate::fault::{Fault, Kind};
use crate::names::FIFO;

/// How long ids are known, ms (developer guide, "Exactly-once processing").
pub const DEDUPLICATE_MS: u64 = 5 * 60 * 1_000;
/// Largest record of a queue: the largest message, and what is written around it.
pub const RECORD_BYTES_MAX: u32 = (1 << 20) + (256 << 10);
/// Longest policy, bytes.
const POLICY_BYTES_MAX: usize = 8_192;
const RETENTION: &str = "retention.ms";
const MODIFIED: &str = "sqs.modified.ms";

/// What numbers an attribute takes.
struct Range {
    name: &'static str,
    least: u64,
    most: u64,
    /// The most where the limits are open.
    open: u64,
}

/// Attributes that are numbers.
const NUMBERS: [Range; 5] = [
    range("VisibilityTimeout", 0, 43_200, 86_400),
    range("DelaySeconds", 0, 900, 315_360_000),
    range("MaximumMessageSize", 1_024, 1_048_576, 1_048_576),
    range("MessageRetentionPeriod", 60, 1_209_600, 3_153_600_000),
    range("ReceiveMessageWaitTimeSeconds", 0, 20, 20),
];

const fn range(name: &'static str, least: u64, most: u64, open: u64) -> Range {
    Range {
        name,
        least,
        most,
        open,
    }
}

/// Attributes that are told and never set.
const TOLD: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

/// Attributes that only FIFO queues have.
const OF_FIFO: [&str; 4] = [
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoQueue",
    "FifoThroughputLimit",
];

/// Attributes of encryption, which is not offered.
const ENCRYPTION: [&str; 3] = [
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "SqsManagedSseEnabled",
];

/// Attributes that are documents.
const DOCUMENTS: [&str; 3] = ["Policy", "RedriveAllowPolicy", "RedrivePolicy"];

/// Whether there is such an attribute.
#[must_use]
pub fn is_known(name: &str) -> bool {
    name == "All"
        || NUMBERS.iter().any(|number| number.name == name)
        || [&TOLD[..], &OF_FIFO, &ENCRYPTION, &DOCUMENTS]
            .iter()
            .any(|names| names.contains(&name))
}

/// The setting of the topic that an attribute is kept as.
fn setting_of(attribute: &str) -> Option<&'static str> {
    Some(match attribute {
        "ContentBasedDeduplication" => "sqs.content.based.deduplication",
        "DeduplicationScope" => "sqs.deduplication.scope",
        "DelaySeconds" => "sqs.delay.seconds",
        "FifoThroughputLimit" => "sqs.throughput.limit",
        "MaximumMessageSize" => "sqs.maximum.message.size",
        "Policy" => "sqs.policy",
        "ReceiveMessageWaitTimeSeconds" => "sqs.receive.wait.seconds",
        "RedriveAllowPolicy" => "sqs.redrive.allow.policy",
        _ => return None,
    })
}

/// The value of a setting that this door reads.
#[must_use]
pub fn value_of<'a>(topic: &'a Topic, setting: &str) -> &'a str {
    let stated = topic.settings.stated.get(setting);
    match stated {
        Some(stated) => stated,
        None => settings::topic_setting(setting).map_or("", |row| row.default),
    }
}

/// The number of a setting that this door reads.
#[must_use]
pub fn number_of(topic: &Topic, setting: &str) -> u64 {
    // What is stated was checked against the table.
    value_of(topic, setting).parse().unwrap_or(0)
}

/// A redrive policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedrivePolicy {
    /// The ARN of the dead-letter queue.
    pub target: String,
    /// How often a message is received before it goes there.
    pub receive_count_max: u16,
}

/// What somebody wants of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Edits of the topic's settings.
    pub topic: Vec<Edit>,
    /// How long messages are locked.
    pub lock_ms: Option<u32>,
    /// Where messages go that were received too often; inner none for nowhere.
    pub redrive: Option<Option<RedrivePolicy>>,
    /// Whether the queue is to be a FIFO queue, if that was said.
    pub fifo: Option<bool>,
    /// What was asked, by name, in the form in which it is told.
    pub told: Vec<(String, String)>,
}

/// For which queue attributes are read.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    /// Whether it is a FIFO queue, by its name.
    pub fifo: bool,
    /// Whether it is created just now.
    pub creating: bool,
    /// Whether limits that only AWS needs are open.
    pub open: bool,
}

fn bad_name(message: impl Into<String>) -> Fault {
    Fault::new(Kind::InvalidAttributeName, message)
}

fn bad_value(name: &str) -> Fault {
    let message = format!("Invalid value for the parameter {name}.");
    Fault::new(Kind::InvalidAttributeValue, message)
}

fn bad_value_because(name: &str, reason: &str) -> Fault {
    let message = format!("Invalid value for the parameter {name}. Reason: {reason}");
    Fault::new(Kind::InvalidAttributeValue, message)
}

fn set(name: &'static str, value: impl Into<String>) -> Edit {
    let value: String = value.into();
    let operation = if value.is_empty() {
        Operation::Unset
    } else {
        Operation::Set(value.into())
    };
    Edit {
        name: name.into(),
        operation,
    }
}

impl Change {
    /// Reads what was asked.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidAttributeName`] and [`Kind::InvalidAttributeValue`].
    pub fn read(asked: &[(&str, &str)], purpose: Purpose) -> Result<Self, Fault> {
        let mut change = Self::default();
        for (name, value) in asked {
            change.one(name, value, purpose)?;
        }
        if purpose.creating && purpose.fifo != change.fifo.unwrap_or(false) {
            return Err(if purpose.fifo {
                let message = "The name of a queue can only end in .fifo if FifoQueue is true.";
                Fault::new(Kind::InvalidParameterValue, message)
            } else {
                let message = "The name of a FIFO queue can only include alphanumeric characters, \
                    hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.";
                Fault::new(Kind::InvalidParameterValue, message)
            });
        }
        Ok(change)
    }

    fn one(&mut self, name: &str, value: &str, purpose: Purpose) -> Result<(), Fault> {
        if let Some(number) = NUMBERS.iter().find(|number| number.name == name) {
            return self.number(number, value, purpose);
        }
        if TOLD.contains(&name) || !is_known(name) || name == "All" {
            return Err(bad_name(format!("Unknown Attribute {name}.")));
        }
        if ENCRYPTION.contains(&name) {
            return Self::encryption(name, value);
        }
        if OF_FIFO.contains(&name) {
            return self.of_fifo(name, value, purpose);
        }
        self.document(name, value)
    }

    fn number(&mut self, number: &Range, value: &str, purpose: Purpose) -> Result<(), Fault> {
        let most = if purpose.open {
            number.open
        } else {
            number.most
        };
        let parsed =
            { value.parse::<u64>().ok() }.filter(|value| (number.least..=most).contains(value));
        let seconds = parsed.ok_or_else(|| bad_value(number.name))?;
        match number.name {
            "VisibilityTimeout" => {
                // A lock has a length; what is free at once was held for a moment.
                let ms = u32::try_from(seconds * 1_000).unwrap_or(u32::MAX);
                self.lock_ms = Some(ms.max(1));
            }
            "MessageRetentionPeriod" => {
                self.topic
                    .push(set(RETENTION, (seconds * 1_000).to_string()));
            }
            name => {
                let setting = setting_of(name).unwrap_or_default();
                self.topic.push(set(setting, seconds.to_string()));
            }
        }
        self.told
            .push((number.name.to_owned(), seconds.to_string()));
        Ok(())
    }

    /// Messages are not encrypted where they lie, and nobody is told that they are.
    fn encryption(name: &str, value: &str) -> Result<(), Fault> {
        let without = match name {
            "SqsManagedSseEnabled" => value == "false",
            "KmsMasterKeyId" => value.is_empty(),
            _ => false,
        };
        if without {
            return Ok(());
        }
        let reason = "Encryption at rest is not offered here; encrypt the disk below.";
        Err(bad_value_because(name, reason))
    }

    fn of_fifo(&mut self, name: &str, value: &str, purpose: Purpose) -> Result<(), Fault> {
        if name == "FifoQueue" {
            let wanted = match value {
                "true" => true,
                "false" => false,
                _ => return Err(bad_value(name)),
            };
            if !purpose.creating && wanted != purpose.fifo {
                let reason = "Modifying queue type is not supported.";
                return Err(bad_value_because(name, reason));
            }
            if purpose.creating && !wanted {
                // As AWS has it: only true can be said of a new queue.
                return Err(bad_name(format!("Unknown Attribute {name}.")));
            }
            self.fifo = Some(wanted);
            self.told.push((name.to_owned(), value.to_owned()));
            return Ok(());
        }
        if !purpose.fifo {
            return Err(bad_name(format!(
                "You can specify the {name} only when FifoQueue is set to true."
            )));
        }
        let takes: &[&str] = match name {
            "ContentBasedDeduplication" => &["true", "false"],
            "DeduplicationScope" => &["queue", "messageGroup"],
            _ => &["perQueue", "perMessageGroupId"],
        };
        if !takes.contains(&value) {
            return Err(bad_value(name));
        }
        if let Some(setting) = setting_of(name) {
            self.topic.push(set(setting, value));
        }
        self.told.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    fn document(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        if value.is_empty() {
            match setting_of(name) {
                Some(setting) => self.topic.push(set(setting, "")),
                None => self.redrive = Some(None),
            }
            self.told.push((name.to_owned(), String::new()));
            return Ok(());
        }
        if value.len() > POLICY_BYTES_MAX {
            return Err(bad_value(name));
        }
        let parsed = serde_json::from_str::<Value>(value).ok();
        let parsed = parsed.filter(Value::is_object);
        let parsed = parsed.ok_or_else(|| bad_value(name))?;
        match name {
            "RedrivePolicy" => {
                let policy = RedrivePolicy::read(&parsed, value)?;
                self.told.push((name.to_owned(), policy.write()));
                self.redrive = Some(Some(policy));
            }
            "RedriveAllowPolicy" => {
                check_allow(&parsed)?;
                self.topic.push(set("sqs.redrive.allow.policy", value));
                self.told.push((name.to_owned(), value.to_owned()));
            }
            _ => {
                self.topic.push(set("sqs.policy", value));
                self.told.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(())
    }

    /// Notes when this was.
    pub fn stamp(&mut self, now_ms: u64) {
        self.topic.push(set(MODIFIED, now_ms.to_string()));
    }

    /// What then holds for a subscription; the dead-letter topic is found elsewhere.
    pub fn apply(&self, settings: &mut SubscriptionSettings) {
        if let Some(lock_ms) = self.lock_ms {
            settings.lock_ms = lock_ms;
        }
        match &self.redrive {
            Some(Some(policy)) => settings.acquired_max = Some(policy.receive_count_max),
            Some(None) => (settings.acquired_max, settings.dead_letter) = (None, None),
            None => {}
        }
    }
}

impl RedrivePolicy {
    fn read(parsed: &Value, text: &str) -> Result<Self, Fault> {
        let bad = |reason: &str| crate::input::invalid("RedrivePolicy", text, reason);
        let lacks = |what: &str| {
            bad(&format!(
                "Redrive policy does not contain mandatory attribute: {what}."
            ))
        };
        let target = parsed.get("deadLetterTargetArn");
        let target = target.ok_or_else(|| lacks("deadLetterTargetArn"))?;
        let target = target.as_str().ok_or_else(|| bad_value("RedrivePolicy"))?;
        let count = parsed.get("maxReceiveCount");
        let count = count.ok_or_else(|| lacks("maxReceiveCount"))?;
        let number = match count.as_str() {
            Some(text) => text.parse::<u16>().ok(),
            None => count.as_u64().and_then(|count| u16::try_from(count).ok()),
        };
        let number = number.filter(|count| (1..=1_000).contains(count));
        let receive_count_max = number
            .ok_or_else(|| bad("Invalid value for maxReceiveCount, must be between 1 and 1000"))?;
        Ok(Self {
            target: target.to_owned(),
            receive_count_max,
        })
    }

    /// As it is told.
    #[must_use]
    pub fn write(&self) -> String {
        let target = Value::from(self.target.as_str());
        let count = self.receive_count_max;
        format!("{{\"deadLetterTargetArn\":{target},\"maxReceiveCount\":{count}}}")
    }
}

fn check_allow(parsed: &Value) -> Result<(), Fault> {
    let bad = || bad_value("RedriveAllowPolicy");
    let permission = parsed.get("redrivePermission").and_then(Value::as_str);
    let sources = match parsed.get("sourceQueueArns") {
        None => None,
        Some(Value::Array(sources)) if sources.iter().all(Value::is_string) => Some(sources.len()),
        Some(_) => return Err(bad()),
    };
    match (permission, sources) {
        (Some("allowAll" | "denyAll"), None) => Ok(()),
        (Some("byQueue"), Some(1..=10)) => Ok(()),
        _ => Err(bad()),
    }
}

/// Whether a dead-letter queue takes what the queue with this ARN gives up.
#[must_use]
pub fn allows(target: &Topic, source_arn: &str) -> bool {
    let policy = value_of(target, "sqs.redrive.allow.policy");
    let Ok(policy) = serde_json::from_str::<Value>(policy) else {
        return true;
    };
    match policy.get("redrivePermission").and_then(Value::as_str) {
        Some("denyAll") => false,
        Some("byQueue") => { policy.get("sourceQueueArns").and_then(Value::as_array) }
            .is_some_and(|all| all.iter().any(|one| one.as_str() == Some(source_arn))),
        _ => true,
    }
}

/// Whether a subscription is a FIFO queue to clients of SQS: they tell by the name, and so it must go by key.
#[must_use]
pub fn is_fifo(subscription: &Subscription) -> bool {
    subscription.settings.order == Order::Key && subscription.name.name.ends_with(FIFO)
}

/// All attributes of a queue but those that its machine counts.
#[must_use]
pub fn told(
    subscription: &Subscription,
    topic: &Topic,
    arn: &str,
    dead_letter_arn: Option<String>,
) -> Vec<(&'static str, String)> {
    let kept = |name: &'static str| {
        let setting = setting_of(name).unwrap_or_default();
        (name, value_of(topic, setting).to_owned())
    };
    let modified = match number_of(topic, MODIFIED) {
        0 => subscription.created_ms,
        ms => ms,
    };
    let seconds = |ms: u64| (ms / 1_000).to_string();
    let mut all = vec![
        ("CreatedTimestamp", seconds(subscription.created_ms)),
        kept("DelaySeconds"),
        ("LastModifiedTimestamp", seconds(modified)),
        kept("MaximumMessageSize"),
        ("QueueArn", arn.to_owned()),
        kept("ReceiveMessageWaitTimeSeconds"),
        (
            "VisibilityTimeout",
            seconds(subscription.settings.lock_ms.into()),
        ),
        ("SqsManagedSseEnabled", "false".to_owned()),
    ];
    if let Some(ms) = topic.settings.retention_ms {
        all.push(("MessageRetentionPeriod", seconds(ms)));
    }
    all.extend(["Policy", "RedriveAllowPolicy"].map(kept));
    let count = subscription.settings.acquired_max;
    if let Some((target, receive_count_max)) = dead_letter_arn.zip(count) {
        let policy = RedrivePolicy {
            target,
            receive_count_max,
        };
        all.push(("RedrivePolicy", policy.write()));
    }
    if is_fifo(subscription) {
        all.push(("FifoQueue", "true".to_owned()));
        all.extend(
            [
                "ContentBasedDeduplication",
                "DeduplicationScope",
                "FifoThroughputLimit",
            ]
            .map(kept),
        );
    }
    all.retain(|(_, value)| !value.is_empty());
    all
}

/// What every queue that SQS clients create has, unless they say otherwise.
#[must_use]
pub fn defaults(fifo: bool) -> (Vec<Edit>, SubscriptionSettings) {
    let edits = vec![
        set(RETENTION, "345600000"),
        set("max.message.bytes", RECORD_BYTES_MAX.to_string()),
    ];
    let settings = SubscriptionSettings {
        order: if fifo { Order::Key } else { Order::Fifo },
        deduplicate_ms: fifo.then_some(DEDUPLICATE_MS),
        ..SubscriptionSettings::default()
    };
    (edits, settings)
}

/// The name of the broker's topic and subscription for a queue.
#[must_use]
pub fn name_of(name: &str) -> TopicName {
    TopicName::in_default(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDARD: Purpose = Purpose {
        fifo: false,
        creating: false,
        open: false,
    };

    fn read(name: &str, value: &str, purpose: Purpose) -> Result<Change, String> {
        Change::read(&[(name, value)], purpose).map_err(|fault| fault.message)
    }

    #[test]
    fn numbers_have_the_documented_bounds() {
        for (name, bad, good) in [
            ("VisibilityTimeout", "43201", "43200"),
            ("DelaySeconds", "901", "900"),
            ("MaximumMessageSize", "1023", "1024"),
            ("MaximumMessageSize", "1048577", "1048576"),
            ("MessageRetentionPeriod", "59", "60"),
            ("MessageRetentionPeriod", "1209601", "1209600"),
            ("ReceiveMessageWaitTimeSeconds", "21", "20"),
        ] {
            let said = format!("Invalid value for the parameter {name}.");
            for bad in [bad, "", "-1", "x", "1.5"] {
                assert_eq!(read(name, bad, STANDARD), Err(said.clone()), "{bad}");
            }
            let told = read(name, good, STANDARD).unwrap().told;
            assert_eq!(told, [(name.to_owned(), good.to_owned())]);
        }
        let open = Purpose {
            open: true,
            ..STANDARD
        };
        assert!(read("DelaySeconds", "86400", open).is_ok());
    }

    #[test]
    fn a_redrive_policy_takes_numbers_in_both_forms() {
        for text in [
            r#"{"deadLetterTargetArn":"arn:aws:sqs:r:1:q","maxReceiveCount":"3"}"#,
            r#"{ "maxReceiveCount": 3, "deadLetterTargetArn": "arn:aws:sqs:r:1:q" }"#,
        ] {
            let change = read("RedrivePolicy", text, STANDARD).unwrap();
            let policy = change.redrive.unwrap().unwrap();
            assert_eq!(policy.receive_count_max, 3);
            assert_eq!(
                policy.write(),
                r#"{"deadLetterTargetArn":"arn:aws:sqs:r:1:q","maxReceiveCount":3}"#
            );
        }
        for bad in [
            "{}",
            "[]",
            "x",
            r#"{"deadLetterTargetArn":"a"}"#,
            r#"{"deadLetterTargetArn":"a","maxReceiveCount":0}"#,
            r#"{"deadLetterTargetArn":"a","maxReceiveCount":1001}"#,
        ] {
            assert!(read("RedrivePolicy", bad, STANDARD).is_err(), "{bad}");
        }
        let none = read("RedrivePolicy", "", STANDARD).unwrap();
        assert_eq!(none.redrive, Some(None));
    }

    #[test]
    fn what_is_of_fifo_queues_is_refused_for_others() {
        let said = read("DeduplicationScope", "queue", STANDARD).unwrap_err();
        assert_eq!(
            said,
            "You can specify the DeduplicationScope only when FifoQueue is set to true."
        );
        let said = read("FifoQueue", "true", STANDARD).unwrap_err();
        assert_eq!(
            said,
            "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
        );
        let fifo = Purpose {
            fifo: true,
            creating: true,
            open: false,
        };
        assert!(read("FifoQueue", "true", fifo).is_ok());
        assert!(read("ContentBasedDeduplication", "true", fifo).is_err());
        assert_eq!(
            read("Nothing", "1", STANDARD).unwrap_err(),
            "Unknown Attribute Nothing."
        );
    }

    #[test]
    fn nobody_is_told_that_messages_are_encrypted() {
        assert!(read("SqsManagedSseEnabled", "true", STANDARD).is_err());
        assert!(read("SqsManagedSseEnabled", "false", STANDARD).is_ok());
        assert!(read("KmsMasterKeyId", "alias/aws/sqs", STANDARD).is_err());
    }
}
