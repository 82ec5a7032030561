//! Selectors with every part of the language, and a content.

use super::Seed;

const SELECTORS: [(&str, &str); 6] = [
    (
        "logic",
        "NOT a AND (b OR TRUE) OR FALSE AND \"content-type\" IS NOT NULL",
    ),
    (
        "numbers",
        "-a * (2 + 0x1F) / 1e-3 - 017 <= +7L AND a <> .5 OR a NOT BETWEEN -7. AND 8D",
    ),
    (
        "texts",
        "abcde = 'it''s' OR abcde NOT IN ('x', 'y') AND a IN ('z')",
    ),
    (
        "like",
        "abcde LIKE '%a_b%%c!%!!' ESCAPE '!' OR abcde NOT LIKE '%\"%'",
    ),
    (
        "content",
        "JSON_VALUE(body, '$.a.b[0]') = 7 AND JSON_VALUE(body, '$[\"x \\\"y\"]') IS NULL",
    ),
    (
        "deep",
        "((((NOT (NOT ((a)))))) OR - - -(a) > - -9223372036854775808)",
    ),
];
const CONTENT: &[u8] = br#"{"c":[null,{"d":"\u00e9"}],"a":{"b":[7,1.5e3,"x"]},"x \"y":true}"#;

pub(crate) fn selector() -> Vec<Seed> {
    let seed = |(name, text): (&str, &str)| {
        let bytes = [text.as_bytes(), &[0], CONTENT].concat();
        (name.to_owned(), bytes)
    };
    SELECTORS.map(seed).into()
}
