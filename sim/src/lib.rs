//! Whole-broker simulation: the real lane, log and recovery over a disk that fails, one seed a run.
//!
//! ```text
//! clients --Request--> lane --group--> store --operation--> disk that lies
//!    ^                  |  ^             |
//!    '------Reply-------'  '-completion--'      every arrow is a step; dice choose the next one
//! ```
//!
//! Nothing here runs by itself: [`world::World`] takes the steps, or [`object::World`] over whole objects;
//! [`ledger::Ledger`] knows what was promised and says what was broken. `docs/internals/simulation.md`
//! tells how to run it.

pub mod audit;
pub mod client;
pub mod damage;
pub mod disk;
pub mod ledger;
pub mod object;
pub mod planted;
pub mod process;
pub mod run;
pub mod trace;
pub mod violation;
pub mod world;
