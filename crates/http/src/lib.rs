//! What all HTTP listeners have in common: whom they answer, and how long.

pub mod connection;
pub mod guard;
