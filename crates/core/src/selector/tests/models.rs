//! Properties: canonical text reads back the same; evaluation agrees with naive models.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a model names what it treats apart"
)]

use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::Sample;
use crate::selector::expr::{Arithmetic, Compare, Expr};
use crate::selector::like::{Pattern, Piece};
use crate::selector::{Selector, Truth, Value};

/// `LIKE` as its definition reads, trying every length for `%`.
fn naive_like(pieces: &[Piece], text: &[char]) -> bool {
    match (pieces, text) {
        ([], []) => true,
        ([Piece::Any, rest @ ..], _) => {
            (0..=text.len()).any(|taken| naive_like(rest, &text[taken..]))
        }
        ([Piece::One, rest @ ..], [_, behind @ ..]) => naive_like(rest, behind),
        ([Piece::Char(c), rest @ ..], [first, behind @ ..]) => {
            c == first && naive_like(rest, behind)
        }
        _ => false,
    }
}

/// Three-valued logic by tables: true, false and unknown are 2, 0 and 1; AND is the least.
const fn rank(truth: Truth) -> u8 {
    match truth {
        Truth::False => 0,
        Truth::Unknown => 1,
        Truth::True => 2,
    }
}

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Exact(n) => Some(*n as f64),
        Value::Approximate(n) => Some(*n),
        _ => None,
    }
}

/// How two values are related, as a rank.
fn related(how: Compare, l: &Value<'static>, r: &Value<'static>) -> u8 {
    if absent(l) || absent(r) {
        return 1;
    }
    let holds = match (how, number(l), number(r)) {
        (Compare::Less, Some(l), Some(r)) => l < r,
        (Compare::LessOrEqual, Some(l), Some(r)) => l <= r,
        (Compare::Greater, Some(l), Some(r)) => l > r,
        (Compare::GreaterOrEqual, Some(l), Some(r)) => l >= r,
        (Compare::Equal, Some(l), Some(r)) => l == r,
        (Compare::NotEqual, Some(l), Some(r)) => l != r,
        (Compare::Equal, None, None) => l == r,
        (Compare::NotEqual, None, None) => {
            l != r && core::mem::discriminant(l) == core::mem::discriminant(r)
        }
        _ => false,
    };
    2 * u8::from(holds)
}

const fn absent(value: &Value<'_>) -> bool {
    matches!(value, Value::Null | Value::Opaque)
}

const fn truth(rank: u8) -> Value<'static> {
    match rank {
        0 => Value::Bool(false),
        1 => Value::Null,
        _ => Value::Bool(true),
    }
}

/// Another evaluator, which stops nowhere early and counts nothing. Its numbers are small.
fn naive(expr: &Expr, of: &Sample) -> Value<'static> {
    match expr {
        Expr::Bool(b) => Value::Bool(*b),
        Expr::Exact(n) => Value::Exact(*n),
        Expr::Approximate(n) => Value::Approximate(*n),
        Expr::Text(text) => Value::Text(Cow::Owned(text.to_string())),
        Expr::Name(name) => of.properties.get(&**name).cloned().unwrap_or(Value::Null),
        Expr::Content(_) => Value::Null,
        Expr::Negate(part) => match naive(part, of) {
            Value::Exact(n) => n.checked_neg().map_or(Value::Null, Value::Exact),
            Value::Approximate(n) => Value::Approximate(-n),
            _ => Value::Null,
        },
        Expr::Arithmetic(with, parts) => match (with, naive(&parts[0], of), naive(&parts[1], of)) {
            (with, Value::Exact(l), Value::Exact(r)) => {
                let (l, r) = (i128::from(l), i128::from(r));
                let exact = match with {
                    Arithmetic::Add => Some(l + r),
                    Arithmetic::Subtract => Some(l - r),
                    Arithmetic::Multiply => Some(l * r),
                    Arithmetic::Divide => (r != 0).then(|| l / r),
                };
                let exact = exact.and_then(|n| i64::try_from(n).ok());
                exact.map_or(Value::Null, Value::Exact)
            }
            (with, l, r) => match (with, number(&l), number(&r)) {
                (Arithmetic::Add, Some(l), Some(r)) => Value::Approximate(l + r),
                (Arithmetic::Subtract, Some(l), Some(r)) => Value::Approximate(l - r),
                (Arithmetic::Multiply, Some(l), Some(r)) => Value::Approximate(l * r),
                (Arithmetic::Divide, Some(l), Some(r)) => Value::Approximate(l / r),
                _ => Value::Null,
            },
        },
        _ => naive_condition(expr, of),
    }
}

