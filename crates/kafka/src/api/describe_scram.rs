//! `DescribeUserScramCredentials` (KIP-554): which users sign in with SCRAM. None can here, and that is
//! the answer: `kafka-configs` asks for it behind the quotas of a user, and fails where nobody answers.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use kafka_protocol::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
use kafka_protocol::protocol::StrBytes;
use mulgil_broker::connection::Hangup;

use super::{Step, Turn};
use crate::to_wire::message;

pub(crate) fn start(
    request: DescribeUserScramCredentialsRequest,
    turn: &Turn<'_>,
) -> Result<Step, Hangup> {
    // Nobody named means all that have credentials, so no rows.
    let mut asked: BTreeMap<StrBytes, bool> = BTreeMap::new();
    for user in request.users.unwrap_or_default() {
        asked
            .entry(user.name)
            .and_modify(|twice| *twice = true)
            .or_default();
    }
    // `ScramImage.describe`.
    let rows = asked.into_iter().map(|(user, twice)| {
        let (error, why) = if twice {
            (
                ResponseError::DuplicateResource,
                "the user is named twice in one request",
            )
        } else {
            (
                ResponseError::ResourceNotFound,
                "the user has no SCRAM credentials: this broker keeps none",
            )
        };
        DescribeUserScramCredentialsResult::default()
            .with_user(user)
            .with_error_code(error.code())
            .with_error_message(message(why))
    });
    let answer = DescribeUserScramCredentialsResponse::default()
        .with_error_message(None)
        .with_results(rows.collect());
    turn.answer(&answer)
}
