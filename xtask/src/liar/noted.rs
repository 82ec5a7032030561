//! What the client was told, and after which operation of the recording.
//!
//! The client notes how long the recording was when an answer came. Operations up to there were done
//! before, so what was answered must hold after a power cut at any later one. For what was asked it notes
//! the length before: up to there it can't have been done.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use mulgil_log::disk::Recording;

/// A partition of a topic.
pub(super) type Place = (String, u32);

/// An acknowledged record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) place: Place,
    pub(super) life: u64,
    pub(super) k: u64,
    pub(super) offset: i64,
    /// True after so many operations.
    pub(super) after: usize,
}

/// A topic from its creation to its end; names come again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) topic: String,
    pub(super) life: u64,
    pub(super) create_asked: usize,
    pub(super) created: Option<usize>,
    pub(super) delete_asked: Option<usize>,
    pub(super) deleted: Option<usize>,
}

/// A committed offset of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) place: Place,
    pub(super) offset: i64,
    pub(super) asked: usize,
    pub(super) answered: Option<usize>,
}

/// All that was noted.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted {
    pub(super) answers: Vec<Answer>,
    pub(super) lives: Vec<Life>,
    pub(super) commits: Vec<Committed>,
    /// Topics whose producer is idempotent.
    pub(super) once: Vec<String>,
    /// How many records were handed to the client.
    pub(super) sent: BTreeMap<Place, u64>,
    /// Begin and end of the quiet time, in operations.
    pub(super) idle: Option<(usize, usize)>,
    /// What else the client said.
    pub(super) remarks: Vec<String>,
}

impl Noted {
    /// Reads the file of events.
    pub(super) fn open(path: &Path, recording: &Recording) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let mut noted = Self::default();
        let ops = |bytes: u64| recording.ops_within(bytes);
        let mut idle_from = None;
        for line in text.lines() {
            let words = Words(line.split(' ').collect());
            match words.text(0)? {
                "A" => noted.answers.push(Answer {
                    place: (words.text(1)?.to_owned(), words.number(3)?),
                    life: words.number(2)?,
                    k: words.number(4)?,
                    offset: words.number(5)?,
                    after: ops(words.number(6)?),
                }),
                "c" | "C" | "d" | "D" => noted.life(&words, &ops)?,
                "g" | "G" => noted.commit(&words, &ops)?,
                "P" if words.text(3)? == "once" => noted.once.push(words.text(1)?.to_owned()),
                "S" => {
                    let place = (words.text(1)?.to_owned(), words.number(2)?);
                    noted.sent.insert(place, words.number(3)?);
                }
                "i" => idle_from = Some(ops(words.number(1)?)),
                "I" => noted.idle = idle_from.zip(Some(ops(words.number(1)?))),
                "N" => noted.remarks.push(line.to_owned()),
                "P" => {}
                _ => bail!("odd event: {line}"),
            }
        }
        Ok(noted)
    }

    fn life(&mut self, words: &Words<'_>, ops: &impl Fn(u64) -> usize) -> Result<()> {
        let (topic, life) = (words.text(1)?, words.number(2)?);
        let at = ops(words.number(3)?);
        if words.text(0)? == "c" {
            self.lives.push(Life {
                topic: topic.to_owned(),
                life,
                create_asked: at,
                ..Life::default()
            });
            return Ok(());
        }
        let mut known = self.lives.iter_mut().rev();
        let known = known
            .find(|known| known.topic == topic && known.life == life)
            .context("a topic that was not asked for")?;
        match words.text(0)? {
            "C" => known.created = Some(at),
            "d" => known.delete_asked = Some(at),
            _ => known.deleted = Some(at),
        }
        Ok(())
    }

    fn commit(&mut self, words: &Words<'_>, ops: &impl Fn(u64) -> usize) -> Result<()> {
        let place = (words.text(1)?.to_owned(), words.number(2)?);
        let at = ops(words.number(4)?);
        if words.text(0)? == "g" {
            self.commits.push(Committed {
                place,
                offset: words.number(3)?,
                asked: at,
                answered: None,
            });
        } else if let Some(last) = self.commits.last_mut() {
            last.answered = Some(at);
        }
        Ok(())
    }

    /// After which operations an acknowledgement came.
    pub(super) fn answers(&self) -> Vec<usize> {
        self.answers.iter().map(|answer| answer.after).collect()
    }
}

/// A line, word by word.
pub(super) struct Words<'a>(pub(super) Vec<&'a str>);

impl<'a> Words<'a> {
    pub(super) fn text(&self, at: usize) -> Result<&'a str> {
        let word = self.0.get(at).copied();
        word.with_context(|| format!("no word {at} in {}", self.0.join(" ")))
    }

    pub(super) fn number<T: std::str::FromStr>(&self, at: usize) -> Result<T> {
        let word = self.text(at)?;
        word.parse()
            .ok()
            .with_context(|| format!("{word} is no number in {}", self.0.join(" ")))
    }
}
