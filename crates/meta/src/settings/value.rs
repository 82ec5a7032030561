//! The forms of values: what a setting takes, and whether a text is that.

use std::collections::BTreeSet;
use std::fmt;

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// `true` or `false`.
    Bool,
    /// A number of 32 bits, within bounds.
    Int(i32, i32),
    /// A number of 64 bits, within bounds.
    Long(i64, i64),
    /// A number between 0 and 1.
    Fraction,
    /// One of some words.
    Word(&'static [&'static str]),
    /// Any of some words, with commas between.
    Words(&'static [&'static str]),
    /// Any text.
    Text,
    /// Any texts, with commas between.
    Texts,
    /// A text that may be longer: what somebody wrote for somebody else.
    Document,
}

/// Longest value, bytes: a list of words, or of a hundred replicas. What is longer is no value of any
/// setting, however it is written.
pub const VALUE_BYTES_MAX: usize = 4096;

/// Longest value that is a document, bytes: fifty tags of 128 and 256 characters.
pub const DOCUMENT_BYTES_MAX: usize = 32 * 1024;

impl Takes {
    /// The value in the form in which it is kept.
    ///
    /// # Errors
    ///
    /// What it should have been.
    pub fn check(self, value: &str) -> Result<String, String> {
        let value = value.trim();
        let most = if self == Self::Document {
            DOCUMENT_BYTES_MAX
        } else {
            VALUE_BYTES_MAX
        };
        if value.len() > most {
            return Err(self.to_string());
        }
        let fits = match self {
            Self::Bool => ["true", "false"]
                .into_iter()
                .find(|word| value.eq_ignore_ascii_case(word))
                .map(str::to_owned),
            Self::Int(least, most) => within(value, i64::from(least), i64::from(most)),
            Self::Long(least, most) => within(value, least, most),
            Self::Fraction => value
                .parse::<f64>()
                .ok()
                .filter(|fraction| (0.0..=1.0).contains(fraction))
                .map(|fraction| fraction.to_string()),
            Self::Word(words) => words.contains(&value).then(|| value.to_owned()),
            Self::Words(words) => {
                let list = list(value);
                list.iter()
                    .all(|word| words.contains(word))
                    .then(|| list.join(","))
            }
            Self::Text | Self::Document => Some(value.to_owned()),
            Self::Texts => Some(list(value).join(",")),
        };
        fits.ok_or_else(|| self.to_string())
    }

    /// Whether values may be added to it and taken from it.
    #[must_use]
    pub const fn is_list(self) -> bool {
        matches!(self, Self::Words(_) | Self::Texts)
    }
}

/// What people are told that it takes.
impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Int(least, i32::MAX) => write!(f, "a number from {least} on"),
            Self::Long(least, i64::MAX) => write!(f, "a number from {least} on"),
            Self::Int(least, most) => write!(f, "a number from {least} to {most}"),
            Self::Long(least, most) => write!(f, "a number from {least} to {most}"),
            Self::Fraction => f.write_str("a number from 0 to 1"),
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::Words(words) => write!(f, "a list of {}", words.join(", ")),
            Self::Text => write!(f, "a text of at most {VALUE_BYTES_MAX} bytes"),
            Self::Document => write!(f, "a text of at most {DOCUMENT_BYTES_MAX} bytes"),
            Self::Texts => write!(f, "a list of at most {VALUE_BYTES_MAX} bytes"),
        }
    }
}

fn within(value: &str, least: i64, most: i64) -> Option<String> {
    let number: i64 = value.parse().ok()?;
    (least..=most).contains(&number).then(|| number.to_string())
}

/// The words of a list, each once.
#[must_use]
pub fn list(value: &str) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let words = value.split(',').map(str::trim);
    words
        .filter(|word| !word.is_empty() && seen.insert(*word))
        .collect()
}
