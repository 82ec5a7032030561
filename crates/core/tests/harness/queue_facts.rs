//! Random facts of records, and what is read from them anew for the model.

use mulgil_core::queue::Append;
use mulgil_record::facts::{DUE_AT_ONCE, EXPIRES_NEVER, Facts};

use super::Dice;
use mulgil_core::machine::WallTime;

/// What doors find out of records: when they are due, when they expire, and all else.
pub(super) fn facts(dice: &mut Dice, wall: WallTime, records: u64) -> Facts {
    let mut facts = Facts::new(1, u32::try_from(records).expect("few"));
    let wall = i64::try_from(wall.0).expect("a date");
    let mut soon = |none: i64| {
        let later = i64::try_from(dice.below(60)).expect("few");
        if dice.one_in(4) { wall + later } else { none }
    };
    facts.due_ms = (0..records).map(|_| soon(DUE_AT_ONCE)).collect();
    facts.expiry_ms = (0..records).map(|_| soon(EXPIRES_NEVER)).collect();
    if !dice.one_in(4) {
        let level = |dice: &mut Dice| dice.pick(&[0, 0, 4, 9, 255]).expect("one");
        facts.priorities = (0..records).map(|_| level(dice)).collect();
    }
    if !dice.one_in(4) {
        let key = |dice: &mut Dice| dice.pick(&[0, 1, 2, 3 << 40]).expect("one");
        facts.ordering_keys = (0..records).map(|_| key(dice)).collect();
    }
    if dice.one_in(2) {
        facts.deduplication = (0..records).map(|_| dice.below(40).into()).collect();
    }
    if !dice.one_in(4) {
        let alike = u32::try_from(dice.below(300)).expect("few");
        let size = |dice: &mut Dice| dice.pick(&[alike, alike, 17, 400]).expect("one");
        facts.sizes = (0..records).map(|_| size(dice)).collect();
    }
    if dice.one_in(2) {
        facts.verdict_bytes = 2;
        let bits = |dice: &mut Dice| u8::try_from(dice.below(4)).expect("few");
        facts.verdicts = (0..records * 2).map(|_| bits(dice)).collect();
    }
    facts
}

/// Which records are for the subscription: by bit 9 of each one's two bytes, if it has a filter.
pub(super) fn selected(append: &Append, records: usize) -> Vec<bool> {
    let of = |index: usize| match (append.filter, &append.facts) {
        (Some(_), Some(facts)) => {
            let bits = facts.verdicts.get(index * 2 + 1);
            bits.is_none_or(|bits| bits & 2 != 0)
        }
        _ => true,
    };
    (0..records).map(of).collect()
}
