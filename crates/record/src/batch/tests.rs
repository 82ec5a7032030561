//! Building, checking, cutting and changing batches; broken ones.

use proptest::prelude::*;

use super::*;
use crate::compression::CompressionError;
use crate::ids::ProducerEpoch;
use crate::varint::VarintError;

type Parts = (
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(String, Option<Vec<u8>>)>,
);

const LIMITS: DecodeLimits = DecodeLimits {
    bytes_max: 1 << 20,
    headers_max: 10,
};

fn build(codec: Codec, records: &[Parts]) -> Batch {
    let mut builder = BatchBuilder::new(codec, records.first().map_or(0, |record| record.0));
    for (timestamp, key, value, headers) in records {
        let headers: Vec<(&[u8], Option<&[u8]>)> = headers
            .iter()
            .map(|(key, value)| (key.as_bytes(), value.as_deref()))
            .collect();
        builder.push(*timestamp, key.as_deref(), value.as_deref(), &headers);
    }
    builder.finish()
}

fn values(timestamps: &[i64]) -> Batch {
    let record = |&timestamp| (timestamp, None, Some(b"value".to_vec()), vec![]);
    build(
        Codec::None,
        &timestamps.iter().map(record).collect::<Vec<_>>(),
    )
}

/// A batch with a right CRC whose bytes at `place` are others.
fn forge(batch: &Batch, place: usize, bytes: &[u8]) -> Batch {
    let mut forged = batch.bytes.to_vec();
    forged[place..place + bytes.len()].copy_from_slice(bytes);
    seal(&mut forged);
    Batch::check(forged.into()).unwrap()
}

/// A batch of one record whose body is `body`.
fn of_body(body: &[u8]) -> Batch {
    let mut record = Vec::new();
    crate::varint::write_i32(&mut record, i32::try_from(body.len()).unwrap());
    record.extend_from_slice(body);
    let mut bytes = values(&[0]).bytes[..HEADER_BYTES].to_vec();
    bytes.extend_from_slice(&record);
    let length = i32::try_from(bytes.len() - PREFIX_BYTES).unwrap();
    put(&mut bytes, 8, length.to_be_bytes());
    seal(&mut bytes);
    Batch::check(bytes.into()).unwrap()
}

fn error_of(body: &[u8]) -> RecordError {
    let refused = of_body(body).records(LIMITS).unwrap_err();
    let BatchError::Record { index: 0, error } = refused else {
        panic!("{refused}")
    };
    error
}

#[test]
fn a_built_batch_passes_as_produced() {
    let mut builder = BatchBuilder::new(Codec::None, 5)
        .producer(ProducerId(7), ProducerEpoch(1), i32::MAX)
        .transactional();
    assert!(builder.is_empty());
    builder.push(5, Some(b"k"), Some(b"v"), &[]);
    builder.push(4, None, None, &[(b"h", None)]);
    assert_eq!(builder.len(), 2);
    let bytes = builder.len_bytes();
    let batch = builder.finish();
    assert_eq!(batch.bytes.len(), bytes);
    assert_eq!(Batch::check(batch.bytes.clone()).as_ref(), Ok(&batch));
    assert_eq!(batch.check_produced(), Ok(()));
    let header = batch.header;
    assert!(header.attributes.is_transactional());
    assert_eq!(
        (header.base_offset, header.leader_epoch),
        (Offset(0), LeaderEpoch::NONE)
    );
    assert_eq!(
        (header.last_offset(), header.last_sequence()),
        (Offset(1), 0)
    );
    assert_eq!((header.base_timestamp, header.max_timestamp), (5, 5));
}

