//! The admin HTTP API: topics, records, status, health and metrics, under `/api/v1` and beside it.
//!
//! The crate speaks HTTP and nothing else. What it shows comes through one trait, [`backend::Backend`],
//! which the program implements over the broker; what goes over the wire is [`model`], which the
//! command line shares, so that `-o json` and the API can not drift apart.
//!
//! A page in a browser must not reach a broker on the same machine: every request, also the one for a
//! path that does not exist, passes [`guard`] first.
//!
//! No clock is read here and no thread is started: time is given by [`server::Options::now`], and the
//! server runs on the runtime that calls [`server::serve`].

pub mod backend;
pub mod catalogue;
pub mod gate;
pub mod guard;
pub mod limits;
pub mod model;
pub mod problem;
pub mod queues;
pub mod routes;
pub mod server;
pub mod settings;
pub mod time;
