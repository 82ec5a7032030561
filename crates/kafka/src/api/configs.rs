//! Settings as Kafka tells of them: names, values, where each value comes from, and what else could
//! have held (`ConfigHelper`, KIP-226). The rows themselves are those of the one table of settings.

use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsSynonym,
};
use kafka_protocol::protocol::StrBytes;
use mulgil_broker::meta::catalog::Catalog;
use mulgil_broker::meta::schema::Topic;
use mulgil_broker::meta::settings::{
    BrokerStated, Edit, Operation, Scope, Setting, Standing, Stated, TOPIC, Takes, broker_setting,
    edit, value_of,
};
use mulgil_broker::meta::{schema::TopicSettings, settings::SettingRefusal};

use crate::shared::KafkaOptions;
use crate::to_wire::text;

/// What a setting belongs to (`ConfigResource.Type`).
pub(crate) mod resource {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const BROKER: i8 = 4;
    pub(crate) const BROKER_LOGGER: i8 = 8;
    pub(crate) const CLIENT_METRICS: i8 = 16;
    pub(crate) const GROUP: i8 = 32;
}

/// Where a value comes from (`ConfigSource`).
mod source {
    pub(super) const TOPIC: i8 = 1;
    pub(super) const THIS_BROKER: i8 = 2;
    pub(super) const ALL_BROKERS: i8 = 3;
    pub(super) const STATIC: i8 = 4;
    pub(super) const DEFAULT: i8 = 5;
}

/// One value that holds, or would.
pub(crate) struct Value {
    name: &'static str,
    pub(crate) value: String,
    pub(crate) source: i8,
}

/// The values of a topic's setting, the one that holds first.
pub(crate) fn of_topic(
    settings: &TopicSettings,
    setting: &'static Setting,
    broker: &BrokerStated,
    options: &KafkaOptions,
) -> Vec<Value> {
    let mut values = Vec::new();
    if settings.stated.contains_key(setting.name) {
        values.push(Value {
            name: setting.name,
            value: value_of(settings, setting).to_string(),
            source: source::TOPIC,
        });
    }
    let inherits = setting.inherits.and_then(broker_setting);
    match inherits {
        Some(inherits) => values.extend(of_broker(inherits, broker, options)),
        None if values.is_empty() => values.push(Value {
            name: setting.name,
            value: value_of(settings, setting).to_string(),
            source: source::DEFAULT,
        }),
        None => {}
    }
    values
}

/// The values of a broker's setting, the one that holds first.
pub(crate) fn of_broker(
    setting: &'static Setting,
    broker: &BrokerStated,
    options: &KafkaOptions,
) -> Vec<Value> {
    let name = setting.name;
    let stated = |stated: &Stated, source| {
        let value = stated.get(name)?.to_string();
        Some(Value {
            name,
            value,
            source,
        })
    };
    let mut values = Vec::new();
    values.extend(stated(&broker.this, source::THIS_BROKER));
    values.extend(stated(&broker.all, source::ALL_BROKERS));
    if let Some(value) = at_start(name, options).filter(|value| value != setting.default) {
        let source = source::STATIC;
        values.push(Value {
            name,
            value,
            source,
        });
    }
    values.push(Value {
        name,
        value: setting.default.to_owned(),
        source: source::DEFAULT,
    });
    values
}

/// What a setting that is fixed while the broker runs was given at the start.
fn at_start(name: &str, options: &KafkaOptions) -> Option<String> {
    Some(match name {
        "advertised.listeners" => {
            let (host, port) = (&options.advertised_host, options.advertised_port);
            format!("PLAINTEXT://{host}:{port}")
        }
        "auto.create.topics.enable" => options.auto_create_topics.to_string(),
        "broker.id" | "node.id" => options.node_id.to_string(),
        "fetch.max.bytes" => options.fetch_bytes_max.to_string(),
        "num.partitions" => options.partitions_default.to_string(),
        "socket.request.max.bytes" => options.request_bytes_max.to_string(),
        _ => return None,
    })
}

