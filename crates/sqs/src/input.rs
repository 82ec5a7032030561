//! Parameters, with what is said of those that are missing or of another type.

use serde_json::{Map, Value};

use crate::fault::{Fault, Kind};

/// The parameters of a request, or of an entry of one.
pub type Parameters = Map<String, Value>;

fn wrong_type(name: &str, expected: &str) -> Fault {
    let message = format!("The parameter {name} must be {expected}.");
    Fault::new(Kind::MalformedInput, message)
}

/// A text; none if it is not there.
///
/// # Errors
///
/// [`Kind::MalformedInput`] if it is something else.
pub fn text<'a>(from: &'a Parameters, name: &str) -> Result<Option<&'a str>, Fault> {
    match from.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(name, "a string")),
    }
}

/// A text that must be there.
///
/// # Errors
///
/// [`Kind::MissingParameter`], or [`Kind::MalformedInput`] if it is something else.
pub fn required<'a>(from: &'a Parameters, name: &str) -> Result<&'a str, Fault> {
    let found = text(from, name)?.filter(|text| !text.is_empty());
    found.ok_or_else(|| missing(name))
}

/// What is said of a parameter that must be there.
#[must_use]
pub fn missing(name: &str) -> Fault {
    let message = format!("The request must contain the parameter {name}.");
    Fault::new(Kind::MissingParameter, message)
}

/// A whole number; none if it is not there.
///
/// # Errors
///
/// [`Kind::MalformedInput`] if it is something else.
pub fn number(from: &Parameters, name: &str) -> Result<Option<i64>, Fault> {
    match from.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(wrong_type(name, "an integer")),
        },
    }
}

/// A whole number from `least` to `most`; none if it is not there.
///
/// # Errors
///
/// [`Kind::InvalidParameterValue`] with `reason`, or [`Kind::MalformedInput`] if it is something else.
pub fn within(
    from: &Parameters,
    name: &str,
    (least, most): (i64, i64),
    reason: &str,
) -> Result<Option<i64>, Fault> {
    match number(from, name)? {
        Some(number) if !(least..=most).contains(&number) => {
            Err(invalid(name, &number.to_string(), reason))
        }
        number => Ok(number),
    }
}

/// What is said of a value that is not possible.
#[must_use]
pub fn invalid(name: &str, value: &str, reason: &str) -> Fault {
    let message = format!(
        "Value {} for parameter {name} is invalid. Reason: {reason}",
        short(value)
    );
    Fault::new(Kind::InvalidParameterValue, message)
}

/// What is repeated of a value: not all that a stranger may send.
fn short(value: &str) -> &str {
    value
        .char_indices()
        .nth(256)
        .map_or(value, |(end, _)| value.get(..end).unwrap_or(value))
}

/// A list of texts; empty if it is not there.
///
/// # Errors
///
/// [`Kind::MalformedInput`] if it is something else.
pub fn texts<'a>(from: &'a Parameters, name: &str) -> Result<Vec<&'a str>, Fault> {
    let wrong = || wrong_type(name, "a list of strings");
    match from.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => { items.iter() }
            .map(|item| item.as_str().ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

/// A map from texts to texts; empty if it is not there.
///
/// # Errors
///
/// [`Kind::MalformedInput`] if it is something else.
pub fn pairs<'a>(from: &'a Parameters, name: &str) -> Result<Vec<(&'a str, &'a str)>, Fault> {
    let wrong = || wrong_type(name, "a map of strings");
    match from.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(map)) => { map.iter() }
            .map(|(key, value)| Ok((key.as_str(), value.as_str().ok_or_else(wrong)?)))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

/// A map from texts to objects; empty if it is not there.
///
/// # Errors
///
/// [`Kind::MalformedInput`] if it is something else.
pub fn objects<'a>(
    from: &'a Parameters,
    name: &str,
) -> Result<Vec<(&'a str, &'a Parameters)>, Fault> {
    let wrong = || wrong_type(name, "a map of structures");
    match from.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(map)) => { map.iter() }
            .map(|(key, value)| Ok((key.as_str(), value.as_object().ok_or_else(wrong)?)))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

/// The entries of a batch.
///
/// # Errors
///
/// [`Kind::MissingParameter`] without a list, [`Kind::MalformedInput`] if it is something else.
pub fn entries(from: &Parameters) -> Result<Vec<&Parameters>, Fault> {
    const NAME: &str = "Entries";
    let wrong = || wrong_type(NAME, "a list of structures");
    match from.get(NAME) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => { items.iter() }
            .map(|item| item.as_object().ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}
