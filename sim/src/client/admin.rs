//! Whoever creates, alters, deletes and trims.

use mulgil_broker::request::{
    AlterTopic, CreateTopic, CreateTopics, DeleteRefusal, FindOffset, FoundOffset, Isolation,
    ReadRefusal, Reply, Request, Seek, Ticket, TopicRef, Trim, TrimRefusal,
};
use mulgil_meta::schema::{Cleanup, Durability, TopicName, TopicSettings};
use mulgil_meta::settings::{Edit, Operation};
use mulgil_record::ids::{Offset, TopicId};

use super::{Scene, odd};
use crate::ledger::{
    Asked, Known, TopicState, is_compacted, is_of_workers, is_untrimmable, keeps_newest,
};
use crate::violation::{Kept, Rule, Violation};

#[derive(Clone, Copy, Debug)]
enum Open {
    Create(TopicId),
    Delete(TopicId, u64),
    Alter(TopicId),
    Trim(Known),
    Ends(Known),
}

/// The setting that is altered.
pub(crate) const DURABILITY: &str = "mulgil.durability";

/// A level as the table of settings writes it.
pub(crate) const fn word(level: Durability) -> &'static str {
    match level {
        Durability::Memory => "memory",
        Durability::Os => "os",
        Durability::Fsync => "fsync",
    }
}

/// Topics at once.
const TOPICS: usize = 5;

/// The one client that changes topics.
#[derive(Debug, Default)]
pub struct Admin {
    open: Option<(Ticket, Open)>,
    created: u128,
}

/// Topics that are not left to workers.
fn own(scene: &Scene<'_>) -> impl Iterator<Item = TopicId> {
    let all = scene.catalog.by_id.keys().copied();
    all.filter(|id| !is_of_workers(*id))
}

fn roll_level(scene: &mut Scene<'_>) -> Durability {
    match scene.below(8) {
        0 => Durability::Memory,
        1..=3 => Durability::Os,
        _ => Durability::Fsync,
    }
}

/// How long a compacted topic keeps the records that delete keys, milliseconds.
pub const DELETE_RETENTION_MS: u64 = 12_000;

/// What holds for a topic; each third one keeps only its newest records, each fourth is compacted.
fn settings(durability: Durability, id: TopicId) -> TopicSettings {
    TopicSettings {
        durability,
        retention_ms: None,
        retention_bytes: keeps_newest(id).then_some(3_000),
        cleanup: Cleanup {
            delete: keeps_newest(id) || !is_compacted(id),
            compact: is_compacted(id),
        },
        min_cleanable_dirty_ratio_permille: 300,
        // The records' timestamps are small numbers, so all of them have waited too long.
        max_compaction_lag_ms: 1_000,
        delete_retention_ms: DELETE_RETENTION_MS,
        ..TopicSettings::default()
    }
}

impl Admin {
    pub(super) fn act(&mut self, ticket: Ticket, scene: &mut Scene<'_>) -> Option<Request> {
        if self.open.is_some() {
            return None;
        }
        let topics = own(scene).count();
        let (open, request) = match scene.below(24) {
            0 if topics > 1 => self.delete(scene)?,
            1 if topics > 0 => Self::alter(scene)?,
            2..=5 => Self::trim(scene)?,
            6..=9 => Self::ends(scene)?,
            _ if topics < TOPICS => self.create(scene),
            _ => return None,
        };
        scene.trace.line(|| format!("admin asks {request:?}"));
        self.open = Some((ticket, open));
        Some(request)
    }

    fn create(&mut self, scene: &mut Scene<'_>) -> (Open, Request) {
        self.created += 1;
        let id = TopicId(self.created);
        let name = TopicName::in_default(&format!("t{}", scene.below(8)));
        let level = roll_level(scene);
        let partitions = 1 + scene.below(2);
        let holds = Asked { level, partitions };
        scene.ledger.topic_asked(id, name.clone(), holds);
        let settings = settings(level, id);
        let partitions = u32::try_from(partitions).ok();
        let topic = CreateTopic {
            name,
            partitions,
            settings,
            id,
        };
        let create = CreateTopics {
            topics: vec![topic],
            validate_only: false,
        };
        (Open::Create(id), Request::CreateTopics(create))
    }

    fn any_topic(scene: &mut Scene<'_>) -> Option<TopicId> {
        let topics: Vec<TopicId> = own(scene).collect();
        scene.one_of(&topics).copied()
    }

    fn delete(&self, scene: &mut Scene<'_>) -> Option<(Open, Request)> {
        let id = Self::any_topic(scene)?;
        scene.ledger.topic_mut(id)?.state = TopicState::GoingAway;
        let asked = scene.ledger.groups.topic_goes(id);
        Some((
            Open::Delete(id, asked),
            Request::DeleteTopics(vec![TopicRef::Id(id)]),
        ))
    }

    fn alter(scene: &mut Scene<'_>) -> Option<(Open, Request)> {
        let id = Self::any_topic(scene)?;
        let level = roll_level(scene);
        let more = scene.below(2);
        let model = scene.ledger.topic_mut(id)?;
        if model.asked.is_some() {
            // An earlier one, whose answer was lost with its connection, may still be on its way.
            return None;
        }
        let asked = Asked {
            level,
            partitions: model.holds.partitions + more,
        };
        model.asked = Some(asked);
        let edit = Edit {
            name: DURABILITY.into(),
            operation: Operation::Set(word(level).into()),
        };
        let alter = AlterTopic {
            topic: TopicRef::Id(id),
            settings: Some(vec![edit]),
            partitions: u32::try_from(asked.partitions).ok(),
        };
        Some((Open::Alter(id), Request::AlterTopic(alter)))
    }

