//! The actions, by what they are about.

mod batch;
mod moves;
mod policy;
mod queues;
mod receive;
mod send;
mod settle;
mod tags;
