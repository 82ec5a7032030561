//! Bytes in JSON: text where they are UTF-8, an object with base64 where they are not.

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The bytes of a key, a value or a header: `"text"` or `{"base64": "AP8="}`.
///
/// The two can not be mixed up, whatever the bytes are, so what is read can be published as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(pub Bytes);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form<'a> {
    Text(std::borrow::Cow<'a, str>),
    Base64 { base64: String },
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Form::Text(text.into()),
            Err(_) => Form::Base64 {
                base64: encode(&self.0),
            },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(Self(Bytes::from(text.into_owned()))),
            Form::Base64 { base64 } => decode(&base64)
                .map(|bytes| Self(bytes.into()))
                .ok_or_else(|| D::Error::custom("not base64")),
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (word >> (18 - 6 * place)) & 63;
            let letter = ALPHABET.get(index as usize).copied().unwrap_or(b'=');
            text.push(if place <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let letters = text.trim_end_matches('=').as_bytes();
    let padded = text.len() - letters.len();
    if !text.len().is_multiple_of(4) || padded > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(letters.len() * 3 / 4);
    for chunk in letters.chunks(4) {
        let mut word = 0_u32;
        for letter in chunk {
            word = word << 6 | u32::from(index_of(*letter)?);
        }
        let count = chunk.len() * 6 / 8;
        let word = word << (6 * (4 - chunk.len()));
        bytes.extend(word.to_be_bytes().iter().skip(1).take(count));
    }
    Some(bytes)
}

const fn index_of(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_text_and_other_bytes_are_base64() {
        let json = |bytes: &'static [u8]| serde_json::to_string(&Payload(bytes.into())).unwrap();
        assert_eq!(json(b"hello"), r#""hello""#);
        assert_eq!(json(b"\x00\xff"), r#"{"base64":"AP8="}"#);
    }

    #[test]
    fn bad_base64_is_refused() {
        for bad in ["A", "AP8", "AP8=====", "A!8="] {
            let json = format!(r#"{{"base64":"{bad}"}}"#);
            assert!(serde_json::from_str::<Payload>(&json).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_payload_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let payload = Payload(bytes.into());
            let json = serde_json::to_string(&payload).unwrap();
            prop_assert_eq!(serde_json::from_str::<Payload>(&json).unwrap(), payload);
        }
    }
}
