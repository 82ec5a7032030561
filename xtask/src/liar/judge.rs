//! Compares what a broker has after a power cut with what its client was told before.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};

use super::noted::{Life, Noted, Place, Words};

/// What a reader got from a broker.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Topics.
    topics: BTreeSet<String>,
    /// By offset: life and number of the record.
    pub(super) records: BTreeMap<Place, BTreeMap<i64, (u64, u64)>>,
    /// Offsets that were answered with an error.
    pub(super) errors: BTreeMap<Place, Vec<i64>>,
    committed: BTreeMap<Place, i64>,
    /// Values that nobody sent, and partitions that were not read to their end.
    wrong: Vec<String>,
}

impl Found {
    /// Reads what the reader printed.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut found = Self::default();
        for line in text.lines() {
            let words = Words(line.split(' ').collect());
            if matches!(words.text(0)?, "N") {
                continue;
            }
            let topic = words.text(1)?.to_owned();
            if words.text(0)? == "T" {
                found.topics.insert(topic);
                continue;
            }
            let place = (topic, words.number(2)?);
            let offset: i64 = words.number(3)?;
            match words.text(0)? {
                "R" => {
                    let what = (words.number(4)?, words.number(5)?);
                    let twice = found.records.entry(place).or_default().insert(offset, what);
                    ensure!(twice.is_none(), "an offset came twice: {line}");
                }
                "E" => found.errors.entry(place).or_default().push(offset),
                "G" => {
                    found.committed.insert(place, offset);
                }
                "X" => found.wrong.push(line.to_owned()),
                _ => bail!("odd line of the reader: {line}"),
            }
        }
        Ok(found)
    }

    fn at(&self, place: &Place, offset: i64) -> Option<(u64, u64)> {
        self.records.get(place)?.get(&offset).copied()
    }

    fn damaged(&self, place: &Place, offset: i64) -> bool {
        let errors = self.errors.get(place);
        errors.is_some_and(|offsets| offsets.contains(&offset))
    }
}

/// Checks what was found after a power cut at operation `cut`. `damage` says whether records may be
/// answered with an error, since bytes were flipped.
pub(super) fn judge(noted: &Noted, found: &Found, cut: usize, damage: bool) -> Result<()> {
    if let Some(wrong) = found.wrong.first() {
        bail!("{wrong}");
    }
    if let Some((place, offsets)) = found.errors.iter().next()
        && !damage
    {
        bail!("reading {place:?} at {offsets:?} was answered with an error");
    }
    topics(noted, found, cut)?;
    answers(noted, found, cut)?;
    for (place, records) in &found.records {
        sent(noted, place, records, cut)?;
        if noted.once.contains(&place.0) {
            in_order(place, records, damage)?;
        }
    }
    committed(noted, found, cut)
}

/// The lives of a topic that may be the present one after `cut`.
fn possible<'a>(noted: &'a Noted, topic: &str, cut: usize) -> Vec<&'a Life> {
    let begun = |life: &&Life| life.topic == topic && life.create_asked < cut;
    let over = |life: &Life| life.deleted.is_some_and(|deleted| deleted <= cut);
    let lives = noted.lives.iter().filter(begun);
    lives.filter(|life| !over(life)).collect()
}

fn certain(life: &Life, cut: usize) -> bool {
    life.created.is_some_and(|created| created <= cut)
        && life.delete_asked.is_none_or(|asked| cut <= asked)
}

fn topics(noted: &Noted, found: &Found, cut: usize) -> Result<()> {
    for life in noted.lives.iter().filter(|life| certain(life, cut)) {
        let topic = &life.topic;
        ensure!(
            found.topics.contains(topic),
            "topic {topic} was created, and is lost"
        );
    }
    for topic in &found.topics {
        let there = possible(noted, topic, cut);
        ensure!(
            !there.is_empty(),
            "topic {topic} is there, which was deleted or never created"
        );
    }
    Ok(())
}

fn answers(noted: &Noted, found: &Found, cut: usize) -> Result<()> {
    let lasting: BTreeSet<(&str, u64)> = noted
        .lives
        .iter()
        .filter(|life| certain(life, cut))
        .map(|life| (life.topic.as_str(), life.life))
        .collect();
    let mut lost = Vec::new();
    for answer in noted.answers.iter().filter(|answer| answer.after <= cut) {
        if !lasting.contains(&(answer.place.0.as_str(), answer.life)) {
            continue;
        }
        let there = found.at(&answer.place, answer.offset);
        let right = there == Some((answer.life, answer.k));
        if !right && !found.damaged(&answer.place, answer.offset) {
            lost.push((answer, there));
        }
    }
    if let Some((answer, there)) = lost.first() {
        let ((topic, partition), k, offset) = (&answer.place, answer.k, answer.offset);
        bail!(
            "{} acknowledged records are lost; the first is {k} of {topic}-{partition}, acknowledged at \
             offset {offset} by operation {}, where there is {there:?}",
            lost.len(),
            answer.after
        );
    }
    Ok(())
}

