//! What messages are known by.
//!
//! Both names are worked out from where a message lies, so that nothing has to be stored, and whoever sends a
//! message again is told of the first one's. A dead letter keeps the id that it had where it was sent.

use mulgil_record::ids::{Offset, TopicId};
use uuid::Uuid;

/// Numbers have twenty digits, as those of AWS.
const FIRST_NUMBER: u128 = 10_000_000_000_000_000_000;

/// The id of a message: a name-based UUID (RFC 9562, section 5.5) of its topic, partition and offset.
#[must_use]
pub fn message_id(topic: TopicId, partition: u32, offset: Offset) -> String {
    let mut name = [0; 12];
    let (first, rest) = name.split_at_mut(4);
    first.copy_from_slice(&partition.to_be_bytes());
    rest.copy_from_slice(&offset.0.to_be_bytes());
    Uuid::new_v5(&Uuid::from_u128(topic.0), &name).to_string()
}

/// The sequence number of a message; those of one group rise.
#[must_use]
pub fn sequence_number(offset: Offset) -> String {
    (FIRST_NUMBER + u128::from(offset.0.unsigned_abs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_own_name() {
        let id = |topic, partition, offset| message_id(TopicId(topic), partition, Offset(offset));
        let one = id(1, 0, 7);
        assert_eq!(one.len(), 36);
        assert_eq!(one, id(1, 0, 7));
        for other in [id(2, 0, 7), id(1, 1, 7), id(1, 0, 8)] {
            assert_ne!(one, other);
        }
        assert_eq!(sequence_number(Offset(0)), "10000000000000000000");
        assert!(sequence_number(Offset(9)) < sequence_number(Offset(10)));
        assert_eq!(sequence_number(Offset(i64::MAX)).len(), 20);
    }
}
