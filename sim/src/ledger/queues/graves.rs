//! What was given up lies in the dead-letter topic once, with a true word of why; and a queue gives back
//! only what all of its subscriptions have settled.

use mulgil_broker::death::DeathRecord;
use mulgil_record::batch::{Batch, DecodeLimits, Record};

use super::super::{BatchName, QUEUE};
use super::{
    At, BTreeMap, Kept, Ledger, Model, Offset, PartitionId, Rule, TopicId, View, Violation,
};

/// A record of the dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grave {
    /// What it tells of its death.
    pub death: DeathRecord,
}

impl View {
    /// The partition of a topic by its number.
    fn partition_of(&self, topic: TopicId, number: u32) -> Option<PartitionId> {
        let topic = self.catalog.topic_by_id(topic)?;
        let number = usize::try_from(number).ok()?;
        topic.partitions.get(number).copied()
    }

    fn place_of(&self, model: &Model, grave: &Grave) -> Option<At> {
        let death = &grave.death;
        let same = *death.subscription == *model.subscription.name.name;
        let partition = self.partition_of(model.subscription.topic, death.partition)?;
        same.then_some((partition, Offset(death.offset)))
    }

    /// Whether a record that a subscription gave up is in the dead-letter topic.
    pub(super) fn is_buried(&self, model: &Model, at: At) -> bool {
        let mut graves = self.graves.iter();
        graves.any(|grave| self.place_of(model, grave) == Some(at))
    }
}

impl Ledger {
    /// Whether a partition is that of the queue, which gives back what is settled.
    #[must_use]
    pub fn is_queue(&self, id: PartitionId) -> bool {
        let model = self.partitions.get(&id);
        model.is_some_and(|model| model.topic == QUEUE)
    }

    /// Whether a record with this timestamp was sent, with this key and value.
    #[must_use]
    pub fn was_sent(&self, timestamp: i64, record: &Record) -> bool {
        let at = timestamp % 1_000;
        let sent = BatchName::of_timestamp(timestamp - at).and_then(|name| self.batch(name));
        let batch = sent.and_then(|sent| Batch::check(sent.bytes.clone()).ok());
        let records = batch.and_then(|batch| batch.records(DecodeLimits::default()).ok());
        let place = usize::try_from(at).ok();
        let sent = records.and_then(|records| records.get(place?));
        sent.is_some_and(|sent| (&sent.key, &sent.value) == (&record.key, &record.value))
    }

    /// Each record that was given up is in one place, and tells the truth.
    pub(super) fn check_graves(&self, view: &View) -> Kept {
        for (name, model) in &self.queues.by_name {
            let found = view.queues.get(name);
            let Some(found) = found.filter(|f| f.subscription.id == model.subscription.id) else {
                continue;
            };
            if model.subscription.settings.dead_letter.is_none() {
                continue;
            }
            let mut seen = BTreeMap::new();
            for grave in &view.graves {
                let Some(at) = view.place_of(model, grave) else {
                    continue;
                };
                let bad = |what: &str| {
                    let what = format!("p{}:{} {what}: {grave:?}", at.0, at.1);
                    Err(Violation::new(Rule::OneGrave, what))
                };
                if seen.insert(at, ()).is_some() {
                    return bad("is twice in the dead-letter topic");
                }
                if found.unsettled.contains_key(&at) {
                    return bad("is in the dead-letter topic, and waits");
                }
                if model.accepted.contains(&at) {
                    return bad("was accepted, and is in the dead-letter topic");
                }
                if !self.is_true(model, at, &grave.death) {
                    return bad("did not die of that");
                }
            }
        }
        Ok(())
    }

    /// Whether a record may have died so.
    fn is_true(&self, model: &Model, at: At, death: &DeathRecord) -> bool {
        let settings = &model.subscription.settings;
        let reached = |max: Option<u16>, count: u16| max.is_some_and(|max| count >= max);
        let possible = match death.reason.as_str() {
            "rejected" => model.rejected.contains(&at),
            "delivery_limit" => {
                reached(settings.failed_max, death.failed)
                    || reached(settings.acquired_max, death.acquired)
            }
            "expired" => settings.ttl_ms.is_some(),
            "overflow" => settings.length_max.is_some(),
            _ => false,
        };
        let sure = model.held.surely_tried(at);
        let counted = death.acquired >= sure.acquired && death.failed >= sure.failed;
        let topic = self.topics.get(&model.subscription.topic);
        let named = topic.is_some_and(|topic| *topic.name.name == *death.topic);
        let batches = self.partitions.get(&at.0).map(|model| &model.placed);
        let batch = batches.and_then(|placed| placed.range(..=at.1.0).next_back());
        let same = batch
            .filter(|(_, placed)| placed.last >= at.1.0)
            .is_none_or(|(base, placed)| {
                placed.batch.timestamp() + (at.1.0 - base) == death.timestamp_ms
            });
        possible && counted && named && same && death.count == 1
    }

    /// What a queue has given back was settled by all of its subscriptions, or somebody has trimmed it.
    pub(super) fn check_reclaimed(&self, view: &View) -> Kept {
        let Some(id) = view.partition_of(QUEUE, 0) else {
            return Ok(());
        };
        let (Some(found), Some(known)) = (view.partitions.get(&id), self.partitions.get(&id))
        else {
            return Ok(());
        };
        for (base, placed) in known.placed.iter().filter(|(_, placed)| placed.must) {
            let there = found.found.iter();
            let there = there.filter(|one| one.base == *base && one.name == placed.batch);
            let there: Vec<i64> = there.flat_map(|one| one.records()).map(|r| r.1).collect();
            for offset in (*base).max(known.start_asked)..=placed.last {
                if offset >= found.start && there.contains(&offset) {
                    continue;
                }
                self.check_settled(view, (id, Offset(offset)))?;
            }
        }
        Ok(())
    }

    /// Whether no subscription wants a record that is not there.
    fn check_settled(&self, view: &View, at: At) -> Kept {
        let all = self.queues.by_name.iter();
        for (name, model) in all.filter(|(_, model)| model.subscription.topic == QUEUE) {
            let found = view.queues.get(name);
            let waits = found.is_some_and(|found| found.unsettled.contains_key(&at));
            let gone = model.may_lack(at) || view.is_buried(model, at);
            if waits || (at.1.0 >= model.begin(at.0) && !gone) {
                let name = &name.name;
                let what = format!("p{}:{} is given back, and {name} wants it", at.0, at.1);
                return Err(Violation::new(Rule::Reclaimed, what));
            }
        }
        Ok(())
    }
}
