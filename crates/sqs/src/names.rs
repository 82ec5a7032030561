//! What queues are called: names, ARNs and URLs.
//!
//! A queue of SQS is a subscription of the broker. A name has at most 80 of the characters `A-Z a-z 0-9 - _`,
//! and may end in `.fifo`. Names of the broker with other characters are escaped: each byte of them as
//! `__xHH`, and so is the first underscore of a literal `__x`. Names that are too long then are not shown.

use std::fmt::Write as _;

use crate::fault::{Fault, Kind};

/// Longest name.
pub const NAME_MAX: usize = 80;
/// What the name of a FIFO queue ends in.
pub const FIFO: &str = ".fifo";

const ESCAPE: &str = "__x";

/// Whose queues these are: what stands in ARNs and URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The account, twelve digits.
    pub account: String,
    /// The region.
    pub region: String,
}

impl Owner {
    /// The ARN of a queue.
    #[must_use]
    pub fn arn(&self, queue: &str) -> String {
        format!("arn:aws:sqs:{}:{}:{queue}", self.region, self.account)
    }

    /// The queue of an ARN; none if it is another's, or no ARN.
    #[must_use]
    pub fn queue_of<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let rest = arn.strip_prefix("arn:aws:sqs:")?;
        let rest = rest.strip_prefix(self.region.as_str())?.strip_prefix(':')?;
        let name = rest
            .strip_prefix(self.account.as_str())?
            .strip_prefix(':')?;
        is_name(name).then_some(name)
    }

    /// The queue of a URL, or of its path: what stands there last, behind the account.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidAddress`] if it is no URL of a queue, [`Kind::QueueDoesNotExist`] for another account's.
    pub fn queue_at<'a>(&self, url: &'a str) -> Result<&'a str, Fault> {
        let bad = || {
            let message = format!("The address {url} is not valid for this endpoint.");
            Fault::new(Kind::InvalidAddress, message)
        };
        let path = url.split_once("://").map_or(url, |(_, rest)| rest);
        let path = path.split(['?', '#']).next().unwrap_or(path);
        let mut parts = path.trim_end_matches('/').rsplit('/');
        let (name, account) = (parts.next().unwrap_or_default(), parts.next());
        let account = account.ok_or_else(bad)?;
        if !is_name(name) {
            return Err(bad());
        }
        if account != self.account {
            return Err(Fault::no_queue());
        }
        Ok(name)
    }
}

/// Whether SQS takes a name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let stem = name.strip_suffix(FIFO).unwrap_or(name);
    !stem.is_empty() && name.len() <= NAME_MAX && stem.bytes().all(is_plain)
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// What SQS calls a subscription; none if that would be too long.
#[must_use]
pub fn of_subscription(name: &str) -> Option<String> {
    let stem = name.strip_suffix(FIFO);
    let mut out = String::with_capacity(name.len());
    let plain = stem.unwrap_or(name);
    for (at, byte) in plain.bytes().enumerate() {
        let literal = plain.get(at..).is_some_and(|rest| rest.starts_with(ESCAPE));
        if is_plain(byte) && !literal {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _always = write!(out, "{ESCAPE}{byte:02X}");
        }
        if out.len() > NAME_MAX {
            return None;
        }
    }
    if stem.is_some() {
        out.push_str(FIFO);
    }
    is_name(&out).then_some(out)
}

/// The subscription that SQS calls so; none if no subscription can be called so.
#[must_use]
pub fn to_subscription(name: &str) -> Option<String> {
    if !name.contains(ESCAPE) {
        return Some(name.to_owned());
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find(ESCAPE) {
        let (before, escaped) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        let digits = escaped.get(ESCAPE.len()..ESCAPE.len() + 2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = escaped.get(ESCAPE.len() + 2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    let name_of = String::from_utf8(bytes).ok()?;
    // One name for each: another way to escape the same is nobody's.
    (of_subscription(&name_of).as_deref() == Some(name)).then_some(name_of)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner() -> Owner {
        Owner {
            account: "000000000000".to_owned(),
            region: "eu-west-1".to_owned(),
        }
    }

    #[test]
    fn names_are_what_the_service_takes() {
        let long = "q".repeat(80);
        for good in ["a", "A-b_9", "a.fifo", long.as_str()] {
            assert!(is_name(good), "{good}");
            assert_eq!(of_subscription(good).as_deref(), Some(good));
        }
        let longer = "q".repeat(76) + ".fifo";
        for bad in ["", ".fifo", "a.b", "a b", "a.fifo.x", longer.as_str()] {
            assert!(!is_name(bad), "{bad}");
        }
        assert_eq!(of_subscription("a.b").as_deref(), Some("a__x2Eb"));
        assert_eq!(of_subscription("a__xb").as_deref(), Some("a__x5F_xb"));
        assert_eq!(to_subscription("a__x2Eb").as_deref(), Some("a.b"));
        assert_eq!(to_subscription("a__x2eb"), None);
        assert_eq!(to_subscription("a__x61"), None);
        assert_eq!(to_subscription("a__x"), None);
    }

    #[test]
    fn queues_are_found_by_their_urls_and_arns() {
        let owner = owner();
        for url in [
            "http://localhost:9324/000000000000/jobs",
            "/000000000000/jobs",
            "https://h/000000000000/jobs/",
            "http://h/queue/000000000000/jobs",
        ] {
            assert_eq!(owner.queue_at(url), Ok("jobs"), "{url}");
        }
        let kind = |url| owner.queue_at(url).map_err(|fault| fault.kind);
        assert_eq!(kind("jobs"), Err(Kind::InvalidAddress));
        assert_eq!(kind("http://h/000000000000/a.b"), Err(Kind::InvalidAddress));
        assert_eq!(kind("http://h/1/jobs"), Err(Kind::QueueDoesNotExist));
        let arn = owner.arn("jobs");
        assert_eq!(arn, "arn:aws:sqs:eu-west-1:000000000000:jobs");
        assert_eq!(owner.queue_of(&arn), Some("jobs"));
        assert_eq!(
            owner.queue_of("arn:aws:sqs:us-east-1:000000000000:jobs"),
            None
        );
        assert_eq!(owner.queue_of("jobs"), None);
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in "(\\PC|_|__x|x|[0-9A-F]){1,20}(\\.fifo)?") {
            if let Some(shown) = of_subscription(&name) {
                prop_assert!(is_name(&shown));
                prop_assert_eq!(to_subscription(&shown), Some(name));
            }
        }
    }
}
