//! Subscriptions as metadata has them: who reads which topic as a queue, from where on, and how.

use std::sync::Arc;

use mulgil_core::selector::Selector;
use mulgil_record::facts::Columns;
use mulgil_record::ids::{Offset, PartitionId, SubscriptionId, TopicId};

use crate::schema::TopicName;

/// Most subscriptions that there may be: an idle one costs about 2 KiB of memory for each partition, so
/// this is some 200 MB.
pub const SUBSCRIPTIONS_MAX: usize = 100_000;

/// Most subscriptions with a filter that one topic may have: each costs an evaluation and a bit for every
/// record that comes.
pub const FILTERS_MAX: usize = 1_024;

/// Longest lock, milliseconds: a day. Who works longer on a record renews.
pub const LOCK_MS_MAX: u32 = 24 * 60 * 60 * 1_000;

/// Most tries that a limit may ask for; the machine counts no further than 65,535.
pub const TRIES_MAX: u16 = 65_000;

/// Longest time for which ids of records are known, milliseconds: a week. Each takes about 100 bytes.
pub const DEDUPLICATE_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;

/// Longest time that a retry policy, an age or a time to live may say, milliseconds: a hundred years.
pub const LONGEST_MS: u64 = 100 * 365 * 24 * 60 * 60 * 1_000;

/// A name within its virtual host, as topics have them; subscriptions have names of their own, so that
/// one may be called as its topic is.
pub type SubscriptionName = TopicName;

/// How long a record that failed waits before it is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Not at all.
    #[default]
    AtOnce,
    /// Always as long.
    Fixed {
        /// How long.
        ms: u64,
    },
    /// So much longer each time.
    Linear {
        /// After the first failure, and more with each.
        ms: u64,
        /// Never longer.
        ms_max: u64,
    },
    /// Twice as long each time.
    Exponential {
        /// After the first failure.
        ms: u64,
        /// Never longer.
        ms_max: u64,
        /// Up to so many percent are taken off, so that what failed together does not come back together.
        jitter_percent: u8,
    },
}

/// What happens when more records come than may wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverflowPolicy {
    /// The oldest that nobody holds are dropped.
    #[default]
    DropOldest,
    /// They go to the dead-letter topic, if there is one.
    DeadLetterOldest,
    /// What comes is refused, whoever else reads the topic.
    Refuse,
}

/// In which order records are handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they lie in their partition.
    #[default]
    Fifo,
    /// So, and while a record is held, or waits to be tried again, no other of its key.
    Key,
    /// The highest priority first, of one the oldest.
    Priority,
}

impl Order {
    /// What must be known of records for it.
    #[must_use]
    pub const fn facts(self) -> Columns {
        match self {
            Self::Fifo => Columns(0),
            Self::Key => Columns::ORDERING_KEY,
            Self::Priority => Columns::PRIORITY,
        }
    }
}

/// What an owner of a subscription can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionSettings {
    /// How long a record is locked for whoever takes it, unless they say, milliseconds.
    pub lock_ms: u32,
    /// A record that failed so often is given up.
    pub failed_max: Option<u16>,
    /// A record that was acquired so often, and comes back, is given up.
    pub acquired_max: Option<u16>,
    /// How long a record that failed waits.
    pub retry: RetryPolicy,
    /// A record that fails when it is so old, by the time it was appended, is given up, milliseconds.
    pub age_ms_max: Option<u64>,
    /// Records that are so old are given up, tried or not, milliseconds.
    pub ttl_ms: Option<u64>,
    /// So many records may wait in each partition, those that are held left out.
    pub length_max: Option<u64>,
    /// So many bytes of keys, values and headers may wait in each partition, those that are held left out.
    pub bytes_max: Option<u64>,
    /// Of records with one id that come within so long the first is handed out alone, milliseconds.
    pub deduplicate_ms: Option<u64>,
    /// What happens when more come.
    pub overflow: OverflowPolicy,
    /// In which order records are handed out.
    pub order: Order,
    /// Whether one consumer alone gets records, and the others wait until it has gone.
    pub single_active: bool,
    /// Whether nothing is handed out.
    pub paused: bool,
    /// The topic that records go to that are given up; without one they are dropped, and counted.
    pub dead_letter: Option<TopicId>,
}

impl Default for SubscriptionSettings {
    /// Locks of 30 s, as SQS has them, and nothing is ever given up.
    fn default() -> Self {
        Self {
            lock_ms: 30_000,
            failed_max: None,
            acquired_max: None,
            retry: RetryPolicy::AtOnce,
            age_ms_max: None,
            ttl_ms: None,
            length_max: None,
            bytes_max: None,
            deduplicate_ms: None,
            overflow: OverflowPolicy::DropOldest,
            order: Order::Fifo,
            single_active: false,
            paused: false,
            dead_letter: None,
        }
    }
}

/// Which records a subscription wants.
#[derive(Clone, Debug)]
pub struct Filter {
    selector: Arc<Selector>,
    text: Arc<str>,
    slot: u16,
}

