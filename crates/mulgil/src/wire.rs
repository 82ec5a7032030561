//! A small Kafka client: enough to publish and read, so that the command line proves what other
//! people's clients meet.
//!
//! It blocks, has one request under way, and knows no consumer groups. Batches are built and read by
//! the record crate; [`connection`] carries requests, [`cluster`] finds leaders.

mod admin;
mod cluster;
mod connection;
mod consumer;
mod fault;
mod producer;

use bytes::Bytes;

pub(crate) use admin::{create_topic, delete_topic};
pub(crate) use cluster::Cluster;
pub(crate) use consumer::{Consumer, Start};
pub(crate) use fault::Fault;
pub(crate) use producer::{Outgoing, Placed, Producer};

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: std::sync::Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
}
