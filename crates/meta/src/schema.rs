//! What metadata is made of: topics, their partitions, and their settings.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use mulgil_record::compression::Codec;
use mulgil_record::facts::Columns;
use mulgil_record::ids::{PartitionId, TopicId};

use crate::settings;

/// The virtual host of clients that know none.
pub const DEFAULT_VHOST: &str = "/";

/// A topic's name within its virtual host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName {
    /// The virtual host.
    pub vhost: Arc<str>,
    /// The name in it.
    pub name: Arc<str>,
}

impl TopicName {
    /// A name in the default virtual host.
    #[must_use]
    pub fn in_default(name: &str) -> Self {
        Self {
            vhost: Arc::from(DEFAULT_VHOST),
            name: Arc::from(name),
        }
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if &*self.vhost == DEFAULT_VHOST {
            f.write_str(&self.name)
        } else {
            write!(f, "{}:{}", self.vhost, self.name)
        }
    }
}

/// What an acknowledgement of a publish means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing: written without waiting, discarded at start.
    Memory,
    /// Handed to the operating system: survives the end of the process, not of the machine.
    Os,
    /// On disk.
    #[default]
    Fsync,
}

/// Which timestamp a record carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// That of the append.
    LogAppendTime,
}

/// How old records go. Neither: they stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanup {
    /// By age and size, see [`TopicSettings::retention_ms`] and [`TopicSettings::retention_bytes`].
    pub delete: bool,
    /// By key: only the newest record of each stays.
    pub compact: bool,
}

impl Cleanup {
    /// Whether the newest record of each key is promised to stay: then records are not given up by
    /// offset either.
    #[must_use]
    pub const fn keeps_newest(self) -> bool {
        self.compact && !self.delete
    }
}

impl Default for Cleanup {
    fn default() -> Self {
        Self {
            delete: true,
            compact: false,
        }
    }
}

/// What holds for a topic. A `None` means without limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// What an acknowledgement means.
    pub durability: Durability,
    /// How long a record is kept, milliseconds.
    pub retention_ms: Option<u64>,
    /// How much of each partition is kept, bytes.
    pub retention_bytes: Option<u64>,
    /// Largest record batch, bytes.
    pub message_bytes_max: u32,
    /// Which timestamp a record carries.
    pub timestamp_type: TimestampType,
    /// How far a producer's timestamp may lie in the past, milliseconds.
    pub timestamp_before_max_ms: Option<u64>,
    /// How far a producer's timestamp may lie in the future, milliseconds.
    pub timestamp_after_max_ms: Option<u64>,
    /// Whether what every subscription has settled is given up.
    pub reclaim_on_ack: bool,
    /// How long records stay although every subscription has settled them, milliseconds.
    pub keep_at_least_ms: u64,
    /// Whether what records ask for by reserved headers counts: delays and expiry.
    pub read_headers: bool,
    /// How old records go.
    pub cleanup: Cleanup,
    /// How much of a compacted partition must be unclean before it is worth a pass, thousandths.
    pub min_cleanable_dirty_ratio_permille: u32,
    /// How long a record is safe from compaction, milliseconds.
    pub min_compaction_lag_ms: u64,
    /// When a record must have been looked at by compaction, milliseconds.
    pub max_compaction_lag_ms: u64,
    /// How long a compacted partition keeps the record that deletes a key, milliseconds.
    pub delete_retention_ms: u64,
    /// How batches are packed; `None` as their producer packed them.
    pub compression: Option<Codec>,
    /// What somebody has set, by the name of the setting, as text: everything else holds because
    /// nobody said otherwise. Settings that mean nothing here stand only in this list.
    pub stated: BTreeMap<Arc<str>, Arc<str>>,
}

impl TopicSettings {
    /// What must be known of each record, whoever reads it.
    #[must_use]
    pub const fn facts(&self) -> Columns {
        if self.read_headers {
            Columns::DUE.with(Columns::EXPIRY)
        } else {
            Columns(0)
        }
    }

    /// Lets these be settings of a queue: what is settled is given up, and reserved headers count unless it
    /// was said that they do not. Stated, so that other defaults of the broker do not change it.
    pub fn make_queue(&mut self) {
        self.reclaim_on_ack = true;
        self.stated
            .insert(settings::RECLAIM_ON_ACK.into(), "true".into());
        if let Entry::Vacant(stated) = self.stated.entry(settings::READ_HEADERS.into()) {
            stated.insert("true".into());
            self.read_headers = true;
        }
        if let Entry::Vacant(policy) = self.stated.entry("cleanup.policy".into()) {
            policy.insert("delete".into());
            self.cleanup = Cleanup {
                delete: true,
                compact: false,
            };
        }
    }
}

impl Default for TopicSettings {
    /// As Kafka creates a topic: seven days, 1 MiB and 12 bytes a batch.
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            retention_ms: Some(7 * 24 * 60 * 60 * 1000),
            retention_bytes: None,
            message_bytes_max: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: None,
            timestamp_after_max_ms: Some(60 * 60 * 1000),
            reclaim_on_ack: false,
            keep_at_least_ms: 0,
            read_headers: false,
            cleanup: Cleanup::default(),
            min_cleanable_dirty_ratio_permille: 500,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX.unsigned_abs(),
            delete_retention_ms: 24 * 60 * 60 * 1000,
            compression: None,
            stated: BTreeMap::new(),
        }
    }
}

impl TopicSettings {
    /// The earliest and the latest timestamp of a producer that are taken at `now_ms`.
    #[must_use]
    pub fn timestamps_taken(&self, now_ms: i64) -> (i64, i64) {
        let distance = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let earliest = self
            .timestamp_before_max_ms
            .map_or(i64::MIN, |ms| now_ms.saturating_sub(distance(ms)));
        let latest = self
            .timestamp_after_max_ms
            .map_or(i64::MAX, |ms| now_ms.saturating_add(distance(ms)));
        (earliest, latest)
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its id, for ever.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionId>,
    /// What holds for it.
    pub settings: TopicSettings,
    /// When it was created, milliseconds since 1970.
    pub created_ms: u64,
}
