//! What groups hold beside their members, and the bounds of it that hold for all groups together.
//!
//! Anybody may name a group and commit offsets to it, so names and offsets have bounds in all. A group
//! counts what it holds itself; who keeps all groups adds that up and says it with each command
//! ([`Together`]), so that the bounds are judged before anything is changed.
//!
//! The bounds stop what grows, and nothing else: who joins a group that exists, commits an offset
//! anew with no longer a note, or gives something up is never refused by them, also where more is
//! held than a lowered bound says.

use alloc::collections::BTreeMap;

use super::offsets::{Committed, OffsetEntry, OffsetKey, Offsets};
use super::refusal::GroupRefusal;
use super::settings::GroupSettings;

/// What a group takes in memory beside its name, members and offsets, bytes: its machine, the kind of
/// group it is ([`PROTOCOL_TYPE_BYTES_MAX`]), and its places in the lists of whoever keeps it.
pub const GROUP_BYTES: usize = 1_280;

/// What a committed offset takes in memory beside its note, bytes: a place in a tree that is two
/// thirds full, and the allocation of the note.
pub const OFFSET_BYTES: usize = 160;

/// Longest name of a kind of group, bytes. It stays when the members are gone, so it is a part of
/// [`GROUP_BYTES`]; `consumer` and `connect` are such names.
pub const PROTOCOL_TYPE_BYTES_MAX: usize = 249;

/// What all groups hold together, as one of them is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Together {
    /// How many groups there are.
    pub groups: usize,
    /// What they hold, by [`Group::held_bytes`](super::Group::held_bytes).
    pub bytes: usize,
    /// How long the name of the one is that is asked, bytes.
    pub name_bytes: usize,
}

impl Together {
    /// Whether there may be one more group, that of the name. Says what is held then.
    pub(super) fn with_one_more(self, settings: &GroupSettings) -> Result<Self, GroupRefusal> {
        let max = settings.groups_max;
        if self.groups >= max {
            return Err(GroupRefusal::TooManyGroups { max });
        }
        let bytes = self.bytes + GROUP_BYTES + self.name_bytes;
        let max = settings.held_bytes_max;
        if bytes > max {
            return Err(GroupRefusal::TooMuchHeld { max });
        }
        let groups = self.groups + 1;
        Ok(Self {
            groups,
            bytes,
            ..self
        })
    }
}

/// What an offset with such a note takes.
const fn offset_bytes(note: &str) -> usize {
    OFFSET_BYTES + note.len()
}

impl Committed {
    /// What it takes in memory, about.
    pub(super) const fn held_bytes(&self) -> usize {
        offset_bytes(&self.metadata)
    }
}

/// The offsets of one commit on their way in: each is taken if there is room for what it adds.
pub(super) struct Filling<'a> {
    kept: &'a Offsets,
    /// What those of this commit take, if it matters: one may name a key twice.
    taken: BTreeMap<OffsetKey, usize>,
    bytes: usize,
    max: usize,
    /// There is room for all of them, whatever is kept already.
    all_fit: bool,
}

impl<'a> Filling<'a> {
    pub(super) fn new(
        kept: &'a Offsets,
        entries: &[OffsetEntry],
        together: Together,
        settings: &GroupSettings,
    ) -> Self {
        let most: usize = entries.iter().map(|e| offset_bytes(&e.metadata)).sum();
        let (bytes, max) = (together.bytes, settings.held_bytes_max);
        Self {
            kept,
            taken: BTreeMap::new(),
            bytes,
            max,
            all_fit: bytes.saturating_add(most) <= max,
        }
    }

    /// Takes one, unless it adds what there is no room for.
    pub(super) fn take(&mut self, entry: &OffsetEntry) -> Result<(), GroupRefusal> {
        if self.all_fit {
            return Ok(());
        }
        let after = offset_bytes(&entry.metadata);
        let kept = self.kept.kept.get(&entry.key).map(Committed::held_bytes);
        let before = self.taken.get(&entry.key).copied().or(kept);
        let before = before.unwrap_or_default();
        let bytes = self.bytes - before + after;
        if after > before && bytes > self.max {
            let max = self.max;
            return Err(GroupRefusal::TooMuchHeld { max });
        }
        self.bytes = bytes;
        self.taken.insert(entry.key, after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Group;
    use super::*;

    #[test]
    fn the_estimates_are_not_below_what_is_taken() {
        // Trees of the standard library are two thirds full in the long run.
        assert!(size_of::<(OffsetKey, Committed)>() * 3 / 2 <= OFFSET_BYTES - 16);
        // Beside the machine: places in three trees, and what was settled last.
        assert!(size_of::<Group>() * 3 / 2 + PROTOCOL_TYPE_BYTES_MAX + 256 <= GROUP_BYTES);
    }
}