fn naive_condition(expr: &Expr, of: &Sample) -> Value<'static> {
    let ranked = |part: &Expr| match naive(part, of) {
        Value::Bool(b) => 2 * u8::from(b),
        _ => 1,
    };
    let turned = |negated: bool, rank: u8| truth(if negated { 2 - rank } else { rank });
    match expr {
        Expr::Compare(how, parts) => {
            truth(related(*how, &naive(&parts[0], of), &naive(&parts[1], of)))
        }
        Expr::Not(part) => truth(2 - ranked(part)),
        Expr::And(parts) => truth(parts.iter().map(ranked).min().unwrap()),
        Expr::Or(parts) => truth(parts.iter().map(ranked).max().unwrap()),
        Expr::Between(negated, parts) => {
            let [value, low, high] = [0, 1, 2].map(|at| naive(&parts[at], of));
            truth(if *negated {
                related(Compare::Less, &value, &low).max(related(Compare::Greater, &value, &high))
            } else {
                let low = related(Compare::LessOrEqual, &low, &value);
                low.min(related(Compare::GreaterOrEqual, &high, &value))
            })
        }
        Expr::In(negated, value, list) => {
            let value = naive(value, of);
            let equals = list.iter().map(|item| {
                let item = Value::Text(Cow::Owned(item.to_string()));
                related(Compare::Equal, &value, &item)
            });
            turned(*negated, equals.max().unwrap())
        }
        Expr::Like(negated, value, pattern) => match naive(value, of) {
            Value::Text(text) => {
                let text: Vec<_> = text.chars().collect();
                turned(*negated, 2 * u8::from(naive_like(&pattern.0, &text)))
            }
            value => turned(*negated, u8::from(absent(&value))),
        },
        Expr::IsNull(negated, value) => Value::Bool((naive(value, of) == Value::Null) != *negated),
        _ => unreachable!("{expr} is no condition"),
    }
}

