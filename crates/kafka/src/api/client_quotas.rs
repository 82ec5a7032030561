//! `DescribeClientQuotas` and `AlterClientQuotas` (KIP-546): how much users and clients may ask for, by
//! the rules of `ClientQuotaControlManager`.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, OpData};
use kafka_protocol::messages::alter_client_quotas_response as altered;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response as described;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
};
use kafka_protocol::protocol::StrBytes;
use mulgil_broker::configure::{LimitEdit, SetQuotas};
use mulgil_broker::connection::Hangup;
use mulgil_broker::meta::quota::{Limit, Limits, Part, QuotaEntity};
use mulgil_broker::request::{Reply, Request};

use super::rows::{Refused, Rows};
use super::{Step, Turn, Waiting, only_reply};
use crate::to_wire::{message, text};
use crate::wire_errors;

/// What entities are made of (`ClientQuotaEntity`).
const USER: &str = "user";
const CLIENT: &str = "client-id";
const IP: &str = "ip";

/// How a component is matched.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// Millionths in a hundredth: percentages are kept so.
const MICRO: f64 = 1_000_000.0;

const fn name_of(limit: Limit) -> &'static str {
    match limit {
        Limit::ProduceBytes => "producer_byte_rate",
        Limit::ConsumeBytes => "consumer_byte_rate",
        Limit::RequestMicropercent => "request_percentage",
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates are told as doubles")]
fn value_of(limit: Limit, most: u64) -> f64 {
    match limit {
        Limit::ProduceBytes | Limit::ConsumeBytes => most as f64,
        Limit::RequestMicropercent => most as f64 / MICRO,
    }
}

pub(crate) fn describe(
    request: &DescribeClientQuotasRequest,
    turn: &Turn<'_>,
) -> Result<Step, Hangup> {
    let answer = DescribeClientQuotasResponse::default();
    let filter = match Filter::of(&request.components, request.strict) {
        Ok(filter) => filter,
        Err((error, why)) => {
            return turn.answer(
                &answer
                    .with_error_code(error.code())
                    .with_error_message(message(&why))
                    .with_entries(None),
            );
        }
    };
    let catalog = turn.catalog();
    let entities = catalog.quotas.entities();
    let entities = entities.filter(|(entity, _)| filter.takes(entity));
    let rows = entities.map(|(entity, limits)| entry(entity, limits));
    turn.answer(
        &answer
            .with_error_message(None)
            .with_entries(Some(rows.collect())),
    )
}

fn entry(entity: &QuotaEntity, limits: &Limits) -> described::EntryData {
    let part = |kind: &str, part: &Part| {
        let name = match part {
            Part::Absent => return None,
            Part::Default => None,
            Part::Named(name) => Some(text(name)),
        };
        let row = described::EntityData::default();
        Some(row.with_entity_type(text(kind)).with_entity_name(name))
    };
    let parts = [part(USER, &entity.user), part(CLIENT, &entity.client)];
    let values = limits.iter().map(|(limit, most)| {
        described::ValueData::default()
            .with_key(text(name_of(*limit)))
            .with_value(value_of(*limit, *most))
    });
    described::EntryData::default()
        .with_entity(parts.into_iter().flatten().collect())
        .with_values(values.collect())
}

/// Which entities are asked for.
struct Filter {
    user: Option<Match>,
    client: Option<Match>,
    /// No entity of addresses has limits here.
    ip: bool,
    /// Only entities that have nothing but what is matched.
    strict: bool,
}

enum Match {
    Is(Part),
    Any,
}

impl Filter {
    fn of(components: &[ComponentData], strict: bool) -> Result<Self, Refused> {
        let invalid = |why: String| (ResponseError::InvalidRequest, why);
        let mut filter = Self {
            user: None,
            client: None,
            ip: false,
            strict,
        };
        let mut seen = BTreeSet::new();
        for component in components {
            let kind = component.entity_type.as_str();
            if !seen.insert(kind) {
                return Err(invalid(format!("duplicate filter for entity type {kind}")));
            }
            let matched = match (component.match_type, &component._match) {
                (EXACT, Some(name)) => Match::Is(Part::Named(name.as_str().into())),
                (DEFAULT, None) => Match::Is(Part::Default),
                (ANY, None) => Match::Any,
                (EXACT, None) => return Err(invalid("an exact match needs a name".to_owned())),
                (DEFAULT | ANY, Some(_)) => {
                    return Err(invalid("only an exact match has a name".to_owned()));
                }
                (other, _) => return Err(invalid(format!("unknown match type {other}"))),
            };
            match kind {
                USER => filter.user = Some(matched),
                CLIENT => filter.client = Some(matched),
                IP => filter.ip = true,
                other => {
                    let why = format!("custom entity type {other}");
                    return Err((ResponseError::UnsupportedVersion, why));
                }
            }
        }
        if filter.ip && seen.len() > 1 {
            let why = "ip cannot be combined with other entity types".to_owned();
            return Err(invalid(why));
        }
        Ok(filter)
    }

    fn takes(&self, entity: &QuotaEntity) -> bool {
        let fits = |wanted: &Option<Match>, part: &Part| match wanted {
            None => !self.strict || *part == Part::Absent,
            Some(Match::Any) => *part != Part::Absent,
            Some(Match::Is(wanted)) => part == wanted,
        };
        !self.ip && fits(&self.user, &entity.user) && fits(&self.client, &entity.client)
    }
}

pub(crate) fn alter(request: AlterClientQuotasRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let mut rows = Rows::of(request.entries.len());
    let mut seen = BTreeSet::new();
    let mut entities = Vec::new();
    for entry in request.entries {
        let checked = entity_of(&entry.entity).and_then(|entity| {
            if !seen.insert(entity.clone()) {
                let why = "an entity is named more than once".to_owned();
                return Err((ResponseError::InvalidRequest, why));
            }
            let edits: Result<_, _> = entry.ops.iter().map(edit_of).collect();
            Ok((entity, edits?))
        });
        entities.extend(rows.add(entry.entity, checked));
    }
    let waits = Waits { rows };
    if entities.is_empty() {
        return waits.finish(turn);
    }
    let ask = SetQuotas {
        entities,
        validate_only: request.validate_only,
    };
    Ok(Step::Ask(vec![Request::SetQuotas(ask)], Box::new(waits)))
}

fn entity_of(parts: &[EntityData]) -> Result<QuotaEntity, Refused> {
    let invalid = |why: &str| (ResponseError::InvalidRequest, why.to_owned());
    let mut entity = QuotaEntity::default();
    for part in parts {
        let place = match part.entity_type.as_str() {
            USER => &mut entity.user,
            CLIENT => &mut entity.client,
            IP => {
                return Err(invalid(
                    "quotas by address are not supported by this broker",
                ));
            }
            _ => return Err(invalid("unknown type of client quota entity")),
        };
        if *place != Part::Absent {
            return Err(invalid("an entity type is named more than once"));
        }
        let name = part.entity_name.as_ref().map(StrBytes::as_str);
        *place = match name {
            None => Part::Default,
            Some("") => return Err(invalid("an entity's name is empty")),
            Some(name) => Part::Named(name.into()),
        };
    }
    if entity == QuotaEntity::default() {
        return Err(invalid("a client quota entity is empty"));
    }
    Ok(entity)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is cast was found to be a number in the range"
)]
fn edit_of(op: &OpData) -> Result<LimitEdit, Refused> {
    let key = op.key.as_str();
    let invalid = |why: String| (ResponseError::InvalidRequest, why);
    let limit = Limit::ALL.into_iter().find(|limit| name_of(*limit) == key);
    let Some(limit) = limit else {
        let why = match key {
            "controller_mutation_rate" | "connection_creation_rate" => {
                format!("{key} is not supported by this broker")
            }
            _ => format!("invalid configuration key {key}"),
        };
        return Err(invalid(why));
    };
    if op.remove {
        return Ok((limit, None));
    }
    let value = match limit {
        Limit::ProduceBytes | Limit::ConsumeBytes if op.value.fract() != 0.0 => {
            return Err(invalid(format!("{key} must be a whole number")));
        }
        Limit::ProduceBytes | Limit::ConsumeBytes => op.value,
        Limit::RequestMicropercent => (op.value * MICRO).round(),
    };
    // Beyond 2^53 a double does not tell one number from the next.
    if !(1.0..=9e15).contains(&value) {
        return Err(invalid(format!(
            "{key} must be greater than 0, and not so large"
        )));
    }
    Ok((limit, Some(value as u64)))
}

#[derive(Debug)]
struct Waits {
    rows: Rows<Vec<EntityData>>,
}

impl Waiting for Waits {
    fn answered(
        mut self: Box<Self>,
        mut replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        let outcomes = only_reply!(replies, SetQuotas);
        self.rows.fill(outcomes, |_, why| {
            (wire_errors::configure(&why, false), why.to_string())
        });
        self.finish(turn)
    }
}

impl Waits {
    fn finish(self, turn: &Turn<'_>) -> Result<Step, Hangup> {
        let rows = self.rows.told().map(|(entity, code, why)| {
            let entity = entity.into_iter().map(|part| {
                altered::EntityData::default()
                    .with_entity_type(part.entity_type)
                    .with_entity_name(part.entity_name)
            });
            altered::EntryData::default()
                .with_entity(entity.collect())
                .with_error_code(code)
                .with_error_message(why)
        });
        turn.answer(&AlterClientQuotasResponse::default().with_entries(rows.collect()))
    }
}
