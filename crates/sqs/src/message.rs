//! Messages as records, and records as messages.
//!
//! | SQS | record |
//! | --- | --- |
//! | body | value; bytes that are no text SQS can say come as base64, with the attribute [`ENCODING`] |
//! | message attribute | header of its name; its type, if it is not String, in [`TYPES`] |
//! | `MessageGroupId` | key |
//! | `MessageDeduplicationId` | [`asked::DEDUPLICATION_ID`] |
//! | `DelaySeconds` | [`asked::DELAY`] |
//! | `AWSTraceHeader` | [`TRACE`] |
//! | `SentTimestamp` | timestamp; of a dead letter the one that it had before |
//!
//! Headers of other producers are String attributes where they are text and Binary ones where not. Names that
//! SQS cannot say are left out, and of headers with one name the last counts.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mulgil_broker::death::{self, DeathRecord};
use mulgil_broker::subscription::Delivered;
use mulgil_record::asked;

use crate::digest::{Attribute, Value};

/// The header that has the types of attributes that are not String: lines of a name, a tab and a type.
pub const TYPES: &str = "mulgil.sqs.types";
/// The header that has the trace header of X-Ray.
pub const TRACE: &str = "mulgil.sqs.trace";
/// The attribute that says how the body is to be read, where it is no text: `base64`.
pub const ENCODING: &str = "mulgil.encoding";
/// Longest name of an attribute.
pub const ATTRIBUTE_NAME_MAX: usize = 256;

/// What parts of one header's value cannot have.
const APART: char = '\t';

/// Headers that clients may say as attributes: what they ask for.
pub const ASKED: [&str; 5] = [
    asked::PRIORITY,
    asked::DELIVER_AT,
    asked::DELAY,
    asked::EXPIRES_AT,
    asked::TTL,
];

/// A message that is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its text.
    pub body: String,
    /// What is said of it.
    pub attributes: Vec<Attribute>,
    /// In which order it goes.
    pub group: Option<String>,
    /// By what it is known if it is sent again, and whether that is so within its group alone.
    pub deduplication: Option<(String, Within)>,
    /// How long nobody gets it, milliseconds.
    pub delay_ms: Option<u64>,
    /// The trace header of X-Ray.
    pub trace: Option<String>,
}

/// Where an id is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// In all of the queue.
    Queue,
    /// Among messages of one group.
    Group,
}

/// Key, value and headers of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Bytes,
    /// Its headers.
    pub headers: Vec<(String, Bytes)>,
}

impl Message {
    /// As a record.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        let mut headers = Vec::with_capacity(self.attributes.len() + 2);
        let mut types = String::new();
        for attribute in self.attributes {
            if attribute.data_type != "String" || attribute.name.starts_with(asked::PREFIX) {
                types.push_str(&attribute.name);
                types.push('\t');
                types.push_str(&attribute.data_type);
                types.push('\n');
            }
            let value = match attribute.value {
                Value::Text(text) => Bytes::from(text),
                Value::Binary(bytes) => Bytes::from(bytes),
            };
            headers.push((attribute.name, value));
        }
        let mut own = |name: &str, value: String| headers.push((name.to_owned(), value.into()));
        if !types.is_empty() {
            own(TYPES, types);
        }
        if let Some((id, within)) = self.deduplication {
            let group = self.group.as_deref().filter(|_| within == Within::Group);
            let id = group.map_or_else(|| id.clone(), |group| format!("{group}{APART}{id}"));
            own(asked::DEDUPLICATION_ID, id);
        }
        if let Some(ms) = self.delay_ms {
            own(asked::DELAY, ms.to_string());
        }
        if let Some(trace) = self.trace {
            own(TRACE, trace);
        }
        Parts {
            key: self.group.map(Bytes::from),
            value: self.body.into(),
            headers,
        }
    }
}

/// A message that is received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Its text.
    pub body: String,
    /// What is said of it, by name.
    pub attributes: Vec<Attribute>,
    /// In which order it goes.
    pub group: Option<String>,
    /// By what it is known.
    pub deduplication_id: Option<String>,
    /// The trace header of X-Ray.
    pub trace: Option<String>,
    /// When it was sent, ms since 1970.
    pub sent_ms: i64,
    /// How often it was handed out, this time included.
    pub receive_count: u64,
    /// Where it was before it died, if it did: what gives it its identity.
    pub origin: Option<Origin>,
}

