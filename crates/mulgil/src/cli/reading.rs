//! Settings of queues and subscriptions as flags: how messages are handed out.

use clap::{Args, ValueEnum};
use mulgil_admin::catalogue::Code;
use mulgil_admin::model::SubscriptionChange;
use mulgil_admin::settings::{self, duration};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome as Done};

/// How messages are handed out. Limits take `none`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Handing out")]
pub(crate) struct ReadingArgs {
    /// How long a message is locked for whoever takes it, up to 1d [default: 30s]
    #[arg(long, value_name = "DURATION")]
    lock: Option<String>,
    /// Give up a message that failed so often, or none [default: none]
    #[arg(long, value_name = "N")]
    failed_max: Option<String>,
    /// Give up a message that was handed out so often and comes back, or none [default: none]
    #[arg(long, value_name = "N")]
    acquired_max: Option<String>,
    /// How long a message that failed waits [default: at-once]
    ///
    ///   at-once                      not at all
    ///   fixed:30s                    always as long
    ///   linear:10s:5m                10s longer each time, 5m at most
    ///   exponential:1s:10m[:20]      twice as long each time; up to 20 percent less, by chance
    #[arg(long, value_name = "POLICY", verbatim_doc_comment)]
    retry: Option<String>,
    /// Give up a message that fails when it is so old, or none [default: none]
    #[arg(long, value_name = "DURATION")]
    age_max: Option<String>,
    /// Give up messages that are so old, tried or not, or none [default: none]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// So many messages may wait in each partition, or none [default: none]
    #[arg(long, value_name = "N")]
    length_max: Option<String>,
    /// So many bytes may wait in each partition, or none [default: none]
    #[arg(long, value_name = "SIZE")]
    bytes_max: Option<String>,
    /// Of messages with one id that come within so long hand out the first alone, or none [default: none]
    #[arg(long, value_name = "DURATION")]
    deduplicate: Option<String>,
    /// What happens when more come [default: drop-oldest]
    #[arg(long, value_enum)]
    overflow: Option<Overflow>,
    /// In which order messages are handed out [default: fifo]
    #[arg(long, value_enum)]
    order: Option<Order>,
    /// Serve one consumer alone, the others when it has gone [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    single_active: Option<bool>,
    /// The topic that messages go to that are given up, or none: they are dropped, and counted
    #[arg(long, value_name = "TOPIC")]
    dead_letter: Option<String>,
}

/// What happens when more messages come than may wait.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Overflow {
    /// The oldest are dropped
    DropOldest,
    /// The oldest go to the dead-letter topic
    DeadLetterOldest,
    /// What comes is refused
    Refuse,
}

/// In which order messages are handed out.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Order {
    /// As they lie in their partition
    Fifo,
    /// So, and while a message is held, no other of its key
    Key,
    /// The highest priority first, of one the oldest
    Priority,
}

impl ReadingArgs {
    /// What was said, in the words of the API.
    pub(crate) fn change(&self) -> Done<SubscriptionChange> {
        let mut change = SubscriptionChange::default();
        if let Some(lock) = &self.lock {
            change.set("lock_ms", milliseconds("--lock", lock)?);
        }
        for (flag, name, value) in [
            ("--failed-max", "failed_max", &self.failed_max),
            ("--acquired-max", "acquired_max", &self.acquired_max),
            ("--length-max", "length_max", &self.length_max),
        ] {
            if let Some(value) = value {
                change.set(name, limit(value, |text| number(flag, text))?);
            }
        }
        for (flag, name, value) in [
            ("--age-max", "age_ms_max", &self.age_max),
            ("--ttl", "ttl_ms", &self.ttl),
            ("--deduplicate", "deduplicate_ms", &self.deduplicate),
        ] {
            if let Some(value) = value {
                change.set(name, limit(value, |text| milliseconds(flag, text))?);
            }
        }
        if let Some(retry) = &self.retry {
            change.set("retry", policy(retry)?);
        }
        if let Some(overflow) = self.overflow {
            let word = match overflow {
                Overflow::DropOldest => "drop_oldest",
                Overflow::DeadLetterOldest => "dead_letter_oldest",
                Overflow::Refuse => "refuse",
            };
            change.set("overflow", word);
        }
        if let Some(bytes) = &self.bytes_max {
            change.set("bytes_max", limit(bytes, |text| size("--bytes-max", text))?);
        }
        if let Some(order) = self.order {
            let word = match order {
                Order::Fifo => "fifo",
                Order::Key => "key",
                Order::Priority => "priority",
            };
            change.set("order", word);
        }
        if let Some(single) = self.single_active {
            change.set("single_active", single);
        }
        if let Some(topic) = &self.dead_letter {
            change.set("dead_letter", limit(topic, |text| Ok(text.to_owned()))?);
        }
        Ok(change)
    }
}

