//! Pages of ids of records that came lately.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::BufMut as _;

use super::State;
use crate::queue::ids::{Came, PAGE, page_of};
use crate::queue::wire::Input;

/// Writes what the head has of ids.
pub(super) fn write_head(state: &State, out: &mut Vec<u8>) {
    out.put_u8(u8::from(state.kept.ids.is_some()));
    if let Some(ids) = &state.kept.ids {
        out.put_u64_le(ids.window_ms);
        out.put_u64_le(ids.first);
    }
}

pub(super) fn read_head(input: &mut Input<'_>, state: &mut State) -> Option<()> {
    if input.yes()? {
        let ids = state.kept.ids.get_or_insert_default();
        (ids.window_ms, ids.first) = (input.u64()?, input.u64()?);
        // Numbers rise one by one, and never come to an end.
        if ids.window_ms == 0 || ids.first >= 1 << 62 {
            return None;
        }
    }
    Some(())
}

/// Writes a page; writes nothing and says no if nothing is in it.
pub(super) fn write(state: &State, page: u64, out: &mut Vec<u8>) -> bool {
    let Some(ids) = &state.kept.ids else {
        return false;
    };
    let all = ids.numbers().start.max(first_of(page))..ids.numbers().end.min(first_of(page + 1));
    if all.is_empty() {
        return false;
    }
    out.put_u8(5);
    out.put_u64_le(all.start);
    out.put_u16_le(u16::try_from(all.end - all.start).unwrap_or(0));
    for came in all.filter_map(|number| ids.get(number)) {
        out.put_u64_le(came.until.0);
        out.put_u128_le(came.id);
        out.put_i64_le(came.offset);
    }
    true
}

const fn first_of(page: u64) -> u64 {
    page << PAGE
}

/// Reads a page.
pub(super) fn read(input: &mut Input<'_>, ids: &mut BTreeMap<u64, Came>) -> Option<()> {
    let first = input.u64().filter(|first| *first < 1 << 62)?;
    for number in first..first + u64::from(input.u16()?) {
        if page_of(number) != page_of(first) {
            return None;
        }
        let came = Came {
            until: input.wall()?,
            id: input.u128()?,
            offset: input.offset()?,
        };
        ids.insert(number, came);
    }
    Some(())
}

/// Puts all pages together.
pub(super) fn finish(state: &mut State, came: &mut BTreeMap<u64, Came>) {
    let Some(ids) = &mut state.kept.ids else {
        return;
    };
    let mut number = ids.first;
    while let Some(next) = came.remove(&number) {
        ids.push(next);
        number += 1;
    }
}
