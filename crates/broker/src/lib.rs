//! The broker: the lane, its effects, and the one interface that every door uses.

pub mod connection;
pub mod group;
pub mod request;

/// What the interface is made of, so that a door needs no dependency of its own on these.
pub use mulgil_core as core;
pub use mulgil_meta as meta;
