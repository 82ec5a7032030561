//! The doors, each with what it needs of the broker.

use std::net::SocketAddr;
use std::sync::Arc;

use mulgil_broker::quota::QuotaMeters;
use mulgil_broker::shell::Broker;
use mulgil_http::guard::Hosts;
use mulgil_kafka::{KafkaFigures, KafkaOptions, KafkaShared};
use mulgil_log::recovery::Recovered;
use mulgil_record::ids::TopicId;
use mulgil_sqs::door::Door;
use mulgil_sqs::figures::SqsFigures;
use mulgil_sqs::server::Server;

use super::{NodeOptions, RandomIds, SqsListen, random_id};
use crate::clock;

/// A broker, and what recovery found.
type Found<'a> = (&'a Arc<Broker>, &'a Recovered);

/// Counters of the Kafka door, which tells time from now on.
pub(super) fn kafka_figures() -> KafkaFigures {
    KafkaFigures::new(micros())
}

/// A clock in microseconds that begins now.
fn micros() -> impl Fn() -> u64 + Send + Sync + 'static {
    let began = clock::running();
    move || u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// What all connections of the Kafka door share.
pub(super) fn kafka(
    options: &NodeOptions,
    addr: SocketAddr,
    (broker, recovered): Found<'_>,
    figures: &Arc<KafkaFigures>,
) -> Arc<KafkaShared> {
    let (advertised_host, advertised_port) = match options.advertised.clone() {
        Some((host, port)) => (host, port.unwrap_or_else(|| addr.port())),
        None => advertised(addr),
    };
    Arc::new(KafkaShared {
        options: KafkaOptions {
            advertised_host,
            advertised_port,
            cluster_id: format!("{:032x}", recovered.cluster),
            partitions_default: options.partitions_default,
            auto_create_topics: options.auto_create_topics,
            ..KafkaOptions::default()
        },
        catalog: Arc::clone(broker) as _,
        ids: Arc::new(RandomIds),
        figures: Arc::clone(figures),
        meters: QuotaMeters::default(),
        sessions: Arc::default(),
    })
}

/// The SQS door.
pub(super) fn sqs(listen: &SqsListen, (broker, recovered): Found<'_>) -> Arc<Door> {
    let secret = recovered.cluster.to_be_bytes().to_vec();
    let topic_id = || TopicId(random_id());
    Arc::new(Door::new(
        Arc::clone(broker),
        listen.door.clone(),
        secret,
        topic_id,
        Arc::new(SqsFigures::new(micros())),
    ))
}

/// The listener's side of the SQS door.
pub(super) fn sqs_server(listen: &SqsListen, addr: SocketAddr, door: Arc<Door>) -> Arc<Server> {
    // An address that was asked for by number is a configured one.
    let own = Some(addr.ip()).filter(|ip| !ip.is_unspecified());
    let own = own.map(|ip| ip.to_string());
    let hosts = Hosts::new(listen.hosts.iter().cloned().chain(own));
    Arc::new(Server::new(door, hosts, clock::wall_seconds))
}

/// What clients on this machine can reach a listener by.
fn advertised(addr: SocketAddr) -> (String, u16) {
    let host = if addr.ip().is_unspecified() {
        "localhost".to_owned()
    } else {
        addr.ip().to_string()
    };
    (host, addr.port())
}
