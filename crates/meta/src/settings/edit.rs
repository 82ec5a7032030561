//! How settings change: edits by name, checked against the table.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::value::list;
use super::{
    BrokerStated, Scope, Setting, Standing, Stated, broker_setting, field, follow, inherited,
    topic_setting,
};
use crate::schema::TopicSettings;

/// One change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Which.
    pub name: Arc<str>,
    /// What.
    pub operation: Operation,
}

/// What is done to a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It has this value.
    Set(Arc<str>),
    /// Nobody has set it any more.
    Unset,
    /// A list has these words, too.
    Append(Arc<str>),
    /// A list has these words no more.
    Subtract(Arc<str>),
}

/// Why settings were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingRefusal {
    /// There is no such setting.
    #[error("unknown topic config name: {0}")]
    Unknown(Arc<str>),
    /// There is no such setting of a broker.
    #[error("unknown broker config name: {0}")]
    UnknownOfBroker(Arc<str>),
    /// It does not take that.
    #[error("invalid value {value} for configuration {name}: it takes {takes}")]
    Value {
        /// Which setting.
        name: &'static str,
        /// What came.
        value: Arc<str>,
        /// What it takes.
        takes: String,
    },
    /// Only the default can be had here.
    #[error("invalid value {value} for configuration {name}: only {only} is possible, {why}")]
    Only {
        /// Which setting.
        name: &'static str,
        /// What came.
        value: Arc<str>,
        /// The default.
        only: &'static str,
        /// Why.
        why: &'static str,
    },
    /// It cannot be changed while the broker runs.
    #[error("cannot update these configs dynamically: {0}")]
    Fixed(&'static str),
    /// Words can only be added to a list.
    #[error("cannot append to or subtract from {0}, its type is not a list")]
    NotList(&'static str),
    /// Two settings that do not go together.
    #[error("min.compaction.lag.ms ({least}) is larger than max.compaction.lag.ms ({most})")]
    Lags {
        /// How long a record is safe.
        least: u64,
        /// When it must have been looked at.
        most: u64,
    },
    /// What is settled is given up, or the newest of each key is kept.
    #[error("cleanup.policy=compact and mulgil.reclaim.on.ack=true exclude each other")]
    CompactedQueue,
    /// A queue is its topic and its subscription together.
    #[error("mulgil.reclaim.on.ack stays true for the topic of a queue")]
    OfQueue,
}

/// Whether settings of a topic go together.
///
/// # Errors
///
/// The first pair that does not.
pub fn check_together(settings: &TopicSettings) -> Result<(), SettingRefusal> {
    let (least, most) = (
        settings.min_compaction_lag_ms,
        settings.max_compaction_lag_ms,
    );
    if least > most {
        return Err(SettingRefusal::Lags { least, most });
    }
    if settings.cleanup.compact && settings.reclaim_on_ack {
        return Err(SettingRefusal::CompactedQueue);
    }
    Ok(())
}

#[expect(
    clippy::missing_panics_doc,
    reason = "what is stated was checked when it was"
)]
/// Changes what is stated of a topic, and gives what then holds.
///
/// # Errors
///
/// The first edit that is not possible; then nothing is changed.
pub fn edit_topic(
    settings: &TopicSettings,
    broker: &BrokerStated,
    edits: &[Edit],
) -> Result<TopicSettings, SettingRefusal> {
    let mut settings = settings.clone();
    for edit in edits {
        let setting = topic_setting(&edit.name)
            .ok_or_else(|| SettingRefusal::Unknown(Arc::clone(&edit.name)))?;
        let inherits = setting.inherits.and_then(|name| broker.value(name));
        let default = inherits.map_or(setting.default, |value| value);
        apply(&mut settings.stated, setting, default, &edit.operation)?;
        if setting.standing != Standing::Honoured {
            continue;
        }
        if let Some(value) = settings.stated.get(setting.name) {
            let value = Arc::clone(value);
            field::put(&mut settings, setting.name, &value).expect("a stated value was checked");
        } else {
            follow(&mut settings, broker, |other| other.name == setting.name);
        }
    }
    check_together(&settings)?;
    Ok(settings)
}

/// What holds for a topic of which exactly this is stated.
///
/// # Errors
///
/// As [`edit_topic`].
pub fn stated_topic(
    broker: &BrokerStated,
    edits: &[Edit],
) -> Result<TopicSettings, SettingRefusal> {
    edit_topic(&inherited(broker), broker, edits)
}

/// Changes what is stated of the broker; `replace` forgets what was stated before.
///
/// # Errors
///
/// As [`edit_topic`].
pub fn edit_broker(
    broker: &BrokerStated,
    scope: Scope,
    edits: &[Edit],
    replace: bool,
) -> Result<Stated, SettingRefusal> {
    let mut after = broker.clone();
    if replace {
        after.replace(scope, Stated::new());
    }
    let mut stated = after.of(scope).clone();
    for edit in edits {
        let setting = broker_setting(&edit.name)
            .ok_or_else(|| SettingRefusal::UnknownOfBroker(Arc::clone(&edit.name)))?;
        if setting.standing == Standing::Fixed {
            return Err(SettingRefusal::Fixed(setting.name));
        }
        apply(&mut stated, setting, setting.default, &edit.operation)?;
    }
    after.replace(scope, stated.clone());
    let topic = inherited(&after);
    let (least, most) = (topic.min_compaction_lag_ms, topic.max_compaction_lag_ms);
    if least > most {
        return Err(SettingRefusal::Lags { least, most });
    }
    Ok(stated)
}

fn apply(
    stated: &mut Stated,
    setting: &Setting,
    default: &str,
    operation: &Operation,
) -> Result<(), SettingRefusal> {
    let name = setting.name;
    let value = match operation {
        Operation::Unset => {
            stated.remove(name);
            return Ok(());
        }
        Operation::Set(value) => Arc::clone(value),
        Operation::Append(_) | Operation::Subtract(_) if !setting.takes.is_list() => {
            return Err(SettingRefusal::NotList(name));
        }
        Operation::Append(words) => {
            let before = stated.get(name).map_or(default, |value| value);
            format!("{before},{words}").into()
        }
        Operation::Subtract(words) => {
            let before = stated.get(name).map_or(default, |value| value);
            let gone: BTreeSet<_> = list(words).into_iter().collect();
            let kept = list(before).into_iter().filter(|word| !gone.contains(word));
            kept.collect::<Vec<_>>().join(",").into()
        }
    };
    let checked = setting.takes.check(&value).map_err(|takes| {
        let value = short(&value);
        SettingRefusal::Value { name, value, takes }
    })?;
    if setting.standing == Standing::Only && checked != setting.default {
        return Err(SettingRefusal::Only {
            name,
            value: short(&checked),
            only: setting.default,
            why: setting.about,
        });
    }
    stated.insert(name.into(), checked.into());
    Ok(())
}

/// What is repeated of a value in a refusal.
fn short(value: &str) -> Arc<str> {
    value
        .get(..value.floor_char_boundary(100))
        .unwrap_or(value)
        .into()
}
