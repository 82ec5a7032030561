//! From a text to a checked tree, by recursive descent with one word of lookahead.
//!
//! ```text
//! or         = and { OR and }
//! and        = not { AND not }
//! not        = NOT not | predicate
//! predicate  = sum [ (= <> < <= > >=) sum | IS [NOT] NULL
//!                  | [NOT] (BETWEEN sum AND sum | IN (text, ...) | LIKE text [ESCAPE text]) ]
//! sum        = product { (+ -) product }
//! product    = unary { (* /) unary }
//! unary      = (+ -) unary | number | text | TRUE | FALSE | name | JSON_VALUE(body, text) | ( or )
//! ```

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::expr::{Arithmetic, Compare, Expr, Kind};
use super::lexer::{Expected, Lexer, SelectorError, Token, is_keyword};
use super::like::Pattern;
use super::path::Path;
use super::{CONTENT_READS_MAX, DEPTH_MAX, NODES_MAX, TEXT_BYTES_MAX};

/// Calls within calls. Canonical text has up to two for each level of the tree.
const CALLS_MAX: usize = 2 * DEPTH_MAX + 2;

const CONDITION: Expected = "a condition on this side";
const NUMBER: Expected = "a number on this side";
const PLACE: Expected = "a name or JSON_VALUE before this";

/// Understands the whole of `text`.
pub(super) fn parse(text: &str) -> Result<Expr, SelectorError> {
    let over = |most, what| SelectorError::TooLarge {
        position: 1,
        most,
        what,
    };
    if text.len() > TEXT_BYTES_MAX {
        return Err(over(TEXT_BYTES_MAX, "bytes"));
    }
    let mut lexer = Lexer::new(text);
    let (at, token) = lexer.next()?;
    if token == Token::End {
        return Ok(Expr::Bool(true));
    }
    let mut parser = Parser {
        lexer,
        at,
        token,
        nodes: 0,
        contents: 0,
        calls: 0,
    };
    let root = parser.or()?;
    if parser.token != Token::End {
        return Err(parser.unexpected("an operator or the end"));
    }
    parser.must(&root, Kind::Condition, 0, "a condition")?;
    if root.depth() > DEPTH_MAX {
        return Err(over(DEPTH_MAX, "levels"));
    }
    if root.to_string().len() > TEXT_BYTES_MAX {
        return Err(over(TEXT_BYTES_MAX, "bytes in its canonical form"));
    }
    Ok(root)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The next word and where it begins.
    token: Token<'a>,
    at: usize,
    nodes: usize,
    contents: usize,
    calls: usize,
}

type Parsed = Result<Expr, SelectorError>;

impl<'a> Parser<'a> {
    fn unexpected(&self, expected: Expected) -> SelectorError {
        self.lexer.unexpected(self.at, expected)
    }

    const fn too_large(&self, most: usize, what: &'static str) -> SelectorError {
        SelectorError::TooLarge {
            position: self.at + 1,
            most,
            what,
        }
    }

    fn advance(&mut self) -> Result<(), SelectorError> {
        (self.at, self.token) = self.lexer.next()?;
        Ok(())
    }

