//! Requests of SQS clients, in both forms.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri};
use mulgil_broker::subscription::{Delivered, LockEpoch, Receipt, Tries};
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, SubscriptionId};
use mulgil_sqs::handle::Handle;
use mulgil_sqs::message::{Received, is_said};
use mulgil_sqs::names::{self, Owner};
use mulgil_sqs::params::{self, Asked};
use mulgil_sqs::sign::{self, Keys, Signed};

const SECRET: &[u8] = b"secret";
static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys::from_iter([("AKIDEXAMPLE".to_owned(), "secret".to_owned())]));
static OWNER: LazyLock<Owner> = LazyLock::new(|| Owner {
    account: "000000000000".to_owned(),
    region: "us-east-1".to_owned(),
});

/// The first line is the header that says who signs, the second the date, the third the target, the rest the body.
/// Nobody here knows a secret.
pub(super) fn signed(bytes: &[u8]) {
    let mut lines = bytes.splitn(4, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost:9324"));
    for name in ["authorization", "x-amz-date"] {
        let line = lines.next().unwrap_or_default();
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.insert(name, value);
        }
    }
    let target = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let Ok(uri) = target.parse::<Uri>() else {
        return;
    };
    let request = Signed {
        method: &Method::POST,
        uri: &uri,
        headers: &headers,
        body: lines.next().unwrap_or_default(),
    };
    let checked = sign::check(&KEYS, &OWNER.region, request, 1_772_366_400);
    assert!(checked.is_err(), "a signature was guessed");
}

/// A receipt handle, a name, a URL, an ARN.
pub(super) fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(handle) = Handle::read(&text, SECRET) {
        assert_eq!(handle.write(SECRET), text, "one text for each handle");
    }
    if let Some(shown) = names::of_subscription(&text) {
        assert!(names::is_name(&shown), "{shown}");
        assert_eq!(names::to_subscription(&shown).as_deref(), Some(&*text));
    }
    if let Some(own) = names::to_subscription(&text).filter(|_| names::is_name(&text)) {
        assert_eq!(names::of_subscription(&own).as_deref(), Some(&*text));
    }
    if let Ok(name) = OWNER.queue_at(&text) {
        assert!(names::is_name(name), "{name}");
    }
    if let Some(name) = OWNER.queue_of(&text) {
        assert_eq!(OWNER.arn(name), text);
    }
}

/// A record of any producer as a message: lines of a header's name, a tab and its value; the last is the body.
pub(super) fn message(bytes: &[u8]) {
    let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    let body = lines.pop().unwrap_or_default();
    let header = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b'\t');
        let (name, value) = line.split_at(at.unwrap_or(line.len()));
        let value = value.strip_prefix(b"\t");
        (
            Bytes::copy_from_slice(name),
            value.map(Bytes::copy_from_slice),
        )
    };
    let record = Delivered {
        receipt: Receipt {
            subscription: SubscriptionId(1),
            partition: PartitionId(1),
            offset: Offset(1),
            epoch: LockEpoch {
                leader: LeaderEpoch(1),
                number: 1,
            },
        },
        timestamp_ms: 0,
        key: lines.first().map(|line| Bytes::copy_from_slice(line)),
        value: Some(Bytes::copy_from_slice(body)),
        headers: lines.iter().map(|line| header(line)).collect(),
        tries: Tries::default(),
        until: None,
    };
    let got = Received::of(&record);
    assert!(got.body.chars().all(is_said), "a body that SQS cannot say");
}

/// The first line is the header that names the action, the rest the body.
pub(super) fn json(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (head, body) = bytes.split_at(end.unwrap_or(0));
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let head = String::from_utf8_lossy(head);
    let asked = params::from_json(&head, body);
    assert_eq!(asked, params::from_json(&head, body), "the same twice");
    if let Ok(asked) = asked {
        named(&asked);
        let again = serde_json::to_vec(&asked.parameters).expect("parameters are JSON");
        assert_eq!(params::from_json(&head, &again), Ok(asked));
    }
}

/// A form.
pub(super) fn query(bytes: &[u8]) {
    let asked = params::from_query(bytes);
    assert_eq!(asked, params::from_query(bytes), "the same twice");
    if let Ok(asked) = asked {
        named(&asked);
    }
}

fn named(asked: &Asked) {
    assert!(!asked.action.is_empty() && asked.action.len() <= 64);
}
