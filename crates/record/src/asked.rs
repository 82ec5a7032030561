//! What a record asks of those that read it as a queue, by headers with reserved names.
//!
//! Any producer of any protocol can send them; doors whose protocol has fields for the same thing say it
//! by these headers, too, so that every reader sees it. The names and their values are data of this one
//! table, and `docs/queues.md` has it for users:
//!
//! | header | value | asks for |
//! | --- | --- | --- |
//! | [`PRIORITY`] | 0 to 255 | larger is handed out first, where the subscription goes by priority |
//! | [`DELIVER_AT`] | ms since 1970 | nobody gets it before |
//! | [`DELAY`] | ms | the same, counted from when it comes in |
//! | [`EXPIRES_AT`] | ms since 1970 | it is given up from then on |
//! | [`TTL`] | ms | the same, counted from when it comes in |
//! | [`ORDERING_KEY`] | any bytes | its key for order by key, instead of the record's own |
//! | [`DEDUPLICATION_ID`] | any bytes | of those with one id the first is taken |
//!
//! Numbers are decimal digits. Of a header that is there more than once the last counts.

use crate::batch::{DecodedRecords, Headers, RecordView};
use crate::facts::{
    Columns, DUE_AT_ONCE, EXPIRES_NEVER, Facts, NO_DEDUPLICATION, NO_ORDERING_KEY,
    deduplication_hash, ordering_key_hash,
};

/// What all reserved names begin with.
pub const PREFIX: &str = "mulgil.";
/// How early a record goes.
pub const PRIORITY: &str = "mulgil.priority";
/// From when on a record may be handed out.
pub const DELIVER_AT: &str = "mulgil.deliver-at";
/// After how long a record may be handed out.
pub const DELAY: &str = "mulgil.delay";
/// When a record is given up.
pub const EXPIRES_AT: &str = "mulgil.expires-at";
/// After how long a record is given up.
pub const TTL: &str = "mulgil.ttl";
/// By what a record is kept in order.
pub const ORDERING_KEY: &str = "mulgil.ordering-key";
/// By what a record is known if it is sent again.
pub const DEDUPLICATION_ID: &str = "mulgil.deduplication-id";

/// The last moment that can be asked for: the end of the year 9999, ms since 1970.
pub const LATEST_MS: i64 = 253_402_300_799_999;

/// A record asks for something that is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header {header} of record {index}: {why}")]
pub struct AskedError {
    /// Its place in the batch.
    pub index: usize,
    /// By which header.
    pub header: &'static str,
    /// Why that is not possible.
    pub why: AskedFault,
}

/// Why what a record asks for is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskedFault {
    /// No number, or too large a one.
    #[error("a number from 0 to {most} is expected, in decimal digits")]
    Number {
        /// The largest that is possible.
        most: i64,
    },
    /// The same is said by another header.
    #[error("{0} is there as well")]
    Both(&'static str),
    /// A key or an id of no bytes.
    #[error("a value is expected")]
    Empty,
}

/// Works out what queue-style readers of a batch's records must know.
///
/// `now_ms` is when it comes in, ms since 1970. A column that has no value for any record is left out.
///
/// # Errors
///
/// The first record that asks for something in `columns` by a value that it does not take.
pub fn facts_of(
    records: &DecodedRecords,
    columns: Columns,
    now_ms: i64,
) -> Result<Facts, AskedError> {
    let count = records.len();
    let mut facts = Facts::new(0, u32::try_from(count).unwrap_or(u32::MAX));
    facts.worked_out = columns;
    for (index, record) in records.views().enumerate() {
        let asked = Asked::read(record.headers);
        let fault = |(header, why)| AskedError { index, header, why };
        if columns.has(Columns::DEDUPLICATION) {
            let id = bytes(DEDUPLICATION_ID, asked.deduplication_id);
            let id = id.map_err(fault)?.map(deduplication_hash);
            put(&mut facts.deduplication, index, count, id, NO_DEDUPLICATION);
        }
        if columns.has(Columns::ORDERING_KEY) {
            let key = bytes(ORDERING_KEY, asked.ordering_key);
            let key = key.map_err(fault)?.or(record.key).map(ordering_key_hash);
            put(&mut facts.ordering_keys, index, count, key, NO_ORDERING_KEY);
        }
        if columns.has(Columns::DUE) {
            let due = moment((DELIVER_AT, asked.deliver_at), (DELAY, asked.delay), now_ms);
            let due = due.map_err(fault)?;
            put(&mut facts.due_ms, index, count, due, DUE_AT_ONCE);
        }
        if columns.has(Columns::EXPIRY) {
            let expiry = moment((EXPIRES_AT, asked.expires_at), (TTL, asked.ttl), now_ms);
            let expiry = expiry.map_err(fault)?;
            put(&mut facts.expiry_ms, index, count, expiry, EXPIRES_NEVER);
        }
        if columns.has(Columns::SIZE) {
            facts.sizes.push(size(&record));
        }
        if columns.has(Columns::PRIORITY) {
            let most = i64::from(u8::MAX);
            let priority = asked.priority.map(|value| number(value, most)).transpose();
            let priority = priority.map_err(|why| fault((PRIORITY, why)))?;
            let priority = priority.map(|priority| u8::try_from(priority).unwrap_or(u8::MAX));
            put(&mut facts.priorities, index, count, priority, 0);
        }
    }
    Ok(facts)
}

