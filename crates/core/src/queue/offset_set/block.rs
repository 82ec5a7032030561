//! One block of a set of offsets: which of 65,536 are in it.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Offsets of a block.
const BLOCK: i64 = 1 << 16;
const WORDS: usize = 1 << 10;
/// As many runs as bits take room.
const RUNS_MAX: usize = 2_048;
/// How many of each kind are kept for the next block.
const SPARE_MAX: usize = 2;

/// From `first` to `last`, both in it.
#[derive(Clone, Copy)]
pub(super) struct Run {
    first: u16,
    last: u16,
}

impl Run {
    fn len(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }
}

#[derive(Clone)]
pub(super) struct Bits {
    words: [u64; WORDS],
    len: u32,
}

#[derive(Clone)]
pub(super) enum Block {
    Empty,
    Full,
    Runs(Vec<Run>),
    Bits(Box<Bits>),
}

/// What blocks that went have left behind. There is a box once there is something.
#[derive(Default)]
pub(super) struct Spare(Option<Box<Left>>);

#[derive(Default)]
struct Left {
    runs: Vec<Vec<Run>>,
    bits: Vec<Box<Bits>>,
}

impl Clone for Spare {
    /// A copy begins with nothing to spare.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Spare {
    fn runs(&mut self) -> Vec<Run> {
        let left = self.0.as_mut();
        left.and_then(|left| left.runs.pop()).unwrap_or_default()
    }

    fn bits(&mut self) -> Box<Bits> {
        let left = self.0.as_mut();
        let mut bits = left.and_then(|left| left.bits.pop()).unwrap_or_else(|| {
            Box::new(Bits {
                words: [0; WORDS],
                len: 0,
            })
        });
        bits.words.fill(0);
        bits.len = 0;
        bits
    }

    fn keep(&mut self, block: Block) {
        match block {
            Block::Empty | Block::Full => {}
            Block::Runs(mut runs) => {
                let left = self.0.get_or_insert_default();
                if left.runs.len() < SPARE_MAX {
                    runs.clear();
                    left.runs.push(runs);
                }
            }
            Block::Bits(bits) => {
                let left = self.0.get_or_insert_default();
                if left.bits.len() < SPARE_MAX {
                    left.bits.push(bits);
                }
            }
        }
    }
}

fn word_of(at: u16) -> usize {
    usize::from(at >> 6)
}

/// The bits of word `word` that lie from `first` to `last`.
fn mask(word: usize, first: u16, last: u16) -> u64 {
    let from = if word == word_of(first) {
        first & 63
    } else {
        0
    };
    let to = if word == word_of(last) { last & 63 } else { 63 };
    (u64::MAX << from) & (u64::MAX >> (63 - to))
}

impl Bits {
    fn has(&self, at: u16) -> bool {
        let word = self.words.get(word_of(at)).copied().unwrap_or(0);
        word & (1 << (at & 63)) != 0
    }

    fn insert(&mut self, first: u16, last: u16) -> u32 {
        let (from, to) = (word_of(first), word_of(last));
        let words = self.words.iter_mut().enumerate();
        let mut added = 0;
        for (at, word) in words.skip(from).take(to - from + 1) {
            let mask = mask(at, first, last);
            added += (mask & !*word).count_ones();
            *word |= mask;
        }
        self.len += added;
        added
    }

    fn remove(&mut self, first: u16, last: u16) -> u32 {
        let (from, to) = (word_of(first), word_of(last));
        let words = self.words.iter_mut().enumerate();
        let mut removed = 0;
        for (at, word) in words.skip(from).take(to - from + 1) {
            let mask = mask(at, first, last);
            removed += (mask & *word).count_ones();
            *word &= !mask;
        }
        self.len -= removed;
        removed
    }

