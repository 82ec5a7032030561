//! The broker: the lane, its effects, and the one interface that every door uses.

pub mod clock;
pub mod compact;
pub mod configure;
pub mod connection;
pub mod courier;
pub mod death;
pub mod door;
pub mod facts;
pub mod figures;
pub mod group;
pub mod keeper;
pub mod lane;
mod mailbox;
pub mod pool;
pub mod publish;
pub mod pulse;
pub mod quota;
pub mod request;
pub mod shell;
pub mod start;
pub mod subscription;
mod tail;

/// What the interface is made of, so that a door needs no dependency of its own on these.
pub use mulgil_core as core;
pub use mulgil_meta as meta;