/// Notes the value of one record, in a column that is begun by the first that has any.
fn put<T: Copy + PartialEq>(
    column: &mut Vec<T>,
    index: usize,
    count: usize,
    value: Option<T>,
    none: T,
) {
    let value = value.unwrap_or(none);
    if column.is_empty() {
        if value == none {
            return;
        }
        column.resize(count, none);
    }
    if let Some(place) = column.get_mut(index) {
        *place = value;
    }
}

fn size(record: &RecordView<'_>) -> u32 {
    let field = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers = record
        .headers
        .map(|(name, value)| name.len() + field(value));
    let bytes = field(record.key) + field(record.value) + headers.sum::<usize>();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The reserved headers of one record.
#[derive(Clone, Copy, Debug, Default)]
struct Asked<'a> {
    priority: Option<&'a [u8]>,
    deliver_at: Option<&'a [u8]>,
    delay: Option<&'a [u8]>,
    expires_at: Option<&'a [u8]>,
    ttl: Option<&'a [u8]>,
    ordering_key: Option<&'a [u8]>,
    deduplication_id: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn read(headers: Headers<'a>) -> Self {
        let mut asked = Self::default();
        for (name, value) in headers {
            let place = match name {
                PRIORITY => &mut asked.priority,
                DELIVER_AT => &mut asked.deliver_at,
                DELAY => &mut asked.delay,
                EXPIRES_AT => &mut asked.expires_at,
                TTL => &mut asked.ttl,
                ORDERING_KEY => &mut asked.ordering_key,
                DEDUPLICATION_ID => &mut asked.deduplication_id,
                _ => continue,
            };
            *place = Some(value.unwrap_or_default());
        }
        asked
    }
}

