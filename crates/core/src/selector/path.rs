//! Places in a JSON content: `$.a.b[0]["any name"]`, followed without building a tree.
//!
//! `serde_json` reads; what is not on the path it skips without recursion or memory. Of a name that
//! an object has twice the first counts. The whole content must be JSON, or there is nothing in it.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::lexer::{begins_name, continues_name};
use super::value::Value;

/// Steps of a path; each is a level of recursion, far below the 128 that `serde_json` allows.
pub(super) const STEPS_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Member(Box<str>),
    Element(u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(pub(super) Box<[Step]>);

impl Path {
    /// The path that `text` tells, if it is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if steps.len() == STEPS_MAX {
                return None;
            }
            let (step, behind) = if let Some(name) = rest.strip_prefix('.') {
                let end = name.find(|c| !continues_name(c)).unwrap_or(name.len());
                let (name, behind) = name.split_at_checked(end)?;
                name.chars().next().filter(|c| begins_name(*c))?;
                (Step::Member(name.into()), behind)
            } else {
                bracket(rest.strip_prefix('[')?)?
            };
            steps.push(step);
            rest = behind;
        }
        Some(Self(steps.into()))
    }

    /// What lies there; [`Value::Null`] if nothing does, or if `content` is not JSON.
    pub(super) fn find<'a>(&self, content: &'a [u8]) -> Value<'a> {
        let mut json = serde_json::Deserializer::from_slice(content);
        let found = Follow(&self.0).deserialize(&mut json);
        match (found, json.end()) {
            (Ok(value), Ok(())) => value,
            (Err(_), _) | (_, Err(_)) => Value::Null,
        }
    }
}

/// `0]` or `"name"]`, and what is behind.
fn bracket(rest: &str) -> Option<(Step, &str)> {
    let Some(inside) = rest.strip_prefix('"') else {
        let (digits, behind) = rest.split_once(']')?;
        let plain = digits == "0" || !digits.starts_with(['0', '+']);
        let element = digits.parse().ok().filter(|_| plain)?;
        return Some((Step::Element(element), behind));
    };
    let mut name = String::new();
    let mut chars = inside.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => name.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c => name.push(c),
        }
    }
    let behind = chars.as_str().strip_prefix(']')?;
    Some((Step::Member(name.into()), behind))
}

struct Follow<'p>(&'p [Step]);

impl Follow<'_> {
    /// A scalar, which is the end of every path.
    fn scalar<'de>(&self, value: Value<'de>) -> Value<'de> {
        if self.0.is_empty() {
            value
        } else {
            Value::Null
        }
    }
}

impl<'de> DeserializeSeed<'de> for Follow<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value<'de>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Follow<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(self.scalar(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(self.scalar(Value::Exact(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'de>, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "beyond 63 bits numbers are approximate"
        )]
        let number = i64::try_from(value).map_or(Value::Approximate(value as f64), Value::Exact);
        Ok(self.scalar(number))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(self.scalar(Value::Approximate(value)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(self.scalar(Value::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(self.scalar(Value::Text(Cow::Borrowed(text))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value<'de>, A::Error> {
        let mut found = self.scalar(Value::Opaque);
        if let Some((Step::Element(wanted), behind)) = self.0.split_first() {
            let mut before = 0;
            while before < *wanted && elements.next_element::<IgnoredAny>()?.is_some() {
                before += 1;
            }
            if before == *wanted {
                found = elements
                    .next_element_seed(Follow(behind))?
                    .unwrap_or(Value::Null);
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value<'de>, A::Error> {
        let mut wanted = match self.0.split_first() {
            Some((Step::Member(name), behind)) => Some((name, behind)),
            Some((Step::Element(_), _)) | None => None,
        };
        let mut found = self.scalar(Value::Opaque);
        while let Some(is_wanted) = members.next_key_seed(Is(wanted.map(|(name, _)| &**name)))? {
            match wanted.filter(|_| is_wanted) {
                Some((_, behind)) => {
                    found = members.next_value_seed(Follow(behind))?;
                    wanted = None;
                }
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Compares a member's name without keeping it.
struct Is<'p>(Option<&'p str>);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<bool, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(self.0 == Some(name))
    }
}
