//! What the broker has promised, as its clients saw it, and the checks of each single answer.
//!
//! The ledger knows every batch that was ever sent, and every place at which anybody saw one: in an
//! acknowledgement or in a read. Who reads a record relies on it as much as who was acknowledged, so
//! both make it one that *must* stay, for as long as the level of its topic promises:
//!
//! ```text
//! level    over a kill    over a power cut
//! fsync    stays          stays
//! os       stays          may go
//! memory   may go         may go
//! ```
//!
//! What may go may also stay, but an offset that was ever seen never stands for another batch, and a
//! watermark or log start that was ever seen is never undercut, at any level.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mulgil_broker::request::{Appended, ReadOut};
use mulgil_meta::schema::Durability;
use mulgil_record::batch::Batch;
use mulgil_record::ids::{PartitionId, TopicId};

use crate::violation::{Kept, Rule, Violation};

mod compacted;
mod fenced;
mod groups;
mod partition;
mod queues;
mod topics;
mod view;

pub use fenced::Fenced;
pub use groups::{Commit, Groups, OffsetsFound};
pub use partition::{PartitionModel, Placed};
pub use queues::{At, Given, Grave, QueueView, Queues, Standing};
pub use topics::{
    Asked, GRAVEYARD, QUEUE, TopicModel, TopicState, is_compacted, is_of_workers, is_untrimmable,
    keeps_newest,
};
pub use view::{Found, PartitionView, View};

/// How a life of the broker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// In order.
    Clean,
    /// The process ended; the page cache stayed.
    Kill,
    /// The power went, or a write failed and nobody knows what is on disk.
    Power,
}

impl Outage {
    /// Whether a record of this level may be lost.
    #[must_use]
    pub fn loses(self, level: Durability) -> bool {
        match level {
            Durability::Memory => true,
            Durability::Os => self == Self::Power,
            Durability::Fsync => false,
        }
    }
}

/// Names a batch that was sent: its place in the ledger. Its records' timestamps say it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchName(pub usize);

impl BatchName {
    /// The timestamp of the batch's first record.
    #[must_use]
    pub fn timestamp(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX / 2048) * 1000
    }

    fn of_timestamp(timestamp: i64) -> Option<Self> {
        (timestamp % 1000 == 0).then(|| usize::try_from(timestamp / 1000).ok().map(Self))?
    }
}

/// A batch that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// For which partition.
    pub partition: PartitionId,
    /// As it was sent.
    pub bytes: Bytes,
    /// How many offsets it takes.
    pub records: i64,
    /// By which client.
    pub client: usize,
    /// Whether its producer is idempotent.
    pub idempotent: bool,
    /// The level of its topic when it was sent.
    level: Durability,
    /// Where it was last seen.
    seen_at: Option<i64>,
    /// The key of each record, and whether it deletes it.
    keys: Vec<(Bytes, bool)>,
    /// When it was sent, by [`Ledger::time_ms`].
    sent_ms: u64,
}

/// Everything that the clients know together.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Milliseconds since the run began, by a clock that nobody sets.
    pub time_ms: u64,
    batches: Vec<Sent>,
    /// The batches with records of a key.
    by_key: BTreeMap<(PartitionId, Bytes), BTreeSet<BatchName>>,
    /// The batches of each client for each partition, in order.
    sent: BTreeMap<(usize, PartitionId), Vec<BatchName>>,
    partitions: BTreeMap<PartitionId, PartitionModel>,
    topics: BTreeMap<TopicId, TopicModel>,
    producer_ids: BTreeSet<i64>,
    epoch_seen: i32,
    /// Brokers that were taken over, and which of them answers, if one does.
    fenced: BTreeMap<u32, Fenced>,
    speaker: Option<u32>,
    /// The store answers nobody.
    store_down: bool,
    /// What groups were promised.
    pub groups: Groups,
    /// What subscriptions were promised.
    pub queues: Queues,
}

/// What was known of a partition when something was asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The partition.
    pub partition: PartitionId,
    /// The high watermark.
    pub high_watermark: i64,
    /// The log start.
    pub start: i64,
}

impl Ledger {
    /// The name that the next batch will have.
    #[must_use]
    pub const fn next_batch(&self) -> BatchName {
        BatchName(self.batches.len())
    }

    /// A batch is sent for the first time.
    pub fn send(&mut self, batch: &Batch, partition: PartitionId, client: usize) {
        let name = self.next_batch();
        let model = self.partitions.entry(partition).or_default();
        let level = self
            .topics
            .get(&model.topic)
            .map_or(Durability::Memory, TopicModel::level);
        let keys = compacted::keys_of(batch);
        for (key, _) in &keys {
            let of_key = self.by_key.entry((partition, key.clone())).or_default();
            of_key.insert(name);
        }
        self.batches.push(Sent {
            keys,
            sent_ms: self.time_ms,
            partition,
            bytes: batch.bytes.clone(),
            records: i64::from(batch.header.record_count),
            client,
            idempotent: batch.header.producer_id.0 >= 0,
            level,
            seen_at: None,
        });
        self.sent.entry((client, partition)).or_default().push(name);
    }

