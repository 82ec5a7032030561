//! The commit log: frames in chunks, and the index that finds a record again.
//!
//! A broker writes all that it must not lose to one log. The lane fills [`frame::OpenFrame`]s; a
//! [`store`] seals, writes and syncs them in order; [`recovery`] reads them back after a start. What
//! the entries mean is not this crate's business: it keeps them whole, finds batches by partition
//! and offset, and says what is damaged. The format is described byte by byte in
//! `docs/internals/log-format.md`.
//!
//! All file operations go through `disk`, so that a disk that lies can be put in its place.

pub mod access;
mod append;
pub mod checkpoint;
pub mod chunk;
pub mod chunkset;
pub mod disk;
pub mod entry;
pub mod fault;
mod fields;
pub mod footer;
#[cfg(test)]
mod format_tests;
pub mod frame;
pub mod index;
pub mod keymap;
mod lease;
pub mod position;
pub mod reader;
pub mod recovery;
pub mod regroup;
#[cfg(test)]
mod scripted;
pub mod seal;
pub mod store;
#[cfg(test)]
mod testing;
mod walk;
