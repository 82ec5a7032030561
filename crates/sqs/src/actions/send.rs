//! Messages are sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mulgil_broker::publish::{NewRecord, PublishRefusal, Published};
use mulgil_broker::request::AppendRefusal;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::batch;
use crate::attributes::{number_of, value_of};
use crate::digest::{self, Attribute, Value as Content};
use crate::door::{Caller, Door, Queue, stopping};
use crate::fault::{Fault, Kind};
use crate::figures::SqsFigures;
use crate::identity;
use crate::input::{Parameters, invalid, missing, number, objects, required, text};
use crate::message::{self, ASKED, ENCODING, Message, Within, is_said};

/// Most attributes of a message.
const ATTRIBUTES_MAX: usize = 10;
/// Most bytes of all messages of a batch.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Longest delay, seconds.
const DELAY_MAX: i64 = 900;
/// Longest delay where the limits are open, seconds: ten years.
const DELAY_OPEN: i64 = 315_360_000;
const ID_MAX: usize = 128;

/// A message that is ready, and what is answered of it.
struct Ready {
    message: Message,
    bytes: usize,
    told: Map<String, Value>,
}

impl Door {
    pub(crate) async fn send_message(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let queue = self.queue(with, caller)?;
        let ready = self.ready(with, &queue)?;
        let most = message_bytes_max(&queue);
        if ready.bytes > most {
            return Err(too_long(most));
        }
        let sent = self.publish(&queue, vec![ready]).await?;
        sent.into_iter().next().unwrap_or_else(|| Err(stopping()))
    }

    pub(crate) async fn send_messages(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let queue = self.queue(with, caller)?;
        let open = self.is_open();
        let entries = batch::read(with, "SendMessageBatchRequestEntry", open)?;
        let ready = entries.iter().map(|entry| self.ready(entry.with, &queue));
        let ready: Vec<_> = ready.collect();
        let good = ready.iter().filter_map(|one| one.as_ref().ok());
        let bytes: usize = good.map(|one| one.bytes).sum();
        if bytes > BATCH_BYTES_MAX && !open {
            let message = format!(
                "Batch requests cannot be longer than {BATCH_BYTES_MAX} bytes. You have sent {bytes} bytes."
            );
            return Err(Fault::new(Kind::BatchRequestTooLong, message));
        }
        let most = message_bytes_max(&queue);
        let (mut going, mut outcomes) = (Vec::new(), Vec::with_capacity(entries.len()));
        for (entry, ready) in entries.iter().zip(ready) {
            let outcome = match ready {
                Ok(ready) if ready.bytes > most => Err(Fault::new(
                    Kind::InvalidParameterValue,
                    "One or more parameters cannot be validated. Reason: Message must be shorter \
                     than "
                        .to_owned()
                        + &format!("{most} bytes."),
                )),
                Ok(ready) => {
                    going.push((outcomes.len(), ready));
                    // Until the broker says otherwise.
                    Err(stopping())
                }
                Err(fault) => Err(fault),
            };
            outcomes.push((entry.id, outcome));
        }
        if !going.is_empty() {
            let (places, going): (Vec<_>, Vec<_>) = going.into_iter().unzip();
            let sent = self.publish(&queue, going).await?;
            for (place, one) in places.into_iter().zip(sent) {
                if let Some((_, outcome)) = outcomes.get_mut(place) {
                    *outcome = one;
                }
            }
        }
        Ok(batch::answer(outcomes))
    }

