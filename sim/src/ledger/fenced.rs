//! Brokers that were taken over and go on: what they may still tell, and nothing more.
//!
//! A takeover divides what a broker has told from what it could still tell. What it had committed is in
//! the picture that the next one begins with; anything else it can only tell of partitions whose topic
//! promises nothing. So each such broker has a ledger page of its own: what was known when it was taken
//! over, and what it told since. Those who ask the next one have moved on, and are no measure for it.

use std::collections::BTreeMap;

use mulgil_meta::schema::Durability;
use mulgil_record::ids::PartitionId;

use super::{BatchName, Known, Ledger, View};
use crate::violation::{Kept, Rule, Violation};

/// What is known of one partition of a broker that was taken over.
#[derive(Clone, Copy, Debug)]
struct Page {
    /// What it has told.
    high_watermark: i64,
    start: i64,
    /// The highest start that it was asked for, and whether it may choose one itself.
    start_asked: i64,
    discards: bool,
    /// The weakest level that it may believe the topic to have.
    level: Durability,
    /// What its successor began with; none if the partition was gone then.
    taken_over: Option<(i64, i64)>,
}

/// A broker that was taken over.
#[derive(Clone, Debug, Default)]
pub struct Fenced(BTreeMap<PartitionId, Page>);

impl Ledger {
    /// `incarnation` is being taken over: what it has told until here is what it may be held to.
    pub fn freeze(&mut self, incarnation: u32) {
        let pages = self.partitions.iter().map(|(id, model)| {
            let page = Page {
                high_watermark: model.high_watermark_seen,
                start: model.start_seen,
                start_asked: model.start_asked,
                discards: self.may_discard(*id),
                level: self.level(*id),
                taken_over: None,
            };
            (*id, page)
        });
        let pages = Fenced(pages.collect());
        self.fenced.insert(incarnation, pages);
    }

    /// The successor of `incarnation` has begun with this.
    pub fn taken_over(&mut self, incarnation: u32, view: &View) {
        let Some(fenced) = self.fenced.get_mut(&incarnation) else {
            return;
        };
        for topic in view.catalog.by_id.values() {
            let level = topic.settings.durability;
            for id in &topic.partitions {
                let Some(partition) = view.partitions.get(id) else {
                    continue;
                };
                let page = fenced.0.entry(*id).or_insert(Page {
                    high_watermark: 0,
                    start: 0,
                    start_asked: 0,
                    discards: true,
                    level,
                    taken_over: None,
                });
                page.level = page.level.min(level);
                page.taken_over = Some((partition.start, partition.high_watermark));
            }
        }
    }

    /// Who answers from here on: a broker that was taken over is believed less.
    pub fn listen_to(&mut self, incarnation: u32) {
        self.speaker = self
            .fenced
            .contains_key(&incarnation)
            .then_some(incarnation);
    }

    /// Whether `incarnation` was taken over.
    #[must_use]
    pub fn was_taken_over(&self, incarnation: u32) -> bool {
        self.fenced.contains_key(&incarnation)
    }

    /// Whether the store answers reads, of whoever asks.
    pub const fn set_store_down(&mut self, down: bool) {
        self.store_down = down;
    }

    /// Whether a read may be refused: the store is down, or a successor has removed what it needs.
    #[must_use]
    pub const fn excuses_reads(&self) -> bool {
        self.store_down || self.is_fenced()
    }

    /// Whether who answers was taken over.
    #[must_use]
    pub const fn is_fenced(&self) -> bool {
        self.speaker.is_some()
    }

    fn page(&mut self, id: PartitionId) -> Option<&mut Page> {
        self.fenced.get_mut(&self.speaker?)?.0.get_mut(&id)
    }

    pub(super) fn known_of_fenced(&self, partition: PartitionId) -> Option<Known> {
        let fenced = self.fenced.get(&self.speaker?)?;
        let page = fenced.0.get(&partition);
        Some(Known {
            partition,
            high_watermark: page.map_or(0, |page| page.high_watermark),
            start: page.map_or(0, |page| page.start),
        })
    }

    fn silent(&self, what: &str) -> Violation {
        let who = self.speaker.unwrap_or_default();
        let what = format!("incarnation {who}, which was taken over, tells {what}");
        Violation::new(Rule::ZombieSilent, what)
    }

    pub(super) fn watermark_of_fenced(&mut self, id: PartitionId, told: i64) -> Kept {
        let Some(page) = self.page(id) else {
            return Ok(());
        };
        page.high_watermark = page.high_watermark.max(told);
        let promised = page.level != Durability::Memory;
        match page.taken_over {
            Some((_, end)) if promised && told > end => Err(self.silent(&format!(
                "that partition {id} ends at {told}; its successor began with {end}"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a broker that was taken over may have discarded what lies below, and the highest start
    /// that it was asked for; and whether it may tell of this start.
    pub(super) fn started_of_fenced(&mut self, id: PartitionId, told: i64) -> Kept {
        let Some(page) = self.page(id) else {
            return Ok(());
        };
        page.start = page.start.max(told);
        let page = *page;
        if told > page.start_asked && !page.discards {
            let what = format!(
                "partition {id} starts at {told}, asked was {}",
                page.start_asked
            );
            return Err(Violation::new(Rule::OnlyTrimmed, what));
        }
        match page.taken_over {
            Some((start, _)) if page.level != Durability::Memory && told > start => Err(self
                .silent(&format!(
                    "that partition {id} starts at {told}; its successor began with {start}"
                ))),
            Some(_) | None => Ok(()),
        }
    }

    /// A broker that was taken over tells of a batch: its successor must have begun with it.
    pub(super) fn witness_of_fenced(&mut self, batch: BatchName, base: i64) -> Kept {
        let Some(sent) = self.batches.get(batch.0) else {
            let what = format!("{batch:?} was never sent");
            return Err(Violation::new(Rule::AsProduced, what));
        };
        let (id, level, last) = (sent.partition, sent.level, base + sent.records - 1);
        let Some(page) = self.page(id).map(|page| *page) else {
            return Ok(());
        };
        let Some((start, _)) = page.taken_over else {
            return Ok(());
        };
        if level.min(page.level) == Durability::Memory || last < start {
            return Ok(());
        }
        let model = self.partitions.get(&id);
        let placed = model.and_then(|model| model.placed.get(&base));
        if placed.is_some_and(|placed| placed.batch == batch) {
            return Ok(());
        }
        Err(self.silent(&format!(
            "of {batch:?} at {base} in partition {id}, which its successor has not"
        )))
    }
}
