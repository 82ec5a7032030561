//! A small number for each offset: what facts say of records that wait.
//!
//! Offsets are filed in chunks of 256. A chunk in which all are alike is one number; otherwise it has one
//! for each. A chunk that was never told anything is not there, and all in it are 0. So what is alike
//! for long costs about 36 bytes for 256 records, and what is never alike its own width.
//!
//! What a record that is settled had stays until its whole chunk is settled: nobody asks for it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

/// As a shift.
const CHUNK: u32 = 8;
/// How many offsets a chunk has.
pub(super) const CHUNK_LEN: usize = 1 << CHUNK;

/// What a chunk has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chunk<T> {
    /// All that mean anything are this.
    Alike(T),
    /// One for each.
    Each(Box<[T; CHUNK_LEN]>),
}

/// A number for each offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Column<T> {
    chunks: BTreeMap<i64, Chunk<T>>,
}

/// The number of the chunk of an offset.
pub(super) const fn chunk_of(offset: i64) -> i64 {
    offset >> CHUNK
}

/// The first offset of a chunk.
pub(super) const fn begin_of(chunk: i64) -> i64 {
    chunk << CHUNK
}

fn place(offset: i64) -> usize {
    usize::try_from(offset & 0xff).unwrap_or(0)
}

impl<T: Copy + Default + Eq> Chunk<T> {
    fn get(&self, at: usize) -> T {
        match self {
            Self::Alike(value) => *value,
            Self::Each(each) => each.get(at).copied().unwrap_or_default(),
        }
    }

    fn each(&mut self) -> &mut [T; CHUNK_LEN] {
        if let Self::Alike(value) = self {
            *self = Self::Each(Box::new([*value; CHUNK_LEN]));
        }
        match self {
            Self::Each(each) => each,
            Self::Alike(_) => unreachable!("it has just been spread out"),
        }
    }
}

impl<T: Copy + Default + Eq> Column<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let own = size_of::<(i64, Chunk<T>)>() * 3 / 2;
        let each = |chunk: &Chunk<T>| match chunk {
            Chunk::Alike(_) => 0,
            Chunk::Each(each) => size_of_val(&**each),
        };
        self.chunks.values().map(|chunk| own + each(chunk)).sum()
    }

    pub(super) fn get(&self, offset: i64) -> T {
        let chunk = self.chunks.get(&chunk_of(offset));
        chunk.map_or_else(T::default, |chunk| chunk.get(place(offset)))
    }

    /// All from `first` up to `end` are `value`. They are new: nothing behind them means anything yet,
    /// and nothing below `start` does any more.
    pub(super) fn fill(&mut self, first: i64, end: i64, value: T, start: i64) {
        let mut from = first;
        while from < end {
            let chunk = chunk_of(from);
            let to = end.min(begin_of(chunk + 1));
            let alone = begin_of(chunk).max(start) >= from;
            self.fill_chunk(chunk, from, to, value, alone);
            from = to;
        }
    }

    fn fill_chunk(&mut self, number: i64, from: i64, to: i64, value: T, alone: bool) {
        if alone {
            if value == T::default() {
                self.chunks.remove(&number);
            } else {
                self.chunks.insert(number, Chunk::Alike(value));
            }
            return;
        }
        match self.chunks.get(&number) {
            None if value == T::default() => return,
            Some(Chunk::Alike(there)) if *there == value => return,
            None | Some(_) => {}
        }
        let chunk = self.chunks.entry(number);
        let chunk = chunk.or_insert_with(|| Chunk::Alike(T::default()));
        if let Some(places) = chunk.each().get_mut(place(from)..=place(to - 1)) {
            places.fill(value);
        }
    }

    /// Stretches from `first` up to `end` that are alike and not 0, in order.
    pub(super) fn stretches(&self, first: i64, end: i64) -> impl Iterator<Item = (i64, i64, T)> {
        let chunks = self
            .chunks
            .range(chunk_of(first)..=chunk_of(end.max(first + 1) - 1));
        chunks.flat_map(move |(&number, chunk)| {
            let from = begin_of(number).max(first);
            let to = begin_of(number + 1).min(end);
            let width = match chunk {
                Chunk::Alike(_) => to - from,
                Chunk::Each(_) => 1,
            };
            let mut at = from;
            core::iter::from_fn(move || {
                while at < to {
                    let (first, value) = (at, chunk.get(place(at)));
                    at += width;
                    if value != T::default() {
                        return Some((first, at, value));
                    }
                }
                None
            })
        })
    }

    /// Numbers of the chunks that are there, from that of `first` to that of `last`.
    pub(super) fn chunks(&self, first: i64, last: i64) -> impl Iterator<Item = (i64, &Chunk<T>)> {
        let chunks = self.chunks.range(chunk_of(first)..=chunk_of(last));
        chunks.map(|(number, chunk)| (*number, chunk))
    }

    /// Numbers of all chunks.
    pub(super) fn numbers(&self) -> impl Iterator<Item = i64> {
        self.chunks.keys().copied()
    }

    pub(super) fn put(&mut self, number: i64, chunk: Chunk<T>) {
        self.chunks.insert(number, chunk);
    }

    /// Takes out the chunks from `first` up to `end`; whether there were any.
    pub(super) fn drop_chunks(&mut self, first: i64, end: i64) -> bool {
        let mut any = false;
        while let Some((&number, _)) = self.chunks.range(first..end.max(first)).next() {
            self.chunks.remove(&number);
            any = true;
        }
        any
    }
}

#[cfg(test)]
mod tests;