    fn trim(scene: &mut Scene<'_>) -> Option<(Open, Request)> {
        let partition = scene.any_partition()?;
        let known = scene.ledger.known(partition);
        let span = usize::try_from(known.high_watermark - known.start).unwrap_or(0);
        let to = (scene.below(4) != 0)
            .then(|| known.start + i64::try_from(scene.below(span.min(20) + 1)).unwrap_or(0));
        let model = scene.ledger.partition_mut(partition);
        if !is_untrimmable(model.topic) {
            model.start_asked = model.start_asked.max(to.unwrap_or(i64::MAX));
        }
        let trim = Trim {
            partition,
            to: to.map(Offset),
        };
        Some((Open::Trim(known), Request::Trim(vec![trim])))
    }

    fn ends(scene: &mut Scene<'_>) -> Option<(Open, Request)> {
        let partition = scene.any_partition()?;
        let known = scene.ledger.known(partition);
        let find = |seek| FindOffset {
            partition,
            seek,
            isolation: Isolation::Uncommitted,
            leader_epoch: None,
        };
        let find = vec![find(Seek::Earliest), find(Seek::Latest)];
        Some((Open::Ends(known), Request::FindOffsets(find)))
    }

    pub(super) fn answered(&mut self, ticket: Ticket, reply: Reply, scene: &mut Scene<'_>) -> Kept {
        scene.trace.line(|| format!("admin is told {reply:?}"));
        let Some((_, open)) = self.open.take().filter(|(asked, _)| *asked == ticket) else {
            return Err(odd(&reply));
        };
        match (open, reply) {
            (Open::Create(id), Reply::CreateTopics(outcomes)) => {
                let made = outcomes.iter().all(Result::is_ok);
                let state = if made {
                    TopicState::There
                } else {
                    TopicState::Gone
                };
                if let Some(model) = scene.ledger.topic_mut(id) {
                    model.state = state;
                }
                Self::is_shown(id, made, scene)
            }
            (Open::Delete(id, asked), Reply::DeleteTopics(outcomes)) => {
                let now = outcomes.iter().all(Result::is_ok);
                scene.ledger.groups.settle(asked, now);
                // Unknown: an earlier deletion, whose answer was lost, has done it.
                let gone = |o: &Result<_, _>| matches!(o, Ok(_) | Err(DeleteRefusal::Unknown));
                let gone = outcomes.iter().all(gone);
                let state = if gone {
                    TopicState::Gone
                } else {
                    TopicState::There
                };
                if let Some(model) = scene.ledger.topic_mut(id) {
                    model.state = state;
                }
                Self::is_shown(id, !gone, scene)
            }
            (Open::Alter(id), Reply::AlterTopic(outcome)) => {
                if let Some(model) = scene.ledger.topic_mut(id)
                    && let Some(asked) = model.asked.take()
                    && outcome.is_ok()
                {
                    model.holds = asked;
                }
                Ok(())
            }
            (Open::Trim(known), Reply::Trim(outcomes)) => match outcomes.into_iter().next() {
                Some(Ok(start)) => Self::trimmed(known, start.0, scene),
                Some(Err(TrimRefusal::KeepsNewest(id)))
                    if !is_untrimmable(scene.ledger.partition_mut(id).topic) =>
                {
                    let what = format!("a trim of partition {id}, of which records go, is refused");
                    Err(Violation::new(Rule::OnlyTrimmed, what))
                }
                Some(Err(_)) | None => Ok(()),
            },
            (Open::Ends(known), Reply::FindOffsets(outcomes)) => {
                Self::told_ends(known, &outcomes, scene)
            }
            (_, reply) => Err(odd(&reply)),
        }
    }

    /// A picture that shows a topic must be there by the time the reply to its creation is.
    fn is_shown(id: TopicId, there: bool, scene: &Scene<'_>) -> Kept {
        if scene.catalog.by_id.contains_key(&id) == there {
            return Ok(());
        }
        let what = format!("the answer came before the catalog of topic {}", id.0);
        Err(Violation::new(Rule::Topics, what))
    }

    fn trimmed(known: Known, start: i64, scene: &mut Scene<'_>) -> Kept {
        scene.ledger.started(known, start)?;
        let model = scene.ledger.partition_mut(known.partition);
        if is_untrimmable(model.topic) {
            let what = format!("{} of a compacted topic is trimmed", known.partition);
            return Err(Violation::new(Rule::OnlyTrimmed, what));
        }
        if model.start_asked == i64::MAX {
            model.start_asked = start.max(model.start_surely_asked);
        }
        Ok(())
    }

    fn told_ends(
        known: Known,
        outcomes: &[Result<FoundOffset, ReadRefusal>],
        scene: &mut Scene<'_>,
    ) -> Kept {
        let offset = |at: usize| {
            outcomes
                .get(at)
                .and_then(|o| o.as_ref().ok())
                .and_then(|found| found.offset)
        };
        if let Some(start) = offset(0) {
            scene.ledger.started(known, start.0)?;
        }
        match offset(1) {
            Some(end) => scene.ledger.watermark(known, end.0),
            None => Ok(()),
        }
    }

    pub(super) fn disconnected(&mut self) {
        self.open = None;
    }

    pub(super) fn waits(&self) -> usize {
        usize::from(self.open.is_some())
    }
}
