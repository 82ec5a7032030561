//! How what workers read comes to be.

use mulgil_broker::request::{CreateTopic, CreateTopics, Reply, Request, TopicRef};
use mulgil_broker::subscription::{
    BeginAt, CreateQueue, CreateSubscription, OverflowPolicy, RetryPolicy, SubscriptionRequest,
    SubscriptionSettings,
};
use mulgil_meta::schema::{Durability, TopicName, TopicSettings};
use mulgil_record::ids::TopicId;

use super::super::{Scene, odd};
use super::{Kind, Open, Worker};
use crate::ledger::{Asked, GRAVEYARD, QUEUE, TopicState, is_compacted, is_of_workers};
use crate::violation::Kept;

/// The name of the queue.
pub(super) const QUEUE_NAME: &str = "jobs";

fn topic(id: TopicId, name: &str, scene: &mut Scene<'_>) -> CreateTopic {
    let name = TopicName::in_default(name);
    let holds = Asked {
        level: Durability::Fsync,
        partitions: 1,
    };
    scene.ledger.topic_asked(id, name.clone(), holds);
    CreateTopic {
        name,
        partitions: Some(1),
        settings: TopicSettings {
            durability: Durability::Fsync,
            retention_ms: None,
            ..TopicSettings::default()
        },
        id,
    }
}

/// The creation of a topic was answered; nobody relies on it before it is shown.
pub(super) fn topic_told(id: TopicId, reply: Reply, scene: &mut Scene<'_>) -> Kept {
    let Reply::CreateTopics(outcomes) = reply else {
        return Err(odd(&reply));
    };
    if let Some(topic) = scene.ledger.topic_mut(id)
        && outcomes.iter().all(Result::is_ok)
    {
        topic.state = TopicState::There;
    }
    Ok(())
}

/// Settings of the queue: each run has some of the limits.
fn settings(scene: &mut Scene<'_>) -> SubscriptionSettings {
    let tries = |scene: &mut Scene<'_>| {
        let some = scene.below(2) == 0;
        let most = 1 + u16::try_from(scene.below(4)).unwrap_or(0);
        some.then_some(most)
    };
    let failed_max = tries(scene);
    let acquired_max = if scene.below(3) == 0 {
        tries(scene)
    } else {
        None
    };
    SubscriptionSettings {
        failed_max,
        acquired_max,
        retry: if scene.below(3) == 0 {
            RetryPolicy::AtOnce
        } else {
            RetryPolicy::Fixed {
                ms: 50 + scene.dice.below(300),
            }
        },
        ttl_ms: (scene.below(5) == 0).then(|| 500 + scene.dice.below(4_000)),
        length_max: (scene.below(5) == 0).then(|| 3 + scene.dice.below(20)),
        overflow: if scene.below(3) == 0 {
            OverflowPolicy::DropOldest
        } else {
            OverflowPolicy::DeadLetterOldest
        },
        dead_letter: (scene.below(5) > 0).then_some(GRAVEYARD),
        ..SubscriptionSettings::default()
    }
}

impl Worker {
    /// Creates what it reads, or looks at what is there.
    pub(super) fn begin(&self, scene: &mut Scene<'_>) -> Option<(Open, Request)> {
        let topics = &scene.catalog.by_id;
        let (queue, graveyard) = (topics.contains_key(&QUEUE), topics.contains_key(&GRAVEYARD));
        if self.unseen || (self.kind == Kind::Queue && queue) {
            let describe = SubscriptionRequest::Describe(self.subscription());
            return Some((Open::Describe, Request::Subscription(describe)));
        }
        match self.kind {
            Kind::Plain => {
                let fit = topics.values().filter(|topic| {
                    let synced = topic.settings.durability == Durability::Fsync;
                    synced && !is_compacted(topic.id) && !is_of_workers(topic.id)
                });
                let fit: Vec<_> = fit.map(|topic| topic.id).collect();
                let topic = *scene.one_of(&fit)?;
                Some(self.subscribe(topic, scene))
            }
            Kind::Queue if !graveyard => {
                let create = CreateTopics {
                    topics: vec![topic(GRAVEYARD, "graveyard", scene)],
                    validate_only: false,
                };
                Some((Open::Topic(GRAVEYARD), Request::CreateTopics(create)))
            }
            Kind::Queue => {
                let create = CreateQueue {
                    topic: topic(QUEUE, QUEUE_NAME, scene),
                    settings: settings(scene),
                };
                let create = SubscriptionRequest::CreateQueue(Box::new(create));
                Some((Open::Create, Request::Subscription(create)))
            }
            Kind::Second => queue.then(|| self.subscribe(QUEUE, scene)),
        }
    }

    fn subscribe(&self, topic: TopicId, scene: &mut Scene<'_>) -> (Open, Request) {
        let create = CreateSubscription {
            name: self.name.clone(),
            topic: TopicRef::Id(topic),
            begin: if scene.below(4) == 0 {
                BeginAt::End
            } else {
                BeginAt::Start
            },
            filter: None,
            settings: SubscriptionSettings::default(),
        };
        let create = SubscriptionRequest::Create(Box::new(create));
        (Open::Create, Request::Subscription(create))
    }
}
