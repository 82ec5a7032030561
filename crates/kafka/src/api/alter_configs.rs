//! `AlterConfigs` and `IncrementalAlterConfigs` (KIP-133, KIP-339): changing settings of topics and of
//! the broker.
//!
//! The older one states everything anew, the newer one edits. What is checked here is what the
//! protocol says of the request; the table of settings says the rest, in the lane.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as Row;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalRow;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;
use mulgil_broker::configure::{Configure, ConfigureRefusal, Configured};
use mulgil_broker::connection::Hangup;
use mulgil_broker::meta::settings::{Edit, Operation};
use mulgil_broker::request::{Reply, Request, TopicRef};

use super::configs::resource;
use super::describe_configs::{broker_scope, no_topic, unsupported};
use super::rows::{Refused, Rows};
use super::{Step, Turn, Waiting, in_pieces, joined_replies};
use crate::from_wire::{is_topic_name, topic_name};
use crate::wire_errors;

/// What an edit does (`AlterConfigOp.OpType`).
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// What is asked for one resource, in both requests.
struct Wish {
    kind: i8,
    name: StrBytes,
    /// Names, operations, values.
    configs: Vec<(StrBytes, i8, Option<StrBytes>)>,
}

pub(crate) fn start(request: AlterConfigsRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let wishes = request.resources.into_iter().map(|asked| Wish {
        kind: asked.resource_type,
        name: asked.resource_name,
        configs: asked
            .configs
            .into_iter()
            .map(|config| (config.name, SET, config.value))
            .collect(),
    });
    ask(wishes.collect(), true, request.validate_only, turn)
}

pub(crate) fn start_incremental(
    request: IncrementalAlterConfigsRequest,
    turn: &Turn<'_>,
) -> Result<Step, Hangup> {
    let wishes = request.resources.into_iter().map(|asked| Wish {
        kind: asked.resource_type,
        name: asked.resource_name,
        configs: asked
            .configs
            .into_iter()
            .map(|config| (config.name, config.config_operation, config.value))
            .collect(),
    });
    ask(wishes.collect(), false, request.validate_only, turn)
}

fn ask(
    wishes: Vec<Wish>,
    replace: bool,
    validate_only: bool,
    turn: &Turn<'_>,
) -> Result<Step, Hangup> {
    let mut rows = Rows::of(wishes.len());
    let mut named = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for wish in &wishes {
        let resource = (wish.kind, wish.name.clone());
        if !named.insert(resource.clone()) {
            twice.insert(resource);
        }
    }
    let mut targets = Vec::new();
    for wish in wishes {
        let checked = if twice.contains(&(wish.kind, wish.name.clone())) {
            let why = "each resource must appear at most once".to_owned();
            Err((ResponseError::InvalidRequest, why))
        } else {
            prepare(&wish, turn)
        };
        targets.extend(rows.add((wish.kind, wish.name), checked));
    }
    let waits = Waits { rows, replace };
    if targets.is_empty() {
        return waits.finish(turn);
    }
    let piece = |targets| Configure {
        targets,
        replace,
        validate_only,
    };
    let asks = in_pieces(targets, |targets| Request::Configure(piece(targets)));
    Ok(Step::Ask(asks, Box::new(waits)))
}

fn prepare(wish: &Wish, turn: &Turn<'_>) -> Result<(Configured, Vec<Edit>), Refused> {
    let target = match wish.kind {
        resource::TOPIC if is_topic_name(&wish.name) => {
            Configured::Topic(TopicRef::Name(topic_name(&wish.name)))
        }
        resource::TOPIC => return Err(no_topic(&wish.name)),
        resource::BROKER => {
            Configured::Broker(broker_scope(&wish.name, turn.shared.options.node_id)?)
        }
        other => return Err(unsupported(other)),
    };
    let invalid = |why: String| (ResponseError::InvalidRequest, why);
    let mut named = BTreeSet::new();
    let mut edits = Vec::with_capacity(wish.configs.len());
    for (name, operation, value) in &wish.configs {
        if !named.insert(name) {
            return Err(invalid(format!("duplicate config key {name}")));
        }
        let value = || {
            let value = value.as_ref().map(|value| value.as_str().into());
            value.ok_or_else(|| invalid(format!("null value not supported for {name}")))
        };
        let operation = match *operation {
            SET => Operation::Set(value()?),
            DELETE => Operation::Unset,
            APPEND => Operation::Append(value()?),
            SUBTRACT => Operation::Subtract(value()?),
            other => return Err(invalid(format!("unknown operation {other} for {name}"))),
        };
        edits.push(Edit {
            name: name.as_str().into(),
            operation,
        });
    }
    Ok((target, edits))
}

#[derive(Debug)]
struct Waits {
    /// By kind and name of the resource.
    rows: Rows<(i8, StrBytes)>,
    /// Whether this is the older request.
    replace: bool,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let outcomes = joined_replies!(replies, Configure);
        self.rows.fill(outcomes, |(kind, _), refusal| {
            refused(&refusal, *kind == resource::BROKER)
        });
        self.finish(turn)
    }
}

fn refused(refusal: &ConfigureRefusal, of_broker: bool) -> Refused {
    let error = wire_errors::configure(refusal, of_broker);
    (error, refusal.to_string())
}

impl Waits {
    fn finish(self, turn: &Turn<'_>) -> Result<Step, Hangup> {
        let rows = self.rows.told();
        if self.replace {
            let rows = rows.map(|((kind, name), code, why)| {
                Row::default()
                    .with_resource_type(kind)
                    .with_resource_name(name)
                    .with_error_code(code)
                    .with_error_message(why)
            });
            return turn.answer(&AlterConfigsResponse::default().with_responses(rows.collect()));
        }
        let rows = rows.map(|((kind, name), code, why)| {
            IncrementalRow::default()
                .with_resource_type(kind)
                .with_resource_name(name)
                .with_error_code(code)
                .with_error_message(why)
        });
        let answer = IncrementalAlterConfigsResponse::default();
        turn.answer(&answer.with_responses(rows.collect()))
    }
}
