//! What the Kafka door counts: requests with their durations, messages, error codes.
//!
//! All connections of a listener count into one place, a few additions a request. The numbers of
//! labels are those of the protocol: a row for each kind of request and for each error code.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use mulgil_broker::figures::{Counted, Durations};

use crate::versions::SUPPORTED;

/// Error codes with a counter of their own, from -1 on; Kafka 4 has 133. Others share the last.
const CODES: usize = 160;

/// Where the count of records stands in a record batch.
const RECORDS_AT: usize = 57;

/// What the Kafka door has counted since the start.
pub struct KafkaFigures {
    /// A clock in microseconds, for durations alone.
    micros: Box<dyn Fn() -> u64 + Send + Sync>,
    /// By place in [`SUPPORTED`].
    requests: Vec<Durations>,
    errors: [AtomicU64; CODES],
    published: AtomicU64,
    published_bytes: AtomicU64,
    delivered: AtomicU64,
    delivered_bytes: AtomicU64,
}

/// Messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// How many.
    pub count: u64,
    /// Bytes of the batches that they came in, compressed ones as they are.
    pub bytes: u64,
}

impl fmt::Debug for KafkaFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaFigures")
            .field("published", &self.published())
            .field("delivered", &self.delivered())
            .finish_non_exhaustive()
    }
}

impl KafkaFigures {
    /// Nothing is counted yet; durations are measured by `micros`, a clock in microseconds.
    pub fn new(micros: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            micros: Box::new(micros),
            requests: SUPPORTED.iter().map(|_| Durations::default()).collect(),
            errors: std::array::from_fn(|_| AtomicU64::new(0)),
            published: AtomicU64::new(0),
            published_bytes: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            delivered_bytes: AtomicU64::new(0),
        }
    }

    /// From a request to its answer, by kind of request, for those that there were.
    pub fn requests(&self) -> impl Iterator<Item = (String, Counted)> {
        let counted = self.requests.iter().map(Durations::counted);
        let named = SUPPORTED.iter().zip(counted);
        named
            .filter(|(_, counted)| counted.count > 0)
            .map(|(kind, counted)| (format!("{:?}", kind.key), counted))
    }

    /// Errors that were told, by the name that Kafka has for the code.
    pub fn errors(&self) -> impl Iterator<Item = (String, u64)> {
        let counts = self
            .errors
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let coded = (-1..).zip(counts);
        coded
            .filter(|(_, count)| *count > 0)
            .map(|(code, count)| (name_of(code), count))
    }

    /// Messages taken.
    pub fn published(&self) -> Messages {
        Messages {
            count: self.published.load(Ordering::Relaxed),
            bytes: self.published_bytes.load(Ordering::Relaxed),
        }
    }

    /// Messages handed out.
    pub fn delivered(&self) -> Messages {
        Messages {
            count: self.delivered.load(Ordering::Relaxed),
            bytes: self.delivered_bytes.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn now_us(&self) -> u64 {
        (self.micros)()
    }

    pub(crate) fn answered(&self, key: ApiKey, began_us: u64) {
        let place = SUPPORTED.iter().position(|kind| kind.key == key);
        if let Some(durations) = place.and_then(|place| self.requests.get(place)) {
            durations.count(self.now_us().saturating_sub(began_us));
        }
    }

    pub(crate) fn told(&self, code: i16) {
        if code == 0 {
            return;
        }
        let place = usize::try_from(i32::from(code) + 1).unwrap_or(CODES);
        let count = self.errors.get(place.min(CODES - 1));
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn took(&self, messages: Messages) {
        self.published.fetch_add(messages.count, Ordering::Relaxed);
        self.published_bytes
            .fetch_add(messages.bytes, Ordering::Relaxed);
    }

    pub(crate) fn gave(&self, messages: Messages) {
        if messages == Messages::default() {
            return;
        }
        self.delivered.fetch_add(messages.count, Ordering::Relaxed);
        self.delivered_bytes
            .fetch_add(messages.bytes, Ordering::Relaxed);
    }
}

impl Messages {
    /// Adds those of a stored batch, by what its header says.
    pub(crate) fn add_batch(&mut self, batch: &Bytes) {
        let records = batch
            .get(RECORDS_AT..)
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |records| i32::from_be_bytes(*records));
        self.count += u64::try_from(records).unwrap_or(0);
        self.bytes += batch.len() as u64;
    }
}

/// Kafka's name of an error code (`Errors.java`).
fn name_of(code: i16) -> String {
    if usize::try_from(code).is_ok_and(|code| code + 2 >= CODES) {
        return "OTHER".to_owned();
    }
    match ResponseError::try_from_code(code) {
        Some(ResponseError::Unknown(_)) | None => format!("CODE_{code}"),
        Some(error) => shouted(&format!("{error:?}")),
    }
}

/// `UnknownTopicId` as `UNKNOWN_TOPIC_ID`.
fn shouted(name: &str) -> String {
    let mut shouted = String::new();
    for (at, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && at > 0 {
            shouted.push('_');
        }
        shouted.push(letter.to_ascii_uppercase());
    }
    shouted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_that_kafka_has_for_them() {
        let figures = KafkaFigures::new(|| 0);
        for code in [-1, 0, 3, 3, 100, i16::MAX] {
            figures.told(code);
        }
        let errors: Vec<_> = figures.errors().collect();
        let wanted = [
            ("UNKNOWN_SERVER_ERROR", 1),
            ("UNKNOWN_TOPIC_OR_PARTITION", 2),
            ("UNKNOWN_TOPIC_ID", 1),
            ("OTHER", 1),
        ];
        let wanted = wanted.map(|(name, count)| (name.to_owned(), count));
        assert_eq!(errors, wanted);
    }
}