#[test]
fn what_a_producer_may_not_send() {
    let good = values(&[1, 2]);
    let attributes = |bits: i16| forge(&good, 21, &bits.to_be_bytes()).check_produced();
    assert_eq!(attributes(0), Ok(()));
    assert_eq!(attributes(5), Err(BatchError::UnknownCodec(5)));
    assert_eq!(
        attributes(1 << 3),
        Err(BatchError::LogAppendTimeFromProducer)
    );
    assert_eq!(attributes(1 << 5), Err(BatchError::ControlFromProducer));
    assert_eq!(attributes(1 << 6), Err(BatchError::Attributes(1 << 6)));
    assert_eq!(attributes(1 << 7), Err(BatchError::Attributes(1 << 7)));
    assert_eq!(attributes(i16::MIN), Err(BatchError::Attributes(i16::MIN)));
    let counts = BatchError::Counts {
        count: 2,
        last_offset_delta: 2,
    };
    assert_eq!(forge(&good, 26, &[2]).check_produced(), Err(counts));
    let counts = BatchError::Counts {
        count: 0,
        last_offset_delta: 1,
    };
    assert_eq!(forge(&good, 60, &[0]).check_produced(), Err(counts));
    let producer = |id: i64, epoch: i16, sequence: i32| {
        let fields = [
            &id.to_be_bytes()[..],
            &epoch.to_be_bytes(),
            &sequence.to_be_bytes(),
        ];
        forge(&good, 43, &fields.concat()).check_produced()
    };
    assert_eq!(producer(0, 0, 0), Ok(()));
    // As some clients send it.
    assert_eq!(producer(-1, 0, 0), Ok(()));
    for (id, epoch, sequence) in [(1, -1, 0), (1, 0, -1), (-2, 0, 0)] {
        let refused = BatchError::Producer {
            id,
            epoch,
            sequence,
        };
        assert_eq!(producer(id, epoch, sequence), Err(refused));
    }
    let refused = BatchError::Producer {
        id: -1,
        epoch: -1,
        sequence: -1,
    };
    assert_eq!(
        attributes(1 << 4),
        Err(refused),
        "a transaction has a producer"
    );
}

#[test]
fn negative_counts_are_refused() {
    let mut bytes = values(&[1]).bytes.to_vec();
    put(&mut bytes, 57, (-1_i32).to_be_bytes());
    seal(&mut bytes);
    let counts = BatchError::Counts {
        count: -1,
        last_offset_delta: 0,
    };
    assert_eq!(Batch::check(bytes.into()), Err(counts));
}

#[test]
fn cutting_looks_at_lengths_and_magic() {
    let one = values(&[1]).bytes;
    let two = values(&[1, 2]).bytes;
    assert_eq!(split(Bytes::new()), Ok(vec![]));
    let set = Bytes::from([&one[..], &two].concat());
    let cut = split(set.clone()).unwrap();
    assert_eq!(cut, [one.clone(), two]);
    assert_eq!(cut[0].as_ptr(), set.as_ptr(), "nothing is copied");
    let with = |place: usize, bytes: &[u8]| {
        let mut set = set.to_vec();
        set[place..place + bytes.len()].copy_from_slice(bytes);
        split(set.into())
    };
    for magic in [0, 1, 3, -1_i8] {
        let refused = Err(BatchError::UnsupportedMagic(magic));
        assert_eq!(with(16, &magic.to_be_bytes()), refused);
    }
    for length in [-1, 0, 13, 48, i32::MIN] {
        assert_eq!(
            with(8, &length.to_be_bytes()),
            Err(BatchError::Length(length))
        );
    }
    let truncated = BatchError::Truncated {
        needed: 12 + 0x7fff_ffff,
        got: set.len(),
    };
    assert_eq!(with(8, &i32::MAX.to_be_bytes()), Err(truncated));
    for cut in (1..set.len()).filter(|&cut| cut != one.len()) {
        let refused = split(set.slice(..cut));
        assert!(
            matches!(refused, Err(BatchError::Truncated { .. })),
            "cut to {cut}"
        );
    }
}

#[test]
fn stamps_leave_the_checksum_right() {
    let batch = values(&[1, 9]);
    let mut bytes = batch.bytes.to_vec();
    restamp(&mut bytes, Offset(1 << 40), LeaderEpoch(6));
    let stamped = Batch::check(bytes.into()).unwrap();
    assert_eq!(stamped.header.base_offset, Offset(1 << 40));
    assert_eq!(stamped.header.leader_epoch, LeaderEpoch(6));
    assert_eq!(stamped.header.last_offset(), Offset((1 << 40) + 1));
    let records = stamped.records(LIMITS).unwrap();
    assert_eq!(records.offset(1), Offset((1 << 40) + 1));

    let timed = batch.with_log_append_time(77);
    assert_eq!(
        Batch::check(set_log_append_time(&batch.bytes, 77).into()),
        Ok(timed.clone())
    );
    assert_eq!(Batch::check(timed.bytes.clone()).as_ref(), Ok(&timed));
    let records = timed.records(LIMITS).unwrap();
    let first = TimestampAt {
        offset_delta: 0,
        timestamp: 77,
    };
    assert_eq!(records.max_timestamp_record(), Some(first));
    assert_eq!(records.first_at_or_after(77), Some(first));
    assert_eq!(records.first_at_or_after(78), None);
}

