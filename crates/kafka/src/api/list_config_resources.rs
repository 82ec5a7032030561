//! `ListConfigResources` (KIP-1142): what has settings. Version 0 knows of client metrics alone, which
//! this broker does not take.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use mulgil_broker::connection::Hangup;
use mulgil_broker::meta::schema::DEFAULT_VHOST;

use super::configs::resource;
use super::{Step, Turn};
use crate::to_wire::text;

/// The first version that lists other resources.
const SINCE_ALL: i16 = 1;

/// All that can be asked for.
const KINDS: [i8; 5] = [
    resource::TOPIC,
    resource::BROKER,
    resource::BROKER_LOGGER,
    resource::CLIENT_METRICS,
    resource::GROUP,
];

pub(crate) fn start(request: &ListConfigResourcesRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    let answer = ListConfigResourcesResponse::default();
    let asked = &request.resource_types;
    if asked.iter().any(|kind| !KINDS.contains(kind)) {
        // `KafkaApis.handleListConfigResources`.
        let error = ResponseError::UnsupportedVersion;
        return turn.answer(&answer.with_error_code(error.code()));
    }
    if !turn.since(SINCE_ALL) {
        return turn.answer(&answer);
    }
    let wanted = |kind: i8| asked.is_empty() || asked.contains(&kind);
    let row = |kind: i8, name: &str| {
        ConfigResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
    };
    let mut rows = Vec::new();
    if wanted(resource::TOPIC) {
        let catalog = turn.catalog();
        let names = catalog.topics.keys();
        let names = names.filter(|topic| &*topic.vhost == DEFAULT_VHOST);
        rows.extend(names.map(|topic| row(resource::TOPIC, &topic.name)));
    }
    if wanted(resource::BROKER) {
        let id = turn.shared.options.node_id.to_string();
        rows.push(row(resource::BROKER, &id));
    }
    turn.answer(&answer.with_config_resources(rows))
}
