//! Selectors: a text and, behind its first zero byte, the content of a record.

use std::borrow::Cow;

use mulgil_core::selector::{Properties, Selector, Value};

struct Sample<'a>(&'a [u8]);

impl Properties for Sample<'_> {
    /// The kind of value is told by the name alone.
    fn property(&self, name: &str) -> Value<'_> {
        match name.len() % 6 {
            0 => Value::Null,
            1 => Value::Exact(1),
            2 => Value::Approximate(0.5),
            3 => Value::Bool(true),
            4 => Value::Opaque,
            _ => Value::Text(String::from_utf8_lossy(self.0)),
        }
    }

    fn content(&self) -> Option<&[u8]> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

pub(super) fn selector(bytes: &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == 0);
    let text: Cow<'_, str> = String::from_utf8_lossy(halves.next().unwrap_or_default());
    let of = Sample(halves.next().unwrap_or_default());
    let Ok(selector) = Selector::parse(&text) else {
        return;
    };
    let canonical = selector.to_string();
    let again = Selector::parse(&canonical).expect("canonical text is a selector");
    assert_eq!(again, selector, "{canonical}");
    assert_eq!(again.to_string(), canonical);
    let said = selector.evaluate(&of);
    assert_eq!(again.evaluate(&of), said);
    if let (Some(constant), Ok(said)) = (selector.constant(), said) {
        assert_eq!(constant, said, "{canonical}");
    }
}
