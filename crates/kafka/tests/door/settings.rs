//! Settings through the door: what is set is shown, where it comes from is told, and what is not
//! possible is refused by name.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::*;

use crate::admin_samples::{BROKER, Op, TOPIC, create_partitions, edits};
use crate::broker::FakeBroker;
use crate::driver::Driver;
use crate::samples::text;
use crate::versions::broker;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

fn driver() -> (Driver, Arc<FakeBroker>) {
    let (broker, _) = broker();
    (Driver::new(&broker), broker)
}

/// Edits settings and says how it went.
fn edit(driver: &mut Driver, kind: i8, name: &str, ops: &[Op<'_>]) -> (i16, String) {
    let request = edits(&[(kind, name, ops)]);
    let key = ApiKey::IncrementalAlterConfigs;
    let mut answer: IncrementalAlterConfigsResponse = driver.call(key, 1, &request);
    let row = answer.responses.pop().unwrap();
    let why = row.error_message.map(|why| why.to_string());
    (row.error_code, why.unwrap_or_default())
}

/// One setting: value, source, synonyms.
type Shown = (String, i8, Vec<(String, String, i8)>);

fn shown(driver: &mut Driver, kind: i8, name: &str, setting: &str) -> Option<Shown> {
    use describe_configs_request::DescribeConfigsResource;
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(Some(vec![text(setting)]));
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true);
    let answer: DescribeConfigsResponse = driver.call(ApiKey::DescribeConfigs, 4, &request);
    let row = answer.results[0].configs.first()?;
    let value = row.value.clone().unwrap().to_string();
    let synonyms = row.synonyms.iter().map(|synonym| {
        let value = synonym.value.clone().unwrap().to_string();
        (synonym.name.to_string(), value, synonym.source)
    });
    Some((value, row.config_source, synonyms.collect()))
}

fn synonym(name: &str, value: &str, source: i8) -> (String, String, i8) {
    (name.to_owned(), value.to_owned(), source)
}

#[test]
fn a_value_tells_where_it_comes_from() {
    let (mut driver, _) = driver();
    let week = || synonym("log.retention.ms", "604800000", 5);
    let at_first = shown(&mut driver, TOPIC, "t", "retention.ms").unwrap();
    assert_eq!(at_first, ("604800000".to_owned(), 5, vec![week()]));
    for (kind, name, setting, value) in [
        (BROKER, "", "log.retention.ms", "2000"),
        (BROKER, "1", "log.retention.ms", "1000"),
        (TOPIC, "t", "retention.ms", "3000"),
    ] {
        let went = edit(&mut driver, kind, name, &[(setting, SET, Some(value))]);
        assert_eq!(went, (0, String::new()), "{setting} of {name}");
    }
    let all = vec![
        synonym("retention.ms", "3000", 1),
        synonym("log.retention.ms", "1000", 2),
        synonym("log.retention.ms", "2000", 3),
        week(),
    ];
    let now = shown(&mut driver, TOPIC, "t", "retention.ms").unwrap();
    assert_eq!(now, ("3000".to_owned(), 1, all.clone()));
    edit(&mut driver, TOPIC, "t", &[("retention.ms", DELETE, None)]);
    let back = shown(&mut driver, TOPIC, "t", "retention.ms").unwrap();
    assert_eq!(back, ("1000".to_owned(), 2, all[1..].to_vec()));
    let of_all = shown(&mut driver, BROKER, "", "log.retention.ms").unwrap();
    assert_eq!((of_all.0.as_str(), of_all.1), ("2000", 3));
    assert_eq!(shown(&mut driver, BROKER, "", "message.max.bytes"), None);
}

