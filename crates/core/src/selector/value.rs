//! What a name stands for in one record.

use alloc::borrow::Cow;

/// The value of a property or of a place in the content.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// There is none.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer of any width: an exact numeric.
    Exact(i64),
    /// A float or double: an approximate numeric.
    Approximate(f64),
    /// A string. It is never taken for a number.
    Text(Cow<'a, str>),
    /// Something that is there and compares with nothing: bytes, a JSON object or array.
    Opaque,
}

/// What a selector can ask of a record.
pub trait Properties {
    /// The header field or property of this name, which is case-sensitive; [`Value::Null`] if there is none.
    fn property(&self, name: &str) -> Value<'_>;

    /// The bytes of the content, if it has one.
    fn content(&self) -> Option<&[u8]>;
}