#[test]
fn times_are_found() {
    let records = values(&[10, 30, 20, 30]).records(LIMITS).unwrap();
    let at = |offset_delta, timestamp| {
        Some(TimestampAt {
            offset_delta,
            timestamp,
        })
    };
    assert_eq!(records.max_timestamp_record(), at(1, 30));
    assert_eq!(records.first_at_or_after(0), at(0, 10));
    assert_eq!(records.first_at_or_after(11), at(1, 30));
    assert_eq!(records.first_at_or_after(31), None);
    let none = values(&[NO_TIMESTAMP]).records(LIMITS).unwrap();
    assert_eq!(none.max_timestamp_record(), None);
}

#[test]
fn bad_records_are_named() {
    let truncated = RecordError::Varint(VarintError::Truncated);
    assert_eq!(error_of(b""), RecordError::Length { length: 1, left: 0 });
    assert_eq!(error_of(&[0]), truncated);
    assert_eq!(error_of(&[0, 0, 0]), truncated);
    assert_eq!(
        error_of(&[0, 0, 0, 3, 1, 0]),
        RecordError::Length {
            length: -2,
            left: 2
        }
    );
    assert_eq!(
        error_of(&[0, 0, 0, 6, 1, 0]),
        RecordError::Length { length: 3, left: 2 }
    );
    assert_eq!(
        error_of(&[0, 0, 0, 1, 1, 0, 0]),
        RecordError::BytesAfter { bytes: 1 }
    );
    assert_eq!(
        error_of(&[0, 0, 0, 1, 1, 1]),
        RecordError::Length {
            length: -1,
            left: 0
        }
    );
    assert_eq!(
        error_of(&[0, 0, 0, 1, 1, 4, 0, 1]),
        RecordError::Length { length: 2, left: 2 }
    );
    let null_header_key = [0, 0, 0, 1, 1, 2, 1, 1];
    assert_eq!(
        error_of(&null_header_key),
        RecordError::Length {
            length: -1,
            left: 1
        }
    );
    let bad_text = [0, 0, 0, 1, 1, 4, 2, b'k', 1, 2, 0xff, 1];
    assert_eq!(error_of(&bad_text), RecordError::HeaderKey { header: 1 });
    let many = [&[0, 0, 0, 1, 1, 22][..], &[0, 1].repeat(11)].concat();
    assert_eq!(
        error_of(&many),
        RecordError::TooManyHeaders { count: 11, max: 10 }
    );
    assert_eq!(
        error_of(&[0, 0, 2, 1, 1, 0]),
        RecordError::OffsetDelta { delta: 1 }
    );
    assert_eq!(
        error_of(&[0, 0, 1, 1, 1, 0]),
        RecordError::OffsetDelta { delta: -1 }
    );
    let batch = of_body(&[0, 2, 0, 1, 1, 0]);
    let late = forge(&batch, 27, &i64::MAX.to_be_bytes())
        .records(LIMITS)
        .unwrap_err();
    assert_eq!(
        late,
        BatchError::Record {
            index: 0,
            error: RecordError::TimestampDelta { delta: 1 }
        }
    );
}

#[test]
fn counts_must_fit_the_records() {
    let two = values(&[1, 2]);
    let more = forge(&forge(&two, 26, &[2]), 60, &[3]);
    let missing = BatchError::Record {
        index: 2,
        error: RecordError::Missing,
    };
    assert_eq!(more.records(LIMITS).unwrap_err(), missing);
    let fewer = forge(&two, 60, &[1]);
    let bytes = (two.bytes.len() - HEADER_BYTES) / 2;
    assert_eq!(
        fewer.records(LIMITS).unwrap_err(),
        BatchError::BytesAfterRecords { bytes }
    );
    // A count that nothing stands behind costs no memory.
    let lie = forge(&forge(&two, 23, &[0x7f, 0xff]), 57, &[0x7f, 0xff]);
    assert_eq!(lie.records(LIMITS).unwrap_err(), missing);
}

