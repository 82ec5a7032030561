//! Records on their way to a dead-letter target: read, unpacked, and packed with their death.

use bytes::Bytes;
use mulgil_core::queue::NotArchived;
use mulgil_log::reader::ReadError;
use mulgil_record::batch::{Batch, BatchBuilder, DecodeLimits, NO_TIMESTAMP, Record};
use mulgil_record::compression::Codec;

use super::OpenChunks;
use super::part::{read_places, read_sealed};
use crate::death::{self, DeathRecord};
use crate::facts::{Selectable, work_out_moved};
use crate::lane::{Burial, BuryTask, ColdPart, payload_batch};

/// Makes the batch for the target, or says why there is none.
pub(super) fn pack(task: &BuryTask, chunks: &OpenChunks) -> Burial {
    let packed = read(task, chunks).and_then(|batch| packed(task, batch));
    Burial {
        subscription: task.subscription,
        partition: task.partition,
        offset: task.death.offset,
        packed,
    }
}

/// The batch in which the record lies.
fn read(task: &BuryTask, chunks: &OpenChunks) -> Result<Bytes, NotArchived> {
    let found = match &task.place {
        ColdPart::Memory(batch) => return Ok(batch.clone()),
        ColdPart::Places { partition, entries } => read_places(*partition, entries, chunks),
        ColdPart::Sealed { read, .. } => read_sealed(read, chunks),
    };
    match found {
        Ok(found) => {
            let first = found.first().ok_or(NotArchived::Unreadable)?;
            Ok(payload_batch(&first.payload))
        }
        Err(ReadError::Damaged(range)) => {
            tracing::error!(?range, "a record that was given up is damaged, and dropped");
            Err(NotArchived::Unreadable)
        }
        Err(ReadError::Fault(error)) => {
            // The disk may come back; it is asked again later and later.
            tracing::warn!(%error, "a record that was given up cannot be read at present");
            Err(NotArchived::TargetFull)
        }
    }
}

fn packed(task: &BuryTask, batch: Bytes) -> Result<(Batch, Bytes), NotArchived> {
    let offset = task.death.offset;
    let unreadable = |why: &dyn std::fmt::Display| {
        let subscription = &task.from.subscription;
        tracing::error!(%why, %subscription, offset = offset.0, "a record that was given up is dropped");
        NotArchived::Unreadable
    };
    let batch = Batch::check(batch).map_err(|why| unreadable(&why))?;
    if batch.header.attributes.is_control() {
        return Err(unreadable(&"it is a marker of a transaction"));
    }
    let records = batch.records(DecodeLimits::default());
    let records = records.map_err(|why| unreadable(&why))?;
    let base = batch.header.base_offset;
    let at = |record: &Record| base.plus(i64::from(record.offset_delta)) == offset;
    // Compaction may have taken it away.
    let record = { 0..records.len() }.find_map(|index| records.get(index).filter(at));
    let record = record.ok_or_else(|| unreadable(&"there is no such record any more"))?;
    let timestamp = match batch.header.base_timestamp {
        NO_TIMESTAMP => NO_TIMESTAMP,
        base => base.saturating_add(record.timestamp_delta),
    };
    // What came before the subscription was there has not been judged yet.
    if let Some(filter) = &task.filter
        && !Selectable::of(&record, timestamp).is_selected(filter.selector())
    {
        return Err(NotArchived::Unreadable);
    }
    let new = DeathRecord::of(&task.from, &task.death, timestamp);
    let deaths = death::died(deaths_of(&record), new);
    let deaths = deaths.ok_or_else(|| unreadable(&"it goes round and nobody takes it"))?;
    let batch = with_deaths(&record, &deaths, task.death.at.0);
    let records = batch.records(DecodeLimits::default());
    let records = records.map_err(|why| unreadable(&why))?;
    let facts = work_out_moved(&records, &task.needed).encode().into();
    Ok((batch, facts))
}

/// What it died of before.
fn deaths_of(record: &Record) -> Vec<DeathRecord> {
    let headers = record.headers.iter();
    let deaths = headers.filter(|(key, _)| key.as_ref() == death::HEADER.as_bytes());
    let deaths = deaths.filter_map(|(_, value)| DeathRecord::read(value.as_deref()?));
    // Anybody may send such headers, and as many as they like.
    deaths.take(death::DEATHS_MAX).collect()
}

/// The record by itself, with all that it had and its deaths behind.
fn with_deaths(record: &Record, deaths: &[DeathRecord], wall_ms: u64) -> Batch {
    let told: Vec<Vec<u8>> = deaths.iter().map(DeathRecord::write).collect();
    let own = record.headers.iter();
    let own = own.filter(|(key, value)| {
        let death = key.as_ref() == death::HEADER.as_bytes();
        !death || value.as_deref().and_then(DeathRecord::read).is_none()
    });
    let own = own.map(|(key, value)| (key.as_ref(), value.as_deref()));
    let deaths = told.iter();
    let deaths = deaths.map(|told| (death::HEADER.as_bytes(), Some(told.as_slice())));
    let headers: Vec<(&[u8], Option<&[u8]>)> = own.chain(deaths).collect();
    // Retention of the target counts from the death.
    let timestamp = i64::try_from(wall_ms).unwrap_or(i64::MAX);
    let mut builder = BatchBuilder::new(Codec::None, timestamp);
    builder.push(
        timestamp,
        record.key.as_deref(),
        record.value.as_deref(),
        &headers,
    );
    builder.finish()
}

