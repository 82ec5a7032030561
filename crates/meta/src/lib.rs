//! Metadata: which topics there are, and what holds for each.
//!
//! [`schema`] says what metadata is made of, [`state`] is the machine that changes it, and
//! [`catalog`] is the read-only picture that everybody may look at without asking the lane. In a
//! single process the changes are entries of the broker's own commit log, so that declaring a topic
//! and publishing to it share one sync.

pub mod catalog;
pub mod quota;
pub mod schema;
pub mod settings;
pub mod state;
pub mod subscription;
pub mod wire;
