//! Words of a selector's text, one at a time.

use alloc::borrow::ToOwned;
use alloc::string::String;

use thiserror::Error;

/// Why a text is no selector.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SelectorError {
    /// The text does not go on as it must.
    #[error("selector, position {position}: expected {expected}, found {found}")]
    Unexpected {
        /// Byte of the text, counted from 1.
        position: usize,
        /// What would have been understood.
        expected: Expected,
        /// What stands there.
        found: String,
    },
    /// It is over a limit.
    #[error("selector, position {position}: more than {most} {what}")]
    TooLarge {
        /// Byte of the text, counted from 1.
        position: usize,
        /// The limit.
        most: usize,
        /// Of what.
        what: &'static str,
    },
}

/// What a selector could have gone on with.
pub type Expected = &'static str;

/// A word. Texts are borrowed as written, quotes and all that is doubled included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    End,
    /// A name without quotes, or a keyword.
    Word(&'a str),
    /// A name in double quotes, without the outer ones.
    Quoted(&'a str),
    /// A string, without the outer quotes.
    Text(&'a str),
    /// An exact number without sign.
    Exact(u64),
    /// An exact number in hexadecimal or octal, which reaches into the sign.
    Bits(u64),
    Approximate(f64),
    /// An operator or a bracket.
    Sign(&'static str),
}

/// Longest first, so that `<=` is not read as `<`.
const SIGNS: [&str; 13] = [
    "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "(", ")", ",",
];
pub(super) const KEYWORDS: [&str; 11] = [
    "NULL", "TRUE", "FALSE", "NOT", "AND", "OR", "BETWEEN", "LIKE", "IN", "IS", "ESCAPE",
];
/// Characters of the text that an error repeats.
const FOUND_CHARS_MAX: usize = 20;

pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|key| key.eq_ignore_ascii_case(word))
}

pub(super) fn begins_name(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '$'
}

pub(super) fn continues_name(c: char) -> bool {
    begins_name(c) || c.is_numeric()
}

/// Whether `name` is a name as it stands.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(begins_name) && name.chars().all(continues_name)
}

#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The error that at byte `at` something else was expected.
    pub(super) fn unexpected(&self, at: usize, expected: Expected) -> SelectorError {
        let rest = self.text.get(at..).unwrap_or_default();
        let found: String = rest.chars().take(FOUND_CHARS_MAX).collect();
        SelectorError::Unexpected {
            position: at + 1,
            expected,
            found: if found.is_empty() {
                "the end".to_owned()
            } else {
                found
            },
        }
    }

    /// The next word and where it begins.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'a>), SelectorError> {
        let spaces = self.rest().len() - self.rest().trim_start().len();
        self.at += spaces;
        let (from, rest) = (self.at, self.rest());
        let Some(first) = rest.chars().next() else {
            return Ok((from, Token::End));
        };
        let token = if begins_name(first) {
            let end = rest.find(|c| !continues_name(c)).unwrap_or(rest.len());
            self.at += end;
            Token::Word(rest.get(..end).unwrap_or_default())
        } else if first == '\'' {
            Token::Text(self.quoted('\'')?)
        } else if first == '"' {
            let name = self.quoted('"')?;
            if name.is_empty() {
                return Err(self.unexpected(from, "a name of at least one character"));
            }
            Token::Quoted(name)
        } else if self.begins_number() {
            self.number()?
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            self.at += sign.len();
            Token::Sign(sign)
        } else {
            return Err(self.unexpected(from, "a name, a literal or an operator"));
        };
        Ok((from, token))
    }

    /// What stands between quotes, where a quote within is doubled.
    fn quoted(&mut self, quote: char) -> Result<&'a str, SelectorError> {
        let from = self.at + 1;
        let inside = self.text.get(from..).unwrap_or_default();
        let mut quotes = inside.match_indices(quote).map(|(at, _)| at).peekable();
        while let Some(end) = quotes.next() {
            if quotes.next_if_eq(&(end + 1)).is_none() {
                self.at = from + end + 1;
                return Ok(inside.get(..end).unwrap_or_default());
            }
        }
        Err(self.unexpected(self.at, "a closing quote behind this one"))
    }

    fn begins_number(&self) -> bool {
        let digits = self.rest().strip_prefix('.').unwrap_or_else(|| self.rest());
        digits.starts_with(|c: char| c.is_ascii_digit())
    }

    /// A number as Java writes it: decimal, octal (`017`), hexadecimal (`0x1F`), `7L`, `7.`, `.5`, `1e3`, `7D`, `7F`.
    fn number(&mut self) -> Result<Token<'a>, SelectorError> {
        let (from, rest) = (self.at, self.rest());
        let digits = |from: usize| {
            let rest = rest.get(from..).unwrap_or_default();
            from + rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len())
        };
        let is = |at: usize, set: &[u8]| rest.as_bytes().get(at).is_some_and(|b| set.contains(b));
        let token;
        let mut end;
        if is(0, b"0") && is(1, b"xX") {
            let inside = rest.get(2..).unwrap_or_default();
            end = 2 + inside
                .find(|c: char| !c.is_ascii_hexdigit())
                .unwrap_or(inside.len());
            let bits = u64::from_str_radix(rest.get(2..end).unwrap_or_default(), 16);
            token = bits.ok().map(Token::Bits);
            end += usize::from(is(end, b"lL"));
        } else {
            let whole = digits(0);
            end = whole;
            let mut approximate = is(end, b".");
            if approximate {
                end = digits(end + 1);
            }
            if is(end, b"eE") {
                approximate = true;
                end = digits(end + 1 + usize::from(is(end + 1, b"+-")));
            }
            let number = rest.get(..end).unwrap_or_default();
            if approximate || is(end, b"dDfF") {
                end += usize::from(is(end, b"dDfF"));
                let parsed = number.parse::<f64>().ok();
                token = parsed.filter(|f| f.is_finite()).map(Token::Approximate);
            } else {
                end += usize::from(is(end, b"lL"));
                token = match number.strip_prefix('0') {
                    Some(octal) if !octal.is_empty() => {
                        u64::from_str_radix(octal, 8).ok().map(Token::Bits)
                    }
                    _ => number.parse().ok().map(Token::Exact),
                };
            }
        }
        let rest = rest.get(end..).unwrap_or_default();
        if rest.starts_with(continues_name) {
            return Err(self.unexpected(from, "a number, with nothing behind it"));
        }
        self.at += end;
        token.ok_or_else(|| self.unexpected(from, "a number of at most 64 bits"))
    }
}
