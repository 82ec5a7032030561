//! Deadlines of many slots at once, for which most are as long as their neighbours'.
//!
//! A slot is hung to the end of the first of a few lists whose last deadline is not later; so each
//! list is in order, taking out is a matter of its neighbours, and nothing is allocated. Deadlines of
//! many different lengths that fit to no list go into a tree.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::machine::Elapsed;

/// No slot.
const NONE: u32 = u32::MAX;
const LISTS: usize = 8;
/// Hung nowhere.
const IDLE: u8 = u8::MAX;
/// In the tree.
const TREE: u8 = u8::MAX - 1;

#[derive(Clone, Copy, Debug)]
struct Node {
    until: Elapsed,
    before: u32,
    behind: u32,
    list: u8,
}

const UNUSED: Node = Node {
    until: Elapsed(0),
    before: NONE,
    behind: NONE,
    list: IDLE,
};

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

/// Deadlines by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    nodes: Vec<Node>,
    lists: Vec<List>,
    tree: BTreeSet<(Elapsed, u32)>,
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

impl Timers {
    fn node(&self, slot: u32) -> Option<&Node> {
        self.nodes.get(index(slot))
    }

    fn node_mut(&mut self, slot: u32) -> Option<&mut Node> {
        self.nodes.get_mut(index(slot))
    }

    /// The deadline of `slot`.
    pub(super) fn get(&self, slot: u32) -> Option<Elapsed> {
        let node = self.node(slot)?;
        (node.list != IDLE).then_some(node.until)
    }

    /// Gives `slot` a deadline, instead of any it had.
    pub(super) fn set(&mut self, slot: u32, until: Elapsed) {
        self.cancel(slot);
        if self.nodes.len() <= index(slot) {
            self.nodes.resize(index(slot) + 1, UNUSED);
        }
        let found = self.place(until);
        let list = found.unwrap_or(TREE);
        let before = match self.lists.get_mut(usize::from(list)) {
            Some(list) => {
                let before = list.last;
                list.last = slot;
                if before == NONE {
                    list.first = slot;
                }
                before
            }
            None => {
                self.tree.insert((until, slot));
                NONE
            }
        };
        if let Some(node) = self.node_mut(before) {
            node.behind = slot;
        }
        if let Some(node) = self.node_mut(slot) {
            *node = Node {
                until,
                before,
                behind: NONE,
                list,
            };
        }
    }

    /// The list that `until` fits to.
    fn place(&mut self, until: Elapsed) -> Option<u8> {
        let fits = |list: &List| {
            let last = self.nodes.get(index(list.last));
            last.is_none_or(|last| last.until <= until)
        };
        let found = self.lists.iter().position(fits).or_else(|| {
            if self.lists.len() == LISTS {
                return None;
            }
            self.lists.push(List {
                first: NONE,
                last: NONE,
            });
            Some(self.lists.len() - 1)
        })?;
        u8::try_from(found).ok()
    }

    /// Takes the deadline of `slot` away.
    pub(super) fn cancel(&mut self, slot: u32) {
        let Some(node) = self.node(slot).copied() else {
            return;
        };
        match node.list {
            IDLE => return,
            TREE => {
                self.tree.remove(&(node.until, slot));
            }
            list => {
                if let Some(before) = self.node_mut(node.before) {
                    before.behind = node.behind;
                }
                if let Some(behind) = self.node_mut(node.behind) {
                    behind.before = node.before;
                }
                if let Some(list) = self.lists.get_mut(usize::from(list)) {
                    if list.first == slot {
                        list.first = node.behind;
                    }
                    if list.last == slot {
                        list.last = node.before;
                    }
                }
            }
        }
        if let Some(node) = self.node_mut(slot) {
            *node = UNUSED;
        }
    }

    /// The earliest deadline.
    pub(super) fn first(&self) -> Option<Elapsed> {
        let lists = self.lists.iter().filter_map(|list| self.get(list.first));
        let tree = self.tree.first().map(|(until, _)| *until);
        lists.chain(tree).min()
    }

    /// Slots whose deadline is not after `now`.
    pub(super) fn due(&self, now: Elapsed) -> impl Iterator<Item = u32> {
        let lists = self.lists.iter().flat_map(move |list| {
            let mut slot = list.first;
            core::iter::from_fn(move || {
                let node = self.node(slot).filter(|node| node.until <= now)?;
                Some(core::mem::replace(&mut slot, node.behind))
            })
        });
        let tree = self.tree.iter().take_while(move |(until, _)| *until <= now);
        lists.chain(tree.map(|(_, slot)| *slot))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_as_naive_as_a_tree(steps in vec((0u32..40, prop::option::of(0u64..100)), 1..300)) {
            let mut timers = Timers::default();
            let mut model = BTreeMap::new();
            for (slot, until) in steps {
                if let Some(until) = until {
                    timers.set(slot, Elapsed(until));
                    model.insert(slot, until);
                } else {
                    timers.cancel(slot);
                    model.remove(&slot);
                }
                let first = model.values().min().map(|&ms| Elapsed(ms));
                prop_assert_eq!(timers.first(), first);
                let mut due: Vec<_> = timers.due(Elapsed(50)).collect();
                due.sort_unstable();
                let late = model.iter().filter(|(_, until)| **until <= 50);
                let late: Vec<_> = late.map(|(slot, _)| *slot).collect();
                prop_assert_eq!(due, late);
            }
        }
    }
}
