//! What producers send: varints, batches, their codecs, and the facts beside them.

use bytes::Bytes;
use mulgil_record::asked::facts_of;
use mulgil_record::batch::{
    self, Batch, BatchBuilder, BatchHeader, DecodeLimits, DecodedRecords, RecordView,
};
use mulgil_record::compression::{self, Codec};
use mulgil_record::facts::{Columns, Facts, FactsHeader};
use mulgil_record::varint;

use crate::mend;

/// What a batch may unpack to here. Small, so that a bomb is found by what it takes, not by waiting.
const UNPACKED_MAX: usize = 1 << 20;
const LIMITS: DecodeLimits = DecodeLimits {
    bytes_max: UNPACKED_MAX,
    headers_max: 1000,
};

pub(super) fn varint(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(value) = varint::read_i64(&mut rest) {
        let mut out = Vec::new();
        varint::write_i64(&mut out, value);
        assert_eq!(out.len(), varint::len(value));
        assert_eq!(varint::read_i64(&mut &out[..]), Ok(value));
    }
    let mut rest = bytes;
    while let Ok(value) = varint::read_i32(&mut rest) {
        let mut out = Vec::new();
        varint::write_i32(&mut out, value);
        assert_eq!(varint::read_i32(&mut &out[..]), Ok(value));
    }
}

pub(super) fn batch(bytes: &[u8]) {
    let (mended, mut bytes) = mend::choice(bytes);
    if mended {
        mend::batch(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    let Ok(batch) = Batch::check(bytes.clone()) else {
        return;
    };
    assert_eq!(
        Batch::check(bytes.clone()).as_ref(),
        Ok(&batch),
        "the same twice"
    );
    assert_eq!(batch::split(bytes.clone()), Ok(vec![bytes]));
    let produced = batch.check_produced();
    let stamped = batch.with_log_append_time(77);
    assert_eq!(Batch::check(stamped.bytes.clone()).as_ref(), Ok(&stamped));
    assert_eq!(stamped.bytes, batch::set_log_append_time(&batch.bytes, 77));
    let Ok(records) = batch.records(LIMITS) else {
        return;
    };
    assert_eq!(i32::try_from(records.len()), Ok(batch.header.record_count));
    assert!(records.memory_bytes() <= UNPACKED_MAX * 2);
    walk(&records);
    if let Ok(asked) = facts_of(&records, Columns::ALL, 77) {
        assert_eq!(Facts::decode(&asked.encode()).as_ref(), Ok(&asked));
        assert_eq!(asked.known(), Columns::ALL);
    }
    if produced.is_ok() {
        rebuild(&batch.header, &records);
    }
}

fn walk(records: &DecodedRecords) {
    let mut last = -1;
    for (record, view) in records.iter().zip(records.views()) {
        assert!(record.offset_delta > last, "offsets rise");
        last = record.offset_delta;
        assert_eq!(record.key.as_deref(), view.key);
        assert_eq!(record.value.as_deref(), view.value);
        assert_eq!(record.headers.len(), view.headers.len());
    }
    let latest = records.max_timestamp_record();
    if let Some(latest) = latest {
        let found = records.first_at_or_after(latest.timestamp);
        assert_eq!(
            found,
            Some(latest),
            "what has the largest timestamp is found by it"
        );
    }
}

/// Writes the records again and compares what is read back.
fn rebuild(header: &BatchHeader, records: &DecodedRecords) {
    let mut builder = BatchBuilder::new(Codec::None, header.base_timestamp);
    for view in records.views() {
        let timestamp = header.base_timestamp.wrapping_add(view.timestamp_delta);
        let headers: Vec<_> = view.headers.map(|(k, v)| (k.as_bytes(), v)).collect();
        builder.push(timestamp, view.key, view.value, &headers);
    }
    let again = builder.finish();
    let again = again
        .records(LIMITS)
        .map_err(|error| format!("what was built is no batch: {error}"));
    let again = again.expect("written and read by the same crate");
    let parts = |view: RecordView<'_>| {
        let headers: Vec<_> = view
            .headers
            .map(|(k, v)| (k.to_owned(), v.map(<[u8]>::to_vec)))
            .collect();
        let (key, value) = (view.key.map(<[u8]>::to_vec), view.value.map(<[u8]>::to_vec));
        (view.timestamp_delta, key, value, headers)
    };
    // Written from 0 on without gaps: so must the offsets be that a producer may send.
    for (number, (ours, theirs)) in (0_i32..).zip(again.views().zip(records.views())) {
        assert_eq!(ours.offset_delta, number);
        assert_eq!(theirs.offset_delta, number, "a produced batch without gaps");
        assert_eq!(parts(ours), parts(theirs));
    }
    assert_eq!(again.len(), records.len());
}

pub(super) fn record_set(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(batches) = batch::split(bytes.clone()) {
        assert_eq!(
            batches.concat(),
            bytes,
            "nothing is lost between two batches"
        );
    }
}

pub(super) fn gzip(bytes: &[u8]) {
    codec(Codec::Gzip, bytes);
}

pub(super) fn snappy(bytes: &[u8]) {
    codec(Codec::Snappy, bytes);
}

pub(super) fn lz4(bytes: &[u8]) {
    codec(Codec::Lz4, bytes);
}

pub(super) fn zstd(bytes: &[u8]) {
    codec(Codec::Zstd, bytes);
}

fn codec(codec: Codec, bytes: &[u8]) {
    let Ok(unpacked) = compression::decompress(codec, bytes, UNPACKED_MAX) else {
        return;
    };
    assert!(unpacked.len() <= UNPACKED_MAX);
    let exactly = compression::decompress(codec, bytes, unpacked.len());
    assert_eq!(
        exactly.as_ref(),
        Ok(&unpacked),
        "the bound itself is allowed"
    );
    if let Some(less) = unpacked.len().checked_sub(1) {
        let less = compression::decompress(codec, bytes, less);
        assert!(less.is_err(), "one byte over the bound is not");
    }
    let packed = compression::compress(codec, &unpacked).expect("there is memory");
    let again = compression::decompress(codec, &packed, UNPACKED_MAX);
    assert_eq!(again, Ok(unpacked));
}

pub(super) fn facts(bytes: &[u8]) {
    let header = FactsHeader::read(bytes);
    let Ok(facts) = Facts::decode(bytes) else {
        return;
    };
    if !bytes.is_empty() {
        let header = header.expect("facts have a header");
        assert_eq!(
            (header.generation, header.count),
            (facts.generation, facts.count)
        );
    }
    for index in 0..usize::try_from(facts.count).map_or(1000, |count| count.min(1000)) + 1 {
        let _looked = (
            facts.ordering_key(index),
            facts.deduplication_id(index),
            facts.due(index),
        );
        let _looked = (
            facts.expiry(index),
            facts.size(index),
            facts.priority(index),
        );
        let _looked = (facts.verdict(index, 0), facts.verdict(index, usize::MAX));
    }
    let again = facts.encode();
    if !bytes.is_empty() && !again.is_empty() {
        assert_eq!(Facts::decode(&again), Ok(facts));
    }
}