/// All settings of a topic that holds `settings`, each with the value that holds.
pub(crate) fn topic_rows<'a>(
    settings: &'a TopicSettings,
    catalog: &'a Catalog,
    options: &'a KafkaOptions,
) -> impl Iterator<Item = (&'static Setting, Value)> + 'a {
    TOPIC.iter().filter_map(|setting| {
        let values = of_topic(settings, setting, &catalog.broker, options);
        Some((setting, values.into_iter().next()?))
    })
}

/// How much of a setting is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Detail {
    pub(crate) synonyms: bool,
    /// The type of a setting can be told, from version 3 on.
    pub(crate) types: bool,
    pub(crate) documentation: bool,
}

/// A row of an answer, of a setting with these values.
pub(crate) fn row(
    setting: &Setting,
    values: Vec<Value>,
    detail: Detail,
) -> Option<DescribeConfigsResourceResult> {
    let first = values.first()?;
    let row = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(setting.name))
        .with_value(Some(text(&first.value)))
        .with_read_only(setting.standing == Standing::Fixed)
        .with_config_source(first.source);
    let row = if detail.types {
        let about = detail.documentation.then(|| documentation(setting));
        row.with_config_type(type_of(setting.takes))
            .with_documentation(about)
    } else {
        row
    };
    if !detail.synonyms {
        return Some(row);
    }
    let synonyms = values.into_iter().map(|value| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_static_str(value.name))
            .with_value(Some(text(&value.value)))
            .with_source(value.source)
    });
    Some(row.with_synonyms(synonyms.collect()))
}

/// What is told of a setting to those who ask.
fn documentation(setting: &Setting) -> StrBytes {
    let about = setting.about;
    match setting.standing {
        Standing::Honoured | Standing::Fixed | Standing::Door => StrBytes::from_static_str(about),
        Standing::Meaningless => text(&format!("Taken, but means nothing here. {about}")),
        Standing::Only => text(&format!("Only {} is possible: {about}", setting.default)),
    }
}

/// What a row takes in memory, and with its names on the wire.
pub(crate) fn memory_bytes(row: &DescribeConfigsResourceResult) -> usize {
    let len = |text: &Option<StrBytes>| text.as_ref().map_or(0, |text| text.len());
    let synonyms = row.synonyms.iter().map(|synonym| {
        size_of::<DescribeConfigsSynonym>() + synonym.name.len() + len(&synonym.value)
    });
    size_of::<DescribeConfigsResourceResult>()
        + row.name.len()
        + len(&row.value)
        + len(&row.documentation)
        + synonyms.sum::<usize>()
}

/// `ConfigEntry.ConfigType`.
const fn type_of(takes: Takes) -> i8 {
    match takes {
        Takes::Bool => 1,
        Takes::Word(_) | Takes::Text | Takes::Document => 2,
        Takes::Int(..) => 3,
        Takes::Long(..) => 5,
        Takes::Fraction => 6,
        Takes::Words(_) | Takes::Texts => 7,
    }
}

/// What holds for a new topic whose creator states this.
///
/// # Errors
///
/// Says what is wrong, for the client.
pub(crate) fn created<'a>(
    catalog: &Catalog,
    stated: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<TopicSettings, SettingRefusal> {
    // A value of null is the default, as in `ConfigurationControlManager`.
    let edits = stated.map(|(name, value)| Edit {
        name: name.into(),
        operation: value.map_or(Operation::Unset, |value| Operation::Set(value.into())),
    });
    edit::stated_topic(&catalog.broker, &edits.collect::<Vec<_>>())
}

/// What is stated of one scope of the broker, for who asks for the defaults of all brokers.
pub(crate) fn of_scope(
    setting: &'static Setting,
    broker: &BrokerStated,
    scope: Scope,
) -> Vec<Value> {
    let (name, source) = match scope {
        Scope::This => (setting.name, source::THIS_BROKER),
        Scope::All => (setting.name, source::ALL_BROKERS),
    };
    let value = broker.of(scope).get(name).map(ToString::to_string);
    let value = value.map(|value| Value {
        name,
        value,
        source,
    });
    value.into_iter().collect()
}

/// All rows of a topic, as asked.
pub(crate) fn rows_of_topic(
    topic: &Topic,
    catalog: &Catalog,
    options: &KafkaOptions,
    wanted: impl Fn(&str) -> bool,
    detail: Detail,
) -> Vec<DescribeConfigsResourceResult> {
    let rows = TOPIC.iter().filter(|setting| wanted(setting.name));
    rows.filter_map(|setting| {
        let values = of_topic(&topic.settings, setting, &catalog.broker, options);
        row(setting, values, detail)
    })
    .collect()
}
