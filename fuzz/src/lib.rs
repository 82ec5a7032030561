//! Fuzz targets: every parser of the broker, fed with bytes that nobody vouches for.
//!
//! A [`Target`] is a plain function over bytes. It panics if the parser does, or if what the parser
//! made of the bytes breaks a promise: what was read and written again reads the same, the same bytes
//! give the same result, memory stays in proportion. The tests replay the committed corpus and the
//! seeds; `cargo xtask fuzz` lets a coverage-guided engine look for more. `docs/internals/fuzzing.md`
//! says how.

mod memory;
mod mend;
pub mod seeds;
mod targets;

pub use memory::peak_of;
pub use targets::TARGETS;

/// One parser under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its folder in the corpus.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
    /// Valid samples, by name.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
    /// Bytes of memory that it may take at once, whatever the input ...
    pub fixed_bytes_max: usize,
    /// ... and so many more for each byte of the input.
    pub per_byte_max: usize,
}

impl Target {
    /// The target of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Runs the target and gives the most bytes of memory that it held at once.
    ///
    /// # Panics
    ///
    /// If the parser breaks one of its promises, or takes more memory than it may.
    pub fn execute(&self, bytes: &[u8]) -> usize {
        let most = self.fixed_bytes_max + self.per_byte_max * bytes.len();
        let ((), peak) = peak_of(most, || (self.run)(bytes));
        assert!(
            peak <= most,
            "{}: {peak} bytes of memory for {} bytes of input, at most {most} are allowed",
            self.name,
            bytes.len()
        );
        peak
    }
}