    /// The first bit from `from` on that is 1 after `flip`.
    fn find(&self, from: u16, flip: u64) -> Option<u16> {
        let words = self.words.iter().enumerate().skip(word_of(from));
        for (at, word) in words {
            let word =
                (word ^ flip) & mask(at, if at == word_of(from) { from } else { 0 }, u16::MAX);
            if word != 0 {
                let found = at * 64 + usize::try_from(word.trailing_zeros()).ok()?;
                return u16::try_from(found).ok();
            }
        }
        None
    }
}

impl Block {
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Empty | Self::Full => 0,
            Self::Runs(runs) => runs.capacity() * size_of::<Run>(),
            Self::Bits(_) => size_of::<Bits>(),
        }
    }

    pub(super) fn contains(&self, at: u16) -> bool {
        match self {
            Self::Empty => false,
            Self::Full => true,
            Self::Runs(runs) => run_of(runs, at).is_some(),
            Self::Bits(bits) => bits.has(at),
        }
    }

    pub(super) fn next_in(&self, from: u16) -> Option<u16> {
        match self {
            Self::Empty => None,
            Self::Full => Some(from),
            Self::Runs(runs) => {
                let index = runs.partition_point(|run| run.last < from);
                runs.get(index).map(|run| run.first.max(from))
            }
            Self::Bits(bits) => bits.find(from, 0),
        }
    }

    pub(super) fn next_out(&self, from: u16) -> Option<u16> {
        match self {
            Self::Empty => Some(from),
            Self::Full => None,
            Self::Runs(runs) => match run_of(runs, from) {
                Some(run) => run.last.checked_add(1),
                None => Some(from),
            },
            Self::Bits(bits) => bits.find(from, u64::MAX),
        }
    }

    /// Adds all from `first` to `last`; how many of them are new.
    pub(super) fn insert(&mut self, first: u16, last: u16, spare: &mut Spare) -> u32 {
        let added = match self {
            Self::Full => 0,
            Self::Empty => {
                let mut runs = spare.runs();
                let run = Run { first, last };
                runs.push(run);
                *self = Self::Runs(runs);
                run.len()
            }
            Self::Runs(runs) => insert_run(runs, Run { first, last }),
            Self::Bits(bits) => bits.insert(first, last),
        };
        self.reform(spare);
        added
    }

    /// Takes out all from `first` to `last`; how many of them were in it.
    pub(super) fn remove(&mut self, first: u16, last: u16, spare: &mut Spare) -> u32 {
        let removed = match self {
            Self::Empty => 0,
            Self::Full => {
                let mut runs = spare.runs();
                let all = Run {
                    first: 0,
                    last: u16::MAX,
                };
                runs.push(all);
                let removed = remove_run(&mut runs, Run { first, last });
                *self = Self::Runs(runs);
                removed
            }
            Self::Runs(runs) => remove_run(runs, Run { first, last }),
            Self::Bits(bits) => bits.remove(first, last),
        };
        self.reform(spare);
        removed
    }

    /// How many from `first` to `last` are in it.
    pub(super) fn count(&self, first: u16, last: u16) -> u32 {
        let asked = Run { first, last };
        match self {
            Self::Empty => 0,
            Self::Full => asked.len(),
            Self::Runs(runs) => {
                let from = runs.partition_point(|run| run.last < first);
                let runs = runs.iter().skip(from).take_while(|run| run.first <= last);
                let within = runs.map(|run| Run {
                    first: run.first.max(first),
                    last: run.last.min(last),
                });
                within.map(Run::len).sum()
            }
            Self::Bits(bits) => {
                let (from, to) = (word_of(first), word_of(last));
                let words = bits.words.iter().enumerate();
                let words = words.skip(from).take(to - from + 1);
                let ones = words.map(|(at, word)| (word & mask(at, first, last)).count_ones());
                ones.sum()
            }
        }
    }

    /// What is in both.
    pub(super) fn common(&self, other: &Self, spare: &mut Spare) -> Self {
        match (self, other) {
            (Self::Empty, _) | (_, Self::Empty) => Self::Empty,
            (Self::Full, block) | (block, Self::Full) => block.clone(),
            (one, other) => {
                let (mut bits, others) = (one.to_bits(spare), other.to_bits(spare));
                for (word, other) in bits.words.iter_mut().zip(&others.words) {
                    *word &= other;
                }
                bits.len = bits.words.iter().map(|word| word.count_ones()).sum();
                spare.keep(Self::Bits(others));
                let mut common = Self::Bits(bits);
                common.reform(spare);
                common
            }
        }
    }

    fn to_bits(&self, spare: &mut Spare) -> Box<Bits> {
        let mut bits = spare.bits();
        match self {
            Self::Empty => {}
            Self::Full => {
                bits.insert(0, u16::MAX);
            }
            Self::Runs(runs) => {
                for run in runs {
                    bits.insert(run.first, run.last);
                }
            }
            Self::Bits(own) => bits.clone_from(own),
        }
        bits
    }

    /// Takes the form that fits.
    fn reform(&mut self, spare: &mut Spare) {
        let next = match self {
            Self::Empty | Self::Full => return,
            Self::Runs(runs) => match (runs.as_slice(), runs.len()) {
                ([], _) => Self::Empty,
                (
                    [
                        Run {
                            first: 0,
                            last: u16::MAX,
                        },
                    ],
                    _,
                ) => Self::Full,
                (_, ..=RUNS_MAX) => return,
                (runs, _) => {
                    let mut bits = spare.bits();
                    for run in runs {
                        bits.insert(run.first, run.last);
                    }
                    Self::Bits(bits)
                }
            },
            Self::Bits(bits) => match i64::from(bits.len) {
                0 => Self::Empty,
                BLOCK => Self::Full,
                _ => return,
            },
        };
        spare.keep(core::mem::replace(self, next));
    }
}

