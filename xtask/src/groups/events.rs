//! The lines that the processes of a run write, as `interop/python/groups.py` describes them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A partition as it is written: `TOPIC/NUMBER`.
pub(super) type Place = String;

/// Offsets or numbers of several partitions.
pub(super) type Offsets = Vec<(Place, i64)>;

/// Something that a process did or was told, at a time of the clock that all of them share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) at_ns: u64,
    pub(super) what: What,
}

/// What it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Assigned(i64, Vec<Place>),
    /// Handed back: `revoked`, or `lost` because the group went on without it.
    Gone(i64, Vec<Place>),
    Record {
        place: Place,
        offset: i64,
        number: i64,
    },
    Commit(i64, Offsets),
    Committed,
    Uncommitted,
    Tick(i64),
    Trouble,
    /// Killed; no process writes this of itself.
    Killed,
    Acknowledged {
        place: Place,
        number: i64,
        offset: i64,
    },
    Refused(String),
    Look,
    Offsets(String, Offsets),
    Group(Described),
    Busy,
    Looked(u64),
}

/// A group as the broker describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) group: String,
    pub(super) state: String,
    /// Each member by its client id.
    pub(super) members: Vec<(String, Vec<Place>)>,
}

impl Event {
    /// Reads a line.
    pub(super) fn parse(line: &str) -> Result<Self> {
        let mut words = line.splitn(3, ' ');
        let at_ns = words
            .next()
            .unwrap_or_default()
            .parse()
            .with_context(|| format!("no time: {line}"))?;
        let word = words.next().unwrap_or_default();
        let what = What::parse(word, words.next().unwrap_or_default())
            .with_context(|| format!("odd line: {line}"))?;
        Ok(Self { at_ns, what })
    }
}

impl What {
    fn parse(word: &str, rest: &str) -> Result<Self> {
        let mut words = rest.split(' ').filter(|word| !word.is_empty());
        let mut next = || words.next().context("it ends too early");
        Ok(match word {
            "assigned" => Self::Assigned(number(next()?)?, words.map(str::to_owned).collect()),
            "revoked" | "lost" => Self::Gone(number(next()?)?, words.map(str::to_owned).collect()),
            "record" => Self::Record {
                place: next()?.to_owned(),
                offset: number(next()?)?,
                number: number(next()?)?,
            },
            "commit" => Self::Commit(number(next()?)?, offsets(words)?),
            "committed" => Self::Committed,
            "uncommitted" => Self::Uncommitted,
            "tick" => Self::Tick(number(next()?)?),
            "trouble" => Self::Trouble,
            "acknowledged" => Self::Acknowledged {
                place: next()?.to_owned(),
                number: number(next()?)?,
                offset: number(next()?)?,
            },
            "refused" => Self::Refused(rest.to_owned()),
            "look" => Self::Look,
            "offsets" => Self::Offsets(next()?.to_owned(), offsets(words)?),
            "group" => Self::Group(Described {
                group: next()?.to_owned(),
                state: next()?.to_owned(),
                members: words.map(member).collect::<Result<_>>()?,
            }),
            "busy" => Self::Busy,
            "looked" => Self::Looked(next()?.parse()?),
            _ => bail!("nobody says `{word}`"),
        })
    }
}

fn number(word: &str) -> Result<i64> {
    word.parse().with_context(|| format!("no number: {word}"))
}

fn offsets<'a>(words: impl Iterator<Item = &'a str>) -> Result<Offsets> {
    words
        .map(|word| {
            let (place, offset) = word.split_once('=').context("no PLACE=OFFSET")?;
            Ok((place.to_owned(), number(offset)?))
        })
        .collect()
}

fn member(word: &str) -> Result<(String, Vec<Place>)> {
    let (life, places) = word.split_once(':').context("no LIFE:PLACE,PLACE")?;
    let places = places.split(',').filter(|place| !place.is_empty());
    Ok((life.to_owned(), places.map(str::to_owned).collect()))
}

/// A file of lines that grows, read on from where the last look ended.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    at: u64,
}

impl Tail {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            at: 0,
        }
    }

    /// The lines that have been finished since.
    pub(super) fn events(&mut self) -> Result<Vec<Event>> {
        let mut file = File::open(&self.path)
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.at))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        self.at += u64::try_from(whole)?;
        text.truncate(whole);
        let text = String::from_utf8(text).with_context(|| format!("{}", self.path.display()))?;
        text.lines().map(Event::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(line: &str) -> What {
        let event = Event::parse(&format!("7 {line}")).unwrap();
        assert_eq!(event.at_ns, 7);
        event.what
    }

    #[test]
    fn lines_are_read() {
        let places = vec!["a/0".to_owned(), "b/12".to_owned()];
        assert_eq!(
            what("assigned 4 a/0 b/12"),
            What::Assigned(4, places.clone())
        );
        assert_eq!(what("lost -1 a/0 b/12"), What::Gone(-1, places.clone()));
        assert_eq!(what("assigned 4"), What::Assigned(4, Vec::new()));
        let offsets = vec![("a/0".to_owned(), 5), ("b/12".to_owned(), -1)];
        assert_eq!(what("commit 3 a/0=5 b/12=-1"), What::Commit(3, offsets));
        assert_eq!(what("uncommitted for a reason"), What::Uncommitted);
        let described = Described {
            group: "range".to_owned(),
            state: "STABLE".to_owned(),
            members: vec![("x.1".to_owned(), places), ("y.2".to_owned(), Vec::new())],
        };
        assert_eq!(
            what("group range STABLE x.1:a/0,b/12 y.2:"),
            What::Group(described)
        );
    }

    #[test]
    fn odd_lines_are_refused() {
        for line in [
            "",
            "x tick 3",
            "7",
            "7 dance",
            "7 tick",
            "7 record a/0 5",
            "7 commit 3 a/0",
        ] {
            assert!(Event::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_tail_waits_for_the_end_of_a_line() {
        let path = crate::repo::scratch("test-tail").unwrap().join("log");
        std::fs::write(&path, "1 tick 1\n2 ti").unwrap();
        let mut tail = Tail::new(&path);
        assert_eq!(tail.events().unwrap().len(), 1);
        assert_eq!(tail.events().unwrap(), []);
        std::fs::write(&path, "1 tick 1\n2 tick 5\n").unwrap();
        assert_eq!(tail.events().unwrap().first().unwrap().what, What::Tick(5));
    }
}
