//! Messages are received.

use mulgil_broker::courier::{CourierFault, Wanted};
use mulgil_broker::subscription::{Delivered, SubscriptionRefusal};
use mulgil_record::ids::{Offset, TopicId};
use serde_json::{Map, Value, json};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::attempts::Attempt;
use crate::attributes::number_of;
use crate::digest::{self, Attribute, Value as Content};
use crate::door::{Caller, Door, Queue, refused, stopping, unexpected};
use crate::fault::{Fault, Kind};
use crate::figures::SqsFigures;
use crate::handle::Handle;
use crate::identity;
use crate::input::{Parameters, invalid, number, text, texts};
use crate::message::{ENCODING, Origin, Received};
use crate::names;

/// Most messages of one receive.
const MESSAGES_MAX: i64 = 10;
/// Most messages of one receive where the limits are open: as the broker has it.
const MESSAGES_OPEN: i64 = 1_000;
/// Longest lock, seconds.
pub(super) const LOCK_MAX: i64 = 43_200;
/// Longest lock where the limits are open, seconds: as the broker has it.
pub(super) const LOCK_OPEN: i64 = 86_400;
const WAIT_MAX: i64 = 20;
/// So many messages of a queue may be in flight (developer guide, "Quotas").
const IN_FLIGHT_MAX: u64 = 120_000;
/// About so many bytes of one answer: ten of the largest messages.
const ANSWER_BYTES: u32 = 11 << 20;
const ATTEMPT_ID_MAX: usize = 128;

/// What is to be told of each message beside its body.
struct Told<'a> {
    system: Vec<&'a str>,
    attributes: Vec<&'a str>,
}

impl Told<'_> {
    fn system(&self, name: &str) -> bool {
        self.system.iter().any(|one| *one == name || *one == "All")
    }

    fn attribute(&self, name: &str) -> bool {
        let is_meant = |pattern: &&str| match pattern.strip_suffix(".*") {
            Some("") => true,
            Some(prefix) => { name.strip_prefix(prefix) }
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
            None => *pattern == "All" || *pattern == name,
        };
        name == ENCODING || self.attributes.iter().any(is_meant)
    }
}

const SYSTEM: [&str; 10] = [
    "All",
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SenderId",
    "SentTimestamp",
    "SequenceNumber",
];

impl Door {
    pub(crate) async fn receive_messages(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let queue = self.queue(with, caller)?;
        let (wanted, told) = (self.wanted(with, &queue)?, told(with)?);
        let attempt = match text(with, "ReceiveRequestAttemptId")? {
            None => None,
            Some(id) => Some(attempt_id(id, &queue)?),
        };
        let lock_ms = wanted
            .lock_ms
            .unwrap_or(queue.subscription.settings.lock_ms);
        if let Some(id) = attempt
            && let Some(same) = self.same_attempt(&queue, id, lock_ms).await?
        {
            return Ok(same);
        }
        let got = self
            .courier
            .receive(&queue.subscription, &queue.topic, wanted)
            .await;
        let records = match got {
            Ok(records) => records,
            // A FIFO queue tells of no limit.
            Err(CourierFault::Subscription(SubscriptionRefusal::TooManyLocked(_)))
                if queue.fifo =>
            {
                Vec::new()
            }
            Err(why) => return Err(not_received(&why)),
        };
        if records.is_empty() {
            return Ok(json!({}));
        }
        let now_ms = self.wall_ms();
        let mut bytes = 0;
        let messages = { records.iter() }.map(|record| {
            let message = Received::of(record);
            bytes += message.body.len();
            self.shown(&queue, record, message, &told, now_ms)
        });
        let messages: Vec<_> = messages.collect();
        SqsFigures::add(&self.figures.received, messages.len() as u64);
        SqsFigures::add(&self.figures.received_bytes, bytes as u64);
        let answer = json!({ "Messages": messages });
        if let Some(id) = attempt {
            let attempt = Attempt {
                receipts: records.iter().map(|record| record.receipt).collect(),
                answer: answer.clone(),
                bytes: bytes + id.len(),
                at: self.broker.now().elapsed.0,
            };
            self.attempts.keep(queue.subscription.id, id, attempt);
        }
        Ok(answer)
    }