type Refused = (&'static str, AskedFault);

/// A value that is bytes.
fn bytes<'a>(header: &'static str, value: Option<&'a [u8]>) -> Result<Option<&'a [u8]>, Refused> {
    match value {
        Some([]) => Err((header, AskedFault::Empty)),
        value => Ok(value),
    }
}

/// A moment, said by itself or by how long it is until then.
fn moment(
    (at_header, at): (&'static str, Option<&[u8]>),
    (after_header, after): (&'static str, Option<&[u8]>),
    now_ms: i64,
) -> Result<Option<i64>, Refused> {
    match (at, after) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err((after_header, AskedFault::Both(at_header))),
        (Some(at), None) => {
            let at = number(at, LATEST_MS).map_err(|why| (at_header, why))?;
            Ok(Some(at))
        }
        (None, Some(after)) => {
            let most = LATEST_MS.saturating_sub(now_ms).max(0);
            let after = number(after, most).map_err(|why| (after_header, why))?;
            Ok(Some(now_ms.saturating_add(after)))
        }
    }
}

/// A number of decimal digits, from 0 to `most`.
fn number(value: &[u8], most: i64) -> Result<i64, AskedFault> {
    let digits = value.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(value).ok().filter(|_| digits);
    let parsed = text.and_then(|text| text.parse().ok());
    let within = parsed.filter(|number| *number <= most);
    within.ok_or(AskedFault::Number { most })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, DecodeLimits};
    use crate::compression::Codec;

    const NOW: i64 = 1_000_000;

    type Sent<'a> = (Option<&'a [u8]>, &'a [(&'a str, &'a str)]);

    fn records(sent: &[Sent<'_>], codec: Codec) -> DecodedRecords {
        let mut builder = BatchBuilder::new(codec, 0);
        for (key, headers) in sent {
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())))
                .collect();
            builder.push(0, *key, Some(b"value"), &headers);
        }
        let batch = builder.finish();
        batch.records(DecodeLimits::default()).unwrap()
    }

    fn facts(sent: &[Sent<'_>], columns: Columns) -> Result<Facts, AskedError> {
        facts_of(&records(sent, Codec::None), columns, NOW)
    }

    #[test]
    fn what_records_ask_for_is_told_of_compressed_batches_too() {
        let sent: &[Sent<'_>] = &[
            (None, &[]),
            (
                Some(b"k"),
                &[(PRIORITY, "7"), (DELAY, "500"), (EXPIRES_AT, "1500000")],
            ),
            (
                Some(b"k"),
                &[
                    (ORDERING_KEY, "other"),
                    (DELIVER_AT, "1000500"),
                    (TTL, "1"),
                    (DEDUPLICATION_ID, "id"),
                ],
            ),
        ];
        for codec in [
            Codec::None,
            Codec::Gzip,
            Codec::Zstd,
            Codec::Lz4,
            Codec::Snappy,
        ] {
            let columns = Columns(Columns::ALL.0 & !Columns::VERDICTS.0);
            let facts = facts_of(&records(sent, codec), columns, NOW).unwrap();
            let (k, other) = (ordering_key_hash(b"k"), ordering_key_hash(b"other"));
            assert_eq!(facts.ordering_keys, [NO_ORDERING_KEY, k, other]);
            assert_eq!(facts.due_ms, [DUE_AT_ONCE, NOW + 500, NOW + 500]);
            assert_eq!(facts.expiry_ms, [EXPIRES_NEVER, 1_500_000, NOW + 1]);
            assert_eq!(facts.priorities, [0, 7, 0]);
            assert_eq!(facts.deduplication_id(2), Some(deduplication_hash(b"id")));
            assert_eq!(facts.size(0), Some(5));
            assert_eq!(Facts::decode(&facts.encode()), Ok(facts));
        }
    }

    #[test]
    fn what_nobody_asks_for_costs_a_bit_and_what_is_not_wanted_is_not_read() {
        let columns = Columns::DUE.with(Columns::EXPIRY).with(Columns::PRIORITY);
        let plain = facts(&[(None, &[]), (Some(b"k"), &[])], columns).unwrap();
        assert_eq!((plain.columns(), plain.known()), (Columns(0), columns));
        assert_eq!(plain.encode().len(), 16);
        let forged: &[Sent<'_>] = &[(None, &[(PRIORITY, "soon")])];
        assert!(facts(forged, Columns::DUE).is_ok());
    }

    #[test]
    fn the_last_of_several_counts() {
        let sent: &[Sent<'_>] = &[(None, &[(PRIORITY, "soon"), (PRIORITY, "3")])];
        assert_eq!(facts(sent, Columns::PRIORITY).unwrap().priorities, [3]);
    }

    #[test]
    fn what_is_not_possible_is_named() {
        let all = Columns(Columns::ALL.0 & !Columns::VERDICTS.0);
        for (headers, said) in [
            (
                &[(PRIORITY, "256")][..],
                "header mulgil.priority of record 1: a number from 0 to 255 is expected, in decimal digits",
            ),
            (
                &[(DELAY, "-1")],
                "header mulgil.delay of record 1: a number from 0 to 253402299799999 is expected, in decimal digits",
            ),
            (
                &[(TTL, "")],
                "header mulgil.ttl of record 1: a number from 0 to 253402299799999 is expected, in decimal digits",
            ),
            (
                &[(DELIVER_AT, "99999999999999999999")],
                "header mulgil.deliver-at of record 1: a number from 0 to 253402300799999 is expected, in decimal digits",
            ),
            (
                &[(DELAY, "1"), (DELIVER_AT, "1")],
                "header mulgil.delay of record 1: mulgil.deliver-at is there as well",
            ),
            (
                &[(ORDERING_KEY, "")],
                "header mulgil.ordering-key of record 1: a value is expected",
            ),
        ] {
            let refused = facts(&[(None, &[]), (None, headers)], all).unwrap_err();
            assert_eq!(refused.to_string(), said);
        }
    }
}
