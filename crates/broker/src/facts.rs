//! Facts of batches, as doors work them out: what queue-style readers must know of each record.
//!
//! Off the lane, once for each batch that comes in, and only what somebody needs
//! ([`Catalog::needed`](crate::meta::catalog::Catalog::needed)).

use mulgil_core::selector::{Properties, Selector, Value};
use mulgil_meta::subscription::Needed;
use mulgil_record::asked::{AskedError, facts_of};
use mulgil_record::batch::{DecodedRecords, NO_TIMESTAMP, Record};
use mulgil_record::facts::{Columns, Facts};

/// The name by which a filter asks for a record's key, as text.
pub const KEY: &str = "mulgil.key";
/// The name by which a filter asks for a record's timestamp, ms since 1970.
pub const TIMESTAMP: &str = "mulgil.timestamp";

/// A record as filters see it.
///
/// Names are those of headers, of which the last counts if there are several; values that are no UTF-8 are
/// there and compare with nothing. [`KEY`] and [`TIMESTAMP`] stand for these two, unless a header has that name.
#[derive(Clone, Debug)]
pub struct Selectable<'a> {
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value: the content.
    pub value: Option<&'a [u8]>,
    /// Its timestamp, ms since 1970, or [`NO_TIMESTAMP`].
    pub timestamp_ms: i64,
    /// Its headers, in their order.
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

impl<'a> Selectable<'a> {
    /// An unpacked record.
    #[must_use]
    pub fn of(record: &'a Record, timestamp_ms: i64) -> Self {
        let headers = record.headers.iter();
        Self {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            timestamp_ms,
            headers: headers
                .filter_map(|(name, value)| Some((str::from_utf8(name).ok()?, value.as_deref())))
                .collect(),
        }
    }

    /// Whether a filter selects it. One that would take too many steps does not.
    #[must_use]
    pub fn is_selected(&self, by: &Selector) -> bool {
        by.matches(self).unwrap_or(false)
    }
}

fn text(bytes: Option<&[u8]>) -> Value<'_> {
    match bytes.map(str::from_utf8) {
        None => Value::Null,
        Some(Ok(text)) => Value::Text(text.into()),
        Some(Err(_)) => Value::Opaque,
    }
}

impl Properties for Selectable<'_> {
    fn property(&self, name: &str) -> Value<'_> {
        let mut headers = self.headers.iter().rev();
        if let Some((_, value)) = headers.find(|(header, _)| *header == name) {
            return text(*value);
        }
        match name {
            KEY => text(self.key),
            TIMESTAMP if self.timestamp_ms != NO_TIMESTAMP => Value::Exact(self.timestamp_ms),
            _ => Value::Null,
        }
    }

    fn content(&self) -> Option<&[u8]> {
        self.value
    }
}

/// Works out what is needed of the records of a batch that comes in at `now_ms`, ms since 1970.
///
/// # Errors
///
/// A record asks for something that is not possible.
pub fn work_out(
    records: &DecodedRecords,
    needed: &Needed,
    now_ms: i64,
) -> Result<Facts, AskedError> {
    let mut facts = facts_of(records, needed.columns, now_ms)?;
    judge(records, needed, &mut facts);
    Ok(facts)
}

/// Works out what is needed of records that were in a queue before. What each asked for when it came, it asks
/// for again, but for its delay and its expiry: these are over. What it could not ask for where it comes from,
/// it need not be able to here.
#[must_use]
pub fn work_out_moved(records: &DecodedRecords, needed: &Needed) -> Facts {
    if needed.is_nothing() {
        return Facts::default();
    }
    let without = |columns: Columns| Needed {
        columns: Columns(needed.columns.0 & !columns.0),
        ..needed.clone()
    };
    let over = Columns::DUE.with(Columns::EXPIRY);
    let asked = over.with(Columns::PRIORITY).with(Columns::ORDERING_KEY);
    let asked = asked.with(Columns::DEDUPLICATION);
    let facts = work_out(records, &without(over), 0);
    let facts = facts.or_else(|_wrong| work_out(records, &without(asked), 0));
    let mut facts = facts.unwrap_or_default();
    facts.worked_out = needed.columns;
    facts
}

/// Asks all filters of all records.
fn judge(records: &DecodedRecords, needed: &Needed, facts: &mut Facts) {
    if !needed.columns.has(Columns::VERDICTS) || records.is_empty() {
        return;
    }
    facts.generation = needed.generation;
    facts.verdict_bytes = needed.verdict_bytes();
    let width = usize::from(facts.verdict_bytes);
    facts.verdicts = vec![0; width * records.len()];
    for (record, verdicts) in { records.views() }.zip(facts.verdicts.chunks_exact_mut(width)) {
        let seen = Selectable {
            key: record.key,
            value: record.value,
            timestamp_ms: records.timestamp(record.timestamp_delta),
            headers: record.headers.collect(),
        };
        for filter in &needed.filters {
            let (byte, bit) = (usize::from(filter.slot() / 8), filter.slot() % 8);
            if let Some(byte) = verdicts.get_mut(byte)
                && seen.is_selected(filter.selector())
            {
                *byte |= 1 << bit;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mulgil_meta::subscription::Filter;
    use mulgil_record::batch::{BatchBuilder, DecodeLimits};
    use mulgil_record::compression::Codec;

    use super::*;

    fn verdicts(filters: &[(u16, &str)]) -> Vec<Vec<bool>> {
        let mut builder = BatchBuilder::new(Codec::Zstd, 500);
        let headers: &[(&[u8], Option<&[u8]>)] = &[
            (b"color", Some(b"red")),
            (b"color", Some(b"blue")),
            (b"raw", Some(b"\xff")),
        ];
        builder.push(500, Some(b"k"), Some(br#"{"price": 7}"#), headers);
        builder.push(600, None, Some(b"no json"), &[]);
        let batch = builder.finish();
        let records = batch.records(DecodeLimits::default()).unwrap();
        let filter =
            |(slot, text): &(u16, &str)| Filter::new(Selector::parse(text).unwrap(), *slot);
        let needed = Needed {
            columns: Columns::VERDICTS,
            generation: 7,
            filters: filters.iter().map(filter).collect(),
        };
        let facts = work_out(&records, &needed, 0).unwrap();
        assert_eq!(facts.generation, 7);
        assert_eq!(Facts::decode(&facts.encode()).as_ref(), Ok(&facts));
        let of = |index| {
            let slots = filters.iter().map(|(slot, _)| usize::from(*slot));
            slots
                .map(|slot| facts.verdict(index, slot).unwrap())
                .collect()
        };
        (0..records.len()).map(of).collect()
    }

    #[test]
    fn each_filter_has_its_verdict_on_each_record() {
        let told = verdicts(&[
            (0, "color = 'blue'"),
            (3, "color = 'red'"),
            (8, "color IS NULL"),
            (9, "raw IS NOT NULL AND raw <> 'x'"),
            (20, "JSON_VALUE(body, '$.price') > 5"),
            (21, "\"mulgil.key\" = 'k'"),
            (22, "\"mulgil.timestamp\" BETWEEN 550 AND 650"),
        ]);
        let bits = |text: &str| text.chars().map(|bit| bit == '1').collect::<Vec<_>>();
        assert_eq!(told, [bits("1000110"), bits("0010001")]);
    }
}
