//! Flipped bits: below the last synced mark they are damage, beyond it they can't be told from a tear.
//!
//! Damage is never served and never cut silently: the record is answered with an error, or the start is
//! refused with the file and the place; everything else is there. This holds for the last acknowledged
//! record of an idle night too. In a tail that was not synced, a flipped bit ends the log there: the
//! bytes go to quarantine, and that is reported.

use anyhow::{Context, Result, bail, ensure};
use mulgil_log::disk::DiskOp;
use mulgil_log::disk::cut::Dice;

use super::Kit;
use super::images::{Image, Plan};
use super::judge::judge;
use super::noted::Answer;
use super::session::{Files, Outcome, Session};
use crate::tally::Tally;

const FRAME_MAGIC: &[u8] = b"MGFR";
const FRAME_HEADER_BYTES: usize = 64;
/// The topic whose records lie in the log as they were sent.
const PLAIN: &str = "liar-once";

/// Where a bit is flipped, seen from a record.
#[derive(Debug, Clone, Copy)]
enum Spot {
    Value,
    EntryHeader,
    FrameHeader,
}

/// Flips a bit in synced and in unsynced places, one disk each.
pub(super) fn run(kit: &Kit, session: &Session, seed: u64) -> Result<Tally> {
    let mut dice = Dice::new(seed);
    let (from, to) = session.noted.idle.context("there was no quiet time")?;
    let idle: Vec<&Answer> = session
        .noted
        .answers
        .iter()
        .filter(|answer| answer.place.0 == PLAIN && answer.after <= from)
        .collect();
    let last = idle.iter().max_by_key(|answer| answer.after);
    let last = *last.context("nothing was acknowledged before the quiet time")?;
    let some = usize::try_from(dice.below(idle.len() as u64))?;
    let some = *idle.get(some).context("within")?;
    let mut tally = Tally::default();
    for (which, answer) in [("some", some), ("last", last)] {
        for spot in [Spot::Value, Spot::EntryHeader, Spot::FrameHeader] {
            let result = synced(kit, session, to, answer, spot, &mut dice);
            tally.add(told(
                &format!("{spot:?} of the {which} record before {to}"),
                result,
            ));
        }
    }
    for _ in 0..2 {
        let (cut, result) = unsynced(kit, session, &mut dice);
        tally.add(told(&format!("unsynced before {cut}"), result));
    }
    Ok(tally)
}

fn told(what: &str, result: Result<()>) -> Tally {
    match result {
        Ok(()) => Tally::passed(),
        Err(wrong) => Tally::failed(format!("liar: a bit flipped in {what}: {wrong:#}")),
    }
}

/// A bit is flipped in or above `answer`, which lay on the disk for a while.
fn synced(
    kit: &Kit,
    session: &Session,
    cut: usize,
    answer: &Answer,
    spot: Spot,
    dice: &mut Dice,
) -> Result<()> {
    let image = Image {
        cut,
        plan: Plan::Dropped,
        seed: 0,
    };
    let mut file = String::new();
    let outcome = session.start(kit, image, |files| {
        let (name, value, length) = find(files, answer)?;
        name.clone_into(&mut file);
        let bytes = files.get_mut(&file).context("the file is there")?;
        let frame = frame_before(bytes, value).context("a record in no frame")?;
        let at = match spot {
            Spot::Value => value + usize::try_from(dice.below(length as u64))?,
            Spot::EntryHeader => frame + FRAME_HEADER_BYTES + usize::try_from(dice.below(40))?,
            Spot::FrameHeader => frame + usize::try_from(dice.below(FRAME_HEADER_BYTES as u64))?,
        };
        flip(bytes, at, dice)
    })?;
    let Outcome { found, logged } = outcome;
    let Some(found) = found else {
        ensure!(
            logged.contains(&file) && logged.contains("damaged at"),
            "the start was refused without file and place: {}",
            logged.lines().last().unwrap_or_default()
        );
        return Ok(());
    };
    ensure!(logged.contains("damaged"), "no damage was reported");
    for place in found.errors.keys() {
        ensure!(
            matches!(spot, Spot::EntryHeader)
                || *place == answer.place
                || matches!(spot, Spot::FrameHeader),
            "{place:?} has errors and was not touched"
        );
    }
    if matches!(spot, Spot::Value) {
        let errors = found.errors.get(&answer.place);
        ensure!(
            errors.is_some_and(|offsets| offsets.contains(&answer.offset)),
            "the record was not answered with an error"
        );
    }
    judge(&session.noted, &found, cut, true)
}

/// A bit is flipped in the last write before a sync; all of it had arrived.
fn unsynced(kit: &Kit, session: &Session, dice: &mut Dice) -> (usize, Result<()>) {
    let ops = session.recording.ops();
    let writes: Vec<usize> = ops
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| matches!(pair, [DiskOp::Write { bytes, .. }, DiskOp::Sync { .. }] if holds_record(bytes)))
        .map(|(at, _)| at)
        .collect();
    let some = dice.below(writes.len().max(1) as u64);
    let Some(&at) = usize::try_from(some).ok().and_then(|some| writes.get(some)) else {
        return (
            0,
            Err(anyhow::anyhow!("no write of a record stands before a sync")),
        );
    };
    (at + 1, unsynced_at(kit, session, at, dice))
}

fn unsynced_at(kit: &Kit, session: &Session, at: usize, dice: &mut Dice) -> Result<()> {
    let Some(DiskOp::Write { bytes, .. }) = session.recording.ops().get(at) else {
        bail!("operation {at} is no write");
    };
    let image = Image {
        cut: at + 1,
        plan: Plan::Kept,
        seed: 0,
    };
    let outcome = session.start(kit, image, |files| {
        let place = files
            .values_mut()
            .find_map(|file| Some((position(file, bytes)?, file)));
        let (from, file) = place.context("the write has arrived nowhere")?;
        let record = position(bytes, PLAIN.as_bytes()).context("a record")?;
        flip(file, from + record + usize::try_from(dice.below(20))?, dice)
    })?;
    let found = outcome.found.context("the broker does not start")?;
    ensure!(
        outcome.logged.contains("quarantine"),
        "nothing was reported"
    );
    judge(&session.noted, &found, at + 1, false)
}

fn flip(bytes: &mut [u8], at: usize, dice: &mut Dice) -> Result<()> {
    let byte = bytes.get_mut(at).context("beyond the end of the file")?;
    *byte ^= 1 << dice.below(8);
    Ok(())
}

fn holds_record(bytes: &[u8]) -> bool {
    position(bytes, format!("{PLAIN} 0 ").as_bytes()).is_some()
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = wanted.first()?;
    let starts = bytes.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts.map(|(at, _)| at).find(|at| {
        bytes
            .get(*at..)
            .is_some_and(|rest| rest.starts_with(wanted))
    })
}

/// File, place and length of the head of a record's value.
fn find<'a>(files: &'a Files, answer: &Answer) -> Result<(&'a String, usize, usize)> {
    let ((topic, partition), life, k) = (&answer.place, answer.life, answer.k);
    let head = format!("{topic} {life} {partition} {k} ");
    let place = files
        .iter()
        .find_map(|(name, bytes)| Some((name, position(bytes, head.as_bytes())?, head.len())));
    place.with_context(|| format!("`{head}` is in no file"))
}

/// Where the frame begins in which `at` lies.
fn frame_before(bytes: &[u8], at: usize) -> Option<usize> {
    let mut from = at - at % 8;
    while from > 0 {
        if bytes.get(from..)?.starts_with(FRAME_MAGIC) {
            return Some(from);
        }
        from -= 8;
    }
    None
}