#[test]
fn what_is_not_possible_is_refused_by_name() {
    let (mut driver, _) = driver();
    let config = ResponseError::InvalidConfig.code();
    let request = ResponseError::InvalidRequest.code();
    let cases: &[(i8, &str, &[Op<'_>], i16, &str)] = &[
        (TOPIC, "t", &[("nope", SET, Some("1"))], config, "nope"),
        (
            TOPIC,
            "t",
            &[("retention.ms", SET, Some("soon"))],
            config,
            "retention.ms",
        ),
        (
            TOPIC,
            "t",
            &[("retention.ms", SET, None)],
            request,
            "retention.ms",
        ),
        (
            TOPIC,
            "t",
            &[("retention.ms", APPEND, Some("1"))],
            config,
            "retention.ms",
        ),
        (
            TOPIC,
            "t",
            &[("retention.ms", 9, Some("1"))],
            request,
            "operation 9",
        ),
        (
            TOPIC,
            "t",
            &[("min.insync.replicas", SET, Some("2"))],
            config,
            "one broker",
        ),
        (
            TOPIC,
            "t",
            &[("remote.storage.enable", SET, Some("true"))],
            config,
            "tiered",
        ),
        (
            TOPIC,
            "t",
            &[
                ("segment.ms", SET, Some("1")),
                ("segment.ms", SET, Some("2")),
            ],
            request,
            "duplicate",
        ),
        (
            BROKER,
            "1",
            &[("num.partitions", SET, Some("2"))],
            request,
            "num.partitions",
        ),
        (BROKER, "1", &[("nope", SET, Some("2"))], config, "nope"),
        (
            BROKER,
            "1",
            &[("message.max.bytes", SET, Some("x"))],
            request,
            "message.max.bytes",
        ),
        (BROKER, "7", &[], request, "broker id"),
        (BROKER, "x", &[], request, "number"),
        (32, "g", &[], request, "groups"),
        (
            TOPIC,
            "a b",
            &[],
            ResponseError::InvalidTopicException.code(),
            "illegal",
        ),
        (
            TOPIC,
            "none",
            &[],
            ResponseError::UnknownTopicOrPartition.code(),
            "no such topic",
        ),
    ];
    for (kind, name, ops, code, why) in cases {
        let (got, said) = edit(&mut driver, *kind, name, ops);
        assert!(
            got == *code && said.contains(why),
            "{ops:?} of {name}: {got} {said}"
        );
    }
    let (value, source, _) = shown(&mut driver, TOPIC, "t", "retention.ms").unwrap();
    assert_eq!((value.as_str(), source), ("604800000", 5));
}

#[test]
fn what_means_nothing_here_is_taken_and_shown() {
    let (mut driver, _) = driver();
    let ops: &[Op<'_>] = &[("segment.bytes", SET, Some("2097152"))];
    assert_eq!(edit(&mut driver, TOPIC, "t", ops).0, 0);
    let (value, source, _) = shown(&mut driver, TOPIC, "t", "segment.bytes").unwrap();
    assert_eq!((value.as_str(), source), ("2097152", 1));
}

#[test]
fn the_older_request_states_everything_anew() {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let (mut driver, _) = driver();
    edit(
        &mut driver,
        TOPIC,
        "t",
        &[("max.message.bytes", SET, Some("77"))],
    );
    for validate_only in [true, false] {
        let config = AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("5")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text("t"))
            .with_configs(vec![config]);
        let request = AlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(validate_only);
        let answer: AlterConfigsResponse = driver.call(ApiKey::AlterConfigs, 2, &request);
        assert_eq!(answer.responses[0].error_code, 0);
        let (time, ..) = shown(&mut driver, TOPIC, "t", "retention.ms").unwrap();
        let (bytes, ..) = shown(&mut driver, TOPIC, "t", "max.message.bytes").unwrap();
        let expected = if validate_only {
            ("604800000", "77")
        } else {
            ("5", "1048588")
        };
        assert_eq!((time.as_str(), bytes.as_str()), expected);
    }
}

#[test]
fn a_resource_named_twice_is_refused_both_times() {
    let (mut driver, _) = driver();
    let ops: &[Op<'_>] = &[("retention.ms", SET, Some("5"))];
    let request = edits(&[(TOPIC, "t", ops), (TOPIC, "t", ops)]);
    let key = ApiKey::IncrementalAlterConfigs;
    let answer: IncrementalAlterConfigsResponse = driver.call(key, 0, &request);
    let codes: Vec<_> = answer.responses.iter().map(|row| row.error_code).collect();
    assert_eq!(codes, [ResponseError::InvalidRequest.code(); 2]);
}

#[test]
fn every_setting_is_documented_and_typed() {
    let (mut driver, _) = driver();
    let request = crate::admin_samples::describe_configs(4);
    let answer: DescribeConfigsResponse = driver.call(ApiKey::DescribeConfigs, 4, &request);
    let rows = &answer.results[0].configs;
    assert!(rows.len() > 30, "{}", rows.len());
    for row in rows {
        assert!(
            row.documentation
                .as_ref()
                .is_some_and(|text| text.len() > 10)
        );
        assert_ne!(row.config_type, 0, "{}", row.name.as_str());
    }
    let codes: Vec<_> = answer.results.iter().map(|row| row.error_code).collect();
    assert_eq!(codes, [0, 3, 0, 0, 42, 42]);
}

#[test]
fn partitions_grow_and_never_shrink() {
    let (mut driver, _) = driver();
    let mut grow = |count, validate_only| {
        let request = create_partitions(count).with_validate_only(validate_only);
        let answer: CreatePartitionsResponse = driver.call(ApiKey::CreatePartitions, 3, &request);
        let codes = answer.results.iter().map(|row| row.error_code);
        codes.collect::<Vec<_>>()
    };
    assert_eq!(grow(3, true), [0, 3, 37]);
    assert_eq!(grow(3, false), [0, 3, 37]);
    assert_eq!(grow(3, false), [37, 3, 37]);
    assert_eq!(grow(2, false), [37, 3, 37]);
    assert_eq!(grow(-1, false), [37, 3, 37]);
}
