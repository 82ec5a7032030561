//! The Kafka door against a broker of a hundred lines, by bytes alone.
//!
//! Requests are written and answers read with the client's side of `kafka-protocol`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and its helpers are part of it"
)]

#[path = "door/admin_samples.rs"]
mod admin_samples;
#[path = "door/alloc.rs"]
mod alloc;
#[path = "door/broker.rs"]
mod broker;
#[path = "door/client.rs"]
mod client;
#[path = "door/counting.rs"]
mod counting;
#[path = "door/cuts.rs"]
mod cuts;
#[path = "door/driver.rs"]
mod driver;
#[path = "door/fetching.rs"]
mod fetching;
#[path = "door/groups.rs"]
mod groups;
#[path = "door/hostile.rs"]
mod hostile;
#[path = "door/multiplied.rs"]
mod multiplied;
#[path = "door/offset_deletes.rs"]
mod offset_deletes;
#[path = "door/operators.rs"]
mod operators;
#[path = "door/order.rs"]
mod order;
#[path = "door/producing.rs"]
mod producing;
#[path = "door/samples.rs"]
mod samples;
#[path = "door/settings.rs"]
mod settings;
#[path = "door/throttling.rs"]
mod throttling;
#[path = "door/topics.rs"]
mod topics;
#[path = "door/unread.rs"]
mod unread;
#[path = "door/versions.rs"]
mod versions;
#[path = "door/wire.rs"]
mod wire;
