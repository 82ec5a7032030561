//! What the table promises: each row is what it says.

use mulgil_record::ids::TopicId;

use super::edit::{edit_broker, edit_topic, stated_topic};
use super::*;
use crate::schema::Cleanup;
use crate::state::Change;

fn set(name: &str, value: &str) -> Edit {
    Edit {
        name: name.into(),
        operation: Operation::Set(value.into()),
    }
}

fn unset(name: &str) -> Edit {
    Edit {
        name: name.into(),
        operation: Operation::Unset,
    }
}

#[test]
fn every_row_keeps_to_what_it_says() {
    let settings = TopicSettings::default();
    for rows in [TOPIC, BROKER] {
        assert!(rows.windows(2).all(|pair| pair[0].name < pair[1].name));
        for row in rows {
            let default = row.takes.check(row.default);
            assert_eq!(default.as_deref(), Ok(row.default), "{}", row.name);
            assert!(row.about.ends_with('.'), "{}", row.name);
        }
    }
    for row in TOPIC {
        let value = field::get(&settings, row.name);
        let field = match row.standing {
            Standing::Honoured => Some(true),
            Standing::Meaningless => Some(false),
            // A queue's topic has what nobody can set.
            Standing::Only | Standing::Fixed | Standing::Door => None,
        };
        assert!(
            field.is_none_or(|field| field == value.is_some()),
            "{} has a field if it is honoured, and none if it means nothing",
            row.name
        );
        assert!(
            value.is_none_or(|value| value == row.default),
            "{}",
            row.name
        );
        assert_ne!(row.standing, Standing::Fixed, "{}", row.name);
        if let Some(broker) = row
            .inherits
            .map(|name| broker_setting(name).expect("a row"))
        {
            assert_eq!((broker.takes, broker.default), (row.takes, row.default));
            assert_eq!(broker.standing, row.standing);
        }
    }
}