#[cfg(test)]
mod tests {
    use mulgil_core::machine::WallTime;
    use mulgil_core::queue::{Death, Reason, Tries};
    use mulgil_meta::subscription::Needed;
    use mulgil_record::batch::restamp;
    use mulgil_record::facts::{Columns, Facts};
    use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, SubscriptionId, TopicId};

    use super::*;
    use crate::death::Place;

    fn task(offset: i64, batch: Bytes) -> BuryTask {
        BuryTask {
            subscription: SubscriptionId(1),
            partition: PartitionId(2),
            from: Place {
                subscription: "s".to_owned(),
                topic: "t".to_owned(),
                topic_id: TopicId(7),
                partition: 0,
            },
            death: Death {
                offset: Offset(offset),
                reason: Reason::Rejected,
                tries: Tries::default(),
                at: WallTime(1_000),
                words: None,
            },
            place: ColdPart::Memory(batch),
            filter: None,
            needed: Needed::default(),
        }
    }

    fn stored(codec: Codec) -> Bytes {
        let mut builder = BatchBuilder::new(codec, 500);
        for number in 0..3_u8 {
            let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"x")), (b"h", None)];
            builder.push(500 + i64::from(number), Some(&[number]), None, headers);
        }
        let mut bytes = builder.finish().bytes.to_vec();
        restamp(&mut bytes, Offset(40), LeaderEpoch(0));
        bytes.into()
    }

    #[test]
    fn one_record_of_a_compressed_batch_is_packed_with_its_death() {
        for codec in [
            Codec::None,
            Codec::Gzip,
            Codec::Zstd,
            Codec::Lz4,
            Codec::Snappy,
        ] {
            let task = task(41, stored(codec));
            let (batch, facts) = packed(&task, stored(codec)).unwrap();
            assert!(facts.is_empty());
            let records = batch.records(DecodeLimits::default()).unwrap();
            assert_eq!(records.len(), 1);
            let record = records.get(0).unwrap();
            assert_eq!(record.key.as_deref(), Some(&[1][..]));
            assert_eq!(record.value, None);
            assert_eq!(batch.header.base_timestamp, 1_000);
            let headers: Vec<_> = record.headers.iter().map(|(key, _)| key.as_ref()).collect();
            assert_eq!(headers, [&b"h"[..], b"h", b"mulgil.death"]);
            let death = deaths_of(&record).remove(0);
            assert_eq!((death.offset, death.timestamp_ms), (41, 501));
        }
    }

    #[test]
    fn what_it_asks_for_counts_again_but_for_delay_and_expiry() {
        let mut builder = BatchBuilder::new(Codec::None, 0);
        let headers = [("priority", "9"), ("delay", "60000"), ("ttl", "1")];
        let headers = headers.map(|(name, value)| (format!("mulgil.{name}"), value));
        let headers: Vec<_> = { headers.iter() }
            .map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())))
            .collect();
        builder.push(0, Some(b"k"), None, &headers);
        let task = BuryTask {
            needed: Needed {
                columns: Columns(Columns::ALL.0 & !Columns::VERDICTS.0),
                ..Needed::default()
            },
            ..task(0, Bytes::new())
        };
        let (_, facts) = packed(&task, builder.finish().bytes).unwrap();
        let facts = Facts::decode(&facts).unwrap();
        assert_eq!((facts.priority(0), facts.due(0)), (Some(9), None));
        assert_eq!(
            (facts.expiry(0), facts.known()),
            (None, task.needed.columns)
        );
        assert!(facts.ordering_key(0).is_some());
    }

    #[test]
    fn what_is_not_there_or_no_batch_is_told() {
        let stray = packed(&task(43, stored(Codec::None)), stored(Codec::None));
        assert_eq!(stray.unwrap_err(), NotArchived::Unreadable);
        let mut torn = stored(Codec::None).to_vec();
        torn.pop();
        let torn = packed(&task(41, Bytes::new()), torn.into());
        assert_eq!(torn.unwrap_err(), NotArchived::Unreadable);
    }

    #[test]
    fn forged_deaths_stay_what_they_are_and_cost_no_more() {
        let mut builder = BatchBuilder::new(Codec::None, 0);
        let key = death::HEADER.as_bytes();
        builder.push(
            0,
            None,
            Some(b"v"),
            &vec![(key, Some(&b"not json"[..])); 100],
        );
        let forged = builder.finish().bytes;
        let (batch, _) = packed(&task(0, Bytes::new()), forged).unwrap();
        let records = batch.records(DecodeLimits::default()).unwrap();
        let record = records.get(0).unwrap();
        assert_eq!(record.headers.len(), 101);
        assert_eq!(deaths_of(&record).len(), 1);
    }
}