fn leaf() -> BoxedStrategy<String> {
    let text = "[ab%_'!]{0,3}".prop_map(|text| format!("'{}'", text.replace('\'', "''")));
    prop_oneof![
        3 => "[abc]",
        1 => Just("\"d e\"\"f\"".to_owned()),
        2 => (-3_i64..4).prop_map(|n| n.to_string()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<f64>().prop_filter("a literal", |n| n.is_finite()).prop_map(|n| format!("{n:?}")),
        1 => prop::sample::select(vec!["0x1F", "017", ".5", "7.", "1e3", "TRUE", "false", "7L"])
            .prop_map(str::to_owned),
        1 => text,
        1 => Just("JSON_VALUE(body, '$.a[0][\"b''\\\"c\"]')".replace("''", "''''")),
    ]
    .boxed()
}

/// Texts that are often selectors, since their parts often fit.
fn texts() -> impl Strategy<Value = String> {
    let list = "[ab]{0,2}";
    leaf().prop_recursive(6, 40, 3, move |part| {
        let (a, b, c) = (part.clone(), part.clone(), part);
        let signs = prop::sample::select(vec![
            "=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "AND", "or"
        ]);
        let not = prop::sample::select(vec!["", "NOT "]);
        let bracket = |text: String| format!("({text})");
        prop_oneof![
            4 => (a.clone(), signs, b.clone()).prop_map(|(a, sign, b)| format!("({a}) {sign} ({b})")),
            2 => (a.clone(), prop::sample::select(vec!["=", "<", "+", "-", "*", "AND", "OR"]), b.clone())
                .prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
            1 => a.clone().prop_map(bracket),
            1 => a.clone().prop_map(|a| format!("NOT {a}")),
            1 => a.clone().prop_map(|a| format!("-{a}")),
            1 => a.clone().prop_map(|a| format!("+ {a}")),
            1 => (a, not.clone(), b, c)
                .prop_map(|(a, not, b, c)| format!("{a} {not}BETWEEN {b} AND {c}")),
            1 => ("[abc]", not.clone(), list, list)
                .prop_map(|(a, not, x, y)| format!("{a} {not}IN ('{x}', '{y}')")),
            2 => ("[abc]", not.clone(), "[ab%_]{0,4}")
                .prop_map(|(a, not, p)| format!("{a} {not}LIKE '{p}'")),
            1 => ("[abc]", not.clone(), "([ab%_]|!!|!%|!_){0,4}")
                .prop_map(|(a, not, p)| format!("{a} {not}LIKE '{p}' ESCAPE '!'")),
            1 => ("[abc]", not).prop_map(|(a, not)| format!("{a} IS {not}NULL")),
        ]
    })
}

fn values() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        Just(Value::Null),
        Just(Value::Opaque),
        any::<bool>().prop_map(Value::Bool),
        (-3_i64..4).prop_map(Value::Exact),
        (-3_i32..4).prop_map(|n| Value::Approximate(f64::from(n) / 2.0)),
        "[ab%_!]{0,4}".prop_map(|text| Value::Text(Cow::Owned(text))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn canonical_text_is_the_same_selector(text in texts()) {
        if let Ok(selector) = Selector::parse(&text) {
            let canonical = selector.to_string();
            let again = Selector::parse(&canonical);
            prop_assert_eq!(again.as_ref(), Ok(&selector), "{} from {}", &canonical, &text);
            prop_assert_eq!(again.unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn evaluation_agrees_with_the_naive_one(text in texts(), values in prop::collection::vec(values(), 3)) {
        if let Ok(selector) = Selector::parse(&text) {
            let mut of = Sample::default();
            for (name, value) in ["a", "b", "c"].into_iter().zip(values) {
                of = of.with(name, value);
            }
            let expected = match naive(&selector.root, &of) {
                Value::Bool(b) => 2 * u8::from(b),
                _ => 1,
            };
            let got = selector.evaluate(&of).unwrap();
            prop_assert_eq!(rank(got), expected, "{} of {:?}", selector, of);
            if let Some(constant) = selector.constant() {
                prop_assert_eq!(constant, got, "{}", selector);
            }
        }
    }

    #[test]
    fn like_agrees_with_its_definition(pattern in "[ab%_é]{0,8}", text in "[abé]{0,10}") {
        let pattern = Pattern::new(&pattern, None).unwrap();
        let chars: Vec<_> = text.chars().collect();
        let mut steps = 0;
        let got = pattern.matches(&text, || {
            steps += 1;
            Ok::<_, ()>(())
        });
        prop_assert_eq!(got, Ok(naive_like(&pattern.0, &chars)));
        prop_assert!(steps <= (chars.len() + 2) * (pattern.0.len() + 2), "{} steps", steps);
    }

    #[test]
    fn no_text_breaks_the_parser(text in "[-aZ0-9x.,'\"()<>=+*/ $_\\[\\]%é]{0,40}", any in ".{0,40}") {
        let _parsed = (Selector::parse(&text), Selector::parse(&any));
    }

    #[test]
    fn no_content_breaks_a_path(content in "[-\\[\\]{}\",:a0-9.e\\\\ ]{0,40}") {
        let selector = Selector::parse("JSON_VALUE(body, '$.a[0]') = 1 OR JSON_VALUE(body, '$[0].a') = 1").unwrap();
        let of = Sample { content: Some(content.into_bytes()), ..Sample::default() };
        let _truth = selector.evaluate(&of);
    }
}

/// The generator would prove little if nearly all it makes were refused.
#[test]
fn many_of_the_texts_are_selectors() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = texts();
    let good = (0..1000)
        .filter(|_| {
            let tree = strategy.new_tree(&mut runner).unwrap();
            Selector::parse(&proptest::strategy::ValueTree::current(&tree)).is_ok()
        })
        .count();
    assert!(good > 200, "{good} of 1000");
}
