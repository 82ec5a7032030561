//! The Kafka door: what unmodified Kafka clients say, in the broker's words, and back.
//!
//! A [`KafkaConnection`] has no socket, no clock and no chance of its own; the shell feeds it bytes
//! and replies and carries out what it says. Everything that can be said without naming Kafka is
//! decided behind [`mulgil_broker::request`].
//!
//! ```text
//! bytes -> codec -> api (one file per request) -> broker::Request
//! bytes <- conn (in the order of the requests) <- api <- broker::Reply
//! ```

mod api;
mod codec;
mod conn;
mod figures;
mod from_wire;
mod shared;
mod to_wire;
mod unread;
mod versions;
mod wire_errors;

pub use conn::KafkaConnection;
pub use conn::session_room::SessionRoom;
pub use figures::{KafkaFigures, Messages};
pub use shared::{IdSource, KafkaOptions, KafkaShared};
pub use unread::expire_unread;
