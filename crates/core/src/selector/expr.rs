//! The tree of a selector, as the parser checked it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::like::Pattern;
use super::path::Path;

/// A part of a selector. What it gives is known as far as [`Kind`] goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Bool(bool),
    Exact(i64),
    Approximate(f64),
    Text(Box<str>),
    Name(Box<str>),
    Content(Path),
    Negate(Box<Self>),
    Arithmetic(Arithmetic, Box<[Self; 2]>),
    Compare(Compare, Box<[Self; 2]>),
    Not(Box<Self>),
    /// At least two, none of them an `And`.
    And(Vec<Self>),
    /// At least two, none of them an `Or`.
    Or(Vec<Self>),
    /// Value, lower bound, upper bound.
    Between(bool, Box<[Self; 3]>),
    /// The list is in order and has nothing twice.
    In(bool, Box<Self>, Box<[Box<str>]>),
    Like(bool, Box<Self>, Pattern),
    IsNull(bool, Box<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Compare {
    /// Whether it asks for an order, which only numbers have.
    pub(super) const fn is_ordering(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }
}

/// What is known of a value before any record is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Condition,
    Number,
    Text,
    /// It depends on the record.
    Any,
}

impl Expr {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Name(_) | Self::Content(_) => Kind::Any,
            Self::Exact(_) | Self::Approximate(_) | Self::Negate(_) | Self::Arithmetic(..) => {
                Kind::Number
            }
            Self::Text(_) => Kind::Text,
            Self::Bool(_)
            | Self::Compare(..)
            | Self::Not(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::Between(..)
            | Self::In(..)
            | Self::Like(..)
            | Self::IsNull(..) => Kind::Condition,
        }
    }

    /// The parts directly below.
    pub(super) fn parts(&self) -> &[Self] {
        match self {
            Self::Bool(_)
            | Self::Exact(_)
            | Self::Approximate(_)
            | Self::Text(_)
            | Self::Name(_)
            | Self::Content(_) => &[],
            Self::Negate(part)
            | Self::Not(part)
            | Self::In(_, part, _)
            | Self::Like(_, part, _)
            | Self::IsNull(_, part) => core::slice::from_ref(part),
            Self::Arithmetic(_, parts) | Self::Compare(_, parts) => parts.as_slice(),
            Self::Between(_, parts) => parts.as_slice(),
            Self::And(parts) | Self::Or(parts) => parts,
        }
    }

    pub(super) fn visit(&self, see: &mut impl FnMut(&Self)) {
        see(self);
        for part in self.parts() {
            part.visit(see);
        }
    }

    pub(super) fn depth(&self) -> usize {
        1 + self.parts().iter().map(Self::depth).max().unwrap_or(0)
    }
}
