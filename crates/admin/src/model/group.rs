//! Consumer groups in requests and answers.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSummary {
    /// Its name.
    pub name: String,
    /// Where it stands (`stable`, `empty`).
    pub state: String,
    /// What kind of group it is (`consumer`), if anybody has said.
    pub protocol_type: Option<String>,
}

/// All groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupList {
    /// By name.
    pub groups: Vec<GroupSummary>,
}

/// A group with its members and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDetail {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: GroupSummary,
    /// The way of assigning that was chosen.
    pub protocol: Option<String>,
    /// Its members.
    pub members: Vec<GroupMember>,
    /// How far it has come, by topic and partition.
    pub offsets: Vec<GroupOffset>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// Its name.
    pub id: String,
    /// Its name over restarts, if it is static.
    pub instance: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where its client is.
    pub host: String,
}

/// How far a group has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The next offset to read.
    pub committed: i64,
    /// First offset there is.
    pub start: i64,
    /// First offset that is not yet there.
    pub end: i64,
    /// Records between the committed offset and the end, as far as they are still there.
    pub lag: u64,
}

/// Where a group shall go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the first record there is.
    Earliest,
    /// Behind the last one.
    Latest,
    /// At this offset.
    Offset(i64),
    /// At the first record with this timestamp or a later one.
    Time(Timestamp),
    /// So many records on, or back.
    Shift(i64),
}

/// A text is no place to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not earliest, latest, an offset, a time (2026-11-22T10:00:00Z), +N or -N")]
pub struct NotAPlace;

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let number = |text: &str| text.parse::<i64>().map_err(|_none| NotAPlace);
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            shift if shift.starts_with(['+', '-']) => number(shift).map(Self::Shift),
            offset if offset.bytes().all(|b| b.is_ascii_digit()) => {
                number(offset).map(Self::Offset)
            }
            time => time.parse().map(Self::Time).map_err(|_no_time| NotAPlace),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Offset(offset) => write!(f, "{offset}"),
            Self::Time(time) => write!(f, "{time}"),
            Self::Shift(by) => write!(f, "{by:+}"),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Offsets to set anew; the group may have no members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetOffsets {
    /// Of which topics; none for all that the group has offsets of.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Where to go on.
    pub to: Place,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a reset changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetsReset {
    /// By topic and partition.
    pub offsets: Vec<OffsetReset>,
}

/// What a reset changes in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetReset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset before, if there was one.
    pub from: Option<i64>,
    /// The offset after.
    pub to: i64,
}

/// Records to give up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrimTopic {
    /// Of which partition; without, of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// The first offset that stays; without, nothing that is there now does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for (text, place) in [
            ("earliest", Place::Earliest),
            ("latest", Place::Latest),
            ("100", Place::Offset(100)),
            ("+100", Place::Shift(100)),
            ("-5", Place::Shift(-5)),
        ] {
            assert_eq!(text.parse(), Ok(place));
            assert_eq!(place.to_string(), text);
        }
        assert!(matches!("2026-11-22T10:00:00Z".parse(), Ok(Place::Time(_))));
        for odd in ["", "first", "+", "1.5", "99999999999999999999"] {
            assert_eq!(odd.parse::<Place>(), Err(NotAPlace), "{odd}");
        }
    }
}
