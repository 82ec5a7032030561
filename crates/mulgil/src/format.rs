//! The format string of `mulgil message sub --format`, as kcat and rpk know it.
//!
//! ```text
//! %t topic    %p partition   %o offset     %k key          %v %s value   %S bytes of the value
//! %h headers  %d timestamp (RFC 3339; %d{rfc3339} the same, %d{ms} in milliseconds)
//! %% percent  \n \t \r \0 \\ \xHH
//! ```
//!
//! Keys and values come out as the bytes that they are. What is null comes out as nothing.

use bytes::Bytes;
use mulgil_admin::time::Timestamp;

use crate::failure::{Failure, Outcome};
use crate::wire::Message;
use mulgil_admin::catalogue::Code;

/// A format string, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    ValueLength,
    Headers,
    Time,
    TimeMillis,
}

impl Template {
    /// Reads a format string.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            match c {
                '\\' => literal.push(escape(&mut rest)?),
                '%' if rest.starts_with('%') => {
                    rest = rest.get(1..).unwrap_or_default();
                    literal.push(b'%');
                }
                '%' => {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                    parts.push(verb(&mut rest)?);
                }
                other => literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        parts.push(Part::Literal(literal));
        Ok(Self(parts))
    }

    /// Writes `message` to `out`.
    pub(crate) fn write(&self, message: &Message, out: &mut Vec<u8>) {
        let raw = |out: &mut Vec<u8>, bytes: &Option<Bytes>| {
            out.extend_from_slice(bytes.as_deref().unwrap_or_default());
        };
        for part in &self.0 {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Topic => out.extend_from_slice(message.topic.as_bytes()),
                Part::Partition => out.extend_from_slice(message.partition.to_string().as_bytes()),
                Part::Offset => out.extend_from_slice(message.offset.to_string().as_bytes()),
                Part::Key => raw(out, &message.key),
                Part::Value => raw(out, &message.value),
                Part::ValueLength => {
                    let length = message.value.as_ref().map(|value| value.len().to_string());
                    out.extend_from_slice(length.as_deref().unwrap_or("-1").as_bytes());
                }
                Part::Headers => headers(message, out),
                Part::Time => {
                    let time = message.timestamp_ms.map(|ms| Timestamp(ms).to_string());
                    out.extend_from_slice(time.unwrap_or_default().as_bytes());
                }
                Part::TimeMillis => {
                    let time = message.timestamp_ms.map(|ms| ms.to_string());
                    out.extend_from_slice(time.unwrap_or_default().as_bytes());
                }
            }
        }
    }
}

fn headers(message: &Message, out: &mut Vec<u8>) {
    for (place, (name, value)) in message.headers.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}

fn wrong(detail: impl Into<String>) -> Failure {
    Failure::new(Code::FormatString, detail)
}

/// Takes the first character off.
fn take(rest: &mut &str) -> Option<char> {
    let c = rest.chars().next()?;
    *rest = rest.get(c.len_utf8()..).unwrap_or_default();
    Some(c)
}

fn escape(rest: &mut &str) -> Outcome<u8> {
    match take(rest) {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits = rest
                .get(..2)
                .filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
            let digits = digits.ok_or_else(|| wrong("\\x needs two hexadecimal digits"))?;
            *rest = rest.get(2..).unwrap_or_default();
            u8::from_str_radix(digits, 16).map_err(|error| wrong(error.to_string()))
        }
        Some(other) => Err(wrong(format!("unknown escape \\{other}"))),
        None => Err(wrong("a backslash at the end")),
    }
}

fn verb(rest: &mut &str) -> Outcome<Part> {
    Ok(match take(rest) {
        Some('t') => Part::Topic,
        Some('p') => Part::Partition,
        Some('o') => Part::Offset,
        Some('k') => Part::Key,
        Some('v' | 's') => Part::Value,
        Some('S') => Part::ValueLength,
        Some('h') => Part::Headers,
        Some('d') => return time(rest),
        Some(other) => return Err(wrong(format!("unknown verb %{other}"))),
        None => return Err(wrong("a percent sign at the end")),
    })
}

fn time(rest: &mut &str) -> Outcome<Part> {
    let Some(inner) = rest.strip_prefix('{') else {
        return Ok(Part::Time);
    };
    let (kind, after) = inner
        .split_once('}')
        .ok_or_else(|| wrong("%d{ without }"))?;
    *rest = after;
    match kind {
        "rfc3339" => Ok(Part::Time),
        "ms" => Ok(Part::TimeMillis),
        other => Err(wrong(format!(
            "%d{{{other}}} is unknown, %d{{rfc3339}} and %d{{ms}} are not"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> Message {
        Message {
            topic: "orders".into(),
            partition: 3,
            offset: 42,
            timestamp_ms: Some(0),
            key: Some(Bytes::from_static(b"k\xff")),
            value: None,
            headers: vec![
                ("a".to_owned(), Some(Bytes::from_static(b"b"))),
                ("c".to_owned(), None),
            ],
        }
    }

    fn written(format: &str) -> Vec<u8> {
        let mut out = Vec::new();
        Template::parse(format).unwrap().write(&message(), &mut out);
        out
    }

    #[test]
    fn every_verb_is_written() {
        assert_eq!(written("%t/%p@%o [%h] %S\\n"), b"orders/3@42 [a=b,c] -1\n");
        assert_eq!(written("%k%v%s"), b"k\xff");
        assert_eq!(
            written("%d|%d{rfc3339}|%d{ms}"),
            b"1970-01-01T00:00:00.000Z|1970-01-01T00:00:00.000Z|0"
        );
        assert_eq!(written("100%%\\t\\x00\\xfF\\0\\\\"), b"100%\t\x00\xff\0\\");
    }

    #[test]
    fn mistakes_are_refused() {
        for bad in [
            "%", "%x", "\\", "\\q", "\\x1", "\\xg0", "\\xé", "%d{", "%d{unix}", "%é",
        ] {
            assert_eq!(
                Template::parse(bad).unwrap_err().code,
                Code::FormatString,
                "{bad}"
            );
        }
    }

    /// A part as text, and what it must write.
    fn part() -> impl Strategy<Value = (String, Vec<u8>)> {
        prop_oneof![
            "[^%\\\\]{1,5}".prop_map(|text: String| (text.clone(), text.into_bytes())),
            any::<u8>().prop_map(|byte| (format!("\\x{byte:02x}"), vec![byte])),
            Just(("%%".to_owned(), b"%".to_vec())),
            Just(("\\\\".to_owned(), b"\\".to_vec())),
            Just(("%t".to_owned(), b"orders".to_vec())),
            Just(("%o".to_owned(), b"42".to_vec())),
            Just(("%k".to_owned(), b"k\xff".to_vec())),
            Just(("%d{ms}".to_owned(), b"0".to_vec())),
        ]
    }

    proptest! {
        #[test]
        fn parts_are_written_one_after_the_other(parts in proptest::collection::vec(part(), 0..12)) {
            // What follows %d must not look like its braces.
            let format: String = parts.iter().map(|(text, _)| text.as_str()).collect();
            let wanted: Vec<u8> = parts.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
            prop_assert_eq!(written(&format), wanted);
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _read: Outcome<Template> = Template::parse(&text);
        }
    }
}
