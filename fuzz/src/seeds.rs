//! Valid samples of everything that is parsed, made by the code that writes it.
//!
//! The engine starts from these, and the tests feed them too, so that a new format or a new version
//! of a request is covered on the day it is added. `docs/internals/fuzzing.md` says when they are also
//! written to the corpus.

pub(crate) mod chunks;
pub(crate) mod frames;
pub mod kafka;
pub(crate) mod records;
pub(crate) mod selectors;
pub(crate) mod sqs;
pub(crate) mod states;

/// A sample and what it is called.
pub(crate) type Seed = (String, Vec<u8>);

/// `bytes` twice: as they are, and with the choice of mending. See `mend`.
pub(crate) fn both(name: &str, bytes: &[u8]) -> [Seed; 2] {
    [0, 1].map(|choice| {
        let name = format!("{name}-{choice}");
        (name, [&[choice], bytes].concat())
    })
}
