//! What is stored and sent: the record batch, its compression, and the facts beside it.
//!
//! Everything that a producer of any protocol publishes becomes records in a Kafka v2 record batch
//! (magic 2), and that is what lies on disk and goes over the wire. This crate reads, checks, builds
//! and re-stamps batches. It knows no clock, no file and no socket.

pub mod asked;
pub mod batch;
pub mod compression;
pub mod crc;
pub mod facts;
pub mod ids;
pub mod key_hash;
mod partitioner;
pub mod varint;

pub use partitioner::{murmur2, partition_for_key};
