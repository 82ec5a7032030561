//! What is counted of requests and answers.

use kafka_protocol::messages::*;
use mulgil_broker::meta::schema::TopicSettings;
use mulgil_kafka::Messages;

use crate::broker::FakeBroker;
use crate::driver::Driver;
use crate::samples::{batch, fetch, produce};

#[test]
fn messages_requests_and_errors_are_counted_once() {
    let broker = FakeBroker::new();
    let id = broker.with_topic("t", 2, TopicSettings::default());
    let mut driver = Driver::new(&broker);
    let values = ["one", "two", "three"];
    let bytes = batch(&values).len() as u64;
    let _taken: ProduceResponse = driver.call(ApiKey::Produce, 9, &produce(9, id, &values));
    let three = Messages { count: 3, bytes };
    assert_eq!(driver.figures.published(), three);

    let _found: FetchResponse = driver.call(ApiKey::Fetch, 12, &fetch(12, id, 0));
    assert_eq!(driver.figures.delivered(), three);
    assert_eq!(driver.figures.errors().count(), 0);

    let group = HeartbeatRequest::default();
    let refused: HeartbeatResponse = driver.call(ApiKey::Heartbeat, 4, &group);
    assert_ne!(refused.error_code, 0);
    let errors: Vec<_> = driver.figures.errors().collect();
    assert_eq!(errors, [("INVALID_GROUP_ID".to_owned(), 1)]);

    let requests = driver.figures.requests();
    let requests: Vec<_> = requests.map(|(op, counted)| (op, counted.count)).collect();
    let wanted = [("Produce", 1), ("Fetch", 1), ("Heartbeat", 1)];
    assert_eq!(requests, wanted.map(|(op, count)| (op.to_owned(), count)));
}