#[test]
fn every_honoured_setting_moves_its_field_and_goes_back() {
    let broker = BrokerStated::default();
    let values = [
        ("cleanup.policy", "compact"),
        ("compression.type", "zstd"),
        ("delete.retention.ms", "5"),
        ("max.compaction.lag.ms", "77"),
        ("max.message.bytes", "9"),
        ("message.timestamp.after.max.ms", "1"),
        ("message.timestamp.before.max.ms", "2"),
        ("message.timestamp.type", "LogAppendTime"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("min.compaction.lag.ms", "7"),
        ("mulgil.durability", "os"),
        ("mulgil.keep.at.least.ms", "11"),
        ("mulgil.read.headers", "true"),
        ("mulgil.reclaim.on.ack", "true"),
        ("retention.bytes", "3"),
        ("retention.ms", "-1"),
    ];
    let honoured = TOPIC
        .iter()
        .filter(|row| row.standing == Standing::Honoured);
    assert_eq!(honoured.count(), values.len());
    for (name, value) in values {
        let default = TopicSettings::default();
        let changed = edit_topic(&default, &broker, &[set(name, value)]).unwrap();
        assert_eq!(field::get(&changed, name).as_deref(), Some(value), "{name}");
        let mut unstated = changed.clone();
        unstated.stated.clear();
        assert_ne!(unstated, default, "{name} has no field");
        let back = edit_topic(&changed, &broker, &[unset(name)]).unwrap();
        assert_eq!(back, default, "{name}");
    }
}

#[test]
fn what_is_not_possible_is_refused_and_changes_nothing() {
    let (settings, broker) = (TopicSettings::default(), BrokerStated::default());
    let refused = |edit: Edit| {
        edit_topic(&settings, &broker, &[edit])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refused(set("nope", "1")), "unknown topic config name: nope");
    for (name, value) in [
        ("retention.ms", "-2"),
        ("retention.ms", "1.5"),
        ("retention.ms", ""),
        ("max.message.bytes", "3000000000"),
        ("cleanup.policy", "foo"),
        ("compression.type", "none"),
        ("message.timestamp.type", "createtime"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("preallocate", "yes"),
        ("segment.bytes", "5"),
    ] {
        let why = refused(set(name, value));
        assert!(why.contains(name) && why.contains("it takes"), "{why}");
    }
    let why = refused(set("min.insync.replicas", "2"));
    assert!(
        why.contains("only 1 is possible, there is one broker"),
        "{why}"
    );
    assert!(edit_topic(&settings, &broker, &[set("min.insync.replicas", "1")]).is_ok());
    let append = Operation::Append("5".into());
    let why = refused(Edit {
        name: "retention.ms".into(),
        operation: append,
    });
    assert!(why.contains("not a list"), "{why}");
    let lags = [
        set("min.compaction.lag.ms", "10"),
        set("max.compaction.lag.ms", "5"),
    ];
    let why = edit_topic(&settings, &broker, &lags).unwrap_err();
    assert_eq!(why, SettingRefusal::Lags { least: 10, most: 5 });
}

#[test]
fn lists_grow_and_shrink() {
    let (mut settings, broker) = (TopicSettings::default(), BrokerStated::default());
    let mut then = |operation: Operation| {
        let edit = Edit {
            name: "cleanup.policy".into(),
            operation,
        };
        settings = edit_topic(&settings, &broker, &[edit]).unwrap();
        let stated = settings.stated.get("cleanup.policy").cloned();
        (stated.unwrap(), settings.cleanup)
    };
    let (both, neither) = (
        Cleanup {
            delete: true,
            compact: true,
        },
        Cleanup {
            delete: false,
            compact: false,
        },
    );
    assert_eq!(
        then(Operation::Append("compact".into())),
        ("delete,compact".into(), both)
    );
    let compact = Cleanup {
        delete: false,
        compact: true,
    };
    assert_eq!(
        then(Operation::Subtract("delete".into())),
        ("compact".into(), compact)
    );
    assert_eq!(then(Operation::Set("".into())), ("".into(), neither));
}

#[test]
fn what_means_nothing_is_shown_as_it_was_set() {
    let broker = BrokerStated::default();
    let edit = set("segment.bytes", " 2097152 ");
    let settings = edit_topic(&TopicSettings::default(), &broker, &[edit]).unwrap();
    let row = topic_setting("segment.bytes").unwrap();
    assert_eq!(&*value_of(&settings, row), "2097152");
    assert_eq!(&*value_of(&TopicSettings::default(), row), "1073741824");
}

#[test]
fn topics_follow_the_broker_where_they_state_nothing() {
    let mut broker = BrokerStated::default();
    let stated = edit_broker(&broker, Scope::All, &[set("log.retention.ms", "5")], false).unwrap();
    broker.replace(Scope::All, stated);
    let stated = edit_broker(&broker, Scope::This, &[set("log.retention.ms", "6")], false).unwrap();
    broker.replace(Scope::This, stated);
    assert_eq!(inherited(&broker).retention_ms, Some(6));
    let own = stated_topic(&broker, &[set("retention.ms", "7")]).unwrap();
    assert_eq!(own.retention_ms, Some(7));
    let back = edit_topic(&own, &broker, &[unset("retention.ms")]).unwrap();
    assert_eq!(back.retention_ms, Some(6));
    let stated = edit_broker(&broker, Scope::This, &[], true).unwrap();
    broker.replace(Scope::This, stated);
    assert_eq!(inherited(&broker).retention_ms, Some(5));
    let fixed = edit_broker(&broker, Scope::This, &[set("num.partitions", "2")], false);
    assert_eq!(fixed, Err(SettingRefusal::Fixed("num.partitions")));
    let unknown = edit_broker(&broker, Scope::This, &[set("nope", "2")], false);
    assert_eq!(unknown, Err(SettingRefusal::UnknownOfBroker("nope".into())));
}

#[test]
fn a_value_that_no_entry_could_hold_is_refused_for_every_setting() {
    let long = "0".repeat(70_000);
    for row in TOPIC.iter().chain(BROKER) {
        let words = format!("a,{long}");
        for value in [
            &long,
            &format!("0.5{long}"),
            &words,
            &words.replace('0', ",b"),
        ] {
            assert!(row.takes.check(value).is_err(), "{}", row.name);
        }
    }
    assert_eq!(Takes::Fraction.check(" 0.250 ").as_deref(), Ok("0.25"));
    let tiny = Takes::Fraction.check("5e-324").unwrap();
    assert!(tiny.len() < 400, "written out, it is short still");
    let name = "min.cleanable.dirty.ratio";
    let edit = set(name, &format!("0.5{long}"));
    let altered = edit_topic(&TopicSettings::default(), &BrokerStated::default(), &[edit]);
    assert!(matches!(altered, Err(SettingRefusal::Value { .. })));
}

#[test]
fn the_longest_values_that_are_taken_can_be_written_down() {
    let text = "x".repeat(value::VALUE_BYTES_MAX);
    let longest = |row: &Setting| {
        let candidates = [text.as_str(), "5e-324", "1", row.default];
        let checked = candidates
            .into_iter()
            .filter_map(|v| row.takes.check(v).ok());
        checked.max_by_key(String::len).unwrap()
    };
    let stated = TOPIC
        .iter()
        .map(|row| (row.name.into(), longest(row).into()))
        .collect();
    let altered = Change::TopicAltered {
        id: TopicId(1),
        settings: TopicSettings {
            stated,
            ..TopicSettings::default()
        },
    };
    assert_eq!(Change::decode(&altered.encode()), Ok(altered));
}
