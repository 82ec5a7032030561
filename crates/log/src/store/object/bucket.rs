//! A bucket in memory: whole objects under names that are never used again, and what may go wrong.
//!
//! ```text
//! PUT   done | lost | stored, but the answer is an error | an error, and it appears later
//! GET   the whole object, or that there is none; an error if the caller is to see one
//! LIST  may leave out anything: nothing that counts may rely on it
//! ```

use core::fmt;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::ObjectLie;
use crate::chunk::{ChunkKind, chunk_name};
use crate::disk::cut::Dice;
use crate::position::ChunkId;

/// The name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectName {
    /// A group: a log chunk of its own.
    Group {
        /// Who wrote it.
        incarnation: u32,
        /// Which of its groups, from 1 on.
        seq: u64,
    },
    /// A chunk of another kind.
    Chunk {
        /// Who wrote it.
        incarnation: u32,
        /// Which chunk.
        chunk: ChunkId,
        /// What it holds.
        kind: ChunkKind,
    },
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group { incarnation, seq } => write!(f, "{incarnation}/{seq}"),
            Self::Chunk {
                incarnation,
                chunk,
                kind,
            } => write!(f, "{incarnation}/{}", chunk_name(*chunk, *kind)),
        }
    }
}

/// How well a bucket works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// Everything is done and answered.
    #[default]
    Calm,
    /// Writes get lost, are late, or are answered by an error; lists leave things out.
    Rough,
    /// As rough, and some reads fail too.
    RoughReads,
    /// Nothing works.
    Down,
}

#[derive(Clone, Debug)]
struct State {
    objects: BTreeMap<ObjectName, Bytes>,
    late: Vec<(ObjectName, Bytes)>,
    weather: Weather,
    dice: Dice,
    lie: Option<ObjectLie>,
    failed: u64,
}

/// Stored objects. Clones are the same bucket.
#[derive(Clone, Debug)]
pub struct Bucket(Arc<Mutex<State>>);

impl Default for Bucket {
    fn default() -> Self {
        Self::new(0, None)
    }
}

impl Bucket {
    /// An empty bucket; `seed` decides what goes wrong.
    #[must_use]
    pub fn new(seed: u64, lie: Option<ObjectLie>) -> Self {
        Self(Arc::new(Mutex::new(State {
            objects: BTreeMap::new(),
            late: Vec::new(),
            weather: Weather::Calm,
            dice: Dice::new(seed),
            lie,
            failed: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of its own with the same objects.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// How many objects lie in it, orphans included.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.state().objects.len()
    }

    /// How well it works from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// How well it works.
    #[must_use]
    pub fn weather(&self) -> Weather {
        self.state().weather
    }

    /// How many requests were answered by an error.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.state().failed
    }

    pub(super) fn lie(&self) -> Option<ObjectLie> {
        self.state().lie
    }

    /// Stores an object whole.
    ///
    /// # Errors
    ///
    /// It may be there nevertheless, now or later.
    pub fn put(&self, name: ObjectName, bytes: Bytes) -> io::Result<()> {
        let mut state = self.state();
        let fate = match state.weather {
            Weather::Calm => 3,
            Weather::Rough | Weather::RoughReads => state.dice.below(8),
            Weather::Down => 0,
        };
        match fate {
            0 if state.lie == Some(ObjectLie::LostPutTaken) => return Ok(()),
            0 => {}
            1 => {
                state.objects.insert(name, bytes);
            }
            2 => state.late.push((name, bytes)),
            _ => {
                state.objects.insert(name, bytes);
                return Ok(());
            }
        }
        Err(state.fail(name))
    }

    /// One of the PUTs that are late arrives. Says which, if there was one.
    pub fn land(&self, choice: u64) -> Option<ObjectName> {
        let mut state = self.state();
        let at = choice.checked_rem(state.late.len() as u64)?;
        let (name, bytes) = state.late.swap_remove(usize::try_from(at).ok()?);
        state.objects.insert(name, bytes);
        Some(name)
    }

    /// An object, if there is one.
    ///
    /// # Errors
    ///
    /// Nobody knows whether there is one.
    pub fn get(&self, name: ObjectName) -> io::Result<Option<Bytes>> {
        let mut state = self.state();
        let fails = match state.weather {
            Weather::Calm | Weather::Rough => false,
            Weather::RoughReads => state.dice.below(24) == 0,
            Weather::Down => true,
        };
        if fails {
            return Err(state.fail(name));
        }
        Ok(state.objects.get(&name).cloned())
    }

    /// Removes an object. None is no error.
    ///
    /// # Errors
    ///
    /// It may be gone nevertheless.
    pub fn delete(&self, name: ObjectName) -> io::Result<()> {
        let mut state = self.state();
        let fate = match state.weather {
            Weather::Calm => 2,
            Weather::Rough | Weather::RoughReads => state.dice.below(12),
            Weather::Down => 0,
        };
        if fate > 0 {
            state.objects.remove(&name);
        }
        if fate < 2 {
            return Err(state.fail(name));
        }
        Ok(())
    }

    /// Names of objects, in order. Any may be missing.
    #[must_use]
    pub fn list(&self) -> Vec<ObjectName> {
        let mut state = self.state();
        let whole = state.weather == Weather::Calm;
        let names: Vec<_> = state.objects.keys().copied().collect();
        let dice = &mut state.dice;
        let seen = names.into_iter().filter(|_| whole || dice.below(4) > 0);
        seen.collect()
    }
}

impl State {
    fn fail(&mut self, name: ObjectName) -> io::Error {
        self.failed += 1;
        io::Error::other(format!("the object store did not answer for {name}"))
    }
}
