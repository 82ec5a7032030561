//! Who came first: attached consumers by priority, and those of one priority in the order they came.
//!
//! A line for each priority, in which everybody knows their neighbours: coming, going and finding the
//! first cost the same however many there are, and allocate nothing that does not stay.

use alloc::vec::Vec;

/// No slot.
const NONE: u32 = u32::MAX;
/// So many lines stay when nobody stands in them: those of a few usual priorities.
const LINES_KEPT: usize = 16;

/// Those of one priority.
#[derive(Clone, Copy, Debug)]
struct Line {
    priority: i32,
    first: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug)]
struct Neighbours {
    before: u32,
    behind: u32,
}

/// Slots of consumers in the order they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    /// Highest priority first.
    lines: Vec<Line>,
    neighbours: Vec<Neighbours>,
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

impl Arrivals {
    pub(super) fn heap_bytes(&self) -> usize {
        let each = self.neighbours.capacity() * size_of::<Neighbours>();
        self.lines.capacity() * size_of::<Line>() + each
    }

    /// Who came first of the highest priority.
    pub(super) fn first(&self) -> Option<u32> {
        let mut lines = self.lines.iter();
        let line = lines.find(|line| line.first != NONE);
        line.map(|line| line.first)
    }

    /// A consumer comes.
    pub(super) fn join(&mut self, priority: i32, slot: u32) {
        if self.neighbours.len() <= index(slot) {
            let nobody = Neighbours {
                before: NONE,
                behind: NONE,
            };
            self.neighbours.resize(index(slot) + 1, nobody);
        }
        let at = self.lines.partition_point(|line| line.priority > priority);
        if self
            .lines
            .get(at)
            .is_none_or(|line| line.priority != priority)
        {
            let (first, last) = (NONE, NONE);
            self.lines.insert(
                at,
                Line {
                    priority,
                    first,
                    last,
                },
            );
        }
        let Some(line) = self.lines.get_mut(at) else {
            return;
        };
        let before = core::mem::replace(&mut line.last, slot);
        if before == NONE {
            line.first = slot;
        }
        if let Some(before) = self.neighbours.get_mut(index(before)) {
            before.behind = slot;
        }
        if let Some(own) = self.neighbours.get_mut(index(slot)) {
            *own = Neighbours {
                before,
                behind: NONE,
            };
        }
    }

    /// A consumer that came goes.
    pub(super) fn leave(&mut self, priority: i32, slot: u32) {
        let at = self.lines.partition_point(|line| line.priority > priority);
        let own = self.neighbours.get(index(slot)).copied();
        let (Some(line), Some(own)) = (self.lines.get_mut(at), own) else {
            return;
        };
        if line.first == slot {
            line.first = own.behind;
        }
        if line.last == slot {
            line.last = own.before;
        }
        if let Some(before) = self.neighbours.get_mut(index(own.before)) {
            before.behind = own.behind;
        }
        if let Some(behind) = self.neighbours.get_mut(index(own.behind)) {
            behind.before = own.before;
        }
        if self.lines.len() > LINES_KEPT {
            self.lines.retain(|line| line.first != NONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_priority_is_first_and_of_one_who_came_first() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.first(), None);
        arrivals.join(0, 3);
        arrivals.join(5, 1);
        arrivals.join(5, 0);
        arrivals.join(5, 2);
        assert_eq!(arrivals.first(), Some(1));
        arrivals.leave(5, 0);
        arrivals.leave(5, 1);
        assert_eq!(arrivals.first(), Some(2));
        arrivals.join(5, 1);
        arrivals.leave(5, 2);
        assert_eq!(arrivals.first(), Some(1));
        arrivals.leave(5, 1);
        assert_eq!(arrivals.first(), Some(3));
        arrivals.leave(0, 3);
        assert_eq!(arrivals.first(), None);
    }

    #[test]
    fn made_up_priorities_leave_nothing_behind() {
        let mut arrivals = Arrivals::default();
        for priority in 0..1_000 {
            arrivals.join(priority, 0);
            arrivals.leave(priority, 0);
        }
        assert!(arrivals.lines.len() <= LINES_KEPT);
    }
}