#[test]
fn limits_hold_for_all_codecs() {
    for codec in Codec::ALL {
        let batch = build(codec, &[(0, None, Some(vec![0; 5000]), vec![])]);
        let limits = DecodeLimits {
            bytes_max: 5000,
            ..LIMITS
        };
        let error = CompressionError::TooLarge {
            codec,
            limit_bytes: 5000,
        };
        assert_eq!(
            batch.records(limits).unwrap_err(),
            BatchError::Compression(error)
        );
        assert_eq!(batch.records(LIMITS).unwrap().len(), 1);
    }
}

#[test]
fn records_are_slices() {
    let batch = values(&[1, 2]);
    let records = batch.records(LIMITS).unwrap();
    let value = records.get(1).unwrap().value.unwrap();
    assert!(
        batch.bytes.as_ptr_range().contains(&value.as_ptr()),
        "nothing is copied"
    );
    assert!(records.memory_bytes() < batch.bytes.len());
    assert_eq!(records.get(2), None);
}

fn parts() -> impl Strategy<Value = Vec<Parts>> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..60));
    let headers = prop::collection::vec((".{0,5}", bytes()), 0..4);
    prop::collection::vec((0..1_i64 << 42, bytes(), bytes(), headers), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_built_is_read(parts in parts()) {
        for codec in Codec::ALL {
            let batch = build(codec, &parts);
            let checked = Batch::check(batch.bytes.clone());
            prop_assert_eq!(checked.as_ref(), Ok(&batch));
            let records = batch.records(LIMITS).unwrap();
            let own = |bytes: Bytes| bytes.to_vec();
            let text = |bytes: Bytes| String::from_utf8(bytes.into()).unwrap();
            let read: Vec<Parts> = records.iter().map(|record| {
                let headers = record.headers.into_iter().map(|(k, v)| (text(k), v.map(own)));
                let timestamp = records.timestamp(record.timestamp_delta);
                (timestamp, record.key.map(own), record.value.map(own), headers.collect())
            }).collect();
            prop_assert_eq!(&read, &parts);
            let latest = parts.iter().map(|record| record.0).max().unwrap();
            prop_assert_eq!(batch.header.max_timestamp, latest);
            let found = records.max_timestamp_record().unwrap();
            let first = parts.iter().position(|record| record.0 == latest).unwrap();
            prop_assert_eq!(usize::try_from(found.offset_delta).unwrap(), first);
        }
    }

    #[test]
    fn a_flipped_bit_is_found(parts in parts(), place: prop::sample::Index, bit in 0..8_u8) {
        for codec in Codec::ALL {
            let mut bytes = build(codec, &parts).bytes.to_vec();
            // Length, magic, CRC and all that the CRC covers; not what the broker stamps.
            let place = 8 + place.index(bytes.len() - 8);
            if (12..16).contains(&place) {
                continue;
            }
            bytes[place] ^= 1_u8 << bit;
            prop_assert!(Batch::check(bytes.into()).is_err(), "byte {} bit {}", place, bit);
        }
    }

    #[test]
    fn a_cut_batch_is_refused(parts in parts()) {
        let bytes = build(Codec::Lz4, &parts).bytes;
        for cut in 0..bytes.len() {
            let refused = matches!(
                Batch::check(bytes.slice(..cut)),
                Err(BatchError::Truncated { .. })
            );
            prop_assert!(refused, "cut to {}", cut);
        }
        let longer = Bytes::from([&bytes[..], &[0]].concat());
        prop_assert_eq!(Batch::check(longer), Err(BatchError::BytesAfterBatch { bytes: 1 }));
    }

    #[test]
    fn forged_records_never_panic(
        parts in parts(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for codec in Codec::ALL {
            let mut bytes = build(codec, &parts).bytes.to_vec();
            for (place, byte) in &changes {
                let place = CRC_FROM + place.index(bytes.len() - CRC_FROM);
                bytes[place] = *byte;
            }
            seal(&mut bytes);
            if let Ok(Ok(records)) = Batch::check(bytes.into()).map(|b| b.records(LIMITS)) {
                prop_assert_eq!(records.iter().count(), records.len());
                prop_assert!(records.first_at_or_after(i64::MIN).is_some() || records.is_empty());
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Batch::check(bytes.clone().into()).is_err());
        drop(split(bytes.clone().into()));
        if let Some(magic) = bytes.get_mut(16) {
            *magic = 2;
            bytes[8..11].fill(0);
            drop(split(bytes.clone().into()));
            let _: Result<_, _> = BatchHeader::read(&bytes);
        }
    }
}
