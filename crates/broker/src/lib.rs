//! The broker: the lane, its effects, and the one interface that every door uses.

pub mod connection;
pub mod group;
pub mod lane;
pub mod request;
mod tail;
