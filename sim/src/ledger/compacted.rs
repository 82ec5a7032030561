//! Topics that keep only the newest record of each key: what of them may go, and what may not stay.

use bytes::Bytes;
use mulgil_record::batch::{Batch, DecodeLimits, DecodedRecords};
use mulgil_record::ids::PartitionId;

use super::{Found, Ledger, PartitionView, Placed, Sent, is_compacted};
use crate::client::DELETE_RETENTION_MS;
use crate::violation::{Kept, Rule, Violation};

fn records(batch: &Batch) -> Option<DecodedRecords> {
    batch.records(DecodeLimits::default()).ok()
}

/// The key of each record of a batch, and whether the record deletes it.
pub(super) fn keys_of(batch: &Batch) -> Vec<(Bytes, bool)> {
    let records = records(batch);
    let records = records.iter().flat_map(DecodedRecords::iter);
    let keys = records.map(|record| (record.key.unwrap_or_default(), record.value.is_none()));
    keys.collect()
}

/// The timestamp of the first record that is there.
pub(super) fn first_timestamp(batch: &Batch) -> Option<i64> {
    let records = records(batch)?;
    let first = records.view(0)?;
    Some(records.timestamp(first.timestamp_delta))
}

/// Which records of `sent` are left in `batch`, as bits. None: it is not what was sent.
pub(super) fn what_is_left(sent: &Sent, batch: &Batch) -> Option<u64> {
    let whole = Batch::check(sent.bytes.clone()).ok()?;
    let (was, is) = (whole.header, batch.header);
    let named = |h: &mulgil_record::batch::BatchHeader| {
        let producer = (h.producer_id, h.producer_epoch, h.base_sequence);
        (h.last_offset_delta, producer, h.attributes.codec())
    };
    if named(&was) != named(&is) {
        return None;
    }
    let (was, is) = (records(&whole)?, records(batch)?);
    let mut kept = 0;
    for record in is.iter() {
        let at = usize::try_from(record.offset_delta).ok()?;
        let before = was.get(at)?;
        let same = (&before.key, &before.value, &before.headers)
            == (&record.key, &record.value, &record.headers);
        let times = (
            was.timestamp(before.timestamp_delta),
            is.timestamp(record.timestamp_delta),
        );
        if !same || times.0 != times.1 {
            return None;
        }
        kept |= 1_u64.checked_shl(u32::try_from(at).ok()?)?;
    }
    Some(kept)
}

impl Ledger {
    /// Whether a partition keeps only the newest record of each key.
    #[must_use]
    pub fn is_compacted(&self, id: PartitionId) -> bool {
        let model = self.partitions.get(&id);
        model.is_some_and(|model| is_compacted(model.topic))
    }

    /// Whether all that is left of a batch is all that must be left, `kept` as bits.
    pub(super) fn may_lack(
        &self,
        id: PartitionId,
        (base, placed): (i64, &Placed),
        kept: u64,
        view: Option<&PartitionView>,
    ) -> bool {
        let Some(sent) = self.batch(placed.batch) else {
            return false;
        };
        (base..)
            .zip(&sent.keys)
            .enumerate()
            .all(|(at, (offset, (key, deletes)))| {
                let there = kept >> at & 1 == 1;
                there || (*deletes && self.is_over(sent)) || self.has_newer(id, key, offset, view)
            })
    }

    /// Whether the time is over for which a record that deletes its key stays at least.
    fn is_over(&self, sent: &Sent) -> bool {
        self.time_ms.saturating_sub(sent.sent_ms) >= DELETE_RETENTION_MS
    }

    /// Whether something newer of a key is there, or may be there or have been there.
    fn has_newer(
        &self,
        id: PartitionId,
        key: &Bytes,
        offset: i64,
        view: Option<&PartitionView>,
    ) -> bool {
        let found = view.into_iter().flat_map(|view| &view.found);
        let mut found = found.flat_map(|found| found.records().map(move |at| (found, at)));
        let there = found.any(|(found, (at, other, _))| {
            let keys = self.batch(found.name).and_then(|sent| sent.keys.get(at));
            other > offset && keys.is_some_and(|(other, _)| other == key)
        });
        if there {
            return true;
        }
        let model = self.partitions.get(&id);
        let of_key = self.by_key.get(&(id, key.clone()));
        let mut batches = of_key
            .into_iter()
            .flatten()
            .filter_map(|name| self.batch(*name));
        batches.any(|sent| {
            // Nobody knows where a batch lies that was not seen since it may have been lost.
            let seen = sent.seen_at.filter(|at| {
                let placed = model.and_then(|model| model.placed.get(at));
                placed.is_some_and(|placed| placed.must)
            });
            sent.keys.iter().enumerate().any(|(at, (other, deletes))| {
                let at = i64::try_from(at).unwrap_or(i64::MAX);
                let behind = seen.is_none_or(|base| base + at > offset);
                // Who reads all sees what is newer, unless that deletes the key and is gone itself.
                let hidden = view.is_none() || (*deletes && self.is_over(sent));
                other == key && behind && hidden
            })
        })
    }

    /// Whether all that must be left between two offsets was found there.
    pub(super) fn check_left(&self, id: PartitionId, range: (i64, i64), found: &[Found]) -> Kept {
        let (from, to) = range;
        let Some(model) = self.partitions.get(&id) else {
            return Ok(());
        };
        for (base, placed) in model.placed.range(..=to).rev() {
            if placed.last < from {
                break;
            }
            let there = |found: &&Found| found.base == *base && found.name == placed.batch;
            let kept = found.iter().find(there).map_or(0, |found| found.kept);
            if placed.must && !self.may_lack(id, (*base, placed), kept, None) {
                let what = format!(
                    "a read of partition {id} from {from} to {to} gave not all of {:?} at {base}",
                    placed.batch
                );
                return Err(Violation::new(Rule::ReadsAll, what));
            }
        }
        Ok(())
    }

    /// Whether below `clean_to` no two records have one key.
    ///
    /// # Errors
    ///
    /// If some have.
    pub fn check_clean(&self, id: PartitionId, view: &PartitionView, clean_to: i64) -> Kept {
        let mut newest = std::collections::BTreeMap::new();
        for found in view.found.iter().filter(|found| found.base < clean_to) {
            for (at, offset, _) in found.records() {
                let key = self.batch(found.name).and_then(|sent| sent.keys.get(at));
                let Some((key, _)) = key else { continue };
                if let Some(older) = newest.insert(key.clone(), offset) {
                    let what = format!(
                        "partition {id} is clean below {clean_to}, and has {key:?} at {older} and \
                         at {offset}"
                    );
                    return Err(Violation::new(Rule::Compacted, what));
                }
            }
        }
        Ok(())
    }
}