/// Where a dead letter came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The id of its first topic, if that was noted.
    pub topic_id: Option<String>,
    /// The number of its partition there.
    pub partition: u32,
    /// Its offset there.
    pub offset: i64,
    /// The subscription that gave it up last.
    pub subscription: String,
}

impl Received {
    /// A record as a message.
    #[must_use]
    pub fn of(record: &Delivered) -> Self {
        let mut own = Own::default();
        let mut named: BTreeMap<&str, Option<&[u8]>> = BTreeMap::new();
        let mut deaths = Vec::new();
        for (name, value) in &record.headers {
            let (Ok(name), value) = (str::from_utf8(name), value.as_deref()) else {
                continue;
            };
            match name {
                TYPES => own.types = value.and_then(|value| str::from_utf8(value).ok()),
                TRACE => own.trace = value.and_then(text),
                asked::DEDUPLICATION_ID => own.deduplication_id = value.and_then(text),
                asked::ORDERING_KEY => own.group = value.and_then(text),
                death::HEADER => deaths.extend(value.and_then(DeathRecord::read)),
                name => {
                    named.insert(name, value);
                }
            }
        }
        let mut attributes = attributes_of(named, own.types.unwrap_or_default());
        let value = record.value.as_deref().unwrap_or_default();
        let body = match text(value) {
            Some(body) => body,
            None => {
                attributes.push(Attribute {
                    name: ENCODING.to_owned(),
                    data_type: "String".to_owned(),
                    value: Value::Text("base64".to_owned()),
                });
                STANDARD.encode(value)
            }
        };
        // A redriven message is a new one: what it died of before is no part of it.
        let deaths = deaths
            .iter()
            .take_while(|death| death.redriven_ms.is_none());
        let deaths: Vec<_> = deaths.collect();
        let before: u64 = deaths.iter().map(|death| u64::from(death.acquired)).sum();
        let origin = deaths
            .last()
            .zip(deaths.first())
            .map(|(first, last)| Origin {
                topic_id: first.topic_id.clone(),
                partition: first.partition,
                offset: first.offset,
                subscription: last.subscription.clone(),
            });
        Self {
            body,
            attributes,
            group: own.group.or_else(|| record.key.as_deref().and_then(text)),
            deduplication_id: own.deduplication_id.map(|id| match id.split_once(APART) {
                Some((_, id)) => id.to_owned(),
                None => id,
            }),
            trace: own.trace,
            sent_ms: deaths
                .last()
                .map_or(record.timestamp_ms, |first| first.timestamp_ms),
            receive_count: u64::from(record.tries.acquired) + before,
            origin,
        }
    }
}

#[derive(Default)]
struct Own<'a> {
    types: Option<&'a str>,
    trace: Option<String>,
    deduplication_id: Option<String>,
    group: Option<String>,
}

/// Headers as attributes, by name; `types` are what their sender gave some.
fn attributes_of(named: BTreeMap<&str, Option<&[u8]>>, types: &str) -> Vec<Attribute> {
    let types = types.lines().filter_map(|line| line.split_once('\t'));
    let types: BTreeMap<_, _> = types.collect();
    let attributes = named.into_iter().filter_map(|(name, value)| {
        let given = types.get(name).copied();
        // What this broker says of a record is no attribute, unless a client said it as one.
        if given.is_none() && (name.starts_with(asked::PREFIX) || !is_attribute_name(name)) {
            return None;
        }
        Some(attribute(name, value.unwrap_or_default(), given))
    });
    attributes.collect()
}

/// What a header is as an attribute; `given` is the type that its sender gave it.
fn attribute(name: &str, value: &[u8], given: Option<&str>) -> Attribute {
    let binary = given.map(|given| given.starts_with("Binary"));
    let as_text = text(value).filter(|_| binary != Some(true));
    let (fallback, value) = match as_text {
        Some(text) => ("String", Value::Text(text)),
        None => ("Binary", Value::Binary(value.to_vec())),
    };
    Attribute {
        name: name.to_owned(),
        data_type: given.unwrap_or(fallback).to_owned(),
        value,
    }
}

