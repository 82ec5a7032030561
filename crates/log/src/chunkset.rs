//! Which chunks exist: log state, changed by entries of kind [`crate::entry::EntryKind::ChunkSet`].
//!
//! ```text
//! byte  0  added    u32   how many
//!       4  removed  u32   how many
//!       8  added:   chunk u32, kind u8, 3 bytes of 0, bytes u64
//!          removed: chunk u32
//! ```
//!
//! One synced entry commits a pass of regrouping: only then are the removed files deleted. A file that
//! no entry names was never committed, or its deletion was cut short; it goes at the next start. So
//! every chunk is named when it begins to count: a log chunk in its first frame, others when they are
//! whole.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::chunk::ChunkKind;
use crate::fields::{u32_at, u64_at};
use crate::position::ChunkId;

/// Version of the payload's layout.
pub const CHUNK_SET_VERSION: u8 = 1;

const HEAD_BYTES: usize = 8;
const ADDED_BYTES: usize = 16;
const REMOVED_BYTES: usize = 4;

/// A chunk that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkInfo {
    /// Which chunk.
    pub chunk: ChunkId,
    /// What it holds.
    pub kind: ChunkKind,
    /// Its length; 0 while it grows.
    pub bytes: u64,
}

/// A change of the set. What is added that exists already gets its kind and length anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkSetChange {
    /// Chunks that count from here on.
    pub added: Vec<ChunkInfo>,
    /// Chunks that do not count any more.
    pub removed: Vec<ChunkId>,
}

/// Bytes that are no change of the chunk set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChunkSetError {
    /// It has not the length that its counts say.
    #[error("change of the chunk set of {present} bytes, but its counts say {needed}")]
    Length {
        /// Bytes that the counts ask for.
        needed: u64,
        /// Bytes that are there.
        present: usize,
    },
    /// A kind that only a newer version knows.
    #[error("chunk kind {0} is unknown to this version")]
    UnknownKind(u8),
}

impl ChunkSetChange {
    /// The payload of the entry.
    ///
    /// # Panics
    ///
    /// If there are 2^32 chunks or more.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = |length| u32::try_from(length).expect("chunk ids have 32 bits");
        let mut out = Vec::with_capacity(
            HEAD_BYTES + self.added.len() * ADDED_BYTES + self.removed.len() * REMOVED_BYTES,
        );
        out.extend_from_slice(&count(self.added.len()).to_le_bytes());
        out.extend_from_slice(&count(self.removed.len()).to_le_bytes());
        for info in &self.added {
            out.extend_from_slice(&info.chunk.0.to_le_bytes());
            out.extend_from_slice(&[info.kind as u8, 0, 0, 0]);
            out.extend_from_slice(&info.bytes.to_le_bytes());
        }
        for chunk in &self.removed {
            out.extend_from_slice(&chunk.0.to_le_bytes());
        }
        out
    }

    /// Reads the payload of an entry.
    ///
    /// # Errors
    ///
    /// If it has another length than its counts say, or a kind that is unknown.
    pub fn decode(payload: &[u8]) -> Result<Self, ChunkSetError> {
        let (added, removed) = (u32_at(payload, 0), u32_at(payload, 4));
        let added_bytes = u64::from(added) * ADDED_BYTES as u64;
        let needed = HEAD_BYTES as u64 + added_bytes + u64::from(removed) * REMOVED_BYTES as u64;
        let present = payload.len();
        let wrong = ChunkSetError::Length { needed, present };
        if needed != present as u64 {
            return Err(wrong);
        }
        let split = HEAD_BYTES + usize::try_from(added_bytes).ok().ok_or(wrong)?;
        let (added, removed) = payload.split_at_checked(split).ok_or(wrong)?;
        let added = added.get(HEAD_BYTES..).ok_or(wrong)?;
        let infos = added.chunks_exact(ADDED_BYTES).map(|info| {
            let kind = info.get(4).copied().unwrap_or_default();
            Ok(ChunkInfo {
                chunk: ChunkId(u32_at(info, 0)),
                kind: ChunkKind::from_number(kind).ok_or(ChunkSetError::UnknownKind(kind))?,
                bytes: u64_at(info, 8),
            })
        });
        let removed = removed.chunks_exact(REMOVED_BYTES);
        Ok(Self {
            added: infos.collect::<Result<_, _>>()?,
            removed: removed.map(|chunk| ChunkId(u32_at(chunk, 0))).collect(),
        })
    }
}

