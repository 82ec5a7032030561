//! Selectors: the one filter language of subscriptions.
//!
//! A selector is a condition of SQL-92 over headers and properties, as Jakarta Messaging 3.1 section
//! 3.8 has it, and over values of a JSON content. It is parsed once ([`Selector::parse`]) and then
//! asked for each record, off the lane; its verdict is a fact of the record. Logic has three values,
//! and only what is true matches. `docs/filters.md` tells the language, `docs/decisions/0012-selectors.md`
//! what was chosen. Nothing here knows where properties come from: that is [`Properties`].
//!
//! The written form of a selector ([`core::fmt::Display`]) is canonical: selectors that differ only in
//! spaces, case of keywords, needless parentheses or the form of a literal have the same one.

mod display;
mod evaluate;
mod expr;
mod lexer;
mod like;
mod parser;
mod path;
#[cfg(test)]
mod tests;
mod value;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use core::fmt;

pub use evaluate::{TooCostly, Truth};
pub use lexer::{Expected, SelectorError};
pub use value::{Properties, Value};

use expr::Expr;

/// Bytes of a selector's text: four times what tools generate for lists of a hundred names.
pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// Operators, names and literals in one selector; each costs at least one step for each record.
pub const NODES_MAX: usize = 1024;
/// How deep conditions nest. Parsing, evaluation and dropping recurse as deep.
pub const DEPTH_MAX: usize = 64;
/// How often a selector may look into the content, which is walked through anew each time.
pub const CONTENT_READS_MAX: usize = 8;
/// Steps of one evaluation: a content of 1 MiB read [`CONTENT_READS_MAX`] times, and as much again
/// for patterns. Some tenths of a second at the very worst.
pub const STEPS_MAX: u64 = 16 << 20;

/// A filter that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    root: Expr,
    names: BTreeSet<Box<str>>,
    needs_content: bool,
}

impl Selector {
    /// Understands a text. One without a word selects everything.
    ///
    /// # Errors
    ///
    /// Where the text stops being a selector, and what was expected there; or which limit it is over.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let root = parser::parse(text)?;
        let mut names = BTreeSet::new();
        let mut needs_content = false;
        root.visit(&mut |expr| {
            if let Expr::Name(name) = expr {
                names.insert(name.clone());
            }
            needs_content |= matches!(expr, Expr::Content(_));
        });
        Ok(Self {
            root,
            names,
            needs_content,
        })
    }

    /// The names it looks up, each once, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// Whether it looks into the content.
    #[must_use]
    pub const fn needs_content(&self) -> bool {
        self.needs_content
    }

    /// What it says of every record, if that is known without any.
    #[must_use]
    pub fn constant(&self) -> Option<Truth> {
        evaluate::constant(&self.root)
    }

    /// Whether it is known to match every record.
    #[must_use]
    pub fn is_always_true(&self) -> bool {
        self.constant() == Some(Truth::True)
    }

    /// What it says of a record with these properties.
    ///
    /// # Errors
    ///
    /// If that takes more than [`STEPS_MAX`] steps, which depends on the record and the selector alone.
    pub fn evaluate(&self, of: &impl Properties) -> Result<Truth, TooCostly> {
        evaluate::evaluate(&self.root, of, STEPS_MAX)
    }

    /// Whether it matches a record with these properties: only what is true does.
    ///
    /// # Errors
    ///
    /// As [`Selector::evaluate`].
    pub fn matches(&self, of: &impl Properties) -> Result<bool, TooCostly> {
        Ok(self.evaluate(of)? == Truth::True)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}
