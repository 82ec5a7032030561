//! Amazon SQS for its unmodified clients (API 2012-11-05): both protocols, all actions.
//!
//! ```text
//! HTTP --> server: host, origin, length --> sign: who asks --> params: JSON or Query, one form
//!                                                                   |
//!     <-- answer: JSON or XML <-- door: the action <----------------'
//!                                   |  names, attributes, message: SQS's words for the broker's
//! ```
//!
//! A queue of SQS is a subscription of the broker, a message a record of its topic, a receipt handle the right
//! to settle it. What AWS says of each is here; what it means is the broker's.

mod actions;
pub mod answer;
mod attempts;
pub mod attributes;
pub mod digest;
pub mod door;
pub mod fault;
pub mod figures;
pub mod handle;
pub mod identity;
pub mod input;
pub mod mapping;
pub mod message;
pub mod names;
pub mod params;
mod sent;
pub mod server;
pub mod sign;