    fn wanted(&self, with: &Parameters, queue: &Queue) -> Result<Wanted, Fault> {
        let bounded = |name: &str, (least, most): (i64, i64), reason: String| {
            let asked = number(with, name)?;
            match asked.filter(|asked| !(least..=most).contains(asked)) {
                Some(bad) => Err(invalid(name, &bad.to_string(), &reason)),
                None => Ok(asked.map(|asked| u32::try_from(asked).unwrap_or(0))),
            }
        };
        let between =
            |least: i64, most: i64| format!("Must be between {least} and {most}, if provided.");
        let open = self.is_open();
        let most = if open { MESSAGES_OPEN } else { MESSAGES_MAX };
        let messages = bounded("MaxNumberOfMessages", (1, most), between(1, most))?;
        let lock = if open { LOCK_OPEN } else { LOCK_MAX };
        let lock = bounded("VisibilityTimeout", (0, lock), between(0, lock))?;
        let reason = format!("Must be >= 0 and <= {WAIT_MAX}, if provided.");
        let wait = bounded("WaitTimeSeconds", (0, WAIT_MAX), reason)?;
        let own = number_of(&queue.topic, "sqs.receive.wait.seconds");
        let wait = wait.unwrap_or_else(|| u32::try_from(own).unwrap_or(0));
        Ok(Wanted {
            records_max: messages.unwrap_or(1),
            bytes_max: ANSWER_BYTES,
            // A lock has a length; what is free at once was held for a moment.
            lock_ms: lock.map(|seconds| (seconds * 1_000).max(1)),
            wait_ms: wait * 1_000,
            locked_max: (!open).then_some(IN_FLIGHT_MAX),
            keys_together: queue.fifo,
        })
    }

    /// A message as it is told.
    fn shown(
        &self,
        queue: &Queue,
        record: &Delivered,
        message: Received,
        told: &Told<'_>,
        now_ms: u64,
    ) -> Value {
        let partitions = &queue.topic.partitions;
        let partition = { partitions.iter() }.position(|id| *id == record.receipt.partition);
        let partition = partition.map_or(u32::MAX, |at| u32::try_from(at).unwrap_or(u32::MAX));
        let id = match &message.origin {
            Some(Origin {
                topic_id: Some(topic),
                partition,
                offset,
                ..
            }) => {
                let topic = u128::from_str_radix(topic, 16).unwrap_or(0);
                identity::message_id(TopicId(topic), *partition, Offset(*offset))
            }
            _ => identity::message_id(queue.topic.id, partition, record.receipt.offset),
        };
        let handle = Handle {
            receipt: record.receipt,
            received_ms: now_ms,
        };
        let system = self.system(queue, record, &message, told, now_ms);
        let mut shown = Map::new();
        shown.insert("MessageId".to_owned(), id.into());
        shown.insert(
            "ReceiptHandle".to_owned(),
            handle.write(&self.secret).into(),
        );
        shown.insert(
            "MD5OfBody".to_owned(),
            digest::of_body(&message.body).into(),
        );
        if !system.is_empty() {
            shown.insert("Attributes".to_owned(), system.into());
        }
        let attributes = message.attributes.into_iter();
        let attributes: Vec<_> = attributes.filter(|one| told.attribute(&one.name)).collect();
        if let Some(digest) = digest::of_attributes(&attributes) {
            shown.insert("MD5OfMessageAttributes".to_owned(), digest.into());
            let attributes = attributes.into_iter().map(attribute);
            let attributes: Map<_, _> = attributes.collect();
            shown.insert("MessageAttributes".to_owned(), attributes.into());
        }
        shown.insert("Body".to_owned(), message.body.into());
        shown.into()
    }

