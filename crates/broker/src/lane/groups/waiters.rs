//! Whose answer is whose: joins and syncs that the machines park.

use std::collections::{BTreeMap, BTreeSet};

use mulgil_core::group::Waiter;

use super::super::{Origin, ReplyTo};

/// Those who wait in any group. That a connection goes costs what it waits for, however many others wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    to: BTreeMap<Waiter, ReplyTo>,
    of: BTreeSet<(Origin, Waiter)>,
    newest: u64,
}

impl Waiters {
    /// A name for one that waits from here on.
    pub(super) fn wait(&mut self, to: ReplyTo) -> Waiter {
        self.newest += 1;
        let waiter = Waiter(self.newest);
        self.to.insert(waiter, to);
        self.of.insert((to.origin, waiter));
        waiter
    }

    /// It waits no longer. `None`: its connection is gone.
    pub(super) fn take(&mut self, waiter: Waiter) -> Option<ReplyTo> {
        let to = self.to.remove(&waiter)?;
        self.of.remove(&(to.origin, waiter));
        Some(to)
    }

    /// A connection is gone: nothing of it is answered.
    pub(super) fn forget(&mut self, origin: Origin) {
        let all = (origin, Waiter(0))..=(origin, Waiter(u64::MAX));
        let gone: Vec<_> = self.of.range(all).map(|(_, waiter)| *waiter).collect();
        for waiter in gone {
            self.take(waiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Ticket;

    #[test]
    fn what_a_connection_waits_for_goes_with_it_and_nothing_else() {
        let mut waiters = Waiters::default();
        let to = |runtime, connection, ticket| ReplyTo {
            origin: Origin {
                runtime,
                connection,
            },
            ticket: Ticket(ticket),
        };
        let all = [to(0, 1, 1), to(0, 1, 2), to(0, 2, 1), to(1, 1, 1)];
        let names = all.map(|to| waiters.wait(to));
        assert_eq!(waiters.take(names[0]), Some(all[0]));
        waiters.forget(all[0].origin);
        let left = names.map(|name| waiters.take(name));
        assert_eq!(left, [None, None, Some(all[2]), Some(all[3])]);
        assert!(waiters.to.is_empty() && waiters.of.is_empty());
    }
}
