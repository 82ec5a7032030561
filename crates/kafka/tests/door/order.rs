//! Answers go out in the order of the requests, and what may overlap does.

use kafka_protocol::messages::*;
use mulgil_broker::connection::Connection;
use mulgil_broker::request::Request;

use crate::client::{answers, frame, show};
use crate::driver::Driver;
use crate::samples::{produce, sample};
use crate::versions::broker;

#[test]
fn produces_overlap_and_are_answered_in_order() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    for correlation in 0..5 {
        driver.receive(sample(ApiKey::Produce, 9, correlation, id));
    }
    assert_eq!(driver.asked.len(), 5);
    for at in [4, 2, 0] {
        driver.answer_at(at);
    }
    assert_eq!(answers(driver.sent()).len(), 1);
    driver.answer_at(0);
    driver.answer_at(0);
    let later = answers(driver.sent());
    let order: Vec<i32> = later
        .iter()
        .map(|a| show(ApiKey::Produce, 9, a).0)
        .collect();
    assert_eq!(order, [1, 2, 3, 4]);
}

#[test]
fn other_requests_wait_for_those_before_them() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    let mut bytes = Vec::new();
    for key in [
        ApiKey::Produce,
        ApiKey::Fetch,
        ApiKey::Produce,
        ApiKey::Metadata,
    ] {
        bytes.extend_from_slice(&sample(key, 9, 5, id));
    }
    driver.receive(bytes);
    assert!(matches!(driver.asked[..], [(_, Request::Append(_))]));
    assert!(driver.connection().is_full());
    driver.answer_at(0);
    assert!(matches!(driver.asked[..], [(_, Request::Read(_))]));
    driver.answer_at(0);
    assert!(matches!(driver.asked[..], [(_, Request::Append(_))]));
    driver.settle();
    assert_eq!(answers(driver.sent()).len(), 4);
    assert!(!driver.connection().is_full());
}

#[test]
fn a_client_that_never_reads_is_not_read_from() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    let big = "x".repeat(300_000);
    let _done: ProduceResponse = driver.call(ApiKey::Produce, 13, &produce(13, id, &[&big]));
    let mut taken = 0;
    while !driver.connection().is_full() {
        driver.receive(sample(ApiKey::Fetch, 12, 0, id));
        while !driver.asked.is_empty() {
            driver.answer_at(0);
        }
        taken += 1;
        assert!(taken < 100, "it is never full");
    }
    let unsent = driver.sent().len();
    assert!(unsent < 3 << 20, "{unsent} bytes");
    driver.receive(sample(ApiKey::Fetch, 12, 0, id));
    assert!(
        driver.asked.is_empty(),
        "nothing is started while it is full"
    );
    driver.input(mulgil_broker::connection::Input::Drained);
    assert_eq!(driver.asked.len(), 1);
}

#[test]
fn no_more_than_a_bounded_number_of_requests_is_worked_on() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    for correlation in 0..100 {
        driver.receive(sample(ApiKey::Produce, 9, correlation, id));
    }
    assert_eq!(driver.asked.len(), 32);
    assert!(driver.connection().is_full());
    driver.settle();
    assert_eq!(answers(driver.sent()).len(), 100);
}

#[test]
fn acks_0_is_not_answered_unless_by_the_end_of_the_connection() {
    let (broker, id) = broker();
    let mut driver = Driver::new(&broker);
    driver.receive(frame(
        ApiKey::Produce,
        9,
        1,
        &produce(9, id, &["a"]).with_acks(0),
    ));
    driver.receive(sample(ApiKey::Produce, 9, 2, id));
    driver.settle();
    let sent = answers(driver.sent());
    assert_eq!(sent.len(), 1);
    assert_eq!(show(ApiKey::Produce, 9, &sent[0]).0, 2);

    let mut unknown = produce(9, id, &["a"]).with_acks(0);
    unknown.topic_data[0].name = crate::samples::name("none");
    driver.receive(frame(ApiKey::Produce, 9, 3, &unknown));
    assert!(driver.hangup.is_some());
    assert!(driver.sent().is_empty());
}
