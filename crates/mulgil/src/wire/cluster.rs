//! Which broker leads which partition, and a connection to each that is needed.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};

use super::connection::Connection;
use super::fault::Fault;
use crate::clock;

/// How often a request is tried that fails for a reason that passes: 0.1, 0.2, 0.4 … 3.2 s between.
const TRIES: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Above, topics are only named by their ids.
const METADATA_NEWEST: i16 = 12;

/// The brokers, as far as one topic needs them.
#[derive(Debug)]
pub(crate) struct Cluster {
    bootstrap: String,
    topic: String,
    connections: BTreeMap<i32, Connection>,
    brokers: BTreeMap<i32, String>,
    /// The leader of each partition.
    leaders: BTreeMap<i32, i32>,
}

impl Cluster {
    /// Asks the broker at `bootstrap` about `topic`, which must exist.
    pub(crate) fn open(bootstrap: &str, topic: &str) -> Result<Self, Fault> {
        let mut cluster = Self {
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            connections: BTreeMap::new(),
            brokers: BTreeMap::new(),
            leaders: BTreeMap::new(),
        };
        cluster.refresh()?;
        Ok(cluster)
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Its name as requests have it.
    pub(crate) fn topic_name(&self) -> TopicName {
        TopicName(StrBytes::from_string(self.topic.clone()))
    }

    /// Its partitions in order.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = i32> + '_ {
        self.leaders.keys().copied()
    }

    /// The leader of a partition.
    pub(crate) fn leader(&self, partition: i32) -> Option<i32> {
        self.leaders.get(&partition).copied()
    }

    /// Forgets all connections and asks who leads what.
    pub(crate) fn refresh(&mut self) -> Result<(), Fault> {
        self.connections.clear();
        let mut connection = Connection::open(&self.bootstrap)?;
        let topic = MetadataRequestTopic::default().with_name(Some(self.topic_name()));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![topic]))
            .with_allow_auto_topic_creation(false);
        let answer = connection.ask(&request, METADATA_NEWEST)?;
        self.learn(&answer)?;
        // Mostly the one broker there is: its connection serves on.
        if let [(id, address)] = self.brokers.iter().collect::<Vec<_>>()[..]
            && *address == self.bootstrap
        {
            self.connections.insert(*id, connection);
        }
        Ok(())
    }

    fn learn(&mut self, answer: &MetadataResponse) -> Result<(), Fault> {
        let place = format!("topic \"{}\" at {}", self.topic, self.bootstrap);
        let address =
            |broker: &kafka_protocol::messages::metadata_response::MetadataResponseBroker| {
                let host = broker.host.as_str();
                let host = if host.contains(':') {
                    format!("[{host}]")
                } else {
                    host.to_owned()
                };
                (broker.node_id.0, format!("{host}:{}", broker.port))
            };
        self.brokers = answer.brokers.iter().map(address).collect();
        let topic = answer
            .topics
            .first()
            .ok_or_else(|| Fault::garbled(&place, "an answer that does not name it"))?;
        Fault::check(topic.error_code, || place.clone())?;
        self.leaders.clear();
        for partition in &topic.partitions {
            self.leaders
                .insert(partition.partition_index, partition.leader_id.0);
        }
        if self.leaders.is_empty() {
            return Err(Fault::garbled(&place, "a topic without partitions"));
        }
        Ok(())
    }

    fn connection(&mut self, broker: i32) -> Result<&mut Connection, Fault> {
        if !self.connections.contains_key(&broker) {
            let address = self.brokers.get(&broker).ok_or_else(|| {
                Fault::Lost(format!("broker {broker}, whose address nobody knows"))
            })?;
            let connection = Connection::open(address)?;
            self.connections.insert(broker, connection);
        }
        let opened = self.connections.get_mut(&broker);
        opened.ok_or_else(|| Fault::Lost(format!("broker {broker}")))
    }

    /// Whether the broker offers a request.
    pub(crate) fn offers(&mut self, broker: i32, key: ApiKey) -> Result<bool, Fault> {
        Ok(self.connection(broker)?.offers(key))
    }

    /// Asks a broker once. A connection that fails is not used again.
    pub(crate) fn ask<R: Request>(
        &mut self,
        broker: i32,
        request: &R,
        newest: i16,
    ) -> Result<R::Response, Fault> {
        let answer = self.connection(broker)?.ask(request, newest);
        if matches!(
            answer,
            Err(Fault::Lost(_) | Fault::Late(_) | Fault::Garbled(_))
        ) {
            self.connections.remove(&broker);
        }
        answer
    }

    /// Does `work` until it succeeds or fails for good, with fresh leaders each time.
    pub(crate) fn insist<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES {
            match work(self) {
                Err(fault) if fault.passes() => tracing::debug!(?fault, "tried again"),
                done => return done,
            }
            clock::pause(pause);
            pause *= 2;
            if let Err(fault) = self.refresh()
                && !fault.passes()
            {
                return Err(fault);
            }
        }
        work(self)
    }
}
