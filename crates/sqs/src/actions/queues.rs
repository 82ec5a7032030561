//! Queues are created, found, described, changed, purged and deleted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mulgil_broker::meta::settings::{SettingRefusal, edit};
use mulgil_broker::request::{
    AlterRefusal, AlterTopic, CreateRefusal, CreateTopic, Reply, Request, TopicRef,
};
use mulgil_broker::subscription::{
    Counts, CreateQueue, SubscriptionRef, SubscriptionRefusal, SubscriptionReply,
    SubscriptionRequest, SubscriptionSettings,
};
use serde_json::{Map, Value, json};

use crate::attributes::{self, Change, Purpose, RedrivePolicy, name_of};
use crate::door::{Caller, Door, Queue, refused, stopping, unexpected};
use crate::fault::{Fault, Kind};
use crate::input::{Parameters, invalid, pairs, required, text, texts, within};
use crate::names::{self, FIFO, is_name};

/// Most queues of one page.
const PAGE_MAX: i64 = 1_000;

impl Door {
    pub(crate) async fn create_queue(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let name = required(with, "QueueName")?;
        let fifo = name.ends_with(FIFO);
        let asked = pairs(with, "Attributes")?;
        // Said of a queue that is no FIFO queue by its name, it is the name that is wrong.
        let says_fifo = asked.contains(&("FifoQueue", "true"));
        let own = names::to_subscription(name).filter(|_| is_name(name));
        let own = own.ok_or_else(|| bad_name(says_fifo))?;
        let purpose = Purpose {
            fifo,
            creating: true,
            open: self.is_open(),
        };
        let tags = pairs(with, "tags")?;
        let tags = self.tags_of(&Map::new(), &tags)?;
        let _one_at_a_time = self.altering.lock().await;
        let catalog = self.broker.catalog();
        if let Some(there) = self.named(&catalog, name) {
            let asked: Vec<_> = asked;
            return self.same_queue(&there, &asked, caller);
        }
        let change = Change::read(&asked, purpose)?;
        if self.rests(&self.deleted, name) {
            let message = "You must wait 60 seconds after deleting a queue before you can create \
                another with the same name.";
            return Err(Fault::new(Kind::QueueDeletedRecently, message));
        }
        let (mut edits, mut settings) = attributes::defaults(fifo);
        edits.extend(change.topic.iter().cloned());
        edits.extend(tags);
        change.apply(&mut settings);
        self.redrive_to(&change, name, fifo, &mut settings)?;
        let topic = edit::stated_topic(&catalog.broker, &edits).map_err(|why| setting(&why))?;
        let ask = SubscriptionRequest::CreateQueue(Box::new(CreateQueue {
            topic: CreateTopic {
                name: name_of(&own),
                partitions: None,
                settings: topic,
                id: (self.topic_id)(),
            },
            settings,
        }));
        let SubscriptionReply::QueueCreated(created) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        created.map_err(|why| {
            let taken = matches!(
                &why,
                SubscriptionRefusal::Exists(_)
                    | SubscriptionRefusal::Topic(CreateRefusal::Exists(_))
            );
            if !taken {
                return refused(&why);
            }
            let message = format!(
                "A topic or subscription is called {own} and is no queue: create a subscription of the \
                 topic by another name, and use that."
            );
            Fault::new(Kind::QueueNameExists, message)
        })?;
        Ok(json!({ "QueueUrl": self.url(name, caller) }))
    }

    /// What is there may be created again, with the same attributes or with fewer.
    fn same_queue(
        &self,
        there: &Queue,
        asked: &[(&str, &str)],
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let purpose = Purpose {
            fifo: there.fifo,
            creating: there.fifo,
            open: self.is_open(),
        };
        let mut all = asked.to_vec();
        if there.fifo && !all.iter().any(|(name, _)| *name == "FifoQueue") {
            all.push(("FifoQueue", "true"));
        }
        let change = Change::read(&all, purpose)?;
        let told = self.told(there);
        let differs = change.told.iter().find(|(name, value)| {
            let current = told.iter().find(|(known, _)| known == name);
            current.map_or("", |(_, current)| current.as_str()) != value
        });
        if let Some((name, _)) = differs {
            let message = format!(
                "A queue already exists with the same name and a different value for attribute {name}"
            );
            return Err(Fault::new(Kind::QueueNameExists, message));
        }
        Ok(json!({ "QueueUrl": self.url(&there.name, caller) }))
    }

