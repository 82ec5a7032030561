//! All that a broker has after a start, and whether that is all that it must have.

use std::collections::BTreeMap;
use std::sync::Arc;

use mulgil_broker::group::GroupName;
use mulgil_broker::subscription::SubscriptionName;
use mulgil_meta::catalog::Catalog;
use mulgil_meta::schema::Durability;
use mulgil_record::batch::BatchHeader;
use mulgil_record::ids::PartitionId;

use super::{BatchName, Grave, Ledger, OffsetsFound, Outage, QueueView, TopicModel};
use crate::violation::{Kept, Rule, Violation};

/// A batch that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub name: BatchName,
    /// Its first offset.
    pub base: i64,
    /// Its last offset.
    pub last: i64,
    /// The leadership that wrote it.
    pub epoch: i32,
    /// Which of its records are there, as bits.
    pub kept: u64,
}

impl Found {
    pub(super) fn of(name: BatchName, header: &BatchHeader, kept: u64) -> Self {
        let (base, last) = (header.base_offset.0, header.last_offset().0);
        Self {
            name,
            base,
            last,
            epoch: header.leader_epoch.0,
            kept: kept & ((1 << (last - base + 1).clamp(0, 63)) - 1),
        }
    }

    /// The place in the batch, offset and timestamp of each record that is there.
    pub fn records(self) -> impl Iterator<Item = (usize, i64, i64)> {
        let there = (0..64).filter(move |at| self.kept >> at & 1 == 1);
        there.map(move |at: u8| {
            let (place, at) = (usize::from(at), i64::from(at));
            (place, self.base + at, self.name.timestamp() + at)
        })
    }
}

/// All of a partition.
#[derive(Clone, Debug, Default)]
pub struct PartitionView {
    /// Its log start.
    pub start: i64,
    /// Its high watermark.
    pub high_watermark: i64,
    /// Its batches, in order.
    pub found: Vec<Found>,
    /// Offsets that are reported as damaged, first and last.
    pub damaged: Vec<(i64, i64)>,
}

/// All of a broker.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Its topics.
    pub catalog: Arc<Catalog>,
    /// Its partitions.
    pub partitions: BTreeMap<PartitionId, PartitionView>,
    /// The committed offsets of its groups.
    pub groups: BTreeMap<GroupName, OffsetsFound>,
    /// Its subscriptions.
    pub queues: BTreeMap<SubscriptionName, QueueView>,
    /// What lies in the dead-letter topic, in order.
    pub graves: Vec<Grave>,
    /// Running time when this was looked at.
    pub elapsed: u64,
    /// Whether levels of topics are as asked; not if a planted bug changes them.
    pub levels: bool,
}

impl Ledger {
    /// Compares what is there after an outage with what must be there.
    ///
    /// # Errors
    ///
    /// What is missing, or should not be there.
    pub fn check_view(&self, view: &View, outage: Outage) -> Kept {
        self.check_topics(&view.catalog, view.levels)?;
        for (id, partition) in &view.partitions {
            self.check_partition(*id, partition, outage)?;
            self.check_order(*id, partition)?;
        }
        self.check_queues(view)?;
        self.groups.check_view(&view.groups)
    }

    /// What is there after a start is what everybody relies on from now on.
    ///
    /// # Errors
    ///
    /// If something is there twice, or where something else was.
    pub fn believe(&mut self, view: &View) -> Kept {
        self.settle_topics(&view.catalog, view.levels);
        self.shown(&view.catalog, view.levels)?;
        for (id, partition) in &view.partitions {
            for found in &partition.found {
                self.witness(found.name, found.base)?;
            }
            let model = self.partition_mut(*id);
            model.start_asked = partition.start;
            model.start_seen = partition.start;
            model.high_watermark_seen = partition.high_watermark;
            model.discarded = false;
        }
        self.believe_queues(view);
        self.groups.believe(&view.groups)
    }

