//! Pages of what is kept of facts.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::BufMut as _;

use super::{State, block};
use crate::queue::column::{CHUNK_LEN, Chunk, Column, chunk_of};
use crate::queue::facets::Facets;
use crate::queue::wire::Input;
use mulgil_record::facts::Columns;

const ALIKE: u8 = 0;
const EACH: u8 = 1;

/// A number that a column has.
trait Cell: Copy + Default + Eq {
    fn put(self, out: &mut Vec<u8>);
    fn read(input: &mut Input<'_>) -> Option<Self>;
}

impl Cell for u8 {
    fn put(self, out: &mut Vec<u8>) {
        out.put_u8(self);
    }

    fn read(input: &mut Input<'_>) -> Option<Self> {
        input.u8()
    }
}

impl Cell for u32 {
    fn put(self, out: &mut Vec<u8>) {
        out.put_u32_le(self);
    }

    fn read(input: &mut Input<'_>) -> Option<Self> {
        input.u32()
    }
}

/// Writes the page of a block; writes nothing and says no if nothing is in it.
pub(super) fn write(state: &State, number: i64, out: &mut Vec<u8>) -> bool {
    let Some(facets) = &state.kept.facets else {
        return false;
    };
    let begin = out.len();
    out.put_u8(4);
    out.put_i64_le(number);
    let levels = write_column(&facets.levels, number, out);
    let sizes = write_column(&facets.sizes, number, out);
    let keys = write_column(&facets.keys, number, out);
    let any = levels || sizes || keys;
    if !any {
        out.truncate(begin);
    }
    any
}

fn write_column<T: Cell>(column: &Column<T>, number: i64, out: &mut Vec<u8>) -> bool {
    let (first, end) = block(number);
    let count = column.chunks(first, end - 1).count();
    out.put_u16_le(u16::try_from(count).unwrap_or(0));
    for (chunk, values) in column.chunks(first, end - 1) {
        out.put_u8(u8::try_from(chunk - chunk_of(first)).unwrap_or(0));
        match values {
            Chunk::Alike(value) => {
                out.put_u8(ALIKE);
                value.put(out);
            }
            Chunk::Each(each) => {
                out.put_u8(EACH);
                each.iter().for_each(|value| value.put(out));
            }
        }
    }
    count > 0
}

/// Reads a page.
pub(super) fn read(input: &mut Input<'_>, state: &mut State) -> Option<()> {
    let number = input.offset()?;
    let kept = &mut state.kept;
    if number < kept.start >> 16 || number > kept.end >> 16 {
        return None;
    }
    let facets: &mut Facets = kept.facets.as_mut()?;
    let tracked = facets.tracked;
    let levels = tracked.has(Columns::PRIORITY);
    read_column(input, number, levels, &mut facets.levels)?;
    let sizes = tracked.has(Columns::SIZE);
    read_column(input, number, sizes, &mut facets.sizes)?;
    let keys = tracked.has(Columns::ORDERING_KEY);
    read_column(input, number, keys, &mut facets.keys)
}

fn read_column<T: Cell>(
    input: &mut Input<'_>,
    number: i64,
    tracked: bool,
    column: &mut Column<T>,
) -> Option<()> {
    let count = input.u16().filter(|count| tracked || *count == 0)?;
    for _ in 0..count {
        let chunk = chunk_of(block(number).0) + i64::from(input.u8()?);
        let values = match input.u8()? {
            ALIKE => Chunk::Alike(T::read(input)?),
            EACH => {
                let mut each = Box::new([T::default(); CHUNK_LEN]);
                for value in each.iter_mut() {
                    *value = T::read(input)?;
                }
                Chunk::Each(each)
            }
            _ => return None,
        };
        column.put(chunk, values);
    }
    Some(())
}