fn wrong(detail: String) -> Failure {
    Failure::new(Code::Usage, detail)
}

fn limit<T: Into<Value>>(text: &str, read: impl FnOnce(&str) -> Done<T>) -> Done<Value> {
    if text == "none" {
        Ok(Value::Null)
    } else {
        read(text).map(Into::into)
    }
}

fn number(flag: &str, text: &str) -> Done<u64> {
    let bad = |_bad| wrong(format!("{flag} takes a number or none, not \"{text}\""));
    text.parse().map_err(bad)
}

/// A size as people write it.
fn size(flag: &str, text: &str) -> Done<u64> {
    let bad = || {
        wrong(format!(
            "{flag} takes a size (64MiB) or none, not \"{text}\""
        ))
    };
    settings::size(text).ok_or_else(bad)
}

/// A duration as people write it.
pub(crate) fn milliseconds(flag: &str, text: &str) -> Done<u64> {
    let bad = || wrong(format!("{flag} takes a duration (30s, 5m), not \"{text}\""));
    duration(text).ok_or_else(bad)
}

/// A retry policy: `exponential:1s:10m:20`.
fn policy(text: &str) -> Done<Value> {
    let bad = || {
        let forms = "at-once, fixed:TIME, linear:TIME:MOST or exponential:TIME:MOST[:PERCENT]";
        wrong(format!("--retry takes {forms}, not \"{text}\""))
    };
    let ms = |text: &str| duration(text).ok_or_else(bad);
    let parts: Vec<&str> = text.split(':').collect();
    Ok(match parts.as_slice() {
        ["at-once"] => json!({"kind": "at_once"}),
        ["fixed", wait] => json!({"kind": "fixed", "ms": ms(wait)?}),
        ["linear", wait, most] => json!({"kind": "linear", "ms": ms(wait)?, "ms_max": ms(most)?}),
        ["exponential", wait, most, rest @ ..] => {
            let jitter = match rest {
                [] => 0,
                [percent] => percent.parse::<u8>().map_err(|_bad| bad())?,
                _ => return Err(bad()),
            };
            json!({
                "kind": "exponential", "ms": ms(wait)?, "ms_max": ms(most)?, "jitter_percent": jitter,
            })
        }
        _ => return Err(bad()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_or_refused() {
        assert_eq!(policy("at-once"), Ok(json!({"kind": "at_once"})));
        assert_eq!(
            policy("fixed:30s"),
            Ok(json!({"kind": "fixed", "ms": 30_000}))
        );
        let linear = json!({"kind": "linear", "ms": 10, "ms_max": 300_000});
        assert_eq!(policy("linear:10:5m"), Ok(linear));
        for (text, jitter) in [("exponential:1s:10m", 0), ("exponential:1s:10m:20", 20)] {
            let wanted = json!({
                "kind": "exponential", "ms": 1000, "ms_max": 600_000, "jitter_percent": jitter,
            });
            assert_eq!(policy(text), Ok(wanted));
        }
        for bad in [
            "",
            "soon",
            "at-once:1s",
            "fixed",
            "fixed:x",
            "fixed:1s:2s",
            "linear:1s",
            "exponential:1s:2s:300",
            "exponential:1s:2s:3:4",
        ] {
            assert_eq!(policy(bad).unwrap_err().code, Code::Usage, "{bad}");
        }
    }
}
