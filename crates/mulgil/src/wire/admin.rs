//! Making and deleting a topic over the Kafka protocol, so that measuring works with any broker.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::connection::Connection;
use super::fault::Fault;

const CREATE_NEWEST: i16 = 7;
/// Above, topics are named in another way.
const DELETE_NEWEST: i16 = 5;
const TIMEOUT_MS: i32 = 30_000;
/// The broker's own setting decides.
const ANY: i16 = -1;

fn named(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Creates `topic`; whether it was not there before.
pub(crate) fn create_topic(bootstrap: &str, topic: &str, partitions: i32) -> Result<bool, Fault> {
    let what = format!("topic \"{topic}\" at {bootstrap}");
    let wanted = CreatableTopic::default()
        .with_name(named(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(ANY);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![wanted])
        .with_timeout_ms(TIMEOUT_MS);
    let answer = Connection::open(bootstrap)?.ask(&request, CREATE_NEWEST)?;
    let made = answer.topics.into_iter().next();
    let made = made.ok_or_else(|| Fault::garbled(&what, "an answer that does not name it"))?;
    let reason = made.error_message;
    let refused = Fault::check(made.error_code, || match reason {
        Some(reason) => format!("{what}: {reason:?}"),
        None => what,
    });
    match refused {
        Err(fault) if fault.is(ResponseError::TopicAlreadyExists) => Ok(false),
        made => made.map(|()| true),
    }
}

/// Deletes `topic` with all its messages.
pub(crate) fn delete_topic(bootstrap: &str, topic: &str) -> Result<(), Fault> {
    let what = format!("topic \"{topic}\" at {bootstrap}");
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![named(topic)])
        .with_timeout_ms(TIMEOUT_MS);
    let answer = Connection::open(bootstrap)?.ask(&request, DELETE_NEWEST)?;
    let gone = answer.responses.into_iter().next();
    let gone = gone.ok_or_else(|| Fault::garbled(&what, "an answer that does not name it"))?;
    Fault::check(gone.error_code, || what)
}