    /// Appends messages in their order; what is answered of each.
    async fn publish(
        &self,
        queue: &Queue,
        ready: Vec<Ready>,
    ) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let (mut records, mut told) = (Vec::new(), Vec::new());
        for one in ready {
            let parts = one.message.into_parts();
            let headers = parts.headers.into_iter();
            records.push(NewRecord {
                partition: None,
                key: parts.key,
                value: Some(parts.value),
                headers: headers.map(|(name, value)| (name, Some(value))).collect(),
                timestamp_ms: None,
            });
            told.push(one.told);
        }
        let published = self.publisher.publish(&queue.topic, &records).await;
        let (outcomes, volume) = published.map_err(|why| not_sent(&why, queue))?;
        SqsFigures::add(&self.figures.sent, volume.records);
        SqsFigures::add(&self.figures.sent_bytes, volume.bytes);
        let outcomes = outcomes.into_iter().zip(told).map(|(outcome, mut told)| {
            let Published { partition, offset } = outcome.map_err(|why| not_sent(&why, queue))?;
            let id = identity::message_id(queue.topic.id, partition, offset);
            told.insert("MessageId".to_owned(), id.into());
            if queue.fifo {
                let number = identity::sequence_number(offset);
                told.insert("SequenceNumber".to_owned(), number.into());
            }
            Ok(Value::Object(told))
        });
        Ok(outcomes.collect())
    }

    /// A message as it was asked for, if it may be sent.
    fn ready(&self, with: &Parameters, queue: &Queue) -> Result<Ready, Fault> {
        let body = text(with, "MessageBody")?.filter(|body| !body.is_empty());
        let body = body.ok_or_else(|| missing("MessageBody"))?;
        check_content(body, "message body")?;
        let attributes = read_attributes(with, "MessageAttributes", "user")?;
        let system = read_attributes(with, "MessageSystemAttributes", "system")?;
        let mut trace = None;
        for one in &system {
            match (&one.value, one.name.as_str()) {
                (Content::Text(text), "AWSTraceHeader") if one.data_type == "String" => {
                    trace = Some(text.clone());
                }
                _ => {
                    let message =
                        format!("Message system attribute name '{}' is invalid.", one.name);
                    return Err(Fault::new(Kind::InvalidParameterValue, message));
                }
            }
        }
        let bytes = body.len() + attributes.iter().map(size_of_attribute).sum::<usize>();
        let mut told = Map::new();
        told.insert("MD5OfMessageBody".to_owned(), digest::of_body(body).into());
        if let Some(digest) = digest::of_attributes(&attributes) {
            told.insert("MD5OfMessageAttributes".to_owned(), digest.into());
        }
        if let Some(digest) = digest::of_attributes(&system) {
            told.insert("MD5OfMessageSystemAttributes".to_owned(), digest.into());
        }
        let delay_ms = self.delay_ms(with, queue)?;
        if delay_ms.is_some()
            && attributes
                .iter()
                .any(|one| [ASKED[1], ASKED[2]].contains(&one.name.as_str()))
        {
            let reason = "The message says by an attribute when it is to be delivered.";
            return Err(invalid("DelaySeconds", "", reason));
        }
        let (group, deduplication) = group_of(with, queue, body)?;
        Ok(Ready {
            message: Message {
                body: body.to_owned(),
                attributes,
                group,
                deduplication,
                delay_ms,
                trace,
            },
            bytes,
            told,
        })
    }

    fn delay_ms(&self, with: &Parameters, queue: &Queue) -> Result<Option<u64>, Fault> {
        const NAME: &str = "DelaySeconds";
        let asked = number(with, NAME)?;
        let most = if self.is_open() {
            DELAY_OPEN
        } else {
            DELAY_MAX
        };
        let own = number_of(&queue.topic, "sqs.delay.seconds");
        let seconds = match asked {
            Some(seconds) if !(0..=most).contains(&seconds) => {
                let reason = format!("{NAME} must be >= 0 and <= {most}.");
                return Err(invalid(NAME, &seconds.to_string(), &reason));
            }
            Some(seconds) if queue.fifo && seconds > 0 => {
                let reason = "The request include parameter that is not valid for this queue type.";
                return Err(invalid(NAME, &seconds.to_string(), reason));
            }
            Some(seconds) if !queue.fifo => u64::try_from(seconds).unwrap_or(0),
            Some(_) | None => own,
        };
        Ok((seconds > 0).then_some(seconds * 1_000))
    }
}

/// Group and deduplication id.
type Ordering = (Option<String>, Option<(String, Within)>);

