//! Patterns of `LIKE`, matched without recursion: at most text times pattern steps.

use alloc::boxed::Box;
use alloc::vec::Vec;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// This character.
    Char(char),
    /// `_`: any one.
    One,
    /// `%`: any number of any; never two in a row.
    Any,
}

/// What a pattern means, with its escapes resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(pub(super) Box<[Piece]>);

impl Pattern {
    /// The pattern, or nothing if an escape character stands before what needs none.
    pub(super) fn new(text: &str, escape: Option<char>) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let piece = if Some(c) == escape {
                let escaped = chars.next()?;
                if !matches!(escaped, '%' | '_') && Some(escaped) != escape {
                    return None;
                }
                Piece::Char(escaped)
            } else {
                match c {
                    '%' => Piece::Any,
                    '_' => Piece::One,
                    other => Piece::Char(other),
                }
            };
            if !(piece == Piece::Any && pieces.last() == Some(&Piece::Any)) {
                pieces.push(piece);
            }
        }
        Some(Self(pieces.into()))
    }

    /// Whether all of `text` matches; each step first asks `step`.
    ///
    /// On a mismatch only the last `%` takes one character more: whatever an earlier one could take
    /// instead, the last can take too.
    pub(super) fn matches<E>(
        &self,
        text: &str,
        mut step: impl FnMut() -> Result<(), E>,
    ) -> Result<bool, E> {
        let (mut rest, mut at) = (text.chars(), 0);
        let mut retry = None;
        loop {
            step()?;
            let before = rest.clone();
            let goes_on = match (self.0.get(at), rest.next()) {
                (Some(Piece::Any), _) => {
                    at += 1;
                    retry = Some((before.clone(), at));
                    rest = before;
                    continue;
                }
                (None, None) => return Ok(true),
                (Some(Piece::One), Some(_)) => true,
                (Some(Piece::Char(wanted)), Some(c)) => *wanted == c,
                (None, Some(_)) => false,
                (Some(_), None) => return Ok(false),
            };
            if goes_on {
                at += 1;
                continue;
            }
            let Some((from, behind)) = &mut retry else {
                return Ok(false);
            };
            from.next();
            rest = from.clone();
            at = *behind;
        }
    }
}