    /// All attributes but those that are counted.
    fn told(&self, queue: &Queue) -> Vec<(&'static str, String)> {
        let arn = self.owner().arn(&queue.name);
        let catalog = self.broker.catalog();
        let target = queue.subscription.settings.dead_letter;
        let target = target.and_then(|id| catalog.topic_by_id(id));
        let target = target.map(|topic| {
            // The queue of the topic, or one that reads it.
            let mut all = catalog.subscriptions.of_topic(topic.id);
            let own = catalog.subscriptions.named(&topic.name);
            let own = own.filter(|own| own.topic == topic.id);
            let shown = own.or_else(|| all.next());
            let name = shown.map_or(&topic.name.name, |shown| &shown.name.name);
            let name = names::of_subscription(name);
            self.owner()
                .arn(&name.unwrap_or_else(|| topic.name.name.to_string()))
        });
        attributes::told(&queue.subscription, &queue.topic, &arn, target)
    }

    /// Finds the dead-letter topic that is asked for.
    fn redrive_to(
        &self,
        change: &Change,
        name: &str,
        fifo: bool,
        settings: &mut SubscriptionSettings,
    ) -> Result<(), Fault> {
        let Some(Some(policy)) = &change.redrive else {
            return Ok(());
        };
        let bad = |reason: &str| invalid("RedrivePolicy", &policy.write(), reason);
        let RedrivePolicy { target, .. } = policy;
        let target = self.owner().queue_of(target);
        let target = target.ok_or_else(|| bad("Invalid value for deadLetterTargetArn."))?;
        let found = self.named(&self.broker.catalog(), target);
        let found = found.ok_or_else(|| bad("Dead letter target does not exist."))?;
        if found.fifo != fifo {
            return Err(bad(
                "Dead-letter queue must be same type of queue as the source.",
            ));
        }
        if target == name {
            return Err(bad("Dead letter target must be another queue."));
        }
        if !attributes::allows(&found.topic, &self.owner().arn(name)) {
            return Err(bad(
                "Dead letter target does not permit this queue as a source.",
            ));
        }
        settings.dead_letter = Some(found.topic.id);
        Ok(())
    }

    pub(crate) async fn set_attributes(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let asked = pairs(with, "Attributes")?;
        if asked.is_empty() {
            return Err(crate::input::missing("Attribute.Name"));
        }
        let _one_at_a_time = self.altering.lock().await;
        let queue = self.queue(with, caller)?;
        let purpose = Purpose {
            fifo: queue.fifo,
            creating: false,
            open: self.is_open(),
        };
        let mut change = Change::read(&asked, purpose)?;
        if asked
            .iter()
            .any(|(name, _)| *name == "MessageRetentionPeriod")
            && !queue.owns_topic()
        {
            let message = format!(
                "Invalid value for the parameter MessageRetentionPeriod. Reason: Others read topic {} too; its \
                 retention is not this queue's to say.",
                queue.topic.name
            );
            return Err(Fault::new(Kind::InvalidAttributeValue, message));
        }
        change.stamp(self.wall_ms());
        let mut settings = queue.subscription.settings;
        change.apply(&mut settings);
        self.redrive_to(&change, &queue.name, queue.fifo, &mut settings)?;
        if settings != queue.subscription.settings {
            let ask = SubscriptionRequest::Alter {
                subscription: SubscriptionRef::Id(queue.subscription.id),
                settings,
            };
            let SubscriptionReply::Altered(altered) = self.ask_queue(ask).await? else {
                return Err(unexpected());
            };
            altered.map_err(|why| refused(&why))?;
        }
        self.alter_topic(&queue, change.topic).await?;
        Ok(json!({}))
    }

