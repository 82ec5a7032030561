//! `DescribeConfigs`: settings of topics and of the broker (KIP-226, KIP-524, KIP-569), from the
//! picture of what is durable.
//!
//! What is named more than once is told once, and an answer has a bound: an element of a request is
//! three bytes, and all settings of a resource are ten thousand.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::meta::settings::{BROKER, Scope};

use super::configs::{self, Detail, resource};
use super::rows::Refused;
use super::{Step, Turn};
use crate::from_wire::{is_topic_name, topic_name};
use crate::to_wire::message;

/// The first version with types and documentation.
const SINCE_TYPES: i16 = 3;

/// Most bytes of memory of the rows of one answer: those of ten thousand topics with all that can be
/// asked for, and of three times as many with the values alone, as tools ask for.
const ROWS_BYTES_MAX: usize = 256 << 20;

pub(crate) fn start(request: DescribeConfigsRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let detail = Detail {
        synonyms: request.include_synonyms,
        types: turn.since(SINCE_TYPES),
        documentation: request.include_documentation,
    };
    let mut left = ROWS_BYTES_MAX;
    let results = each_once(request.resources).into_iter().map(|asked| {
        let told = if left > 0 {
            describe(&asked, detail, turn).and_then(|rows| within(&mut left, rows))
        } else {
            Err(too_much())
        };
        let result = DescribeConfigsResult::default()
            .with_resource_type(asked.resource_type)
            .with_resource_name(asked.resource_name);
        match told {
            Ok(configs) => result.with_configs(configs).with_error_message(None),
            Err((error, why)) => result
                .with_error_code(error.code())
                .with_error_message(message(&why)),
        }
    });
    let results = results.collect();
    turn.answer(&DescribeConfigsResponse::default().with_results(results))
}

/// Each resource once, in the place where it is named first, with all settings that are asked for.
fn each_once(resources: Vec<DescribeConfigsResource>) -> Vec<DescribeConfigsResource> {
    let mut places = BTreeMap::new();
    let mut once: Vec<DescribeConfigsResource> = Vec::new();
    for asked in resources {
        let key = (asked.resource_type, asked.resource_name.clone());
        let at = *places.entry(key).or_insert(once.len());
        let Some(earlier) = once.get_mut(at) else {
            once.push(asked);
            continue;
        };
        let all = |keys: &Option<Vec<_>>| keys.as_ref().is_none_or(Vec::is_empty);
        if all(&earlier.configuration_keys) || all(&asked.configuration_keys) {
            earlier.configuration_keys = None;
        } else if let Some(keys) = &mut earlier.configuration_keys {
            keys.extend(asked.configuration_keys.into_iter().flatten());
        }
    }
    once
}

/// Takes the rows of a resource from what is left for an answer; when they do not fit, nothing is.
fn within(
    left: &mut usize,
    rows: Vec<DescribeConfigsResourceResult>,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let bytes = rows.iter().map(configs::memory_bytes).sum();
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(0);
    if rest.is_some() {
        Ok(rows)
    } else {
        Err(too_much())
    }
}

fn too_much() -> Refused {
    let why = "too many settings for one answer: ask for fewer resources at once".to_owned();
    (ResponseError::PolicyViolation, why)
}

fn describe(
    asked: &DescribeConfigsResource,
    detail: Detail,
    turn: &Turn<'_>,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let (catalog, options) = (turn.catalog(), &turn.shared.options);
    // No names at all, or null: every setting. Names that are not known are passed over.
    let keys = asked.configuration_keys.as_deref().unwrap_or_default();
    let wanted = |name: &str| keys.is_empty() || keys.iter().any(|key| **key == *name);
    let name = &asked.resource_name;
    match asked.resource_type {
        resource::TOPIC => {
            let topic = catalog.topic(&topic_name(name));
            let topic = topic.ok_or_else(|| no_topic(name))?;
            Ok(configs::rows_of_topic(
                topic, &catalog, options, wanted, detail,
            ))
        }
        resource::BROKER => {
            let scope = broker_scope(name, options.node_id)?;
            let rows = BROKER.iter().filter(|setting| wanted(setting.name));
            let rows = rows.filter_map(|setting| {
                let values = match scope {
                    Scope::This => configs::of_broker(setting, &catalog.broker, options),
                    // Of all brokers only what was stated is told.
                    Scope::All => configs::of_scope(setting, &catalog.broker, scope),
                };
                configs::row(setting, values, detail)
            });
            Ok(rows.collect())
        }
        other => Err(unsupported(other)),
    }
}

/// Which settings a broker's name means: a number this broker's, an empty one those of all
/// (`ConfigAdminManager.validateResourceNameIsCurrentNodeId`).
pub(super) fn broker_scope(name: &str, this: i32) -> Result<Scope, Refused> {
    if name.is_empty() {
        return Ok(Scope::All);
    }
    let why = match name.parse::<i32>() {
        Ok(id) if id == this => return Ok(Scope::This),
        Ok(id) => format!("unexpected broker id, expected {this} or an empty string, but got {id}"),
        Err(_) => format!("broker id must be a number, but it is: {name}"),
    };
    Err((ResponseError::InvalidRequest, why))
}

/// Why there is no topic of that name.
pub(super) fn no_topic(name: &str) -> Refused {
    if is_topic_name(name) {
        let why = "there is no such topic".to_owned();
        (ResponseError::UnknownTopicOrPartition, why)
    } else {
        let why = "topic name is illegal".to_owned();
        (ResponseError::InvalidTopicException, why)
    }
}

/// Settings that this broker does not have for anybody.
pub(super) fn unsupported(kind: i8) -> Refused {
    let what = match kind {
        resource::GROUP => "groups have no settings of their own in this broker",
        resource::BROKER_LOGGER => "loggers cannot be set through this broker",
        resource::CLIENT_METRICS => "this broker takes no client metrics",
        _ => "unknown resource type",
    };
    (ResponseError::InvalidRequest, what.to_owned())
}
