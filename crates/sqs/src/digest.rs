//! The MD5 digests that SDKs compare with what they sent (API reference, "Calculating the MD5 message
//! digest for message attributes").

use md5::{Digest as _, Md5};

/// The value of a message attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of the types String and Number, whatever label they carry.
    Text(String),
    /// Of the type Binary.
    Binary(Vec<u8>),
}

/// A message attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its whole type, label included: `Number.float`.
    pub data_type: String,
    /// Its value.
    pub value: Value,
}

/// The digest of a body, in hexadecimal.
#[must_use]
pub fn of_body(body: &str) -> String {
    hex(&Md5::digest(body.as_bytes()))
}

/// The digest of attributes, in any order; none for none.
#[must_use]
pub fn of_attributes(attributes: &[Attribute]) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut sorted: Vec<_> = attributes.iter().collect();
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    let mut digest = Md5::new();
    for attribute in sorted {
        part(&mut digest, attribute.name.as_bytes());
        part(&mut digest, attribute.data_type.as_bytes());
        match &attribute.value {
            Value::Text(text) => {
                digest.update([1]);
                part(&mut digest, text.as_bytes());
            }
            Value::Binary(bytes) => {
                digest.update([2]);
                part(&mut digest, bytes);
            }
        }
    }
    Some(hex(&digest.finalize()))
}

/// A length of four bytes, the highest first, and what is so long.
fn part(digest: &mut Md5, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    digest.update(length.to_be_bytes());
    digest.update(bytes);
}

/// Bytes in hexadecimal, small letters. Every message has such a digest or two, and formatting each byte by
/// itself took a tenth of what a message costs.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 15));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_digest_that_everybody_computes() {
        assert_eq!(of_body("hello"), "5d41402abc4b2a76b9719d911017c592");
    }

    #[test]
    fn attributes_have_the_published_digest_in_any_order() {
        let one = Attribute {
            name: "attribName1".to_owned(),
            data_type: "String".to_owned(),
            value: Value::Text("attribValue 1".to_owned()),
        };
        // The vector of the package aws-md5-of-message-attributes.
        let digest = of_attributes(std::slice::from_ref(&one));
        assert_eq!(digest.as_deref(), Some("19e27d4e946b072f3f58da80d94fd778"));
        let two = Attribute {
            name: "b".to_owned(),
            data_type: "Binary.x".to_owned(),
            value: Value::Binary(vec![0, 255]),
        };
        let there = of_attributes(&[one.clone(), two.clone()]);
        assert_eq!(there, of_attributes(&[two, one]));
        assert_eq!(of_attributes(&[]), None);
    }
}