fn run_of(runs: &[Run], at: u16) -> Option<Run> {
    let index = runs.partition_point(|run| run.last < at);
    runs.get(index).copied().filter(|run| run.first <= at)
}

fn insert_run(runs: &mut Vec<Run>, new: Run) -> u32 {
    // Runs that touch are joined.
    let lo = runs.partition_point(|run| u32::from(run.last) + 1 < u32::from(new.first));
    let hi = runs.partition_point(|run| u32::from(run.first) <= u32::from(new.last) + 1);
    let old: u32 = runs
        .get(lo..hi)
        .unwrap_or_default()
        .iter()
        .map(|run| run.len())
        .sum();
    let first = runs
        .get(lo)
        .map_or(new.first, |run| run.first.min(new.first));
    let last = hi.checked_sub(1).and_then(|at| runs.get(at));
    let last = last.map_or(new.last, |run| run.last.max(new.last));
    match runs.get_mut(lo) {
        Some(run) if lo < hi => {
            *run = Run { first, last };
            runs.drain(lo + 1..hi);
            Run { first, last }.len() - old
        }
        _ => {
            runs.insert(lo, new);
            new.len()
        }
    }
}

fn remove_run(runs: &mut Vec<Run>, gone: Run) -> u32 {
    let lo = runs.partition_point(|run| run.last < gone.first);
    let hi = runs.partition_point(|run| run.first <= gone.last);
    if lo >= hi {
        return 0;
    }
    let old: u32 = runs
        .get(lo..hi)
        .unwrap_or_default()
        .iter()
        .map(|run| run.len())
        .sum();
    let left = runs
        .get(lo)
        .filter(|run| run.first < gone.first)
        .map(|run| Run {
            first: run.first,
            last: gone.first - 1,
        });
    let right = runs
        .get(hi - 1)
        .filter(|run| run.last > gone.last)
        .map(|run| Run {
            first: gone.last + 1,
            last: run.last,
        });
    let kept = left.map_or(0, Run::len) + right.map_or(0, Run::len);
    let mut at = lo;
    for run in [left, right].into_iter().flatten() {
        match runs.get_mut(at) {
            Some(place) if at < hi => *place = run,
            _ => runs.insert(at, run),
        }
        at += 1;
    }
    if at < hi {
        runs.drain(at..hi);
    }
    old - kept
}