    fn system(
        &self,
        queue: &Queue,
        record: &Delivered,
        message: &Received,
        told: &Told<'_>,
        now_ms: u64,
    ) -> Map<String, Value> {
        let mut all = Map::new();
        if told.system.is_empty() {
            return all;
        }
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|_| told.system(name)) {
                all.insert(name.to_owned(), value.into());
            }
        };
        put("SenderId", Some(self.owner().account.clone()));
        put("SentTimestamp", Some(message.sent_ms.to_string()));
        put(
            "ApproximateReceiveCount",
            Some(message.receive_count.to_string()),
        );
        if told.system("ApproximateFirstReceiveTimestamp") {
            let first = self
                .seen
                .first_ms(record.receipt, record.tries.acquired, now_ms);
            put("ApproximateFirstReceiveTimestamp", Some(first.to_string()));
        }
        let number = identity::sequence_number(record.receipt.offset);
        put("SequenceNumber", Some(number).filter(|_| queue.fifo));
        put("MessageGroupId", message.group.clone());
        put("MessageDeduplicationId", message.deduplication_id.clone());
        put("AWSTraceHeader", message.trace.clone());
        let source = message.origin.as_ref().map(|origin| {
            let name = names::of_subscription(&origin.subscription);
            self.owner()
                .arn(&name.unwrap_or_else(|| origin.subscription.clone()))
        });
        put("DeadLetterQueueSourceArn", source);
        all
    }
}

fn attribute(one: Attribute) -> (String, Value) {
    let (field, value) = match one.value {
        Content::Text(text) => ("StringValue", text),
        Content::Binary(bytes) => ("BinaryValue", STANDARD.encode(bytes)),
    };
    (one.name, json!({ "DataType": one.data_type, field: value }))
}

fn told(with: &Parameters) -> Result<Told<'_>, Fault> {
    let mut system = texts(with, "AttributeNames")?;
    system.extend(texts(with, "MessageSystemAttributeNames")?);
    if let Some(unknown) = system.iter().find(|name| !SYSTEM.contains(name)) {
        let message = format!("Unknown Attribute {unknown}.");
        return Err(Fault::new(Kind::InvalidAttributeName, message));
    }
    Ok(Told {
        system,
        attributes: texts(with, "MessageAttributeNames")?,
    })
}

fn attempt_id<'a>(id: &'a str, queue: &Queue) -> Result<&'a str, Fault> {
    const NAME: &str = "ReceiveRequestAttemptId";
    if !queue.fifo {
        let reason = "The request include parameter that is not valid for this queue type.";
        return Err(invalid(NAME, id, reason));
    }
    if id.is_empty() || id.len() > ATTEMPT_ID_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic())
    {
        let reason = format!(
            "{NAME} can only include alphanumeric and punctuation characters. 1 to {ATTEMPT_ID_MAX} in length."
        );
        return Err(invalid(NAME, id, &reason));
    }
    Ok(id)
}

fn not_received(why: &CourierFault) -> Fault {
    match why {
        CourierFault::Subscription(SubscriptionRefusal::TooManyLocked(_)) => {
            let message = format!(
                "{IN_FLIGHT_MAX} messages are in flight, more are not possible before some are deleted."
            );
            Fault::new(Kind::OverLimit, message)
        }
        CourierFault::Subscription(why) => refused(why),
        CourierFault::Stopping => stopping(),
        CourierFault::Unexpected => unexpected(),
        CourierFault::Read(_) | CourierFault::Damaged { .. } => {
            Fault::new(Kind::InternalFailure, format!("{why}."))
        }
        CourierFault::Unreachable(_) => Fault::new(Kind::ServiceUnavailable, format!("{why}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_picked_by_name_and_by_prefix() {
        let told = |names: &[&'static str]| Told {
            system: Vec::new(),
            attributes: names.to_vec(),
        };
        for (names, name, picked) in [
            (&["All"][..], "a.b", true),
            (&[".*"], "a", true),
            (&["a.*"], "a.b", true),
            (&["a.*"], "ab", false),
            (&["a.b"], "a.b", true),
            (&["a"], "a.b", false),
            (&[], "a", false),
            (&[], ENCODING, true),
        ] {
            assert_eq!(told(names).attribute(name), picked, "{names:?} {name}");
        }
    }
}
