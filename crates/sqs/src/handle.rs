//! Receipt handles: what a message is deleted by.
//!
//! A handle is what the broker settles by, when it was handed out, and a check, so that what somebody made up
//! or cut short is found out. It says nothing that its holder may not know.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mulgil_broker::subscription::{LockEpoch, Receipt};
use mulgil_record::ids::{LeaderEpoch, Offset, PartitionId, SubscriptionId};
use sha2::{Digest as _, Sha256};

/// The form that is written; a handle of another form is none.
const FORM: u8 = 1;
const CHECK_BYTES: usize = 8;
const BYTES: usize = 1 + 4 * 8 + 4 + 8 + CHECK_BYTES;

/// A message that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// What the broker settles by.
    pub receipt: Receipt,
    /// When it was handed out, ms since 1970.
    pub received_ms: u64,
}

impl Handle {
    /// As text; `secret` is what the check is made with.
    #[must_use]
    pub fn write(&self, secret: &[u8]) -> String {
        let Receipt {
            subscription,
            partition,
            offset,
            epoch,
        } = self.receipt;
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(FORM);
        bytes.extend_from_slice(&subscription.0.to_be_bytes());
        bytes.extend_from_slice(&partition.0.to_be_bytes());
        bytes.extend_from_slice(&offset.0.to_be_bytes());
        bytes.extend_from_slice(&epoch.number.to_be_bytes());
        bytes.extend_from_slice(&epoch.leader.0.to_be_bytes());
        bytes.extend_from_slice(&self.received_ms.to_be_bytes());
        let check = check(&bytes, secret);
        bytes.extend_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a handle; none if nobody was given it.
    #[must_use]
    pub fn read(text: &str, secret: &[u8]) -> Option<Self> {
        if text.len() > BYTES * 2 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        if bytes.len() != BYTES {
            return None;
        }
        let (body, given) = bytes.split_at(BYTES - CHECK_BYTES);
        if check(body, secret) != given {
            return None;
        }
        let (form, mut rest) = body.split_first()?;
        if *form != FORM {
            return None;
        }
        let receipt = Receipt {
            subscription: SubscriptionId(u64::from_be_bytes(take(&mut rest)?)),
            partition: PartitionId(u64::from_be_bytes(take(&mut rest)?)),
            offset: Offset(i64::from_be_bytes(take(&mut rest)?)),
            epoch: {
                let number = u64::from_be_bytes(take(&mut rest)?);
                let leader = LeaderEpoch(i32::from_be_bytes(take(&mut rest)?));
                LockEpoch { leader, number }
            },
        };
        let received_ms = u64::from_be_bytes(take(&mut rest)?);
        Some(Self {
            receipt,
            received_ms,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*first)
}

fn check(bytes: &[u8], secret: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = Sha256::new_with_prefix(secret)
        .chain_update(bytes)
        .finalize();
    let mut check = [0; CHECK_BYTES];
    for (to, from) in check.iter_mut().zip(digest) {
        *to = from;
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_comes_back_and_nothing_else_does() {
        let handle = Handle {
            receipt: Receipt {
                subscription: SubscriptionId(3),
                partition: PartitionId(u64::MAX),
                offset: Offset(i64::MAX),
                epoch: LockEpoch {
                    leader: LeaderEpoch(7),
                    number: 12,
                },
            },
            received_ms: 1_700_000_000_000,
        };
        let text = handle.write(b"s");
        assert_eq!(Handle::read(&text, b"s"), Some(handle));
        assert_eq!(Handle::read(&text, b"other"), None);
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            let read = Handle::read(&forged, b"s");
            assert!(read.is_none() || forged == text, "{forged}");
            assert_eq!(Handle::read(&text[..at], b"s"), None);
        }
        assert_eq!(Handle::read("", b"s"), None);
        assert_eq!(Handle::read(&"A".repeat(10_000), b"s"), None);
    }
}
