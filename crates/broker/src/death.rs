//! The record of a death: what a dead-letter target is told of why a record was given up.
//!
//! It travels as a header of the record, [`HEADER`], whose value is JSON, so that every client can read
//! it. A record that died more than once has one such header for each (subscription, reason), the newest
//! first; doors show them in their protocol's own form.

use mulgil_core::queue::{Death, Reason};
use mulgil_record::ids::TopicId;
use serde::{Deserialize, Serialize};

/// The name of the header.
pub const HEADER: &str = "mulgil.death";
/// Most deaths that a record remembers; the oldest are forgotten.
pub const DEATHS_MAX: usize = 10;

/// One death, or several of the same subscription for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeathRecord {
    /// The subscription that gave the record up.
    pub subscription: String,
    /// The topic that it lay in.
    pub topic: String,
    /// The topic's id, 32 hexadecimal digits: other topics may have had the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// The partition, by its number in the topic.
    pub partition: u32,
    /// The offset there.
    pub offset: i64,
    /// Why: the words of [`Reason`], with `_` for blanks.
    pub reason: String,
    /// How often this happened.
    pub count: u32,
    /// How often it was handed out before the last time; 65,535 stands for that and more.
    pub acquired: u16,
    /// How often that failed.
    pub failed: u16,
    /// When this happened first, milliseconds since 1970.
    pub first_ms: u64,
    /// When it happened last.
    pub last_ms: u64,
    /// The record's own timestamp before; behind, its timestamp is that of its death.
    pub timestamp_ms: i64,
    /// What its consumer said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// When somebody had it taken back, if that was done since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_ms: Option<u64>,
}

/// Where a record lay when it was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The subscription's name.
    pub subscription: String,
    /// The topic's name.
    pub topic: String,
    /// The topic's id.
    pub topic_id: TopicId,
    /// The partition, by its number in the topic.
    pub partition: u32,
}

impl DeathRecord {
    /// The record of one death.
    #[must_use]
    pub fn of(place: &Place, death: &Death, timestamp_ms: i64) -> Self {
        Self {
            subscription: place.subscription.clone(),
            topic: place.topic.clone(),
            topic_id: Some(format!("{:032x}", place.topic_id.0)),
            partition: place.partition,
            offset: death.offset.0,
            reason: reason_word(death.reason),
            count: 1,
            acquired: death.tries.acquired,
            failed: death.tries.failed,
            first_ms: death.at.0,
            last_ms: death.at.0,
            timestamp_ms,
            words: death.words.as_deref().map(ToOwned::to_owned),
            redriven_ms: None,
        }
    }

    /// Reads the value of a header; none if it is of another make.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    /// The value of its header.
    ///
    /// # Panics
    ///
    /// Never: text and numbers are always JSON.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers are JSON")
    }

    /// Whether nobody but time and limits had a hand in it.
    fn by_itself(&self) -> bool {
        self.redriven_ms.is_none()
            && [Reason::Expired, Reason::Overflow, Reason::TooOld]
                .iter()
                .any(|reason| reason_word(*reason) == self.reason)
    }
}

/// A reason as one word: `delivery_limit`.
#[must_use]
pub fn reason_word(reason: Reason) -> String {
    reason.to_string().replace(' ', "_")
}

/// Adds a death to those before it, newest first: an earlier one of the same subscription for the same
/// reason becomes part of it. None: the record goes round in a circle in which nobody ever takes it.
#[must_use]
pub fn died(mut before: Vec<DeathRecord>, mut new: DeathRecord) -> Option<Vec<DeathRecord>> {
    let same = before
        .iter()
        .position(|old| old.subscription == new.subscription && old.reason == new.reason);
    if let Some(same) = same {
        // As RabbitMQ does it (dlx.md, "Routing dead-lettered messages"): what comes back to where it
        // died is dropped, unless somebody refused it on the way.
        if new.by_itself() && before.iter().take(same + 1).all(DeathRecord::by_itself) {
            return None;
        }
        let old = before.remove(same);
        new.count = old.count.saturating_add(1);
        new.first_ms = old.first_ms;
    }
    before.insert(0, new);
    before.truncate(DEATHS_MAX);
    Some(before)
}

#[cfg(test)]
mod tests {
    use mulgil_core::machine::WallTime;
    use mulgil_core::queue::Tries;
    use mulgil_record::ids::Offset;

    use super::*;

    fn death(subscription: &str, reason: Reason, at: u64) -> DeathRecord {
        let place = Place {
            subscription: subscription.to_owned(),
            topic: "orders".to_owned(),
            topic_id: TopicId(0xab),
            partition: 3,
        };
        let death = Death {
            offset: Offset(17),
            reason,
            tries: Tries {
                acquired: 4,
                failed: 3,
            },
            at: WallTime(at),
            words: Some("no such \"thing\"".into()),
        };
        DeathRecord::of(&place, &death, 5)
    }

    #[test]
    fn a_death_is_told_in_json() {
        let told = death("billing", Reason::DeliveryLimit, 9);
        let value = told.write();
        assert_eq!(
            std::str::from_utf8(&value).unwrap(),
            r#"{"subscription":"billing","topic":"orders","topic_id":"000000000000000000000000000000ab","partition":3,"offset":17,"reason":"delivery_limit","count":1,"acquired":4,"failed":3,"first_ms":9,"last_ms":9,"timestamp_ms":5,"words":"no such \"thing\""}"#
        );
        assert_eq!(DeathRecord::read(&value), Some(told));
        assert_eq!(DeathRecord::read(b"{}"), None);
        assert_eq!(DeathRecord::read(&[0xff]), None);
    }

    #[test]
    fn deaths_of_one_kind_are_one_and_the_newest_is_first() {
        let mut all = Vec::new();
        for (name, reason, at) in [
            ("a", Reason::Rejected, 1),
            ("b", Reason::Expired, 2),
            ("a", Reason::Rejected, 3),
        ] {
            all = died(all, death(name, reason, at)).unwrap();
        }
        let told: Vec<_> = { all.iter() }
            .map(|one| {
                (
                    one.subscription.as_str(),
                    one.count,
                    one.first_ms,
                    one.last_ms,
                )
            })
            .collect();
        assert_eq!(told, [("a", 2, 1, 3), ("b", 1, 2, 2)]);
    }

    #[test]
    fn what_only_goes_round_is_dropped() {
        let once = died(Vec::new(), death("a", Reason::Expired, 1)).unwrap();
        let twice = died(once, death("b", Reason::Expired, 2)).unwrap();
        assert_eq!(died(twice.clone(), death("a", Reason::Expired, 3)), None);
        // Somebody had it in between.
        let refused = died(twice, death("c", Reason::Rejected, 3)).unwrap();
        assert!(died(refused, death("a", Reason::Expired, 4)).is_some());
    }

    #[test]
    fn no_more_than_some_are_remembered() {
        let mut all = Vec::new();
        for number in 0..30 {
            all = died(all, death(&number.to_string(), Reason::Rejected, number)).unwrap();
        }
        assert_eq!(all.len(), DEATHS_MAX);
        assert_eq!(all.first().unwrap().subscription, "29");
    }
}
