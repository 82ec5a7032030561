//! Every kind of request in every version that is advertised gets an answer that a client can read.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::*;
use mulgil_broker::meta::schema::TopicSettings;

use crate::broker::FakeBroker;
use crate::client::{answers, frame, open, show};
use crate::driver::Driver;
use crate::samples::{api_versions, batch, sample};

/// What the door says that it takes.
pub(crate) fn advertised() -> Vec<(ApiKey, i16, i16)> {
    let mut driver = Driver::new(&FakeBroker::new());
    let answer: ApiVersionsResponse = driver.call(ApiKey::ApiVersions, 4, &api_versions(4));
    assert_eq!(answer.error_code, 0);
    assert!(answer.supported_features.is_empty() && answer.finalized_features.is_empty());
    let keys = answer.api_keys.iter();
    keys.map(|k| {
        (
            ApiKey::try_from(k.api_key).unwrap(),
            k.min_version,
            k.max_version,
        )
    })
    .collect()
}

/// A broker with a topic `t` of one partition that has records.
pub(crate) fn broker() -> (Arc<FakeBroker>, mulgil_record::ids::TopicId) {
    let broker = FakeBroker::new();
    let id = broker.with_topic("t", 1, TopicSettings::default());
    (broker, id)
}

#[test]
fn every_advertised_version_has_a_readable_answer() {
    for (key, min, max) in advertised() {
        // Versions 0 to 2 of Produce are advertised and refused (KAFKA-18659).
        let min = if key == ApiKey::Produce { 3 } else { min };
        for version in min..=max {
            let (broker, id) = broker();
            let mut driver = Driver::new(&broker);
            driver.receive(sample(ApiKey::Produce, 13, 1, id));
            driver.settle();
            driver.sent();
            driver.receive(sample(key, version, 77, id));
            driver.settle();
            assert!(
                driver.hangup.is_none(),
                "{key:?} {version}: {:?}",
                driver.hangup
            );
            let answers = answers(driver.sent());
            assert_eq!(answers.len(), 1, "{key:?} {version}");
            let (correlation, _) = show(key, version, &answers[0]);
            assert_eq!(correlation, 77, "{key:?} {version}");
        }
    }
}

#[test]
fn what_is_not_advertised_ends_the_connection_without_an_answer() {
    let (broker, id) = broker();
    let advertised = advertised();
    let mut refused = vec![(ApiKey::Produce as i16, 2), (999, 0), (-1, 0)];
    for key in 0..95 {
        match advertised.iter().find(|(k, ..)| *k as i16 == key) {
            None => refused.push((key, 0)),
            Some((ApiKey::ApiVersions, ..)) => {}
            Some((ApiKey::Produce, _, max)) => refused.push((key, max + 1)),
            Some((_, min, max)) => refused.extend([(key, min - 1), (key, max + 1)]),
        }
    }
    for (key, version) in refused {
        let mut driver = Driver::new(&broker);
        let mut bytes = sample(ApiKey::DescribeCluster, 0, 1, id).to_vec();
        bytes[4..6].copy_from_slice(&key.to_be_bytes());
        bytes[6..8].copy_from_slice(&version.to_be_bytes());
        driver.receive(bytes);
        assert!(
            driver.hangup.is_some() && driver.asked.is_empty(),
            "{key} {version}"
        );
        assert!(driver.sent().is_empty(), "{key} {version}");
    }
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    for version in [5, 17, i16::MAX] {
        let (broker, _) = broker();
        let mut driver = Driver::new(&broker);
        let mut bytes = frame(ApiKey::ApiVersions, 4, 9, &api_versions(4)).to_vec();
        bytes[6..8].copy_from_slice(&version.to_be_bytes());
        driver.receive(bytes);
        let answers = answers(driver.sent());
        let (correlation, answer): (_, ApiVersionsResponse) =
            open(ApiKey::ApiVersions, 0, &answers[0]);
        assert_eq!((correlation, answer.error_code), (9, 35));
        let keys: Vec<_> = answer
            .api_keys
            .iter()
            .map(|k| (k.api_key, k.min_version, k.max_version))
            .collect();
        assert_eq!(keys, [(18, 0, 4)]);
        assert!(driver.hangup.is_none());
    }
}

#[test]
fn a_client_that_calls_itself_something_odd_is_refused() {
    let (broker, _) = broker();
    for odd in ["", "-x", "x-", "a b", "ü"] {
        let mut driver = Driver::new(&broker);
        let request = api_versions(3).with_client_software_name(crate::samples::text(odd));
        let answer: ApiVersionsResponse = driver.call(ApiKey::ApiVersions, 3, &request);
        assert_eq!(
            answer.error_code,
            ResponseError::InvalidRequest.code(),
            "{odd}"
        );
    }
}

#[test]
fn fetched_batches_go_out_as_they_are_stored() {
    for version in 4..=17 {
        let (broker, id) = broker();
        let mut driver = Driver::new(&broker);
        for values in [["a", "b"], ["c", "d"]] {
            let request = crate::samples::produce(13, id, &values);
            let answer: ProduceResponse = driver.call(ApiKey::Produce, 13, &request);
            assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        }
        driver.pieces.clear();
        let answer: FetchResponse = driver.call(
            ApiKey::Fetch,
            version,
            &crate::samples::fetch(version, id, 0),
        );
        let row = &answer.responses[0].partitions[0];
        assert_eq!((row.error_code, row.high_watermark), (0, 4), "{version}");
        let records = row.records.clone().unwrap();
        assert_eq!(records.len(), 2 * batch(&["a", "b"]).len());
        // Both batches are pieces of their own, between the pieces around them.
        let lengths: Vec<usize> = driver.pieces.iter().map(Bytes::len).collect();
        assert_eq!(
            lengths.iter().filter(|l| **l == records.len() / 2).count(),
            2,
            "{lengths:?}"
        );
    }
}
