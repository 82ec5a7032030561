//! The deterministic machines: what a broker decides, without clock, socket, file or chance.
//!
//! Every machine has the shape of [`machine::Machine`]: `decide` works out changes and effects and
//! touches nothing; `apply` moves the state and cannot fail. The shell in `mulgil-broker` writes the
//! durable changes to the commit log and lets effects out once they are on disk. **The law of
//! restart**: dropping all volatile state equals replaying the durable changes.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod group;
pub mod machine;
pub mod partition;
pub mod producer_ids;
pub mod queue;
pub mod selector;
