//! `FindCoordinator`: which broker looks after a group. This one does.
//!
//! Transactions and share groups are not served. No code says that. For transactions it is the one that
//! all clients give up on at once, telling the message beside it (librdkafka asks again for ever on any
//! other; `TransactionManager.FindCoordinatorHandler` of the Java client), for share groups the one of a
//! broker that has them switched off (`KafkaApis.getCoordinator`).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use mulgil_broker::connection::Hangup;

use super::{Step, Turn};
use crate::to_wire::{message, text, this_broker};

/// The key is a group's (`CoordinatorType.GROUP`).
const GROUP: i8 = 0;
/// The key is a transactional id (`CoordinatorType.TRANSACTION`).
const TRANSACTION: i8 = 1;
/// The key is a share group's and a partition's (`CoordinatorType.SHARE`).
const SHARE: i8 = 2;

/// The first version that asks for several at once (KIP-699).
const SINCE_LISTS: i16 = 4;

pub(crate) fn start(request: FindCoordinatorRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    if turn.since(SINCE_LISTS) {
        let keys = request.coordinator_keys.into_iter();
        let found = keys
            .map(|key| coordinator(key, request.key_type, turn))
            .collect();
        return turn.answer(&FindCoordinatorResponse::default().with_coordinators(found));
    }
    let found = coordinator(request.key, request.key_type, turn);
    let mut response = FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port);
    if turn.since(1) {
        response.error_message = found.error_message;
    }
    turn.answer(&response)
}

fn coordinator(key: StrBytes, key_type: i8, turn: &Turn<'_>) -> Coordinator {
    let options = &turn.shared.options;
    let coordinator = Coordinator::default().with_key(key);
    if key_type == GROUP {
        return coordinator
            .with_node_id(this_broker(options))
            .with_host(text(&options.advertised_host))
            .with_port(i32::from(options.advertised_port))
            .with_error_message(None);
    }
    let (error, why) = match key_type {
        TRANSACTION => (
            ResponseError::TransactionalIdAuthorizationFailed,
            "transactions are not supported by this broker",
        ),
        SHARE => (
            ResponseError::InvalidRequest,
            "share groups are not supported by this broker",
        ),
        _ => (ResponseError::InvalidRequest, "unknown type of coordinator"),
    };
    coordinator
        .with_node_id(BrokerId(-1))
        .with_port(-1)
        .with_error_code(error.code())
        .with_error_message(message(why))
}