    fn check_partition(&self, id: PartitionId, view: &PartitionView, outage: Outage) -> Kept {
        let Some(model) = self.partitions.get(&id) else {
            return Ok(());
        };
        let topic = self.topics.get(&model.topic);
        let level = topic.map_or(Durability::Memory, TopicModel::level);
        let discarded = level == Durability::Memory;
        let bad = |rule, what: String| {
            Err(Violation::new(
                rule,
                format!("partition {id} after {outage:?}: {what}"),
            ))
        };
        if view.start < model.start_seen {
            return bad(
                Rule::NeverBack,
                format!("start {} < {}", view.start, model.start_seen),
            );
        }
        if view.high_watermark < model.high_watermark_seen {
            let (is, was) = (view.high_watermark, model.high_watermark_seen);
            return bad(Rule::NeverBack, format!("high watermark {is} < {was}"));
        }
        if view.start > model.start_asked && !self.may_discard(id) {
            let (is, asked) = (view.start, model.start_asked);
            return bad(Rule::OnlyTrimmed, format!("start {is} > asked {asked}"));
        }
        for (base, placed) in &model.placed {
            let must = placed.must && !discarded && !outage.loses(placed.level);
            let reported = view
                .damaged
                .iter()
                .any(|(f, l)| *f <= placed.last && *l >= *base);
            if !must || placed.last < view.start || reported {
                continue;
            }
            let there = view
                .found
                .iter()
                .find(|f| f.base == *base && f.name == placed.batch);
            let kept = there.map_or(0, |found| found.kept);
            let gone = if self.is_queue(id) {
                false
            } else if self.is_compacted(id) {
                !self.may_lack(id, (*base, placed), kept, Some(view))
            } else {
                there.is_none()
            };
            if gone {
                let what = format!(
                    "{:?} at {base}..={} of level {:?} is lost; there are {}..{}",
                    placed.batch, placed.last, placed.level, view.start, view.high_watermark
                );
                return bad(Rule::KeptRecords, what);
            }
        }
        Ok(())
    }

    /// Order of offsets, epochs and of each producer's batches.
    fn check_order(&self, id: PartitionId, view: &PartitionView) -> Kept {
        let lossy = self.partitions.get(&id).is_none_or(|m| m.lossy) || !view.damaged.is_empty();
        let level = self.level(id);
        let mut newest: BTreeMap<usize, BatchName> = BTreeMap::new();
        let mut before: Option<Found> = None;
        for found in &view.found {
            if let Some(before) = before
                && (found.base <= before.last || found.epoch < before.epoch)
            {
                let what = format!("partition {id}: {found:?} after {before:?}");
                return Err(Violation::new(Rule::Order, what));
            }
            before = Some(*found);
            let Some(sent) = self.batch(found.name) else {
                continue;
            };
            if let Some(last) = newest.insert(sent.client, found.name) {
                let compacted = self.is_compacted(id);
                let thinned = compacted || self.is_queue(id);
                let holes = !sent.idempotent || lossy || level != Durability::Fsync || thinned;
                self.check_follows(id, sent.client, (last, found.name), holes)?;
            }
        }
        Ok(())
    }

    /// Whether a producer's batch may follow another one of it.
    fn check_follows(
        &self,
        id: PartitionId,
        client: usize,
        (last, next): (BatchName, BatchName),
        holes: bool,
    ) -> Kept {
        if next == last {
            let what = format!("partition {id}: {next:?} is there twice");
            return Err(Violation::new(Rule::NoDuplicate, what));
        }
        if next < last {
            let what = format!("partition {id}: {next:?} comes after {last:?}");
            return Err(Violation::new(Rule::Order, what));
        }
        let all = self.sent.get(&(client, id)).map_or(&[][..], Vec::as_slice);
        let hole = all.iter().find(|name| **name > last && **name < next);
        match hole {
            Some(hole) if !holes => {
                let what = format!("partition {id}: {next:?} after {last:?} without {hole:?}");
                Err(Violation::new(Rule::Order, what))
            }
            Some(_) | None => Ok(()),
        }
    }
}