/// All chunks that exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkSet {
    chunks: BTreeMap<ChunkId, ChunkInfo>,
}

impl ChunkSet {
    /// Takes a change in. Ids that no longer exist are passed over.
    pub fn apply(&mut self, change: &ChunkSetChange) {
        for info in &change.added {
            self.chunks.insert(info.chunk, *info);
        }
        for chunk in &change.removed {
            self.chunks.remove(chunk);
        }
    }

    /// One chunk.
    #[must_use]
    pub fn get(&self, chunk: ChunkId) -> Option<ChunkInfo> {
        self.chunks.get(&chunk).copied()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &ChunkInfo> {
        self.chunks.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The change that makes this set out of an empty one: its form in a checkpoint.
    #[must_use]
    pub fn to_change(&self) -> ChunkSetChange {
        ChunkSetChange {
            added: self.iter().copied().collect(),
            removed: Vec::new(),
        }
    }

    /// Files that no entry names, of those older than `newest`, with which the log ends.
    #[must_use]
    pub fn unnamed(
        &self,
        files: impl IntoIterator<Item = ChunkId>,
        newest: ChunkId,
    ) -> Vec<ChunkId> {
        let files = files.into_iter();
        files
            .filter(|chunk| *chunk < newest && !self.chunks.contains_key(chunk))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changes() -> impl Strategy<Value = ChunkSetChange> {
        let kind = prop_oneof![
            Just(ChunkKind::Log),
            Just(ChunkKind::Sorted),
            Just(ChunkKind::Checkpoint),
            Just(ChunkKind::Compacted)
        ];
        let info = (any::<u32>(), kind, any::<u64>()).prop_map(|(chunk, kind, bytes)| ChunkInfo {
            chunk: ChunkId(chunk),
            kind,
            bytes,
        });
        let added = proptest::collection::vec(info, 0..20);
        let removed = proptest::collection::vec(any::<u32>().prop_map(ChunkId), 0..20);
        (added, removed).prop_map(|(added, removed)| ChunkSetChange { added, removed })
    }

    #[test]
    fn a_pass_swaps_chunks_and_what_nobody_names_is_found() {
        let info = |chunk, kind| ChunkInfo {
            chunk: ChunkId(chunk),
            kind,
            bytes: 4096,
        };
        let mut set = ChunkSet::default();
        set.apply(&ChunkSetChange {
            added: vec![info(1, ChunkKind::Log), info(2, ChunkKind::Log)],
            removed: vec![],
        });
        set.apply(&ChunkSetChange {
            added: vec![info(3, ChunkKind::Sorted)],
            removed: vec![ChunkId(1), ChunkId(2), ChunkId(99)],
        });
        assert_eq!(set.iter().map(|i| i.chunk.0).collect::<Vec<_>>(), [3]);
        let files = (1..=6).map(ChunkId);
        let unnamed = set.unnamed(files, ChunkId(5));
        assert_eq!(unnamed, [ChunkId(1), ChunkId(2), ChunkId(4)]);
        let mut again = ChunkSet::default();
        again.apply(&ChunkSetChange::decode(&set.to_change().encode()).unwrap());
        assert_eq!(again, set);
    }

    #[test]
    fn counts_that_do_not_fit_and_unknown_kinds_are_refused() {
        for bytes in [
            &[][..],
            &[0; 7],
            &[0; 9],
            &[255; 8],
            &[1, 0, 0, 0, 0, 0, 0, 0],
        ] {
            let error = ChunkSetChange::decode(bytes);
            assert!(
                matches!(error, Err(ChunkSetError::Length { .. })),
                "{bytes:?}"
            );
        }
        let mut bytes = vec![0; 24];
        bytes[0] = 1;
        let error = ChunkSetChange::decode(&bytes);
        assert_eq!(error, Err(ChunkSetError::UnknownKind(0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_change_comes_back(change in changes()) {
            let bytes = change.encode();
            prop_assert_eq!(ChunkSetChange::decode(&bytes), Ok(change));
            prop_assert!(ChunkSetChange::decode(&bytes[..bytes.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_an_error_and_not_a_panic(bytes: Vec<u8>) {
            if let Ok(change) = ChunkSetChange::decode(&bytes) {
                prop_assert_eq!(change.encode().len(), bytes.len());
            }
        }
    }
}
