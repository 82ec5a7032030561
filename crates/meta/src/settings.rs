//! The one table of settings: what each is called, what it takes, and what becomes of it.
//!
//! Whoever sets or shows a setting (every protocol, the HTTP API, the command line, the page in
//! `docs/`) reads these rows. A setting is honoured, or taken though it means nothing here and shown
//! as such, or refused with the reason; none is dropped in silence. Names are the dotted ones that
//! tools for logs know; `own` is what the HTTP API calls it. This file knows what a row means;
//! [`table`] has the rows, [`value`] the forms of values, [`edit`] how settings change.

pub mod edit;
pub mod field;
pub mod table;
pub mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use edit::{Edit, Operation, SettingRefusal, check_together};
pub use table::{BROKER, DOOR, TOPIC};
pub use value::Takes;

use crate::schema::TopicSettings;

/// The setting that lets a topic give up what all of its subscriptions have settled.
pub const RECLAIM_ON_ACK: &str = "mulgil.reclaim.on.ack";

/// The setting that says for how long what is settled stays.
pub const KEEP_AT_LEAST: &str = "mulgil.keep.at.least.ms";

/// The setting that lets reserved headers of records count.
pub const READ_HEADERS: &str = "mulgil.read.headers";

/// What somebody has set: values by name, as text.
pub type Stated = BTreeMap<Arc<str>, Arc<str>>;

/// What becomes of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does what it says.
    Honoured,
    /// It is taken and shown, and means nothing here.
    Meaningless,
    /// Only its default can be had: anything else is refused, for the reason in [`Setting::about`].
    Only,
    /// It is shown and does what it says; it is set at the start, or fixed.
    Fixed,
    /// The door of one protocol reads it from what is stated; for others it means nothing.
    Door,
}

impl Standing {
    /// The word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Meaningless => "taken, means nothing here",
            Self::Only => "only the default",
            Self::Fixed => "fixed",
            Self::Door => "of one protocol",
        }
    }
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What the HTTP API calls it, if it has a name of its own there.
    pub own: Option<&'static str>,
    /// What it takes.
    pub takes: Takes,
    /// What holds if nobody has set it.
    pub default: &'static str,
    /// What becomes of it.
    pub standing: Standing,
    /// For a topic: the broker's setting that holds where the topic has none.
    pub inherits: Option<&'static str>,
    /// What it does, or why it does nothing.
    pub about: &'static str,
}

/// What somebody has set for the broker: for this one alone, and for all there may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerStated {
    /// For this broker; counts before the other.
    pub this: Stated,
    /// For all brokers.
    pub all: Stated,
}

/// For whom a broker's setting is stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// This broker.
    This,
    /// All brokers.
    All,
}

impl BrokerStated {
    /// What is stated for `scope`.
    #[must_use]
    pub const fn of(&self, scope: Scope) -> &Stated {
        match scope {
            Scope::This => &self.this,
            Scope::All => &self.all,
        }
    }

    /// The value that holds, if anybody has stated one.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Arc<str>> {
        self.this.get(name).or_else(|| self.all.get(name))
    }

    pub(crate) fn replace(&mut self, scope: Scope, stated: Stated) {
        match scope {
            Scope::This => self.this = stated,
            Scope::All => self.all = stated,
        }
    }
}

/// A topic's setting with this name, or with this name in the HTTP API.
#[must_use]
pub fn topic_setting(name: &str) -> Option<&'static Setting> {
    let known = |setting: &&Setting| setting.name == name || setting.own == Some(name);
    TOPIC.iter().chain(DOOR).find(known)
}

/// The broker's setting with this name.
#[must_use]
pub fn broker_setting(name: &str) -> Option<&'static Setting> {
    BROKER.iter().find(|setting| setting.name == name)
}

/// The value of a topic's setting, as text.
#[must_use]
pub fn value_of(settings: &TopicSettings, setting: &Setting) -> Arc<str> {
    // What was stated is shown as it was written.
    if let Some(stated) = settings.stated.get(setting.name) {
        return Arc::clone(stated);
    }
    field::get(settings, setting.name).map_or_else(|| Arc::from(setting.default), Arc::from)
}

/// What holds for a topic of which nothing is stated.
#[must_use]
pub fn inherited(broker: &BrokerStated) -> TopicSettings {
    let mut settings = TopicSettings::default();
    follow(&mut settings, broker, |_| true);
    settings
}

/// Takes over what the broker says of the settings that the topic does not state and `which` picks.
pub(crate) fn follow(
    settings: &mut TopicSettings,
    broker: &BrokerStated,
    which: impl Fn(&Setting) -> bool,
) {
    for setting in TOPIC {
        let own = settings.stated.contains_key(setting.name);
        if setting.standing == Standing::Honoured && !own && which(setting) {
            let stated = setting.inherits.and_then(|name| broker.value(name));
            let value = stated.map_or(setting.default, |value| value);
            field::put(settings, setting.name, value).expect("a stated value was checked");
        }
    }
}

/// States what differs from the defaults, for settings that came without a list of what is stated.
pub(crate) fn state_differences(settings: &mut TopicSettings) {
    let default = TopicSettings::default();
    for setting in TOPIC {
        let value = field::get(settings, setting.name);
        if let Some(value) = value
            && field::get(&default, setting.name).as_ref() != Some(&value)
        {
            settings.stated.insert(setting.name.into(), value.into());
        }
    }
}

#[cfg(test)]
mod tests;
