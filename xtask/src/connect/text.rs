//! The lines that are copied, some of them odd.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;

/// What stands in lines without a number. There is no carriage return, which the source takes for the
/// end of a line and the sink does not write again.
const ODD: [&str; 16] = [
    "",
    " ",
    "\t\ttabs, and blanks at the end \t ",
    "{\"schema\":null,\"payload\":\"\\\"\"}",
    "null",
    "\\n \\u0000 \\ %s ${x} $(x) #{x} @KAFKA@",
    "'; -- \" ` <a href=\"b\">&amp;</a>",
    "\0 zero, \u{1} \u{8} \u{1b}[31m and \u{7f}",
    "\u{b} and \u{c} end no line",
    "물길을 따라",
    "\u{feff}not the beginning of a file",
    "\u{85} \u{2028} \u{2029} end none either",
    "e\u{301} \u{202e}turned\u{202c} \u{200b}",
    "🜄 𐍈 👩‍🚀 beyond sixteen bits",
    "\u{fffd} \u{ffff} \u{e000} \u{10ffff}",
    "ﷺ ß ſ İ ı",
];
/// Longer than any buffer that a line meets on its way.
const LONG_BYTES: usize = 20_000;

/// Which lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The connector skips to a place by bytes that it has counted by characters, so that what is to
    /// be read after a restart of its task has to be ASCII.
    Ascii,
    Any,
}

/// Lines from number `from` on, of at least `bytes`. Every tenth is odd, every 5,000th long; all
/// others tell their number, so that a difference says what it is.
pub(super) fn lines(from: u64, bytes: usize, kind: Kind) -> String {
    let odd: Vec<&str> = ODD
        .into_iter()
        .filter(|line| kind == Kind::Any || line.is_ascii())
        .collect();
    let mut text = String::with_capacity(bytes + LONG_BYTES);
    let mut odd = odd.into_iter().cycle();
    for number in from.. {
        if text.len() >= bytes {
            break;
        }
        match (number % 5_000, number % 10) {
            (0, _) => text.push_str(&"long ".repeat(LONG_BYTES / 5)),
            (_, 5) => text.push_str(odd.next().unwrap_or_default()),
            _ => {
                let told = "the water wears the stone a little every day, and goes round it";
                write!(text, "line {number}: {told}").ok();
            }
        }
        text.push('\n');
    }
    text
}

/// Adds `text` at the end of a file.
pub(super) fn append(path: &Path, text: &str) -> Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_odd_line_is_there_and_none_is_cut() {
        let text = lines(0, 1_000_000, Kind::Any);
        assert!(text.len() >= 1_000_000);
        let all: Vec<&str> = text.split('\n').collect();
        for odd in ODD {
            assert!(all.contains(&odd), "{odd:?}");
        }
        assert!(all.iter().any(|line| line.len() == LONG_BYTES));
        assert!(!text.contains('\r'));
    }

    #[test]
    fn ascii_is_ascii() {
        assert!(lines(7, 100_000, Kind::Ascii).is_ascii());
    }
}
