//! `golden.txt`: selectors, and what they say of a record; and those that are refused.

use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Sample;
use crate::selector::{
    CONTENT_READS_MAX, DEPTH_MAX, NODES_MAX, Selector, SelectorError, TEXT_BYTES_MAX, Truth, Value,
};

const GOLDEN: &str = include_str!("golden.txt");

fn value(text: &str) -> Value<'static> {
    let unquoted = |text: &str| text.trim_matches('\'').to_owned();
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "bytes" => Value::Opaque,
        "NaN" => Value::Approximate(f64::NAN),
        _ if text.starts_with('\'') => Value::Text(Cow::Owned(unquoted(text))),
        _ if text.contains(['.', 'e']) => Value::Approximate(text.parse().unwrap()),
        _ => Value::Exact(text.parse().unwrap()),
    }
}

/// `a=1; b='x'; body={...}`, the body last.
fn sample(text: &str) -> Sample {
    let mut sample = Sample::default();
    let mut rest = text.trim();
    while !rest.is_empty() && rest != "-" {
        if let Some(body) = rest.strip_prefix("body=") {
            sample.content = Some(body.as_bytes().to_vec());
            break;
        }
        let (one, behind) = rest.split_once(';').unwrap_or((rest, ""));
        let (name, is) = one.split_once('=').unwrap();
        sample = sample.with(name.trim(), value(is.trim()));
        rest = behind.trim();
    }
    sample
}

#[test]
fn selectors_say_what_the_page_of_examples_says() {
    let mut wrong = Vec::new();
    let mut rows = 0;
    for (number, line) in GOLDEN.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        rows += 1;
        let columns: Vec<_> = line.split(" | ").map(str::trim).collect();
        let [text, properties, expected] = columns[..] else {
            panic!("line {} has three columns", number + 1);
        };
        let got = match Selector::parse(text) {
            Err(error) => error.to_string().replacen("selector, ", "refused: ", 1),
            Ok(selector) => match selector.evaluate(&sample(properties)).unwrap() {
                Truth::True => "true".to_owned(),
                Truth::False => "false".to_owned(),
                Truth::Unknown => "unknown".to_owned(),
            },
        };
        if got != expected {
            wrong.push(format!("line {}: {text} gives {got}", number + 1));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows > 150, "{rows} rows");
}

/// The left selector's canonical form.
#[test]
fn selectors_that_mean_the_same_are_written_the_same() {
    for (text, canonical) in [
        ("", "TRUE"),
        (" \t\r\n", "TRUE"),
        ("a=1 and(b=0x10)", "a = 1 AND b = 16"),
        ("((a AND b) AND c)", "a AND b AND c"),
        ("a AND (b AND c)", "a AND b AND c"),
        ("a OR (b AND c)", "a OR b AND c"),
        ("(a OR b) AND c", "(a OR b) AND c"),
        ("not (not a)", "NOT NOT a"),
        ("NOT (a = 1)", "NOT a = 1"),
        ("a - (b - c) = (a - b) - c", "a - (b - c) = a - b - c"),
        ("a * (b + c) > -(-5)", "a * (b + c) > 5"),
        ("-(a) < +b", "-a < 0 + b"),
        ("a in ('z', 'b', 'z')", "a IN ('b', 'z')"),
        ("a like '10!%%%' escape '!'", "a LIKE '10\\%%' ESCAPE '\\'"),
        ("a like '!_x' escape '!'", "a LIKE '\\_x' ESCAPE '\\'"),
        ("a like 'a!!b' escape '!'", "a LIKE 'a!b'"),
        ("\"a\" = 'it''s'", "a = 'it''s'"),
        ("\"content-type\" is null", "\"content-type\" IS NULL"),
        ("\"and\" = 7L", "\"and\" = 7"),
        ("a = 7D", "a = 7.0"),
        ("a = 1e3", "a = 1000.0"),
        ("json_value( BODY , '$[\"a\"].b[ 0]' ) = 1", "refused"),
        (
            "json_value( BODY , '$[\"a\"].b[0][\"x y\"]' ) = 1",
            "JSON_VALUE(body, '$.a.b[0][\"x y\"]') = 1",
        ),
        ("-9223372036854775808 = a", "-9223372036854775808 = a"),
        ("-(-9223372036854775808) = a", "-(-9223372036854775808) = a"),
    ] {
        let got = Selector::parse(text).map_or_else(|_| "refused".into(), |s| s.to_string());
        assert_eq!(got, canonical, "{text}");
    }
}