    /// Changes settings of a queue's topic.
    pub(crate) async fn alter_topic(
        &self,
        queue: &Queue,
        edits: Vec<edit::Edit>,
    ) -> Result<(), Fault> {
        let alter = AlterTopic {
            topic: TopicRef::Id(queue.topic.id),
            settings: Some(edits),
            partitions: None,
        };
        let Reply::AlterTopic(altered) = self.ask(Request::AlterTopic(alter)).await? else {
            return Err(unexpected());
        };
        altered.map_err(|why| match &why {
            AlterRefusal::Unknown => Fault::no_queue(),
            AlterRefusal::Stopping => stopping(),
            AlterRefusal::DiskFull => Fault::new(Kind::ServiceUnavailable, "The disk is full."),
            AlterRefusal::Setting(why) => setting(why),
            AlterRefusal::PartitionCount { .. }
            | AlterRefusal::TooMany { .. }
            | AlterRefusal::Ordered(_) => {
                Fault::new(Kind::InvalidAttributeValue, format!("{why}."))
            }
        })
    }

    pub(crate) async fn get_attributes(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let names = texts(with, "AttributeNames")?;
        let queue = self.queue(with, caller)?;
        if let Some(unknown) = names.iter().find(|name| !attributes::is_known(name)) {
            let message = format!("Unknown Attribute {unknown}.");
            return Err(Fault::new(Kind::InvalidAttributeName, message));
        }
        if names.is_empty() {
            return Ok(json!({}));
        }
        let counts = self.counts(&queue).await?;
        let mut all = self.told(&queue);
        all.extend([
            ("ApproximateNumberOfMessages", counts.available.to_string()),
            (
                "ApproximateNumberOfMessagesDelayed",
                counts.scheduled.to_string(),
            ),
            (
                "ApproximateNumberOfMessagesNotVisible",
                counts.acquired.to_string(),
            ),
        ]);
        let wanted = |name: &str| names.contains(&"All") || names.contains(&name);
        let some = all.into_iter().filter(|(name, _)| wanted(name));
        let some: Map<_, _> = some
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        Ok(if some.is_empty() {
            json!({})
        } else {
            json!({ "Attributes": some })
        })
    }

    /// How many messages stand where.
    async fn counts(&self, queue: &Queue) -> Result<Counts, Fault> {
        let which = SubscriptionRef::Id(queue.subscription.id);
        let ask = SubscriptionRequest::Describe(which);
        let SubscriptionReply::Described(described) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        let picture = described.map_err(|why| refused(&why))?;
        let mut sum = Counts::default();
        for one in &picture.partitions {
            sum.available += one.counts.available;
            sum.acquired += one.counts.acquired;
            sum.scheduled += one.counts.scheduled;
        }
        Ok(sum)
    }

    pub(crate) fn get_url(&self, with: &Parameters, caller: &Caller) -> Result<Value, Fault> {
        let name = required(with, "QueueName")?;
        let account = text(with, "QueueOwnerAWSAccountId")?;
        let own = account.is_none_or(|account| account == self.owner().account);
        let queue = self.named(&self.broker.catalog(), name).filter(|_| own);
        let queue = queue.ok_or_else(Fault::no_queue)?;
        Ok(json!({ "QueueUrl": self.url(&queue.name, caller) }))
    }

    pub(crate) fn list_queues(&self, with: &Parameters, caller: &Caller) -> Result<Value, Fault> {
        let prefix = text(with, "QueueNamePrefix")?.unwrap_or_default();
        let all = |queue: &Queue| queue.name.starts_with(prefix);
        self.page(with, caller, "QueueUrls", all)
    }

