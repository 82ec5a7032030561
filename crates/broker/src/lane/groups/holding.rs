//! How much all groups hold, as sums that are kept up with every change, and whether that is as much as
//! they may.
//!
//! The groups themselves refuse what would be more (`mulgil_core::group`); they are told the sums
//! with each command. Replay keeps the sums up too, and bounds nothing: what the log has is kept.

use mulgil_core::group::{Effect, GroupRefusal, GroupSettings, Together};
use mulgil_core::machine::After;

use super::super::Lane;
use super::HostedGroup;

/// What one group adds to the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    groups: usize,
    bytes: usize,
}

impl HostedGroup {
    /// What it adds to the sums: nothing while it does not exist yet.
    pub(super) fn held(&self) -> Held {
        let bytes = self.machine.held_bytes(self.name.len());
        let groups = usize::from(bytes > 0);
        Held { groups, bytes }
    }
}

/// The sums over all groups.
#[derive(Debug, Default)]
pub(super) struct Holding {
    sum: Held,
    /// Something was refused for want of room, and there has not been much room since.
    full: bool,
}

impl Holding {
    /// One group adds something else than before.
    pub(super) const fn changed(&mut self, before: Held, after: Held) {
        self.sum.groups = self.sum.groups - before.groups + after.groups;
        self.sum.bytes = self.sum.bytes - before.bytes + after.bytes;
    }

    /// The sums, for a group with a name of so many bytes.
    pub(super) const fn as_asked(&self, name_bytes: usize) -> Together {
        Together {
            groups: self.sum.groups,
            bytes: self.sum.bytes,
            name_bytes,
        }
    }

    /// Takes note if a command was refused, in part or as a whole, for want of room.
    pub(super) fn saw(&mut self, decided: &Result<(), GroupRefusal>, effects: &[(After, Effect)]) {
        let for_room = |result: &Result<(), GroupRefusal>| {
            result
                .as_ref()
                .is_err_and(GroupRefusal::is_for_want_of_room)
        };
        let in_part = |(_, effect): &(After, Effect)| {
            if let Effect::Committed(results) = effect {
                results.iter().any(for_room)
            } else {
                false
            }
        };
        self.full |= for_room(decided) || effects.iter().any(in_part);
    }

    /// Whether there was so little room that something was refused. Said once in any case, and then
    /// until more than a tenth is free, so that it does not come and go with every group.
    fn is_full(&mut self, settings: &GroupSettings) -> bool {
        let is_much = |held: usize, max: usize| held >= max - max / 10;
        let much = is_much(self.sum.groups, settings.groups_max)
            || is_much(self.sum.bytes, settings.held_bytes_max);
        let was_full = self.full;
        self.full &= much;
        was_full
    }
}

/// What all groups hold, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupFigures {
    /// Consumer groups there are.
    pub groups: usize,
    /// How many there may be.
    pub groups_max: usize,
    /// Bytes of their names and committed offsets, with what these take in memory.
    pub bytes: usize,
    /// How many these may be.
    pub bytes_max: usize,
}

impl Lane {
    /// What all groups hold.
    #[must_use]
    pub const fn group_figures(&self) -> GroupFigures {
        let (sum, settings) = (self.groups.holding.sum, &self.groups.settings);
        GroupFigures {
            groups: sum.groups,
            groups_max: settings.groups_max,
            bytes: sum.bytes,
            bytes_max: settings.held_bytes_max,
        }
    }

    /// Whether groups hold so much that something was refused for it. Said once in any case, and then
    /// until more than a tenth is free.
    pub fn groups_are_full(&mut self) -> bool {
        let settings = self.groups.settings;
        self.groups.holding.is_full(&settings)
    }
}