fn sent(
    noted: &Noted,
    place: &Place,
    records: &BTreeMap<i64, (u64, u64)>,
    cut: usize,
) -> Result<()> {
    // Of a passing topic each life has one record.
    let count = noted.sent.get(place).copied().unwrap_or(1);
    let lives = possible(noted, &place.0, cut);
    for (offset, (life, k)) in records {
        ensure!(
            *k < count,
            "{place:?} has record {k} at {offset}, which was never sent"
        );
        ensure!(
            lives.iter().any(|known| known.life == *life),
            "{place:?} has a record of life {life} at {offset}, which was over or not begun"
        );
    }
    Ok(())
}

/// Every record of an idempotent producer once and in order, from the first on.
fn in_order(place: &Place, records: &BTreeMap<i64, (u64, u64)>, damage: bool) -> Result<()> {
    let mut next = 0;
    for (offset, (_, k)) in records {
        let right = *k == next || (damage && *k > next);
        ensure!(
            right,
            "{place:?} has record {k} at offset {offset}, where {next} should be"
        );
        next = k + 1;
    }
    Ok(())
}

fn committed(noted: &Noted, found: &Found, cut: usize) -> Result<()> {
    for (place, offset) in &found.committed {
        let of_place = || noted.commits.iter().filter(|commit| commit.place == *place);
        let least = of_place()
            .filter(|commit| commit.answered.is_some_and(|answered| answered <= cut))
            .map(|commit| commit.offset)
            .max();
        let most = of_place()
            .filter(|commit| commit.asked < cut)
            .map(|commit| commit.offset)
            .max();
        ensure!(
            least.is_none_or(|least| least <= *offset),
            "the group committed {least:?} in {place:?}, there is {offset}"
        );
        ensure!(
            *offset < 0 || most.is_some_and(|most| *offset <= most),
            "the group has {offset} in {place:?}, it never committed more than {most:?}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liar::noted::{Answer, Committed};

    fn noted() -> Noted {
        let place = |partition| ("t".to_owned(), partition);
        let answer = |k: u64, after| Answer {
            place: place(0),
            life: 0,
            k,
            offset: i64::try_from(k).unwrap(),
            after,
        };
        let life = |topic: &str, delete: Option<usize>| Life {
            topic: topic.to_owned(),
            life: 0,
            create_asked: 1,
            created: Some(2),
            delete_asked: delete,
            deleted: delete.map(|at| at + 2),
        };
        Noted {
            answers: vec![answer(0, 10), answer(1, 20)],
            lives: vec![life("t", None), life("u", Some(30))],
            commits: vec![Committed {
                place: place(0),
                offset: 2,
                asked: 14,
                answered: Some(16),
            }],
            once: vec!["t".to_owned()],
            sent: BTreeMap::from([(place(0), 3)]),
            idle: None,
            remarks: Vec::new(),
        }
    }

    fn judged(text: &str, cut: usize) -> Result<()> {
        judge(&noted(), &Found::parse(text).unwrap(), cut, false)
    }

    #[test]
    fn what_was_acknowledged_before_the_cut_must_be_there() {
        let one = "T t 1\nT u 1\nR t 0 0 0 0\n";
        assert!(judged(one, 15).is_ok());
        assert!(judged(one, 20).is_err());
        assert!(judged("T t 1\nT u 1\n", 9).is_ok());
        assert!(judged("T t 1\nT u 1\nR t 0 1 0 0\n", 15).is_err());
    }

    #[test]
    fn more_than_was_acknowledged_is_right_if_it_was_sent_in_order() {
        let all = "T t 1\nT u 1\nR t 0 0 0 0\nR t 0 1 0 1\nR t 0 2 0 2\n";
        assert!(judged(all, 20).is_ok());
        assert!(judged(&format!("{all}R t 0 3 0 3\n"), 20).is_err());
        assert!(judged(&format!("{all}R t 0 3 0 2\n"), 20).is_err());
        assert!(judged("T t 1\nT u 1\nR t 0 0 0 0\nR t 0 1 0 2\n", 15).is_err());
        assert!(judged("T t 1\nT u 1\nX t 0 0 was never sent\n", 5).is_err());
        assert!(judged("T t 1\nT u 1\nE t 0 0 X\n", 5).is_err());
    }

    #[test]
    fn topics_come_and_go_when_that_was_answered() {
        assert!(judged("", 1).is_ok());
        assert!(judged("", 2).is_err());
        let (both, one) = (
            "T t 1\nT u 1\nR t 0 0 0 0\nR t 0 1 0 1\n",
            "T t 1\nR t 0 0 0 0\nR t 0 1 0 1\n",
        );
        assert!(judged(one, 30).is_err());
        assert!(judged(one, 31).is_ok() && judged(both, 31).is_ok());
        assert!(judged(both, 32).is_err());
    }

    #[test]
    fn committed_offsets_stay() {
        let with = |offset: i64| format!("T t 1\nT u 1\nR t 0 0 0 0\nG t 0 {offset}\n");
        assert!(judged(&with(-1001), 15).is_ok());
        assert!(judged(&with(-1001), 16).is_err());
        assert!(judged(&with(2), 16).is_ok());
        assert!(judged(&with(3), 16).is_err());
        assert!(judged(&with(2), 14).is_err());
    }
}
