//! What operators may ask of the broker beside topics themselves: settings, quotas, figures.

use mulgil_core::machine::Now;
use mulgil_core::partition::Partition;
use mulgil_meta::quota::{Limit, QuotaEntity};
use mulgil_meta::settings::{Edit, Scope, SettingRefusal};
use mulgil_record::ids::{PartitionId, ProducerEpoch, ProducerId};

use crate::request::TopicRef;

/// Whose settings are changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configured {
    /// A topic's.
    Topic(TopicRef),
    /// The broker's.
    Broker(Scope),
}

/// Change settings, of each target in one frame, or of it nothing.
#[derive(Clone, Debug)]
pub struct Configure {
    /// Whose, and how.
    pub targets: Vec<(Configured, Vec<Edit>)>,
    /// Whether what was stated before and is not edited is forgotten.
    pub replace: bool,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// Change of a limit: a number sets it, none takes it away.
pub type LimitEdit = (Limit, Option<u64>);

/// Change quotas, of each entity all its limits or nothing.
#[derive(Clone, Debug)]
pub struct SetQuotas {
    /// Whose, and how.
    pub entities: Vec<(QuotaEntity, Vec<LimitEdit>)>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// Why settings or quotas were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigureRefusal {
    /// There is no such topic.
    #[error("there is no such topic")]
    UnknownTopic,
    /// A setting is not possible.
    #[error(transparent)]
    Setting(#[from] SettingRefusal),
    /// A quota is not possible.
    #[error("{0}")]
    Quota(String),
    /// The disk is full; reading and consuming go on.
    #[error("the disk is full")]
    DiskFull,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

/// Give topics more partitions.
#[derive(Clone, Debug)]
pub struct GrowTopics {
    /// Which, and how many partitions they have from now on: more than before.
    pub topics: Vec<(TopicRef, u32)>,
    /// How many partitions are asked for in all pieces of one request, of which all together have a
    /// bound.
    pub asked_in_all: u64,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// Tell which producers partitions remember.
#[derive(Clone, Debug)]
pub struct DescribeProducers {
    /// Of which partitions.
    pub partitions: Vec<PartitionId>,
    /// How many were told before for the same answer, of which all parts together have a bound:
    /// [`PRODUCERS_TOLD_MAX`].
    pub told_before: usize,
}

/// Why the producers of a partition are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducersRefusal {
    /// No such partition, or its topic was deleted.
    #[error("partition {0} does not exist")]
    UnknownPartition(PartitionId),
    /// With those that are told already they are too many for one answer.
    #[error("one answer tells at most {most} producers: ask for fewer partitions at once")]
    TooMany {
        /// The limit.
        most: usize,
    },
}

/// A producer that a partition remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer: ProducerId,
    /// Its incarnation.
    pub epoch: ProducerEpoch,
    /// Sequence number of its last record, if any is remembered.
    pub last_sequence: Option<i32>,
    /// When it last wrote, milliseconds since 1970, as the running time since then tells: what it
    /// wrote before a stop looks younger by the time in which the broker was down.
    pub last_write_ms: u64,
}

/// What partitions take, of how much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Those partitions that there are, in the order of the question.
    pub partitions: Vec<PartitionSize>,
    /// Bytes of the file system and how many of them are free, once the keeper has looked.
    pub space: Option<(u64, u64)>,
}

/// What a partition takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionSize {
    /// Which.
    pub partition: PartitionId,
    /// Bytes of its records in the store.
    pub bytes: u64,
}

/// Most producers that are told in one answer, about 10 MB: nobody looks through more, and the lane is
/// held while they are copied. A partition that has more alone is told as far as that.
pub const PRODUCERS_TOLD_MAX: usize = 100_000;

/// At most `most` of the producers that a partition remembers.
pub(crate) fn producers(machine: &Partition, most: usize, now: Now) -> Vec<ActiveProducer> {
    let told = machine.producers.iter().take(most);
    let date = |written: u64| {
        now.wall
            .0
            .saturating_sub(now.elapsed.0.saturating_sub(written))
    };
    told.map(|(producer, known)| ActiveProducer {
        producer: *producer,
        epoch: known.epoch,
        last_sequence: known.batches.back().map(|batch| batch.last),
        last_write_ms: date(known.last_write.0),
    })
    .collect()
}