    /// A batch by name.
    #[must_use]
    pub fn batch(&self, name: BatchName) -> Option<&Sent> {
        self.batches.get(name.0)
    }

    /// What is known of a partition.
    #[must_use]
    pub fn known(&self, partition: PartitionId) -> Known {
        if let Some(known) = self.known_of_fenced(partition) {
            return known;
        }
        let model = self.partitions.get(&partition);
        Known {
            partition,
            high_watermark: model.map_or(0, |m| m.high_watermark_seen),
            start: model.map_or(0, |m| m.start_seen),
        }
    }

    /// The model of a partition.
    pub fn partition_mut(&mut self, partition: PartitionId) -> &mut PartitionModel {
        self.partitions.entry(partition).or_default()
    }

    /// Whether a read of the partition from `offset` would find something that must be there.
    #[must_use]
    pub fn has_from(&self, partition: PartitionId, offset: i64) -> bool {
        self.partitions
            .get(&partition)
            .is_some_and(|model| model.has_from(offset))
    }

    /// The level that a partition's topic surely has.
    #[must_use]
    pub fn level(&self, partition: PartitionId) -> Durability {
        let topic = self
            .partitions
            .get(&partition)
            .and_then(|m| self.topics.get(&m.topic));
        topic.map_or(Durability::Memory, TopicModel::level)
    }

    /// Somebody was told that the partition is not there: its topic is gone for good.
    ///
    /// # Errors
    ///
    /// If nobody has deleted it.
    pub fn told_gone(&mut self, partition: PartitionId) -> Kept {
        let topic = self.partitions.get(&partition).map(|model| model.topic);
        let Some(model) = topic.and_then(|topic| self.topics.get_mut(&topic)) else {
            return Ok(());
        };
        match model.state {
            TopicState::GoingAway | TopicState::Gone => {
                model.state = TopicState::Gone;
                Ok(())
            }
            TopicState::Asked | TopicState::There => {
                let what = format!("partition {partition} is unknown, and nobody deleted it");
                Err(Violation::new(Rule::Topics, what))
            }
        }
    }

    /// Somebody saw `batch` with its first record at `base`.
    ///
    /// # Errors
    ///
    /// If another batch was seen there, or the same one elsewhere.
    pub fn witness(&mut self, batch: BatchName, base: i64) -> Kept {
        if self.is_fenced() {
            return self.witness_of_fenced(batch, base);
        }
        let Some(sent) = self.batches.get_mut(batch.0) else {
            return Err(Violation::new(
                Rule::AsProduced,
                format!("{batch:?} was never sent"),
            ));
        };
        let id = sent.partition;
        let model = self.partitions.entry(id).or_default();
        let now = self
            .topics
            .get(&model.topic)
            .map_or(Durability::Memory, TopicModel::level);
        let (level, last) = (sent.level.min(now), base + sent.records - 1);
        if sent.idempotent
            && let Some(before) = sent.seen_at.filter(|before| *before != base)
            && model.placed.get(&before).is_some_and(|placed| placed.must)
        {
            let what = format!("{batch:?} in partition {id} is at {before} and at {base}");
            return Err(Violation::new(Rule::NoDuplicate, what));
        }
        sent.seen_at = Some(base);
        model.place(
            id,
            base,
            Placed {
                batch,
                last,
                must: true,
                level,
            },
        )
    }

    /// An append was acknowledged.
    ///
    /// # Errors
    ///
    /// If the answer breaks a promise.
    pub fn appended(&mut self, batch: BatchName, known: Known, answer: &Appended) -> Kept {
        let base = answer.base.0;
        if !answer.duplicate && base < known.high_watermark {
            let id = known.partition;
            let what = format!(
                "{batch:?} in partition {id} was given {base}, below the high watermark {}",
                known.high_watermark
            );
            return Err(Violation::new(Rule::OffsetOnce, what));
        }
        self.witness(batch, base)?;
        self.started(known, answer.log_start.0)
    }

    /// An answer said where a partition starts.
    ///
    /// # Errors
    ///
    /// If it started further on before, or nobody asked for such a start.
    pub fn started(&mut self, known: Known, start: i64) -> Kept {
        let id = known.partition;
        let discards = self.may_discard(id);
        let model = self.partitions.entry(id).or_default();
        if start < known.start {
            let what = format!(
                "partition {id} starts at {start}, and before at {}",
                known.start
            );
            return Err(Violation::new(Rule::NeverBack, what));
        }
        if self.speaker.is_some() {
            return self.started_of_fenced(id, start);
        }
        if start > model.start_asked && !discards {
            let what = format!(
                "partition {id} starts at {start}, asked was {}",
                model.start_asked
            );
            return Err(Violation::new(Rule::OnlyTrimmed, what));
        }
        model.start_seen = model.start_seen.max(start);
        Ok(())
    }