#[test]
fn what_a_selector_needs_is_known_without_a_record() {
    let selector = Selector::parse("b = 1 AND a > b OR JSON_VALUE(body, '$') = 'x'").unwrap();
    assert_eq!(selector.names().collect::<Vec<_>>(), ["a", "b"]);
    assert!(selector.needs_content());
    assert!(!Selector::parse("a = 'body'").unwrap().needs_content());
    for (text, constant) in [
        ("", Some(Truth::True)),
        ("1 < 2", Some(Truth::True)),
        ("1 = 'x'", Some(Truth::False)),
        ("1 / 0 = 1", Some(Truth::Unknown)),
        ("a = 1 OR TRUE", Some(Truth::True)),
        ("a = 1 AND 2 < 1", Some(Truth::False)),
        ("NOT (a AND FALSE)", Some(Truth::True)),
        ("a OR NOT a", None),
        ("a = a", None),
    ] {
        let selector = Selector::parse(text).unwrap();
        assert_eq!(selector.constant(), constant, "{text}");
        assert_eq!(selector.is_always_true(), constant == Some(Truth::True));
    }
}

fn limit(text: &str) -> usize {
    match Selector::parse(text) {
        Err(SelectorError::TooLarge { most, .. }) => most,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_selector_over_a_limit_is_refused_and_one_at_it_is_not() {
    let chain = |parts: usize| alloc::vec!["a"; parts].join(" OR ");
    assert!(Selector::parse(&chain(NODES_MAX - 1)).is_ok());
    assert_eq!(limit(&chain(NODES_MAX)), NODES_MAX);

    let nots = |depth: usize| "NOT ".repeat(depth - 1) + "a";
    assert!(Selector::parse(&nots(DEPTH_MAX)).is_ok());
    assert_eq!(limit(&nots(DEPTH_MAX + 1)), DEPTH_MAX);
    let brackets = |depth: usize| "(".repeat(depth) + "a" + &")".repeat(depth);
    assert!(Selector::parse(&brackets(DEPTH_MAX)).is_ok());
    assert_eq!(limit(&brackets(8000)), DEPTH_MAX);
    assert_eq!(
        limit(&("a = ".to_owned() + &"1 + ".repeat(500) + "1")),
        DEPTH_MAX
    );
    assert_eq!(
        limit(&("a = ".to_owned() + &"- ".repeat(500) + "b")),
        DEPTH_MAX
    );

    let padded = |bytes: usize| "a".to_owned() + &" ".repeat(bytes - 1);
    assert!(Selector::parse(&padded(TEXT_BYTES_MAX)).is_ok());
    assert_eq!(limit(&padded(TEXT_BYTES_MAX + 1)), TEXT_BYTES_MAX);
    let grows = String::from("a LIKE '|%") + &"\\".repeat(9000) + "' ESCAPE '|'";
    assert_eq!(limit(&grows), TEXT_BYTES_MAX);

    let reads = |times: usize| alloc::vec!["JSON_VALUE(body, '$')"; times].join(" OR ");
    assert!(Selector::parse(&reads(CONTENT_READS_MAX)).is_ok());
    assert_eq!(limit(&reads(CONTENT_READS_MAX + 1)), CONTENT_READS_MAX);
}

/// A pattern that takes exponential time where `%` is tried by recursion: 1 MiB of text is enough to
/// be over the steps, and a text of some KiB is not.
#[test]
fn what_costs_too_much_is_broken_off() {
    let selector = Selector::parse(&format!("a LIKE '{}b'", "%a".repeat(30))).unwrap();
    let long = |chars: usize| {
        let text = "a".repeat(chars);
        Sample::default().with("a", Value::Text(Cow::Owned(text)))
    };
    assert_eq!(selector.evaluate(&long(4000)), Ok(Truth::False));
    let selector = Selector::parse(&format!("a LIKE '%{}b'", "a".repeat(100))).unwrap();
    assert!(selector.evaluate(&long(1 << 20)).is_err());
}
