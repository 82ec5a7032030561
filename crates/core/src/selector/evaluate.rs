//! What a selector says of one record.
//!
//! Conditions have three values. A name without a value, or one that compares with nothing, makes
//! what it stands in unknown; values of unlike types compare as false. Numbers follow Java's
//! promotion to 64 bits: two exact ones stay exact, otherwise both become doubles.

use core::cmp::Ordering;

use thiserror::Error;

use super::expr::{Arithmetic, Compare, Expr};
use super::value::{Properties, Value};

/// The three values of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// What it asks of is not there.
    Unknown,
}

/// The evaluation was broken off.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the selector takes more than {steps_max} steps for this record")]
pub struct TooCostly {
    /// The limit.
    pub steps_max: u64,
}

impl core::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// `expr` of a record, in at most `steps_max` steps.
pub(super) fn evaluate(
    expr: &Expr,
    of: &impl Properties,
    steps_max: u64,
) -> Result<Truth, TooCostly> {
    let mut evaluation = Evaluation {
        of,
        left: steps_max,
        steps_max,
    };
    evaluation.truth(expr)
}

/// What `expr` is for every record, as far as its form tells.
pub(super) fn constant(expr: &Expr) -> Option<Truth> {
    if let Expr::Not(part) = expr {
        return Some(!constant(part)?);
    }
    if let Expr::And(parts) = expr {
        return joined(parts, Truth::False);
    }
    if let Expr::Or(parts) = expr {
        return joined(parts, Truth::True);
    }
    let mut asks = false;
    expr.visit(&mut |part| asks |= matches!(part, Expr::Name(_) | Expr::Content(_)));
    if asks {
        return None;
    }
    evaluate(expr, &Nothing, super::STEPS_MAX).ok()
}

/// A chain is known if one part decides it, or all are known.
fn joined(parts: &[Expr], deciding: Truth) -> Option<Truth> {
    let known = || parts.iter().map(constant);
    if known().any(|part| part == Some(deciding)) {
        return Some(deciding);
    }
    known().try_fold(!deciding, |so_far, part| match part? {
        Truth::Unknown => Some(Truth::Unknown),
        Truth::True | Truth::False => Some(so_far),
    })
}

struct Nothing;

impl Properties for Nothing {
    fn property(&self, _: &str) -> Value<'_> {
        Value::Null
    }

    fn content(&self) -> Option<&[u8]> {
        None
    }
}

struct Evaluation<'a, P> {
    of: &'a P,
    left: u64,
    steps_max: u64,
}

impl<'a, P: Properties> Evaluation<'a, P> {
    fn spend(&mut self, steps: u64) -> Result<(), TooCostly> {
        let steps_max = self.steps_max;
        self.left = (self.left)
            .checked_sub(steps)
            .ok_or(TooCostly { steps_max })?;
        Ok(())
    }

    fn truth(&mut self, expr: &'a Expr) -> Result<Truth, TooCostly> {
        self.spend(1)?;
        Ok(match expr {
            Expr::Not(part) => !self.truth(part)?,
            Expr::And(parts) => self.chain(parts, Truth::False)?,
            Expr::Or(parts) => self.chain(parts, Truth::True)?,
            Expr::Compare(how, parts) => {
                let [left, right] = &**parts;
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.spend(text_steps(&left).min(text_steps(&right)))?;
                compare(*how, &left, &right)
            }
            Expr::Between(negated, parts) => {
                let [value, low, high] = &**parts;
                let (value, low) = (self.value(value)?, self.value(low)?);
                let high = self.value(high)?;
                if *negated {
                    let below = compare(Compare::Less, &value, &low);
                    either(below, compare(Compare::Greater, &value, &high))
                } else {
                    let above = compare(Compare::GreaterOrEqual, &value, &low);
                    !either(!above, !compare(Compare::LessOrEqual, &value, &high))
                }
            }
            Expr::In(negated, value, list) => {
                let found = match self.value(value)? {
                    Value::Null | Value::Opaque => Truth::Unknown,
                    Value::Text(text) => {
                        self.spend(u64::from(usize::BITS) + text.len() as u64)?;
                        list.binary_search_by(|item| (**item).cmp(&text))
                            .is_ok()
                            .into()
                    }
                    Value::Bool(_) | Value::Exact(_) | Value::Approximate(_) => Truth::False,
                };
                if *negated { !found } else { found }
            }
            Expr::Like(negated, value, pattern) => {
                let matches = match self.value(value)? {
                    Value::Null | Value::Opaque => Truth::Unknown,
                    Value::Text(text) => pattern.matches(&text, || self.spend(1))?.into(),
                    Value::Bool(_) | Value::Exact(_) | Value::Approximate(_) => Truth::False,
                };
                if *negated { !matches } else { matches }
            }
            Expr::IsNull(negated, value) => {
                Truth::from((self.value(value)? == Value::Null) != *negated)
            }
            Expr::Bool(_)
            | Expr::Exact(_)
            | Expr::Approximate(_)
            | Expr::Text(_)
            | Expr::Name(_)
            | Expr::Content(_)
            | Expr::Negate(_)
            | Expr::Arithmetic(..) => match self.value(expr)? {
                Value::Bool(value) => value.into(),
                Value::Null
                | Value::Exact(_)
                | Value::Approximate(_)
                | Value::Text(_)
                | Value::Opaque => Truth::Unknown,
            },
        })
    }