    /// Whether a start may discard all of the partition.
    fn may_discard(&self, id: PartitionId) -> bool {
        let model = self.partitions.get(&id);
        model.is_none_or(|model| {
            model.discarded
                || keeps_newest(model.topic)
                || model.topic == QUEUE
                || self
                    .topics
                    .get(&model.topic)
                    .is_none_or(|t| t.level() == Durability::Memory)
        })
    }

    /// The batch that these bytes are, which were read from `partition`.
    ///
    /// # Errors
    ///
    /// If they are not what was sent for it.
    pub fn recognise(&self, partition: PartitionId, bytes: &Bytes) -> Result<Found, Violation> {
        let bad = |what: String| {
            Violation::new(Rule::AsProduced, format!("partition {partition}: {what}"))
        };
        let batch = Batch::check(bytes.clone()).map_err(|e| bad(e.to_string()))?;
        let header = batch.header;
        let named = compacted::first_timestamp(&batch).unwrap_or(header.base_timestamp);
        let name = BatchName::of_timestamp(named - named % 1000);
        let known = name.and_then(|name| Some((name, self.batches.get(name.0)?)));
        let (name, sent) = known.ok_or_else(|| bad(format!("no batch has {named}")))?;
        let same = |from: usize, to: usize| bytes.get(from..to) == sent.bytes.get(from..to);
        if sent.partition != partition
            || !same(8, 12)
            || !same(16, sent.bytes.len())
            || bytes.len() != sent.bytes.len()
        {
            let what = || format!("{name:?} is not as it was sent");
            let thinned = self.is_compacted(partition) || self.is_queue(partition);
            let left = thinned && sent.partition == partition;
            let kept = left
                .then(|| compacted::what_is_left(sent, &batch))
                .flatten();
            let kept = kept.ok_or_else(|| bad(what()))?;
            return Ok(Found::of(name, &header, kept));
        }
        Ok(Found::of(name, &header, u64::MAX))
    }

    /// A read was answered.
    ///
    /// # Errors
    ///
    /// If the answer breaks a promise.
    pub fn read(&mut self, known: Known, offset: i64, out: &ReadOut, alone: bool) -> Kept {
        let id = known.partition;
        self.watermark(known, out.high_watermark.0)?;
        self.started(known, out.log_start.0)?;
        let mut found = Vec::new();
        for bytes in &out.batches {
            found.push(self.recognise(id, bytes)?);
        }
        let from = offset.max(out.log_start.0);
        let to = match found.last() {
            Some(last) => last.last,
            None if alone => out.high_watermark.0 - 1,
            None => return Ok(()),
        };
        let mut next = from;
        for batch in &found {
            if batch.last < next || batch.last >= out.high_watermark.0 {
                let what = format!(
                    "a read of partition {id} from {offset} gave {}..={} where {next} was next, \
                     below {}",
                    batch.base, batch.last, out.high_watermark
                );
                return Err(Violation::new(Rule::ReadsAll, what));
            }
            next = batch.last + 1;
        }
        if self.is_compacted(id) {
            self.check_left(id, (from, to), &found)?;
        } else if !self.is_queue(id) {
            // What of a queue may lack only who looks at all of it can tell.
            let model = self.partitions.entry(id).or_default();
            model.check_all(id, (from, to), &found)?;
        }
        for batch in found {
            self.witness(batch.name, batch.base)?;
        }
        Ok(())
    }

    /// An answer said where a partition ends.
    ///
    /// # Errors
    ///
    /// If it ended further on before.
    pub fn watermark(&mut self, known: Known, high_watermark: i64) -> Kept {
        let id = known.partition;
        if high_watermark < known.high_watermark {
            let before = known.high_watermark;
            let what = format!("partition {id} ends at {high_watermark}, and before at {before}");
            return Err(Violation::new(Rule::NeverBack, what));
        }
        if self.is_fenced() {
            return self.watermark_of_fenced(id, high_watermark);
        }
        let model = self.partitions.entry(id).or_default();
        model.high_watermark_seen = model.high_watermark_seen.max(high_watermark);
        Ok(())
    }

    /// A producer id was given.
    ///
    /// # Errors
    ///
    /// If it was given before.
    pub fn producer_id(&mut self, id: i64) -> Kept {
        if self.producer_ids.insert(id) {
            return Ok(());
        }
        Err(Violation::new(
            Rule::ProducerIdOnce,
            format!("producer id {id} was given twice"),
        ))
    }

    /// A start has this leader epoch.
    ///
    /// # Errors
    ///
    /// If one as high was seen before.
    pub fn epoch(&mut self, epoch: i32) -> Kept {
        if epoch <= self.epoch_seen {
            let what = format!("a start has leader epoch {epoch} after {}", self.epoch_seen);
            return Err(Violation::new(Rule::EpochRises, what));
        }
        self.epoch_seen = epoch;
        Ok(())
    }

    /// A life of the broker ended.
    pub fn ended(&mut self, outage: Outage) {
        self.queues_ended(outage);
        for model in self.partitions.values_mut() {
            let topic = self.topics.get(&model.topic);
            let level = topic.map_or(Durability::Memory, TopicModel::level);
            model.ended(outage, level);
        }
    }
}
