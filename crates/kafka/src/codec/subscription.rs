//! What a consumer tells the leader of its group: the topics that it reads.
//!
//! ```text
//! i16 version | i32 count | count times: i16 length, name | more, by version
//! ```
//!
//! The broker looks inside only to know which topics a group reads
//! (`ConsumerProtocolSubscription`); the rest is the consumers' own business. Nothing is reserved
//! because the bytes say so.

/// The topics in a consumer's metadata; none if it is not such metadata.
#[must_use]
pub(crate) fn topics_of(metadata: &[u8]) -> Option<Vec<String>> {
    let (version, rest) = metadata.split_first_chunk()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk()?;
    let mut names = Vec::new();
    for _ in 0..u32::try_from(i32::from_be_bytes(*count)).ok()? {
        let (length, tail) = rest.split_first_chunk()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, tail) = tail.split_at_checked(length)?;
        names.push(std::str::from_utf8(name).ok()?.to_owned());
        rest = tail;
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use kafka_protocol::messages::ConsumerProtocolSubscription;
    use kafka_protocol::protocol::{Encodable, StrBytes};

    use super::*;

    fn metadata(version: i16, names: &[&'static str]) -> BytesMut {
        let names = names.iter().map(|name| StrBytes::from_static_str(name));
        let subscription = ConsumerProtocolSubscription::default().with_topics(names.collect());
        let mut bytes = BytesMut::new();
        bytes.put_i16(version);
        subscription
            .encode(&mut bytes, version)
            .expect("a version that there is");
        bytes
    }

    #[test]
    fn all_versions_begin_with_the_topics() {
        for version in 0..=3 {
            let bytes = metadata(version, &["a", "long name", ""]);
            let names = topics_of(&bytes).expect("a subscription");
            assert_eq!(names, ["a", "long name", ""]);
            assert_eq!(topics_of(&metadata(version, &[])), Some(Vec::new()));
        }
    }

    #[test]
    fn what_is_cut_or_says_more_than_it_has_is_none() {
        let bytes = metadata(0, &["a", "b"]);
        // User data of four bytes ends it.
        for end in 0..bytes.len() - 4 {
            assert_eq!(topics_of(bytes.get(..end).expect("a part")), None, "{end}");
        }
        assert_eq!(topics_of(b"topics"), None);
        assert_eq!(topics_of(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
        assert_eq!(topics_of(&[0, 0, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(topics_of(&[0xff, 0xff, 0, 0, 0, 0]), None);
    }
}
