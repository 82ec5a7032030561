//! The canonical text of a selector. What was read from it is the same selector again.

use alloc::string::String;
use core::fmt;

use super::expr::{Arithmetic, Compare, Expr, Kind};
use super::lexer::{is_keyword, is_name};
use super::like::{Pattern, Piece};
use super::path::{Path, Step};

/// How tightly a part binds: a part that binds less than its place needs stands in parentheses.
const fn binding(expr: &Expr) -> u8 {
    match expr {
        Expr::Or(_) => 0,
        Expr::And(_) => 1,
        Expr::Not(_) => 2,
        Expr::Compare(..)
        | Expr::Between(..)
        | Expr::In(..)
        | Expr::Like(..)
        | Expr::IsNull(..) => 3,
        Expr::Arithmetic(Arithmetic::Add | Arithmetic::Subtract, _) => 4,
        Expr::Arithmetic(Arithmetic::Multiply | Arithmetic::Divide, _) => 5,
        Expr::Negate(_) => 6,
        Expr::Bool(_)
        | Expr::Exact(_)
        | Expr::Approximate(_)
        | Expr::Text(_)
        | Expr::Name(_)
        | Expr::Content(_) => 7,
    }
}

/// `expr` in a place that needs at least this binding.
struct At<'a>(&'a Expr, u8);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(expr, least) = self;
        if binding(expr) < *least {
            write!(f, "({expr})")
        } else {
            write!(f, "{expr}")
        }
    }
}

/// A text in quotes, in which quotes are doubled.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str, quote: char) -> fmt::Result {
    write!(f, "{quote}")?;
    for c in text.chars() {
        write!(f, "{c}")?;
        if c == quote {
            write!(f, "{c}")?;
        }
    }
    write!(f, "{quote}")
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str, least: u8) -> fmt::Result {
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            write!(f, " {word} ")?;
        }
        write!(f, "{}", At(part, least))?;
    }
    Ok(())
}

const fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => f.write_str(if *value { "TRUE" } else { "FALSE" }),
            Self::Exact(value) => write!(f, "{value}"),
            Self::Approximate(value) => write!(f, "{value:?}"),
            Self::Text(text) => quoted(f, text, '\''),
            Self::Name(name) if is_name(name) && !is_keyword(name) => f.write_str(name),
            Self::Name(name) => quoted(f, name, '"'),
            Self::Content(path) => content(f, path),
            Self::Negate(part) => write!(
                f,
                "-{}",
                At(part, if part.kind() == Kind::Any { 7 } else { 8 })
            ),
            Self::Arithmetic(with, parts) => {
                let [left, right] = &**parts;
                let (sign, least) = match with {
                    Arithmetic::Add => ('+', 4),
                    Arithmetic::Subtract => ('-', 4),
                    Arithmetic::Multiply => ('*', 5),
                    Arithmetic::Divide => ('/', 5),
                };
                write!(f, "{} {sign} {}", At(left, least), At(right, least + 1))
            }
            Self::Compare(how, parts) => {
                let [left, right] = &**parts;
                write!(f, "{} {how} {}", At(left, 4), At(right, 4))
            }
            Self::Not(part) => write!(f, "NOT {}", At(part, 2)),
            Self::And(parts) => joined(f, parts, "AND", 2),
            Self::Or(parts) => joined(f, parts, "OR", 1),
            Self::Between(negated, parts) => {
                let [value, low, high] = &**parts;
                write!(f, "{} {}BETWEEN ", At(value, 4), not(*negated))?;
                write!(f, "{} AND {}", At(low, 4), At(high, 4))
            }
            Self::In(negated, value, list) => {
                write!(f, "{} {}IN (", At(value, 4), not(*negated))?;
                for (number, text) in list.iter().enumerate() {
                    f.write_str(if number > 0 { ", " } else { "" })?;
                    quoted(f, text, '\'')?;
                }
                f.write_str(")")
            }
            Self::Like(negated, value, pattern) => {
                write!(f, "{} {}LIKE ", At(value, 4), not(*negated))?;
                like(f, pattern)
            }
            Self::IsNull(negated, value) => {
                write!(f, "{} IS {}NULL", At(value, 4), not(*negated))
            }
        }
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

/// A pattern needs an escape character only if it has a `%` or `_` that means itself.
fn like(f: &mut fmt::Formatter<'_>, pattern: &Pattern) -> fmt::Result {
    let special = |c: char| matches!(c, '%' | '_');
    let escapes = (pattern.0.iter()).any(|piece| matches!(piece, Piece::Char(c) if special(*c)));
    let mut text = String::new();
    for piece in &pattern.0 {
        match piece {
            Piece::Any => text.push('%'),
            Piece::One => text.push('_'),
            Piece::Char(c) => {
                if escapes && (special(*c) || *c == '\\') {
                    text.push('\\');
                }
                text.push(*c);
            }
        }
    }
    quoted(f, &text, '\'')?;
    f.write_str(if escapes { " ESCAPE '\\'" } else { "" })
}

fn content(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    let mut text = String::from("$");
    for step in &path.0 {
        match step {
            Step::Member(name) if is_name(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::Member(name) => {
                text.push_str("[\"");
                for c in name.chars() {
                    if matches!(c, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(c);
                }
                text.push_str("\"]");
            }
            Step::Element(number) => text.push_str(&alloc::format!("[{number}]")),
        }
    }
    f.write_str("JSON_VALUE(body, ")?;
    quoted(f, &text, '\'')?;
    f.write_str(")")
}