    pub(crate) fn list_sources(&self, with: &Parameters, caller: &Caller) -> Result<Value, Fault> {
        let target = self.queue(with, caller)?.topic.id;
        let source = |queue: &Queue| queue.subscription.settings.dead_letter == Some(target);
        let mut page = self.page(with, caller, "queueUrls", source)?;
        // Unlike other lists, this one is there though it is empty.
        if let Value::Object(page) = &mut page {
            page.entry("queueUrls").or_insert_with(|| json!([]));
        }
        Ok(page)
    }

    /// URLs of some of all queues, by name. Only who says how many wants pages.
    fn page(
        &self,
        with: &Parameters,
        caller: &Caller,
        list: &str,
        wanted: impl Fn(&Queue) -> bool,
    ) -> Result<Value, Fault> {
        let reason = "Must be between 1 and 1000, if provided.";
        let asked = within(with, "MaxResults", (1, PAGE_MAX), reason)?;
        let after = match text(with, "NextToken")? {
            None => None,
            Some(token) => {
                let name = URL_SAFE_NO_PAD.decode(token).ok();
                let name = name.and_then(|name| String::from_utf8(name).ok());
                let bad = || invalid("NextToken", token, "It was not given by this service.");
                Some(name_of(&name.ok_or_else(bad)?))
            }
        };
        let most = usize::try_from(asked.unwrap_or(PAGE_MAX)).unwrap_or(1);
        let catalog = self.broker.catalog();
        let all = catalog.subscriptions.after(after.as_ref());
        let queues = all.filter_map(|one| self.of(&catalog, one));
        let mut queues = queues.filter(|queue| wanted(queue));
        let page: Vec<_> = queues.by_ref().take(most).collect();
        let mut answer = Map::new();
        if let (Some(last), Some(_), Some(_)) = (page.last(), asked, queues.next()) {
            let token = URL_SAFE_NO_PAD.encode(last.subscription.name.name.as_bytes());
            answer.insert("NextToken".to_owned(), token.into());
        }
        let urls: Vec<Value> = { page.iter() }
            .map(|queue| self.url(&queue.name, caller).into())
            .collect();
        if !urls.is_empty() {
            answer.insert(list.to_owned(), urls.into());
        }
        Ok(answer.into())
    }

    pub(crate) async fn purge_queue(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let queue = self.queue(with, caller)?;
        if self.rests(&self.purged, &queue.name) {
            let message = format!(
                "Only one PurgeQueue operation on {} is allowed every 60 seconds.",
                queue.name
            );
            return Err(Fault::new(Kind::PurgeQueueInProgress, message));
        }
        let ask = SubscriptionRequest::Purge {
            subscription: SubscriptionRef::Id(queue.subscription.id),
            held: true,
        };
        let SubscriptionReply::Purged(purged) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        purged.map_err(|why| refused(&why))?;
        self.note(&self.purged, &queue.name);
        Ok(json!({}))
    }

    pub(crate) async fn delete_queue(
        &self,
        with: &Parameters,
        caller: &Caller,
    ) -> Result<Value, Fault> {
        let queue = self.queue(with, caller)?;
        let which = SubscriptionRef::Id(queue.subscription.id);
        // A queue goes with its messages. A subscription of a topic that others read goes alone.
        let ask = if queue.owns_topic() {
            SubscriptionRequest::DeleteQueue(which)
        } else {
            SubscriptionRequest::Delete(which)
        };
        let SubscriptionReply::Deleted(deleted) = self.ask_queue(ask).await? else {
            return Err(unexpected());
        };
        deleted.map_err(|why| refused(&why))?;
        self.note(&self.deleted, &queue.name);
        Ok(json!({}))
    }
}

fn bad_name(fifo: bool) -> Fault {
    let message = if fifo {
        "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, \
         must end with .fifo suffix and be 1 to 80 in length."
    } else {
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
    };
    Fault::new(Kind::InvalidParameterValue, message)
}

fn setting(refusal: &SettingRefusal) -> Fault {
    Fault::new(Kind::InvalidAttributeValue, format!("{refusal}."))
}