    /// A chain ends at the first part that decides it.
    fn chain(&mut self, parts: &'a [Expr], deciding: Truth) -> Result<Truth, TooCostly> {
        let mut so_far = !deciding;
        for part in parts {
            match self.truth(part)? {
                truth if truth == deciding => return Ok(deciding),
                Truth::Unknown => so_far = Truth::Unknown,
                Truth::True | Truth::False => (),
            }
        }
        Ok(so_far)
    }

    fn value(&mut self, expr: &'a Expr) -> Result<Value<'a>, TooCostly> {
        self.spend(1)?;
        Ok(match expr {
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Exact(number) => Value::Exact(*number),
            Expr::Approximate(number) => Value::Approximate(*number),
            Expr::Text(text) => Value::Text((&**text).into()),
            Expr::Name(name) => self.of.property(name),
            Expr::Content(path) => {
                let Some(content) = self.of.content() else {
                    return Ok(Value::Null);
                };
                self.spend(content.len() as u64)?;
                path.find(content)
            }
            Expr::Negate(part) => match self.value(part)? {
                Value::Exact(number) => number.checked_neg().map_or(Value::Null, Value::Exact),
                Value::Approximate(number) => Value::Approximate(-number),
                Value::Null | Value::Bool(_) | Value::Text(_) | Value::Opaque => Value::Null,
            },
            Expr::Arithmetic(with, parts) => {
                let [left, right] = &**parts;
                calculate(*with, &self.value(left)?, &self.value(right)?)
            }
            Expr::Compare(..)
            | Expr::Not(_)
            | Expr::And(_)
            | Expr::Or(_)
            | Expr::Between(..)
            | Expr::In(..)
            | Expr::Like(..)
            | Expr::IsNull(..) => match self.truth(expr)? {
                Truth::True => Value::Bool(true),
                Truth::False => Value::Bool(false),
                Truth::Unknown => Value::Null,
            },
        })
    }
}

fn text_steps(value: &Value<'_>) -> u64 {
    if let Value::Text(text) = value {
        text.len() as u64
    } else {
        0
    }
}

/// `OR` of two.
fn either(left: Truth, right: Truth) -> Truth {
    match (left, right) {
        (Truth::True, _) | (_, Truth::True) => Truth::True,
        (Truth::Unknown, _) | (_, Truth::Unknown) => Truth::Unknown,
        (Truth::False, Truth::False) => Truth::False,
    }
}

fn compare(how: Compare, left: &Value<'_>, right: &Value<'_>) -> Truth {
    let equality = |equal: bool| match how {
        Compare::Equal => equal,
        Compare::NotEqual => !equal,
        Compare::Less | Compare::LessOrEqual | Compare::Greater | Compare::GreaterOrEqual => false,
    };
    Truth::from(match (left, right) {
        (Value::Null | Value::Opaque, _) | (_, Value::Null | Value::Opaque) => {
            return Truth::Unknown;
        }
        (Value::Exact(left), Value::Exact(right)) => ordered(how, Some(left.cmp(right))),
        (Value::Text(left), Value::Text(right)) => equality(left == right),
        (Value::Bool(left), Value::Bool(right)) => equality(left == right),
        _ => match (double(left), double(right)) {
            (Some(left), Some(right)) => ordered(how, left.partial_cmp(&right)),
            _ => false,
        },
    })
}

fn ordered(how: Compare, order: Option<Ordering>) -> bool {
    match how {
        Compare::Equal => order == Some(Ordering::Equal),
        Compare::NotEqual => order != Some(Ordering::Equal),
        Compare::Less => order.is_some_and(Ordering::is_lt),
        Compare::LessOrEqual => order.is_some_and(Ordering::is_le),
        Compare::Greater => order.is_some_and(Ordering::is_gt),
        Compare::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "as Java promotes a long to a double"
)]
const fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Exact(number) => Some(*number as f64),
        Value::Approximate(number) => Some(*number),
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::Opaque => None,
    }
}

/// Nothing comes of what is no number, of an exact overflow, and of an exact division by zero.
fn calculate(with: Arithmetic, left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    if let (Value::Exact(left), Value::Exact(right)) = (left, right) {
        let exact = match with {
            Arithmetic::Add => left.checked_add(*right),
            Arithmetic::Subtract => left.checked_sub(*right),
            Arithmetic::Multiply => left.checked_mul(*right),
            Arithmetic::Divide => left.checked_div(*right),
        };
        return exact.map_or(Value::Null, Value::Exact);
    }
    let (Some(left), Some(right)) = (double(left), double(right)) else {
        return Value::Null;
    };
    Value::Approximate(match with {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide => left / right,
    })
}
