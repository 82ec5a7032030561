//! `InitProducerId`: a number for an idempotent producer (KIP-98, KIP-360).
//!
//! Transactions are not served: with a transactional id the answer is the code that `FindCoordinator`
//! gives, for the same reason.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use mulgil_broker::connection::Hangup;
use mulgil_broker::request::{NewProducer, Reply, Request};

use super::{Step, Turn, Waiting, only_reply};
use crate::wire_errors;

/// No producer id or epoch.
const NONE: i64 = -1;

pub(crate) fn start(request: &InitProducerIdRequest, turn: &Turn<'_>) -> Result<Step, Hangup> {
    // Half of an identity is none: `KafkaApis.handleInitProducerIdRequest`.
    let half = (request.producer_id.0 == NONE) != (i64::from(request.producer_epoch) == NONE);
    if half {
        return turn.answer(&refused(ResponseError::InvalidRequest));
    }
    if request.transactional_id.is_some() {
        return turn.answer(&refused(ResponseError::TransactionalIdAuthorizationFailed));
    }
    // Without a transactional id the broker does not look at what the producer had: it always gets a
    // new id (`TransactionCoordinator.handleInitProducerId`).
    let ask = Request::NewProducer(NewProducer { current: None });
    Ok(Step::Ask(vec![ask], Box::new(Waits)))
}

#[derive(Debug)]
struct Waits;

impl Waiting for Waits {
    fn answered(
        self: Box<Self>,
        mut replies: Vec<Reply>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Hangup> {
        turn.answer(&match only_reply!(replies, NewProducer) {
            Ok((producer, epoch)) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(producer.0))
                .with_producer_epoch(epoch.0),
            Err(refusal) => refused(wire_errors::new_producer(refusal)),
        })
    }
}

fn refused(error: ResponseError) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error.code())
        .with_producer_id(ProducerId(NONE))
        .with_producer_epoch(-1)
}
