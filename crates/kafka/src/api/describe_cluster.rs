//! `DescribeCluster`: which brokers there are (KIP-700). There is this one.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use mulgil_broker::connection::Hangup;

use super::{Step, Turn};
use crate::to_wire::{CLUSTER_OPERATIONS, message, operations, text, this_broker};

/// The endpoints that are asked for are brokers'.
const BROKERS: i8 = 1;
/// The endpoints that are asked for are controllers' (KIP-919).
const CONTROLLERS: i8 = 2;

pub(crate) fn start(request: &DescribeClusterRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    // `AuthHelper.computeDescribeClusterResponse`.
    let refusal = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ResponseError::MismatchedEndpointType,
            "the request was sent to a broker, not to a controller",
        )),
        _ => Some((
            ResponseError::UnsupportedEndpointType,
            "unknown endpoint type",
        )),
    };
    if let Some((error, why)) = refusal {
        return turn.answer(
            &DescribeClusterResponse::default()
                .with_error_code(error.code())
                .with_error_message(message(why)),
        );
    }
    let options = &turn.shared.options;
    let broker = DescribeClusterBroker::default()
        .with_broker_id(this_broker(options))
        .with_host(text(&options.advertised_host))
        .with_port(i32::from(options.advertised_port));
    let asked = request.include_cluster_authorized_operations;
    turn.answer(
        &DescribeClusterResponse::default()
            .with_cluster_id(text(&options.cluster_id))
            .with_controller_id(this_broker(options))
            .with_brokers(vec![broker])
            .with_cluster_authorized_operations(operations(asked, CLUSTER_OPERATIONS)),
    )
}
