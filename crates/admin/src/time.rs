//! Points in time as the API writes them: RFC 3339 in UTC, with milliseconds.
//!
//! Only what is needed of the calendar is here, after Howard Hinnant's "chrono-compatible low-level
//! date algorithms". There is no clock.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Milliseconds since 1970, written as `2026-11-22T10:00:00.000Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A text is not a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time; one looks like 2026-11-22T10:00:00Z")]
pub struct NotATime;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.0.div_euclid(DAY_MS));
        let ms = self.0.rem_euclid(DAY_MS);
        let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
        let (second, ms) = (ms / 1000 % 60, ms % 1000);
        if !(0..=9999).contains(&year) {
            return write!(f, "{}", self.0);
        }
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    /// Reads RFC 3339, also without seconds, and a date alone as its midnight in UTC. Without a zone
    /// it is UTC.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let (date, rest) = match text.split_once(['T', 't', ' ']) {
            Some((date, rest)) => (date, rest),
            None => (text, "00:00"),
        };
        let days = days_of(parse_date(date)?);
        let (time, zone_ms) = split_zone(rest)?;
        Ok(Self(days * DAY_MS + parse_time(time)? - zone_ms))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

fn digits(text: &str, length: usize) -> Result<i64, NotATime> {
    if text.len() != length || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotATime);
    }
    text.parse().map_err(|_bad| NotATime)
}

fn parse_date(text: &str) -> Result<(i64, i64, i64), NotATime> {
    let mut parts = text.split('-');
    let mut next = |length| digits(parts.next().ok_or(NotATime)?, length);
    let date = (next(4)?, next(2)?, next(2)?);
    let valid = parts.next().is_none() && date_of(days_of(date)) == date;
    if valid { Ok(date) } else { Err(NotATime) }
}

/// Takes `Z` or `+01:00` off the end, and says how many milliseconds it is ahead of UTC.
fn split_zone(text: &str) -> Result<(&str, i64), NotATime> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Ok((time, 0));
    }
    let Some(at) = text.find(['+', '-']) else {
        return Ok((text, 0));
    };
    let (time, zone) = text.split_at(at);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone
        .get(1..)
        .and_then(|z| z.split_once(':'))
        .ok_or(NotATime)?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    if hours > 23 || minutes > 59 {
        return Err(NotATime);
    }
    Ok((time, sign * (hours * 60 + minutes) * 60_000))
}

fn parse_time(text: &str) -> Result<i64, NotATime> {
    let mut parts = text.split(':');
    let hour = digits(parts.next().ok_or(NotATime)?, 2)?;
    let minute = digits(parts.next().ok_or(NotATime)?, 2)?;
    let (second, ms) = match parts.next() {
        None => (0, 0),
        Some(seconds) => match seconds.split_once('.') {
            None => (digits(seconds, 2)?, 0),
            Some((whole, part)) => (digits(whole, 2)?, parse_millis(part)?),
        },
    };
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return Err(NotATime);
    }
    Ok(((hour * 60 + minute) * 60 + second) * 1000 + ms)
}

fn parse_millis(part: &str) -> Result<i64, NotATime> {
    digits(part, part.len())?;
    let padded: String = part.chars().chain("00".chars()).take(3).collect();
    if part.is_empty() {
        Err(NotATime)
    } else {
        digits(&padded, 3)
    }
}

/// Days since 1970 of a date of the Gregorian calendar.
const fn days_of((year, month, day): (i64, i64, i64)) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date of a number of days since 1970.
const fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times_are_written() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            Timestamp(951_827_696_789).to_string(),
            "2000-02-29T12:34:56.789Z"
        );
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn short_forms_and_zones_are_read() {
        let read = |text: &str| text.parse::<Timestamp>();
        assert_eq!(read("1970-01-02"), Ok(Timestamp(DAY_MS)));
        assert_eq!(read("1970-01-01T00:01"), Ok(Timestamp(60_000)));
        assert_eq!(read("1970-01-01 00:00:01.5Z"), Ok(Timestamp(1500)));
        assert_eq!(read("1970-01-01T01:00:00+01:00"), Ok(Timestamp(0)));
        for bad in [
            "",
            "x",
            "1970-02-30",
            "1970-01-01T24:00",
            "1970-01-01T00:00:00.",
            "é970-01-01",
        ] {
            assert_eq!(read(bad), Err(NotATime), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 0_i64..253_402_300_800_000) {
            prop_assert_eq!(Timestamp(ms).to_string().parse(), Ok(Timestamp(ms)));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _read: Result<Timestamp, _> = text.parse();
        }
    }
}