    /// Counts a node before it is made.
    const fn node(&mut self) -> Result<(), SelectorError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(self.too_large(NODES_MAX, "operators, names and literals"));
        }
        Ok(())
    }

    /// Runs `inner` one call deeper.
    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.calls == CALLS_MAX {
            return Err(self.too_large(DEPTH_MAX, "levels"));
        }
        self.calls += 1;
        let parsed = inner(self);
        self.calls -= 1;
        parsed
    }

    fn is_keyword(&self, keyword: &str) -> bool {
        matches!(self.token, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn take_keyword(&mut self, keyword: &str) -> Result<bool, SelectorError> {
        let is = self.is_keyword(keyword);
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    fn take_sign(&mut self, sign: &'static str) -> Result<bool, SelectorError> {
        let is = self.token == Token::Sign(sign);
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    fn need_sign(&mut self, sign: &'static str) -> Result<(), SelectorError> {
        if self.take_sign(sign)? {
            return Ok(());
        }
        Err(self.unexpected(sign))
    }

    /// A string, with where it begins.
    fn need_text(&mut self, what: Expected) -> Result<(usize, Cow<'a, str>), SelectorError> {
        let Token::Text(raw) = self.token else {
            return Err(self.unexpected(what));
        };
        let from = self.at;
        self.advance()?;
        Ok((from, undoubled(raw, "''", "'")))
    }

    /// Refuses what can never be of `kind`; `from` is where it begins.
    fn must(
        &self,
        expr: &Expr,
        kind: Kind,
        from: usize,
        expected: Expected,
    ) -> Result<(), SelectorError> {
        if expr.kind() == kind || (expr.kind() == Kind::Any && kind != Kind::Any) {
            return Ok(());
        }
        Err(self.lexer.unexpected(from, expected))
    }

    fn or(&mut self) -> Parsed {
        self.chain("OR", Self::and, Expr::Or)
    }

    fn and(&mut self) -> Parsed {
        self.chain("AND", Self::not, Expr::And)
    }

    /// Conditions joined by `word`; such a chain within the chain becomes part of it.
    fn chain(
        &mut self,
        word: &'static str,
        part: fn(&mut Self) -> Parsed,
        make: fn(Vec<Expr>) -> Expr,
    ) -> Parsed {
        let mut from = self.at;
        let first = part(self)?;
        if !self.is_keyword(word) {
            return Ok(first);
        }
        self.node()?;
        self.must(&first, Kind::Condition, from, CONDITION)?;
        let mut parts = Vec::new();
        let mut next = first;
        loop {
            match (next, word) {
                (Expr::Or(inner), "OR") | (Expr::And(inner), "AND") => parts.extend(inner),
                (other, _) => parts.push(other),
            }
            if !self.take_keyword(word)? {
                return Ok(make(parts));
            }
            from = self.at;
            next = part(self)?;
            self.must(&next, Kind::Condition, from, CONDITION)?;
        }
    }

    fn not(&mut self) -> Parsed {
        if !self.take_keyword("NOT")? {
            return self.predicate();
        }
        self.node()?;
        let from = self.at;
        let part = self.deeper(Self::not)?;
        self.must(&part, Kind::Condition, from, CONDITION)?;
        Ok(Expr::Not(Box::new(part)))
    }

    fn predicate(&mut self) -> Parsed {
        let from = self.at;
        let left = self.sum()?;
        if let Token::Sign(sign) = self.token
            && let Some(how) = compare(sign)
        {
            self.advance()?;
            return self.compared(how, left, from);
        }
        if self.take_keyword("IS")? {
            let negated = self.take_keyword("NOT")?;
            if !self.take_keyword("NULL")? {
                return Err(self.unexpected("NULL"));
            }
            self.node()?;
            self.must(&left, Kind::Any, from, PLACE)?;
            return Ok(Expr::IsNull(negated, Box::new(left)));
        }
        let negated = self.take_keyword("NOT")?;
        if self.take_keyword("BETWEEN")? {
            self.between(negated, left, from)
        } else if self.take_keyword("IN")? {
            self.must(&left, Kind::Any, from, PLACE)?;
            self.list(negated, left)
        } else if self.take_keyword("LIKE")? {
            self.must(&left, Kind::Any, from, PLACE)?;
            self.like(negated, left)
        } else if negated {
            Err(self.unexpected("BETWEEN, IN or LIKE"))
        } else {
            Ok(left)
        }
    }

    fn compared(&mut self, how: Compare, left: Expr, from: usize) -> Parsed {
        self.node()?;
        let behind = self.at;
        let right = self.sum()?;
        if how.is_ordering() {
            self.must(&left, Kind::Number, from, NUMBER)?;
            self.must(&right, Kind::Number, behind, NUMBER)?;
        }
        Ok(Expr::Compare(how, Box::new([left, right])))
    }

    fn between(&mut self, negated: bool, value: Expr, from: usize) -> Parsed {
        self.node()?;
        self.must(&value, Kind::Number, from, NUMBER)?;
        let from = self.at;
        let low = self.sum()?;
        self.must(&low, Kind::Number, from, NUMBER)?;
        if !self.take_keyword("AND")? {
            return Err(self.unexpected("AND and the upper bound"));
        }
        let from = self.at;
        let high = self.sum()?;
        self.must(&high, Kind::Number, from, NUMBER)?;
        Ok(Expr::Between(negated, Box::new([value, low, high])))
    }

    fn list(&mut self, negated: bool, value: Expr) -> Parsed {
        self.node()?;
        self.need_sign("(")?;
        let mut list: Vec<Box<str>> = Vec::new();
        loop {
            self.node()?;
            let (_, text) = self.need_text("a string in single quotes")?;
            list.push(text.into());
            if !self.take_sign(",")? {
                break;
            }
        }
        if !self.take_sign(")")? {
            return Err(self.unexpected("a comma or )"));
        }
        list.sort_unstable();
        list.dedup();
        Ok(Expr::In(negated, Box::new(value), list.into()))
    }

    fn like(&mut self, negated: bool, value: Expr) -> Parsed {
        self.node()?;
        let (from, text) = self.need_text("a pattern in single quotes")?;
        let mut escape = None;
        if self.take_keyword("ESCAPE")? {
            const ONE: Expected = "one character in single quotes";
            let (at, text) = self.need_text(ONE)?;
            let mut chars = text.chars();
            escape = chars.next();
            if escape.is_none() || chars.next().is_some() {
                return Err(self.lexer.unexpected(at, ONE));
            }
        }
        let pattern = Pattern::new(&text, escape).ok_or_else(|| {
            let expected =
                "a pattern with %, _ or the escape character behind each escape character";
            self.lexer.unexpected(from, expected)
        })?;
        Ok(Expr::Like(negated, Box::new(value), pattern))
    }

    fn sum(&mut self) -> Parsed {
        let signs = [("+", Arithmetic::Add), ("-", Arithmetic::Subtract)];
        self.calculation(signs, Self::product)
    }

    fn product(&mut self) -> Parsed {
        let signs = [("*", Arithmetic::Multiply), ("/", Arithmetic::Divide)];
        self.calculation(signs, Self::unary)
    }

    fn calculation(
        &mut self,
        signs: [(&'static str, Arithmetic); 2],
        part: fn(&mut Self) -> Parsed,
    ) -> Parsed {
        let from = self.at;
        let mut left = part(self)?;
        while let Some((_, with)) = (signs.iter()).find(|(sign, _)| self.token == Token::Sign(sign))
        {
            self.must(&left, Kind::Number, from, NUMBER)?;
            self.advance()?;
            self.node()?;
            let behind = self.at;
            let right = part(self)?;
            self.must(&right, Kind::Number, behind, NUMBER)?;
            left = Expr::Arithmetic(*with, Box::new([left, right]));
            if left.depth() > DEPTH_MAX {
                return Err(self.too_large(DEPTH_MAX, "levels"));
            }
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        let negative = self.token == Token::Sign("-");
        if !negative && self.token != Token::Sign("+") {
            return self.primary();
        }
        self.advance()?;
        // The least of all integers has no positive counterpart, so the sign is read with the number.
        if negative && self.token == Token::Exact(1 << 63) {
            self.advance()?;
            self.node()?;
            return Ok(Expr::Exact(i64::MIN));
        }
        let from = self.at;
        let part = self.deeper(Self::unary)?;
        self.must(&part, Kind::Number, from, NUMBER)?;
        if !negative {
            if part.kind() != Kind::Any {
                return Ok(part);
            }
            // `+x` of a name is a number or nothing, which `x` alone need not be.
            self.node()?;
            self.node()?;
            let parts = [Expr::Exact(0), part];
            return Ok(Expr::Arithmetic(Arithmetic::Add, Box::new(parts)));
        }
        if let Expr::Exact(number) = part
            && let Some(negative) = number.checked_neg()
        {
            return Ok(Expr::Exact(negative));
        }
        if let Expr::Approximate(number) = part {
            return Ok(Expr::Approximate(-number));
        }
        self.node()?;
        Ok(Expr::Negate(Box::new(part)))
    }

    fn primary(&mut self) -> Parsed {
        let (from, token) = (self.at, self.token);
        let outside = "a number of at most 63 bits";
        self.node()?;
        let expr = match token {
            Token::Exact(number) => {
                let number = i64::try_from(number).ok();
                Expr::Exact(number.ok_or_else(|| self.lexer.unexpected(from, outside))?)
            }
            Token::Bits(bits) => Expr::Exact(bits.cast_signed()),
            Token::Approximate(number) => Expr::Approximate(number),
            Token::Text(raw) => Expr::Text(undoubled(raw, "''", "'").into()),
            Token::Quoted(raw) => Expr::Name(undoubled(raw, "\"\"", "\"").into()),
            Token::Word(word) => return self.word(word, from),
            Token::Sign("(") => {
                self.advance()?;
                let inner = self.deeper(Self::or)?;
                self.need_sign(")")?;
                return Ok(inner);
            }
            Token::Sign(_) | Token::End => {
                return Err(self.unexpected("a name, a literal, NOT or ("));
            }
        };
        self.advance()?;
        Ok(expr)
    }

    fn word(&mut self, word: &str, from: usize) -> Parsed {
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
        if is("NULL") {
            return Err(self.unexpected("a value (IS NULL asks whether there is none)"));
        }
        let value = is("TRUE") || is("FALSE");
        if is_keyword(word) && !value {
            return Err(self.unexpected("a name, a literal, NOT or ("));
        }
        self.advance()?;
        if value {
            return Ok(Expr::Bool(is("TRUE")));
        }
        if self.token != Token::Sign("(") {
            return Ok(Expr::Name(word.into()));
        }
        if !is("JSON_VALUE") {
            let expected = "a name or JSON_VALUE, which is the only function,";
            return Err(self.lexer.unexpected(from, expected));
        }
        self.contents += 1;
        if self.contents > CONTENT_READS_MAX {
            return Err(self.too_large(CONTENT_READS_MAX, "times JSON_VALUE"));
        }
        self.advance()?;
        if !self.take_keyword("body")? {
            return Err(self.unexpected("body"));
        }
        self.need_sign(",")?;
        let (at, text) = self.need_text("a path in single quotes")?;
        let expected = "a path such as '$.a.b[0][\"any name\"]', of at most 32 steps";
        let path = Path::parse(&text).ok_or_else(|| self.lexer.unexpected(at, expected))?;
        self.need_sign(")")?;
        Ok(Expr::Content(path))
    }
}

fn compare(sign: &str) -> Option<Compare> {
    Some(match sign {
        "=" => Compare::Equal,
        "<>" => Compare::NotEqual,
        "<" => Compare::Less,
        "<=" => Compare::LessOrEqual,
        ">" => Compare::Greater,
        ">=" => Compare::GreaterOrEqual,
        _ => return None,
    })
}

fn undoubled<'a>(raw: &'a str, doubled: &str, quote: &str) -> Cow<'a, str> {
    if raw.contains(quote) {
        Cow::Owned(raw.replace(doubled, quote))
    } else {
        Cow::Borrowed(raw)
    }
}
