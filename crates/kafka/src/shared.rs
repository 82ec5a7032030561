//! What all connections of one listener share: settings, and the components they are given.

use std::sync::Arc;

use mulgil_broker::meta::catalog::CatalogReader;
use mulgil_broker::quota::QuotaMeters;
use mulgil_record::ids::TopicId;

use crate::conn::session_room::SessionRoom;
use crate::figures::KafkaFigures;

/// Where a connection gets numbers that nobody can guess, or that nobody else has.
pub trait IdSource: Send + Sync {
    /// A random id for a new topic, never zero.
    fn topic_id(&self) -> TopicId;

    /// A number for a fetch session that no other session of this broker has; only its low 31 bits
    /// are used.
    fn fetch_session_id(&self) -> u32;

    /// A random number for the name of a new member of a group.
    fn member_id(&self) -> u128 {
        self.topic_id().0
    }
}

/// Settings of the Kafka door.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// The host that clients are told to connect to, Kafka's `advertised.listeners`.
    pub advertised_host: String,
    /// The port that clients are told to connect to.
    pub advertised_port: u16,
    /// What the cluster is called; clients compare it.
    pub cluster_id: String,
    /// The number of this broker.
    pub node_id: i32,
    /// How many partitions a topic gets whose creator does not say, Kafka's `num.partitions`.
    pub partitions_default: u32,
    /// Whether asking for a topic may create it, Kafka's `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// Largest request, Kafka's `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// Largest answer to a fetch, Kafka's `fetch.max.bytes`.
    pub fetch_bytes_max: u32,
}

impl Default for KafkaOptions {
    /// As Kafka has them, for a broker on this machine alone.
    fn default() -> Self {
        Self {
            advertised_host: "127.0.0.1".to_owned(),
            advertised_port: 9092,
            cluster_id: "mulgil".to_owned(),
            node_id: 1,
            partitions_default: 1,
            auto_create_topics: true,
            request_bytes_max: 100 * 1024 * 1024,
            fetch_bytes_max: 55 * 1024 * 1024,
        }
    }
}

/// What all connections of one listener share.
#[expect(missing_debug_implementations, reason = "components are opaque")]
pub struct KafkaShared {
    /// Settings.
    pub options: KafkaOptions,
    /// Which topics there are.
    pub catalog: Arc<dyn CatalogReader>,
    /// Fresh ids.
    pub ids: Arc<dyn IdSource>,
    /// What is counted.
    pub figures: Arc<KafkaFigures>,
    /// What users and clients with quotas have used lately.
    pub meters: QuotaMeters,
    /// What the fetch sessions of all connections take.
    pub sessions: Arc<SessionRoom>,
}