impl Filter {
    /// A filter whose verdicts stand in this place among those of its topic.
    #[must_use]
    pub fn new(selector: Selector, slot: u16) -> Self {
        Self {
            text: selector.to_string().into(),
            selector: Arc::new(selector),
            slot,
        }
    }

    /// What selects.
    #[must_use]
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Its canonical text.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The place of its verdicts among those of the topic's filters.
    #[must_use]
    pub const fn slot(&self) -> u16 {
        self.slot
    }
}

impl PartialEq for Filter {
    /// The text is canonical.
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.slot) == (&other.text, other.slot)
    }
}

impl Eq for Filter {}

/// What those who read a topic as a queue must know of each of its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// Which facts.
    pub columns: Columns,
    /// Which filters these are: facts are good for them if theirs is as large.
    pub generation: u32,
    /// By which filters to judge, by their places.
    pub filters: Vec<Filter>,
}

impl Needed {
    /// Whether nobody needs anything.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.columns.0 == 0
    }

    /// Bytes of verdicts for each record.
    #[must_use]
    pub fn verdict_bytes(&self) -> u16 {
        self.filters.last().map_or(0, |last| last.slot / 8 + 1)
    }
}

/// Where a subscription began to read a partition that was there when it was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The partition.
    pub partition: PartitionId,
    /// The first record that is for it.
    pub first: Offset,
    /// The first that had not been appended yet.
    pub end: Offset,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its id, for ever.
    pub id: SubscriptionId,
    /// Its name.
    pub name: SubscriptionName,
    /// What it reads.
    pub topic: TopicId,
    /// What holds for it.
    pub settings: SubscriptionSettings,
    /// When it was created, milliseconds since 1970.
    pub created_ms: u64,
    /// Which records it wants, for ever; all of them without one.
    pub filter: Option<Filter>,
    /// Where it began, by partition. Partitions that came later are read from their first record on.
    pub beginnings: Vec<Beginning>,
}

impl Subscription {
    /// What must be known of each record for it.
    #[must_use]
    pub const fn facts(&self) -> Columns {
        let verdicts = match self.filter {
            Some(_) => Columns::VERDICTS,
            None => Columns(0),
        };
        self.settings.facts().with(verdicts)
    }
}

/// Why settings of a subscription are not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} takes {least} to {most}, not {value}")]
pub struct OutOfBounds {
    /// Which, as the HTTP API calls it.
    pub setting: &'static str,
    /// What was asked.
    pub value: u64,
    /// The least that is possible.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl SubscriptionSettings {
    /// What must be known of each record for these.
    #[must_use]
    pub const fn facts(&self) -> Columns {
        let ids = if self.deduplicate_ms.is_some() {
            Columns::DEDUPLICATION
        } else {
            Columns(0)
        };
        self.tracked().with(ids)
    }

    /// What a machine keeps of each record for these as long as it waits.
    #[must_use]
    pub const fn tracked(&self) -> Columns {
        let sizes = if self.bytes_max.is_some() {
            Columns::SIZE
        } else {
            Columns(0)
        };
        self.order.facts().with(sizes)
    }

    /// Whether these are possible.
    ///
    /// # Errors
    ///
    /// The first that is not.
    pub fn check(&self) -> Result<(), OutOfBounds> {
        let within = |setting, value: Option<u64>, most: u64| match value {
            Some(value) if value == 0 || value > most => Err(OutOfBounds {
                setting,
                value,
                least: 1,
                most,
            }),
            Some(_) | None => Ok(()),
        };
        let tries = u64::from(TRIES_MAX);
        within("lock_ms", Some(self.lock_ms.into()), LOCK_MS_MAX.into())?;
        within("failed_max", self.failed_max.map(u64::from), tries)?;
        within("acquired_max", self.acquired_max.map(u64::from), tries)?;
        within("age_ms_max", self.age_ms_max, LONGEST_MS)?;
        within("ttl_ms", self.ttl_ms, LONGEST_MS)?;
        within("length_max", self.length_max, u64::MAX)?;
        within("bytes_max", self.bytes_max, u64::MAX)?;
        within("deduplicate_ms", self.deduplicate_ms, DEDUPLICATE_MS_MAX)?;
        let (ms, ms_max, jitter_percent) = match self.retry {
            RetryPolicy::AtOnce => return Ok(()),
            RetryPolicy::Fixed { ms } => (ms, ms, 0),
            RetryPolicy::Linear { ms, ms_max } => (ms, ms_max, 0),
            RetryPolicy::Exponential {
                ms,
                ms_max,
                jitter_percent,
            } => (ms, ms_max, jitter_percent),
        };
        within("retry.ms", Some(ms), LONGEST_MS)?;
        within("retry.ms_max", Some(ms_max), LONGEST_MS)?;
        let jitter = (jitter_percent > 0).then(|| u64::from(jitter_percent));
        within("retry.jitter_percent", jitter, 100)
    }
}