fn group_of(with: &Parameters, queue: &Queue, body: &str) -> Result<Ordering, Fault> {
    const GROUP: &str = "MessageGroupId";
    const ID: &str = "MessageDeduplicationId";
    let group = named(with, GROUP)?;
    let id = named(with, ID)?;
    if !queue.fifo {
        if let Some(id) = id {
            let reason = "The request include parameter that is not valid for this queue type.";
            return Err(invalid(ID, &id, reason));
        }
        return Ok((group, None));
    }
    let group = group.ok_or_else(|| missing(GROUP))?;
    let by_content = value_of(&queue.topic, "sqs.content.based.deduplication") == "true";
    let id = match id {
        Some(id) => id,
        None if by_content => digest::hex(&Sha256::digest(body.as_bytes())),
        None => {
            let message = "The queue should either have ContentBasedDeduplication enabled or \
                MessageDeduplicationId provided explicitly";
            return Err(Fault::new(Kind::InvalidParameterValue, message));
        }
    };
    let within = match value_of(&queue.topic, "sqs.deduplication.scope") {
        "messageGroup" => Within::Group,
        _ => Within::Queue,
    };
    Ok((Some(group), Some((id, within))))
}

/// An id of 1 to 128 letters, digits and signs.
fn named(with: &Parameters, name: &str) -> Result<Option<String>, Fault> {
    let Some(id) = text(with, name)? else {
        return Ok(None);
    };
    if id.is_empty() || id.len() > ID_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = format!(
            "{name} can only include alphanumeric and punctuation characters. 1 to {ID_MAX} in length."
        );
        return Err(invalid(name, id, &reason));
    }
    Ok(Some(id.to_owned()))
}

fn check_content(content: &str, what: &str) -> Result<(), Fault> {
    match content.chars().find(|c| !is_said(*c)) {
        None => Ok(()),
        Some(c) => {
            let message = format!(
                "Invalid binary character '#x{:X}' was found in the {what}, the set of allowed \
                 characters is #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF",
                u32::from(c)
            );
            Err(Fault::new(Kind::InvalidMessageContents, message))
        }
    }
}

fn size_of_attribute(attribute: &Attribute) -> usize {
    let value = match &attribute.value {
        Content::Text(text) => text.len(),
        Content::Binary(bytes) => bytes.len(),
    };
    attribute.name.len() + attribute.data_type.len() + value
}

fn read_attributes(with: &Parameters, list: &str, kind: &str) -> Result<Vec<Attribute>, Fault> {
    let bad = |message: String| Fault::new(Kind::InvalidParameterValue, message);
    let all = objects(with, list)?;
    if all.len() > ATTRIBUTES_MAX {
        return Err(bad(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
            all.len()
        )));
    }
    let one = |(name, with): (&str, &Parameters)| -> Result<Attribute, Fault> {
        let what = format!("message ({kind}) attribute '{name}'");
        let reserved = name.starts_with(mulgil_record::asked::PREFIX) && !ASKED.contains(&name);
        if !message::is_attribute_name(name) || reserved || name == ENCODING {
            return Err(bad(format!(
                "Message ({kind}) attribute name '{name}' is invalid or reserved."
            )));
        }
        let data_type = required(with, "DataType").map_err(|_missing| {
            bad(format!(
                "The {what} must contain a non-empty message attribute type."
            ))
        })?;
        let base = data_type.split('.').next().unwrap_or_default();
        let empty = || {
            bad(format!(
                "Message ({kind}) attribute '{name}' must contain a non-empty value of type '{base}'."
            ))
        };
        let long = data_type.len() > message::ATTRIBUTE_NAME_MAX;
        if long || data_type.chars().any(char::is_control) {
            return Err(bad(format!("The type of {what} is invalid.")));
        }
        let value = match base {
            "String" | "Number" => {
                let text = text(with, "StringValue")?.filter(|text| !text.is_empty());
                let text = text.ok_or_else(empty)?;
                check_content(text, &what)?;
                if base == "Number" && !is_number(text) {
                    return Err(bad(format!("Can't cast the value of {what} to a number.")));
                }
                Content::Text(text.to_owned())
            }
            "Binary" => {
                let text = text(with, "BinaryValue")?.filter(|text| !text.is_empty());
                let bytes = STANDARD.decode(text.ok_or_else(empty)?);
                let bytes = bytes.map_err(|_no_base64| {
                    Fault::new(
                        Kind::MalformedInput,
                        format!("The value of {what} is not base64."),
                    )
                })?;
                Content::Binary(bytes)
            }
            _ => {
                return Err(bad(format!(
                    "The type of {what} is invalid. You must use only the following supported type \
                     prefixes: Binary, Number, String."
                )));
            }
        };
        Ok(Attribute {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            value,
        })
    };
    all.into_iter().map(one).collect()
}