/// Bytes as a text that SQS can say.
fn text(bytes: &[u8]) -> Option<String> {
    let text = str::from_utf8(bytes).ok()?;
    text.chars().all(is_said).then(|| text.to_owned())
}

/// The characters that a message may have (API reference, `SendMessage`).
#[must_use]
pub const fn is_said(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Whether an attribute may be called so.
#[must_use]
pub fn is_attribute_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let lower = name.to_ascii_lowercase();
    (1..=ATTRIBUTE_NAME_MAX).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !lower.starts_with("aws.")
        && !lower.starts_with("amazon.")
}

#[cfg(test)]
mod tests {
    use mulgil_broker::subscription::{LockEpoch, Receipt, Tries};
    use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, SubscriptionId};
    use proptest::prelude::*;

    use super::*;

    fn delivered(parts: Parts) -> Delivered {
        let headers = parts.headers.into_iter();
        Delivered {
            receipt: Receipt {
                subscription: SubscriptionId(1),
                partition: PartitionId(1),
                offset: Offset(5),
                epoch: LockEpoch {
                    leader: LeaderEpoch(1),
                    number: 1,
                },
            },
            timestamp_ms: 77,
            key: parts.key,
            value: Some(parts.value),
            headers: headers
                .map(|(name, value)| (name.into(), Some(value)))
                .collect(),
            tries: Tries {
                acquired: 2,
                failed: 0,
            },
            until: None,
        }
    }

    fn one(name: &str, data_type: &str, value: Value) -> Attribute {
        Attribute {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            value,
        }
    }

    #[test]
    fn what_was_sent_is_received() {
        let message = Message {
            body: "h\u{e9}llo\n".to_owned(),
            attributes: vec![
                one("b", "Binary.png", Value::Binary(b"text".to_vec())),
                one("mulgil.priority", "Number", Value::Text("7".to_owned())),
                one("n", "Number.float", Value::Text("1.5".to_owned())),
                one("s", "String", Value::Text("x".to_owned())),
            ],
            group: Some("g".to_owned()),
            deduplication: Some(("id".to_owned(), Within::Group)),
            delay_ms: Some(5_000),
            trace: Some("Root=1".to_owned()),
        };
        let sent = message.clone();
        let got = Received::of(&delivered(message.into_parts()));
        assert_eq!(got.body, sent.body);
        assert_eq!(got.attributes, sent.attributes);
        assert_eq!(got.group, sent.group);
        assert_eq!(got.deduplication_id.as_deref(), Some("id"));
        assert_eq!(got.trace, sent.trace);
        assert_eq!((got.sent_ms, got.receive_count), (77, 2));
    }

    #[test]
    fn what_others_wrote_is_readable() {
        let header =
            |name: &str, value: &'static [u8]| (name.to_owned(), Bytes::from_static(value));
        let got = Received::of(&delivered(Parts {
            key: Some(Bytes::from_static(b"\xff")),
            value: Bytes::from_static(b"\0\x01"),
            headers: vec![
                header("color", b"red"),
                header("color", b"blue"),
                header("raw", b"\xff"),
                header("not a name", b"x"),
                header("AWS.x", b"x"),
                header("mulgil.ttl", b"5"),
            ],
        }));
        assert_eq!(got.body, "AAE=");
        assert_eq!(got.group, None);
        let expected = [
            one("color", "String", Value::Text("blue".to_owned())),
            one("raw", "Binary", Value::Binary(vec![0xff])),
            one(ENCODING, "String", Value::Text("base64".to_owned())),
        ];
        assert_eq!(got.attributes, expected);
    }

    proptest! {
        #[test]
        fn every_body_comes_back(body in "\\PC{1,40}", group in "[!-~]{1,20}", id in "[!-~]{1,20}") {
            let within = if id.len() % 2 == 0 { Within::Queue } else { Within::Group };
            let message = Message {
                body: body.clone(),
                group: Some(group.clone()),
                deduplication: Some((id.clone(), within)),
                ..Message::default()
            };
            let got = Received::of(&delivered(message.into_parts()));
            if body.chars().all(is_said) {
                prop_assert_eq!(got.body, body);
            }
            prop_assert_eq!(got.group, Some(group));
            prop_assert_eq!(got.deduplication_id, Some(id));
        }
    }
}
