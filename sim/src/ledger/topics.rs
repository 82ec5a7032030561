//! Which topics there are, as far as anybody may rely on it.

use mulgil_meta::catalog::Catalog;
use mulgil_meta::schema::{Durability, Topic, TopicName};
use mulgil_record::ids::TopicId;

use super::Ledger;
use crate::violation::{Kept, Rule, Violation};

/// Whether a topic is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// Its creation was asked for.
    Asked,
    /// It is there, and that was told.
    There,
    /// Its deletion was asked for.
    GoingAway,
    /// It is gone for good.
    Gone,
}

/// An alteration that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The level wanted.
    pub level: Durability,
    /// The number of partitions wanted.
    pub partitions: usize,
}

/// Whether a topic gives up its older records by itself.
#[must_use]
pub const fn keeps_newest(id: TopicId) -> bool {
    id.0.is_multiple_of(3)
}

/// The topic of the queue that worlds with workers may have: what is settled in it is given back.
pub const QUEUE: TopicId = TopicId(1_000_000);

/// The topic that the queue's subscription sends to what it gives up. Nobody else writes to it or reads it.
pub const GRAVEYARD: TopicId = TopicId(1_000_004);

/// Whether only workers change a topic.
#[must_use]
pub fn is_of_workers(id: TopicId) -> bool {
    id == QUEUE || id == GRAVEYARD
}

/// Whether a topic keeps only the newest record of each key.
#[must_use]
pub const fn is_compacted(id: TopicId) -> bool {
    id.0 % 4 == 1
}

/// Whether a topic gives up records for newer ones of their keys and for nothing else: nobody can trim it.
#[must_use]
pub const fn is_untrimmable(id: TopicId) -> bool {
    is_compacted(id) && !keeps_newest(id)
}

/// What is known of one topic.
#[derive(Clone, Debug)]
pub struct TopicModel {
    /// Its name.
    pub name: TopicName,
    /// Whether it is there.
    pub state: TopicState,
    /// What holds.
    pub holds: Asked,
    /// What was asked for and is not answered.
    pub asked: Option<Asked>,
}

impl TopicModel {
    /// The level that surely holds.
    #[must_use]
    pub fn level(&self) -> Durability {
        self.asked
            .map_or(self.holds.level, |asked| asked.level.min(self.holds.level))
    }

    fn fits(&self, topic: &Topic, levels: bool) -> Kept {
        let found = Asked {
            level: if levels {
                topic.settings.durability
            } else {
                self.holds.level
            },
            partitions: topic.partitions.len(),
        };
        let name = &self.name;
        if self.state == TopicState::Gone {
            let what = format!("topic {name}, which is gone, is there");
            return Err(Violation::new(Rule::Topics, what));
        }
        if found == self.holds || self.asked == Some(found) {
            return Ok(());
        }
        let (holds, asked) = (self.holds, self.asked);
        let parts = asked.is_some_and(|asked| {
            [asked.level, holds.level].contains(&found.level)
                && [asked.partitions, holds.partitions].contains(&found.partitions)
        });
        let rule = if parts && levels {
            Rule::OneFrame
        } else {
            Rule::Topics
        };
        let what = format!("topic {name} is {found:?}; it was {holds:?}, asked was {asked:?}");
        if parts && !levels {
            Ok(())
        } else {
            Err(Violation::new(rule, what))
        }
    }
}

impl Ledger {
    /// A topic is asked for.
    pub fn topic_asked(&mut self, id: TopicId, name: TopicName, holds: Asked) {
        let state = TopicState::Asked;
        self.topics.insert(
            id,
            TopicModel {
                name,
                state,
                holds,
                asked: None,
            },
        );
    }

    /// The model of a topic.
    pub fn topic_mut(&mut self, id: TopicId) -> Option<&mut TopicModel> {
        self.topics.get_mut(&id)
    }

    /// What doors are shown: all of it is durable.
    ///
    /// # Errors
    ///
    /// If it is not what was asked for.
    pub fn shown(&mut self, catalog: &Catalog, levels: bool) -> Kept {
        for (id, topic) in &catalog.by_id {
            let Some(model) = self.topics.get_mut(id) else {
                let what = format!("topic {} was never asked for", topic.name);
                return Err(Violation::new(Rule::Topics, what));
            };
            model.fits(topic, levels)?;
            if model.state == TopicState::Asked {
                model.state = TopicState::There;
            }
            if let Some(asked) = model.asked
                && asked != model.holds
                && topic.partitions.len() == asked.partitions
                && topic.settings.durability == asked.level
            {
                model.holds = asked;
                model.asked = None;
            }
            for partition in &topic.partitions {
                self.partitions.entry(*partition).or_default().topic = *id;
            }
        }
        for (id, model) in &mut self.topics {
            if catalog.by_id.contains_key(id) {
                continue;
            }
            match model.state {
                TopicState::GoingAway => model.state = TopicState::Gone,
                TopicState::There => {
                    let what = format!("topic {} is not there", model.name);
                    return Err(Violation::new(Rule::Topics, what));
                }
                TopicState::Asked | TopicState::Gone => {}
            }
        }
        Ok(())
    }

    /// As [`Ledger::shown`] after a start: nothing is under way any more, what holds is what is there.
    pub(super) fn settle_topics(&mut self, catalog: &Catalog, levels: bool) {
        for (id, model) in &mut self.topics {
            let there = catalog.by_id.get(id);
            model.state = if there.is_some() {
                TopicState::There
            } else {
                TopicState::Gone
            };
            if let (Some(topic), Some(asked)) = (there, model.asked.take())
                && topic.partitions.len() == asked.partitions
                && (!levels || topic.settings.durability == asked.level)
            {
                model.holds = asked;
            }
        }
    }

    /// Whether the topics of a start are possible, without believing in them.
    pub(super) fn check_topics(&self, catalog: &Catalog, levels: bool) -> Kept {
        for (id, topic) in &catalog.by_id {
            let model = self.topics.get(id).ok_or_else(|| {
                Violation::new(
                    Rule::Topics,
                    format!("topic {} was never asked for", topic.name),
                )
            })?;
            model.fits(topic, levels)?;
        }
        let there = |model: &&TopicModel| model.state == TopicState::There;
        let mut there = self.topics.iter().filter(|(_, model)| there(model));
        match there.find(|(id, _)| !catalog.by_id.contains_key(*id)) {
            Some((_, model)) => Err(Violation::new(
                Rule::Topics,
                format!("topic {} is not there", model.name),
            )),
            None => Ok(()),
        }
    }
}