/// Whether a text is a number between -10^128 and 10^126 (developer guide, "Message attributes").
fn is_number(text: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let number = text.parse::<f64>().ok().filter(|_| text.bytes().all(plain));
    number.is_some_and(|number| (-1e128..=1e126).contains(&number))
}

fn message_bytes_max(queue: &Queue) -> usize {
    usize::try_from(number_of(&queue.topic, "sqs.maximum.message.size")).unwrap_or(usize::MAX)
}

fn too_long(most: usize) -> Fault {
    let message = format!(
        "One or more parameters are invalid. Reason: Message must be shorter than {most} bytes."
    );
    Fault::new(Kind::InvalidParameterValue, message)
}

fn not_sent(refusal: &PublishRefusal, queue: &Queue) -> Fault {
    let kind = match refusal {
        PublishRefusal::TooLarge { most, .. } => return too_long(*most),
        PublishRefusal::Append(AppendRefusal::UnknownPartition(_)) => return Fault::no_queue(),
        PublishRefusal::Append(AppendRefusal::QueueFull { .. }) => Kind::OverLimit,
        PublishRefusal::Append(_) | PublishRefusal::Stopping => Kind::ServiceUnavailable,
        PublishRefusal::Asked(why) => {
            let reason = format!("{}: {}", queue.name, why.why);
            return invalid("MessageAttributes", why.header, &reason);
        }
        PublishRefusal::NoPartition { .. }
        | PublishRefusal::NoKey
        | PublishRefusal::Timestamp { .. }
        | PublishRefusal::Batch(_) => Kind::InvalidParameterValue,
    };
    Fault::new(kind, format!("The message was not sent: {refusal}."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attributes(value: &Value) -> Result<Vec<Attribute>, String> {
        let with = json!({ "MessageAttributes": value });
        let with = with.as_object().unwrap();
        read_attributes(with, "MessageAttributes", "user").map_err(|fault| fault.message)
    }

    #[test]
    fn attributes_are_checked_as_the_service_does() {
        for (value, said) in [
            (
                json!({"A": {"DataType": "String", "StringValue": ""}}),
                "Message (user) attribute 'A' must contain a non-empty value of type 'String'.",
            ),
            (
                json!({"A": {"DataType": "Text", "StringValue": "x"}}),
                "The type of message (user) attribute 'A' is invalid. You must use only the following \
                 supported type prefixes: Binary, Number, String.",
            ),
            (
                json!({"A": {"DataType": "Number", "StringValue": "x"}}),
                "Can't cast the value of message (user) attribute 'A' to a number.",
            ),
            (
                json!({"AWS.A": {"DataType": "String", "StringValue": "x"}}),
                "Message (user) attribute name 'AWS.A' is invalid or reserved.",
            ),
            (
                json!({"mulgil.death": {"DataType": "String", "StringValue": "x"}}),
                "Message (user) attribute name 'mulgil.death' is invalid or reserved.",
            ),
        ] {
            assert_eq!(attributes(&value), Err(said.to_owned()));
        }
        let good = json!({
            "a": {"DataType": "Number.float", "StringValue": "-1.5e3"},
            "b": {"DataType": "Binary.png", "BinaryValue": "AAE="},
            "mulgil.priority": {"DataType": "Number", "StringValue": "7"},
        });
        assert_eq!(attributes(&good).unwrap().len(), 3);
    }

    #[test]
    fn numbers_have_bounds() {
        for good in ["0", "-1", "1.5", "1e126", "-1E128"] {
            assert!(is_number(good), "{good}");
        }
        for bad in ["", "inf", "NaN", "1e127", "1 ", "0x1"] {
            assert!(!is_number(bad), "{bad}");
        }
    }
}
