//! The language told by examples, and properties that hold for every selector.

mod golden;
mod models;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use std::collections::BTreeMap;

use super::value::{Properties, Value};

/// A record as tests write it.
#[derive(Clone, Debug, Default)]
struct Sample {
    properties: BTreeMap<String, Value<'static>>,
    content: Option<Vec<u8>>,
}

impl Properties for Sample {
    fn property(&self, name: &str) -> Value<'_> {
        self.properties.get(name).cloned().unwrap_or(Value::Null)
    }

    fn content(&self) -> Option<&[u8]> {
        self.content.as_deref()
    }
}

impl Sample {
    fn with(mut self, name: &str, value: Value<'static>) -> Self {
        self.properties.insert(name.to_owned(), value);
        self
    }
}
